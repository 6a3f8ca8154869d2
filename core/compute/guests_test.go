package compute_test

import (
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// network makes another network with addresses and the services of the test's
// plugin.
func (c *cloud) network() string {
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "second", "l2NetworkUuid": c.s.L2})
	c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.1.0.0/24"})
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": l3, "networkServices": map[string][]string{kerneltest.FakeType: {"DHCP", "Userdata"}}})
	return l3
}

// A guest has a NIC in each of its networks, in their order, with what is wished
// for each; its name is that of its default network, elsewhere it has one made of
// its address.
func TestSeveralNetworks(t *testing.T) {
	c := newCloud(t)
	c.services()
	second := c.network()
	p := P{"l3NetworkUuids": []string{c.s.L3, second}, "defaultL3NetworkUuid": second, "systemTags": []string{
		"staticIp::" + second + "::10.1.0.77", "customMac::" + second + "::fa:00:00:00:00:77", "staticIp::" + c.s.L3 + "::10.0.0.78"}}
	uuid := c.run(p)
	check := func(when, hostname string) {
		t.Helper()
		r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
		nics := r.NICs
		if len(nics) != 2 {
			t.Fatalf("%s: NICs %v", when, nics)
		}
		c.Want("first network "+when, nics[0].GetL3Uuid(), c.s.L3)
		c.Want("its address "+when, nics[0].GetIp(), "10.0.0.78")
		c.Want("its host name "+when, nics[0].GetHostname(), "10-0-0-78")
		c.Want("it is the default "+when, nics[0].GetDefaultNetwork(), false)
		c.Want("second network "+when, nics[1].GetL3Uuid(), second)
		c.Want("its address "+when, nics[1].GetIp(), "10.1.0.77")
		c.Want("its MAC "+when, nics[1].GetMac(), "fa:00:00:00:00:77")
		c.Want("its host name "+when, nics[1].GetHostname(), hostname)
		c.Want("it is the default "+when, nics[1].GetDefaultNetwork(), true)
		c.Want("NICs of the guest "+when, len(c.started().GetNics()), 2)
	}
	check("at first", "vm")
	c.do("Stop", uuid)
	c.Do("APIUpdateVmInstanceMsg", P{"uuid": uuid, "name": "no host name"})
	c.do("Start", uuid)
	check("when its name is none", "10-1-0-77")
	c.Create("APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "hostname::web"})
	c.do("Stop", uuid)
	c.do("Start", uuid)
	check("when it has a tag", "web")
}

// Only the guest that is asked for is started, and only when it shall never stop.
func TestKeepIsAboutOneGuest(t *testing.T) {
	c := newCloud(t)
	kept, plain := c.run(P{"systemTags": []string{"ha::NeverStop"}}), c.run(nil)
	c.do("Stop", plain)
	c.World.Set(c.s.Host, kept, ended)
	c.is(kept, "Stopped")
	c.Ok(c.System(compute.KeepMessage, P{"uuid": plain}))
	c.Want("state of another guest", c.state(plain), "Stopped")
	c.Want("state", c.state(kept), "Stopped")
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "ha", "name": "neverStopVm.scan.interval", "value": "1"})
	c.is(kept, "Running") // by itself
	c.Want("state of another guest", c.state(plain), "Stopped")
}

// Guests are found where they are, however many are asked for; those that are
// nowhere are not.
func TestPlaces(t *testing.T) {
	c := newCloud(t)
	first, stopped := c.run(nil), c.run(nil)
	c.do("Stop", stopped)
	uuids := []string{first, stopped}
	for range 1100 {
		uuids = append(uuids, resource.NewUUID())
	}
	last := c.run(P{"name": "last"})
	got := map[string]contract.GuestPlace{}
	c.Ok(c.Compute.Places(t.Context(), c.Store, append(uuids, last), func(p contract.GuestPlace) { got[p.VMUUID] = p }))
	c.Want("guests", len(got), 2)
	for uuid, name := range map[string]string{first: "vm", last: "last"} {
		c.Want("place", got[uuid], contract.GuestPlace{VMUUID: uuid, Name: name, ClusterUUID: c.s.Cluster, HostUUID: c.s.Host})
	}
	c.Ok(c.Compute.Places(t.Context(), c.Store, nil, func(p contract.GuestPlace) { t.Errorf("nobody asked for %v", p) }))
}

// A host that connects restores the services of its guests in one call; guests
// that are at rest need no other.
func TestConnectedHostIsToldOnce(t *testing.T) {
	c := newCloud(t)
	c.services()
	runs, froze := c.run(nil), c.run(nil)
	c.do("Pause", froze)
	c.Calls.Forget()
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	for _, uuid := range []string{c.s.Host, runs, froze} {
		c.Idle(uuid)
	}
	c.Want("guests prepared one by one", len(c.Calls.Of(kerneltest.Applies)), 0)
	nics := 0
	for _, r := range c.Calls.Of(kerneltest.Syncs) {
		nics += len(kerneltest.Told(r).NICs)
	}
	c.Want("NICs that are restored", nics, 2)
}

// A full list of a host tells of all its guests at once: those that are there as
// they should be are left alone, those that are not there have stopped.
func TestFullList(t *testing.T) {
	c := newCloud(t)
	runs, gone, froze := c.run(nil), c.run(nil), c.run(nil)
	c.do("Pause", froze)
	report := func(uuid string, st pluginv1.VMState) *pluginv1.VMStatus {
		return &pluginv1.VMStatus{Uuid: uuid, State: st}
	}
	list := []*pluginv1.VMStatus{report(runs, running), report(froze, paused)}
	// A list that may lack some says nothing of those that it lacks.
	c.Calls.Forget()
	c.Compute.HostVMs(t.Context(), c.s.Host, list, false)
	for _, uuid := range []string{runs, gone, froze} {
		c.Idle(uuid)
	}
	c.Want("guests that the host is asked about", len(c.Calls.Of("ListVMs")), 0)
	c.Compute.HostVMs(t.Context(), c.s.Host, list, true)
	c.Idle(gone)
	asked := c.Calls.Of("ListVMs")
	c.Want("guests that the host is asked about", len(asked), 1)
	c.Want("guest", asked[0].(*pluginv1.ListVMsRequest).GetVmUuid(), gone)
	c.Want("state of one that is there nevertheless", c.state(gone), "Running")
}

// What a volume's or a disk offering's size may be, and how offerings are called.
func TestOfferings(t *testing.T) {
	c := newCloud(t)
	for n, ok := range map[int]bool{0: false, 1: true, 1024: true, 1025: false} {
		p := P{"name": "o", "cpuNum": n, "memorySize": giB, "sortKey": 7}
		if !ok {
			c.Refused(errs.Invalid, "APICreateInstanceOfferingMsg", p, "cpuNum")
			continue
		}
		row := c.Do("APICreateInstanceOfferingMsg", p)
		c.Want("processors", row.Int("cpuNum"), int64(n))
		for field, want := range map[string]string{"type": "UserVm", "state": "Enabled", "allocatorStrategy": contract.PlaceLeastVM} {
			c.Want(field, row.Text(field), want)
		}
		c.Want("sort key", row.Int("sortKey"), int64(7))
	}
	row := c.Do("APICreateDiskOfferingMsg", P{"name": "d", "diskSize": 3, "sortKey": 8, "allocationStrategy": "DefaultPrimaryStorageAllocationStrategy"})
	c.Want("disk", fmt.Sprint(row.Int("diskSize"), row.Int("sortKey"), row.Text("type"), row.Text("state")), "3 8zstackEnabled")
	c.Refused(errs.Invalid, "APICreateDiskOfferingMsg", P{"name": "d", "diskSize": 0}, "diskSize")
	uuid := row.Text("uuid")
	c.Want("name", c.Do("APIUpdateDiskOfferingMsg", P{"uuid": uuid, "name": "disk"}).Text("name"), "disk")
	o := c.s.Offering
	c.Want("strategy", c.Do("APIUpdateInstanceOfferingMsg", P{"uuid": o, "allocatorStrategy": contract.PlaceMinCPU}).Text("allocatorStrategy"), contract.PlaceMinCPU)
	c.Want("strategy that is not given", c.Do("APIUpdateInstanceOfferingMsg", P{"uuid": o, "name": "n"}).Text("allocatorStrategy"), contract.PlaceMinCPU)
	vm := c.run(nil)
	c.Do("APIDeleteInstanceOfferingMsg", P{"uuid": o})
	c.Do("APIDeleteDiskOfferingMsg", P{"uuid": uuid})
	c.Want("guest of an offering that is gone", c.state(vm), "Running")
	c.do("Stop", vm)
	c.Want("it starts", c.do("Start", vm).Text("state"), "Running")
}
