package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func (c *cloud) policy(value string) {
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "vm", "name": "deletionPolicy", "value": value})
}

// A destroyed guest leaves its host and its data volumes, keeps what recovery
// needs, comes back, and is expunged with all that it had.
func TestDestroyRecoverExpunge(t *testing.T) {
	c := newCloud(t)
	c.services()
	empty := c.Dump("Host")
	uuid := c.run(P{"dataDiskSizes": []int64{giB}})
	root := c.vm(uuid).Text("rootVolumeUuid")
	c.Calls.Forget()
	for range 2 {
		c.do("Destroy", uuid) // one that is destroyed already is a success
		c.Want("state", c.state(uuid), "Destroyed")
	}
	c.Want("stops", len(c.Calls.Of("StopVM")), 1)
	r, _ := kerneltest.Last[*pluginv1.StopVMRequest](c.Calls, "StopVM")
	c.Want("cold", r.GetCold(), true)
	c.Want("definitions removed", c.called("DestroyVM"), false)
	c.Want("released", c.called("ReleaseNICs"), true)
	c.Want("hosts", c.Dump("Host"), empty)
	c.Want("root volume", c.Get("Volume", root).Text("status"), "Deleted")
	c.Want("addresses", len(c.List("VmNic")), 1)
	c.Want("data volumes that are free", len(c.List("Volume", "type=Data", "vmInstanceUuid is null")), 1)
	c.Want("state", c.do("Recover", uuid).Text("state"), "Stopped")
	c.Want("root volume", c.Get("Volume", root).Text("status"), "Ready")
	c.do("Start", uuid)
	c.Want("disks", len(c.started().GetDisks()), 1)
	c.do("Destroy", uuid)
	c.Calls.Forget()
	c.do("Expunge", uuid)
	for _, typ := range []string{"VmInstance", "VmNic", "VmCdRom"} {
		c.Want("rows of "+typ, len(c.List(typ)), 0)
	}
	c.Want("volumes", len(c.List("Volume")), 1)
	c.Want("volumes in the world", c.World.Volumes(), 1)
	d, _ := kerneltest.Last[*pluginv1.DestroyVMRequest](c.Calls, "DestroyVM")
	c.Want("definition removed from", d.GetHost().GetUuid(), c.s.Host)
	c.do("Destroy", uuid) // gone is a success
}

// What an expunge cannot do now keeps the guest, which cannot come back, and is
// done by the next one; a host that fails is no obstacle.
func TestExpungeFails(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	c.do("Destroy", uuid)
	c.Calls.Fail("DeleteVolume", onFire())
	c.Calls.Fail("DestroyVM", onFire())
	c.Refused(errs.Unavailable, "APIExpungeVmInstanceMsg", P{"uuid": uuid}, "on fire")
	c.Want("state", c.state(uuid), "Expunging")
	c.Refused(errs.Refused, "APIRecoverVmInstanceMsg", P{"uuid": uuid}, "in state Expunging")
	c.Calls.Fail("DeleteVolume", nil)
	c.do("Destroy", uuid) // goes on with what has begun
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("volumes in the world", c.World.Volumes(), 0)
	notes := c.List("GCJob")
	c.Want("there are notes", len(notes) > 0, true)
	c.Calls.Fail("DestroyVM", nil)
	c.Calls.Forget()
	c.Do("APITriggerGCJobMsg", P{"uuid": notes[0].Text("uuid")})
	c.Until("removed", func() bool { return c.called("DestroyVM") })
}

func TestDeletionPolicies(t *testing.T) {
	c := newCloud(t)
	c.policy("Direct")
	uuid := c.run(nil)
	c.do("Destroy", uuid)
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("volumes in the world", c.World.Volumes(), 0)
	c.policy("Delay")
	uuid = c.run(nil)
	c.do("Destroy", uuid)
	c.policy("Direct")
	c.do("Destroy", uuid)
	c.Want("guests", len(c.List("VmInstance")), 0)
}

// A guest that cannot be destroyed is what it was; nobody forgets its host.
func TestDestroyFails(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	before := c.Dump(taken...)
	c.Calls.Fail("StopVM", onFire())
	c.Refused(errs.Unavailable, "APIDestroyVmInstanceMsg", P{"uuid": uuid}, "cannot be stopped on host host-01")
	c.Idle(uuid)
	c.Want("what is there", c.Dump(taken...), before)
	c.Calls.Fail("StopVM", nil)
	c.do("Destroy", uuid)
}

// The volumes of a guest on its host's own disk are deleted there.
func TestExpungeFromLocalStorage(t *testing.T) {
	c := newCloud(t)
	c.local()
	uuid := c.run(P{"hostUuid": c.s.Host})
	c.do("Destroy", uuid)
	c.do("Expunge", uuid)
	r, _ := kerneltest.Last[*pluginv1.DeleteVolumeRequest](c.Calls, "DeleteVolume")
	c.Want("host", r.GetHost().GetUuid(), c.s.Host)
	c.Want("volumes in the world", c.World.Volumes(), 0)
}

// A host that is deleted leaves its guests stopped; what it keeps of those that
// ran there last is removed from it.
func TestHostIsDeleted(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	runs, stopped := c.run(P{"hostUuid": c.s.Host}), c.run(P{"hostUuid": c.s.Host})
	elsewhere := c.run(P{"hostUuid": second})
	c.do("Stop", stopped)
	c.Calls.Forget()
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host})
	c.Want("guest that ran there", c.state(runs), "Stopped")
	c.Want("guest elsewhere", c.state(elsewhere), "Running")
	c.Want("removed from it", len(c.Calls.Of("DestroyVM")), 2)
	c.Want("host", c.do("Start", runs).Text("hostUuid"), second)
	c.do("Destroy", stopped)
	c.do("Expunge", stopped) // its last host is gone, and its volume is not
	c.Want("guests", len(c.List("VmInstance")), 2)
	c.Want("volumes in the world", c.World.Volumes(), 2)
}

// A host that does not answer is deleted by force, and its guests are free.
func TestHostIsDeletedByForce(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	c.Calls.Fail("StopVM", onFire())
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", P{"uuid": c.s.Host}, "on fire")
	c.Want("host", c.vm(uuid).Text("hostUuid"), c.s.Host)
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host, "deleteMode": "Enforcing"})
	c.Want("state", c.state(uuid), "Stopped")
	c.Want("host", c.vm(uuid).Text("hostUuid"), "")
	c.Want("cluster", c.vm(uuid).Text("clusterUuid"), c.s.Cluster)
}

// A guest that runs on a host which stays, and does not answer, is not forgotten with
// its storage: it keeps its record, addresses and part of the host until it is gone.
// It is so that nothing else is given them meanwhile.
func TestGuestOutlivesForce(t *testing.T) {
	c := newCloud(t)
	c.services()
	uuid := c.run(nil)
	rows := append([]string{"UsedIp"}, taken...)
	before := c.Dump(rows...)
	force := P{"uuid": c.s.Primary, "deleteMode": "Enforcing"}
	for _, method := range []string{"StopVM", "DestroyVM", "DeleteVolume", "ReleaseNICs"} {
		c.Calls.Fail(method, onFire())
	}
	c.Refused(errs.Unavailable, "APIDeletePrimaryStorageMsg", force, "VM vm", "may still run on host "+c.s.Host, "on fire", "delete the host first")
	c.Idle(uuid)
	c.Want("what is there", c.Dump(rows...), before)
	c.Calls.Fail("StopVM", nil) // it is stopped, and what is left is bits
	c.Do("APIDeletePrimaryStorageMsg", force)
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("guests on the host", len(c.World.Guests(c.s.Host)), 0)
}

// Guests of a host that is deleted by force with its cluster are on no host, whatever
// the host told of them meanwhile.
func TestClusterIsDeletedByForce(t *testing.T) {
	for range 5 {
		c := newCloud(t)
		uuid := c.run(nil)
		c.Calls.Fail("StopVM", onFire())
		c.Do("APIDeleteClusterMsg", P{"uuid": c.s.Cluster, "deleteMode": "Enforcing"})
		c.Want("state", c.state(uuid), "Stopped")
		c.Want("host", c.vm(uuid).Text("hostUuid"), "")
	}
}

// A cluster that is deleted leaves its guests stopped and without a cluster.
func TestClusterIsDeleted(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	c.Do("APIDeleteClusterMsg", P{"uuid": c.s.Cluster})
	c.Want("state", c.state(uuid), "Stopped")
	c.Want("cluster", c.vm(uuid).Text("clusterUuid"), "")
}

// Guests go with their zone; by force also when they cannot be reached, and then
// with a note of what is left.
func TestZoneIsDeleted(t *testing.T) {
	for name, force := range map[string]bool{"all answer": false, "by force": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.services()
			c.run(P{"dataDiskSizes": []int64{giB}})
			c.do("Destroy", c.run(nil))
			p := P{"uuid": c.s.Zone}
			if force {
				for _, method := range []string{"StopVM", "DestroyVM", "DeleteVolume", "ReleaseNICs"} {
					c.Calls.Fail(method, onFire())
				}
				_, err := c.Call("APIDeleteZoneMsg", p)
				c.Want("class", errs.ClassOf(err), errs.Class(errs.Unavailable))
				p["deleteMode"] = "Enforcing"
			}
			c.Do("APIDeleteZoneMsg", p)
			for _, typ := range []string{"VmInstance", "VmNic", "Volume", "Host"} {
				c.Want("rows of "+typ, len(c.List(typ)), 0)
			}
			if !force {
				c.Want("volumes in the world", c.World.Volumes(), 0)
			}
			c.Want("there are notes", len(c.List("GCJob")) > 0, force)
		})
	}
}

// The root volume of a guest is in no way of the guest's own end, and a guest ends
// with the storage of its volumes.
func TestStorageIsDeleted(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	c.do("Stop", uuid)
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	c.Do("APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary})
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("volumes in the world", c.World.Volumes(), 0)
}
