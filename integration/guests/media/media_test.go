// Package media proves that guests boot from an ISO, and from an image that its
// client sends in pieces.
package media

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m, rig.WithPackages("xorriso", "isolinux")) }

// soon is how long what needs no guest may take.
const soon = 10 * time.Second

// cloud is what the steps work on.
type cloud struct {
	*guests.Cloud
	t *testing.T
	// iso is a file of the management node's.
	iso string
}

// TestMedia takes both kinds of images through their life on one cloud, which at
// the end leaves nothing.
func TestMedia(t *testing.T) {
	c := &cloud{Cloud: guests.Here(t), t: t}
	c.iso = makeISO(t)
	empty := c.look()
	guests.Walk(t,
		guests.Step{Name: "boot from an ISO", Run: c.bootISO},
		guests.Step{Name: "boot from an upload", Run: c.bootUpload},
		guests.Step{Name: "boot from a VMDK", Run: c.bootVMDK},
		guests.Step{Name: "upload of a form, with a restart", Run: c.uploadForm},
		guests.Step{Name: "uploads that fail", Run: c.failedUploads},
		guests.Step{Name: "delete while it is uploaded", Run: c.deletedUploads},
		guests.Step{Name: "delete all", Run: func() { c.deleteAll(empty) }},
	)
	c.End(c.iso)
}

// image is what the steps read of an image.
type image struct {
	UUID, Status, MediaType, Format, URL, MD5Sum string
	Size, ActualSize                             int64
	BackupStorageRefs                            []struct{ Status, InstallPath string }
}

// image reads an image; a missing one has no UUID.
func (c *cloud) image(uuid string) (i image) {
	c.t.Helper()
	c.Get(wire.Images, uuid, &i)
	return i
}

// wantReady fails the test unless an image has the bytes given, and a guest sees
// size bytes in it.
func (c *cloud) wantReady(uuid, format string, data []byte, size int64) {
	c.t.Helper()
	i := c.image(uuid)
	if i.Status != "Ready" || i.Format != format || i.Size != size || i.ActualSize != int64(len(data)) || i.MD5Sum != sum(data) {
		c.t.Errorf("image %+v; want one of format %s, %d bytes, in the store %d with the MD5 %s", i, format, size, len(data), sum(data))
	}
	if len(i.BackupStorageRefs) != 1 || i.BackupStorageRefs[0].Status != "Ready" {
		c.t.Fatalf("the image has the copies %+v", i.BackupStorageRefs)
	}
	kept, err := os.ReadFile(i.BackupStorageRefs[0].InstallPath)
	if err != nil || sum(kept) != sum(data) {
		c.t.Errorf("the store has %d bytes with the MD5 %s: %v", len(kept), sum(kept), err)
	}
}

// state is what images leave behind: rows in any table, and files. What the
// store has free is what its disk has, on which others write as well.
type state struct {
	rows  map[string]int64
	files []string
}

func (c *cloud) look() state {
	c.t.Helper()
	return state{rows: c.Counts(c.Database()), files: c.files("")}
}

// files lists what the image store has with a text in its path.
func (c *cloud) files(text string) []string {
	c.t.Helper()
	return slices.DeleteFunc(guests.Files(c.t, guests.ImageFolder), func(path string) bool { return !strings.Contains(path, text) })
}

// same fails the test for everything that was not there before, or is no more.
func (c *cloud) same(before state) {
	c.t.Helper()
	now := c.look()
	for _, d := range server.Differences(before.rows, now.rows) {
		c.t.Error(d)
	}
	if !slices.Equal(before.files, now.files) {
		c.t.Errorf("the store had %v, and has %v", before.files, now.files)
	}
}

// gone fails the test unless nothing of an image is left.
func (c *cloud) gone(uuid string) {
	c.t.Helper()
	if i := c.image(uuid); i.UUID != "" {
		c.t.Errorf("there still is %+v", i)
	}
	if left := c.files(uuid); len(left) > 0 {
		c.t.Errorf("files are left: %v", left)
	}
}

// expunge removes an image that is ready, as its owner does.
func (c *cloud) expunge(uuid string) {
	c.t.Helper()
	c.Remove(wire.Images + "/" + uuid)
	c.Do(wire.Images+"/"+uuid, "expungeImage", wire.Params{"backupStorageUuids": []string{c.Backup}})
	c.gone(uuid)
}

// deleteAll deletes guests that run with the zone that they are in, then their
// images, and last the store.
func (c *cloud) deleteAll(empty state) {
	c.Remove(wire.Zones + "/" + c.Zone)
	page, err := c.Client.Query(c.t.Context(), wire.Images)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, inventory := range page.Inventories {
		var i image
		if err := json.Unmarshal(inventory, &i); err != nil {
			c.t.Fatal(err)
		}
		if i.UUID != c.Image {
			c.expunge(i.UUID)
		}
	}
	if now := c.look(); !slices.Equal(empty.files, now.files) {
		c.t.Errorf("the store had %v at first, and has %v", empty.files, now.files)
	}
	c.expunge(c.Image)
	c.Remove(wire.BackupStorages + "/" + c.Backup)
	c.AuditRows(c.Database())
}
