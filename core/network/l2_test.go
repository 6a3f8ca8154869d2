package network_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestNewL2Network(t *testing.T) {
	c := newCloud(t)
	p := func(more P) P {
		all := P{"name": "l2", "zoneUuid": c.s.Zone, "physicalInterface": "eth1"}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	row := c.Do("APICreateL2NoVlanNetworkMsg", p(P{"isolated": false}))
	c.want("type", row.Text("type"), "L2NoVlanNetwork")
	c.want("switch", row.Text("vSwitchType"), "FakeSwitch") // the first that the plugin declares
	row = c.Do("APICreateL2NoVlanNetworkMsg", p(P{"vSwitchType": "OtherSwitch"}))
	c.want("other switch", row.Text("vSwitchType"), "OtherSwitch")
	c.want("zone", row.Text("zoneUuid"), c.s.Zone)
	before := c.count("L2Network")
	for _, bad := range []struct {
		class errs.Class
		p     P
		word  string
	}{
		{errs.Invalid, P{"physicalInterface": "eth0;reboot"}, "physicalInterface"},
		{errs.Invalid, P{"physicalInterface": "sixteenletters16"}, "physicalInterface"},
		{errs.Invalid, P{"vSwitchType": "MacVlan"}, "vSwitchType"},
		{errs.Unsupported, P{"isolated": true}, "isolated"},
		{errs.Unsupported, P{"pvlan": "1:2"}, "pvlan"},
		{errs.NotFound, P{"zoneUuid": resource.NewUUID()}, "zoneUuid"},
	} {
		c.Refused(bad.class, "APICreateL2NoVlanNetworkMsg", p(bad.p), bad.word)
	}
	c.want("networks", c.count("L2Network"), before)
}

// An L2 network is attached once, in its zone, and alone on its interface.
func TestAttachRules(t *testing.T) {
	c := newCloud(t)
	attach := func(l2, cluster string) P { return P{"l2NetworkUuid": l2, "clusterUuid": cluster} }
	c.Refused(errs.Refused, "APIAttachL2NetworkToClusterMsg", attach(c.s.L2, c.s.Cluster), "L2Network l2", "attached to cluster cluster already")
	same := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "same", "zoneUuid": c.s.Zone, "physicalInterface": "eth0"})
	c.Refused(errs.Invalid, "APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": same, "clusterUuid": c.Cluster(c.s.Zone), "l2ProviderType": "Nobody"}, "l2ProviderType")
	c.Refused(errs.Refused, "APIAttachL2NetworkToClusterMsg", attach(same, c.s.Cluster), "eth0 carries network l2")
	elsewhere := c.Cluster(c.Create("APICreateZoneMsg", P{"name": "elsewhere"}))
	c.Refused(errs.Refused, "APIAttachL2NetworkToClusterMsg", attach(same, elsewhere), "another zone")
	c.want("calls", len(c.Calls.Of("Realize")), 1) // that of the site
	c.Do("APIAttachL2NetworkToClusterMsg", attach(same, c.Cluster(c.s.Zone)))
}

// A network is made on the connected hosts of a cluster, and on the others when
// they connect.
func TestAttachMakesItOnHosts(t *testing.T) {
	c := newCloud(t)
	away := c.Host(c.s.Cluster)
	c.set("UPDATE `Host` SET `status` = 'Disconnected' WHERE `uuid` = ?", away)
	l2 := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "second", "zoneUuid": c.s.Zone, "physicalInterface": "eth1"})
	c.Calls.Forget()
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster})
	realized := func(host string) {
		t.Helper()
		r, ok := kerneltest.Last[*pluginv1.RealizeRequest](c.Calls, "Realize")
		if n := r.GetNetwork(); !ok || r.Host.GetUuid() != host || n.GetUuid() != l2 || n.GetPhysicalInterface() != "eth1" || n.GetType() != "L2NoVlanNetwork" {
			t.Errorf("told was %v", r)
		}
	}
	c.want("hosts that were told", len(c.Calls.Of("Realize")), 1)
	realized(c.s.Host)
	c.want("rows", c.count("L2NetworkHostRef", "l2NetworkUuid="+l2, "bridge=br_fake"), 1)
	c.Do("APIReconnectHostMsg", P{"uuid": away})
	c.want("rows", c.count("L2NetworkHostRef", "l2NetworkUuid="+l2, "bridge=br_fake"), 2)
}

func TestAttachIsUndone(t *testing.T) {
	c := newCloud(t)
	l2 := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "second", "zoneUuid": c.s.Zone, "physicalInterface": "eth1"})
	second := c.Host(c.s.Cluster)
	attach := func() error {
		_, err := c.Call("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster})
		return err
	}
	types := []string{"L2NetworkClusterRef", "L2NetworkHostRef"}
	c.FailEachStep(c.Network.AttachSteps(), types, attach)
	// One host of two cannot have it: the other gives it back.
	before := c.Dump(types...)
	c.Calls.On("Realize", func(r any) error {
		if r.(*pluginv1.RealizeRequest).GetHost().GetUuid() == second {
			return silent()
		}
		return nil
	})
	c.Refused(errs.Unavailable, "APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster}, "L2Network second", "does not answer")
	if after := c.Dump(types...); after != before {
		t.Errorf("left over:\n%s", after)
	}
	c.Calls.On("Realize", nil)
	if err := attach(); err != nil {
		t.Fatal(err)
	}
}

// A cluster gives a network back when none of its guests is plugged in.
func TestDetach(t *testing.T) {
	c := newCloud(t)
	detach := P{"l2NetworkUuid": c.s.L2, "clusterUuid": c.s.Cluster}
	vm := c.VM(c.s, nil)
	c.Refused(errs.Refused, "APIDetachL2NetworkFromClusterMsg", detach, "guest vm of the cluster is plugged in", "stop")
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm.Text("uuid")})
	c.Calls.Forget()
	c.Do("APIDetachL2NetworkFromClusterMsg", detach)
	for _, table := range []string{"L2NetworkClusterRef", "L2NetworkHostRef"} {
		c.want(table, c.count(table), 0)
	}
	r, _ := kerneltest.Last[*pluginv1.UnrealizeRequest](c.Calls, "Unrealize")
	c.want("taken away", r.GetNetwork().GetPhysicalInterface(), "eth0")
	l3, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.want("forgotten before", kerneltest.Gone(l3).Networks[0], c.s.L3)
	c.Do("APIDetachL2NetworkFromClusterMsg", detach) // it is a success when nothing is there
	c.Refused(errs.Refused, "APIStartVmInstanceMsg", P{"uuid": vm.Text("uuid")}, "no cluster has all the L2 networks")
}

// What a host could not give back it gives back later: with a ping when it
// answers, or when it connects, even if the network is gone meanwhile.
func TestHostGivesBackLater(t *testing.T) {
	for name, later := range map[string]func(c *cloud){
		"with a ping":      func(c *cloud) { c.Report(c.s.Host, true) },
		"when it connects": func(c *cloud) { c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.Calls.Fail("Unrealize", silent())
			c.Refused(errs.Unavailable, "APIDetachL2NetworkFromClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": c.s.Cluster}, "does not answer")
			c.want("the attachment", c.count("L2NetworkClusterRef"), 1)
			c.Do("APIDeleteL2NetworkMsg", P{"uuid": c.s.L2, "deleteMode": "Enforcing"})
			c.want("networks", c.count("L2Network"), 0)
			c.want("what the host may have", c.count("L2NetworkHostRef"), 1)
			c.Calls.Fail("Unrealize", nil)
			c.Calls.Forget()
			later(c)
			c.Idle(c.s.Host)
			c.want("what the host may have after that", c.count("L2NetworkHostRef"), 0)
			r, _ := kerneltest.Last[*pluginv1.UnrealizeRequest](c.Calls, "Unrealize")
			c.want("taken away", r.GetNetwork().GetUuid()+r.GetNetwork().GetPhysicalInterface(), c.s.L2+"eth0")
		})
	}
}

// What is taken from a host is what it was told last, not what the network was at
// first.
func TestWhatTheHostWasTold(t *testing.T) {
	c := newCloud(t)
	c.set("UPDATE `L2Network` SET `physicalInterface` = 'eth5' WHERE `uuid` = ?", c.s.L2)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Do("APIDetachL2NetworkFromClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": c.s.Cluster})
	r, _ := kerneltest.Last[*pluginv1.UnrealizeRequest](c.Calls, "Unrealize")
	c.want("taken away", r.GetNetwork().GetPhysicalInterface(), "eth5")
}

func TestDeleteL2Network(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Refused(errs.Refused, "APIDeleteL2NetworkMsg", P{"uuid": c.s.L2}, "guest "+vm+" has a NIC in L3Network "+c.s.L3)
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": vm})
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": vm})
	c.Do("APIDeleteL2NetworkMsg", P{"uuid": c.s.L2})
	for _, typeName := range []string{"L2Network", "L3Network", "IpRange", "UsedIp", "L2NetworkClusterRef", "L2NetworkHostRef"} {
		c.want(typeName, c.count(typeName), 0)
	}
}

// A network that no plugin makes cannot be attached.
func TestAttachNeedsAPlugin(t *testing.T) {
	c := newCloud(t)
	other := c.Cluster(c.s.Zone)
	c.set("UPDATE `L2Network` SET `type` = 'Exotic' WHERE `uuid` = ?", c.s.L2)
	if _, err := c.Call("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": other}); err == nil {
		t.Error("a network that no plugin makes was attached")
	}
	c.want("attachments", c.count("L2NetworkClusterRef", "clusterUuid="+other), 0)
}
