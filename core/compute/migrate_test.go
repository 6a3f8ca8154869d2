package compute_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// movingCloud is one with services, two hosts with storage of their own, and a guest on the
// first.
func movingCloud(t *testing.T) (c *cloud, uuid, second string) {
	c = newCloud(t)
	c.services()
	second = c.local()
	return c, c.run(P{"hostUuid": c.s.Host, "dataDiskSizes": []int64{giB}}), second
}

// moves migrates a guest to a host, and waits until that is over.
func (c *cloud) moves(uuid, host string) {
	c.Do("APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "hostUuid": host})
	c.Idle(uuid)
}

// at fails the test unless a guest runs on a host and nowhere else, and its rows say so.
func (c *cloud) at(uuid, host, other string) {
	vm := c.vm(uuid)
	c.Want("state", vm.Text("state"), "Running")
	c.Want("host", vm.Text("hostUuid"), host)
	_, here := c.World.Guests(host)[uuid]
	_, there := c.World.Guests(other)[uuid]
	c.Want("in the world on its host", here, true)
	c.Want("in the world on the other", there, false)
}

// A guest moves to the host that is named, with its room, volumes and services, and back.
func TestMigrate(t *testing.T) {
	c, uuid, second := movingCloud(t)
	before, volumes := c.Dump("Host", "Volume"), c.World.Volumes()
	c.Calls.Forget()
	c.moves(uuid, second)
	c.at(uuid, second, c.s.Host)
	c.Want("last host", c.vm(uuid).Text("lastHostUuid"), c.s.Host)
	c.Want("volumes in the world", c.World.Volumes(), volumes)
	c.Want("room of the first", c.Get("Host", c.s.Host).Int("availableCpuCapacity"), c.Get("Host", c.s.Host).Int("totalCpuCapacity"))
	c.Want("room of the second", c.Get("Host", second).Int("availableCpuCapacity"), c.Get("Host", second).Int("totalCpuCapacity")-1)
	r, _ := kerneltest.Last[*pluginv1.MigrateVMRequest](c.Calls, "MigrateVM")
	c.Want("from", r.GetSource().GetUuid(), c.s.Host)
	c.Want("to", r.GetTarget().GetUuid(), second)
	c.Want("copy", r.GetCopy(), pluginv1.DiskCopy_DISK_COPY_CHANGES)
	c.Want("disks", len(r.GetVm().GetDisks()), 2)
	c.Want("where it is plugged in", r.GetVm().GetNics()[0].GetBridge(), "br_fake")
	if !c.inOrder("EnsureImage", "CreateVolume", kerneltest.Applies, "DoPoint", "MigrateVM", kerneltest.Removes, "DoPoint", "DestroyVM", "DeleteVolume") {
		t.Errorf("calls %v", c.Calls.Methods())
	}
	c.Want("points", strings.Join(c.passed(), " "), "vm.migrate.nics-ready vm.migrate.done")
	c.moves(uuid, c.s.Host)
	c.at(uuid, c.s.Host, second)
	c.Want("what is there", c.Dump("Host", "Volume"), before)
	const cached = 2 // images
	c.Want("room of the storage", c.Get("PrimaryStorage", c.s.Primary).Int("availableCapacity"), int64(2*kerneltest.DefaultSpace-2*giB-cached*kerneltest.ImageBytes))
	c.do("Stop", uuid)
	c.do("Start", uuid)
	c.at(uuid, c.s.Host, second)
}

// Plugins are told where a guest moves from and to.
func TestPointsOfAMove(t *testing.T) {
	c, uuid, second := movingCloud(t)
	c.Calls.Forget()
	c.moves(uuid, second)
	for _, made := range c.Calls.Of("DoPoint") {
		about := made.(*pluginv1.DoPointRequest).GetSubject()
		c.Want("target", about.GetHostUuid(), second)
		c.Want("source", about.GetSourceHostUuid(), c.s.Host)
		c.Want("NICs", len(about.GetNics()), 1)
	}
}

// Volumes that all hosts share stay where they are.
func TestMigrateWithSharedStorage(t *testing.T) {
	c := newCloud(t)
	second, uuid := c.Host(c.s.Cluster), c.run(nil)
	first := c.vm(uuid).Text("hostUuid")
	if first == second {
		second = c.s.Host
	}
	volumes := c.Dump("Volume", "PrimaryStorage")
	c.Calls.Forget()
	c.Want("candidates", len(c.Do("APIGetVmMigrationCandidateHostsMsg", P{"vmInstanceUuid": uuid}).Rows("inventories")), 1)
	c.Do("APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "strategy": "auto-converge"})
	c.Idle(uuid)
	c.at(uuid, second, first)
	c.Want("volumes", c.Dump("Volume", "PrimaryStorage"), volumes)
	c.Want("made or deleted", c.called("CreateVolume") || c.called("DeleteVolume"), false)
	r, _ := kerneltest.Last[*pluginv1.MigrateVMRequest](c.Calls, "MigrateVM")
	c.Want("copy", r.GetCopy(), pluginv1.DiskCopy_DISK_COPY_UNSPECIFIED)
	c.Want("slowed down", r.GetSlowGuest(), true)
}

// A volume whose image is gone is copied as a whole, onto a blank one.
func TestMigrateWithoutTheImage(t *testing.T) {
	c, uuid, second := movingCloud(t)
	c.Do("APIDeleteImageMsg", P{"uuid": c.s.Image})
	c.Calls.Forget()
	c.moves(uuid, second)
	c.at(uuid, second, c.s.Host)
	r, _ := kerneltest.Last[*pluginv1.MigrateVMRequest](c.Calls, "MigrateVM")
	c.Want("copy", r.GetCopy(), pluginv1.DiskCopy_DISK_COPY_ALL)
	for _, made := range c.Calls.Of("CreateVolume") {
		c.Want("image", made.(*pluginv1.CreateVolumeRequest).GetBackingPath(), "")
	}
	c.Want("images brought", c.called("EnsureImage"), false)
}

// An ISO in a drive comes along; one that is gone keeps the guest where it is.
func TestMigrateWithAnISO(t *testing.T) {
	c := newCloud(t)
	second := c.local()
	iso := c.iso()
	uuid := c.run(P{"hostUuid": c.s.Host, "imageUuid": iso, "rootDiskSize": int64(giB)})
	c.Calls.Forget()
	c.moves(uuid, second)
	c.at(uuid, second, c.s.Host)
	r, _ := kerneltest.Last[*pluginv1.MigrateVMRequest](c.Calls, "MigrateVM")
	c.Want("disks", len(r.GetVm().GetDisks()), 2)
	c.Want("ISO", r.GetVm().GetDisks()[1].GetSource(), "/cache/"+iso)
	image, _ := kerneltest.Last[*pluginv1.EnsureImageRequest](c.Calls, "EnsureImage")
	c.Want("brought to", image.GetHost().GetUuid(), second)
	c.Do("APIDeleteImageMsg", P{"uuid": iso})
	c.Refused(errs.Refused, "APIMigrateVmMsg", P{"vmInstanceUuid": uuid}, "ISO", "cannot be brought")
	c.at(uuid, second, c.s.Host)
}

// What cannot be says why, and changes nothing.
func TestMigrateRefused(t *testing.T) {
	c, uuid, second := movingCloud(t)
	host := func(event string) { c.Do("APIChangeHostStateMsg", P{"uuid": second, "stateEvent": event}) }
	p := func(more P) P {
		all := P{"vmInstanceUuid": uuid, "hostUuid": second}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	none := func() int {
		return len(c.Do("APIGetVmMigrationCandidateHostsMsg", P{"vmInstanceUuid": uuid}).Rows("inventories"))
	}
	c.Want("candidates", none(), 1)
	c.Refused(errs.Refused, "APIMigrateVmMsg", p(P{"hostUuid": c.s.Host}), "runs on host", "already")
	for param, value := range map[string]any{"migrateFromDestination": true, "allowUnknown": true, "downTime": 300} {
		c.Refused(errs.Invalid, "APIMigrateVmMsg", p(P{param: value}), param, "not offered")
	}
	c.Refused(errs.Invalid, "APIMigrateVmMsg", p(P{"strategy": "postcopy"}), "strategy")
	for _, event := range []string{"disable", "maintain"} {
		host(event)
		c.Refused(errs.Exhausted, "APIMigrateVmMsg", p(nil), "no host can take")
		c.Want("candidates", none(), 0)
		host("enable")
		c.Until("connected", func() bool { return c.Get("Host", second).Text("status") == "Connected" })
	}
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "kvm", "name": "reservedMemory", "value": "32G"})
	c.Refused(errs.Exhausted, "APIMigrateVmMsg", p(nil), "free, 1 GiB needed")
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "kvm", "name": "reservedMemory", "value": "1G"})
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "primaryStorage", "name": "reservedCapacity", "value": "2T"})
	c.Refused(errs.Exhausted, "APIMigrateVmMsg", p(nil), "no host can take its volumes", "bytes available")
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "primaryStorage", "name": "reservedCapacity", "value": "1G"})
	elsewhere := c.Host(c.Cluster(c.s.Zone))
	c.Refused(errs.Exhausted, "APIMigrateVmMsg", p(P{"hostUuid": elsewhere}), "has not all networks")
	c.Want("moves", c.called("MigrateVM"), false)
	c.do("Pause", uuid)
	c.Refused(errs.Refused, "APIMigrateVmMsg", p(nil), "cannot migrate it in state Paused")
	c.do("Resume", uuid)
	c.Do("APIDeleteHostMsg", P{"uuid": elsewhere})
	c.at(uuid, c.s.Host, second)
}

// Whatever step fails before the guest has moved, it is where it was, and the other host
// has nothing of it.
func TestMigrateFails(t *testing.T) {
	c, uuid, second := movingCloud(t)
	volumes := c.World.Volumes()
	steps := c.Compute.Steps()["migrate"]
	moves := slices.Index(steps, "migrate-on-host")
	c.moves(uuid, second) // the image is there afterwards
	c.moves(uuid, c.s.Host)
	c.Calls.Forget()
	migrate := func() error {
		_, err := c.Call("APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "hostUuid": second})
		c.Idle(uuid)
		return err
	}
	c.FailEachStep(steps[:moves], taken, migrate)
	c.Want("moved", c.called("MigrateVM"), false)
	before := c.Dump(taken...)
	for _, method := range []string{"CreateVolume", kerneltest.Applies, "DoPoint", "MigrateVM"} {
		c.Calls.Forget()
		c.Calls.Fail(method, onFire())
		c.Refused(errs.Unavailable, "APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "hostUuid": second}, "on fire")
		c.Calls.Fail(method, nil)
		c.Idle(uuid)
		c.Want("what is there after "+method+" failed", c.Dump(taken...), before)
		c.Want("volumes in the world", c.World.Volumes(), volumes)
		c.at(uuid, c.s.Host, second)
		c.Want("asked where it is", c.called("EndMigration"), method == "MigrateVM")
	}
	c.Ok(migrate())
	c.at(uuid, second, c.s.Host)
}

// A guest that has moved stays where it is, whatever fails after that, or if nobody heard
// that it had: the other host is cleaned as well.
func TestMigrateGoesForward(t *testing.T) {
	c, uuid, second := movingCloud(t)
	volumes := c.World.Volumes()
	from, to := c.s.Host, second
	try := func(what string, clean bool) {
		t.Helper()
		_, _ = c.Call("APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "hostUuid": to}) // what it says is not the matter
		c.Idle(uuid)
		c.at(uuid, to, from)
		if clean {
			c.Want("volumes after "+what, c.World.Volumes(), volumes)
		}
		c.Want("room of the host that it left", c.Get("Host", from).Int("availableCpuCapacity"), c.Get("Host", from).Int("totalCpuCapacity"))
		from, to = to, from
	}
	c.lost("MigrateVM")
	try("a lost answer", true)
	c.found("MigrateVM")
	for method, noted := range map[string]bool{kerneltest.Removes: true, "DestroyVM": true, "DeleteVolume": true} {
		fail := 0
		c.Calls.On(method, func(any) error {
			if fail++; method == "DeleteVolume" && fail <= 2 {
				return nil // those that the host may have had
			}
			return onFire()
		})
		try(method, false)
		c.Calls.On(method, nil)
		notes := c.List("GCJob")
		c.Want("noted after "+method, len(notes) > 0, noted)
		for _, n := range notes {
			c.Do("APITriggerGCJobMsg", P{"uuid": n.Text("uuid")})
		}
		c.Until("removed", func() bool { return len(c.List("GCJob")) == 0 })
		c.Idle(uuid)
		c.Want("volumes after "+method, c.World.Volumes(), volumes)
		c.at(uuid, from, to)
	}
	done := 0
	c.Calls.On("DoPoint", func(any) error {
		if done++; done > 1 {
			return onFire()
		}
		return nil
	})
	try("vm.migrate.done", true)
	c.Calls.On("DoPoint", nil)
}

// While nobody can tell where a guest is, nothing of it is touched, nor is anything else
// done with it; as soon as it is known, the row says so.
func TestMigrateOfUnknownOutcome(t *testing.T) {
	for moved, want := range map[bool]string{true: "second", false: "first"} {
		t.Run(want, func(t *testing.T) {
			c, uuid, second := movingCloud(t)
			volumes := c.World.Volumes()
			if moved {
				c.lost("MigrateVM")
			} else {
				c.Calls.Fail("MigrateVM", onFire())
			}
			c.Calls.Fail("EndMigration", onFire())
			_, err := c.Call("APIMigrateVmMsg", P{"vmInstanceUuid": uuid, "hostUuid": second})
			c.Want("failed", err != nil, true)
			c.Want("state", c.state(uuid), "Migrating")
			c.Want("volumes in both places", c.World.Volumes(), 2*volumes)
			c.Calls.Fail("EndMigration", nil)
			c.Calls.Fail("MigrateVM", nil)
			c.found("MigrateVM")
			host, other := c.s.Host, second
			if moved {
				host, other = second, c.s.Host
			}
			c.do("Reboot", uuid) // it finishes what is open first
			c.at(uuid, host, other)
			c.Want("volumes", c.World.Volumes(), volumes)
		})
	}
}

// Steps that are repeated, as after a crash, give the same.
func TestMigrateRepeatsItsSteps(t *testing.T) {
	c, uuid, second := movingCloud(t)
	volumes := c.World.Volumes()
	flow.SetTestHooks(c.Flows, flow.TestHooks{Call: func(step string, _ bool, call func() error) error {
		err := call()
		if err == nil && !slices.Contains([]string{"reserve", "migrating"}, step) { // which their transaction keeps from it
			err = call()
		}
		return err
	}})
	c.moves(uuid, second)
	flow.SetTestHooks(c.Flows, flow.TestHooks{})
	c.at(uuid, second, c.s.Host)
	c.Want("volumes", c.World.Volumes(), volumes)
}

// What hosts tell of a guest that moves changes nothing; that it has ended on its new host
// is found out when it has moved.
func TestReportsOfAGuestThatMoves(t *testing.T) {
	c, uuid, second := movingCloud(t)
	c.Calls.After("MigrateVM", func(any) error {
		c.World.Set(second, uuid, ended)
		return nil
	})
	c.moves(uuid, second)
	c.is(uuid, "Stopped")
	c.Want("last host", c.vm(uuid).Text("lastHostUuid"), second)
}

// What a host that a guest left has of it is not removed when the guest is back there.
func TestNoteOfAGuestThatMovedBack(t *testing.T) {
	c, uuid, second := movingCloud(t)
	volumes := c.World.Volumes()
	c.Calls.Fail("DestroyVM", onFire())
	c.moves(uuid, second)
	c.Calls.Fail("DestroyVM", nil)
	notes := c.List("GCJob")
	c.Want("notes", len(notes), 1)
	c.moves(uuid, c.s.Host)
	c.do("Stop", uuid)
	c.Calls.Forget()
	c.Do("APITriggerGCJobMsg", P{"uuid": notes[0].Text("uuid")})
	c.Idle(uuid)
	c.Want("volumes", c.World.Volumes(), volumes)
	c.Want("deleted", c.called("DeleteVolume") || c.called("DestroyVM"), false)
	c.do("Start", uuid)
}

// A hypervisor that moves no guests says so.
func TestMigrateUnsupported(t *testing.T) {
	c := newCloud(t)
	cluster := c.Create("APICreateClusterMsg", P{"name": "plain", "zoneUuid": c.s.Zone, "hypervisorType": kerneltest.FakePlainType})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": cluster, "primaryStorageUuid": c.s.Primary})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": cluster})
	c.Create("APIAddFakePlainHostMsg", P{"name": "plain", "clusterUuid": cluster, "managementIp": "10.255.9.9"})
	uuid := c.run(P{"clusterUuid": cluster})
	c.Refused(errs.Unsupported, "APIMigrateVmMsg", P{"vmInstanceUuid": uuid}, "migrate")
	c.Want("state", c.state(uuid), "Running")
}
