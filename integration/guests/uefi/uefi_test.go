// Package uefi proves that guests start by UEFI when their image says so, and
// that what their firmware keeps lives as long as they do.
package uefi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m, rig.WithPackages("systemd-boot-efi", "mtools")) }

// memory is what a guest has: the firmware needs some beside the system.
const memory = 256 << 20

// cloud is what the steps work on.
type cloud struct {
	*guests.Cloud
	t *testing.T
	// disk is a file of the management node's, offering one with enough memory.
	disk, offering string
	guest          *guests.Guest
	nvram          os.FileInfo
}

func TestUEFI(t *testing.T) {
	c := &cloud{Cloud: guests.Here(t), t: t}
	c.disk = makeDisk(t)
	c.offering = c.Make(wire.InstanceOfferings, wire.Params{"name": "roomy", "cpuNum": 1, "memorySize": memory})
	guests.Walk(t,
		guests.Step{Name: "first boot", Run: c.firstBoot},
		guests.Step{Name: "reboot", Run: c.reboot},
		guests.Step{Name: "stop and start", Run: c.stopAndStart},
		guests.Step{Name: "a guest that wants a BIOS", Run: c.legacy},
		guests.Step{Name: "destroy and recover", Run: c.recover},
		guests.Step{Name: "destroy and expunge", Run: c.expunge},
		guests.Step{Name: "delete all", Run: c.deleteAll},
	)
	c.End(c.disk)
}

// nvramFile is where the guest's firmware keeps its variables.
func nvramFile(g *guests.Guest) string {
	return filepath.Join("/var/lib/libvirt/qemu/nvram", g.UUID+"_VARS.fd")
}

// firstBoot makes a guest of an image that has the tags, as clients send them
// with it.
func (c *cloud) firstBoot() {
	c.t.Helper()
	answer, err := c.Client.Call(c.t.Context(), http.MethodPost, wire.Images, map[string]any{
		"systemTags": []string{"bootMode::UEFI", "qemuga"},
		"params": wire.Params{"name": "uefi", "url": "file://" + c.disk, "format": "qcow2", "mediaType": "RootVolumeTemplate",
			"platform": "Linux", "backupStorageUuids": []string{c.Backup}},
	})
	var image struct{ Inventory struct{ UUID string } }
	if err == nil {
		err = json.Unmarshal(answer, &image)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	spec := c.Spec("by-uefi")
	spec["imageUuid"], spec["instanceOfferingUuid"] = image.Inventory.UUID, c.offering
	c.guest = c.Create(nil, spec)
	c.wantUEFI(1)
	if c.nvram, err = os.Stat(nvramFile(c.guest)); err != nil {
		c.t.Fatal(err)
	}
	// Every guest has the channel that the tag qemuga is about.
	if ports := c.guest.Ask("cat /sys/class/virtio-ports/*/name"); ports != "org.qemu.guest_agent.0" {
		c.t.Errorf("the guest has the channels %q", ports)
	}
	c.wantKept("after the first boot")
}

// wantUEFI waits until the guest has come up for the n-th time, by UEFI.
func (c *cloud) wantUEFI(n int) {
	c.t.Helper()
	console := c.guest.WaitBoot(n)
	c.guest.Wants(console, "BdsDxe: starting Boot", "^guest: address eth0 "+c.guest.IP+"/24 mac "+c.guest.MAC)
	if got := c.guest.Ask("ls -d /sys/firmware/efi"); got != "/sys/firmware/efi" {
		c.t.Errorf("boot %d was not by UEFI: %q", n, got)
	}
}

// wantKept fails the test unless the firmware has its first file, with what the
// boot loader wrote into it.
func (c *cloud) wantKept(when string) {
	c.t.Helper()
	now, err := os.Stat(nvramFile(c.guest))
	if err != nil {
		c.t.Fatalf("%s: %v", when, err)
	}
	if !os.SameFile(c.nvram, now) {
		c.t.Errorf("%s: the firmware has another file", when)
	}
	text, err := os.ReadFile(nvramFile(c.guest))
	if err != nil {
		c.t.Fatal(err)
	}
	var name []byte // as the firmware writes it, in UCS-2
	for _, u := range utf16.Encode([]rune(written)) {
		name = append(name, byte(u), byte(u>>8))
	}
	if !bytes.Contains(text, name) {
		c.t.Errorf("%s: the firmware's file does not have the variable %s", when, written)
	}
}

func (c *cloud) reboot() {
	c.Do(c.guest.Path(), "rebootVmInstance", nil)
	c.wantUEFI(2)
	c.wantKept("after a reboot")
}

// stopAndStart tries a start that fails in between: it must not cost the guest
// what its firmware knows.
func (c *cloud) stopAndStart() {
	c.t.Helper()
	c.Do(c.guest.Path(), "stopVmInstance", nil)
	c.wantKept("while it is stopped")
	disk := c.guest.Disk()
	if err := os.Rename(disk, disk+".away"); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Client.Act(c.t.Context(), c.guest.Path(), "startVmInstance", nil); err == nil {
		c.t.Error("it starts without its disk")
	}
	if err := os.Rename(disk+".away", disk); err != nil {
		c.t.Fatal(err)
	}
	c.wantKept("after a start that failed")
	c.Do(c.guest.Path(), "startVmInstance", nil)
	c.wantUEFI(3)
	c.wantKept("after a start")
}

// legacy has a guest that starts by a BIOS although its image says otherwise.
func (c *cloud) legacy() {
	c.t.Helper()
	c.Make("/system-tags", wire.Params{"resourceType": "ImageVO", "resourceUuid": c.Image, "tag": "bootMode::UEFI"})
	g := c.Create(nil, c.Spec("by-bios"), "bootMode::Legacy")
	g.WaitBoot(1)
	if got := g.Ask("ls /sys/firmware"); strings.Contains(got, "efi") {
		c.t.Errorf("it was not started by a BIOS: %q", got)
	}
	if _, err := os.Stat(nvramFile(g)); !os.IsNotExist(err) {
		c.t.Errorf("it has a file for UEFI: %v", err)
	}
	c.Remove(g.Path())
	c.Do(g.Path(), "expungeVmInstance", nil)
}

// recover gives the guest back what its firmware knew.
func (c *cloud) recover() {
	c.t.Helper()
	c.Remove(c.guest.Path())
	c.wantKept("while it is destroyed")
	c.Do(c.guest.Path(), "recoverVmInstance", nil)
	c.Do(c.guest.Path(), "startVmInstance", nil)
	c.wantUEFI(4)
	c.wantKept("after it was recovered")
}

func (c *cloud) expunge() {
	c.t.Helper()
	c.Remove(c.guest.Path())
	c.Do(c.guest.Path(), "expungeVmInstance", nil)
	if _, err := os.Stat(nvramFile(c.guest)); !os.IsNotExist(err) {
		c.t.Errorf("what the firmware of an expunged guest kept is left: %v", err)
	}
}

// deleteAll deletes the zone, the images and the store.
func (c *cloud) deleteAll() {
	c.t.Helper()
	c.Remove(wire.Zones + "/" + c.Zone)
	page, err := c.Client.Query(c.t.Context(), wire.Images)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, inventory := range page.Inventories {
		var i struct{ UUID string }
		if err := json.Unmarshal(inventory, &i); err != nil {
			c.t.Fatal(err)
		}
		c.Remove(wire.Images + "/" + i.UUID)
		c.Do(wire.Images+"/"+i.UUID, "expungeImage", nil)
	}
	c.Remove(wire.BackupStorages + "/" + c.Backup)
	c.AuditRows(c.Database())
}
