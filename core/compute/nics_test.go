package compute_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	attachMessage = "APIAttachL3NetworkToVmMsg"
	detachMessage = "APIDetachL3NetworkFromVmMsg"
)

// second makes another network on the site's L2 network, with services.
func (c *cloud) second(name, net string) string {
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": name, "l2NetworkUuid": c.s.L2})
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "range", "startIp": net + ".10", "endIp": net + ".20", "netmask": "255.255.255.0", "gateway": net + ".1"})
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": l3, "networkServices": map[string][]string{kerneltest.FakeType: {"DHCP", "Userdata"}}})
	return l3
}

func (c *cloud) attach(vm, l3 string, more P) kerneltest.Row {
	p := P{"vmInstanceUuid": vm, "l3NetworkUuid": l3}
	for k, v := range more {
		p[k] = v
	}
	return c.Do(attachMessage, p)
}

// nicIn is a guest's NIC in a network.
func (c *cloud) nicIn(vm, l3 string) kerneltest.Row {
	list := c.List("VmNic", "vmInstanceUuid="+vm, "l3NetworkUuid="+l3)
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

// A guest that runs gets a NIC: the rows first, then the network's services, then the
// host; and loses it the other way round.
func TestNICOfARunningGuest(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3 := c.second("second", "10.0.1")
	uuid := c.run(nil)
	before := c.Dump(taken...)
	c.Calls.Forget()
	vm := c.attach(uuid, l3, P{"staticIp": "10.0.1.15", "customMac": "fa:00:00:00:00:09", "driverType": "e1000"})
	nics := vm.Rows("vmNics")
	c.Want("NICs", len(nics), 2)
	c.Want("default network", vm.Text("defaultL3NetworkUuid"), c.s.L3)
	nic := nics[1]
	c.Want("network", nic.Text("l3NetworkUuid"), l3)
	c.Want("address", nic.Text("ip"), "10.0.1.15")
	c.Want("MAC", nic.Text("mac"), "fa:00:00:00:00:09")
	c.Want("model", nic.Text("driverType"), "e1000")
	c.Want("device", nic.Int("deviceId"), int64(1))
	c.Want("on the host", strings.Join(c.World.Attached(uuid), " "), nic.Text("uuid"))
	if !c.inOrder(kerneltest.Applies, "DoPoint", "AttachNIC", "DoPoint") {
		t.Errorf("calls %v", c.Calls.Methods())
	}
	r, _ := kerneltest.Last[*pluginv1.AttachNICRequest](c.Calls, "AttachNIC")
	c.Want("plugged in where its network is", r.GetNic().GetBridge() != "", true)
	c.Want("address", r.GetNic().GetMac(), "fa:00:00:00:00:09")
	about, _ := kerneltest.Last[*pluginv1.DoPointRequest](c.Calls, "DoPoint")
	c.Want("NICs that a plugin is told", len(about.GetSubject().GetNics()), 1)
	c.Want("that NIC", about.GetSubject().GetNics()[0].GetUuid(), nic.Text("uuid"))
	c.Want("on", about.GetSubject().GetHostUuid(), c.s.Host)
	c.Want("points", strings.Join(c.passed(), " "), "nic.attach.begin nic.attach.done")
	c.Want("tags", len(c.List("SystemTag", "resourceUuid="+uuid, "tag~=%"+l3+"%")), 2)

	c.Calls.Forget()
	vm = c.Do(detachMessage, P{"vmNicUuid": nic.Text("uuid")})
	c.Want("NICs", len(vm.Rows("vmNics")), 1)
	if !c.inOrder("DoPoint", "DetachNIC", kerneltest.Removes, "DoPoint") {
		t.Errorf("calls %v", c.Calls.Methods())
	}
	c.Want("points", strings.Join(c.passed(), " "), "nic.detach.begin nic.detach.done")
	c.Want("on the host", len(c.World.Attached(uuid)), 0)
	c.Want("what is there", c.Dump(taken...), before)
	c.Want("addresses", len(c.List("UsedIp", "l3NetworkUuid="+l3, "vmNicUuid not null")), 0)
	c.Do(detachMessage, P{"vmNicUuid": nic.Text("uuid")}) // again
	c.attach(uuid, l3, P{"staticIp": "10.0.1.15"})        // it is free
	c.Want("started with", func() int { c.do("Reboot", uuid); return len(c.rebooted().GetNics()) }(), 2)
}

// rebooted is the newest guest that a host was told to reboot.
func (c *cloud) rebooted() *pluginv1.VM {
	r, _ := kerneltest.Last[*pluginv1.RebootVMRequest](c.Calls, "RebootVM")
	return r.GetVm()
}

// The rows of a guest that is stopped change, and no host is asked; it starts with the
// NICs that it has then.
func TestNICOfAStoppedGuest(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3 := c.second("second", "10.0.1")
	uuid := c.run(nil)
	c.do("Stop", uuid)
	c.Calls.Forget()
	c.attach(uuid, l3, P{"systemTags": []string{"staticIp::" + l3 + "::10.0.1.20"}})
	c.Want("address", c.nicIn(uuid, l3).Text("ip"), "10.0.1.20")
	c.Want("points", strings.Join(c.passed(), " "), "nic.attach.begin nic.attach.done")
	c.Do(detachMessage, P{"vmNicUuid": c.nicIn(uuid, c.s.L3).Text("uuid")})
	for _, method := range []string{"AttachNIC", "DetachNIC", kerneltest.Applies, kerneltest.Removes} {
		c.Want(method, c.called(method), false)
	}
	c.Want("default network", c.vm(uuid).Text("defaultL3NetworkUuid"), l3)
	c.do("Start", uuid)
	c.Want("started with", len(c.started().GetNics()), 1)
	c.Want("device", c.started().GetNics()[0].GetDeviceId(), int32(1))
	c.do("Stop", uuid)
	third := c.second("third", "10.0.2")
	c.attach(uuid, third, nil)
	c.Want("the number that is free", c.nicIn(uuid, third).Int("deviceId"), int64(0))
}

// The network of the first NIC that stays becomes the default, the services of the
// others are told, and so is the host name; the last NIC may go, and the next one's
// network is the default again.
func TestDefaultNetworkFollows(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3 := c.second("second", "10.0.1")
	uuid := c.run(P{"name": "web"})
	c.attach(uuid, l3, nil)
	c.Calls.Forget()
	vm := c.Do(detachMessage, P{"vmNicUuid": c.nicIn(uuid, c.s.L3).Text("uuid")})
	c.Want("default network", vm.Text("defaultL3NetworkUuid"), l3)
	told, ok := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Applies)
	c.Want("the service is told", ok, true)
	guest := kerneltest.Told(told).NICs[0]
	c.Want("host name", guest.GetHostname(), "web")
	c.Want("default", guest.GetDefaultNetwork(), true)
	vm = c.Do(detachMessage, P{"vmNicUuid": c.nicIn(uuid, l3).Text("uuid")})
	c.Want("default network", vm.Text("defaultL3NetworkUuid"), "")
	c.Want("NICs", len(vm.Rows("vmNics")), 0)
	c.Want("state", vm.Text("state"), "Running")
	c.Want("default network", c.attach(uuid, l3, nil).Text("defaultL3NetworkUuid"), l3)

	// A host name that another guest has in the next network keeps the NIC.
	other := c.VM(c.s, P{"name": "other", "l3NetworkUuids": []string{l3}, "systemTags": []string{"hostname::mine"}}).Text("uuid")
	one := c.VM(c.s, P{"name": "one", "systemTags": []string{"hostname::mine"}}).Text("uuid")
	c.attach(one, l3, nil)
	before := c.Dump(taken...)
	c.Refused(errs.Exists, detachMessage, P{"vmNicUuid": c.nicIn(one, c.s.L3).Text("uuid")}, "host name mine", other)
	c.Want("what is there", c.Dump(taken...), before)
}

// What cannot be is refused with its reason, and changes nothing.
func TestNICsAreRefused(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3, third, fourth := c.second("second", "10.0.1"), c.second("third", "10.0.2"), c.second("fourth", "10.0.3")
	far := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "far", "zoneUuid": c.s.Zone, "physicalInterface": "eth9"})
	remote := c.Create("APICreateL3NetworkMsg", P{"name": "remote", "l2NetworkUuid": far})
	system := c.Create("APICreateL3NetworkMsg", P{"name": "system", "l2NetworkUuid": c.s.L2, "system": true, "category": "System"})
	bare := c.Create("APICreateL3NetworkMsg", P{"name": "bare", "l2NetworkUuid": c.s.L2})
	off := c.second("off", "10.0.4")
	c.Do("APIChangeL3NetworkStateMsg", P{"uuid": off, "stateEvent": "disable"})
	elsewhere := c.Site()
	uuid, paused := c.run(nil), c.run(nil)
	c.do("Pause", paused)
	taken2 := c.nicIn(paused, c.s.L3)
	before := c.Dump(taken...)
	c.Calls.Forget()
	for _, x := range []struct {
		l3    string
		more  P
		class errs.Class
		says  string
	}{
		{c.s.L3, nil, errs.Refused, "it has a NIC in L3Network " + c.s.L3 + " already"},
		{remote, nil, errs.Refused, "no cluster has all the L2 networks"},
		{elsewhere.L3, nil, errs.Refused, "is in another zone"},
		{system, nil, errs.Refused, "system network"},
		{bare, nil, errs.Refused, "no IP range"},
		{off, nil, errs.Refused, "Disabled"},
		{l3, P{"vmNicParams": "[]"}, errs.Invalid, "vmNicParams"},
		{l3, P{"driverType": "ne2000"}, errs.Invalid, "driverType"},
		{l3, P{"staticIp": "10.9.9.9"}, errs.Invalid, "10.9.9.9 is in no IP range"},
		{l3, P{"staticIp": "x"}, errs.Invalid, "staticIp"},
		{l3, P{"customMac": taken2.Text("mac")}, errs.Exists, "is in use"},
		{l3, P{"systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.99"}}, errs.Invalid, "it is not about L3Network " + l3},
		{l3, P{"systemTags": []string{"hostname::x"}}, errs.Invalid, "it is not about L3Network " + l3},
		{l3, P{"systemTags": []string{"odd::" + l3 + "::x"}}, errs.Invalid, "odd"},
		{l3, P{"staticIp": "10.0.1.11", "systemTags": []string{"staticIp::" + l3 + "::10.0.1.12"}}, errs.Invalid, "two are given"},
		{l3, P{"userTags": []string{"x"}}, errs.Invalid, "userTags"},
	} {
		p := P{"vmInstanceUuid": uuid, "l3NetworkUuid": x.l3}
		for k, v := range x.more {
			p[k] = v
		}
		c.Refused(x.class, attachMessage, p, x.says)
	}
	c.Refused(errs.Refused, attachMessage, P{"vmInstanceUuid": paused, "l3NetworkUuid": l3}, "cannot attach a nic in state Paused")
	c.Refused(errs.Refused, detachMessage, P{"vmNicUuid": taken2.Text("uuid")}, "cannot detach a nic in state Paused")
	account := c.As(c.Account())
	account.Refused(errs.Refused, attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3}, "another account")
	account.Refused(errs.Refused, detachMessage, P{"vmNicUuid": taken2.Text("uuid")}, "another account")
	c.Want("what is there", c.Dump(taken...), before)
	for _, method := range []string{"AttachNIC", "DetachNIC", "DoPoint"} {
		c.Want(method, c.called(method), false)
	}
	c.attach(uuid, l3, nil)
	c.attach(uuid, third, nil)
	c.Refused(errs.Refused, attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": fourth}, "it has 3 NICs, the most")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"l3NetworkUuids": []string{c.s.L3, l3, third, fourth}, "defaultL3NetworkUuid": l3}), "4 NICs are more")
}

// A running guest's cluster must have the network; a stopped one may start elsewhere.
func TestNICInAnotherCluster(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	cluster := c.Cluster(c.s.Zone)
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": cluster})
	l2 := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "there", "zoneUuid": c.s.Zone, "physicalInterface": "eth5"})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": l2, "clusterUuid": cluster})
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "there", "l2NetworkUuid": l2})
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "range", "startIp": "10.7.0.10", "endIp": "10.7.0.20", "netmask": "255.255.255.0", "gateway": "10.7.0.1"})
	c.Refused(errs.Refused, attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3}, "its cluster does not have the L2 network")
	c.Want("candidates", strings.Join(c.candidates(uuid), " "), "")
	c.do("Stop", uuid)
	c.Want("candidates", strings.Join(c.candidates(uuid), " "), "there")
	c.attach(uuid, l3, nil)
	c.Want("candidates", strings.Join(c.candidates(uuid), " "), "")
}

// candidates are the names of the networks in which a guest can get a NIC.
func (c *cloud) candidates(vm string) (names []string) {
	for _, l3 := range c.Do("APIGetVmAttachableL3NetworkMsg", P{"vmInstanceUuid": vm}).Rows("inventories") {
		names = append(names, l3.Text("name"))
	}
	return names
}

// Each network that is offered can be attached, none that is refused is offered, and an
// account sees what it may read.
func TestAttachableNetworks(t *testing.T) {
	c := newCloud(t)
	c.second("b", "10.0.1")
	c.second("a", "10.0.2")
	off := c.second("off", "10.0.3")
	c.Do("APIChangeL3NetworkStateMsg", P{"uuid": off, "stateEvent": "disable"})
	c.Create("APICreateL3NetworkMsg", P{"name": "bare", "l2NetworkUuid": c.s.L2})
	c.Create("APICreateL3NetworkMsg", P{"name": "system", "l2NetworkUuid": c.s.L2, "system": true, "category": "System"})
	uuid := c.run(nil)
	c.Want("networks", strings.Join(c.candidates(uuid), " "), "a b")
	for _, l3 := range c.List("L3Network") {
		_, err := c.Call(attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3.Text("uuid")})
		if offered := slices.Contains([]string{"a", "b"}, l3.Text("name")); offered != (err == nil) {
			t.Errorf("network %s is attached: %v", l3.Text("name"), err)
		}
	}
	c.Want("networks", len(c.candidates(uuid)), 0)
}

// Whatever step fails, and whether or not it worked, the guest is as before: its rows,
// its host and the network services there. All can be repeated.
func TestNICStepsFail(t *testing.T) {
	for name, host := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.services()
			l3 := c.second("second", "10.0.1")
			uuid := c.run(P{"name": "web"})
			if !host {
				c.do("Stop", uuid)
			}
			steps := func(op string) []string {
				return slices.DeleteFunc(c.Compute.Steps()[op], func(step string) bool {
					return !host && !strings.HasPrefix(step, "point.") && step != "allocate-nic" && step != "leave" && step != "detached"
				})
			}
			attach := P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3, "staticIp": "10.0.1.15"}
			types := append([]string{"UsedIp"}, taken...)
			c.FailEachStep(steps("attach-nic"), types, func() error { _, err := c.Call(attachMessage, attach); return err })
			c.Want("on the host", len(c.World.Attached(uuid)), 0)
			c.Want("failed undo", c.Flows.Undoing(uuid), false)
			err := c.RepeatEachStep(func() error { _, err := c.Call(attachMessage, attach); return err })
			c.Want("each step repeated", err, nil)
			first := P{"vmNicUuid": c.nicIn(uuid, c.s.L3).Text("uuid")}
			c.FailEachStep(steps("detach-nic"), types, func() error { _, err := c.Call(detachMessage, first); return err })
			if host {
				c.Want("on the host", len(c.World.Attached(uuid)), 2) // it was plugged in again
			}
			err = c.RepeatEachStep(func() error { _, err := c.Call(detachMessage, first); return err })
			c.Want("each step repeated", err, nil)
			c.Want("NICs", len(c.vm(uuid).Rows("vmNics")), 1)
			c.Want("default network", c.vm(uuid).Text("defaultL3NetworkUuid"), l3)
		})
	}
}

// A host that fails leaves nothing behind, and says why; a guest that ends meanwhile
// needs no undo on it.
func TestHostFailsWithNICs(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3 := c.second("second", "10.0.1")
	uuid := c.run(nil)
	before := c.Dump(taken...)
	for _, method := range []string{kerneltest.Applies, "AttachNIC"} {
		c.Calls.Fail(method, onFire())
		c.Refused(errs.Unavailable, attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3}, "on fire")
		c.Calls.Fail(method, nil)
		c.Want("what is there", c.Dump(taken...), before)
	}
	c.Want("released", c.called(kerneltest.Removes), true)
	c.Calls.After("AttachNIC", func(any) error {
		c.World.Set(c.s.Host, uuid, pluginv1.VMState_VM_STATE_STOPPED)
		return errs.New(errs.Timeout, "host", "no answer")
	})
	if _, err := c.Call(attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3}); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("it ended with %v", err)
	}
	c.found("AttachNIC")
	c.Want("an undo failed", c.Flows.Undoing(uuid), false)
	c.Until("stopped", func() bool { return c.state(uuid) == "Stopped" })
	c.Want("NICs", len(c.vm(uuid).Rows("vmNics")), 1)
	c.do("Start", uuid)
	c.attach(uuid, l3, nil)
	nic := P{"vmNicUuid": c.nicIn(uuid, l3).Text("uuid")}
	c.Calls.Fail("DetachNIC", onFire())
	c.Refused(errs.Unavailable, detachMessage, nic, "on fire")
	c.Calls.Fail("DetachNIC", nil)
	c.Want("NICs", len(c.vm(uuid).Rows("vmNics")), 2)
	c.Want("on the host", len(c.World.Attached(uuid)), 1)

	// What its network keeps of it is noted, and removed later though the guest runs on.
	c.Calls.Fail(kerneltest.Removes, onFire())
	c.Do(detachMessage, nic)
	c.Calls.Fail(kerneltest.Removes, nil)
	notes := c.List("GCJob")
	c.Want("notes", len(notes), 1)
	c.Calls.Forget()
	c.Do("APITriggerGCJobMsg", P{"uuid": notes[0].Text("uuid")})
	c.Until("released", func() bool { return c.called(kerneltest.Removes) })
	r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.Want("released", strings.Join(kerneltest.Gone(r).NICs, " "), nic["vmNicUuid"].(string))
}

// A plugin that fails at a point keeps the NIC from coming, or going.
func TestPointsOfNICsFail(t *testing.T) {
	c := newCloud(t)
	l3 := c.second("second", "10.0.1")
	uuid := c.run(nil)
	c.Calls.Forget()
	c.Calls.Fail("DoPoint", onFire())
	c.Refused(errs.Unavailable, attachMessage, P{"vmInstanceUuid": uuid, "l3NetworkUuid": l3}, "on fire", "nic.attach.begin")
	c.Want("plugged in", c.called("AttachNIC"), false)
	c.Refused(errs.Unavailable, detachMessage, P{"vmNicUuid": c.nicIn(uuid, c.s.L3).Text("uuid")}, "on fire", "nic.detach.begin")
	c.Want("pulled out", c.called("DetachNIC"), false)
	c.Want("NICs", len(c.vm(uuid).Rows("vmNics")), 1)
}

// A host that connects while a NIC comes or goes has the services of the NICs that are
// there when all is done.
func TestHostConnectsWhileNICsChange(t *testing.T) {
	c := newCloud(t)
	c.services()
	l3 := c.second("second", "10.0.1")
	uuid := c.run(nil)
	connect := func() {
		if err := c.Compute.RestoreNetworks(c.Context(), &pluginv1.Host{Uuid: c.s.Host, HypervisorType: kerneltest.FakeType}); err != nil {
			t.Error(err)
		}
	}
	// It has read the guests, and replaces all after the NIC's services were prepared.
	during := func(method string, change func()) {
		done := false
		c.Calls.On(method, func(any) error {
			if !done {
				done = true
				change()
			}
			return nil
		})
	}
	during(kerneltest.Syncs, func() { c.attach(uuid, l3, nil) })
	c.Calls.Forget()
	connect()
	c.Idle(uuid)
	nic := c.nicIn(uuid, l3).Text("uuid")
	c.Want("told of the NIC at last", c.lastWord(nic), kerneltest.Applies)
	during(kerneltest.Syncs, func() { c.Do(detachMessage, P{"vmNicUuid": nic}) })
	c.Calls.Forget()
	connect()
	c.Idle(uuid)
	c.Want("told of the NIC at last", c.lastWord(nic), kerneltest.Removes)
}

// lastWord is what a provider was told last of a NIC.
func (c *cloud) lastWord(nic string) (method string) {
	for _, m := range c.Calls.Of(kerneltest.Applies) {
		if slices.ContainsFunc(kerneltest.Told(m).NICs, func(n *pluginv1.GuestNIC) bool { return n.GetNicUuid() == nic }) {
			method = kerneltest.Applies
		}
	}
	for _, m := range c.Calls.Of(kerneltest.Removes) {
		if slices.Contains(kerneltest.Gone(m).NICs, nic) {
			method = kerneltest.Removes
		}
	}
	return method
}
