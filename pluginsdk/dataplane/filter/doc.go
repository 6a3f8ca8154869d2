// Package filter makes the kernel's packet filter (nf_tables) follow fragments of
// filter sets, groups and ports (kumo.host.v1): what guests may send and be sent. It
// knows nothing of who wants that, or why. The host agent's engine keeps the
// fragments; this package has no state of its own but what the machine's settings
// were.
//
// # What is where
//
// Two tables have the name kumo_filter; a change of both is one transaction.
//
// The bridge table does what needs no memory. At prerouting it sees that a guest
// sends as itself: MAC, IPv4 and IPv6 source, ARP sender, no DHCP server, no router
// advertisement, no redirect, nothing but IPv4, IPv6 and ARP. It marks what comes
// from a port with the number of the port's profile, and at forward what goes to one
// with the number of that. Maps from device names give the numbers, so a device need
// not be there, and needs nothing when it comes.
//
// The inet table does what needs connections, which the kernel does not follow in the
// bridge family everywhere (NF_CONNTRACK_BRIDGE). br_netfilter hands it packets of
// bridges; by the mark a map finds the profile's chain. Packets from ports are judged
// at prerouting after conntrack, those to ports at forward: one from a guest to
// another passes both. A profile is a list of groups with what happens at its end:
// its chain jumps to the groups' chains. Ports with the same list share a profile, so a port
// is eight elements and no rule. Sets are shared by the groups of an owner. Each rule has a
// named counter, which stays as long as the rule's ID does.
//
// Connections of a bridge are in a conntrack zone of their own, the lower half of the
// bridge's index: bridges with the same addresses do not share them. Packets to
// addresses of the host stay in zone 0, in which the host answers. A packet that
// comes from elsewhere is put in the zone when it goes to a guest's MAC.
//
// br_netfilter is a setting of the network namespace, which others may switch off. So
// the inet table adds a bit to the marks that it has seen, and the bridge table drops
// IP packets of ports without it: they do not pass unjudged. Marks are cleared where
// a packet leaves the bridge. Marks 0x4b75xxxx are ours; packets of other ports keep
// theirs.
//
// # What is judged
//
// Open connections, and what is related to them, pass. Then always DHCP of the guest,
// DNS requests, neighbour discovery and router solicitation, and advertisements to
// the guest; then the rules of the groups in their order, the first that matches ends
// it; then what the port says. Frames to a port that are not IP or ARP are dropped.
// Packets between the host itself and a guest are judged when they come from the
// guest; the host may send what it likes.
//
// When rules change, open connections of the ports that this concerns are judged anew
// (connections.go): those that are not allowed any more are cut, the others go on.
// That reads the kernel's list of connections once.
//
// # How it is kept
//
// A thing in the kernel (table, set, element, chain, a chain's rules, counter) has a
// value; two lists of things differ in a list of changes, and those are one
// transaction. Rules carry a sum of what they say as their comment, by which they are
// known again. A call compares what changed with what it made before; a sync, a start
// and a change by somebody else (Watch) compare with what the kernel has. Where
// things are there in a way that cannot be changed, such as a base chain elsewhere,
// both tables are made anew, in one transaction.
//
// # What the kernel needs
//
// nf_tables with the bridge and inet families, nft_ct, nft_fib_inet, br_netfilter,
// conntrack with zones and its netlink interface: Linux 5.6 or newer. A host that
// routes or translates between its bridges and other networks for its guests is not
// served: replies come back in another zone. With br_netfilter on, rules of others at
// the host's forward hook see packets of bridges, too.
//
// The package must not import anything of core, plugins or web.
package filter
