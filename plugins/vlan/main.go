package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// linuxBridge is the only kind of switch that this plugin makes, as the wire calls it.
	linuxBridge = "LinuxBridge"
	// vlanField has a network's tag.
	vlanField = "vlan"
)

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(newPlugin()) }

// newPlugin declares the network type by the names of the wire catalogue.
func newPlugin() pluginsdk.Plugin {
	n := &l2{}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "vlan", Version: version,
			Caption:     pluginsdk.Say("VLAN network", "VLAN网络"),
			Description: "Makes VLANs of physical networks.",
			L2Networks: []*pluginv1.L2NetworkDecl{{
				Type: "L2VlanNetwork", HypervisorTypes: []string{"KVM"},
				Switches: []*pluginv1.Switch{{Name: linuxBridge, Caption: pluginsdk.Say("Linux bridge", "Linux网桥")}},
				Add: &pluginv1.AddMessage{
					Message: "APICreateL2VlanNetworkMsg", Path: "/l2-networks/vlan", Query: true,
					Subtype: "L2VlanNetwork", InventoryClass: "org.zstack.header.network.l2.L2VlanNetworkInventory",
					Caption:    pluginsdk.Say("VLAN network", "VLAN二层网络"),
					Doc:        pluginsdk.Say("An L2 network whose frames have a tag on the wire.", "在物理网络上带有VLAN标签的二层网络。"),
					MessageDoc: "Makes a layer 2 network of a VLAN of a physical interface.",
				},
				Fields: []*pluginv1.Field{{
					Name: vlanField, Kind: "int", Required: true, Min: 1, Max: 4094, Index: true, Immutable: true,
					Caption: pluginsdk.Say("VLAN ID", "VLAN ID"), Doc: "Tag of the network's frames on the wire (IEEE 802.1Q).",
				}},
				Unique: []string{"physicalInterface", vlanField},
				Number: vlanField,
				Refuses: []*pluginv1.Refusal{
					{Parameter: "isolated", Reason: "the network does not keep its guests apart"},
					{Parameter: "pvlan", Reason: "the network has no private VLANs"},
				},
			}},
			Permissions: []string{pluginsdk.PermissionHostCall + ":/kumo.host.v1.HostAgentService/Apply"},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			n.core = env.Core
			return nil
		},
		L2Network: n,
	}
}
