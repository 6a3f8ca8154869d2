package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A guest is stopped by what its caller asks for, gives its host back, and is
// stopped once.
func TestStop(t *testing.T) {
	c := newCloud(t)
	c.services()
	empty := c.Dump("Host")
	uuid := c.run(nil)
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "vm", "name": "stopGracePeriod", "value": "17"})
	for kind, cold := range map[string]bool{"grace": false, "cold": true} {
		c.Calls.Forget()
		vm := c.Do("APIStopVmInstanceMsg", P{"uuid": uuid, "type": kind})
		r, _ := kerneltest.Last[*pluginv1.StopVMRequest](c.Calls, "StopVM")
		c.Want("cold", r.GetCold(), cold)
		c.Want("grace", r.GetGraceSeconds(), int32(17))
		c.Want("state", vm.Text("state"), "Stopped")
		c.Want("host", vm.Text("hostUuid"), "")
		c.Want("last host", vm.Text("lastHostUuid"), c.s.Host)
		c.Want("hosts", c.Dump("Host"), empty)
		c.Want("in the world", c.on(uuid), "")
		if !c.inOrder("StopVM", kerneltest.Removes) {
			t.Errorf("calls %v", c.Calls.Methods())
		}
		c.Calls.Forget()
		c.do("Stop", uuid)
		c.Want("stopped again", c.called("StopVM"), false)
		c.do("Start", uuid)
	}
	c.Refused(errs.Invalid, "APIStopVmInstanceMsg", P{"uuid": uuid, "type": "warm"}, "type")
}

// A guest that cannot be stopped is what it was; the room of its host is still
// taken. One that stopped although its host said it did not is found stopped.
func TestStopFails(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	before := c.Dump(taken...)
	c.Calls.Fail("StopVM", onFire())
	c.Refused(errs.Unavailable, "APIStopVmInstanceMsg", P{"uuid": uuid}, "VM vm", "cannot be stopped on host host-01", "on fire")
	c.Idle(uuid)
	c.Want("what is there", c.Dump(taken...), before)
	c.Calls.Fail("StopVM", nil)
	c.lost("StopVM")
	if _, err := c.Call("APIStopVmInstanceMsg", P{"uuid": uuid}); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("it ended with %v", err)
	}
	c.found("StopVM")
	c.Until("stopped", func() bool { return c.state(uuid) == "Stopped" })
	c.Want("host", c.vm(uuid).Text("hostUuid"), "")
}

// Network services that cannot be released are no reason to keep a guest: what is
// left is noted, and removed later.
func TestNetworkThatCannotBeReleased(t *testing.T) {
	for _, verb := range []string{"Stop", "Destroy"} {
		t.Run(verb, func(t *testing.T) {
			c := newCloud(t)
			c.services()
			uuid := c.run(nil)
			c.Calls.Fail(kerneltest.Removes, onFire())
			c.do(verb, uuid)
			c.Want("host", c.vm(uuid).Text("hostUuid"), "")
			notes := c.List("GCJob")
			c.Want("notes", len(notes), 1)
			c.Calls.Fail(kerneltest.Removes, nil)
			c.Calls.Forget()
			c.Do("APITriggerGCJobMsg", P{"uuid": notes[0].Text("uuid")})
			c.Until("released", func() bool { return c.called(kerneltest.Removes) })
			r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
			c.Want("NIC", kerneltest.Gone(r).NICs[0], c.vm(uuid).Rows("vmNics")[0].Text("uuid"))
		})
	}
}

// What was noted is not taken from a guest that runs on the host again.
func TestNoteOfAGuestThatIsBack(t *testing.T) {
	c := newCloud(t)
	c.services()
	uuid := c.run(nil)
	c.Calls.Fail(kerneltest.Removes, onFire())
	c.do("Stop", uuid)
	c.Calls.Fail(kerneltest.Removes, nil)
	note := c.List("GCJob")[0].Text("uuid")
	c.do("Start", uuid)
	c.Calls.Forget()
	c.Do("APITriggerGCJobMsg", P{"uuid": note})
	c.Idle(uuid)
	c.Want("released", c.called(kerneltest.Removes), false)
	c.Want("state", c.state(uuid), "Running")
}

// Whatever step of a start fails, and whether or not it worked, the guest is
// stopped as before and its host has its room back.
func TestStartFails(t *testing.T) {
	for name, elsewhere := range map[string]bool{"on its last host": false, "elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.services()
			uuid := c.run(nil)
			c.do("Stop", uuid)
			p, undo := P{"uuid": uuid}, "StopVM"
			if elsewhere {
				p["hostUuid"], undo = c.Host(c.s.Cluster), "DestroyVM"
			}
			c.Calls.Forget()
			c.FailEachStep(c.Compute.Steps()["start"], taken, func() error { _, err := c.Call("APIStartVmInstanceMsg", p); return err })
			c.Want("undone by "+undo, c.called(undo), true)
			c.Want("undone by both", c.called("StopVM") && c.called("DestroyVM"), false)
			before := c.Dump(taken...)
			c.Calls.Fail(kerneltest.Applies, onFire())
			c.Refused(errs.Unavailable, "APIStartVmInstanceMsg", p, "on fire")
			c.Calls.Fail(kerneltest.Applies, nil)
			c.Want("what is there", c.Dump(taken...), before)
			c.Want("state", c.Do("APIStartVmInstanceMsg", p).Text("state"), "Running")
		})
	}
}

// A guest starts where its caller says, if its volumes are there.
func TestStartOnANamedHost(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	uuid := c.run(P{"hostUuid": c.s.Host})
	c.do("Stop", uuid)
	vm := c.Do("APIStartVmInstanceMsg", P{"uuid": uuid, "hostUuid": second})
	c.Want("host", vm.Text("hostUuid"), second)
	c.do("Stop", uuid)
	third := c.Cluster(c.s.Zone)
	c.Refused(errs.Exhausted, "APIStartVmInstanceMsg", P{"uuid": uuid, "clusterUuid": third})
	c.Host(third)
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": third, "primaryStorageUuid": c.s.Primary})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": third})
	vm = c.Do("APIStartVmInstanceMsg", P{"uuid": uuid, "clusterUuid": third})
	c.Want("cluster", vm.Text("clusterUuid"), third)
}

func TestStartWhereItsVolumesAre(t *testing.T) {
	c := newCloud(t)
	second := c.local()
	uuid := c.run(P{"hostUuid": c.s.Host})
	c.do("Stop", uuid)
	c.Refused(errs.Refused, "APIStartVmInstanceMsg", P{"uuid": uuid, "hostUuid": second}, "its volume ROOT-for-vm is on host "+c.s.Host, "cannot start on "+second)
	c.run(P{"hostUuid": c.s.Host}) // so that the other one were better
	c.Want("host", c.do("Start", uuid).Text("hostUuid"), c.s.Host)
	c.Want("host when it is named", func() string {
		c.do("Stop", uuid)
		return c.Do("APIStartVmInstanceMsg", P{"uuid": uuid, "hostUuid": c.s.Host}).Text("hostUuid")
	}(), c.s.Host)
	c.do("Stop", uuid)
	c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "disable"})
	c.Refused(errs.Exhausted, "APIStartVmInstanceMsg", P{"uuid": uuid}, "Disabled")
}

// The limit of guests on a host holds for starts, too.
func TestStartKeepsTheLimit(t *testing.T) {
	c := newCloud(t)
	o := offering(c.Cloud, contract.PlaceMaxInstance, P{"systemTags": []string{"maxInstancePerHost::1"}})
	uuid := c.run(P{"instanceOfferingUuid": o})
	c.do("Stop", uuid)
	c.run(nil)
	c.Refused(errs.Exhausted, "APIStartVmInstanceMsg", P{"uuid": uuid}, "1 guests, at most 1 allowed")
}

func TestReboot(t *testing.T) {
	c := newCloud(t)
	c.services()
	uuid := c.run(P{"dataDiskSizes": []int64{giB}})
	before := c.Dump(taken...)
	c.Calls.Forget()
	c.Want("state", c.do("Reboot", uuid).Text("state"), "Running")
	r, _ := kerneltest.Last[*pluginv1.RebootVMRequest](c.Calls, "RebootVM")
	c.Want("disks", len(r.GetVm().GetDisks()), 2)
	c.Want("grace", r.GetGraceSeconds(), int32(60))
	if !c.inOrder(kerneltest.Applies, "RebootVM") {
		t.Errorf("calls %v", c.Calls.Methods())
	}
	for _, method := range []string{kerneltest.Applies, "RebootVM"} {
		c.Calls.Fail(method, onFire())
		c.Refused(errs.Unavailable, "APIRebootVmInstanceMsg", P{"uuid": uuid}, "on fire")
		c.Calls.Fail(method, nil)
		c.Idle(uuid)
		c.Want("what is there", c.Dump(taken...), before)
	}
}

// A guest is frozen and goes on; when its host fails, or works and does not say
// so, it is what it was, in the world too.
func TestPauseAndResume(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	for _, x := range []struct{ verb, method, was, is, world string }{
		{"Pause", "PauseVM", "Running", "Paused", "VM_STATE_PAUSED"}, {"Resume", "ResumeVM", "Paused", "Running", "VM_STATE_RUNNING"}} {
		message, before, world := "API"+x.verb+"VmInstanceMsg", c.Dump(taken...), c.on(uuid)
		c.Calls.Fail(x.method, onFire())
		if _, err := c.Call(message, P{"uuid": uuid}); errs.ClassOf(err) != errs.Unavailable {
			t.Errorf("%s ended with %v", x.verb, err)
		}
		c.Calls.Fail(x.method, nil)
		c.lost(x.method)
		if _, err := c.Call(message, P{"uuid": uuid}); errs.ClassOf(err) != errs.Timeout {
			t.Errorf("%s ended with %v", x.verb, err)
		}
		c.found(x.method)
		c.Idle(uuid)
		c.Want("what is there", c.Dump(taken...), before)
		c.Want("in the world", c.on(uuid), world)
		c.Want("state", c.do(x.verb, uuid).Text("state"), x.is)
		c.Want("in the world", c.on(uuid), x.world)
	}
	// What has ended meanwhile needs not go on.
	c.Calls.After("PauseVM", func(any) error {
		c.World.Set(c.s.Host, uuid, pluginv1.VMState_VM_STATE_STOPPED)
		return errs.New(errs.Timeout, "host", "no answer")
	})
	if _, err := c.Call("APIPauseVmInstanceMsg", P{"uuid": uuid}); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("it ended with %v", err)
	}
	c.found("PauseVM")
	c.Want("an undo failed", c.Flows.Undoing(uuid), false)
	c.Until("stopped", func() bool { return c.state(uuid) == "Stopped" })
	uuid = c.run(nil)
	c.do("Pause", uuid)
	c.Want("paused guest that is stopped", c.do("Stop", uuid).Text("state"), "Stopped")
}

// What is not for the state of a guest is refused and touches nothing.
func TestOperationsAndStates(t *testing.T) {
	c := newCloud(t)
	running, stopped, paused, destroyed := c.run(nil), c.run(nil), c.run(nil), c.run(nil)
	c.do("Stop", stopped)
	c.do("Pause", paused)
	c.do("Destroy", destroyed)
	before := c.Dump(taken...)
	c.Calls.Forget()
	for uuid, verbs := range map[string][]string{
		running:   {"Start", "Resume", "Recover", "Expunge"},
		stopped:   {"Reboot", "Pause", "Resume", "Recover", "Expunge"},
		paused:    {"Start", "Pause", "Reboot", "Recover", "Expunge"},
		destroyed: {"Start", "Stop", "Pause", "Resume", "Reboot"},
	} {
		for _, verb := range verbs {
			c.Refused(errs.Refused, "API"+verb+"VmInstanceMsg", P{"uuid": uuid}, "VM vm", "in state "+c.state(uuid), "it must be one of")
		}
	}
	c.Want("what is there", c.Dump(taken...), before)
	c.Want("calls", len(c.Calls.Methods()), 0)
}

// Size and default network change when nothing else would be hurt.
func TestUpdate(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	other := c.Create("APICreateL3NetworkMsg", P{"name": "other", "l2NetworkUuid": c.s.L2})
	before := c.Dump(taken...)
	set := func(field string, v any) P { return P{"uuid": uuid, field: v} }
	c.Refused(errs.Refused, "APIUpdateVmInstanceMsg", set("cpuNum", 2), "cpuNum can be changed while it is Stopped", "stop it first")
	c.Refused(errs.Refused, "APIUpdateVmInstanceMsg", set("memorySize", 2*giB), "memorySize")
	c.Refused(errs.Refused, "APIUpdateVmInstanceMsg", set("state", "Stopped"), "cannot be set by hand")
	c.Refused(errs.Invalid, "APIUpdateVmInstanceMsg", set("defaultL3NetworkUuid", other), "has no NIC in network "+other)
	c.Want("what is there", c.Dump(taken...), before)
	c.Do("APIUpdateVmInstanceMsg", set("state", "Running")) // it says what is so
	c.Do("APIUpdateVmInstanceMsg", set("defaultL3NetworkUuid", c.s.L3))
	c.do("Stop", uuid)
	c.Do("APIUpdateVmInstanceMsg", P{"uuid": uuid, "cpuNum": 2, "memorySize": 2 * giB})
	c.do("Start", uuid)
	c.Want("processors", c.started().GetCpuNum(), int32(2))
	c.Want("memory", c.started().GetMemoryBytes(), int64(2*giB))
}
