package image

import "github.com/kumo-cloud/kumo/core/resource"

// States and statuses of backup storages and images, as on the wire
// (spec: compute and storage, sections 5 and 6).
const (
	Enabled  = "Enabled"
	Disabled = "Disabled"

	Connecting   = "Connecting"
	Connected    = "Connected"
	Disconnected = "Disconnected"

	Creating    = "Creating"
	Downloading = "Downloading"
	Ready       = "Ready"
	Deleted     = "Deleted"

	RootVolumeTemplate = "RootVolumeTemplate"
	DataVolumeTemplate = "DataVolumeTemplate"
	ISO                = "ISO"
)

// BackupStorage keeps images. Capacities are physical bytes.
type BackupStorage struct {
	resource.Base
	URL               string `db:"url" kumo:"size=2048"`
	TotalCapacity     int64  `db:"totalCapacity"`
	AvailableCapacity int64  `db:"availableCapacity"`
	Type              string `db:"type" kumo:"size=64"`
	State             string `db:"state" kumo:"size=32"`
	Status            string `db:"status" kumo:"size=32"`
}

// BackupStorageZoneRef attaches a backup storage to a zone.
type BackupStorageZoneRef struct {
	resource.Ref
	BackupStorageUUID string `db:"backupStorageUuid" kumo:"size=32,index"`
	ZoneUUID          string `db:"zoneUuid" kumo:"size=32,index"`
}

// Image is a template of disks, or an ISO. Size is what a guest sees, actual
// size what the store keeps, both in bytes.
type Image struct {
	resource.Base
	resource.Owned
	State        string `db:"state" kumo:"size=32"`
	Status       string `db:"status" kumo:"size=32"`
	Size         int64  `db:"size" kumo:"null"`
	ActualSize   int64  `db:"actualSize" kumo:"null"`
	MD5Sum       string `db:"md5Sum" kumo:"size=64,null" caption:"MD5|MD5校验值"`
	URL          string `db:"url" kumo:"size=1024,null"`
	MediaType    string `db:"mediaType" kumo:"size=32"`
	GuestOSType  string `db:"guestOsType" kumo:"size=255,null"`
	Type         string `db:"type" kumo:"size=32"`
	Platform     string `db:"platform" kumo:"size=32,null"`
	Architecture string `db:"architecture" kumo:"size=32,null"`
	Format       string `db:"format" kumo:"size=32"`
	System       bool   `db:"system" caption:"System image|系统自带"`
	UsualDrivers bool   `db:"virtio" caption:"Paravirtual devices|半虚拟化驱动"`
}

// ImageBackupStorageRef is one copy of an image in a store.
type ImageBackupStorageRef struct {
	resource.Ref
	ImageUUID         string `db:"imageUuid" kumo:"size=32,index"`
	BackupStorageUUID string `db:"backupStorageUuid" kumo:"size=32,index"`
	InstallPath       string `db:"installPath" kumo:"size=2048,null"`
	Status            string `db:"status" kumo:"size=32"`
	ExportMD5         string `db:"exportMd5Sum" kumo:"size=64,null" caption:"MD5 of the export|导出文件MD5"`
	ExportURL         string `db:"exportUrl" kumo:"size=2048,null" caption:"Export URL|导出地址"`
	// Expunging is set before the bits are deleted: what has begun cannot be
	// recovered.
	Expunging bool `db:"expunging" kumo:"hidden"`
}

// The resource types of this service.
var (
	BackupStorageType = resource.Define[BackupStorage](resource.Type{
		Name: "BackupStorage", Readable: resource.Global, Path: "/backup-storage",
		FQN:           "org.zstack.header.storage.backup.BackupStorageInventory",
		Discriminator: "type",
		States:        resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "zoneRef", To: "BackupStorageZoneRef", Column: "uuid", ToColumn: "backupStorageUuid", Hidden: true},
			{Name: "imageRef", To: "ImageBackupStorageRef", Column: "uuid", ToColumn: "backupStorageUuid", Hidden: true},
		},
		Aliases: []resource.Alias{{Name: "zone", Path: "zoneRef.zone"}, {Name: "image", Path: "imageRef.image"}},
		Embeds: []resource.Embed{
			{Name: "attachedZoneUuids", Type: "BackupStorageZoneRef", Column: "backupStorageUuid", Scalar: "zoneUuid"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnabledState, "status": resource.ConnectionStatus},
		View: resource.View{
			Caption: resource.Say("Backup storage", "镜像服务器"), Plural: resource.Say("Backup storages", "镜像服务器"), Noun: "backup-storage", Aliases: []string{"bs"},
			Group: "storage", Order: 50, Icon: "backup-storage",
			Doc:     resource.Say("Where images are kept.", "存放镜像的服务器。"),
			Columns: []string{"name", "state", "status", "type", "availableCapacity%totalCapacity", "url", "-createDate"},
		},
	})
	ZoneRefType = resource.Define[BackupStorageZoneRef](resource.Type{
		Name: "BackupStorageZoneRef", Readable: resource.Global, FQN: "org.zstack.header.storage.backup.BackupStorageZoneRefInventory", Internal: true,
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
			{Name: "backupStorage", To: "BackupStorage", Column: "backupStorageUuid", OnDelete: resource.Cascade},
		},
		View: resource.View{
			Caption: resource.Say("Attachment to a zone", "区域加载"),
			Part:    true, Label: "backupStorageUuid",
		},
	})
	ImageType = resource.Define[Image](resource.Type{
		Name: "Image", Path: "/images", FQN: "org.zstack.header.image.ImageInventory", Owned: true,
		States: resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "backupStorageRef", To: "ImageBackupStorageRef", Column: "uuid", ToColumn: "imageUuid", Hidden: true},
			{Name: "volume", To: "Volume", Column: "uuid", ToColumn: "rootImageUuid"},
		},
		Aliases: []resource.Alias{{Name: "backupStorage", Path: "backupStorageRef.backupStorage"}},
		Embeds: []resource.Embed{
			{Name: "backupStorageRefs", Type: "ImageBackupStorageRef", Column: "imageUuid", OrderBy: "createDate"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnabledState, "status": resource.EnumOf("ImageStatus", Creating, Downloading, Ready, Deleted), "mediaType": resource.EnumOf("MediaType", RootVolumeTemplate, DataVolumeTemplate, ISO), "platform": resource.Platform},
		View: resource.View{
			Caption: resource.Say("Image", "镜像"), Noun: "image",
			Group: "compute", Order: 20, Icon: "image", Context: []string{"platform", "architecture"}, Quotas: []string{"image.num", "image.size"},
			Doc:     resource.Say("What a VM's volumes begin as, or a CD-ROM.", "云盘的初始内容，或光盘。"),
			Columns: []string{"name", "state", "status", "mediaType", "platform", "size", "format", "-actualSize", "-architecture", "createDate"},
		},
	})
	ImageRefType = resource.Define[ImageBackupStorageRef](resource.Type{
		Name: "ImageBackupStorageRef", OwnedBy: "image", FQN: "org.zstack.header.image.ImageBackupStorageRefInventory", Internal: true,
		Edges: []resource.Edge{
			{Name: "image", To: "Image", Column: "imageUuid", OnDelete: resource.Cascade},
			{Name: "backupStorage", To: "BackupStorage", Column: "backupStorageUuid", OnDelete: resource.Cascade},
		},
		Enums: map[string]*resource.Enum{"status": resource.EnumOf("ImageStatus", Creating, Downloading, Ready, Deleted)},
		View: resource.View{
			Caption: resource.Say("Copy of an image", "镜像副本"), Plural: resource.Say("Copies", "副本"),
			Part: true, Label: "backupStorageUuid",
		},
	})
)

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{BackupStorageType.Type, ZoneRefType.Type, ImageType.Type, ImageRefType.Type}
}
