package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	crashed = pluginv1.VMState_VM_STATE_CRASHED
	ended   = pluginv1.VMState_VM_STATE_STOPPED
	paused  = pluginv1.VMState_VM_STATE_PAUSED
	running = pluginv1.VMState_VM_STATE_RUNNING
)

// is waits until a guest is in a state.
func (c *cloud) is(uuid, state string) {
	c.Until(state, func() bool { return c.state(uuid) == state })
	c.Idle(uuid)
}

// What becomes of a guest by itself is what its row says soon.
func TestHostReports(t *testing.T) {
	c := newCloud(t)
	empty := c.Dump("Host")
	uuid := c.run(nil)
	for _, x := range []struct {
		st    pluginv1.VMState
		state string
	}{{paused, "Paused"}, {running, "Running"}, {crashed, "Crashed"}, {running, "Running"}} {
		c.World.Set(c.s.Host, uuid, x.st)
		c.is(uuid, x.state)
	}
	c.World.Set(c.s.Host, uuid, ended)
	c.is(uuid, "Stopped")
	c.Want("host", c.vm(uuid).Text("hostUuid"), "")
	c.Want("last host", c.vm(uuid).Text("lastHostUuid"), c.s.Host)
	c.Want("hosts", c.Dump("Host"), empty)
	// It was started behind our back: it takes the room that it uses.
	c.World.Set(c.s.Host, uuid, running)
	c.is(uuid, "Running")
	c.Want("host", c.vm(uuid).Text("hostUuid"), c.s.Host)
	c.Want("its room is taken", c.Dump("Host") == empty, false)
	c.do("Stop", uuid)
	c.Want("hosts", c.Dump("Host"), empty)
}

// A guest that is paused by itself could not write: what its storage has is shown at
// once, and so is that it does not answer. One that somebody pauses tells nothing.
func TestPausedGuestSpeaksOfItsStorage(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	storage := func() kerneltest.Row { return c.Get("PrimaryStorage", c.s.Primary) }
	looks := func() int { return len(c.Calls.Of("StorageCapacity")) }
	c.World.Space(c.s.Primary, "", giB, 7)
	before := looks()
	c.do("Pause", uuid)
	c.do("Resume", uuid)
	c.Idle(uuid)
	c.Want("looks", looks()-before, 0)
	c.World.Set(c.s.Host, uuid, paused)
	c.is(uuid, "Paused")
	c.Until("what the medium has", func() bool { return storage().Int("availablePhysicalCapacity") == 7 })
	c.Want("status", storage().Text("status"), "Connected")
	c.World.Set(c.s.Host, uuid, running)
	c.is(uuid, "Running")
	c.Calls.Fail("StorageCapacity", errs.New(errs.Unavailable, "the disk", "is not mounted"))
	c.World.Set(c.s.Host, uuid, paused)
	c.Until("Disconnected", func() bool { return storage().Text("status") == "Disconnected" })
	c.Calls.Fail("StorageCapacity", nil)
	c.is(uuid, "Paused")
}

// A guest that is destroyed is not to run, whoever starts it.
func TestDestroyedGuestThatRuns(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	c.do("Destroy", uuid)
	stopped := c.next("StopVM")
	c.World.Set(c.s.Host, uuid, running)
	<-stopped
	c.Idle(uuid)
	c.Want("in the world", c.on(uuid), "")
	c.Want("state", c.state(uuid), "Destroyed")
}

// A guest that runs where it should not be is left alone: which of the two is the
// right one, only people can tell.
func TestGuestOnTwoHosts(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	uuid := c.run(P{"hostUuid": c.s.Host})
	before := c.Dump(taken...)
	c.Calls.Forget()
	asked := c.next("ListVMs")
	c.World.Set(second, uuid, running)
	<-asked
	c.Idle(uuid)
	c.Want("what is there", c.Dump(taken...), before)
	c.Want("stopped", c.called("StopVM") || c.called("DestroyVM"), false)
	c.World.Set(c.s.Host, "00000000000000000000000000000042", running) // not ours
	c.World.Set(c.s.Host, uuid, ended)
	c.is(uuid, "Stopped")
	c.Want("stranger in the world", c.on("00000000000000000000000000000042"), "VM_STATE_RUNNING")
}

// Guests of a lost host are Unknown, but for those that did not run, and are what
// they are when the host is back.
func TestHostIsLostAndFound(t *testing.T) {
	c := newCloud(t)
	c.services()
	runs, froze, stopped, gone := c.run(nil), c.run(nil), c.run(nil), c.run(nil)
	c.do("Pause", froze)
	c.do("Stop", stopped)
	room := c.Dump("Host")
	c.Compute.HostLost(t.Context(), c.s.Host)
	for uuid, state := range map[string]string{runs: "Unknown", froze: "Unknown", gone: "Unknown", stopped: "Stopped"} {
		c.Want("state", c.state(uuid), state)
		c.Want("state in the world", c.on(uuid) == "", uuid == stopped)
	}
	c.Want("hosts", c.Dump("Host"), room)
	c.Calls.Forget()
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.is(runs, "Running")
	c.is(froze, "Paused")
	restored := 0
	for _, r := range c.Calls.Of(kerneltest.Syncs) { // one for each provider of services
		restored += len(kerneltest.Told(r).NICs)
	}
	c.Want("guests whose services are restored", restored, 3)
	c.World.Set(c.s.Host, gone, ended)
	c.is(gone, "Stopped")
}

// A host in maintenance has no guests.
func TestHostInMaintenance(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	runs, froze, elsewhere := c.run(P{"hostUuid": c.s.Host}), c.run(P{"hostUuid": c.s.Host}), c.run(P{"hostUuid": second})
	c.do("Pause", froze)
	c.Calls.Forget()
	c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"})
	for uuid, state := range map[string]string{runs: "Stopped", froze: "Stopped", elsewhere: "Running"} {
		c.Want("state", c.state(uuid), state)
	}
	c.Want("stops", len(c.Calls.Of("StopVM")), 2)
	c.Ok(c.System(compute.EmptyMessage, P{"uuid": runs})) // it is nowhere: nothing to do
	c.Want("stops", len(c.Calls.Of("StopVM")), 2)
	c.Ok(c.Compute.StopGuests(t.Context(), []string{runs, "00000000000000000000000000000042"}))
}

// A guest that shall never stop is started when it is stopped, unless it was
// stopped for good, or for as long as its volumes cannot be reached.
func TestNeverStop(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(P{"systemTags": []string{"ha::NeverStop"}})
	other := c.run(nil)
	kept := func() int {
		t.Helper()
		vms, err := c.Compute.ToKeep(t.Context())
		c.Ok(err)
		return len(vms)
	}
	c.do("Stop", other)
	c.Want("running guests to start", kept(), 0)
	c.World.Set(c.s.Host, uuid, ended)
	c.is(uuid, "Stopped")
	c.Want("guests to start", kept(), 1)
	c.Do("APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "maintain"})
	if err := c.System(compute.KeepMessage, P{"uuid": uuid}); errs.ClassOf(err) != errs.Exhausted {
		t.Errorf("it was started without its volume: %v", err)
	}
	c.Want("state", c.state(uuid), "Stopped")
	c.Do("APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "enable"})
	for range 2 {
		c.Ok(c.System(compute.KeepMessage, P{"uuid": uuid}))
		c.Want("state", c.state(uuid), "Running")
	}
	c.Calls.Fail("StopVM", onFire())
	c.Refused(errs.Unavailable, "APIStopVmInstanceMsg", P{"uuid": uuid, "stopHA": "true"}, "on fire")
	c.Calls.Fail("StopVM", nil)
	c.Idle(uuid)
	c.Want("tags of a guest that was not stopped", len(c.List("SystemTag", "resourceUuid="+uuid, "tag~=ha::%")), 1)
	c.Do("APIStopVmInstanceMsg", P{"uuid": uuid, "stopHA": "true"})
	c.Want("guests to start", kept(), 0)
	c.Ok(c.System(compute.KeepMessage, P{"uuid": uuid}))
	c.Want("state", c.state(uuid), "Stopped")
	c.do("Start", uuid)
	c.Want("tags of a guest that was started", len(c.List("SystemTag", "resourceUuid="+uuid, "tag~=ha::%")), 1)
	c.Do("APIStopVmInstanceMsg", P{"uuid": other, "stopHA": "true"})
	c.Want("tags of a guest that may stop", len(c.List("SystemTag", "resourceUuid="+other, "tag~=ha::%")), 0)
}
