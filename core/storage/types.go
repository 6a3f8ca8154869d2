package storage

import "github.com/kumo-cloud/kumo/core/resource"

// States and statuses of primary storages and volumes, as on the wire
// (spec: compute and storage, sections 3 and 7).
const (
	Enabled     = "Enabled"
	Disabled    = "Disabled"
	Maintenance = "Maintenance"
	Deleting    = "Deleting"

	Connecting   = "Connecting"
	Connected    = "Connected"
	Disconnected = "Disconnected"

	VolumeCreating = "Creating"
	VolumeReady    = "Ready"
	VolumeDeleted  = "Deleted"

	RootVolume = "Root"
	DataVolume = "Data"
)

// PrimaryStorage keeps volumes. Capacities are bytes; available is what may
// still be promised to volumes, physical what the medium has.
type PrimaryStorage struct {
	resource.Base
	ZoneUUID          string `db:"zoneUuid" kumo:"size=32,index"`
	URL               string `db:"url" kumo:"size=2048"`
	TotalCapacity     int64  `db:"totalCapacity"`
	AvailableCapacity int64  `db:"availableCapacity" kumo:"volatile"`
	TotalPhysical     int64  `db:"totalPhysicalCapacity"`
	AvailablePhysical int64  `db:"availablePhysicalCapacity"`
	SystemUsed        int64  `db:"systemUsedCapacity" kumo:"null" caption:"Used by the system|系统占用容量"`
	Type              string `db:"type" kumo:"size=64"`
	State             string `db:"state" kumo:"size=32"`
	Status            string `db:"status" kumo:"size=32"`
	MountPath         string `db:"mountPath" kumo:"size=2048,null"`
}

// PrimaryStorageClusterRef attaches a storage to a cluster.
type PrimaryStorageClusterRef struct {
	resource.Ref
	ClusterUUID        string `db:"clusterUuid" kumo:"size=32,index"`
	PrimaryStorageUUID string `db:"primaryStorageUuid" kumo:"size=32,index"`
}

// PrimaryStorageHostRef is a storage's link to a host; for storages that keep
// each volume on one host, it has the capacity there, in bytes.
type PrimaryStorageHostRef struct {
	resource.Ref
	PrimaryStorageUUID string `db:"primaryStorageUuid" kumo:"size=32"`
	HostUUID           string `db:"hostUuid" kumo:"size=32,index"`
	Status             string `db:"status" kumo:"size=32"`
	TotalCapacity      int64  `db:"totalCapacity"`
	AvailableCapacity  int64  `db:"availableCapacity" kumo:"volatile"`
	TotalPhysical      int64  `db:"totalPhysicalCapacity"`
	AvailablePhysical  int64  `db:"availablePhysicalCapacity"`
	// Fresh is set while the host has never had the storage: nothing is expected to
	// be there.
	Fresh bool `db:"fresh" kumo:"hidden"`
}

// Volume is a disk of a guest, or one that waits for a guest.
type Volume struct {
	resource.Base
	resource.Owned
	PrimaryStorageUUID string        `db:"primaryStorageUuid" kumo:"size=32,null,index"`
	VMInstanceUUID     string        `db:"vmInstanceUuid" kumo:"size=32,null,index"`
	DiskOfferingUUID   string        `db:"diskOfferingUuid" kumo:"size=32,null,index"`
	RootImageUUID      string        `db:"rootImageUuid" kumo:"size=32,null,index" caption:"Image|镜像"`
	InstallPath        string        `db:"installPath" kumo:"size=2048,null"`
	Type               string        `db:"type" kumo:"size=32"`
	Format             string        `db:"format" kumo:"size=32,null"`
	Size               int64         `db:"size"`
	ActualSize         int64         `db:"actualSize" kumo:"null"`
	DeviceID           int64         `db:"deviceId"`
	State              string        `db:"state" kumo:"size=32"`
	Status             string        `db:"status" kumo:"size=32"`
	IsShareable        bool          `db:"isShareable" caption:"Shareable|可共享"`
	LastDetachDate     resource.Time `db:"lastDetachDate" kumo:"null" caption:"Last detached|最近卸载时间"`
	LastVMInstanceUUID string        `db:"lastVmInstanceUuid" kumo:"size=32,null" caption:"Last VM|上次所属云主机"`
	LastAttachDate     resource.Time `db:"lastAttachDate" kumo:"null" caption:"Last attached|最近加载时间"`
	// HostUUID is set for volumes on host-local storage.
	HostUUID string `db:"hostUuid" kumo:"size=32,hidden,index,null"`
	// Expunging is set before the bits are deleted: what has begun cannot be
	// recovered.
	Expunging bool `db:"expunging" kumo:"hidden"`
}

// ImageCache is an image in the cache of a storage (on one host, for
// host-local storages). Its size is physical bytes.
type ImageCache struct {
	resource.Ref
	PrimaryStorageUUID string `db:"primaryStorageUuid" kumo:"size=32,index"`
	HostUUID           string `db:"hostUuid" kumo:"size=32,hidden,null,index"`
	ImageUUID          string `db:"imageUuid" kumo:"size=32"`
	InstallURL         string `db:"installUrl" kumo:"size=2048"`
	MediaType          string `db:"mediaType" kumo:"size=64,null"`
	Size               int64  `db:"size"`
	State              string `db:"state" kumo:"size=32"`
}

// The resource types of this service.
var (
	PrimaryStorageType = resource.Define[PrimaryStorage](resource.Type{
		Name: "PrimaryStorage", Readable: resource.Global, Path: "/primary-storage",
		FQN:           "org.zstack.header.storage.primary.PrimaryStorageInventory",
		Discriminator: "type",
		States: &resource.StateMachine{Column: "state", Moves: map[string]map[string]string{
			"enable":   {Enabled: Enabled, Disabled: Enabled, Maintenance: Enabled, Deleting: Enabled},
			"disable":  {Enabled: Disabled, Disabled: Disabled, Maintenance: Disabled, Deleting: Disabled},
			"maintain": {Enabled: Maintenance, Disabled: Maintenance, Maintenance: Maintenance, Deleting: Maintenance},
			"deleting": {Enabled: Deleting, Disabled: Deleting, Maintenance: Deleting, Deleting: Deleting},
		}},
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
			{Name: "volume", To: "Volume", Column: "uuid", ToColumn: "primaryStorageUuid"},
			{Name: "clusterRef", To: "PrimaryStorageClusterRef", Column: "uuid", ToColumn: "primaryStorageUuid", Hidden: true},
		},
		Aliases: []resource.Alias{{Name: "cluster", Path: "clusterRef.cluster"}},
		Embeds: []resource.Embed{
			{Name: "attachedClusterUuids", Type: "PrimaryStorageClusterRef", Column: "primaryStorageUuid", Scalar: "clusterUuid"},
		},
		Enums: map[string]*resource.Enum{"status": resource.ConnectionStatus},
		View: resource.View{
			Caption: resource.Say("Primary storage", "主存储"), Plural: resource.Say("Primary storages", "主存储"), Noun: "primary-storage", Aliases: []string{"ps"},
			Group: "storage", Order: 40, Icon: "primary-storage",
			Doc:     resource.Say("Where the volumes of VMs are.", "存放云盘的存储。"),
			Columns: []string{"name", "state", "status", "type", "availableCapacity%totalCapacity", "url", "zoneUuid", "-createDate"},
		},
	})
	ClusterRefType = resource.Define[PrimaryStorageClusterRef](resource.Type{
		Name: "PrimaryStorageClusterRef", Readable: resource.Global, FQN: "org.zstack.header.storage.primary.PrimaryStorageClusterRefInventory", Internal: true,
		Edges: []resource.Edge{
			{Name: "cluster", To: "Cluster", Column: "clusterUuid", OnDelete: resource.Cascade},
			{Name: "primaryStorage", To: "PrimaryStorage", Column: "primaryStorageUuid", OnDelete: resource.Cascade},
		},
		View: resource.View{
			Caption: resource.Say("Attachment to a cluster", "集群加载"),
			Part:    true, Label: "primaryStorageUuid",
		},
	})
	HostRefType = resource.Define[PrimaryStorageHostRef](resource.Type{
		Name: "PrimaryStorageHostRef", Readable: resource.Admin, FQN: "org.zstack.header.storage.primary.PrimaryStorageHostRefInventory", Internal: true,
		Indexes: []resource.Index{{Columns: []string{"primaryStorageUuid", "hostUuid"}}},
		Edges: []resource.Edge{
			{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade},
			{Name: "primaryStorage", To: "PrimaryStorage", Column: "primaryStorageUuid", OnDelete: resource.Cascade},
		},
	})
	VolumeType = resource.Define[Volume](resource.Type{
		Name: "Volume", Follows: "vmInstanceUuid", Path: "/volumes", FQN: "org.zstack.header.volume.VolumeInventory", Owned: true,
		States: resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid"},
			{Name: "diskOffering", To: "DiskOffering", Column: "diskOfferingUuid", OnDelete: resource.Detach},
			{Name: "primaryStorage", To: "PrimaryStorage", Column: "primaryStorageUuid", OnDelete: resource.Cascade},
			{Name: "image", To: "Image", Column: "rootImageUuid"},
			// What is on a host's own disks goes with the host.
			{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade, Hidden: true},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnabledState, "status": resource.EnumOf("VolumeStatus", "NotInstantiated", VolumeCreating, VolumeReady, VolumeDeleted), "type": resource.EnumOf("VolumeType", RootVolume, DataVolume)},
		View: resource.View{
			Caption: resource.Say("Volume", "云盘"), Noun: "volume", Aliases: []string{"data-volume"},
			Group: "storage", Order: 10, Icon: "volume", Quotas: []string{"volume.data.num", "volume.capacity"},
			Doc:     resource.Say("A disk of a VM, or one that waits for a VM.", "云主机的磁盘，或等待加载的磁盘。"),
			Columns: []string{"name", "state", "status", "type", "size", "vmInstanceUuid", "primaryStorageUuid", "-actualSize", "-format", "-createDate"},
		},
	})
	ImageCacheType = resource.Define[ImageCache](resource.Type{
		Name: "ImageCache", Readable: resource.Admin, FQN: "org.zstack.header.storage.primary.ImageCacheInventory", Internal: true,
		Indexes: []resource.Index{{Columns: []string{"imageUuid", "primaryStorageUuid", "hostUuid"}}},
		Edges: []resource.Edge{
			{Name: "primaryStorage", To: "PrimaryStorage", Column: "primaryStorageUuid", OnDelete: resource.Cascade},
			{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade},
		},
	})
)

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{PrimaryStorageType.Type, ClusterRefType.Type, HostRefType.Type, VolumeType.Type, ImageCacheType.Type}
}
