package compute

import "github.com/kumo-cloud/kumo/core/resource"

// States of a guest, as on the wire (spec: compute and storage, section 2.1).
const (
	Created    = "Created"
	Starting   = "Starting"
	Running    = "Running"
	Stopping   = "Stopping"
	Stopped    = "Stopped"
	Rebooting  = "Rebooting"
	Destroying = "Destroying"
	Destroyed  = "Destroyed"
	Migrating  = "Migrating"
	Expunging  = "Expunging"
	Pausing    = "Pausing"
	Paused     = "Paused"
	Resuming   = "Resuming"
	NoState    = "NoState"
	Unknown    = "Unknown"
	Crashed    = "Crashed"
)

// VMInstance is a guest. Memory is bytes; CPUSpeed is MHz of one processor.
type VMInstance struct {
	resource.Base
	resource.Owned
	ZoneUUID             string `db:"zoneUuid" kumo:"size=32,null,index"`
	ClusterUUID          string `db:"clusterUuid" kumo:"size=32,null,index"`
	ImageUUID            string `db:"imageUuid" kumo:"size=32,null,index"`
	HostUUID             string `db:"hostUuid" kumo:"size=32,null,index"`
	LastHostUUID         string `db:"lastHostUuid" kumo:"size=32,null" caption:"Last host|上次所在物理机"`
	InstanceOfferingUUID string `db:"instanceOfferingUuid" kumo:"size=32,null,index"`
	RootVolumeUUID       string `db:"rootVolumeUuid" kumo:"size=32,null,index" caption:"Root volume|系统盘"`
	Platform             string `db:"platform" kumo:"size=32,null"`
	Architecture         string `db:"architecture" kumo:"size=32,null"`
	DefaultL3NetworkUUID string `db:"defaultL3NetworkUuid" kumo:"size=32,null" caption:"Default L3 network|默认三层网络"`
	Type                 string `db:"type" kumo:"size=32"`
	HypervisorType       string `db:"hypervisorType" kumo:"size=32,null"`
	MemorySize           int64  `db:"memorySize"`
	ReservedMemorySize   int64  `db:"reservedMemorySize"`
	CPUNum               int64  `db:"cpuNum"`
	CPUSpeed             int64  `db:"cpuSpeed"`
	AllocatorStrategy    string `db:"allocatorStrategy" kumo:"size=64,null"`
	State                string `db:"state" kumo:"size=32,index" caption:"State|状态"`
	GuestOSType          string `db:"guestOsType" kumo:"size=255,null"`
	// NameClaim is defaultL3NetworkUuid:host name, in small letters, of a guest that
	// has the name in its default network: the unique index makes a double use
	// impossible. Its own UUID is there when the guest has a name made of its
	// address, or is destroyed; nothing of a guest that has not started since there are claims.
	NameClaim string `db:"nameClaim" kumo:"size=128,hidden,null,unique"`
	// DestroyDate is when the guest was destroyed; it is expunged by it.
	DestroyDate resource.Time `db:"destroyDate" kumo:"hidden,null"`
}

// VMCdRom is a CD-ROM drive of a guest, empty or with an ISO image.
type VMCdRom struct {
	resource.Base
	VMInstanceUUID string `db:"vmInstanceUuid" kumo:"size=32,index"`
	DeviceID       int64  `db:"deviceId"`
	ISOUUID        string `db:"isoUuid" kumo:"size=32,null" caption:"ISO image|ISO镜像"`
	ISOInstallPath string `db:"isoInstallPath" kumo:"size=2048,null" caption:"Path of the ISO|ISO路径"`
	Protocol       string `db:"protocol" kumo:"size=32,null" caption:"Protocol|协议"`
}

// VMProblem says what of a guest is not as it should be on its host, whatever its
// state.
type VMProblem struct {
	resource.Ref
	VMInstanceUUID string `db:"vmInstanceUuid" kumo:"size=32,index"`
	HostUUID       string `db:"hostUuid" kumo:"size=32,index"`
	Reason         string `db:"reason" kumo:"text" caption:"Reason|原因"`
}

// InstanceOffering is a named size of guests.
type InstanceOffering struct {
	resource.Base
	CPUNum             int64  `db:"cpuNum"`
	CPUSpeed           int64  `db:"cpuSpeed"`
	MemorySize         int64  `db:"memorySize"`
	ReservedMemorySize int64  `db:"reservedMemorySize"`
	Type               string `db:"type" kumo:"size=32"`
	AllocatorStrategy  string `db:"allocatorStrategy" kumo:"size=64"`
	SortKey            int64  `db:"sortKey"`
	State              string `db:"state" kumo:"size=32"`
}

// DiskOffering is a named size of volumes, in bytes.
type DiskOffering struct {
	resource.Base
	DiskSize          int64  `db:"diskSize"`
	SortKey           int64  `db:"sortKey"`
	State             string `db:"state" kumo:"size=32"`
	Type              string `db:"type" kumo:"size=32"`
	AllocatorStrategy string `db:"allocatorStrategy" kumo:"size=64"`
}

// The resource types of this service.
var (
	VMType = resource.Define[VMInstance](resource.Type{
		Name: "VmInstance", Path: "/vm-instances", FQN: "org.zstack.header.vm.VmInstanceInventory", Owned: true,
		States: vmStates,
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
			{Name: "cluster", To: "Cluster", Column: "clusterUuid", OnDelete: resource.Detach},
			{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Detach},
			{Name: "image", To: "Image", Column: "imageUuid"},
			{Name: "instanceOffering", To: "InstanceOffering", Column: "instanceOfferingUuid"},
			{Name: "rootVolume", To: "Volume", Column: "rootVolumeUuid", OnDelete: resource.Cascade},
			{Name: "vmNics", To: "VmNic", Column: "uuid", ToColumn: "vmInstanceUuid"},
			{Name: "allVolumes", To: "Volume", Column: "uuid", ToColumn: "vmInstanceUuid"},
			{Name: "vmCdRoms", To: "VmCdRom", Column: "uuid", ToColumn: "vmInstanceUuid"},
		},
		Embeds: []resource.Embed{
			{Name: "vmNics", Type: "VmNic", Column: "vmInstanceUuid", OrderBy: "deviceId"},
			{Name: "allVolumes", Type: "Volume", Column: "vmInstanceUuid", OrderBy: "deviceId"},
			{Name: "vmCdRoms", Type: "VmCdRom", Column: "vmInstanceUuid", OrderBy: "deviceId"},
			{Name: "problems", Type: "VmInstanceProblem", Column: "vmInstanceUuid", OrderBy: "createDate"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnumOf("VmState", Created, Starting, Running, Stopping, Stopped, Rebooting, Pausing, Paused, Resuming, Migrating,
			Destroying, Destroyed, Expunging, NoState, Unknown, Crashed), "platform": resource.Platform, "type": resource.EnumOf("VmInstance.type", "UserVm", "ApplianceVm")},
		View: resource.View{
			Caption: resource.Say("VM", "云主机"), Noun: "vm", Aliases: []string{"vm-instance"},
			Group: "compute", Order: 10, Icon: "vm", Context: []string{"vmNics.ip"}, Quotas: []string{"vm.num", "vm.totalNum", "vm.cpuNum", "vm.memorySize"},
			Doc:     resource.Say("A virtual machine.", "一台虚拟机。"),
			Columns: []string{"name", "state", "vmNics.ip", "cpuNum", "memorySize", "hostUuid", "createDate", "-zoneUuid", "-clusterUuid", "-imageUuid", "-instanceOfferingUuid", "-platform", "-type"},
			Search:  []string{"name", "vmNics.ip:ip", "vmNics.mac:mac"},
			Sections: []resource.Section{
				{Caption: resource.Say("Size", "规格"), Fields: []string{"instanceOfferingUuid", "cpuNum", "cpuSpeed", "memorySize", "reservedMemorySize"}},
				{Caption: resource.Say("Place", "位置"), Fields: []string{"zoneUuid", "clusterUuid", "hostUuid", "lastHostUuid", "allocatorStrategy"}},
				{Caption: resource.Say("System", "系统"), Fields: []string{"imageUuid", "rootVolumeUuid", "platform", "architecture", "guestOsType", "hypervisorType", "type"}},
				{Caption: resource.Say("Network", "网络"), Fields: []string{"defaultL3NetworkUuid"}},
			},
		},
	})
	CdRomType = resource.Define[VMCdRom](resource.Type{
		Name: "VmCdRom", OwnedBy: "vmInstance", Path: "/vm-instances/cdroms", FQN: "org.zstack.header.vm.cdrom.VmCdRomInventory",
		Edges: []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("CD-ROM drive", "光驱"), Noun: "cdrom", Aliases: []string{"vm-cd-rom"},
			Group: "compute", Icon: "cdrom", Part: true, Context: []string{"vmInstance.name"},
			Doc:     resource.Say("A CD-ROM drive of a VM, empty or with an ISO image.", "云主机的光驱，可为空或已加载 ISO 镜像。"),
			Columns: []string{"name", "vmInstanceUuid", "isoUuid", "deviceId"},
		},
	})
	ProblemType = resource.Define[VMProblem](resource.Type{
		Name: "VmInstanceProblem", OwnedBy: "vmInstance", Internal: true,
		Edges: []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("Problem", "问题"),
			Part:    true, Label: "reason",
		},
	})
	InstanceOfferingType = resource.Define[InstanceOffering](resource.Type{
		Name: "InstanceOffering", Readable: resource.Global, Path: "/instance-offerings",
		FQN:    "org.zstack.header.configuration.InstanceOfferingInventory",
		States: resource.EnableDisable,
		Edges:  []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "uuid", ToColumn: "instanceOfferingUuid"}},
		Enums:  map[string]*resource.Enum{"state": resource.EnabledState},
		View: resource.View{
			Caption: resource.Say("Instance offering", "计算规格"), Noun: "offering", Aliases: []string{"instance-offering"},
			Group: "compute", Order: 30, Icon: "offering", Context: []string{"cpuNum", "memorySize"},
			Doc:     resource.Say("A named size of VMs.", "云主机的 CPU 与内存规格。"),
			Columns: []string{"name", "state", "cpuNum", "memorySize", "-cpuSpeed", "-allocatorStrategy", "-createDate"},
		},
	})
	DiskOfferingType = resource.Define[DiskOffering](resource.Type{
		Name: "DiskOffering", Readable: resource.Global, Path: "/disk-offerings",
		FQN:    "org.zstack.header.configuration.DiskOfferingInventory",
		States: resource.EnableDisable,
		Edges:  []resource.Edge{{Name: "volume", To: "Volume", Column: "uuid", ToColumn: "diskOfferingUuid"}},
		Enums:  map[string]*resource.Enum{"state": resource.EnabledState},
		View: resource.View{
			Caption: resource.Say("Disk offering", "云盘规格"), Noun: "disk-offering",
			Group: "compute", Order: 40, Icon: "disk-offering", Context: []string{"diskSize"},
			Doc:     resource.Say("A named size of volumes.", "云盘的容量规格。"),
			Columns: []string{"name", "state", "diskSize", "-allocatorStrategy", "-createDate"},
		},
	})
)

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{VMType.Type, CdRomType.Type, ProblemType.Type, InstanceOfferingType.Type, DiskOfferingType.Type}
}
