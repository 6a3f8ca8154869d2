package storage_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// dataVolume makes a data volume of 2 GiB that no guest has, of an account.
func (c *cloud) dataVolume(account string) string {
	c.t.Helper()
	vm := c.As(kerneltest.Admin).Do("APICreateVmInstanceMsg", c.s.Guest(P{"dataDiskSizes": []int64{2 * giB}})).Text("uuid")
	uuid := ""
	for _, v := range c.List("Volume", "vmInstanceUuid="+vm, "type=Data") {
		uuid = v.Text("uuid")
	}
	c.Refused(errs.Refused, "APIDeleteDataVolumeMsg", P{"uuid": uuid}, "guest "+vm+" has it", "destroy the guest first")
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": vm})
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": vm})
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(c.t.Context(), "UPDATE `Volume` SET `accountUuid` = ? WHERE `uuid` = ?", account, uuid)
		return err
	}))
	return uuid
}

func (c *cloud) volume(uuid string) kerneltest.Row { return c.Get("Volume", uuid) }

// A data volume that no guest has is deleted, comes back, is deleted again and
// expunged, by its owner.
func TestDataVolumeEnds(t *testing.T) {
	c := newCloud(t)
	mine, other := c.Account(), c.Account()
	uuid := c.dataVolume(mine)
	free := c.primary().Int("availableCapacity")
	p := P{"uuid": uuid}
	for _, message := range []string{"APIDeleteDataVolumeMsg", "APIExpungeDataVolumeMsg", "APIRecoverDataVolumeMsg"} {
		if _, err := c.As(other).Call(message, p); err == nil && c.volume(uuid).Text("status") != "Ready" {
			t.Errorf("%s of another account worked", message)
		}
	}
	me := c.As(mine)
	me.Refused(errs.Refused, "APIExpungeDataVolumeMsg", p, "is not deleted; its status is Ready", "delete it first")
	me.Refused(errs.Refused, "APIRecoverDataVolumeMsg", p, "is not deleted; its status is Ready")
	me.Do("APIDeleteDataVolumeMsg", p)
	c.Want("status", c.volume(uuid).Text("status"), "Deleted")
	c.Want("left", c.primary().Int("availableCapacity"), free) // it can come back
	c.Want("status", me.Do("APIRecoverDataVolumeMsg", p).Text("status"), "Ready")
	me.Do("APIDeleteDataVolumeMsg", p)

	c.Calls.Fail("DeleteVolume", gone("it"))
	me.Refused(errs.Unavailable, "APIExpungeDataVolumeMsg", p, "not mounted")
	me.Refused(errs.Refused, "APIRecoverDataVolumeMsg", p, "is being expunged, and its data may be gone", "expunge it again")
	c.Calls.Fail("DeleteVolume", nil)
	c.Want("left", c.primary().Int("availableCapacity"), free)
	for range 2 {
		me.Do("APIExpungeDataVolumeMsg", p)
		if c.volume(uuid) != nil {
			t.Fatal("it is left")
		}
		c.Want("left", c.primary().Int("availableCapacity"), free+2*giB)
	}
	c.Want("volumes in the world", c.World.Volumes(), 0)
}

func TestVolumePolicies(t *testing.T) {
	c := newCloud(t)
	set := func(value string) {
		c.Do("APIUpdateGlobalConfigMsg", P{"category": "volume", "name": "deletionPolicy", "value": value})
	}
	set("Direct")
	uuid := c.dataVolume(kerneltest.Admin)
	c.Do("APIDeleteDataVolumeMsg", P{"uuid": uuid})
	if c.volume(uuid) != nil || c.World.Volumes() != 0 {
		t.Error("it is left in spite of the policy Direct")
	}
	set("Never")
	uuid = c.dataVolume(kerneltest.Admin)
	c.Do("APIDeleteDataVolumeMsg", P{"uuid": uuid})
	c.Want("status", c.volume(uuid).Text("status"), "Deleted")
	c.Want("in the world", c.World.Volumes(), 1)
}

func TestRootVolumeIsNoDataVolume(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil)
	for _, message := range []string{"APIDeleteDataVolumeMsg", "APIExpungeDataVolumeMsg", "APIRecoverDataVolumeMsg"} {
		c.Refused(errs.Refused, message, P{"uuid": vm.Text("rootVolumeUuid")}, "is the root volume of a guest")
	}
}

// A volume that goes with its storage is forgotten when it cannot be reached, if
// that is what was asked for.
func TestVolumeGoesWithItsStorage(t *testing.T) {
	c := newCloud(t)
	uuid := c.dataVolume(kerneltest.Admin)
	c.Do(detachMsg, c.to())
	c.Calls.Fail("DeleteVolume", gone("it"))
	c.Refused(errs.Unavailable, "APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary}, "not mounted")
	if c.volume(uuid) == nil {
		t.Fatal("the volume went, the storage did not")
	}
	c.Do("APIDeletePrimaryStorageMsg", P{"uuid": c.s.Primary, "deleteMode": "Enforcing"})
	if c.volume(uuid) != nil || c.primary() != nil {
		t.Error("the volume, or the storage, is left")
	}
}

// A disk of a guest that runs stays, whatever is forced.
func TestDiskInUse(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	uuid := c.dataVolume(kerneltest.Admin)
	other := c.Create("APIAddFakePrimaryStorageMsg", P{"name": "other", "zoneUuid": c.s.Zone, "url": "/other"})
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `Volume` SET `vmInstanceUuid` = ?, `primaryStorageUuid` = ? WHERE `uuid` = ?", vm, other, uuid)
		return err
	}))
	force := P{"uuid": other, "deleteMode": "Enforcing"}
	c.Refused(errs.Refused, "APIDeletePrimaryStorageMsg", force, "VM vm", "is Running", "stop it first")
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.Do("APIDeletePrimaryStorageMsg", force)
	if c.volume(uuid) != nil {
		t.Error("the volume is left")
	}
}

// Volumes are made, found and freed as their guest's flows ask for it, and each
// of those can be repeated.
func TestVolumesOfAGuest(t *testing.T) {
	c := newCloud(t)
	host := &pluginv1.Host{Uuid: c.s.Host}
	v := plan(2, giB, 2*giB)
	const vm = "00000000000000000000000000000001"
	for i := range v {
		v[i].VMUUID, v[i].DeviceID = vm, int64(1-i)
	}
	v[0].Tags = []string{"capability::virtio-scsi"}
	ctx := t.Context()
	c.Ok(c.planAt(c.s.Host, v))
	c.Want("place", v[0].PrimaryUUID+v[0].HostUUID, c.s.Primary)
	c.Want("bus", v[0].Bus, "scsi")
	c.Want("status", c.volume(v[0].UUID).Text("status"), "Creating")
	for range 2 {
		for _, one := range v {
			c.Ok(c.Storage.Make(ctx, host, one))
		}
	}
	c.Want("in the world", c.World.Volumes(), 2)
	c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Ready(ctx, tx, v) }))
	c.Want("status", c.volume(v[0].UUID).Text("status"), "Ready")
	c.Want("path", c.volume(v[0].UUID).Text("installPath"), "/volumes/"+v[0].UUID)
	found, err := c.Storage.OfVM(ctx, c.Store, vm)
	c.Ok(err)
	if len(found) != 2 || found[0].UUID != v[1].UUID || found[1].UUID != v[0].UUID {
		t.Fatalf("by device: %+v", found)
	}
	c.Want("bus of the first", found[0].Bus, "")
	c.Want("bus of the second", found[1].Bus, "scsi")
	c.Want("path", found[1].InstallPath, v[0].InstallPath)
	for range 2 {
		c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Detach(ctx, tx, v[1].UUID) }))
		c.Want("last guest", c.volume(v[1].UUID).Text("lastVmInstanceUuid"), vm)
		c.Want("guest", c.volume(v[1].UUID).Text("vmInstanceUuid"), "")
	}
	c.Calls.Fail("CreateVolume", gone("it"))
	if err := c.Storage.Make(ctx, host, v[0]); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("made without its disk: %v", err)
	}
	for range 2 {
		for _, one := range v {
			c.Ok(c.Storage.Unmake(ctx, host, one))
		}
		c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Unplan(ctx, tx, v) }))
	}
	c.Want("in the world", c.World.Volumes(), 0)
	c.Want("rows", len(c.List("Volume")), 0)
	c.Want("tags", len(c.List("SystemTag", "resourceUuid="+v[0].UUID)), 0)
	if err := c.Storage.Unmake(ctx, host, &contract.VolumePlan{UUID: v[0].UUID, PrimaryUUID: "gone"}); err != nil {
		t.Errorf("on a storage that is gone: %v", err)
	}
}
