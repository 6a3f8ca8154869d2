package filter

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Name is the name of a fragment on a machine.
type Name struct{ Owner, Key string }

func (n Name) short() string { return short(n.Owner + "/" + n.Key) }

func setName(n Name, v4 bool) string {
	if v4 {
		return "set-" + n.short() + "-4"
	}
	return "set-" + n.short() + "-6"
}

func groupChain(n Name, in bool) string { return "group-" + n.short() + way(in) }

func way(in bool) string {
	if in {
		return "-in"
	}
	return "-out"
}

// counterName is where a rule counts. Counters are told by it, so it has the owner
// and the ID as they are.
func counterName(owner, id string) string { return owner + "/" + id }

// profile is what ports with the same groups and the same ends have together.
type profile struct {
	owner           string
	groups          []string
	ingress, egress bool
}

func profileOf(owner string, p *hostv1.FilterPort) profile {
	return profile{owner, p.GetGroups(), p.GetAcceptIngress(), p.GetAcceptEgress()}
}

// key is the same for the same profile only.
func (p profile) key() string {
	return short(fmt.Sprintf("%q %q %v %v", p.owner, p.groups, p.ingress, p.egress))
}

func profileChain(key string, in bool) string { return "profile-" + key + way(in) }

func compileSet(n Name, s *hostv1.FilterSet) (all []thing) {
	for _, v4 := range []bool{true, false} {
		name := setName(n, v4)
		all = append(all, setOf(inetTable, name, setSpec{key: addrType(v4), interval: true}))
		for _, s := range spans(s.GetAddresses(), false, v4) {
			all = append(all, interval(inetTable, name, s.first.AsSlice(), after(s.last.AsSlice())))
		}
	}
	return all
}

func compileGroup(n Name, g *hostv1.FilterGroup) (all []thing) {
	var in, out []*rule
	for _, r := range g.GetRules() {
		all = append(all, thing{item: item{kind: kindCounter, table: inetTable, name: counterName(n.Owner, r.GetId())}})
		compiled := compileRule(n.Owner, r)
		if compiled == nil {
			continue
		}
		if r.GetDirection() == hostv1.FilterDirection_FILTER_DIRECTION_INGRESS {
			in = append(in, compiled)
		} else {
			out = append(out, compiled)
		}
	}
	all = append(all, chainOf(inetTable, groupChain(n, true), in...)...)
	return append(all, chainOf(inetTable, groupChain(n, false), out...)...)
}

// compileRule makes the rule of the kernel; nil when none of its addresses is of its
// IP version.
func compileRule(owner string, r *hostv1.FilterRule) *rule {
	v4 := r.GetIpVersion() == 4
	w := ipVersion(v4)
	var inline []*inlineSet
	limit := func(field expr.Any, key nftables.SetDatatype, ranges [][2][]byte) {
		more, set := within(words{field}, key, ranges)
		if w = append(w, more...); set != nil {
			inline = append(inline, set)
		}
	}
	if number := protocolNumber(r); number != 0 {
		w = append(w, protocol(number)...)
	}
	side := otherSide(v4, r.GetDirection() == hostv1.FilterDirection_FILTER_DIRECTION_EGRESS)
	switch {
	case r.GetSetKey() != "":
		w = append(w, side, &expr.Lookup{SourceRegister: 1, SetName: setName(Name{owner, r.GetSetKey()}, v4)})
	case len(r.GetAddresses()) > 0:
		all := spans(r.GetAddresses(), true, v4)
		if len(all) == 0 {
			return nil
		}
		limit(side, addrType(v4), rangesOf(all))
	}
	if len(r.GetPorts()) > 0 {
		var ranges [][2][]byte
		for _, p := range portSpans(portRanges(r)) {
			ranges = append(ranges, [2][]byte{big16(p.first), big16(p.last)})
		}
		limit(load(thBase, 2, 2), nftables.TypeInetService, ranges)
	}
	w = append(w, &expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counterName(owner, r.GetId())})
	end := accept
	if r.GetDrop() {
		end = drop
	}
	return newRuleWith(inetTable, inline, append(w, end...)...)
}

func portRanges(r *hostv1.FilterRule) (all []portRange) {
	for _, p := range r.GetPorts() {
		all = append(all, portRange{uint16(p.GetFirst()), uint16(p.GetLast())})
	}
	return all
}

// protocolNumber is that of IP; 0 is any.
func protocolNumber(r *hostv1.FilterRule) byte {
	switch r.GetProtocol() {
	case hostv1.FilterProtocol_FILTER_PROTOCOL_TCP:
		return unix.IPPROTO_TCP
	case hostv1.FilterProtocol_FILTER_PROTOCOL_UDP:
		return unix.IPPROTO_UDP
	case hostv1.FilterProtocol_FILTER_PROTOCOL_ICMP:
		if r.GetIpVersion() == 4 {
			return unix.IPPROTO_ICMP
		}
		return unix.IPPROTO_ICMPV6
	}
	return 0
}

// compilePort makes what a port has of its own, and its profile, by number.
func compilePort(n Name, p *hostv1.FilterPort, number uint16) (all []thing) {
	device := deviceName(p.GetDevice())
	mac := macOf(p)
	mark := string(native(markOurs | uint32(number)))
	withDevice := func(field []byte) []byte { return append(device[:len(device):len(device)], padded(field)...) }
	all = []thing{
		element(bridgeTable, inPorts, device, mark),
		element(bridgeTable, outPorts, device, mark),
		element(bridgeTable, guestMACs, mac, ""),
		element(bridgeTable, portMACs, withDevice(mac), ""),
	}
	for _, a := range addressesOf(p) {
		set := portAddr6
		if a.Is4() {
			set = portAddr4
		}
		all = append(all, element(bridgeTable, set, withDevice(a.AsSlice()), ""))
	}
	return append(all, compileProfile(profileOf(n.Owner, p), number)...)
}

func compileProfile(p profile, number uint16) (all []thing) {
	mark := native(markOurs | markJudged | uint32(number))
	for _, in := range []bool{true, false} {
		chain := profileChain(p.key(), in)
		var rules []*rule
		for _, g := range p.groups {
			rules = append(rules, newRule(inetTable, verdict(expr.VerdictJump, groupChain(Name{p.owner, g}, in))...))
		}
		end, table := drop, egress
		if in && p.ingress || !in && p.egress {
			end = accept
		}
		if in {
			table = ingress
		}
		rules = append(rules, newRule(inetTable, end...))
		all = append(all, chainOf(inetTable, chain, rules...)...)
		all = append(all, element(inetTable, table, mark, chain))
	}
	return all
}
