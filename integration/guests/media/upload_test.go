package media

import (
	"encoding/binary"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// idle is how long a client may be silent, and some more.
const idle = 45 * time.Second

// promptly is how long it takes to delete what is still being uploaded, and to
// stop the server: less than a client's silence is borne.
const promptly = 5 * time.Second

// guestDisk is the real image, and the size of the disk in it as its header
// says (QEMU, docs/interop/qcow2.txt).
func (c *cloud) guestDisk() (data []byte, size int64) {
	c.t.Helper()
	data, err := os.ReadFile(rig.GuestImage(c.t).Disk)
	if err != nil {
		c.t.Fatal(err)
	}
	return data, int64(binary.BigEndian.Uint64(data[24:]))
}

// watched sends half of an image, then slowly more until the API tells that half
// of it has come, and returns the rest.
func (u *upload) watched(s *sending, data []byte) (rest []byte) {
	u.c.t.Helper()
	half := len(data) / 2
	s.send(data[:half])
	rest = data[half:]
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		percent, message := u.progress()
		if percent >= 48 && percent < 100 && strings.Contains(message, "received") {
			return rest
		}
		if time.Since(begin) > soon || len(rest) < drop {
			u.c.t.Fatalf("with %d of %d bytes sent the progress is %d %%, %q", len(data)-len(rest), len(data), percent, message)
		}
		s.send(rest[:drop])
		rest = rest[drop:]
	}
}

// bootUpload sends a disk, breaks off in the middle, sends it again as a whole,
// and boots a guest from it.
func (c *cloud) bootUpload() {
	data, size := c.guestDisk()
	u := c.begin("guest.qcow2", "RootVolumeTemplate", "qcow2", "")
	s := u.put(len(data))
	u.watched(s, data)
	if i := c.image(u.image); i.Status != "Downloading" || i.URL != "upload://guest.qcow2" {
		c.t.Errorf("while it is sent it is %+v", i)
	}
	spec := c.Spec("uploaded")
	spec["imageUuid"] = u.image
	if _, err := c.Client.Create(c.t.Context(), wire.VMs, spec); err == nil || !strings.Contains(err.Error(), "Downloading") {
		c.t.Errorf("a guest from half an image: %v", err)
	}
	s.breakOff()
	if !u.ask(u.image) {
		c.t.Fatal("an upload that broke off cannot be begun again")
	}
	s = u.put(len(data))
	begin := time.Now()
	s.send(data)
	if a := s.end(); a.status != http.StatusOK || !strings.Contains(a.text, u.image) {
		c.t.Fatalf("the upload ends with %+v", a)
	}
	u.until("Ready", soon)
	c.t.Logf("%d bytes uploaded in %s", len(data), time.Since(begin).Round(time.Millisecond))
	c.wantReady(u.image, "qcow2", data, size)
	if u.ask(u.name) {
		c.t.Error("an image that is there still waits for its upload")
	}
	g := c.Create(nil, spec)
	g.Wants(g.WaitBoot(1), "^guest: disk /dev/vda boots 1$", "^guest: address eth0 "+g.IP+"/24 mac "+g.MAC)
}

// uploadForm sends an ISO the way that a browser does. The server stops in the
// middle, which it does not put off, and the next one takes the upload.
func (c *cloud) uploadForm() {
	data := c.readISO()
	u := c.begin("boot.iso", "ISO", "iso", "#md5:"+sum(data))
	s := u.post(len(data))
	u.watched(s, data)
	begin := time.Now()
	c.Stop()
	if took := time.Since(begin); took > promptly {
		c.t.Errorf("the server stopped after %s", took)
	}
	if a := s.told(); a.status == http.StatusOK {
		c.t.Errorf("half a form: its client is told %+v", a)
	}
	c.Again()
	c.WaitConnected()
	if i := c.image(u.image); i.Status != "Downloading" || !u.ask(u.name) {
		c.t.Fatalf("after a restart the image is %+v", i)
	}
	s = u.post(len(data))
	s.send(u.watched(s, data))
	if a := s.end(); a.status != http.StatusOK {
		c.t.Fatalf("the upload ends with %+v", a)
	}
	u.until("Ready", soon)
	c.wantReady(u.image, "iso", data, int64(len(data)))
	c.expunge(u.image)
}

// wantFailed fails the test unless nothing of the image is left in time.
func (u *upload) wantFailed(limit time.Duration) {
	u.c.t.Helper()
	u.until("", limit)
	u.c.gone(u.image)
	if u.ask(u.name) || u.ask(u.image) {
		u.c.t.Errorf("%s still waits for its upload", u.name)
	}
}

// failedUploads sends what is no image, what is not the one that was announced,
// and what never comes to its end.
func (c *cloud) failedUploads() {
	before := c.look()
	disk, _ := c.guestDisk()
	left := c.begin("left.qcow2", "RootVolumeTemplate", "qcow2", "")
	s := left.put(len(disk))
	s.send(disk[:piece])
	s.breakOff() // and never comes back
	begin := time.Now()
	for _, bad := range []struct {
		name, mediaType, format, checksum, says string
		data                                    []byte
	}{
		{"text.qcow2", "RootVolumeTemplate", "qcow2", "", "not qcow2 as was said", []byte("this is no image\n")},
		{"text.iso", "ISO", "iso", "", "not iso as was said", []byte("this is no image\n")},
		{"disk.iso", "ISO", "iso", "", "qcow2, not iso as was said", disk},
		{"nothing.raw", "RootVolumeTemplate", "raw", "", "it is empty", nil},
		{"other.qcow2", "RootVolumeTemplate", "qcow2", "#md5:" + strings.Repeat("0", 32), "its md5 is " + sum(disk), disk},
	} {
		u := c.begin(bad.name, bad.mediaType, bad.format, bad.checksum)
		s := u.put(len(bad.data))
		s.send(bad.data)
		if a := s.end(); a.status != http.StatusBadRequest || !strings.Contains(a.text, bad.says) {
			c.t.Errorf("%s: its client is told %+v", bad.name, a)
		}
		u.wantFailed(soon)
	}
	c.cutOff(disk)
	left.wantFailed(idle)
	c.t.Logf("given up after %s", time.Since(begin).Round(100*time.Millisecond))
	c.same(before)
}

// cutOff breaks off as often as it may be begun anew. A form with less in it than
// its headers say is cut off too.
func (c *cloud) cutOff(disk []byte) {
	u := c.begin("cut.qcow2", "RootVolumeTemplate", "qcow2", "")
	s := u.put(len(disk))
	s.send(disk[:len(disk)/2])
	s.breakOff()
	s = u.post(len(disk))
	s.send(disk[:len(disk)/2])
	if a := s.end(); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "ended after") {
		c.t.Errorf("half a form: its client is told %+v", a)
	}
	s = u.put(len(disk))
	s.send(disk[:len(disk)/2])
	s.breakOff()
	u.wantFailed(soon)
}

// deletedUploads deletes images that are not there yet, at each moment of their
// upload.
func (c *cloud) deletedUploads() {
	before := c.look()
	disk, _ := c.guestDisk()
	for _, moment := range []string{"unsent", "half", "broken"} {
		u := c.begin(moment+".qcow2", "RootVolumeTemplate", "qcow2", "")
		var s *sending
		if moment != "unsent" {
			s = u.put(len(disk))
			u.watched(s, disk)
		}
		if moment == "broken" {
			s.breakOff()
		}
		begin := time.Now()
		c.Remove(wire.Images + "/" + u.image)
		if took := time.Since(begin); took > promptly {
			c.t.Errorf("%s: to delete it took %s", moment, took)
		}
		u.wantFailed(soon)
		if moment == "half" {
			if a := s.told(); a.status != http.StatusConflict || !strings.Contains(a.text, u.image) {
				c.t.Errorf("%s: its client is told %+v", moment, a)
			}
		}
		c.Remove(wire.Images + "/" + u.image) // gone is a success
	}
	c.same(before)
}
