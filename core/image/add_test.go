package image_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var allTypes = []string{"Image", "ImageBackupStorageRef", "BackupStorage", "SystemTag", "UserTag"}

// in fails the plugin's calls that name one of the stores.
func in(stores ...string) func(any) error {
	return func(r any) error {
		if s, ok := r.(interface{ GetStore() *pluginv1.Storage }); ok && slices.Contains(stores, s.GetStore().GetUuid()) {
			return gone()
		}
		return nil
	}
}

// copies are the stores that have an image, by the status of its copies.
func copies(row kerneltest.Row) map[string]string {
	m := map[string]string{}
	for _, r := range row.Rows("backupStorageRefs") {
		m[r.Text("backupStorageUuid")] = r.Text("status")
	}
	return m
}

// An image is what its store says that it is, and takes its bytes there.
func TestAdd(t *testing.T) {
	c := newCloud(t)
	p := c.image()
	p["url"], p["userTags"] = "http://127.0.0.1/image#sha256:abcd", []string{"mine"}
	row := c.Do("APIAddImageMsg", p)
	r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
	c.Want("url", r.GetUrl(), "http://127.0.0.1/image")
	c.Want("checksum", r.GetChecksum(), "sha256:abcd")
	c.Want("url that is shown", row.Text("url"), "http://127.0.0.1/image")
	for field, want := range map[string]string{"status": "Ready", "state": "Enabled", "mediaType": "RootVolumeTemplate", "format": "raw",
		"platform": "Linux", "architecture": "x86_64", "type": "zstack"} {
		c.Want(field, row.Text(field), want)
	}
	c.Want("size", row.Int("size"), int64(giB))
	c.Want("size in the store", row.Int("actualSize"), int64(1<<20))
	c.Want("copy", copies(row)[c.store], "Ready")
	c.Want("left", c.row().Int("availableCapacity"), int64(kerneltest.DefaultSpace-1<<20))
	c.Want("tags", len(c.List("UserTag", "resourceUuid="+row.Text("uuid"))), 1)
	p = c.image()
	p["format"] = "iso"
	c.Want("media type of an ISO", c.Do("APIAddImageMsg", p).Text("mediaType"), "ISO")
	p = c.image()
	p["mediaType"], p["format"] = "ISO", "raw"
	c.Want("format of an ISO", c.Do("APIAddImageMsg", p).Text("format"), "iso")
	p = c.image()
	delete(p, "format")
	c.Want("format", c.Do("APIAddImageMsg", p).Text("format"), "qcow2")
	given := P{"type": "own", "platform": "Windows", "architecture": "aarch64", "guestOsType": "w", "mediaType": "DataVolumeTemplate", "format": "RAW", "description": "d"}
	p = c.image()
	maps.Copy(p, given)
	row = c.Do("APIAddImageMsg", p)
	given["format"] = "raw"
	for field, want := range given {
		c.Want(field, row.Text(field), want)
	}
}

// When the only copy fails, at any step, nothing is left.
func TestAddFails(t *testing.T) {
	c := newCloud(t)
	call := func() error { _, err := c.Call("APIAddImageMsg", c.image()); return err }
	c.FailEachStep([]string{"insert", "download", "finish", "recount"}, allTypes, call)
	c.Want("copies that were taken back", len(c.Calls.Of("DeleteImage")) > 0, true)
	before := c.Dump(allTypes...)
	c.Calls.Fail("AddImage", gone())
	c.Refused(errs.Unavailable, "APIAddImageMsg", c.image(), "image image", "cannot be added to backup storage store", "not mounted")
	c.Calls.Fail("AddImage", nil)
	c.Calls.After("AddImage", func(any) error { return errs.New(errs.Timeout, "store", "no answer") })
	c.Calls.Forget()
	c.Refused(errs.Timeout, "APIAddImageMsg", c.image(), "no answer")
	c.Calls.After("AddImage", nil)
	c.Want("copies that were taken back", len(c.Calls.Of("DeleteImage")), 1)
	// What others have taken meanwhile is not there to be counted.
	c.Calls.After("AddImage", func(any) error {
		c.World.Space(c.store, "", kerneltest.DefaultSpace, giB)
		c.Image.Round()(t.Context())
		return nil
	})
	c.Refused(errs.Exhausted, "APIAddImageMsg", c.image(), "has no room for 1048576 bytes beside the 1073741824")
	c.Calls.After("AddImage", nil)
	c.World.Space(c.store, "", kerneltest.DefaultSpace, kerneltest.DefaultSpace)
	c.Image.Round()(t.Context())
	c.Want("what is there", c.Dump(allTypes...), before)
}

// The copies that worked are kept; when none did, nothing is.
func TestAddToSeveralStores(t *testing.T) {
	c := newCloud(t)
	second, third := c.addStore("second"), c.addStore("third")
	c.Calls.On("AddImage", in(second))
	row := c.Do("APIAddImageMsg", c.image(c.store, second, third))
	if got := copies(row); len(got) != 2 || got[c.store] != "Ready" || got[third] != "Ready" {
		t.Errorf("copies %v", got)
	}
	c.Want("left in the second", c.Get("BackupStorage", second).Int("availableCapacity"), int64(kerneltest.DefaultSpace))
	c.Calls.On("AddImage", in(c.store, second)) // the first, and two of three
	if got := copies(c.Do("APIAddImageMsg", c.image(c.store, second, third))); len(got) != 1 || got[third] != "Ready" {
		t.Errorf("copies %v", got)
	}
	c.Calls.On("AddImage", in(c.store, second, third))
	before := c.Dump(allTypes...)
	c.Refused(errs.Unavailable, "APIAddImageMsg", c.image(c.store, second, third), "not mounted")
	c.Want("what is there", c.Dump(allTypes...), before)
}

// User, password and query of a source reach the store that reads it, and nobody
// else: they are not shown and cannot be searched for. What older versions kept
// of them goes when the service starts.
func TestSecretsOfASource(t *testing.T) {
	c := newCloud(t)
	const secret, shown = "https://reader:s3cret@example.org:8443/a%20b.qcow2?X-Amz-Signature=51gn", "https://example.org:8443/a%20b.qcow2"
	p := c.image()
	p["url"] = secret
	uuid := c.Do("APIAddImageMsg", p).Text("uuid")
	r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
	c.Want("url for the store", r.GetUrl(), secret)
	c.Want("url that is shown", c.Get("Image", uuid).Text("url"), shown)
	if text := c.Dump(allTypes...) + c.Dump("Audit"); strings.Contains(text, "s3cret") || strings.Contains(text, "51gn") {
		t.Errorf("a secret is kept: %s", text)
	}
	c.Ok(c.Tx(func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `Image` SET `url` = ? WHERE `uuid` = ?", secret, uuid)
		return err
	}))
	for range 2 { // the second start finds nothing to do
		c.Ok(c.Image.HideURLs(t.Context()))
		c.Want("url of an older version", c.Get("Image", uuid).Text("url"), shown)
	}
}

// The store is told where a URL may lead: an account's not to the store's machine,
// but to what the operator lists.
func TestReachOfASource(t *testing.T) {
	c := newCloud(t)
	account := c.As(c.Account())
	reach := func(err error) string {
		t.Helper()
		c.Ok(err)
		r, _ := kerneltest.Last[*pluginv1.AddImageRequest](c.Calls, "AddImage")
		return fmt.Sprint(r.GetReach().GetGuarded(), r.GetReach().GetNetworks())
	}
	call := func(w kerneltest.Caller) error { _, err := w.Call("APIAddImageMsg", c.image()); return err }
	c.Want("the administrator's", reach(call(c.As(kerneltest.Admin))), "false []")
	c.Want("an account's", reach(call(account)), "true []")
	setting := P{"category": "outbound", "name": "allowedNetworks", "value": "10.1.2.3/8, ::1"}
	c.Do("APIUpdateGlobalConfigMsg", setting)
	c.Want("an account's, with a list", reach(call(account)), "true [10.0.0.0/8 ::1/128]")
	setting["value"] = "10.0.0.0/33"
	c.Refused(errs.Invalid, "APIUpdateGlobalConfigMsg", setting, "10.0.0.0/33")
}

func TestAddIsRefused(t *testing.T) {
	c := newCloud(t)
	before := c.Dump(allTypes...)
	c.Refused(errs.Invalid, "APIAddImageMsg", c.image(c.store, c.store), "backupStorageUuids", "names "+c.store+" twice")
	account := c.As(c.Account())
	for url, class := range map[string]errs.Class{"file:///etc/shadow": errs.Denied, "nbd://127.0.0.1/x": errs.Denied, "FILE:///etc/shadow": errs.Denied,
		"http://a b": errs.Invalid, "/etc/shadow": errs.Denied} {
		p := c.image()
		p["url"] = url
		_, err := account.Call("APIAddImageMsg", p)
		if errs.ClassOf(err) != class || strings.Contains(err.Error(), "shadow") {
			t.Errorf("%s: %v", url, err)
		}
	}
	c.Want("calls", len(c.Calls.Of("AddImage")), 0)
	c.Do("APIChangeBackupStorageStateMsg", P{"uuid": c.store, "stateEvent": "disable"})
	c.Refused(errs.Refused, "APIAddImageMsg", c.image(), "backup storage store", "is Disabled and Connected", "enable")
	c.Do("APIChangeBackupStorageStateMsg", P{"uuid": c.store, "stateEvent": "enable"})
	c.Want("what is there", c.Dump(allTypes...), before)
	p := c.image()
	p["url"] = "file:///srv/image"
	c.Do("APIAddImageMsg", p) // the administrator may, and the store's plugin decides
}

// An image that is being added is deleted at once, and its adding ends.
func TestDeletedWhileItIsAdded(t *testing.T) {
	c := newCloud(t)
	began := make(chan bool, 1)
	c.Calls.On("AddImage", func(any) error { began <- true; return nil })
	p := c.image()
	p["url"] = "http://127.0.0.1" + kerneltest.Endless
	job := c.As(kerneltest.Admin).Begin("APIAddImageMsg", p)
	<-began
	uuid := c.List("Image")[0].Text("uuid")
	c.Do("APIDeleteImageMsg", P{"uuid": uuid})
	if _, err := c.Wait(job); errs.ClassOf(err) != errs.Cancelled || !strings.Contains(err.Error(), "was deleted while it was being added") {
		t.Errorf("it ended with %v", err)
	}
	c.Want("images", len(c.List("Image")), 0)
	c.Want("copies", len(c.List("ImageBackupStorageRef")), 0)
	c.Want("bits taken back", len(c.Calls.Of("DeleteImage")), 1)
}

// A plugin that looks at an image's bytes keeps it from being used, and nothing of it
// is left.
func TestPluginRefusesAnImage(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("image.add.downloaded")...)
	s := c.Site()
	before := len(c.List("Image"))
	c.Calls.Forget()
	c.Calls.Fail("DoPoint", errs.New(errs.Refused, "plugin", "a virus"))
	c.Refused(errs.Refused, "APIAddImageMsg", P{"name": "ill", "url": "http://192.0.2.1/ill.qcow2", "format": "qcow2",
		"backupStorageUuids": []string{s.Backup}}, "a virus")
	c.Want("images", len(c.List("Image")), before)
	c.Want("bytes removed", len(c.Calls.Of("DeleteImage")), 1)
}
