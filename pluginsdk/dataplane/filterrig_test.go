package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// filterEngine has bridges, and guests on them whose packets are filtered.
type filterEngine struct {
	*Engine
	t *testing.T
}

// purgeFilter is purge with guests plugged in: they are unplugged before.
func purgeFilter(t *testing.T, e *filterEngine) {
	purge(t, e.Engine)
	t.Cleanup(func() {
		all, err := netlink.LinkList()
		must(t, err)
		for _, l := range all {
			if l.Type() == "veth" && l.Attrs().MasterIndex != 0 {
				must(t, netlink.LinkSetNoMaster(l))
			}
		}
	})
}

func newFilterEngine(t *testing.T, bridges ...string) *filterEngine {
	t.Helper()
	return openFilterEngine(t, stateFolder(t), bridges...)
}

func openFilterEngine(t *testing.T, folder string, bridges ...string) *filterEngine {
	t.Helper()
	e := &filterEngine{openEngine(t, folder), t}
	for _, b := range bridges {
		apply(t, e.Engine, bridge(b, b, ""))
	}
	return e
}

func (e *filterEngine) apply(fragments ...*hostv1.Fragment) {
	e.t.Helper()
	must(e.t, e.Apply(e.t.Context(), "sg", Revisions{}, fragments, nil))
}

func (e *filterEngine) remove(keys ...string) {
	e.t.Helper()
	must(e.t, e.Apply(e.t.Context(), "sg", Revisions{}, nil, keys))
}

// machine is a guest, or another machine on a bridge.
type machine struct {
	t      *testing.T
	ns     netns.NsHandle
	device string
	mac    string
	v4, v6 string
}

// plug makes a machine with 10.50.0.n and fd00::n.
func plug(t *testing.T, device, bridgeName string, n int) *machine {
	t.Helper()
	m := &machine{t: t, device: device, mac: fmt.Sprintf("52:54:00:00:00:%02x", n),
		v4: fmt.Sprintf("10.50.0.%d", n), v6: fmt.Sprintf("fd00::%x", n)}
	m.ns = cable(t, device, "eth0")
	must(t, inNamespace(m.ns, func() error {
		mac, err := net.ParseMAC(m.mac)
		if err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		// The addresses are there at once: nobody looks for another machine with them.
		for _, text := range []string{m.v4 + "/24", m.v6 + "/64"} {
			a, err := netlink.ParseAddr(text)
			if err != nil {
				return err
			}
			a.Flags |= unix.IFA_F_NODAD
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetHardwareAddr(l, mac)
	}))
	m.attach(bridgeName)
	return m
}

func (m *machine) attach(bridgeName string) {
	m.t.Helper()
	must(m.t, netlink.LinkSetMaster(link(m.t, m.device), link(m.t, bridgeName)))
}

func (m *machine) addr(v6 bool) string {
	if v6 {
		return m.v6
	}
	return m.v4
}

func filterPort(m *machine, groups ...string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: "port-" + m.device, Kind: &hostv1.Fragment_FilterPort{FilterPort: &hostv1.FilterPort{
		Device: m.device, Mac: m.mac, Addresses: []string{m.v4, m.v6}, Groups: groups, AcceptEgress: true}}}
}

func group(key string, rules ...*hostv1.FilterRule) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_FilterGroup{FilterGroup: &hostv1.FilterGroup{Rules: rules}}}
}

func setOf(key string, addresses ...string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_FilterSet{FilterSet: &hostv1.FilterSet{Addresses: addresses}}}
}

const (
	toGuest   = hostv1.FilterDirection_FILTER_DIRECTION_INGRESS
	fromGuest = hostv1.FilterDirection_FILTER_DIRECTION_EGRESS
)

var protocols = map[string]hostv1.FilterProtocol{
	"all": hostv1.FilterProtocol_FILTER_PROTOCOL_ALL, "tcp": hostv1.FilterProtocol_FILTER_PROTOCOL_TCP,
	"udp": hostv1.FilterProtocol_FILTER_PROTOCOL_UDP, "icmp": hostv1.FilterProtocol_FILTER_PROTOCOL_ICMP,
}

// ruleOf reads "accept tcp 80-90,443 from 10.0.0.0/8,10.9.0.1-10.9.0.3", "drop all to @set":
// of IP version 6 when v6.
func ruleOf(id, text string, v6 bool) *hostv1.FilterRule {
	r := &hostv1.FilterRule{Id: id, IpVersion: 4, Direction: toGuest}
	if v6 {
		r.IpVersion = 6
	}
	words := strings.Fields(text)
	r.Drop, r.Protocol = words[0] == "drop", protocols[words[1]]
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "to":
			r.Direction = fromGuest
		case "from":
		default:
			switch {
			case words[i][0] == '@':
				r.SetKey = words[i][1:]
			case words[i-1] == "to" || words[i-1] == "from":
				r.Addresses = strings.Split(words[i], ",")
			default:
				for _, p := range strings.Split(words[i], ",") {
					var first, last uint32
					if n, _ := fmt.Sscanf(p, "%d-%d", &first, &last); n == 1 {
						last = first
					}
					r.Ports = append(r.Ports, &hostv1.FilterPortRange{First: first, Last: last})
				}
			}
		}
	}
	return r
}

const (
	// answers is how long an answer may take that must come, on a busy machine.
	answers = 10 * time.Second
	// silence is how long one is waited for that must not come.
	silence = 300 * time.Millisecond
)

// serve answers on a TCP port with what it is sent, until the test ends.
func (m *machine) serve(port int) {
	m.t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		must(m.t, inNamespace(m.ns, func() error {
			l, err := net.Listen(network, fmt.Sprintf(":%d", port))
			if err != nil {
				return err
			}
			m.t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer func() { _ = c.Close() }()
						_, _ = io.Copy(c, c)
					}()
				}
			}()
			return nil
		}))
	}
}

// dial opens a TCP connection; nil when nobody answers.
func (m *machine) dial(to string, port int, wait time.Duration) (c net.Conn) {
	m.t.Helper()
	must(m.t, inNamespace(m.ns, func() error {
		d := net.Dialer{Timeout: wait}
		conn, err := d.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(to), uint16(port)).String())
		if err == nil {
			c = conn
			m.t.Cleanup(func() { _ = conn.Close() })
		}
		return nil
	}))
	return c
}

// echo says whether a connection still works: a line comes back, after what is still
// on its way.
func echo(c net.Conn, wait time.Duration) bool {
	_ = c.SetDeadline(time.Now().Add(wait))
	line := fmt.Sprintln(time.Now().UnixNano())
	if _, err := c.Write([]byte(line)); err != nil {
		return false
	}
	var got []byte
	for b := make([]byte, 100); !strings.HasSuffix(string(got), line); {
		n, err := c.Read(b)
		if err != nil {
			return false
		}
		got = append(got, b[:n]...)
	}
	return true
}

func (m *machine) reaches(to string, port int) {
	m.t.Helper()
	if m.dial(to, port, answers) == nil {
		m.t.Errorf("%s does not reach %s port %d", m.device, to, port)
	}
}

func (m *machine) reachesNot(to string, port int) {
	m.t.Helper()
	if m.dial(to, port, silence) != nil {
		m.t.Errorf("%s reaches %s port %d", m.device, to, port)
	}
}

func (m *machine) pings(to string) bool {
	m.t.Helper()
	args := []string{"busybox", "ping", "-c1", "-W3", to}
	if strings.Contains(to, ":") {
		args = []string{"busybox", "ping", "-6", "-c1", "-W3", to}
	}
	_, err := in(m.t, m.ns, args...)
	return err == nil
}

// dialFrom is dial from a port.
func (m *machine) dialFrom(from int, to string, port int, wait time.Duration) (c net.Conn) {
	m.t.Helper()
	must(m.t, inNamespace(m.ns, func() error {
		d := net.Dialer{Timeout: wait, LocalAddr: &net.TCPAddr{IP: net.ParseIP(m.v4), Port: from}}
		conn, err := d.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(to), uint16(port)).String())
		if err == nil {
			c = conn
			m.t.Cleanup(func() { _ = conn.Close() })
		}
		return nil
	}))
	return c
}

// pair is a connection of a client to port 80 of a server, both ends.
func pair(t *testing.T, client, server *machine, v6 bool) (accepted, dialled net.Conn) {
	t.Helper()
	var l net.Listener
	must(t, inNamespace(server.ns, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(server.addr(v6)), 80).String())
		return err
	}))
	defer func() { _ = l.Close() }()
	if dialled = client.dial(server.addr(v6), 80, answers); dialled == nil {
		t.Fatal("no connection")
	}
	accepted, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
	if _, err := dialled.Write([]byte("a")); err != nil || !hears(accepted, answers) {
		t.Fatal("the connection does not work")
	}
	return accepted, dialled
}

func hears(c net.Conn, wait time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	n, err := c.Read(make([]byte, 10))
	return n > 0 && err == nil
}

// ruleset is all that the kernel's packet filter has, as the nft program shows it.
func ruleset(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nft", "-a", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

// text is a log that can be read while it is written.
type text struct {
	mu sync.Mutex
	strings.Builder
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.String()
}

// logging is an engine that logs into a text.
func logging(t *testing.T, log *text) *Engine {
	t.Helper()
	e, err := Open(Config{StateDir: stateFolder(t), Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})})
	must(t, err)
	<-e.repaired
	return e
}
