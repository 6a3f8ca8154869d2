package dataplane

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
)

// question asks a network's name service, in the namespace of one of its guests.
// The answer is its code and what it says.
func question(t *testing.T, ns netns.NsHandle, server, name string, kind dnsmessage.Type) (dnsmessage.RCode, string) {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	packet, err := m.Pack()
	must(t, err)
	var conn net.Conn
	must(t, inNamespace(ns, func() (err error) {
		conn, err = net.Dial("udp", server+":53")
		return err
	}))
	defer func() { must(t, conn.Close()) }()
	buffer := make([]byte, 1500)
	for range 5 { // a packet may be lost
		_, err = conn.Write(packet)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(3*time.Second)))
		n, err := conn.Read(buffer)
		if err != nil {
			continue
		}
		must(t, m.Unpack(buffer[:n]))
		var said []string
		for _, r := range m.Answers {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				said = append(said, net.IP(b.A[:]).String())
			case *dnsmessage.PTRResource:
				said = append(said, b.PTR.String())
			default:
				said = append(said, r.Header.Type.String())
			}
		}
		return m.RCode, strings.Join(said, " ")
	}
	t.Fatalf("no answer about %s", name)
	return 0, ""
}

// upstream is a name server that knows nothing and keeps what it is asked.
func upstream(t *testing.T, ns netns.NsHandle) (asked func() []string) {
	t.Helper()
	var conn net.PacketConn
	must(t, inNamespace(ns, func() (err error) {
		conn, err = net.ListenPacket("udp4", ":53")
		return err
	}))
	var mu sync.Mutex
	var names []string
	done := make(chan struct{})
	t.Cleanup(func() {
		must(t, conn.Close())
		<-done
	})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			mu.Lock()
			names = append(names, m.Questions[0].Name.String())
			mu.Unlock()
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from) // the one who asks asks again
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(names)
	}
}

// What is known in the network alone is answered there: a name that exists has an
// answer for every type, an empty one for those that it has not (RFC 2308, section
// 2.2), and other servers learn of nothing but names outside.
func TestNamesAreAnsweredByTheRFC(t *testing.T) {
	const https = dnsmessage.Type(65)
	for _, c := range []struct{ key, bridge, domain, full string }{
		{"dom", "br_h", "cloud.test", "db-1.cloud.test."},
		{"none", "br_i", "", "db-1."},
	} {
		t.Run(c.key, func(t *testing.T) {
			e := openEngine(t, stateFolder(t))
			apply(t, e, bridge("l2", c.bridge, ""))
			near1, near2 := "h1"+c.key, "h2"+c.key
			mac1, _, lease1 := guest(t, near1, c.bridge)
			mac2, _, lease2 := guest(t, near2, c.bridge)
			purge(t, e)
			t.Cleanup(func() {
				must(t, netlink.LinkSetNoMaster(link(t, near1)))
				must(t, netlink.LinkSetNoMaster(link(t, near2)))
			})
			n := dhcpNetwork("l3", c.bridge)
			n.GetDhcpNetwork().Domain, n.GetDhcpNetwork().Dns = c.domain, []string{"10.40.0.12"}
			apply(t, e, n, bindingOf("nic1", "l3", mac1, "10.40.0.11", "Web-1"), bindingOf("nic2", "l3", mac2, "10.40.0.12", "db-1"))
			got := lease1()
			expect(t, got, "hostname=web-1\n") // as dnsmasq spells it
			if domain := "domain=" + c.domain + "\n"; c.domain != "" {
				expect(t, got, domain, "search="+c.domain+"\n")
			} else if strings.Contains(got, "domain=") || strings.Contains(got, "search=") {
				t.Errorf("a network without a domain has one in\n%s", got)
			}
			expect(t, lease2(), "ip=10.40.0.12")
			ns1, err := openNamespace("t-" + near1)
			must(t, err)
			defer func() { must(t, ns1.Close()) }()
			ns2, err := openNamespace("t-" + near2)
			must(t, err)
			defer func() { must(t, ns2.Close()) }()
			asked := upstream(t, ns2)

			for _, q := range []struct {
				name string
				kind dnsmessage.Type
				code dnsmessage.RCode
				said string
			}{
				{c.full, dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.12"},
				{"db-1.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.12"},
				{"DB-1.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.12"},
				{"web-1.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.11"},
				{c.full, dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
				{"db-1.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
				{"db-1.", dnsmessage.TypeMX, dnsmessage.RCodeSuccess, ""},
				{c.full, dnsmessage.TypeTXT, dnsmessage.RCodeSuccess, ""},
				{c.full, https, dnsmessage.RCodeSuccess, ""},
				{"nobody.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
				{"nobody.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, ""},
				{"12.0.40.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeSuccess, c.full},
				{"77.0.40.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, ""},
			} {
				if code, said := question(t, ns1, "10.40.0.2", q.name, q.kind); code != q.code || said != q.said {
					t.Errorf("%s %s: %s %q, not %s %q", q.kind, q.name, code, said, q.code, q.said)
				}
			}
			if names := asked(); len(names) > 0 {
				t.Errorf("others were asked for %q", names)
			}
			if code, said := question(t, ns1, "10.40.0.2", "outside.example.", dnsmessage.TypeA); code != dnsmessage.RCodeNameError || said != "" {
				t.Errorf("a name outside: %s %q", code, said)
			}
			if names := asked(); len(names) != 1 || names[0] != "outside.example." {
				t.Errorf("others were asked for %q", names)
			}
		})
	}
}
