package compute_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// What a guest cannot be made of is refused by name, and nothing is left of it.
func TestCreateIsRefused(t *testing.T) {
	c := newCloud(t)
	data := c.Create("APIAddImageMsg", P{"name": "data", "url": "http://127.0.0.1/data", "mediaType": "DataVolumeTemplate", "format": "raw", "backupStorageUuids": []string{c.s.Backup}})
	second := c.Create("APICreateL3NetworkMsg", P{"name": "second", "l2NetworkUuid": c.s.L2})
	far := c.Create("APICreateZoneMsg", P{"name": "far"})
	disk := c.Create("APICreateDiskOfferingMsg", P{"name": "disk", "diskSize": giB})
	c.Do("APIChangeDiskOfferingStateMsg", P{"uuid": disk, "stateEvent": "disable"})
	off := offering(c.Cloud, contract.PlaceLeastVM, nil)
	c.Do("APIChangeInstanceOfferingStateMsg", P{"uuid": off, "stateEvent": "disable"})
	many := slices.Repeat([]int64{giB}, 25)
	before, calls := c.Dump(taken...), len(c.Calls.Methods())
	for _, x := range []struct {
		class errs.Class
		more  P
		words []string
	}{
		{errs.Invalid, P{"type": "ApplianceVm"}, []string{"type", "ApplianceVm is not for this call", "use UserVm"}},
		{errs.Invalid, P{"strategy": "JustCreate"}, []string{"strategy", "JustCreate is not offered", "use CreateStopped"}},
		{errs.Invalid, P{"instanceOfferingUuid": nil}, []string{"instanceOfferingUuid", "give an instance offering, or both cpuNum and memorySize"}},
		{errs.Invalid, P{"instanceOfferingUuid": nil, "cpuNum": 1}, []string{"or both cpuNum and memorySize"}},
		{errs.Invalid, P{"instanceOfferingUuid": nil, "memorySize": giB}, []string{"or both cpuNum and memorySize"}},
		{errs.Refused, P{"instanceOfferingUuid": off}, []string{"instance offering o", "is Disabled", "enable it"}},
		{errs.NotFound, P{"instanceOfferingUuid": resource.NewUUID()}, []string{"instanceOfferingUuid"}},
		{errs.Invalid, P{"cpuNum": 1025}, []string{"cpuNum", "1025 is not between 1 and 1024"}},
		{errs.Invalid, P{"cpuNum": -1}, []string{"cpuNum", "-1 is not between 1 and 1024"}},
		{errs.Invalid, P{"memorySize": 1<<20 - 1}, []string{"memorySize", "1048575 bytes are less than a MiB"}},
		{errs.Invalid, P{"l3NetworkUuids": []string{}}, []string{"l3NetworkUuids", "give at least one L3 network, or a zone, cluster or host"}},
		{errs.Invalid, P{"vmNicParams": "{}"}, []string{"vmNicParams", "is not offered"}},
		{errs.Invalid, P{"l3NetworkUuids": []string{c.s.L3, second}}, []string{"defaultL3NetworkUuid", "must be given with several L3 networks"}},
		{errs.Invalid, P{"defaultL3NetworkUuid": second}, []string{"defaultL3NetworkUuid", second + " is not among l3NetworkUuids"}},
		{errs.Invalid, P{"imageUuid": nil}, []string{"imageUuid", "is missing"}},
		{errs.Invalid, P{"imageUuid": data}, []string{"imageUuid", "image data is a DataVolumeTemplate; use a RootVolumeTemplate or an ISO"}},
		{errs.Invalid, P{"rootDiskSize": 0}, []string{"rootDiskSize", "0 bytes is no size of a volume"}},
		{errs.Invalid, P{"rootDiskSize": int64(contract.MaxVolumeSize) + 1}, []string{"rootDiskSize"}},
		{errs.Refused, P{"rootDiskOfferingUuid": disk}, []string{"disk offering disk", "is Disabled"}},
		{errs.Refused, P{"dataDiskOfferingUuids": []string{disk}}, []string{"disk offering disk", "is Disabled"}},
		{errs.Invalid, P{"dataDiskSizes": []int64{giB, 0}}, []string{"dataDiskSizes", "0 bytes is no size of a volume"}},
		{errs.Invalid, P{"dataDiskSizes": many}, []string{"dataDiskOfferingUuids", "25 data volumes are more than 24"}},
		{errs.Invalid, P{"zoneUuid": far}, []string{"zoneUuid", "the L3 networks are in zone " + c.s.Zone + ", not in " + far}},
		{errs.NotFound, P{"sshKeyPairUuids": []string{resource.NewUUID()}}, []string{"sshKeyPairUuids"}},
	} {
		c.Refused(x.class, create, c.s.Guest(x.more), x.words...)
	}
	c.Want("what is there", c.Dump(taken...), before)
	c.Want("calls", len(c.Calls.Methods()), calls)
}

// A guest is as large as its offering says, but for what is given beside it; the
// edges of what is allowed are allowed.
func TestSizeOfAGuest(t *testing.T) {
	c := newCloud(t)
	c.World.Facts("10.255.0.2", &pluginv1.HostFacts{CpuNum: 1024, CpuMhz: 2000, CpuSockets: 1, MemoryBytes: 64 << 30, Architecture: "x86_64"})
	big := c.Host(c.s.Cluster)
	for _, x := range []struct {
		why         string
		more        P
		cpu, memory int64
	}{
		{"of the offering", nil, 1, giB},
		{"zeros beside it", P{"cpuNum": 0, "memorySize": 0, "reservedMemorySize": 0}, 1, giB},
		{"more processors", P{"cpuNum": 3}, 3, giB},
		{"more memory", P{"memorySize": 3 * giB}, 1, 3 * giB},
		{"without it", P{"instanceOfferingUuid": nil, "cpuNum": 2, "memorySize": 2 * giB}, 2, 2 * giB},
		{"the least", P{"cpuNum": 1, "memorySize": 1 << 20}, 1, 1 << 20},
		{"the most processors", P{"cpuNum": 1024, "hostUuid": big}, 1024, giB},
	} {
		vm := c.VM(c.s, x.more)
		c.Want("processors: "+x.why, vm.Int("cpuNum"), x.cpu)
		c.Want("memory: "+x.why, vm.Int("memorySize"), x.memory)
		c.Want("processors that the host is told of: "+x.why, int64(c.started().GetCpuNum()), x.cpu)
		c.Want("memory that the host is told of: "+x.why, c.started().GetMemoryBytes(), x.memory)
		c.end(vm.Text("uuid"))
	}
}

// Volumes are as large as their offerings or sizes say, in the order in which they
// are given; a root volume is never smaller than its image.
func TestVolumesOfAGuest(t *testing.T) {
	c := newCloud(t)
	disk := c.Create("APICreateDiskOfferingMsg", P{"name": "disk", "diskSize": 5 * giB})
	sizes := func(more P) string {
		vm := c.VM(c.s, more)
		text := ""
		for i, v := range vm.Rows("allVolumes") {
			c.Want("device", v.Int("deviceId"), int64(i))
			text += fmt.Sprintf("%s %d %t, ", v.Text("name"), v.Int("size")/giB, v.Text("diskOfferingUuid") == disk)
		}
		c.end(vm.Text("uuid"))
		return text
	}
	c.Want("of the image", sizes(nil), "ROOT-for-vm 1 false, ")
	c.Want("larger root", sizes(P{"rootDiskSize": 2 * giB}), "ROOT-for-vm 2 false, ")
	c.Want("smaller root", sizes(P{"rootDiskSize": 1}), "ROOT-for-vm 1 false, ")
	c.Want("root by its offering", sizes(P{"rootDiskOfferingUuid": disk}), "ROOT-for-vm 5 true, ")
	c.Want("an offering goes before a size", sizes(P{"rootDiskOfferingUuid": disk, "rootDiskSize": 2 * giB}), "ROOT-for-vm 5 true, ")
	c.Want("data volumes", sizes(P{"dataDiskSizes": []int64{2 * giB, 3 * giB}, "dataDiskOfferingUuids": []string{disk, disk}}),
		"ROOT-for-vm 1 false, DATA-for-vm-1 2 false, DATA-for-vm-2 3 false, DATA-for-vm-3 5 true, DATA-for-vm-4 5 true, ")
	vm := c.VM(c.s, P{"dataDiskSizes": slices.Repeat([]int64{1}, 24)})
	c.Want("volumes at most", len(vm.Rows("allVolumes")), 25)
}

// A guest needs no network when its place is named; its storage can be named too.
func TestPlaceIsNamed(t *testing.T) {
	c := newCloud(t)
	other := c.Create("APIAddFakePrimaryStorageMsg", P{"name": "other", "zoneUuid": c.s.Zone, "url": "/other"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": other})
	for field, uuid := range map[string]string{"zoneUuid": c.s.Zone, "clusterUuid": c.s.Cluster, "hostUuid": c.s.Host} {
		vm := c.VM(c.s, P{"l3NetworkUuids": []string{}, field: uuid})
		c.Want("NICs", len(vm.Rows("vmNics")), 0)
		c.Want("zone", vm.Text("zoneUuid"), c.s.Zone)
		c.Want("default network", vm.Text("defaultL3NetworkUuid"), "")
		c.do("Stop", vm.Text("uuid"))
		c.Want("state", c.do("Start", vm.Text("uuid")).Text("state"), "Running")
	}
	for _, primary := range []string{other, c.s.Primary} {
		for range 2 {
			vm := c.VM(c.s, P{"primaryStorageUuidForRootVolume": primary})
			c.Want("storage", vm.Rows("allVolumes")[0].Text("primaryStorageUuid"), primary)
		}
	}
}
