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
	LastHostUUID         string `db:"lastHostUuid" kumo:"size=32,null"`
	InstanceOfferingUUID string `db:"instanceOfferingUuid" kumo:"size=32,null,index"`
	RootVolumeUUID       string `db:"rootVolumeUuid" kumo:"size=32,null,index"`
	Platform             string `db:"platform" kumo:"size=32,null"`
	Architecture         string `db:"architecture" kumo:"size=32,null"`
	DefaultL3NetworkUUID string `db:"defaultL3NetworkUuid" kumo:"size=32,null"`
	Type                 string `db:"type" kumo:"size=32"`
	HypervisorType       string `db:"hypervisorType" kumo:"size=32,null"`
	MemorySize           int64  `db:"memorySize"`
	ReservedMemorySize   int64  `db:"reservedMemorySize"`
	CPUNum               int64  `db:"cpuNum"`
	CPUSpeed             int64  `db:"cpuSpeed"`
	AllocatorStrategy    string `db:"allocatorStrategy" kumo:"size=64,null"`
	State                string `db:"state" kumo:"size=32,index"`
	GuestOSType          string `db:"guestOsType" kumo:"size=255,null"`
	// DestroyDate is when the guest was destroyed; it is expunged by it.
	DestroyDate resource.Time `db:"destroyDate" kumo:"hidden,null"`
}

// VMCdRom is a CD-ROM drive of a guest, empty or with an ISO image.
type VMCdRom struct {
	resource.Base
	VMInstanceUUID string `db:"vmInstanceUuid" kumo:"size=32,index"`
	DeviceID       int64  `db:"deviceId"`
	ISOUUID        string `db:"isoUuid" kumo:"size=32,null"`
	ISOInstallPath string `db:"isoInstallPath" kumo:"size=2048,null"`
	Protocol       string `db:"protocol" kumo:"size=32,null"`
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
		},
	})
	CdRomType = resource.Define[VMCdRom](resource.Type{
		Name: "VmCdRom", OwnedBy: "vmInstance", Path: "/vm-instances/cdroms", FQN: "org.zstack.header.vm.cdrom.VmCdRomInventory",
		Edges: []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid", OnDelete: resource.Cascade}},
	})
	InstanceOfferingType = resource.Define[InstanceOffering](resource.Type{
		Name: "InstanceOffering", Readable: resource.Global, Path: "/instance-offerings",
		FQN:    "org.zstack.header.configuration.InstanceOfferingInventory",
		States: offeringStates,
		Edges:  []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "uuid", ToColumn: "instanceOfferingUuid"}},
	})
	DiskOfferingType = resource.Define[DiskOffering](resource.Type{
		Name: "DiskOffering", Readable: resource.Global, Path: "/disk-offerings",
		FQN:    "org.zstack.header.configuration.DiskOfferingInventory",
		States: offeringStates,
		Edges:  []resource.Edge{{Name: "volume", To: "Volume", Column: "uuid", ToColumn: "diskOfferingUuid"}},
	})
)

var offeringStates = &resource.StateMachine{Column: "state", Moves: map[string]map[string]string{
	"enable":  {"Enabled": "Enabled", "Disabled": "Enabled"},
	"disable": {"Enabled": "Disabled", "Disabled": "Disabled"},
}}

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{VMType.Type, CdRomType.Type, InstanceOfferingType.Type, DiskOfferingType.Type}
}
