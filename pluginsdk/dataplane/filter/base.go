package filter

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Marks of packets on their way from our chains of the one table to those of the
// other: the upper half says that the mark is ours, the lower one is the number of
// a profile, or 0 for a packet to a port of ours from one that is not.
const (
	markOurs    uint32 = 0x4b75 << 16
	markMask    uint32 = 0xffff << 16
	markJudged  uint32 = 0x8000 // the packet has been through the chains of the inet table
	markNumber  uint32 = 0x7fff
	lastProfile        = int(markNumber)
)

// Names of what is in the tables for all ports.
const (
	inPorts   = "in-ports"   // bridge: device -> mark of a packet that comes from it
	outPorts  = "out-ports"  // bridge: device -> mark of a packet that goes to it
	portMACs  = "port-macs"  // bridge: devices with the MAC that they may send from
	portAddr4 = "port-addr4" // bridge: devices with the addresses that they may send from
	portAddr6 = "port-addr6"
	guestMACs = "guest-macs" // bridge: all MACs
	egress    = "egress"     // inet: mark -> chain of a profile
	ingress   = "ingress"
	cut4      = "cut-4" // inet: replies of connections that were cut
	cut6      = "cut-6"
)

const (
	llBase = expr.PayloadBaseLLHeader
	nhBase = expr.PayloadBaseNetworkHeader
	thBase = expr.PayloadBaseTransportHeader
)

// base is what is there whatever the ports are.
func base() []thing {
	all := []thing{
		{item: item{kind: kindTable, table: bridgeTable}}, {item: item{kind: kindTable, table: inetTable}},
		setOf(bridgeTable, inPorts, setSpec{key: nftables.TypeIFName, data: nftables.TypeMark}),
		setOf(bridgeTable, outPorts, setSpec{key: nftables.TypeIFName, data: nftables.TypeMark}),
		setOf(bridgeTable, guestMACs, setSpec{key: nftables.TypeEtherAddr}),
		setOf(bridgeTable, portMACs, setSpec{key: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)}),
		setOf(bridgeTable, portAddr4, setSpec{key: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)}),
		setOf(bridgeTable, portAddr6, setSpec{key: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr)}),
		setOf(inetTable, egress, setSpec{key: nftables.TypeMark, verdicts: true}),
		setOf(inetTable, ingress, setSpec{key: nftables.TypeMark, verdicts: true}),
		setOf(inetTable, cut4, setSpec{key: cutKey(true), ages: true}),
		setOf(inetTable, cut6, setSpec{key: cutKey(false), ages: true}),
	}
	all = append(all, bridgeChains()...)
	return append(all, inetChains()...)
}

func hooked(t table, name string, hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...*rule) []thing {
	policy := nftables.ChainPolicyAccept
	return baseChain(t, &nftables.Chain{Name: name, Table: tables[t], Hooknum: hook, Priority: &priority,
		Type: nftables.ChainTypeFilter, Policy: &policy}, rules...)
}

func hookOf(c *nftables.Chain) string {
	if c.Hooknum == nil || c.Priority == nil {
		return ""
	}
	policy := nftables.ChainPolicyAccept
	if c.Policy != nil {
		policy = *c.Policy
	}
	return fmt.Sprint(*c.Hooknum, *c.Priority, policy)
}

// bridgeChains mark packets by their ports, see that guests send as themselves, and
// let nothing pass that the inet table has not seen.
func bridgeChains() (all []thing) {
	r := func(w ...words) *rule { return newRule(bridgeTable, join(w...)...) }
	ours := markIs(markMask, markOurs)
	all = append(all, hooked(bridgeTable, "prerouting", nftables.ChainHookPrerouting, -300,
		r(ours, setMark(0)), // nobody else makes packets ours
		r(markByName(expr.MetaKeyIIFNAME, inPorts)),
		r(ours, verdict(expr.VerdictGoto, "guest")),
		r(words{load(llBase, 0, 6), &expr.Lookup{SourceRegister: 1, SetName: guestMACs}}, setMark(markOurs)))...)
	all = append(all, guestChains(r)...)
	unseen := func(t uint16) *rule {
		return r(ours, markIs(markJudged, 0), markCmp(expr.CmpOpNeq, markNumber, 0), etherType(t), drop)
	}
	clear := r(ours, setMark(0))
	all = append(all, hooked(bridgeTable, "input", nftables.ChainHookInput, 10,
		unseen(unix.ETH_P_IP), unseen(unix.ETH_P_IPV6), clear)...)
	all = append(all, hooked(bridgeTable, "forward", nftables.ChainHookForward, -200,
		unseen(unix.ETH_P_IP), unseen(unix.ETH_P_IPV6), clear,
		r(markByName(expr.MetaKeyOIFNAME, outPorts)),
		r(ours, notEtherType(unix.ETH_P_IP), notEtherType(unix.ETH_P_IPV6), notEtherType(unix.ETH_P_ARP), drop))...)
	return append(all, hooked(bridgeTable, "postrouting", nftables.ChainHookPostrouting, -300,
		unseen(unix.ETH_P_IP), unseen(unix.ETH_P_IPV6), clear)...)
}

// guestChains see that a guest sends as itself.
func guestChains(r func(...words) *rule) (all []thing) {
	to := func(t uint16, chain string) *rule { return r(etherType(t), verdict(expr.VerdictGoto, chain)) }
	all = append(all, chainOf(bridgeTable, "guest",
		r(inMember(portMACs, true, field(llBase, 6, 6)), drop),
		to(unix.ETH_P_IP, "guest-4"), to(unix.ETH_P_IPV6, "guest-6"), to(unix.ETH_P_ARP, "guest-arp"),
		r(drop))...)
	all = append(all, chainOf(bridgeTable, "guest-4",
		r(udp(67, 0), drop), // a guest serves no DHCP
		r(words{load(nhBase, 12, 4), equal(make([]byte, 4))}, udp(68, 67), accept),
		r(inMember(portAddr4, false, field(nhBase, 12, 4)), accept),
		r(drop))...)
	all = append(all, chainOf(bridgeTable, "guest-6",
		r(udp(547, 0), drop),
		r(icmp6(routerAdvertisement), drop), r(icmp6(redirect), drop),
		r(words{load(nhBase, 8, 16), equal(make([]byte, 16))}, icmp6(neighbourSolicitation), accept),
		r(inMember(portAddr6, false, field(nhBase, 8, 16)), accept),
		r(drop))...)
	return append(all, chainOf(bridgeTable, "guest-arp",
		r(words{load(nhBase, 0, 6), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0, 1, 8, 0, 6, 4}}}, drop),
		r(inMember(portMACs, true, field(nhBase, 8, 6)), drop),
		r(words{load(nhBase, 14, 4), equal(make([]byte, 4))}, accept), // it asks whether an address is free
		r(inMember(portAddr4, false, field(nhBase, 14, 4)), accept),
		r(drop))...)
}

// Kinds of ICMPv6 messages.
const (
	routerSolicitation     = 133
	routerAdvertisement    = 134
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	redirect               = 137
)

// inetChains judge packets that came from a port, then those that go to one.
func inetChains() (all []thing) {
	r := func(w ...words) *rule { return newRule(inetTable, join(w...)...) }
	notOurs := r(markCmp(expr.CmpOpNeq, markMask, markOurs), accept)
	judged := r(orMark(markJudged))
	open := r(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
	byMark := func(name string) *rule {
		return r(words{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: name}})
	}
	// What the host itself is asked stays in the zone in which it answers.
	all = append(all, hooked(inetTable, "zone", nftables.ChainHookPrerouting, -300,
		r(markIs(markMask, markOurs),
			words{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true, FlagIIF: true},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(unix.RTN_LOCAL)},
				&expr.Meta{Key: expr.MetaKeyIIF, Register: 1},
				&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true}}))...)
	all = append(all, hooked(inetTable, "from-ports", nftables.ChainHookPrerouting, -150,
		notOurs, judged, open, cutRule(true), cutRule(false),
		r(udp(68, 67), accept), r(udp(546, 547), accept), r(udp(0, 53), accept),
		r(icmp6(routerSolicitation), accept), r(icmp6(neighbourSolicitation), accept), r(icmp6(neighbourAdvertisement), accept),
		byMark(egress),
		r(markIs(markNumber, 0), accept),
		r(drop))...)
	return append(all, hooked(inetTable, "to-ports", nftables.ChainHookForward, 0,
		notOurs, judged, open,
		r(udp(67, 68), accept), r(udp(547, 546), accept),
		r(icmp6(routerSolicitation), accept), r(icmp6(routerAdvertisement), accept),
		r(icmp6(neighbourSolicitation), accept), r(icmp6(neighbourAdvertisement), accept),
		byMark(ingress),
		r(drop))...)
}
