package dataplane

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// legName is the device inside a network's namespace.
const legName = "kumo0"

// otherNetwork tags bindings of NICs that do not carry the default route.
const otherNetwork = "other"

// networkFolder is where one network's dnsmasq has its files. Everything in it
// is world-readable, because dnsmasq reads the bindings again after it gave up
// root; none of it is secret.
type networkFolder string

func (f networkFolder) config() string   { return filepath.Join(string(f), "dnsmasq.conf") }
func (f networkFolder) bindings() string { return filepath.Join(string(f), "bindings") }
func (f networkFolder) names() string    { return filepath.Join(string(f), "names") }
func (f networkFolder) leases() string   { return filepath.Join(string(f), "leases") }
func (f networkFolder) pid() string      { return filepath.Join(string(f), "dnsmasq.pid") }

// dnsmasqConfig is the text of dnsmasq.conf. Only values of parsed types go in,
// and domain, which CheckDomain has seen.
func dnsmasqConfig(s networkSpec, folder networkFolder) []byte {
	c := &configText{}
	c.comment("written by the Kumo agent for " + s.namespace + "; changes are lost")
	c.flag("no-resolv")
	c.flag("no-hosts")
	c.flag("bind-interfaces")
	c.set("interface", legName)
	c.set("except-interface", "lo")
	c.set("pid-file", folder.pid())
	if s.dnsServer {
		c.dnsOptions(s, folder)
	} else {
		c.set("port", "0")
	}
	if s.domain != "" {
		c.set("domain", s.domain)
	}
	if s.dhcp {
		c.dhcpOptions(s, folder)
	}
	return c.Bytes()
}

// configText writes dnsmasq's "name" and "name=value" lines.
type configText struct{ bytes.Buffer }

func (c *configText) comment(text string) { fmt.Fprintf(c, "# %s\n", text) }
func (c *configText) flag(name string)    { fmt.Fprintf(c, "%s\n", name) }
func (c *configText) set(name string, values ...string) {
	fmt.Fprintf(c, "%s=%s\n", name, strings.Join(values, ","))
}

func (c *configText) dnsOptions(s networkSpec, folder networkFolder) {
	c.set("port", "53")
	c.set("cache-size", "1000")
	c.set("hostsdir", folder.names())
	// What is known here alone is never asked of others, and so has an answer: no
	// such name, or none of the type (RFC 2308), where dnsmasq would refuse or pass
	// on what its files have no line for. It is names without a domain, those of the
	// network's, and those of the network's addresses.
	c.set("local", "//")
	if s.domain != "" {
		c.set("local", "/"+s.domain+"/")
	}
	for _, zone := range reverseZones(s.cidr) {
		c.set("local", "/"+zone+"/")
	}
	for _, server := range s.dns {
		if server != s.address.Addr() {
			c.set("server", server.String())
		}
	}
}

func (c *configText) dhcpOptions(s networkSpec, folder networkFolder) {
	c.flag("dhcp-authoritative")
	// Without it each first lease costs a ping's time-out (3 s).
	c.flag("no-ping")
	c.set("dhcp-leasefile", folder.leases())
	c.set("dhcp-range", s.cidr.Addr().String(), "static", netmask(s.cidr), "infinite")
	c.set("dhcp-hostsdir", folder.bindings())
	c.option(3, addrs(s.gateway)...)
	c.option(6, texts(s.dnsForGuests())...)
	if routes := s.classlessRoutes(); len(routes) > 0 {
		var values []string
		for _, r := range routes {
			values = append(values, r.prefix.String(), r.nextHop.String())
		}
		// 121 is RFC 3442; 249 is the same for old Windows.
		c.set("dhcp-option", append([]string{"tag:!" + otherNetwork, "121"}, values...)...)
		c.set("dhcp-option", append([]string{"tag:!" + otherNetwork, "249"}, values...)...)
	}
	if s.domain != "" {
		// Where guests look for names without a domain (RFC 3397); the option for the
		// domain alone comes from the name in the lease.
		c.set("dhcp-option", "tag:!"+otherNetwork, "119", s.domain)
	}
	if s.mtu != 0 {
		c.set("dhcp-option", "26", fmt.Sprint(s.mtu))
	}
}

// option sends values to NICs of the default network and an empty option to
// the others, because dnsmasq would otherwise put its own address there.
func (c *configText) option(code int, values ...string) {
	c.set("dhcp-option", append([]string{"tag:!" + otherNetwork, fmt.Sprint(code)}, values...)...)
	c.set("dhcp-option", "tag:"+otherNetwork, fmt.Sprint(code))
}

func addrs(ip netip.Addr) []string {
	if !ip.IsValid() {
		return nil
	}
	return []string{ip.String()}
}

func texts(ips []netip.Addr) []string {
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = ip.String()
	}
	return out
}

func netmask(p netip.Prefix) string {
	return net.IP(net.CIDRMask(p.Bits(), 32)).String()
}

// binding is a DHCPBinding with parsed values.
type binding struct {
	mac      net.HardwareAddr
	ip       netip.Addr
	hostname string
	isOther  bool
}

func parseBinding(object string, b *hostv1.DHCPBinding) (binding, error) {
	mac, err := parseMAC(object, b.GetMac())
	if err != nil {
		return binding{}, err
	}
	ip, err := ParseIPv4(object, b.GetIp())
	if err != nil {
		return binding{}, err
	}
	return binding{mac: mac, ip: ip, hostname: b.GetHostname(), isOther: !b.GetDefaultNetwork()}, nil
}

// file is the binding's name in the two folders: dnsmasq wants one entry for a
// MAC, so the MAC is the name.
func (b binding) file() string { return strings.ReplaceAll(b.mac.String(), ":", "") }

// line is the binding in the form of dnsmasq's dhcp-host. The host name goes to
// NICs of the default network only: a guest has one name.
func (b binding) line() string {
	fields := []string{b.mac.String()}
	if b.isOther {
		fields = append(fields, "set:"+otherNetwork)
	}
	fields = append(fields, b.ip.String())
	if b.hostname != "" && !b.isOther {
		fields = append(fields, b.hostname)
	}
	return strings.Join(append(fields, "infinite"), ",") + "\n"
}

// nameLine is the binding in the form of /etc/hosts, "" without a name. The first
// name is also what the address is called (PTR). Names
// come from here and not from leases, which dnsmasq may lose.
func (b binding) nameLine(domain string) string {
	full := FQDN(b.hostname, domain)
	switch full {
	case "":
		return ""
	case b.hostname:
		return fmt.Sprintf("%s %s\n", b.ip, full)
	}
	return fmt.Sprintf("%s %s %s\n", b.ip, full, b.hostname)
}
