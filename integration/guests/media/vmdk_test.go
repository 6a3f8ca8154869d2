package media

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// bootVMDK adds a disk as OVAs carry it, in a format that no storage here can use:
// it is converted, and a guest boots from it.
func (c *cloud) bootVMDK() {
	file := filepath.Join(guests.SourceFolder, "guest.vmdk")
	out, err := exec.Command("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", rig.GuestImage(c.t).Disk, file).CombinedOutput()
	if err != nil {
		c.t.Fatalf("make a VMDK: %v: %s", err, out)
	}
	defer func() {
		if err := os.Remove(file); err != nil {
			c.t.Error(err)
		}
	}()
	uuid := c.Make(wire.Images, wire.Params{"name": "vmdk", "url": "file://" + file, "format": "vmdk",
		"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{c.Backup}})
	if i := c.image(uuid); i.Status != "Ready" || i.Format != "qcow2" {
		c.t.Errorf("it became %+v", i)
	}
	spec := c.Spec("converted")
	spec["imageUuid"] = uuid
	g := c.Create(nil, spec)
	g.Wants(g.WaitBoot(1), "^guest: disk /dev/vda boots 1$", "^guest: address eth0 "+g.IP+"/24 mac "+g.MAC)
}
