package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func (c *cloud) free(store string) int64 {
	return c.Get("BackupStorage", store).Int("availableCapacity")
}

func (c *cloud) policy(value string) {
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "image", "name": "deletionPolicy", "value": value})
}

// An image is deleted, comes back, is deleted again and expunged, by its owner;
// its bytes are free when they are gone, and not before.
func TestImageEnds(t *testing.T) {
	c := newCloud(t)
	mine, other := c.Account(), c.Account()
	me := c.As(mine)
	uuid := me.Create("APIAddImageMsg", c.image())
	p := P{"imageUuid": uuid}
	const taken = kerneltest.DefaultSpace - 1<<20
	before := c.Dump(allTypes...)
	for message, p := range map[string]P{"APIDeleteImageMsg": {"uuid": uuid}, "APIExpungeImageMsg": p, "APIRecoverImageMsg": p,
		"APIUpdateImageMsg": {"uuid": uuid, "name": "stolen"}, "APIChangeImageStateMsg": {"uuid": uuid, "stateEvent": "disable"}} {
		_, _ = c.As(other).Call(message, p)
		c.Want("what is there after "+message+" of another account", c.Dump(allTypes...), before)
	}
	me.Refused(errs.Refused, "APIExpungeImageMsg", p, "image image", "is not deleted; its status is Ready", "delete it first")
	me.Refused(errs.Refused, "APIRecoverImageMsg", p, "has no deleted copy to recover")
	me.Do("APIDeleteImageMsg", P{"uuid": uuid})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Deleted")
	c.Want("left", c.free(c.store), int64(taken))
	c.Want("status", me.Do("APIRecoverImageMsg", p).Text("status"), "Ready")
	c.Want("what is there", c.Dump(allTypes...), before)
	me.Do("APIDeleteImageMsg", P{"uuid": uuid})

	c.Calls.Fail("DeleteImage", gone())
	me.Refused(errs.Unavailable, "APIExpungeImageMsg", p, "not mounted")
	me.Refused(errs.Refused, "APIRecoverImageMsg", p, "it is being expunged")
	c.Want("left", c.free(c.store), int64(taken))
	c.Calls.Fail("DeleteImage", nil)
	me.Do("APIExpungeImageMsg", p)
	c.Want("images and copies", len(c.List("Image"))+len(c.List("ImageBackupStorageRef")), 0)
	c.Want("left", c.free(c.store), int64(kerneltest.DefaultSpace))
	me.Do("APIDeleteImageMsg", P{"uuid": uuid}) // gone is deleted
	c.Want("left", c.free(c.store), int64(kerneltest.DefaultSpace))
}

// Copies go one by one, and the image with its last.
func TestCopiesEndOneByOne(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	uuid := c.Create("APIAddImageMsg", c.image(c.store, second))
	one, two := []string{c.store}, []string{second}
	c.Do("APIDeleteImageMsg", P{"uuid": uuid, "backupStorageUuids": one})
	row := c.Get("Image", uuid)
	c.Want("status", row.Text("status"), "Ready")
	c.Want("copy", copies(row)[c.store], "Deleted")
	c.Want("other copy", copies(row)[second], "Ready")
	c.Refused(errs.Refused, "APIExpungeImageMsg", P{"imageUuid": uuid, "backupStorageUuids": two}, "is not deleted")
	c.Do("APIExpungeImageMsg", P{"imageUuid": uuid, "backupStorageUuids": one})
	c.Want("copies", len(copies(c.Get("Image", uuid))), 1)
	c.Want("left", c.free(c.store), int64(kerneltest.DefaultSpace))
	c.Want("left in the other", c.free(second), int64(kerneltest.DefaultSpace-1<<20))
	c.Do("APIDeleteImageMsg", P{"uuid": uuid})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Deleted")
	c.Refused(errs.Refused, "APIRecoverImageMsg", P{"imageUuid": uuid, "backupStorageUuids": one}, "no deleted copy")
	c.Do("APIExpungeImageMsg", P{"imageUuid": uuid, "backupStorageUuids": one}) // gone already
	c.Want("copies", len(copies(c.Get("Image", uuid))), 1)
	c.Do("APIRecoverImageMsg", P{"imageUuid": uuid, "backupStorageUuids": two})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Ready")
}

func TestImagePolicies(t *testing.T) {
	c := newCloud(t)
	c.policy("Direct")
	c.Do("APIDeleteImageMsg", P{"uuid": c.Create("APIAddImageMsg", c.image())})
	c.Want("images", len(c.List("Image")), 0)
	c.Want("bits taken back", len(c.Calls.Of("DeleteImage")), 1)
	c.Want("left", c.free(c.store), int64(kerneltest.DefaultSpace))
	c.policy("Never")
	c.Do("APIDeleteImageMsg", P{"uuid": c.Create("APIAddImageMsg", c.image())})
	c.Want("images and copies", len(c.List("Image"))+len(c.List("ImageBackupStorageRef")), 0)
	c.Want("bits taken back", len(c.Calls.Of("DeleteImage")), 1) // they are kept
}

// Of a copy that goes alone, only that is forgotten when bits are kept.
func TestNeverForgetsWhatIsNamed(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	c.policy("Never")
	uuid := c.Create("APIAddImageMsg", c.image(c.store, second))
	c.Do("APIDeleteImageMsg", P{"uuid": uuid, "backupStorageUuids": []string{second}})
	c.Want("status", c.Get("Image", uuid).Text("status"), "Ready")
	if got := copies(c.Get("Image", uuid)); len(got) != 1 || got[c.store] != "Ready" {
		t.Errorf("copies %v", got)
	}
	c.Do("APIDeleteImageMsg", P{"uuid": uuid, "backupStorageUuids": []string{c.store}})
	c.Want("images and copies", len(c.List("Image"))+len(c.List("ImageBackupStorageRef")), 0)
	c.Want("bits taken back", len(c.Calls.Of("DeleteImage")), 0)
}

// An update changes what people say of an image, not what its bytes are.
func TestUpdateImage(t *testing.T) {
	c := newCloud(t)
	uuid := c.Create("APIAddImageMsg", c.image())
	c.Refused(errs.Invalid, "APIUpdateImageMsg", P{"uuid": uuid, "name": "no", "format": "qcow2"}, "format", "the bytes of image image are raw", "add the image again in format qcow2")
	c.Refused(errs.Invalid, "APIUpdateImageMsg", P{"uuid": uuid, "platform": "Plan9"}, "platform")
	row := c.Do("APIUpdateImageMsg", P{"uuid": uuid, "name": "yes", "format": "raw", "platform": "Windows", "guestOsType": "w", "virtio": false})
	c.Want("name", row.Text("name"), "yes")
	c.Want("platform", row.Text("platform"), "Windows")
	c.Want("virtio", row["virtio"], false)
	c.Want("format", c.Do("APIUpdateImageMsg", P{"uuid": uuid, "format": ""}).Text("format"), "raw")
	row = c.Do("APIUpdateImageMsg", P{"uuid": uuid, "description": "good"})
	c.Want("description", row.Text("description"), "good")
	c.Want("name that is not given", row.Text("name"), "yes")
}

// A store is added when its plugin takes it, and nothing is left when not.
func TestAddStore(t *testing.T) {
	c := newCloud(t)
	const message = "APIAddFakeBackupStorageMsg"
	before := c.Dump("BackupStorage")
	c.Calls.Fail("ConnectStore", gone())
	c.Refused(errs.Unavailable, message, P{"name": "new", "url": "/new"}, "not mounted")
	c.Calls.Fail("ConnectStore", nil)
	c.Refused(errs.Exists, message, P{"name": "new", "url": "/store"}, "there is one of type Fake with this url already")
	c.Refused(errs.Invalid, message, P{"name": "new", "url": "/new", "type": "Other"}, "type", "is Other, and this message adds a Fake")
	c.Refused(errs.Invalid, message, P{"name": "new", "url": "/new", "importImages": true}, "importImages", "add the images one by one")
	c.As(c.Account()).Refused(errs.Denied, message, P{"name": "new", "url": "/new"})
	c.Want("what is there", c.Dump("BackupStorage"), before)
	row := c.Do(message, P{"name": "new", "url": "/new", "type": "Fake", "description": "d", "importImages": false, "userTags": []string{"u"}})
	c.Want("description", row.Text("description"), "d")
	c.Want("shelf", row.Text("shelf"), "top")
	c.Want("tags", len(c.List("UserTag", "resourceUuid="+row.Text("uuid"))), 1)
	c.Want("status", row.Text("status"), "Connected")
	c.Want("state", row.Text("state"), "Enabled")
	c.Want("capacity", row.Int("totalCapacity"), int64(kerneltest.DefaultSpace))
	if r, _ := kerneltest.Last[*pluginv1.ConnectStoreRequest](c.Calls, "ConnectStore"); r.GetKnown() {
		t.Error("a new store was connected as one that was there before")
	}
	if list, _ := c.Do("APIGetBackupStorageTypesMsg", nil)["backupStorageTypes"].([]any); len(list) != 1 {
		t.Errorf("types %v", list)
	}
}

// A store's images are used in the zones that it is attached to, and attaching
// is done once.
func TestZonesOfAStore(t *testing.T) {
	c := newCloud(t)
	zone, far := c.Create("APICreateZoneMsg", P{"name": "zone"}), c.Create("APICreateZoneMsg", P{"name": "far"})
	uuid := c.Create("APIAddImageMsg", c.image())
	usable := func(zone string) int {
		t.Helper()
		i, err := c.Image.Usable(t.Context(), c.Store, uuid, zone)
		if err != nil && errs.ClassOf(err) != errs.Refused {
			t.Fatal(err)
		}
		if i == nil {
			return 0
		}
		return len(i.Stores)
	}
	c.Want("before it is attached", usable(zone), 0)
	c.Want("in any zone", usable(""), 1)
	p := P{"zoneUuid": zone, "backupStorageUuid": c.store}
	c.Do("APIAttachBackupStorageToZoneMsg", p)
	c.Refused(errs.Refused, "APIAttachBackupStorageToZoneMsg", p, "is attached to zone "+zone+" already")
	c.Want("in its zone", usable(zone), 1)
	c.Want("in another zone", usable(far), 0)
	for range 2 {
		c.Do("APIDetachBackupStorageFromZoneMsg", p)
		c.Want("attachments", len(c.List("BackupStorageZoneRef")), 0)
	}
	c.Want("after it was detached", usable(zone), 0)
	c.Do("APIAttachBackupStorageToZoneMsg", p)
	c.Do("APIDeleteZoneMsg", P{"uuid": zone})
	c.Want("attachments to a zone that is gone", len(c.List("BackupStorageZoneRef")), 0)
}

// What cannot be used now is refused with the reason.
func TestUsable(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	uuid := c.Create("APIAddImageMsg", c.image(c.store, second))
	use := func(class errs.Class, stores int) {
		t.Helper()
		i, err := c.Image.Usable(t.Context(), c.Store, uuid, "")
		if stores > 0 && (err != nil || len(i.Stores) != stores) || stores == 0 && errs.ClassOf(err) != class {
			t.Errorf("got %+v %v", i, err)
		}
	}
	use("", 2)
	c.Do("APIChangeBackupStorageStateMsg", P{"uuid": c.store, "stateEvent": "disable"})
	use("", 1)
	c.Calls.Fail("ConnectStore", gone())
	_, _ = c.Call("APIReconnectBackupStorageMsg", P{"uuid": second})
	use(errs.Refused, 0)
	c.Calls.Fail("ConnectStore", nil)
	c.Do("APIReconnectBackupStorageMsg", P{"uuid": second})
	c.Do("APIDeleteImageMsg", P{"uuid": uuid, "backupStorageUuids": []string{second}})
	use(errs.Refused, 0) // the other copy is in a disabled store
	c.Do("APIChangeBackupStorageStateMsg", P{"uuid": c.store, "stateEvent": "enable"})
	use("", 1)
	c.Do("APIChangeImageStateMsg", P{"uuid": uuid, "stateEvent": "disable"})
	use(errs.Refused, 0)
	c.Do("APIChangeImageStateMsg", P{"uuid": uuid, "stateEvent": "enable"})
	c.Do("APIDeleteImageMsg", P{"uuid": uuid})
	use(errs.Refused, 0)
	uuid = "00000000000000000000000000000000"
	use(errs.NotFound, 0)
}

// An image whose bytes have not come yet says so.
func TestUsableBeforeItIsReady(t *testing.T) {
	c := newCloud(t)
	uuid := c.Create("APIAddImageMsg", c.upload())
	_, err := c.Image.Usable(t.Context(), c.Store, uuid, "")
	if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "is not Ready but Downloading") {
		t.Errorf("got %v", err)
	}
}

// What guests are made by can be said of their image, and what cannot be is
// refused.
func TestTagsOfImages(t *testing.T) {
	c := newCloud(t)
	uuid := c.Create("APIAddImageMsg", c.image())
	tag := func(text string) P { return P{"resourceType": "ImageVO", "resourceUuid": uuid, "tag": text} }
	c.Refused(errs.Invalid, "APICreateSystemTagMsg", tag("bootMode::Magic"), "is not Legacy or UEFI")
	c.Refused(errs.Invalid, "APICreateSystemTagMsg", tag("nonsense::1"), "nonsense")
	for _, text := range []string{"bootMode::UEFI", "qemuga"} {
		c.Do("APICreateSystemTagMsg", tag(text))
	}
	c.Want("tags", len(c.List("SystemTag", "resourceUuid="+uuid)), 2)
}

// A host gets a source of a copy that there is.
func TestSource(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	uuid := c.Create("APIAddImageMsg", c.image())
	src, err := c.Image.Source(t.Context(), uuid, c.store, "10.0.0.1")
	c.Ok(err)
	c.Want("url", src.GetUrl(), "http://127.0.0.1/"+uuid)
	r, _ := kerneltest.Last[*pluginv1.ExportImageRequest](c.Calls, "ExportImage")
	c.Want("path", r.GetInstallPath(), "/images/"+uuid)
	c.Want("reader", r.GetReaderIp(), "10.0.0.1")
	if _, err := c.Image.Source(t.Context(), uuid, second, ""); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("from a store without it: %v", err)
	}
	c.Calls.Fail("ExportImage", gone())
	if _, err := c.Image.Source(t.Context(), uuid, c.store, ""); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("from a store that is away: %v", err)
	}
	asked := []string{uuid}
	for i := range 1500 { // more than one statement asks for
		asked = append(asked, fmt.Sprint(i))
	}
	asked = append(asked, c.Create("APIAddImageMsg", c.image()))
	there, err := c.Image.Existing(t.Context(), c.Store, asked)
	if err != nil || len(there) != 2 || there[0] != uuid || there[1] != asked[1501] {
		t.Errorf("there are %v %v", there, err)
	}
}

// With a store go its copies, and the images that have no other.
func TestDeleteStore(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	both, one := c.Create("APIAddImageMsg", c.image(c.store, second)), c.Create("APIAddImageMsg", c.image())
	c.Do("APIDeleteBackupStorageMsg", P{"uuid": c.store})
	if c.row() != nil || c.Get("Image", one) != nil {
		t.Error("the store, or the image that was only there, is left")
	}
	if got := copies(c.Get("Image", both)); len(got) != 1 || got[second] != "Ready" {
		t.Errorf("copies of the other image: %v", got)
	}
	// Bits in a store that is gone need no deleting.
	if err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "DELETE FROM `BackupStorage`")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.Do("APIDeleteImageMsg", P{"uuid": both})
	c.Do("APIExpungeImageMsg", P{"imageUuid": both})
	c.Want("images", len(c.List("Image")), 0)
}
