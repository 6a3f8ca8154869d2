package dataplane

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDnsmasqConfig(t *testing.T) {
	full := dhcpNetwork("l3", "br0").GetDhcpNetwork()
	plain := &hostv1.DHCPNetwork{Namespace: "ns", Bridge: "br0", Address: "10.0.0.2/16", NetworkCidr: "10.0.0.0/16", ServeDhcp: true}
	names := &hostv1.DHCPNetwork{Namespace: "ns", Bridge: "br0", Address: "10.0.0.2/16", NetworkCidr: "10.0.0.0/16",
		ServeDns: true, Dns: []string{"9.9.9.9", "10.0.0.2"}}
	for name, n := range map[string]*hostv1.DHCPNetwork{"full": full, "plain": plain, "names": names} {
		t.Run(name, func(t *testing.T) {
			spec, err := parseNetwork("n", n)
			must(t, err)
			got := dnsmasqConfig(spec, "/state/dhcp/ns")
			file := filepath.Join("testdata", name+".conf")
			if *update {
				must(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if string(got) != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBindingLines(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0xab, 0, 1}
	ip := netip.MustParseAddr("10.0.0.5")
	for _, tc := range []struct {
		b          binding
		line, name string
	}{
		{binding{mac, ip, "web", false}, "52:54:00:ab:00:01,10.0.0.5,web,infinite\n", "10.0.0.5 web.x.test web\n"},
		{binding{mac, ip, "web", true}, "52:54:00:ab:00:01,set:other,10.0.0.5,infinite\n", "10.0.0.5 web.x.test web\n"},
		{binding{mac, ip, "", false}, "52:54:00:ab:00:01,10.0.0.5,infinite\n", ""},
	} {
		if got := tc.b.line(); got != tc.line {
			t.Errorf("line %q, want %q", got, tc.line)
		}
		if got := tc.b.nameLine("x.test"); got != tc.name {
			t.Errorf("name %q, want %q", got, tc.name)
		}
	}
}

func TestCheckFragmentRefuses(t *testing.T) {
	br := func(b *hostv1.Bridge) *hostv1.Fragment {
		return &hostv1.Fragment{Key: "k", Kind: &hostv1.Fragment_Bridge{Bridge: b}}
	}
	dn := func(change func(*hostv1.DHCPNetwork)) *hostv1.Fragment {
		f := dhcpNetwork("k", "br0")
		change(f.GetDhcpNetwork())
		return f
	}
	md := func(change func(*hostv1.Metadata)) *hostv1.Fragment {
		f := metadataOf("k", "l3", "10.0.0.5", "i-1")
		change(f.GetMetadata())
		return f
	}
	for name, f := range map[string]*hostv1.Fragment{
		"no key":             {Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br0", Alias: "a"}}},
		"key with a space":   {Key: "a b", Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br0", Alias: "a"}}},
		"no kind":            {Key: "k"},
		"long bridge name":   br(&hostv1.Bridge{Name: "br0123456789abcde", Alias: "a"}),
		"path as a name":     br(&hostv1.Bridge{Name: "../x", Alias: "a"}),
		"no alias":           br(&hostv1.Bridge{Name: "br0"}),
		"alias with newline": br(&hostv1.Bridge{Name: "br0", Alias: "a\nb"}),
		"own uplink":         br(&hostv1.Bridge{Name: "br0", Alias: "a", Uplink: "br0"}),
		"small MTU":          br(&hostv1.Bridge{Name: "br0", Alias: "a", Mtu: 100}),
		"namespace path":     dn(func(n *hostv1.DHCPNetwork) { n.Namespace = "../../etc" }),
		"CIDR not masked":    dn(func(n *hostv1.DHCPNetwork) { n.NetworkCidr = "10.40.0.1/24" }),
		"address outside":    dn(func(n *hostv1.DHCPNetwork) { n.Address = "10.41.0.2/24" }),
		"other prefix":       dn(func(n *hostv1.DHCPNetwork) { n.Address = "10.40.0.2/16" }),
		"gateway outside":    dn(func(n *hostv1.DHCPNetwork) { n.Gateway = "10.41.0.1" }),
		"IPv6 network":       dn(func(n *hostv1.DHCPNetwork) { n.NetworkCidr = "2001:db8::/64" }),
		"domain with option": dn(func(n *hostv1.DHCPNetwork) { n.Domain = "x\nconf-file=/etc/passwd" }),
		"DNS name":           dn(func(n *hostv1.DHCPNetwork) { n.Dns = []string{"dns.test"} }),
		"route":              dn(func(n *hostv1.DHCPNetwork) { n.Routes[0].Prefix = "172.16.0.1/16" }),
		"group MAC":          bindingOf("k", "l3", net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}, "10.0.0.5", ""),
		"host name":          bindingOf("k", "l3", net.HardwareAddr{2, 0, 0, 0, 0, 1}, "10.0.0.5", "a,b"),
		"empty MAC":          bindingOf("k", "l3", net.HardwareAddr{0, 0, 0, 0, 0, 0}, "10.0.0.5", ""),
		"line end in a name": bindingOf("k", "l3", net.HardwareAddr{2, 0, 0, 0, 0, 1}, "10.0.0.5", "web\n"),
		"broadcast":          bindingOf("k", "l3", net.HardwareAddr{2, 0, 0, 0, 0, 1}, "255.255.255.255", ""),
		"reserved address":   dn(func(n *hostv1.DHCPNetwork) { n.Dns = []string{"250.0.0.1"} }),
		"domain of a number": dn(func(n *hostv1.DHCPNetwork) { n.Domain = "123" }),
		"domain with a root": dn(func(n *hostv1.DHCPNetwork) { n.Domain = "cloud.test." }),
		"line end in a net":  dn(func(n *hostv1.DHCPNetwork) { n.NetworkCidr = "10.40.0.0/24\n" }),
		"name like an IP":    md(func(m *hostv1.Metadata) { m.Hostname = "10.0.0.5" }),
		"two-line SSH key":   md(func(m *hostv1.Metadata) { m.SshKeys = []string{"a\nb"} }),
		"large user data":    md(func(m *hostv1.Metadata) { m.UserData = make([]byte, maxUserData+1) }),
		"no instance ID":     md(func(m *hostv1.Metadata) { m.InstanceId = "" }),
		"long domain":        dn(func(n *hostv1.DHCPNetwork) { n.Domain = strings.Repeat("abcdefg.", 40) + "x" }),
	} {
		if err := CheckFragment(f); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
