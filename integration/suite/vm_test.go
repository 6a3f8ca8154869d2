package suite

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestGuestLife(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		vm := l.vm("life", wire.Params{"dataDiskSizes": []int64{3 << 30}, "description": "a guest"}, "hostname::life")
		uuid := vm.text("uuid")
		path := wire.VMs + "/" + uuid
		l.want("state", vm.text("state"), "Running")
		l.want("CPUs", vm.number("cpuNum"), int64(1))
		l.want("memory", vm.number("memorySize"), int64(vmMemory))
		l.want("hypervisor", vm.text("hypervisorType"), "Simulator")
		l.want("volumes", len(vm.list("allVolumes")), 2)
		l.want("root volume", l.get(wire.Volumes, vm.text("rootVolumeUuid")).text("status"), "Ready")
		nic := vm.list("vmNics")[0]
		l.want("network", nic.text("l3NetworkUuid"), l.cloud.L3Network)
		l.took("a running guest", before, 1, vmMemory, imageSize+3<<30)

		l.want("state", l.act(path, "stopVmInstance", wire.Params{"type": "grace"}).text("state"), "Stopped")
		l.took("a stopped guest", before, 0, 0, imageSize+3<<30)
		l.want("state", l.act(path, "stopVmInstance", nil).text("state"), "Stopped") // stopped is a success
		l.want("new size", l.act(path, "updateVmInstance", wire.Params{"name": "alive", "cpuNum": 2}).number("cpuNum"), int64(2))
		started := l.act(path, "startVmInstance", nil)
		l.want("state", started.text("state"), "Running")
		l.want("address", started.list("vmNics")[0].text("ip"), nic.text("ip"))
		l.took("a larger guest", before, 2, vmMemory, imageSize+3<<30)
		l.want("state", l.act(path, "rebootVmInstance", nil).text("state"), "Running")
		l.want("state", l.act(path, "pauseVmInstance", nil).text("state"), "Paused")
		l.want("simulated state", string(l.s.World().VMs[uuid].State), "paused")
		l.took("a paused guest", before, 2, vmMemory, imageSize+3<<30)
		l.refused("SYS.1006", http.MethodPut, path+"/actions", map[string]any{"rebootVmInstance": wire.Params{}})
		l.want("state", l.act(path, "resumeVmInstance", nil).text("state"), "Running")
		l.want("state", l.act(path, "stopVmInstance", wire.Params{"type": "cold"}).text("state"), "Stopped")
		l.act(path, "startVmInstance", nil)

		l.remove(path)
		l.want("state", l.get(wire.VMs, uuid).text("state"), "Destroyed")
		l.took("a destroyed guest", before, 0, 0, imageSize+3<<30)
		l.refused("SYS.1006", http.MethodPut, path+"/actions", map[string]any{"startVmInstance": wire.Params{}})
		recovered := l.act(path, "recoverVmInstance", nil)
		l.want("state", recovered.text("state"), "Stopped")
		l.want("address", recovered.list("vmNics")[0].text("ip"), nic.text("ip"))
		l.want("state", l.act(path, "startVmInstance", nil).text("state"), "Running")
		l.remove(path)
		l.act(path, "expungeVmInstance", nil)
		l.gone(wire.VMs, uuid)
		l.gone(wire.Volumes, vm.text("rootVolumeUuid"))
		l.took("the data volume that is kept", before, 0, 0, 3<<30)
		l.want("system tags", len(l.query("/system-tags", "resourceUuid="+uuid)), 0)
		l.want("addresses", len(l.query(wire.L3Networks+"/ip-address", "ip="+nic.text("ip"))), 0)
		l.remove(path) // gone is a success
	})
}

func TestCreateStopped(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		vm := l.vm("later", wire.Params{"strategy": "CreateStopped"})
		l.want("state", vm.text("state"), "Stopped")
		l.want("host", vm.text("hostUuid"), "")
		l.took("a guest made stopped", before, 0, 0, imageSize)
		l.want("volumes", len(l.s.World().Volumes), 1)
		l.want("guests in the world", len(l.s.World().VMs), 0)
		l.want("state", l.act(wire.VMs+"/"+vm.text("uuid"), "startVmInstance", nil).text("state"), "Running")
		l.took("a guest started later", before, 1, vmMemory, imageSize)
	})
}

// Destroying with the policy Direct leaves nothing.
func TestDirectPolicy(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		l.inventory(http.MethodPut, "/global-configurations/vm/deletionPolicy/actions", map[string]any{"updateGlobalConfig": wire.Params{"value": "Direct"}})
		vm := l.vm("direct", nil)
		l.remove(wire.VMs + "/" + vm.text("uuid"))
		l.gone(wire.VMs, vm.text("uuid"))
		l.took("nothing", before, 0, 0, 0)
	})
}

func TestQueries(t *testing.T) {
	each(t, false, func(l *lab) {
		for _, name := range []string{"web-1", "web-2", "db-1"} {
			p := l.cloud.VM(name)
			l.inventory(http.MethodPost, wire.VMs, map[string]any{"params": p, "userTags": []string{name[:2]}, "systemTags": []string{"hostname::" + name}})
		}
		db := l.query(wire.VMs, "name=db-1")[0]
		ip := db.list("vmNics")[0].text("ip")
		l.act(wire.VMs+"/"+db.text("uuid"), "stopVmInstance", nil)
		for _, c := range []struct {
			conditions []string
			want       int
		}{
			{nil, 3}, {[]string{"name~=web%"}, 2}, {[]string{"name!~=web%"}, 1}, {[]string{"name?=web-1,db-1"}, 2}, {[]string{"name!?=web-1,db-1"}, 1},
			{[]string{"name!=db-1"}, 2}, {[]string{"cpuNum>=1"}, 3}, {[]string{"cpuNum>1"}, 0}, {[]string{"memorySize<=67108864"}, 3}, {[]string{"memorySize<67108864"}, 0},
			{[]string{"hostUuid is null"}, 1}, {[]string{"hostUuid not null"}, 2}, {[]string{"state=running"}, 2}, // the collation ignores case
			{[]string{"vmNics.ip=" + ip}, 1}, {[]string{"vmNics.l3Network.name=lab", "state=Running"}, 2}, {[]string{"zone.name=lab"}, 3},
			{[]string{"cluster.host.name=lab-1"}, 3}, {[]string{"allVolumes.primaryStorage.uuid=" + l.cloud.PrimaryStorage}, 3},
			{[]string{"image.backupStorage.name=lab"}, 3}, {[]string{"__userTag__=we"}, 2}, {[]string{"__userTag__!=we"}, 1}, {[]string{"__systemTag__=hostname::db-1"}, 1},
		} {
			if found := l.query(wire.VMs, c.conditions...); len(found) != c.want {
				l.Errorf("%v finds %d guests, want %d", c.conditions, len(found), c.want)
			}
		}
		found, total := l.queryWith(wire.VMs, url.Values{"sort": {"-name"}, "limit": {"1"}, "start": {"1"}, "replyWithCount": {"true"}, "fields": {"name,state"}})
		l.want("total", total, int64(3))
		if len(found) != 1 || found[0].text("name") != "web-1" || len(found[0]) != 2 {
			l.Errorf("the second of three is %v", found)
		}
		found, total = l.queryWith(wire.VMs, url.Values{"count": {"true"}})
		l.want("count", total, int64(3))
		l.want("inventories", len(found), 0)
		l.want("NICs by guest", len(l.query(wire.VMNics, "vmInstance.name~=web%")), 2)
		l.want("hosts with guests", len(l.query(wire.Hosts, "vmInstance.name~=web%")) > 0, true)
	})
}

// What a guest is made with stays with it: the kind of its devices, the tags of
// its volumes, and the keys that may log in.
func TestDevicesAndKeys(t *testing.T) {
	each(t, false, func(l *lab) {
		seen := func(vm object) (disks, nics string) {
			l.Helper()
			w := l.s.World().VMs[vm.text("uuid")]
			for _, d := range w.Disks {
				disks += d.Bus + ","
			}
			for _, n := range w.NICs {
				nics += n.Driver + ","
			}
			return disks, nics
		}
		again := func(vm object) {
			l.Helper()
			path := wire.VMs + "/" + vm.text("uuid")
			l.act(path, "stopVmInstance", nil)
			l.act(path, "startVmInstance", nil)
		}
		check := func(vm object, disks, nics string) {
			l.Helper()
			for range 2 {
				d, n := seen(vm)
				l.want("buses of the disks", d, disks)
				l.want("models of the NICs", n, nics)
				again(vm)
			}
		}
		old := l.create(wire.Images, wire.Params{"name": "old", "url": "http://images/old.qcow2", "format": "qcow2", "mediaType": "RootVolumeTemplate",
			"platform": "Windows", "virtio": false, "backupStorageUuids": []string{l.cloud.BackupStorage}}).text("uuid")
		vm := l.vm("old", wire.Params{"imageUuid": old, "dataDiskSizes": []int64{1 << 20}})
		check(vm, "sata,sata,", "e1000,")
		l.want("its tag", len(l.query("/system-tags", "resourceUuid="+vm.text("uuid"), "tag=driver::emulated")), 1)
		check(l.vm("with drivers", wire.Params{"imageUuid": old, "virtio": true}), ",", "virtio,")
		check(l.vm("linux", wire.Params{"virtio": false}), ",", "virtio,")
		vm = l.vm("tagged", wire.Params{"dataDiskSizes": []int64{1 << 20, 1 << 20},
			"dataVolumeSystemTagsOnIndex": map[string][]string{"1": {"capability::virtio-scsi"}}})
		check(vm, ",,scsi,", "virtio,")
		check(l.vm("all tagged", wire.Params{"dataDiskSizes": []int64{1 << 20}, "dataVolumeSystemTags": []string{"capability::virtio-scsi"},
			"rootVolumeSystemTags": []string{"capability::virtio-scsi"}}), "scsi,scsi,", "virtio,")
		key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"
		pair := l.create("/ssh-key-pair", wire.Params{"name": "mine", "publicKey": key}).text("uuid")
		vm = l.vm("with key", wire.Params{"sshKeyPairUuids": []string{pair}})
		l.want("its keys", len(l.query("/system-tags", "resourceUuid="+vm.text("uuid"), "tag=sshkey::"+key)), 1)
		for name, wrong := range map[string]wire.Params{
			"unknown tag":   {"rootVolumeSystemTags": []string{"nonsense"}},
			"no such index": {"dataVolumeSystemTagsOnIndex": map[string][]string{"0": {"capability::virtio-scsi"}}},
		} {
			p := l.cloud.VM(name)
			for k, v := range wrong {
				p[k] = v
			}
			l.refused("SYS.1007", http.MethodPost, wire.VMs, map[string]any{"params": p})
		}
		p := l.cloud.VM("no such key")
		p["sshKeyPairUuids"] = []string{strings.Repeat("0", 32)}
		l.refused("SYS.1003", http.MethodPost, wire.VMs, map[string]any{"params": p})
	})
}
