package image_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
)

// goes are the UUIDs of a type that a plan says will go.
func goes(plan kerneltest.Row, typeName string) map[string]bool {
	all := map[string]bool{}
	var look func(node kerneltest.Row)
	look = func(node kerneltest.Row) {
		if node.Text("type") == typeName && node.Text("action") == "delete" {
			all[node.Text("uuid")] = true
		}
		for _, inner := range node.Rows("children") {
			look(inner)
		}
	}
	top, _ := plan["plan"].(map[string]any)
	look(top)
	return all
}

// The plan of a delete tells what it takes: the image, or the named copies when
// others are left; it takes nothing.
func TestPlanOfAnImagesDelete(t *testing.T) {
	c := newCloud(t)
	second, third := c.addStore("second"), c.addStore("third")
	uuid := c.Create("APIAddImageMsg", c.image(c.store, second))
	before := c.Dump(allTypes...)
	for _, x := range []struct {
		why           string
		stores        []string
		image, copies int
	}{
		{"all", nil, 1, 2},
		{"one of two", []string{second}, 0, 1},
		{"both by name", []string{c.store, second}, 1, 2},
		{"where it is not", []string{third}, 0, 0},
	} {
		p := P{"uuid": uuid}
		if x.stores != nil {
			p["backupStorageUuids"] = x.stores
		}
		plan := c.Plan("APIDeleteImageMsg", p)
		c.Want("images that go: "+x.why, len(goes(plan, "Image")), x.image)
		c.Want("copies that go: "+x.why, len(goes(plan, "ImageBackupStorageRef")), x.copies)
	}
	c.Want("what is there", c.Dump(allTypes...), before)
}

func TestPlanOfADetach(t *testing.T) {
	c := newCloud(t)
	p := P{"zoneUuid": c.Create("APICreateZoneMsg", P{"name": "zone"}), "backupStorageUuid": c.store}
	c.Want("attachments that go before there is one", len(goes(c.Plan("APIDetachBackupStorageFromZoneMsg", p), "BackupStorageZoneRef")), 0)
	c.Do("APIAttachBackupStorageToZoneMsg", p)
	c.Want("attachments that go", len(goes(c.Plan("APIDetachBackupStorageFromZoneMsg", p), "BackupStorageZoneRef")), 1)
	c.Want("attachments", len(c.List("BackupStorageZoneRef")), 1)
}
