package image_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

const giB = 1 << 30

// cloud is one with a store that no zone has yet.
type cloud struct {
	*cloudtest.Cloud
	store string
	t     *testing.T
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{Cloud: cloudtest.New(t), t: t}
	c.store = c.addStore("store")
	return c
}

func (c *cloud) addStore(name string) string {
	c.t.Helper()
	return c.Create("APIAddFakeBackupStorageMsg", P{"name": name, "url": "/" + name})
}

func (c *cloud) row() kerneltest.Row { return c.Get("BackupStorage", c.store) }

// image are the parameters of an image in stores, or in the cloud's.
func (c *cloud) image(stores ...string) P {
	if len(stores) == 0 {
		stores = []string{c.store}
	}
	return P{"name": "image", "url": "http://127.0.0.1/image", "format": "raw", "backupStorageUuids": stores}
}

func gone() error { return errs.New(errs.Unavailable, "the disk", "is not mounted") }

// A store is lost after so many failed looks in a row as the setting says, and
// back when it can be connected as one that was there before.
func TestStoreIsLostAndFound(t *testing.T) {
	for failures, setting := range map[int]string{3: "", 2: "2"} {
		c := newCloud(t)
		if setting != "" {
			c.Do("APIUpdateGlobalConfigMsg", P{"category": "backupStorage", "name": "ping.maxFailure", "value": setting})
		}
		look := c.Image.Round()
		c.Calls.Fail("StoreCapacity", gone())
		for range failures - 1 {
			look(t.Context())
		}
		c.Want("status", c.row().Text("status"), "Connected")
		look(t.Context())
		c.Want("status", c.row().Text("status"), "Disconnected")
		c.Refused(errs.Refused, "APIAddImageMsg", c.image(), "backup storage store", "Enabled and Disconnected", "reconnect it")
		c.Calls.Fail("ConnectStore", gone())
		look(t.Context())
		c.Refused(errs.Unavailable, "APIReconnectBackupStorageMsg", P{"uuid": c.store}, "backup storage store", "cannot be connected", "not mounted")
		c.Want("status", c.row().Text("status"), "Disconnected")
		c.Calls.Fail("ConnectStore", nil)
		look(t.Context()) // its connect tells what it has
		c.Want("status", c.row().Text("status"), "Connected")
		if r, _ := kerneltest.Last[*pluginv1.ConnectStoreRequest](c.Calls, "ConnectStore"); !r.GetKnown() {
			t.Error("it was connected as a new one, which would make it anew in an empty folder")
		}
	}
}

func TestReconnect(t *testing.T) {
	c := newCloud(t)
	c.Calls.Fail("ConnectStore", gone())
	c.Refused(errs.Unavailable, "APIReconnectBackupStorageMsg", P{"uuid": c.store}, "not mounted")
	c.Want("status", c.row().Text("status"), "Disconnected")
	c.Calls.Fail("ConnectStore", nil)
	c.World.Space(c.store, "", 9*giB, 8*giB)
	c.Want("status", c.Do("APIReconnectBackupStorageMsg", P{"uuid": c.store}).Text("status"), "Connected")
	c.Want("free", c.row().Int("availableCapacity"), int64(8*giB))
	c.As(c.Account()).Refused(errs.Denied, "APIReconnectBackupStorageMsg", P{"uuid": c.store})
}

// What the medium of a store has is followed.
func TestCapacityFollows(t *testing.T) {
	c := newCloud(t)
	look := c.Image.Round()
	for _, s := range []struct{ total, free, wantTotal, wantFree int64 }{
		{20 * giB, 15 * giB, 20 * giB, 15 * giB},
		{10 * giB, 5 * giB, 10 * giB, 5 * giB},
		{10 * giB, 11 * giB, 10 * giB, 10 * giB}, // more free than there is
		{-1, -1, 0, 0},
	} {
		c.World.Space(c.store, "", s.total, s.free)
		look(t.Context())
		c.Want("total", c.row().Int("totalCapacity"), s.wantTotal)
		c.Want("free", c.row().Int("availableCapacity"), s.wantFree)
	}
}

// A look that finds nothing new writes nothing; whatever changes is written, also
// when what is free stays as it is.
func TestLookWritesNews(t *testing.T) {
	c := newCloud(t)
	look := c.Image.Round()
	c.World.Space(c.store, "", 20*giB, 15*giB)
	look(t.Context())
	c.age("BackupStorage", c.store)
	before := c.row().Text("lastOpDate")
	look(t.Context())
	c.Want("when it was written last", c.row().Text("lastOpDate"), before)
	c.World.Space(c.store, "", 16*giB, 15*giB)
	look(t.Context())
	c.Want("total", c.row().Int("totalCapacity"), int64(16*giB))
	c.Want("it was written then", c.row().Text("lastOpDate") != before, true)
}

// A look while an image is being added sees its bytes, which are counted when it
// is there; in the end they are counted once.
func TestLookWhileAnImageIsAdded(t *testing.T) {
	c := newCloud(t)
	look := c.Image.Round()
	c.Calls.After("AddImage", func(any) error { look(t.Context()); return nil })
	c.Do("APIAddImageMsg", c.image())
	c.Want("left", c.free(c.store), int64(kerneltest.DefaultSpace-kerneltest.ImageBytes))
}

// All stores are looked at, at every interval.
func TestLooksByItself(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	for _, uuid := range []string{c.store, second} {
		c.World.Space(uuid, "", 20*giB, 15*giB)
	}
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "backupStorage", "name": "ping.interval", "value": "1"})
	c.Until("looked at", func() bool { return c.free(c.store) == 15*giB && c.free(second) == 15*giB })
}

// What is free is read when an image is to be added, not remembered.
func TestCapacityIsReadAtUse(t *testing.T) {
	c := newCloud(t)
	c.World.Space(c.store, "", 20*giB, 1*giB) // all of it is reserved
	c.Refused(errs.Exhausted, "APIAddImageMsg", c.image(), "backup storage store", "1073741824 bytes available, of which 1073741824 are reserved", "reservedCapacity")
	c.Want("images", len(c.List("Image")), 0)
	c.Want("free", c.row().Int("availableCapacity"), int64(giB))
	c.World.Space(c.store, "", 20*giB, 3*giB)
	c.Image.Round()(t.Context())
	c.Do("APIAddImageMsg", c.image())
	r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
	c.Want("room", r.GetMaxBytes(), int64(2*giB))
	c.Calls.Fail("StoreCapacity", gone())
	c.Refused(errs.Unavailable, "APIAddImageMsg", c.image(), "not mounted", "free space cannot be read")
	c.Want("images", len(c.List("Image")), 1)
}
