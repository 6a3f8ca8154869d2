package compute_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const create = "APICreateVmInstanceMsg"

// A guest is what was asked for, where there is room, and its host is told so.
func TestCreate(t *testing.T) {
	c := newCloud(t)
	c.services()
	c.Calls.Forget()
	vm := c.VM(c.s, P{"description": "mine", "dataDiskSizes": []int64{2 * giB}, "userTags": []string{"a"}})
	uuid := vm.Text("uuid")
	for field, want := range map[string]string{"name": "vm", "description": "mine", "state": "Running", "type": "UserVm", "zoneUuid": c.s.Zone,
		"clusterUuid": c.s.Cluster, "hostUuid": c.s.Host, "lastHostUuid": "", "imageUuid": c.s.Image, "instanceOfferingUuid": c.s.Offering,
		"defaultL3NetworkUuid": c.s.L3, "hypervisorType": kerneltest.FakeType, "platform": "Linux", "architecture": "x86_64"} {
		c.Want(field, vm.Text(field), want)
	}
	for field, want := range map[string]int64{"cpuNum": 1, "memorySize": giB, "cpuSpeed": 2000} {
		c.Want(field, vm.Int(field), want)
	}
	disks, nics := vm.Rows("allVolumes"), vm.Rows("vmNics")
	if len(disks) != 2 || len(nics) != 1 {
		t.Fatalf("it has %v and %v", disks, nics)
	}
	for i, d := range disks {
		c.Want("type", d.Text("type"), []string{"Root", "Data"}[i])
		c.Want("status", d.Text("status"), "Ready")
		c.Want("storage", d.Text("primaryStorageUuid"), c.s.Primary)
		c.Want("size", d.Int("size"), int64((i+1)*giB))
		c.Want("path", d.Text("installPath"), "/volumes/"+d.Text("uuid"))
	}
	c.Want("root volume", vm.Text("rootVolumeUuid"), disks[0].Text("uuid"))
	told := c.started()
	c.Want("name that its host knows", told.GetName(), "vm")
	c.Want("processors", told.GetCpuNum(), int32(1))
	c.Want("memory", told.GetMemoryBytes(), int64(giB))
	c.Want("disks", len(told.GetDisks()), 2)
	c.Want("first disk", told.GetDisks()[0].GetSource(), "/volumes/"+disks[0].Text("uuid"))
	c.Want("boot order", fmt.Sprint(told.GetBootOrder()), "[hd]")
	c.Want("bridge", told.GetNics()[0].GetBridge(), "br_fake")
	c.Want("MAC", told.GetNics()[0].GetMac(), nics[0].Text("mac"))
	if !c.inOrder("EnsureImage", "CreateVolume", "CreateVolume", kerneltest.Applies, "StartVM") {
		t.Errorf("calls %v", c.Calls.Methods())
	}
	r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
	c.Want("host of the network services", r.Host.GetUuid(), c.s.Host)
	base := c.Calls.Of("CreateVolume")
	c.Want("base of the root volume", base[0].(*pluginv1.CreateVolumeRequest).GetBackingPath(), "/cache/"+c.s.Image)
	c.Want("base of the data volume", base[1].(*pluginv1.CreateVolumeRequest).GetBackingPath(), "")
	c.Want("user tags", len(c.List("UserTag", "resourceUuid="+uuid)), 1)
	c.Want("guests of the host", c.on(uuid), "VM_STATE_RUNNING")
}

// Whatever step fails, and whether or not it worked, nothing is left of a guest.
func TestCreateFails(t *testing.T) {
	for name, stopped := range map[string]string{"running": "InstantStart", "stopped": "CreateStopped"} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.services()
			p := c.s.Guest(P{"imageUuid": c.iso(), "rootDiskSize": giB, "dataDiskSizes": []int64{giB, giB}, "strategy": stopped,
				"systemTags": []string{"hostname::web"}, "userTags": []string{"u"}, "dataVolumeSystemTags": []string{"capability::virtio-scsi"}})
			first := c.Create(create, p) // the cache is filled
			c.end(first)
			before, volumes := c.Dump(taken...), c.World.Volumes()
			steps := slices.DeleteFunc(c.Compute.Steps()["create"], func(step string) bool {
				return stopped != "InstantStart" && (step == "prepare-network" || step == "start-on-host" || strings.HasPrefix(step, "point."))
			})
			call := func() error { _, err := c.Call(create, p); return err }
			c.FailEachStep(steps, taken, call)
			if err := c.RepeatEachStep(call); err == nil {
				t.Error("its rows were written twice")
			}
			c.Want("what is there", c.Dump(taken...), before)
			methods := []string{"CreateVolume", kerneltest.Applies, "StartVM"}
			if stopped != "InstantStart" {
				methods = methods[:1]
			}
			for _, method := range methods {
				c.Calls.After(method, func(any) error { return errs.New(errs.Timeout, "host", "no answer") })
				c.Refused(errs.Timeout, create, p, "no answer")
				c.Calls.After(method, nil)
				c.Want("what is there after "+method, c.Dump(taken...), before)
			}
			c.Want("volumes in the world", c.World.Volumes(), volumes)
			c.Want("guests in the world", len(c.World.Guests(c.s.Host)), 0)
		})
	}
}

// fullHost has no room although it seemed to have.
type fullHost struct {
	contract.Hosts
	host  string
	err   error
	asked []string
}

func (f *fullHost) Reserve(ctx context.Context, tx *store.Tx, host string, r contract.Room) error {
	f.asked = append(f.asked, host)
	if host == f.host {
		return f.err
	}
	return f.Hosts.Reserve(ctx, tx, host, r)
}

// fullStorage has no room for what is to be on a host.
type fullStorage struct {
	contract.Storage
	host string
}

func (f *fullStorage) Plan(ctx context.Context, tx *store.Tx, at contract.Place, v []*contract.VolumePlan) error {
	if at.Host.UUID == f.host {
		return errs.New(errs.Exhausted, "primary storage", "is full")
	}
	return f.Storage.Plan(ctx, tx, at, v)
}

// A place that is full when it is to be taken is passed over, and nothing of it
// stays taken; the guest's rows say where it is. Another failure ends the
// creation.
func TestPlaceThatIsTakenMeanwhile(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	var hosts *fullHost
	c.Compute.Between(func(h contract.Hosts) contract.Hosts { hosts = &fullHost{Hosts: h}; return hosts }, nil)
	full := errs.New(errs.Exhausted, "host", "is full")
	for _, host := range []string{c.s.Host, second} {
		hosts.host, hosts.err, hosts.asked = host, full, nil
		other := map[string]string{c.s.Host: second, second: c.s.Host}[host]
		var made []string
		for range 4 { // guests spread, so each host is the best one sometime
			vm := c.VM(c.s, nil)
			c.Want("host", vm.Text("hostUuid"), other)
			c.Want("host that starts it", func() string {
				r, _ := kerneltest.Last[*pluginv1.StartVMRequest](c.Calls, "StartVM")
				return r.Host.GetUuid()
			}(), other)
			made = append(made, vm.Text("uuid"))
		}
		if !slices.Contains(hosts.asked, host) {
			t.Errorf("asked %v, and never %s", hosts.asked, host)
		}
		c.end(made...)
	}
	hosts.err = errs.New(errs.Internal, "database", "is broken")
	before := c.Dump(taken...)
	var made []string
	var broken error
	for range 2 { // the second one at last goes to the host without guests
		if vm, err := c.Call(create, c.s.Guest(nil)); err != nil {
			broken = err
		} else {
			made = append(made, vm.Text("uuid"))
		}
	}
	c.Want("class", errs.ClassOf(broken), errs.Class(errs.Internal))
	c.end(made...)
	c.Want("what is there", c.Dump(taken...), before)
}

// When the storage of a place is full, its host's room is given back.
func TestStorageThatIsFullMeanwhile(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	disks := &fullStorage{}
	c.Compute.Between(nil, func(v contract.Storage) contract.Storage { disks.Storage = v; return disks })
	room := func(host string) int64 { return c.Get("Host", host).Int("availableMemoryCapacity") }
	for _, host := range []string{c.s.Host, second} {
		disks.host = host
		free := room(host)
		for range 2 {
			if got := c.VM(c.s, nil).Text("hostUuid"); got == host {
				t.Errorf("it is on %s, whose storage is full", got)
			}
		}
		c.Want("room of the host whose storage is full", room(host), free)
	}
}

// Guests that are made at once do not take more than there is, and all that fit
// are made.
func TestManyAtOnce(t *testing.T) {
	c := newCloud(t)
	c.Host(c.s.Cluster)
	const fit = 6 // 10 of 31 GiB each, on two hosts
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "kvm", "name": "reservedMemory", "value": "1G"})
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, refused := 0, 0
	for range fit + 4 {
		wg.Go(func() {
			_, err := c.Call(create, c.s.Guest(P{"instanceOfferingUuid": nil, "cpuNum": 1, "memorySize": 10 * giB}))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case errs.ClassOf(err) == errs.Exhausted:
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c.Want("made", made, fit)
	c.Want("refused", refused, 4)
	c.Want("volumes in the world", c.World.Volumes(), fit)
}

// A guest that stays stopped holds volumes and addresses, and nothing of a host.
func TestCreateStopped(t *testing.T) {
	c := newCloud(t)
	before := c.Dump("Host")
	vm := c.Do(create, c.s.Guest(P{"strategy": "CreateStopped"}))
	c.Want("state", vm.Text("state"), "Stopped")
	c.Want("host", vm.Text("hostUuid"), "")
	c.Want("last host", vm.Text("lastHostUuid"), c.s.Host)
	c.Want("volume", vm.Rows("allVolumes")[0].Text("status"), "Ready")
	c.Want("addresses", len(vm.Rows("vmNics")), 1)
	c.Want("hosts", c.Dump("Host"), before)
	c.Want("calls to start it", c.called("StartVM") || c.called(kerneltest.Applies), false)
	c.Want("state", c.do("Start", vm.Text("uuid")).Text("state"), "Running")
}

// A guest that is made from an ISO has an empty disk and a drive with the ISO in
// it, from which it starts, now and later; the ISO is no volume.
func TestCreateFromISO(t *testing.T) {
	c := newCloud(t)
	iso := c.iso()
	p := c.s.Guest(P{"imageUuid": iso})
	c.Refused(errs.Invalid, create, p, "rootDiskOfferingUuid", "needs a root disk offering or rootDiskSize")
	p["rootDiskSize"] = 3 * giB
	vm := c.Do(create, p)
	uuid := vm.Text("uuid")
	if v := vm.Rows("allVolumes"); len(v) != 1 || v[0].Int("size") != 3*giB || v[0].Text("rootImageUuid") != "" {
		t.Fatalf("volumes %v", v)
	}
	drive := vm.Rows("vmCdRoms")[0]
	c.Want("image in the drive", drive.Text("isoUuid"), iso)
	c.Want("path", drive.Text("isoInstallPath"), "/cache/"+iso)
	c.Want("volumes in the world", c.World.Volumes(), 1)
	check := func(when string) {
		t.Helper()
		told := c.started()
		c.Want("boot order "+when, fmt.Sprint(told.GetBootOrder()), "[cdrom hd]")
		if d := told.GetDisks(); len(d) != 2 || d[0].GetCdrom() || !d[1].GetCdrom() || d[1].GetSource() != "/cache/"+iso || d[1].GetUuid() != drive.Text("uuid") {
			t.Errorf("disks %s: %v", when, d)
		}
	}
	check("at first")
	c.do("Stop", uuid)
	c.do("Start", uuid)
	check("later")
	c.Calls.Fail("EnsureImage", onFire())
	p["imageUuid"] = c.iso()
	before := c.Dump(taken...)
	c.Refused(errs.Unavailable, create, p, "cannot be cached", "on fire")
	c.Want("what is there", c.Dump(taken...), before)
	c.do("Destroy", uuid)
	c.do("Expunge", uuid)
	c.Want("drives", len(c.List("VmCdRom")), 0)
}

// What is named after a guest fits, however long its name is.
func TestVolumeNames(t *testing.T) {
	c := newCloud(t)
	long := strings.Repeat("名", 255)
	disks := c.vm(c.run(P{"name": long, "dataDiskSizes": []int64{giB}})).Rows("allVolumes")
	for i, want := range []string{"ROOT-for-" + long[:3*246], "DATA-for-" + long[:3*244] + "-1"} {
		c.Want("the name of a volume", disks[i].Text("name"), want)
	}
}

// What a tag asks for is done in the spelling in which the tag is kept.
func TestTagsAreSpelled(t *testing.T) {
	c := newCloud(t)
	vm := c.vm(c.run(P{"systemTags": []string{"customMac::" + c.s.L3 + "::FA-00-00-00-00-77", "staticIp::" + c.s.L3 + "::  10.0.0.77"}}))
	nic := vm.Rows("vmNics")[0]
	c.Want("MAC", nic.Text("mac"), "fa:00:00:00:00:77")
	c.Want("address", nic.Text("ip"), "10.0.0.77")
	for _, row := range c.List("SystemTag", "resourceUuid="+vm.Text("uuid")) {
		if tag := row.Text("tag"); strings.Contains(tag, "FA-") || strings.Contains(tag, " ") {
			t.Errorf("the tag is %q", tag)
		}
	}
	c.Refused(errs.Exists, create, c.s.Guest(P{"systemTags": []string{"customMac::" + c.s.L3 + "::fa00.0000.0077"}}), "in use")
}
