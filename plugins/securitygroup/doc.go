// Command kumo-plugin-securitygroup filters the packets of guests by security groups
// (specification of network services, section 4): a group has rules, NICs are members
// of groups, and rules may name a group in the place of addresses. It brings these
// resource types and their messages, and the core knows nothing of them. It must not
// import anything of core, web or another plugin.
//
// # What is in the database, and what is on hosts
//
// Rows are the core's to keep; actions answer which of them change (rules.go,
// members.go). What hosts have follows from the rows alone (desired.go), as fragments
// of the host agent's desired state under one owner:
//
//	group-<UUID>  the rules of an enabled group that a NIC of the host is in
//	set-<UUID>    the addresses of the members of a group that such a rule names
//	nic-<UUID>    the host's end of a NIC: its addresses, its groups in order, its policy
//
// The agent filters statefully, keeps to one transaction for a change, and mends what
// somebody else changes; pluginsdk/dataplane/filter says what it needs of the kernel.
//
// # When hosts are told
//
// A pass reads the rows, computes what each host should have, and tells the hosts what
// is different from what they were told (passes.go, hosts.go). There is a pass before
// a guest starts or gets a NIC (a guest never runs unfiltered), when one is gone, when a host
// connects, and after each change of a row that counts. The core tells of changes from
// its outbox: also of those that happened while this plugin was away. Many changes at
// once share a pass. A pass that begins after a change sees it, so the last one leaves
// every host as the rows are, whatever was killed in between.
//
// A host that cannot be reached is told everything when it connects again.
package main
