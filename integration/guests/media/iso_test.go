package media

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// marker is in the kernel's command line of the ISO, and of nothing else.
	marker = "kumo.boot=iso"
	// blank is the size of the disk that the ISO could install to.
	blank = 40 << 20
)

// isolinux is what the boot loader of the ISO is told; no_timer_check is for an
// emulated processor on a busy machine, as in the guest's own disk.
const isolinux = `SERIAL 0 115200
DEFAULT guest
PROMPT 0
LABEL guest
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=tty0 console=ttyS0 quiet no_timer_check ` + marker + "\n"

func sum(data []byte) string {
	s := md5.Sum(data)
	return hex.EncodeToString(s[:])
}

// makeISO makes a CD from which a BIOS starts the tiny guest (El Torito), and
// returns its path.
func makeISO(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	guest := rig.GuestImage(t)
	var failed error
	for name, from := range map[string]string{
		"vmlinuz": guest.Kernel, "initrd.img": guest.Initrd,
		"isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin", "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
	} {
		text, err := os.ReadFile(from)
		failed = errors.Join(failed, err, os.WriteFile(filepath.Join(folder, name), text, 0o644))
	}
	failed = errors.Join(failed, os.WriteFile(filepath.Join(folder, "isolinux.cfg"), []byte(isolinux), 0o644))
	if failed != nil {
		t.Fatal(failed)
	}
	path := filepath.Join(guests.SourceFolder, "boot.iso")
	out, err := exec.Command("xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "KUMO", "-b", "isolinux.bin", "-c", "boot.cat",
		"-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", folder).CombinedOutput()
	if err != nil {
		t.Fatalf("xorriso: %v: %s", err, out)
	}
	return path
}

func (c *cloud) readISO() []byte {
	c.t.Helper()
	data, err := os.ReadFile(c.iso)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// bootISO brings a guest up from a CD beside an empty disk, on which it leaves
// something before it is started again in both ways.
func (c *cloud) bootISO() {
	uuid := c.Make(wire.Images, wire.Params{"name": "installer", "url": "file://" + c.iso, "mediaType": "ISO", "format": "iso",
		"platform": "Linux", "backupStorageUuids": []string{c.Backup}})
	data := c.readISO()
	c.wantReady(uuid, "iso", data, int64(len(data)))
	offering := c.Make("/disk-offerings", wire.Params{"name": "blank", "diskSize": blank})
	spec := c.Spec("installed")
	spec["imageUuid"], spec["rootDiskOfferingUuid"] = uuid, offering
	g := c.Create(nil, spec)
	console := g.WaitBoot(1)
	// The guest counts its boots on a disk with a file system, and has none.
	if !strings.Contains(console, "ISOLINUX") || strings.Contains(console, "guest: disk") {
		c.t.Errorf("it did not start from the CD, or its disk is not empty:\n%s", console)
	}
	g.Wants(console, "^guest: address eth0 "+g.IP+"/24 mac "+g.MAC, "^guest: metadata instance-id "+g.UUID)
	c.wantCDRom(g, uuid)
	if got, want := g.Ask("md5sum </dev/vda"), sum(make([]byte, blank)); !strings.HasPrefix(got, want) {
		c.t.Errorf("the disk has the MD5 %s; an empty one has %s", got, want)
	}
	g.Ask("echo kept >/dev/vda; sync")
	c.Do(g.Path(), "rebootVmInstance", nil)
	c.wantAgain(g, 2)
	c.Do(g.Path(), "stopVmInstance", nil)
	c.Do(g.Path(), "startVmInstance", nil)
	c.wantAgain(g, 3)
	c.Remove(g.Path())
	c.Do(g.Path(), "expungeVmInstance", nil)
	if n, err := c.Client.Count(c.t.Context(), "/vm-instances/cdroms"); err != nil || n != 0 {
		c.t.Errorf("%d CD-ROMs are left: %v", n, err)
	}
	c.Remove("/disk-offerings/" + offering)
}

// wantCDRom fails the test unless guest and API agree on disk and CD-ROM.
func (c *cloud) wantCDRom(g *guests.Guest, iso string) {
	c.t.Helper()
	var vm struct {
		VMCdRoms   []struct{ ISOUUID, ISOInstallPath string }
		AllVolumes []struct {
			Type string
			Size int64
		}
	}
	c.Get(wire.VMs, g.UUID, &vm)
	if len(vm.VMCdRoms) != 1 || vm.VMCdRoms[0].ISOUUID != iso || !strings.HasPrefix(vm.VMCdRoms[0].ISOInstallPath, guests.PrimaryFolder) {
		c.t.Errorf("it has the CD-ROMs %+v", vm.VMCdRoms)
	}
	if len(vm.AllVolumes) != 1 || vm.AllVolumes[0].Type != "Root" || vm.AllVolumes[0].Size != blank {
		c.t.Errorf("it has the volumes %+v", vm.AllVolumes)
	}
	for _, q := range []struct{ command, want string }{
		{"grep -wo " + marker + " /proc/cmdline", marker},
		{"cat /sys/block/vda/size", fmt.Sprint(blank / 512)},
		{"ls -d /sys/block/vd?", "/sys/block/vda"},
		{"cat /sys/bus/scsi/devices/*/type", "5"}, // a CD-ROM (SPC, peripheral device type)
		{"cat /sys/bus/scsi/devices/*/model", "QEMU CD-ROM"},
	} {
		if got := g.Ask(q.command); got != q.want {
			c.t.Errorf("%s: %q, not %q", q.command, got, q.want)
		}
	}
}

// wantAgain waits until the guest has come up from the CD for the n-th time.
func (c *cloud) wantAgain(g *guests.Guest, n int) {
	c.t.Helper()
	if console := g.WaitBoot(n); !strings.Contains(console, "ISOLINUX") {
		c.t.Errorf("boot %d was not from the CD:\n%s", n, console)
	}
	if got := g.Ask("grep -wo " + marker + " /proc/cmdline"); got != marker {
		c.t.Errorf("boot %d: the command line has %q", n, got)
	}
	if got := g.Ask("head -c 4 /dev/vda; echo"); got != "kept" {
		c.t.Errorf("boot %d: the disk begins with %q", n, got)
	}
}
