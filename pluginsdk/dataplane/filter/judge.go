package filter

import (
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// packet is the first of a connection, as far as rules look at it.
type packet struct {
	in               bool // to the guest
	protocol         byte
	source, dest     netip.Addr
	sourcePort, port uint16
}

// judge says whether a port lets a packet pass, as the kernel's rules do.
func judge(all map[Name]*hostv1.Fragment, owner string, p *hostv1.FilterPort, k packet) bool {
	if always(k) {
		return true
	}
	for _, g := range p.GetGroups() {
		for _, r := range all[Name{owner, g}].GetFilterGroup().GetRules() {
			if matches(all, owner, r, k) {
				return !r.GetDrop()
			}
		}
	}
	if k.in {
		return p.GetAcceptIngress()
	}
	return p.GetAcceptEgress()
}

// always is what guests need whatever the rules are. Neighbour discovery is no
// connection.
func always(k packet) bool {
	if k.protocol != unix.IPPROTO_UDP {
		return false
	}
	if k.in {
		return k.sourcePort == 67 && k.port == 68 || k.sourcePort == 547 && k.port == 546
	}
	return k.port == 53 || k.sourcePort == 68 && k.port == 67 || k.sourcePort == 546 && k.port == 547
}

func matches(all map[Name]*hostv1.Fragment, owner string, r *hostv1.FilterRule, k packet) bool {
	other := k.dest
	if k.in {
		other = k.source
	}
	v4 := r.GetIpVersion() == 4
	if k.in != (r.GetDirection() == hostv1.FilterDirection_FILTER_DIRECTION_INGRESS) || other.Is4() != v4 {
		return false
	}
	if n := protocolNumber(r); n != 0 && n != k.protocol {
		return false
	}
	inPort := func(p portRange) bool { return p.first <= k.port && k.port <= p.last }
	if len(r.GetPorts()) > 0 && !slices.ContainsFunc(portRanges(r), inPort) {
		return false
	}
	if key := r.GetSetKey(); key != "" {
		return contains(spans(all[Name{owner, key}].GetFilterSet().GetAddresses(), false, v4), other)
	}
	return len(r.GetAddresses()) == 0 || contains(spans(r.GetAddresses(), true, v4), other)
}

// addressesOf are all that a port may send from.
func addressesOf(p *hostv1.FilterPort) []netip.Addr {
	all := []netip.Addr{local(macOf(p))}
	for _, text := range p.GetAddresses() {
		// It was checked; the kind has more spellings than one.
		if spelling, err := kinds.Parse("addr", text); err == nil {
			all = append(all, netip.MustParseAddr(spelling))
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

func macOf(p *hostv1.FilterPort) net.HardwareAddr {
	if spelling, err := kinds.Parse("mac", p.GetMac()); err == nil {
		if mac, err := net.ParseMAC(spelling); err == nil && len(mac) == 6 {
			return mac
		}
	}
	return make(net.HardwareAddr, 6)
}
