package main

import (
	"fmt"
	"net/netip"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// problems are what of networks is not on the host as they say.
type problems struct{ list []*pluginv1.NetworkProblem }

func (p *problems) add(l3UUID string, reasons ...string) {
	for _, reason := range reasons {
		p.list = append(p.list, &pluginv1.NetworkProblem{L3Uuid: l3UUID, Reason: reason})
	}
}

// optionSize is what an option of DHCP holds (RFC 2132, section 2).
const optionSize = 255

// leaveOut takes out of a network what guests cannot be told, so that they have
// all the rest, and returns what it was. The core refuses such items where they
// are added; rows of older versions may have them.
func (n *network) leaveOut(f *hostv1.DHCPNetwork) (reasons []string) {
	out := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if f.Gateway != "" {
		if _, err := n.address("", "gateway", f.Gateway); err != nil {
			out("guests are told of no gateway: %q is no machine's address in %s; remove the IP range and add it with another gateway", f.Gateway, n.cidr)
			f.Gateway = ""
		}
	}
	if f.Domain != "" && dataplane.CheckDomain("", f.Domain) != nil {
		out("guests are told of no domain: %q is no domain name; give the network another", f.Domain)
		f.Domain = ""
	}
	f.Dns = n.nameServers(f.Dns, out)
	f.Routes = n.routes(f.Routes, out)
	return reasons
}

// nameServers are those that option 6 can tell: addresses of machines, four bytes
// each (RFC 2132, section 3.8).
func (n *network) nameServers(all []string, out func(string, ...any)) (good []string) {
	for _, text := range all {
		_, err := dataplane.ParseIPv4("", text)
		switch {
		case err != nil:
			out("name server %q is left out: it is no machine's IPv4 address; remove it", text)
		case 4*(len(good)+1) > optionSize:
			out("name server %s is left out: DHCP tells %d at most; remove some", text, optionSize/4)
		default:
			good = append(good, text)
		}
	}
	return good
}

// routes are those that option 121 can tell, by neighbours of the guests, one to
// each destination (RFC 3442), beside those that the agent adds: to everything,
// and to the metadata.
func (n *network) routes(all []*hostv1.Route, out func(string, ...any)) (good []*hostv1.Route) {
	size, seen := 1+4, map[netip.Prefix]bool{}
	if n.has(serviceUserdata) {
		size += 1 + 4 + 4
	}
	for _, r := range all {
		spelling, err := kinds.Parse("cidr4", r.Prefix)
		if err != nil {
			out("the route to %q is left out: that is no IPv4 network; remove it", r.Prefix)
			continue
		}
		prefix := netip.MustParsePrefix(spelling)
		if _, err := n.address("", "next hop", r.NextHop); err != nil {
			out("the route to %s is left out: its next hop %q is no machine's address in %s; remove it", prefix, r.NextHop, n.cidr)
			continue
		}
		bytes := 1 + (prefix.Bits()+7)/8 + 4
		switch {
		case seen[prefix]:
			out("the route to %s by %s is left out: there is another; remove one", prefix, r.NextHop)
		case size+bytes > optionSize:
			out("the route to %s is left out: DHCP cannot tell so many; remove some", prefix)
		default:
			seen[prefix] = true
			size += bytes
			good = append(good, &hostv1.Route{Prefix: prefix.String(), NextHop: r.NextHop})
		}
	}
	return good
}
