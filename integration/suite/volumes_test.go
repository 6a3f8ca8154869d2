package suite

import (
	"net/http"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// A data volume stays when its guest goes, and can be deleted, recovered and
// expunged on its own; a root volume cannot.
func TestDataVolumes(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		vm := l.vm("data", wire.Params{"dataDiskSizes": []int64{2 << 30}})
		path, uuid := wire.VMs+"/"+vm.text("uuid"), ""
		for _, v := range vm.list("allVolumes") {
			if v.text("type") == "Data" {
				uuid = v.text("uuid")
			}
		}
		volume := wire.Volumes + "/" + uuid
		l.refused("SYS.1006", http.MethodDelete, volume, nil) // a guest has it
		l.refused("SYS.1006", http.MethodDelete, wire.Volumes+"/"+vm.text("rootVolumeUuid"), nil)
		l.remove(path)
		l.act(path, "expungeVmInstance", nil)
		l.took("the data volume", before, 0, 0, 2<<30)

		l.refused("SYS.1006", http.MethodPut, volume+"/actions", map[string]any{"expungeDataVolume": wire.Params{}})
		l.remove(volume)
		l.want("status", l.get(wire.Volumes, uuid).text("status"), "Deleted")
		l.took("a deleted volume", before, 0, 0, 2<<30)
		l.want("status", l.act(volume, "recoverDataVolume", nil).text("status"), "Ready")
		l.remove(volume)
		l.halfExpunged("DeleteVolume", volume, "expungeDataVolume", "recoverDataVolume")
		l.act(volume, "expungeDataVolume", nil)
		l.gone(wire.Volumes, uuid)
		l.took("nothing", before, 0, 0, 0)
		l.remove(volume) // gone is a success
	})
}

// A guest that boots an ISO has a blank root volume of the size asked for, and
// a CD-ROM with the image.
// halfExpunged expunges something whose bits go while the answer is lost: it
// cannot be recovered any more.
func (l *lab) halfExpunged(method, path, expunge, recover string) {
	l.Helper()
	l.s.Faults(method + ":fail=internal:after")
	if _, err := l.c.Act(l.Context(), path, expunge, nil); err == nil {
		l.Errorf("%s worked although its answer was lost", expunge)
	}
	l.s.Faults("")
	l.refused("SYS.1006", http.MethodPut, path+"/actions", map[string]any{recover: wire.Params{}})
}

// Images are recovered until their bits begin to go.
func TestExpungeImage(t *testing.T) {
	each(t, false, func(l *lab) {
		path := wire.Images + "/" + l.cloud.Image
		l.remove(path)
		l.want("status", l.act(path, "recoverImage", nil).text("status"), "Ready")
		l.remove(path)
		l.halfExpunged("DeleteImage", path, "expungeImage", "recoverImage")
		l.act(path, "expungeImage", nil)
		l.gone(wire.Images, l.cloud.Image)
	})
}

func TestISO(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		iso := l.create(wire.Images, wire.Params{"name": "installer", "url": "http://images/installer.iso", "mediaType": "ISO",
			"backupStorageUuids": []string{l.cloud.BackupStorage}})
		l.want("format", iso.text("format"), "iso")
		params := l.cloud.VM("from-iso")
		params["imageUuid"] = iso.text("uuid")
		l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": params})
		params["rootDiskSize"] = 4 << 30
		vm := l.create(wire.VMs, params)
		l.want("state", vm.text("state"), "Running")
		cds := vm.list("vmCdRoms")
		l.want("CD-ROMs", len(cds), 1)
		l.want("its image", cds[0].text("isoUuid"), iso.text("uuid"))
		l.want("volumes", len(vm.list("allVolumes")), 1)
		l.took("a guest with a blank disk", before, 1, vmMemory, 4<<30)
		path := wire.VMs + "/" + vm.text("uuid")
		l.act(path, "stopVmInstance", nil)
		l.want("state", l.act(path, "startVmInstance", nil).text("state"), "Running")
		l.remove(path)
		l.act(path, "expungeVmInstance", nil)
		l.want("CD-ROMs", len(l.query("/vm-instances/cdroms", "vmInstanceUuid="+vm.text("uuid"))), 0)
		l.took("nothing", before, 0, 0, 0)
	})
}

// An image in a primary storage's cache goes when it was expunged and nothing
// uses it any more, or when that is asked for by force.
func TestImageCache(t *testing.T) {
	each(t, false, func(l *lab) {
		primary := wire.PrimaryStorages + "/" + l.cloud.PrimaryStorage
		available := func() int64 { return l.get(wire.PrimaryStorages, l.cloud.PrimaryStorage).number("availableCapacity") }
		empty := available()
		clean := func(force bool, left int) {
			l.Helper()
			l.act(primary, "cleanUpImageCacheOnPrimaryStorage", wire.Params{"force": force})
			n, bytes := l.cached(l.cloud.PrimaryStorage)
			l.want("cached images", n, left)
			l.want("images in the world's cache", len(l.s.World().Cache), left)
			l.want("available bytes with volumes", l.capacity().bytes, available()+bytes)
		}
		iso := l.create(wire.Images, wire.Params{"name": "installer", "url": "http://images/installer.iso", "mediaType": "ISO",
			"backupStorageUuids": []string{l.cloud.BackupStorage}}).text("uuid")
		from := l.vm("from-iso", wire.Params{"imageUuid": iso, "rootDiskSize": 1 << 30}).text("uuid")
		disk := l.vm("from-disk", nil).text("uuid")
		clean(true, 2) // both are used
		l.remove(wire.VMs + "/" + disk)
		clean(true, 2) // what can be recovered needs its image
		l.act(wire.VMs+"/"+disk, "expungeVmInstance", nil)
		clean(false, 2) // its image is still there
		l.s.Faults("DeleteCachedImage:fail=internal")
		_, err := l.c.Act(l.Context(), primary, "cleanUpImageCacheOnPrimaryStorage", wire.Params{"force": true})
		l.want("failed clean-up", wire.Code(err) != "", true)
		l.s.Faults("")
		clean(false, 1)    // goes on with what was begun
		l.vm("again", nil) // fills the cache again
		clean(true, 2)
		for _, image := range []string{iso, l.cloud.Image} {
			l.remove(wire.Images + "/" + image)
			l.act(wire.Images+"/"+image, "expungeImage", nil)
		}
		clean(false, 2)
		for _, vm := range append(l.query(wire.VMs, "name=again"), object{"uuid": from}) {
			l.remove(wire.VMs + "/" + vm.text("uuid"))
			l.act(wire.VMs+"/"+vm.text("uuid"), "expungeVmInstance", nil)
		}
		clean(false, 0)
		l.want("available bytes", available(), empty)
	})
}
