package image_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// upload are the parameters of an image that its client sends.
func (c *cloud) upload() P {
	p := c.image()
	p["url"] = "upload://mine"
	return p
}

// addresses are where an image's bytes can be sent, as an account is told.
func (c *cloud) addresses(account, id string) []kerneltest.Row {
	return c.As(account).Do("APIGetUploadImageJobDetailsMsg", P{"imageId": id}).Rows("existingJobDetails")
}

// Who adds an image that he sends himself is answered before the bytes come, and
// told where to send them; the image is what came.
func TestUpload(t *testing.T) {
	c := newCloud(t)
	mine, other := c.Account(), c.Account()
	row := c.As(mine).Do("APIAddImageMsg", c.upload())
	uuid, address := row.Text("uuid"), "http://127.0.0.1/upload/"+row.Text("uuid")
	c.Want("status", row.Text("status"), "Downloading")
	c.Want("address in the answer", row.Rows("backupStorageRefs")[0].Text("installPath"), address)
	for _, id := range []string{uuid, "mine"} {
		for _, account := range []string{mine, kerneltest.Admin} {
			list := c.addresses(account, id)
			if len(list) != 1 || list[0].Text("imageUploadUrl") != address || list[0].Text("imageUuid") != uuid {
				t.Errorf("%s is told %v", account, list)
			}
		}
		c.Want("addresses for another account", len(c.addresses(other, id)), 0)
	}
	c.Calls.Fail("BeginUpload", gone())
	c.Refused(errs.Unavailable, "APIGetUploadImageJobDetailsMsg", P{"imageId": uuid}, "takes no upload", "not mounted")
	c.World.Uploaded(uuid)
	c.Until("ready", func() bool { return c.Get("Image", uuid).Text("status") == "Ready" })
	r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
	c.Want("url that the store is told", r.GetUrl(), "upload://"+uuid)
	c.Want("path", c.Get("Image", uuid).Rows("backupStorageRefs")[0].Text("installPath"), "/images/"+uuid)
	c.Want("left", c.row().Int("availableCapacity"), int64(kerneltest.DefaultSpace-kerneltest.ImageBytes))
	c.Want("addresses when it has come", len(c.addresses(mine, uuid)), 0)
}

// Of all images that wait for their bytes under one name, and of all stores that
// each goes to, the addresses are told, to whom they belong.
func TestUploadsOfOneName(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	mine, other := c.Account(), c.Account()
	p := c.upload()
	p["backupStorageUuids"] = []string{c.store, second}
	for _, account := range []string{other, mine, mine} {
		row := c.As(account).Do("APIAddImageMsg", p)
		for _, ref := range row.Rows("backupStorageRefs") {
			c.Want("address in the answer", ref.Text("installPath"), "http://127.0.0.1/upload/"+row.Text("uuid"))
		}
	}
	c.Want("addresses of one account", len(c.addresses(mine, "mine")), 4)
	c.Want("addresses of the other", len(c.addresses(other, "mine")), 2)
	c.Want("addresses that the administrator sees", len(c.addresses(kerneltest.Admin, "mine")), 6)
}

// An upload that fails, or whose image is deleted, leaves nothing; nobody waits
// for bytes that are not wanted any more.
func TestUploadThatEnds(t *testing.T) {
	c := newCloud(t)
	before := c.Dump(allTypes...)
	uuid := c.Create("APIAddImageMsg", c.upload())
	c.Do("APIDeleteImageMsg", P{"uuid": uuid})
	c.Idle(uuid)
	c.Want("what is there", c.Dump(allTypes...), before)
	c.Calls.After("AddImage", func(any) error { return gone() })
	uuid = c.Create("APIAddImageMsg", c.upload())
	c.World.Uploaded(uuid)
	c.Until("gone", func() bool { return c.Get("Image", uuid) == nil })
	c.Idle(uuid)
	c.Want("what is there", c.Dump(allTypes...), before)
	c.Want("copies that were taken back", len(c.Calls.Of("DeleteImage")) > 0, true)
}

// A store that takes no uploads gets none, and nothing is left of the image.
func TestUploadIsRefused(t *testing.T) {
	c := newCloud(t)
	second := c.addStore("second")
	before := c.Dump(allTypes...)
	c.Calls.On("BeginUpload", func(r any) error {
		if r.(*pluginv1.BeginUploadRequest).GetStore().GetUuid() == second {
			return errs.New(errs.Unsupported, "store", "has no door")
		}
		return nil
	})
	p := c.upload()
	p["backupStorageUuids"] = []string{c.store, second}
	c.Refused(errs.Unsupported, "APIAddImageMsg", p, "backup storage second", "takes no upload", "has no door")
	c.Want("what is there", c.Dump(allTypes...), before)
	c.Want("uploads that nobody knows", len(c.addresses(kerneltest.Admin, "mine")), 0)
	p["backupStorageUuids"] = []string{c.store}
	c.Create("APIAddImageMsg", p)
}

// Each step of adding an upload can fail before the answer and after it, whether
// or not it has worked.
func TestUploadFailsAtEachStep(t *testing.T) {
	c := newCloud(t)
	call := func() error { _, err := c.Call("APIAddImageMsg", c.upload()); return err }
	c.FailEachStep([]string{"insert", "open-upload", "tell-address"}, allTypes, call)
}

// A store's own update tells it what is new before anything is written, and what
// it refuses is not.
func TestUpdateStore(t *testing.T) {
	c := newCloud(t)
	const message = "APIUpdateFakeBackupStorageMsg"
	told := func() *pluginv1.ConnectStoreRequest {
		r, _ := kerneltest.Last[*pluginv1.ConnectStoreRequest](c.Calls, "ConnectStore")
		return r
	}
	c.Want("shelf of a new store", told().GetStore().GetFields()["shelf"], "top")
	c.Calls.Forget()
	c.Want("name", c.Do(message, P{"uuid": c.store, "name": "renamed"}).Text("name"), "renamed")
	c.Want("store asked for a name", len(c.Calls.Of("ConnectStore")), 0)
	c.Calls.Fail("ConnectStore", gone())
	c.Refused(errs.Unavailable, message, P{"uuid": c.store, "name": "again", "shelf": "low"}, "not mounted")
	c.Want("name", c.row().Text("name"), "renamed")
	c.Calls.Fail("ConnectStore", nil)
	c.Do(message, P{"uuid": c.store, "shelf": "low"})
	c.Want("shelf it is asked about", told().GetStore().GetFields()["shelf"], "low")
	c.Want("known", told().GetKnown(), true)
	c.Do("APIReconnectBackupStorageMsg", P{"uuid": c.store})
	c.Want("shelf from now on", told().GetStore().GetFields()["shelf"], "low")
	c.As(c.Account()).Refused(errs.Denied, message, P{"uuid": c.store, "shelf": "mine"})
}
