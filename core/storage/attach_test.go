package storage_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/storage"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	attachMsg = "APIAttachPrimaryStorageToClusterMsg"
	detachMsg = "APIDetachPrimaryStorageFromClusterMsg"
)

// to names the site's cluster and storage.
func (c *cloud) to() P { return P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary} }

func TestAttachIsRefused(t *testing.T) {
	c := newCloud(t)
	c.Refused(errs.Refused, attachMsg, c.to(), "primary storage primary", "is attached to cluster cluster already")
	far := c.Create("APICreateZoneMsg", P{"name": "far"})
	c.Refused(errs.Refused, attachMsg, P{"clusterUuid": c.Cluster(far), "primaryStorageUuid": c.s.Primary}, "is in another zone than cluster cluster")
	if err := c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `Cluster` SET `hypervisorType` = 'Other' WHERE `uuid` = ?", c.s.Cluster)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.Refused(errs.Refused, attachMsg, c.to(), "of type Fake cannot be used by hypervisor Other")
	c.As(c.Account()).Refused(errs.Denied, attachMsg, c.to())
}

// When attaching fails, at any step, the storage is as it was before.
func TestAttachFails(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			types := []string{"PrimaryStorage", "PrimaryStorageClusterRef", "PrimaryStorageHostRef"}
			c.Do(detachMsg, c.to())
			call := func() error { _, err := c.Call(attachMsg, c.to()); return err }
			c.FailEachStep(c.Storage.AttachSteps(), types, call)

			before := c.Dump(types...)
			c.Calls.Fail("AttachHost", gone("it"))
			c.Refused(errs.Unavailable, attachMsg, c.to(), "attach primary storage", "to host host-0", "not mounted")
			c.Want("what is there", c.Dump(types...), before)
			c.Calls.Fail("AttachHost", nil)
			c.Calls.After("AttachHost", func(any) error { return errs.New(errs.Timeout, "host", "no answer") })
			c.Refused(errs.Timeout, attachMsg, c.to())
			c.Want("what is there", c.Dump(types...), before)
			c.Calls.After("AttachHost", nil)

			if err := c.RepeatEachStep(call); err == nil {
				c.Do(detachMsg, c.to()) // the row cannot be inserted twice
			}
			c.Want("what is there", c.Dump(types...), before)
			c.Do(attachMsg, c.to())
			c.Want("link", c.link(c.s.Host).Status, "Connected")
			c.VM(c.s, nil)
		})
	}
}

// A storage is taken from a cluster whose guests on it do not run, and from all
// its hosts; it can be taken twice, and then deleted.
func TestDetach(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Refused(errs.Refused, detachMsg, c.to(), "guest vm of the cluster runs on it", "stop the cluster's guests")
	c.Refused(errs.Refused, "APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary}, "is attached to clusters", "detach it from its clusters first")
	// A guest of another cluster is not in the way.
	second := c.Cluster(c.s.Zone)
	c.Do(attachMsg, P{"clusterUuid": second, "primaryStorageUuid": c.s.Primary})
	c.Do(detachMsg, P{"clusterUuid": second, "primaryStorageUuid": c.s.Primary})
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.Calls.Fail("DetachHost", gone("it"))
	c.Refused(errs.Unavailable, detachMsg, c.to(), "detach primary storage primary from host host-01", "not mounted")
	c.Want("link", c.link(c.s.Host).Status, "Connected")
	c.Calls.Fail("DetachHost", nil)
	for range 2 {
		c.Do(detachMsg, c.to())
		c.Want("links", len(c.List("PrimaryStorageHostRef")), 0)
		c.Want("attachments", len(c.List("PrimaryStorageClusterRef")), 0)
	}
	c.Do("APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary})
	if c.primary() != nil || c.Get("VmInstance", vm) != nil && len(c.List("Volume")) > 0 {
		t.Error("the storage, or a volume on it, is left")
	}
}

// What a host was away for is taken from it when it is back.
func TestHostThatWasAway(t *testing.T) {
	c := newCloud(t)
	away(c)
	c.Calls.Forget()
	c.Do(detachMsg, c.to())
	c.Want("asked while it was away", len(c.Calls.Of("DetachHost")), 0)
	c.Want("link that is to be taken", c.link(c.s.Host).Status, "Disconnected")
	c.Calls.Fail("DetachHost", gone("it"))
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host}) // no reason to keep it out
	c.Want("link that is to be taken", c.link(c.s.Host).PrimaryStorageUUID, c.s.Primary)
	c.Calls.Fail("DetachHost", nil)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Want("links", len(c.List("PrimaryStorageHostRef")), 0)
}

// away makes the site's host one that cannot be reached.
func away(c *cloud) {
	c.t.Helper()
	if err := c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(c.t.Context(), "UPDATE `Host` SET `status` = 'Disconnected' WHERE `uuid` = ?", c.s.Host)
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	c.Storage.HostLost(c.t.Context(), c.s.Host)
}

// A storage that is deleted while a host is away leaves a note, by which the host
// gives it back later.
func TestDeletedWhileAHostIsAway(t *testing.T) {
	c := newCloud(t)
	away(c)
	c.Do("APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary, "deleteMode": "Enforcing"})
	if c.primary() != nil {
		t.Fatal("the storage is left")
	}
	jobs := c.List("GCJob")
	c.Want("notes", len(jobs), 1)
	c.Calls.Forget()
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	trigger := func() { _, _ = c.Call("APITriggerGCJobMsg", P{"uuid": jobs[0].Text("uuid")}) }
	trigger()
	r, _ := kerneltest.Last[*pluginv1.DetachHostRequest](c.Calls, "DetachHost")
	c.Want("host that gives it back", r.GetHost().GetUuid(), c.s.Host)
	c.Want("storage that it gives back", r.GetStorage().GetUuid(), c.s.Primary)
}

// A host that leaves gives its storages back, and takes with it what was there.
func TestHostLeaves(t *testing.T) {
	c, second := localSite(t)
	c.VM(c.s, P{"hostUuid": c.s.Host})
	c.VM(c.s, P{"hostUuid": second})
	c.Calls.Forget()
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host})
	if r, ok := kerneltest.Last[*pluginv1.DetachHostRequest](c.Calls, "DetachHost"); !ok || r.GetHost().GetUuid() != c.s.Host {
		t.Errorf("taken from %v", r)
	}
	c.Want("capacity", c.primary().Int("totalCapacity"), int64(kerneltest.DefaultSpace))
	refs, err := store.Find(c.Context(), c.Store, storage.HostRefType, "`primaryStorageUuid` = ?", c.s.Primary)
	if err != nil || len(refs) != 1 || refs[0].HostUUID != second {
		t.Errorf("links %v %v", refs, err)
	}
	for _, v := range c.List("Volume") {
		if v.Text("primaryStorageUuid") == c.s.Primary && c.Get("VmInstance", v.Text("vmInstanceUuid")).Text("hostUuid") != second {
			t.Errorf("a volume of the host is left: %v", v)
		}
	}
}
