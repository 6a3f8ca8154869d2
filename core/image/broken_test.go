package image_test

import "testing"

// own are the tables of the service.
var own = []string{"Image", "ImageBackupStorageRef", "BackupStorage", "BackupStorageZoneRef"}

// call makes a message a call of FailEachStatement.
func (c *cloud) call(message string, p P) func() error {
	return func() error { _, err := c.Call(message, p); return err }
}

// clear removes all images, whatever has become of them.
func (c *cloud) clear() {
	c.t.Helper()
	for _, row := range c.List("Image") {
		c.Do("APIDeleteImageMsg", P{"uuid": row.Text("uuid")})
		if c.Get("Image", row.Text("uuid")) != nil {
			c.Do("APIExpungeImageMsg", P{"imageUuid": row.Text("uuid")})
		}
	}
}

// Whichever read or write of the database fails, whoever asked is told, nothing
// is half done, and what was asked for can be done afterwards.
func TestBrokenDatabase(t *testing.T) {
	c := newCloud(t)
	zone := c.Create("APICreateZoneMsg", P{"name": "zone"})
	second := c.addStore("second")
	attachment := P{"zoneUuid": zone, "backupStorageUuid": c.store}
	c.Image.Round()(t.Context())
	empty := c.Dump(allTypes...)
	// fresh is an image that is new, or what the last call has left of it.
	fresh := func(status string, prepare func(p P)) P {
		t.Helper()
		all := c.List("Image", "status="+status)
		if len(all) == 0 {
			c.clear()
			c.Want("what is there without images", c.Dump(allTypes...), empty)
			p := P{"imageUuid": c.Create("APIAddImageMsg", c.image(c.store, second))}
			prepare(p)
			return p
		}
		return P{"imageUuid": all[0].Text("uuid")}
	}
	drop := func(p P) { c.Do("APIDeleteImageMsg", P{"uuid": p["imageUuid"]}) }
	for name, prepare := range map[string]func() func() error{
		"add": func() func() error { c.clear(); return c.call("APIAddImageMsg", c.image()) },
		"delete": func() func() error {
			return c.call("APIDeleteImageMsg", P{"uuid": fresh("Ready", func(P) {})["imageUuid"]})
		},
		"recover": func() func() error { return c.call("APIRecoverImageMsg", fresh("Deleted", drop)) },
		"expunge": func() func() error { return c.call("APIExpungeImageMsg", fresh("Deleted", drop)) },
		"attach": func() func() error {
			c.Do("APIDetachBackupStorageFromZoneMsg", attachment)
			return c.call("APIAttachBackupStorageToZoneMsg", attachment)
		},
		"detach": func() func() error {
			if len(c.List("BackupStorageZoneRef")) == 0 {
				c.Do("APIAttachBackupStorageToZoneMsg", attachment)
			}
			return c.call("APIDetachBackupStorageFromZoneMsg", attachment)
		},
		"add a store": func() func() error {
			c.Want("stores", len(c.List("BackupStorage")), 2)
			return c.call("APIAddFakeBackupStorageMsg", P{"name": "third", "url": "/third"})
		},
		"tell of an upload": func() func() error {
			if len(c.List("Image", "status=Downloading")) == 0 {
				c.Create("APIAddImageMsg", c.upload())
			}
			return c.call("APIGetUploadImageJobDetailsMsg", P{"imageId": "mine"})
		},
		"delete a store": func() func() error {
			all := c.List("BackupStorage", "name=third")
			if len(all) == 0 {
				c.addStore("third")
				all = c.List("BackupStorage", "name=third")
				c.Create("APIAddImageMsg", c.image(all[0].Text("uuid")))
			}
			return c.call("APIDeleteBackupStorageMsg", P{"uuid": all[0].Text("uuid")})
		},
		"reconnect a store": func() func() error { return c.call("APIReconnectBackupStorageMsg", P{"uuid": c.store}) },
		"update": func() func() error {
			return c.call("APIUpdateImageMsg", P{"uuid": fresh("Ready", func(P) {})["imageUuid"], "format": "raw"})
		},
		"use": func() func() error {
			p := fresh("Ready", func(P) {})
			return func() error { _, err := c.Image.Usable(t.Context(), c.Store, p["imageUuid"].(string), ""); return err }
		},
		"read": func() func() error {
			p := fresh("Ready", func(P) {})
			return func() error {
				_, err := c.Image.Source(t.Context(), p["imageUuid"].(string), c.store, "")
				return err
			}
		},
		"look for": func() func() error {
			return func() error { _, err := c.Image.Existing(t.Context(), c.Store, []string{second}); return err }
		},
	} {
		t.Log(name)
		c.FailEachStatement(own, prepare)
		c.Do("APIDetachBackupStorageFromZoneMsg", attachment)
		for _, row := range c.List("BackupStorage", "name=third") {
			c.Do("APIDeleteBackupStorageMsg", P{"uuid": row.Text("uuid")})
		}
		c.clear()
	}
}
