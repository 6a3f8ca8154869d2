package image_test

import (
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// age makes a resource one that nobody has touched for a long time.
func (c *cloud) age(typeName, uuid string) {
	c.t.Helper()
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(c.t.Context(), "UPDATE `"+typeName+"` SET `lastOpDate` = ? WHERE `uuid` = ?", resource.Time{Time: time.Now().AddDate(0, -1, 0)}, uuid)
		return err
	}))
}

// look begins the looks for what is to be expunged.
func (c *cloud) look() {
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "image", "name": "expungeInterval", "value": "1"})
}

// Deleted copies are expunged when their time has come, also those of an image
// that has others; the others stay, and so does what was deleted just now.
func TestTrash(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	add := func() string { return c.Create("APIAddImageMsg", c.image(c.store, second)) }
	one, all, young, untouched := add(), add(), add(), add()
	for _, uuid := range []string{one, young, untouched} {
		c.age("Image", uuid) // it is old, and then deleted
	}
	c.Do("APIDeleteImageMsg", P{"uuid": one, "backupStorageUuids": []string{second}})
	c.Do("APIDeleteImageMsg", P{"uuid": young, "backupStorageUuids": []string{second}})
	c.Do("APIDeleteImageMsg", P{"uuid": all})
	c.age("Image", one)
	c.age("Image", all)
	c.look()
	c.Until("expunged", func() bool { return c.Get("Image", all) == nil && len(copies(c.Get("Image", one))) == 1 })
	c.Want("other copy", copies(c.Get("Image", one))[c.store], "Ready")
	c.Want("status of the image", c.Get("Image", one).Text("status"), "Ready")
	c.Want("copy that was deleted just now", copies(c.Get("Image", young))[second], "Deleted")
	c.Want("copies of an image that was not deleted", len(copies(c.Get("Image", untouched))), 2)
}

// An image whose last usable copy goes with its store is a deleted one.
func TestOnlyDeletedCopiesAreLeft(t *testing.T) {
	c := newCloud(t)
	second, third := c.addStore("second"), c.addStore("third")
	uuid := c.Create("APIAddImageMsg", c.image(c.store, second, third))
	c.Do("APIDeleteImageMsg", P{"uuid": uuid, "backupStorageUuids": []string{second}})
	c.Do("APIDeleteBackupStorageMsg", P{"uuid": third})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Ready")
	c.Do("APIDeleteBackupStorageMsg", P{"uuid": c.store})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Deleted")
	c.Want("status", c.Do("APIRecoverImageMsg", P{"imageUuid": uuid}).Text("status"), "Ready")
}
