// Command kumo-plugin-vlan makes layer 2 networks of VLANs of a physical interface
// (L2VlanNetwork): guests are plugged into a bridge, and frames have the network's
// tag of IEEE 802.1Q on the wire. It reaches a host only through env.Core.Host and
// must not import anything of core, web or another plugin.
//
// It only computes: a network is a fragment of desired state, which the agent on the
// host keeps by owner and key and makes real.
//
//	owner     key        fragment
//	vlan-l2   <L2 uuid>  bridge over the VLAN of the physical interface
package main
