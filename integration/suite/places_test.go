package suite

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestZonesAndClusters(t *testing.T) {
	each(t, true, func(l *lab) {
		z := l.create(wire.Zones, wire.Params{"name": "z", "description": "rack 1", "resourceUuid": "0123456789ab4cde8823456789abcdef"})
		l.want("uuid", z.text("uuid"), "0123456789ab4cde8823456789abcdef")
		l.want("description", z.text("description"), "rack 1")
		l.want("state", z.text("state"), "Enabled")
		zone := wire.Zones + "/" + z.text("uuid")
		l.want("new name", l.act(zone, "updateZone", wire.Params{"name": "y"}).text("name"), "y")
		unnamed := l.act(zone, "updateZone", wire.Params{"name": "", "description": "rack 2"}) // so a client says that the name stays
		l.want("name after a new description", unnamed.text("name"), "y")
		l.want("new description", unnamed.text("description"), "rack 2")
		l.want("state", l.act(zone, "changeZoneState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		l.want("state", l.act(zone, "changeZoneState", wire.Params{"stateEvent": "enable"}).text("state"), "Enabled")
		c := l.create(wire.Clusters, wire.Params{"name": "c", "zoneUuid": z.text("uuid"), "hypervisorType": "Simulator"})
		l.want("zone", c.text("zoneUuid"), z.text("uuid"))
		l.want("type", c.text("type"), "zstack")
		l.want("architecture", c.text("architecture"), "x86_64")
		l.refused("SYS.1013", http.MethodPost, wire.Clusters, map[string]any{"params": wire.Params{"name": "c", "zoneUuid": z.text("uuid"),
			"hypervisorType": "Simulator", "type": "baremetal"}})
		cluster := wire.Clusters + "/" + c.text("uuid")
		l.want("new name", l.act(cluster, "updateCluster", wire.Params{"name": "d"}).text("name"), "d")
		l.want("state", l.act(cluster, "changeClusterState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		l.remove(cluster)
		l.gone(wire.Clusters, c.text("uuid"))
		l.remove(cluster) // gone is a success
		l.remove(zone)
		l.gone(wire.Zones, z.text("uuid"))
	})
}

func TestHosts(t *testing.T) {
	each(t, false, func(l *lab) {
		h := l.create("/hosts/simulators", wire.Params{"name": "h", "managementIp": "198.18.5.5", "clusterUuid": l.cloud.Cluster, "cpuCapacity": 3, "memoryCapacity": 1 << 30})
		uuid := h.text("uuid")
		path := wire.Hosts + "/" + uuid
		l.want("status", h.text("status"), "Connected")
		l.want("CPUs", h.number("cpuNum"), int64(3))
		l.want("CPUs to give", h.number("availableCpuCapacity"), int64(30))
		l.want("memory", h.number("totalMemoryCapacity"), int64(1<<30))
		l.want("hypervisor", h.text("hypervisorType"), "Simulator")
		l.want("state", l.act(path, "changeHostState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": wire.Params{"name": "no", "hostUuid": uuid, "imageUuid": l.cloud.Image,
			"instanceOfferingUuid": l.cloud.Offering, "l3NetworkUuids": []string{l.cloud.L3Network}}})
		l.want("state", l.act(path, "changeHostState", wire.Params{"stateEvent": "enable"}).text("state"), "Enabled")
		l.want("status", l.act(path, "reconnectHost", nil).text("status"), "Connected")
		l.want("new name", l.act(path, "updateHost", wire.Params{"name": "g"}).text("name"), "g")
		l.remove(path)
		l.gone(wire.Hosts, uuid)
		w := l.s.World()
		if _, there := w.Hosts[uuid]; there || len(w.Bridges) != hosts || len(w.Links) != hosts {
			l.Errorf("the simulated world has the host: %t; %d bridges and %d links to storages, want %d of each", there, len(w.Bridges), len(w.Links), hosts)
		}
	})
}

// A host is no part of a cluster of another architecture, and nothing is left of
// the try.
func TestHostOfAnotherArchitecture(t *testing.T) {
	each(t, false, func(l *lab) {
		c := l.create(wire.Clusters, wire.Params{"name": "arm", "zoneUuid": l.cloud.Zone, "hypervisorType": "Simulator", "architecture": "aarch64"})
		l.want("architecture", c.text("architecture"), "aarch64")
		l.refused("SYS.1006", http.MethodPost, "/hosts/simulators", map[string]any{"params": wire.Params{"name": "h", "managementIp": "198.18.5.6",
			"clusterUuid": c.text("uuid"), "cpuCapacity": 3, "memoryCapacity": 1 << 30}})
		l.want("hosts in the cluster", len(l.query(wire.Hosts, "clusterUuid="+c.text("uuid"))), 0)
		l.remove(wire.Clusters + "/" + c.text("uuid"))
	})
}

func TestMaintenance(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		vm := l.vm("m", nil)
		host := vm.text("hostUuid")
		path := wire.Hosts + "/" + host
		l.want("state", l.act(path, "changeHostState", wire.Params{"stateEvent": "maintain"}).text("state"), "Maintenance")
		stopped := l.get(wire.VMs, vm.text("uuid"))
		l.want("guest in maintenance", stopped.text("state"), "Stopped")
		l.want("its host", stopped.text("hostUuid"), "")
		l.want("its last host", stopped.text("lastHostUuid"), host)
		started := l.act(wire.VMs+"/"+vm.text("uuid"), "startVmInstance", nil)
		if started.text("hostUuid") == host {
			l.Error("a guest was started on a host in maintenance")
		}
		l.want("state", l.act(path, "changeHostState", wire.Params{"stateEvent": "enable"}).text("state"), "Enabled")
		l.s.Ready() // it is connected anew
		l.remove(wire.VMs + "/" + vm.text("uuid"))
		l.act(wire.VMs+"/"+vm.text("uuid"), "expungeVmInstance", nil)
		l.took("nothing", before, 0, 0, 0)
	})
}

func TestDeleteHostWithGuest(t *testing.T) {
	each(t, false, func(l *lab) {
		vm := l.vm("v", nil)
		host := vm.text("hostUuid")
		l.remove(wire.Hosts + "/" + host)
		now := l.get(wire.VMs, vm.text("uuid"))
		l.want("state", now.text("state"), "Stopped")
		l.want("host", now.text("hostUuid"), "")
		l.want("state", l.act(wire.VMs+"/"+vm.text("uuid"), "startVmInstance", nil).text("state"), "Running")
		l.remove(wire.Clusters + "/" + l.cloud.Cluster)
		now = l.get(wire.VMs, vm.text("uuid"))
		l.want("state", now.text("state"), "Stopped")
		l.want("cluster", now.text("clusterUuid"), "")
		w := l.s.World()
		for what, n := range map[string]int{"hosts": len(w.Hosts), "links": len(w.Links), "bridges": len(w.Bridges), "networks": len(w.Networks), "bindings": len(w.Bindings)} {
			l.want("number of simulated "+what, n, 0)
		}
	})
}

func TestPrimaryStorage(t *testing.T) {
	each(t, false, func(l *lab) {
		const size = 10 << 30
		p := l.create("/primary-storage/simulators", wire.Params{"name": "p", "zoneUuid": l.cloud.Zone, "url": "/p", "totalCapacity": size,
			"availableCapacity": size, "totalPhysicalCapacity": size, "availablePhysicalCapacity": size})
		uuid := p.text("uuid")
		path := wire.PrimaryStorages + "/" + uuid
		l.want("type", p.text("type"), "SimulatorPrimaryStorage")
		l.want("total", p.number("totalCapacity"), int64(size))
		l.want("available", p.number("availableCapacity"), int64(size))
		if err := l.c.AttachPrimaryStorage(l.Context(), uuid, l.cloud.Cluster); err != nil {
			l.Fatal(err)
		}
		attached := l.get(wire.PrimaryStorages, uuid)
		l.want("clusters", len(attached["attachedClusterUuids"].([]any)), 1)
		l.want("available", attached.number("availableCapacity"), int64(size))
		before := l.capacity()
		vm := l.vm("v", wire.Params{"primaryStorageUuidForRootVolume": uuid, "dataDiskSizes": []int64{2 << 30}})
		_, cached := l.cached(uuid)
		l.want("available with a guest", l.get(wire.PrimaryStorages, uuid).number("availableCapacity"), int64(size-imageSize-2<<30)-cached)
		l.took("a guest on the other storage", before, 1, vmMemory, 0)
		l.refused("SYS.1006", http.MethodDelete, wire.Clusters+"/"+l.cloud.Cluster+path, nil)
		l.want("state", l.act(path, "changePrimaryStorageState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		l.act(wire.VMs+"/"+vm.text("uuid"), "stopVmInstance", nil)
		l.remove(wire.VMs + "/" + vm.text("uuid"))
		l.act(wire.VMs+"/"+vm.text("uuid"), "expungeVmInstance", nil)
		l.want("available after the guest", l.get(wire.PrimaryStorages, uuid).number("availableCapacity"), int64(size-2<<30)-cached)
		volumes := l.query(wire.Volumes, "primaryStorageUuid="+uuid)
		l.want("volumes that are kept", len(volumes), 1)
		l.remove(wire.Clusters + "/" + l.cloud.Cluster + path)
		l.remove(path)
		l.gone(wire.PrimaryStorages, uuid)
		l.gone(wire.Volumes, volumes[0].text("uuid"))
		l.took("nothing", before, 0, 0, 0)
	})
}

func TestBackupStorage(t *testing.T) {
	each(t, false, func(l *lab) {
		b := l.create("/backup-storage/simulators", wire.Params{"name": "b", "url": "/b", "totalCapacity": 1 << 30, "availableCapacity": 1 << 30})
		uuid := b.text("uuid")
		l.want("type", b.text("type"), "SimulatorBackupStorage")
		if err := l.c.AttachBackupStorage(l.Context(), uuid, l.cloud.Zone); err != nil {
			l.Fatal(err)
		}
		l.want("storages of the zone", len(l.query(wire.BackupStorages, "zone.name=lab")), 2)
		l.remove(wire.Zones + "/" + l.cloud.Zone + wire.BackupStorages + "/" + uuid)
		l.want("storages of the zone", len(l.query(wire.BackupStorages, "zone.name=lab")), 1)
		l.remove(wire.BackupStorages + "/" + uuid)
		l.gone(wire.BackupStorages, uuid)
	})
}

func TestImages(t *testing.T) {
	each(t, false, func(l *lab) {
		params := wire.Params{"name": "i", "url": "http://192.0.2.1/i.qcow2?virtual=3221225472&actual=1048576", "format": "qcow2",
			"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{l.cloud.BackupStorage}}
		i := l.create(wire.Images, params)
		uuid := i.text("uuid")
		path := wire.Images + "/" + uuid
		l.want("status", i.text("status"), "Ready")
		l.want("size", i.number("size"), int64(3<<30))
		l.want("real size", i.number("actualSize"), int64(1<<20))
		l.want("copies", len(i.list("backupStorageRefs")), 1)
		l.want("by its storage", len(l.query(wire.Images, "backupStorage.uuid="+l.cloud.BackupStorage)), 2)
		l.want("new name", l.act(path, "updateImage", wire.Params{"name": "j"}).text("name"), "j")
		l.want("state", l.act(path, "changeImageState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		p := l.cloud.VM("no")
		p["imageUuid"] = uuid
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p})
		l.want("state", l.act(path, "changeImageState", wire.Params{"stateEvent": "enable"}).text("state"), "Enabled")
		l.remove(path)
		l.want("status", l.get(wire.Images, uuid).text("status"), "Deleted")
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p})
		l.want("status", l.act(path, "recoverImage", nil).text("status"), "Ready")
		l.remove(path)
		l.act(path, "expungeImage", nil)
		l.gone(wire.Images, uuid)
	})
}

func TestOfferings(t *testing.T) {
	each(t, false, func(l *lab) {
		o := l.create(wire.InstanceOfferings, wire.Params{"name": "o", "cpuNum": 2, "memorySize": 1 << 30})
		path := wire.InstanceOfferings + "/" + o.text("uuid")
		l.want("state", l.act(path, "changeInstanceOfferingState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		p := l.cloud.VM("no")
		p["instanceOfferingUuid"] = o.text("uuid")
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p})
		l.remove(path)
		l.gone(wire.InstanceOfferings, o.text("uuid"))
		d := l.create("/disk-offerings", wire.Params{"name": "d", "diskSize": 5 << 30})
		before := l.capacity()
		vm := l.vm("v", wire.Params{"dataDiskOfferingUuids": []string{d.text("uuid")}, "rootDiskSize": 2 << 30})
		l.took("a guest with disks", before, 1, vmMemory, 7<<30)
		l.want("its volumes", len(vm.list("allVolumes")), 2)
		l.remove("/disk-offerings/" + d.text("uuid"))
		l.gone("/disk-offerings", d.text("uuid"))
	})
}

// Settings about a host's capacity count at once, and those of one host for that
// host only.
func TestCapacitySettings(t *testing.T) {
	each(t, false, func(l *lab) {
		before := l.capacity()
		ratio := func(action string, p wire.Params) {
			l.inventory(http.MethodPut, "/global-configurations/host/cpu.overProvisioning.ratio/actions", map[string]any{action: p})
		}
		vm := l.vm("holds-one", nil)
		ratio("updateGlobalConfig", wire.Params{"value": "5"})
		l.took("half of the processors and a guest", before, before.cpus/2+1, vmMemory, imageSize)
		ratio("updateGlobalConfig", wire.Params{"value": "10"})
		l.took("a guest", before, 1, vmMemory, imageSize)

		host := l.get(wire.Hosts, vm.text("hostUuid"))
		of := func(uuid string) string { return "/resource-configurations/kvm/reservedMemory/" + uuid }
		reserve := func(uuid, value string) {
			l.Helper()
			l.inventory(http.MethodPut, of(uuid)+"/actions", map[string]any{"updateResourceConfig": wire.Params{"value": value}})
		}
		// Leaves less on the host than a guest needs; the others take it.
		reserve(host.text("uuid"), strconv.FormatInt(host.number("availableMemoryCapacity")-vmMemory+1, 10))
		for i := range 4 {
			if at := l.vm(fmt.Sprint("elsewhere-", i), nil).text("hostUuid"); at == host.text("uuid") {
				l.Errorf("a guest is on the host whose memory is reserved")
			}
		}
		p := l.cloud.VM("nowhere")
		p["hostUuid"] = host.text("uuid")
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p})
		reserve(host.text("clusterUuid"), "1T")
		reserve(host.text("uuid"), "1G") // what is nearer counts
		l.want("host", l.vm("here", nil).text("hostUuid"), host.text("uuid"))
		l.remove(of(host.text("uuid")))
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": l.cloud.VM("nowhere")})
	})
}

// A change of a guest that nobody told is found with the next ping of its host.
func TestPingComparesGuests(t *testing.T) {
	each(t, false, func(l *lab) {
		l.inventory(http.MethodPut, "/global-configurations/host/ping.interval/actions", map[string]any{"updateGlobalConfig": wire.Params{"value": "1"}})
		vm := l.vm("unseen", nil).text("uuid")
		l.s.Write("UPDATE `VmInstance` SET `state` = 'Paused' WHERE `uuid` = ?", vm) // it runs
		for begin := time.Now(); l.get(wire.VMs, vm).text("state") != "Running"; time.Sleep(50 * time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				t.Fatal("the guest's state is not corrected")
			}
		}
	})
}

// To delete an image that is still being added does not wait for its bytes.
func TestDeleteImageWhileItIsAdded(t *testing.T) {
	each(t, false, func(l *lab) {
		l.s.Faults("AddImage:latency=60s")
		uuid, job := "55555555555545558555555555555555", strings.Repeat("6", 32)
		l.s.Begin(job, http.MethodPost, wire.Images, map[string]any{"params": wire.Params{"name": "slow", "url": "http://images/slow.qcow2", "format": "qcow2",
			"resourceUuid": uuid, "backupStorageUuids": []string{l.cloud.BackupStorage}}})
		for begin := time.Now(); len(l.query(wire.Images, "uuid="+uuid)) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				l.Fatal("the image has no row")
			}
		}
		begin := time.Now()
		l.remove(wire.Images + "/" + uuid)
		if took := time.Since(begin); took > 5*time.Second {
			l.Errorf("to delete it took %s", took)
		}
		l.want("code of the job that added it", wire.Code(l.s.Outcome(job)), "SYS.1017")
		l.gone(wire.Images, uuid)
		l.s.Faults("")
	})
}
