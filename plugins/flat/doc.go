// Command kumo-plugin-flat joins guests to a network of the data centre: it
// bridges a physical interface (L2NoVlanNetwork) and gives guests DHCP, DNS,
// host routes and user data on their own host (the Flat provider), so that no
// traffic passes a router. It reaches a host only through env.Core.Host and
// must not import anything of core, web or another plugin.
//
// It only computes: rows of the graph become fragments of desired state, which
// the agent on the host keeps by owner and key and makes real.
//
//	owner     key              fragment
//	flat-l2   <L2 uuid>        bridge over the physical interface
//	flat      <L3 uuid>        namespace on the bridge with DHCP, DNS, metadata
//	flat      dhcp-<NIC uuid>  fixed lease of a NIC
//	flat      meta-<NIC uuid>  what the guest behind a NIC reads as its metadata
//
// Bridges have an owner of their own because a sync replaces everything that
// the other one has on a host, and bridges must survive that. The agent also keeps
// at which revision the other one's fragments are.
package main
