package sdk

import (
	"slices"
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// The SDK makes a network of a VLAN, attaches it and takes it away.
func TestVLANNetwork(t *testing.T) {
	c := (&Backend{Server: server.Start(t, server.Options{Plugins: []string{"simulator", "vlan"}})}).login(t)
	zone := Make(t, c, wire.Zones, wire.Params{"name": "zone"})
	cluster := Make(t, c, wire.Clusters, wire.Params{"name": "cluster", "zoneUuid": zone, "hypervisorType": "Simulator"})
	p := param.CreateL2VlanNetworkParam{Params: param.CreateL2VlanNetworkDetailParam{Name: "vlan", ZoneUuid: zone, PhysicalInterface: "eth1", Vlan: 42}}
	made, err := c.CreateL2VlanNetwork(p)
	if must(t, made, err); made.Type != "L2VlanNetwork" || made.PhysicalInterface != "eth1" {
		t.Errorf("made was %+v", made)
	}
	attached, err := c.AttachL2NetworkToCluster(cluster, made.UUID)
	if must(t, attached, err); !slices.Equal(attached.AttachedClusterUuids, []string{cluster}) {
		t.Errorf("the network belongs to the clusters %v", attached.AttachedClusterUuids)
	}
	p.Params.Vlan = 4095
	if _, err := c.CreateL2VlanNetwork(p); err == nil {
		t.Error("VLAN 4095 was made")
	}
	if err := c.DeleteL2Network(made.UUID, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
	left, err := c.QueryL2Network(q("type=L2VlanNetwork"))
	if must(t, left, err); len(left) > 0 {
		t.Errorf("left is %+v", left)
	}
}
