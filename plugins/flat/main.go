package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Services on the wire that this provider has.
const (
	serviceDHCP      = "DHCP"
	serviceDNS       = "DNS"
	serviceUserdata  = "Userdata"
	serviceHostRoute = "HostRoute"
)

// linuxBridge is the only kind of switch that this plugin makes, as the wire
// calls it.
const linuxBridge = "LinuxBridge"

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(newPlugin()) }

// newPlugin declares the network type and the provider. Names and the tag that
// keeps the provider's address are those of the wire catalogue.
func newPlugin() pluginsdk.Plugin {
	hosts := &hosts{}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "flat", Version: version,
			Caption:     pluginsdk.Say("Flat network", "扁平网络"),
			Description: "Bridges physical networks and serves DHCP, DNS and user data on each host.",
			L2Networks: []*pluginv1.L2NetworkDecl{{
				Type: "L2NoVlanNetwork", HypervisorTypes: []string{"KVM"},
				Switches: []*pluginv1.Switch{{Name: linuxBridge, Caption: pluginsdk.Say("Linux bridge", "Linux网桥")}},
				Add: &pluginv1.AddMessage{Message: "APICreateL2NoVlanNetworkMsg", Path: "/l2-networks/no-vlan",
					MessageDoc: "Makes an untagged layer 2 network on a physical interface."},
				Unique: []string{"physicalInterface"},
				Refuses: []*pluginv1.Refusal{
					{Parameter: "isolated", Reason: "the network does not keep its guests apart"},
					{Parameter: "pvlan", Reason: "the network has no private VLANs"},
				},
			}},
			NetworkServices: []*pluginv1.NetworkServiceDecl{{
				Type: "Flat", Name: "Flat Network Service Provider",
				Description:     "Serves guests on their own host, without a router.",
				Services:        []string{serviceDHCP, serviceDNS, serviceUserdata, serviceHostRoute},
				L2Types:         []string{"L2NoVlanNetwork", "L2VlanNetwork"},
				HypervisorTypes: []string{"KVM"},
				ServiceIp:       true,
				ServiceIpTag:    "flatNetwork::DhcpServer::{ip}::ipUuid::{uuid}",
			}},
			Permissions: []string{pluginsdk.PermissionHostCall},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			hosts.core, hosts.log = env.Core, env.Log
			return nil
		},
		L2Network:      &l2{hosts},
		NetworkService: &provider{hosts},
	}
}
