package suite

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// taggedImage adds an image with system tags.
func (l *lab) taggedImage(name string, tags ...string) string {
	l.Helper()
	return l.inventory(http.MethodPost, wire.Images, map[string]any{"systemTags": tags, "params": wire.Params{"name": name, "platform": "Linux",
		"url": "http://images/" + name + ".qcow2", "format": "qcow2", "backupStorageUuids": []string{l.cloud.BackupStorage}}}).text("uuid")
}

// tags lists a resource's system tags.
func (l *lab) tags(uuid string) string {
	l.Helper()
	var list []string
	for _, t := range l.query("/system-tags", "resourceUuid="+uuid) {
		list = append(list, t.text("tag"))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// A guest starts by the firmware that its own tag says, else its image's, and
// keeps it.
func TestBootMode(t *testing.T) {
	each(t, false, func(l *lab) {
		image := l.taggedImage("uefi", "bootMode::UEFI", "qemuga")
		l.want("the image's tags", l.tags(image), "bootMode::UEFI qemuga")
		legacy := l.taggedImage("legacy", "bootMode::Legacy")
		for _, c := range []struct {
			name, image string
			own         []string
			tags        string
			firmware    string
		}{
			{"plain", l.cloud.Image, nil, "", ""},
			{"of the image", image, nil, "bootMode::UEFI qemuga", "uefi"},
			{"own wins", image, []string{"bootMode::Legacy"}, "bootMode::Legacy qemuga", "bios"},
			{"of the other image", legacy, []string{"qemuga"}, "bootMode::Legacy qemuga", "bios"},
			{"own only", l.cloud.Image, []string{"bootMode::UEFI"}, "bootMode::UEFI", "uefi"},
			{"own twice", legacy, []string{"bootMode::UEFI", "bootMode::UEFI"}, "bootMode::UEFI", "uefi"},
		} {
			uuid := l.vm(c.name, wire.Params{"imageUuid": c.image}, c.own...).text("uuid")
			path := wire.VMs + "/" + uuid
			l.firmware(c.name, uuid, c.firmware)
			l.act(path, "stopVmInstance", wire.Params{"type": "cold"})
			l.act(path, "startVmInstance", nil)
			l.firmware(c.name+", started again", uuid, c.firmware)
			l.act(path, "rebootVmInstance", nil)
			l.firmware(c.name+", rebooted", uuid, c.firmware)
			l.want(c.name+": its tags", l.tags(uuid), c.tags)
		}
	})
}

// firmware fails the test unless a guest runs with one.
func (l *lab) firmware(what, uuid, want string) {
	l.Helper()
	vm := l.s.World().VMs[uuid]
	if !vm.Active() || vm.Firmware != want {
		l.Errorf("%s: the guest is %+v; want it with the firmware %q", what, vm, want)
	}
}

// A changed tag counts when the guest starts again; later images are for later
// guests.
func TestChangedBootMode(t *testing.T) {
	each(t, false, func(l *lab) {
		image := l.taggedImage("changes", "bootMode::Legacy")
		uuid := l.vm("first", wire.Params{"imageUuid": image}).text("uuid")
		path := wire.VMs + "/" + uuid
		change := func(of, to string) {
			l.Helper()
			tag := l.query("/system-tags", "resourceUuid="+of)[0]
			l.act("/system-tags/"+tag.text("uuid"), "updateSystemTag", wire.Params{"tag": to})
		}
		change(image, "bootMode::UEFI")
		l.act(path, "rebootVmInstance", nil)
		l.firmware("after a change of the image", uuid, "bios")
		l.firmware("another guest of the image", l.vm("second", wire.Params{"imageUuid": image}).text("uuid"), "uefi")

		change(uuid, "bootMode::UEFI")
		l.firmware("before it starts again", uuid, "bios")
		l.act(path, "rebootVmInstance", nil)
		l.firmware("when it has started again", uuid, "uefi")
		second := wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "bootMode::Legacy"}
		l.refused("SYS.1007", http.MethodPost, "/system-tags", map[string]any{"params": second})
		for _, tag := range l.query("/system-tags", "resourceUuid="+uuid) {
			l.remove("/tags/" + tag.text("uuid"))
		}
		l.act(path, "rebootVmInstance", nil)
		l.firmware("without a tag", uuid, "")
	})
}

// What no host can do is refused before anything is changed, and the answer says
// what can be used.
func TestWrongBootMode(t *testing.T) {
	each(t, false, func(l *lab) {
		uuid := l.vm("right", nil, "bootMode::UEFI").text("uuid")
		before := l.s.Counts(l.db)
		image := wire.Params{"name": "wrong", "url": "http://images/wrong.qcow2", "format": "qcow2", "backupStorageUuids": []string{l.cloud.BackupStorage}}
		for _, tags := range [][]string{{"bootMode::UEFI_WITH_CSM"}, {"bootMode::uefi"}, {"bootMode::"}, {"bootMode"}, {"qemuga::yes"}} {
			l.refused("SYS.1007", http.MethodPost, wire.Images, map[string]any{"params": image, "systemTags": tags})
			l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("wrong"), "systemTags": tags})
			l.refused("SYS.1007", http.MethodPost, "/system-tags", map[string]any{"params": wire.Params{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": tags[0]}})
		}
		l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("both"), "systemTags": []string{"bootMode::UEFI", "bootMode::Legacy"}})
		_, err := l.c.Call(l.Context(), http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("csm"), "systemTags": []string{"bootMode::UEFI_WITH_CSM"}})
		if err == nil || !strings.Contains(err.Error(), "UEFI_WITH_CSM") || !strings.Contains(err.Error(), "use Legacy") {
			l.Errorf("the answer to UEFI_WITH_CSM is %v", err)
		}
		for _, d := range server.Differences(before, l.s.Counts(l.db)) {
			l.Error(d)
		}
		l.firmware("what was there before", uuid, "uefi")
	})
}

// A start that fails leaves what the guest's last host has of it.
func TestFailedStartKeepsTheGuest(t *testing.T) {
	each(t, false, func(l *lab) {
		vm := l.vm("stays", nil, "bootMode::UEFI")
		uuid := vm.text("uuid")
		path := wire.VMs + "/" + uuid
		l.act(path, "stopVmInstance", wire.Params{"type": "cold"})
		for _, when := range []string{"before", "after"} {
			l.s.Faults("StartVM:fail=refused:" + when)
			l.refused("SYS.1006", http.MethodPut, path+"/actions", map[string]any{"startVmInstance": wire.Params{}})
			l.s.Faults("")
			l.want("state", l.get(wire.VMs, uuid).text("state"), "Stopped")
			if kept := l.s.World().VMs[uuid]; kept == nil || kept.Active() || kept.Host != vm.text("hostUuid") {
				l.Errorf("a start that failed %s it was done left %+v on the host", when, kept)
			}
		}
		l.act(path, "startVmInstance", nil)
		l.firmware("started at last", uuid, "uefi")
	})
}
