package network_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// pluginHost is the site's host as plugins see it.
func (c *cloud) pluginHost() *pluginv1.Host {
	c.t.Helper()
	h, err := c.Topology.PluginHost(c.t.Context(), c.Store, c.s.Host)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// guest is one with a NIC in the site's network that no service knows of yet.
func (c *cloud) guest() (contract.Guest, []*contract.NICPlan) {
	g := contract.Guest{VMUUID: resource.NewUUID(), Name: "g", DefaultL3UUID: c.s.L3, Hostnames: map[string]string{c.s.L3: "web"},
		UserData: []byte("#!"), SSHKeys: []string{"ssh-ed25519 A"}}
	return g, []*contract.NICPlan{{UUID: resource.NewUUID(), L3UUID: c.s.L3, MAC: "fa:00:00:00:00:01", IP: "10.0.0.99", Netmask: "255.255.255.0",
		Gateway: "10.0.0.1", InternalName: "vnic1.0"}}
}

// Each provider of a guest's networks is told of its NICs, and of the network
// with the provider's own services.
func TestPrepareTellsEachProvider(t *testing.T) {
	c := newCloud(t)
	g, nics := c.guest()
	c.Calls.Forget()
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
		t.Fatal(err)
	}
	c.want("bridge", nics[0].Bridge, "br_fake")
	c.want("MTU", nics[0].MTU, int32(1500))
	c.want("calls for a network without services", len(c.Calls.Methods()), 0)
	c.serve(kerneltest.FakeType, "DHCP")
	c.serve(kerneltest.FakeAddressedType, "DNS", "SNAT")
	c.Calls.Forget()
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
		t.Fatal(err)
	}
	c.want("calls", len(c.Calls.Methods()), 2)
	if c.told("DHCP") == nil || c.told("DNS", "SNAT") == nil {
		t.Errorf("told was %v", c.Calls.Of(kerneltest.Applies))
	}
	r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
	n := r.NICs[0]
	for field, got := range map[string][2]string{"uuid": {n.GetNicUuid(), nics[0].UUID}, "guest": {n.GetVmUuid(), g.VMUUID}, "name": {n.GetVmName(), "g"},
		"MAC": {n.GetMac(), "fa:00:00:00:00:01"}, "IP": {n.GetIp(), "10.0.0.99"}, "netmask": {n.GetNetmask(), "255.255.255.0"}, "gateway": {n.GetGateway(), "10.0.0.1"},
		"hostname": {n.GetHostname(), "web"}, "network": {n.GetL3Uuid(), c.s.L3}, "user data": {string(n.GetUserData()), "#!"}, "key": {n.GetSshKeys()[0], "ssh-ed25519 A"}} {
		c.want(field, got[0], got[1])
	}
	c.want("default network", n.GetDefaultNetwork(), true)

	c.Calls.Fail(kerneltest.Applies, noDHCP())
	err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics)
	if errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("a provider that fails: %v", err)
	}
	before := c.Dump("VmInstance", "VmNic", "UsedIp", "Volume")
	c.Refused(errs.Unavailable, "APICreateVmInstanceMsg", P{"name": "vm", "instanceOfferingUuid": c.s.Offering, "imageUuid": c.s.Image,
		"l3NetworkUuids": []string{c.s.L3}}, "network services of Fake", "dnsmasq")
	if after := c.Dump("VmInstance", "VmNic", "UsedIp", "Volume"); after != before {
		t.Errorf("left over:\n%s", after)
	}
}

// A network that changes while a host is told of it is told again: the last that
// a host hears is what the rows say.
func TestPrepareWhileTheNetworkChanges(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	g, nics := c.guest()
	changed := false
	c.Calls.On(kerneltest.Applies, func(any) error {
		if !changed {
			changed = true
			c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"})) // no guest is there yet
		}
		return nil
	})
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
		t.Fatal(err)
	}
	r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
	if len(r.Networks[0].GetDns()) != 1 || len(r.NICs) != 1 {
		t.Errorf("told last was %v", r)
	}
}

// A guest is not plugged into a network that is being deleted, and what was
// prepared for it is taken back.
func TestPrepareInANetworkThatGoes(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	g, nics := c.guest()
	before := 0
	c.Calls.After(kerneltest.Applies, func(any) error {
		c.Calls.After(kerneltest.Applies, nil)
		c.Do("APIDeleteL3NetworkMsg", P{"uuid": c.s.L3})
		before = len(c.Calls.Of(kerneltest.Removes)) // the deletion itself has the host forget it
		return nil
	})
	err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics)
	if errs.ClassOf(err) != errs.NotFound {
		t.Errorf("prepared in a network that is gone: %v", err)
	}
	if after := len(c.Calls.Of(kerneltest.Removes)); before == 0 || after == before {
		t.Errorf("the host was told to forget it %d times, %d of them before the NIC was prepared", after, before)
	}
}

// Release takes back what Prepare did, whatever has become of the network.
func TestRelease(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	g, nics := c.guest()
	release := func() {
		t.Helper()
		c.Calls.Forget()
		if err := c.Network.Release(t.Context(), c.pluginHost(), g.VMUUID, nics); err != nil {
			t.Fatal(err)
		}
	}
	release()
	r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.want("released", kerneltest.Gone(r).NICs[0], nics[0].UUID)
	c.Calls.Fail(kerneltest.Removes, noDHCP())
	if err := c.Network.Release(t.Context(), c.pluginHost(), g.VMUUID, nics); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("a provider that fails: %v", err)
	}
	c.Calls.Fail(kerneltest.Removes, nil)
	c.set("DELETE FROM `L2NetworkHostRef`")
	release()
	c.want("calls for a network that the host does not have", len(c.Calls.Methods()), 0)
	nics[0].L3UUID = resource.NewUUID()
	release()
	f, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.want("forgotten", kerneltest.Gone(f).Networks[0], nics[0].L3UUID)
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("prepared in a network that never was: %v", err)
	}
}

// A host that connects is told of all its guests, and of nobody else's; a
// provider without any is told so.
func TestSyncAtConnect(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	vm := c.VM(c.s, nil)
	second := c.Host(c.s.Cluster)
	guests := func(host string) (count map[string]int) {
		c.Calls.Forget()
		c.Do("APIReconnectHostMsg", P{"uuid": host})
		c.Idle(host)
		count = map[string]int{}
		for _, r := range c.Calls.Of(kerneltest.Syncs) {
			r := kerneltest.Told(r)
			c.want("host", r.Host.GetUuid(), host)
			for _, n := range r.NICs {
				count[n.GetNicUuid()]++
			}
			count["networks"] += len(r.Networks)
			count["calls"]++
		}
		return count
	}
	own := guests(c.s.Host)
	if own[vm.Rows("vmNics")[0].Text("uuid")] != 1 || own["networks"] != 1 || own["calls"] != 2 {
		t.Errorf("told was %v", own)
	}
	if others := guests(second); others["calls"] != 2 || len(others) != 2 || others["networks"] != 0 {
		t.Errorf("a host without guests was told %v", others)
	}
	c.Calls.Fail(kerneltest.Syncs, errs.New(errs.Unavailable, "the agent", "does not answer").OfCheck(kerneltest.FakeRequired))
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": c.s.Host}, "does not answer")
}
