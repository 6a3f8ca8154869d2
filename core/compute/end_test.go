package compute_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/compute"
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
	c.Want("released", c.called(kerneltest.Removes), true)
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

// A host that answers keeps the guests that it cannot stop, whatever is forced, and
// everything stays. One that does not answer is deleted by force: nobody knows of its
// guests, which keep what they have.
func TestHostIsDeletedByForce(t *testing.T) {
	c := newCloud(t)
	c.services()
	uuid := c.run(nil)
	rows := append([]string{"UsedIp", "L2NetworkHostRef", "PrimaryStorageHostRef"}, taken...)
	before := c.Dump(rows...)
	c.Calls.Fail("StopVM", onFire())
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", P{"uuid": c.s.Host}, "on fire")
	c.Idle(uuid)
	force := P{"uuid": c.s.Host, "deleteMode": "Enforcing"}
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", force, "may still run on host "+c.s.Host, "on fire", "switch the host off")
	c.Idle(uuid)
	c.Want("what is there", c.Dump(rows...), before)
	addresses := c.Dump("UsedIp", "VmNic")
	c.Calls.Fail("ListVMs", onFire())
	left := c.Do("APIDeleteHostMsg", force).Rows("leftovers")
	if len(left) != 1 || left[0].Text("resourceType") != "VmInstance" || left[0].Text("resourceUuid") != uuid || left[0].Text("name") != c.vm(uuid).Text("name") ||
		!strings.Contains(left[0].Text("reason"), "may still run on host host-01") || !strings.Contains(left[0].Text("reason"), "on fire") {
		t.Errorf("its answer tells of %v", left)
	}
	c.Want("state", c.state(uuid), "Unknown")
	c.Want("host", c.vm(uuid).Text("hostUuid"), "")
	c.Want("last host", c.vm(uuid).Text("lastHostUuid"), c.s.Host)
	c.Want("cluster", c.vm(uuid).Text("clusterUuid"), c.s.Cluster)
	c.Want("addresses", c.Dump("UsedIp", "VmNic"), addresses)
	c.Want("notes", len(c.List("GCJob")), 1)
	c.Refused(errs.Refused, "APIDeleteL3NetworkMsg", P{"uuid": c.s.L3, "deleteMode": "Enforcing"}, "is Unknown", "stop it first")
	c.Calls.Fail("StopVM", nil)
	c.Calls.Fail("ListVMs", nil)
	// Its owner says that it is over.
	second := c.Host(c.s.Cluster)
	c.Want("stopped", c.do("Stop", uuid).Text("state"), "Stopped")
	c.Want("host", c.do("Start", uuid).Text("hostUuid"), second)
	c.Want("notes", len(c.List("GCJob")), 1)
}

// lostHost deletes the site's host by force while it does not answer, and adds it again,
// with what still runs there. It returns the new host.
func (c *cloud) lostHost(delete string, again func() string, guests ...string) string {
	address := c.Get("Host", c.s.Host).Text("managementIp")
	for _, method := range []string{"StopVM", "DestroyVM", "ListVMs", "DeleteVolume", kerneltest.Removes} {
		c.Calls.Fail(method, onFire())
	}
	c.Do(delete, P{"uuid": map[string]string{"APIDeleteHostMsg": c.s.Host, "APIDeleteZoneMsg": c.s.Zone}[delete], "deleteMode": "Enforcing"})
	for _, method := range []string{"StopVM", "DestroyVM", "ListVMs", "DeleteVolume", kerneltest.Removes} {
		c.Calls.Fail(method, nil)
	}
	host := c.Create("APIAddFakeHostMsg", P{"name": "again", "clusterUuid": again(), "managementIp": address})
	for _, uuid := range guests {
		c.World.Set(host, uuid, running)
	}
	return host
}

// Guests of a host that was deleted while it did not answer are what they are when it
// is added again, unless they were stopped, or started elsewhere, meanwhile: they are
// ended there then.
func TestLostHostIsAddedAgain(t *testing.T) {
	c := newCloud(t)
	c.services()
	waits, over, elsewhere := c.run(nil), c.run(nil), c.run(nil)
	var second string
	host := c.lostHost("APIDeleteHostMsg", func() string {
		c.do("Stop", over)
		second = c.Host(c.s.Cluster)
		c.do("Stop", elsewhere)
		c.Want("host", c.do("Start", elsewhere).Text("hostUuid"), second)
		c.Want("state", c.state(waits), "Unknown")
		c.Want("notes", len(c.List("GCJob")), 3)
		_, err := c.Call("APITriggerGCJobMsg", P{"uuid": c.List("GCJob")[0].Text("uuid")})
		if errs.ClassOf(err) != errs.Unavailable {
			t.Errorf("what a host has that is not there: %v", err)
		}
		return c.s.Cluster
	}, waits, over, elsewhere)
	c.is(waits, "Running")
	c.Until("the others are ended", func() bool { return len(c.World.Guests(host)) == 1 && len(c.List("GCJob")) == 0 })
	c.Want("host", c.vm(waits).Text("hostUuid"), host)
	c.Want("state", c.state(over), "Stopped")
	c.Want("host", c.vm(elsewhere).Text("hostUuid"), second)
	c.Want("state", c.state(elsewhere), "Running")
}

// A guest that went with its zone is ended when its host is added again.
func TestForgottenGuestIsEnded(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	host := c.lostHost("APIDeleteZoneMsg", func() string {
		c.Want("guests", len(c.List("VmInstance")), 0)
		return c.Site().Cluster
	}, uuid)
	c.Until("it is ended", func() bool { return len(c.World.Guests(host)) == 0 })
	c.Until("nothing is noted", func() bool { return len(c.List("GCJob", "resourceUuid="+uuid)) == 0 })
}

// A guest that shall never stop is started elsewhere when its host was deleted for
// good.
func TestNeverStopOutlivesItsHost(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(P{"systemTags": []string{"ha::NeverStop"}})
	second := c.Host(c.s.Cluster)
	c.lostHost("APIDeleteHostMsg", func() string { return c.s.Cluster })
	vms, err := c.Compute.ToKeep(t.Context())
	c.Ok(err)
	c.Want("guests to start", len(vms), 1)
	c.Ok(c.System(compute.KeepMessage, P{"uuid": uuid}))
	c.Want("state", c.state(uuid), "Running")
	c.Want("host is a new one", c.vm(uuid).Text("hostUuid") != "" && second != "", true)
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
	for _, method := range []string{"StopVM", "DestroyVM", "DeleteVolume", kerneltest.Removes} {
		c.Calls.Fail(method, onFire())
	}
	c.Refused(errs.Unavailable, "APIDeletePrimaryStorageMsg", force, "VM vm", "may still run on host "+c.s.Host, "on fire", "switch the host off")
	c.Calls.Fail("ListVMs", onFire())
	c.Refused(errs.Unavailable, "APIDeletePrimaryStorageMsg", force, "VM vm", "may still run on host "+c.s.Host, "on fire", "delete the host first")
	c.Calls.Fail("ListVMs", nil)
	c.Idle(uuid)
	c.Want("what is there", c.Dump(rows...), before)
	c.Calls.Fail("StopVM", nil) // it is stopped, and what is left is bits
	c.Do("APIDeletePrimaryStorageMsg", force)
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("guests on the host", len(c.World.Guests(c.s.Host)), 0)
}

// Guests of a silent host that is deleted by force with its cluster are on no host,
// whatever the host told of them meanwhile.
func TestClusterIsDeletedByForce(t *testing.T) {
	for range 5 {
		c := newCloud(t)
		uuid := c.run(nil)
		c.Calls.Fail("StopVM", onFire())
		c.Calls.Fail("ListVMs", onFire())
		c.Do("APIDeleteClusterMsg", P{"uuid": c.s.Cluster, "deleteMode": "Enforcing"})
		c.Want("state", c.state(uuid), "Unknown")
		c.Want("cluster", c.vm(uuid).Text("clusterUuid"), "")
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

// Guests go with their zone; by force also when their host does not answer, and then
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
				for _, method := range []string{"StopVM", "DestroyVM", "DeleteVolume", kerneltest.Removes} {
					c.Calls.Fail(method, onFire())
				}
				_, err := c.Call("APIDeleteZoneMsg", p)
				c.Want("class", errs.ClassOf(err), errs.Class(errs.Unavailable))
				p["deleteMode"] = "Enforcing"
				c.Refused(errs.Unavailable, "APIDeleteZoneMsg", p, "may still run on host "+c.s.Host)
				c.Want("hosts", len(c.List("Host")), 1)
				c.Calls.Fail("ListVMs", onFire())
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
