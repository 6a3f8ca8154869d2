package catalog

// Nouns is every noun of the command line, in the order in which a cloud is
// built.
var Nouns = []Noun{zone, cluster, host, primaryStorage, backupStorage, image, offering, diskOffering, l2, l3, ipRange, vm, volume, tag, userTag}

var (
	stateColumn  = Column{Title: "STATE", Path: "state"}
	statusColumn = Column{Title: "STATUS", Path: "status"}
	typeColumn   = Column{Title: "TYPE", Path: "type"}
)

var zone = Noun{
	Name: "zone", Plural: "zones", Type: "Zone", Path: "/zones",
	Columns: columns(stateColumn),
	Verbs: join([]Verb{
		{Name: "create", Short: "Create a zone", Creates: true, Call: create("/zones")},
		update("/zones", "updateZone"),
		remove("delete", "Delete a zone and all that is in it", "/zones"),
		link("attach-backup-storage", "Let the zone use a backup storage", "POST", "/zones/{uuid}/backup-storage/{backupStorageUuid}", "params", ref("backupStorageUuid", "backup-storage", true)),
		link("detach-backup-storage", "Take a backup storage from the zone", "DELETE", "/zones/{uuid}/backup-storage/{backupStorageUuid}", "", ref("backupStorageUuid", "backup-storage", true)),
	}, state("/zones", "changeZoneState", "enable", "disable")),
}

var cluster = Noun{
	Name: "cluster", Plural: "clusters", Type: "Cluster", Path: "/clusters",
	Columns: columns(stateColumn, Column{Title: "HYPERVISOR", Path: "hypervisorType"}),
	Verbs: join([]Verb{
		{Name: "create", Short: "Create a cluster in a zone", Creates: true, Call: create("/clusters",
			ref("zoneUuid", "zone", true),
			Param{Name: "hypervisorType", Required: true, Default: "KVM", Doc: "KVM or Simulator"},
			Param{Name: "architecture", Doc: "x86_64 or aarch64"})},
		update("/clusters", "updateCluster"),
		remove("delete", "Delete a cluster and its hosts", "/clusters"),
		link("attach-primary-storage", "Let the cluster use a primary storage", "POST", "/clusters/{uuid}/primary-storage/{primaryStorageUuid}", "params", ref("primaryStorageUuid", "primary-storage", true)),
		link("detach-primary-storage", "Take a primary storage from the cluster", "DELETE", "/clusters/{uuid}/primary-storage/{primaryStorageUuid}", "", ref("primaryStorageUuid", "primary-storage", true)),
		link("attach-l2", "Build a layer-2 network on the cluster's hosts", "POST", "/l2-networks/{l2NetworkUuid}/clusters/{uuid}", "null", ref("l2NetworkUuid", "l2", true)),
		link("detach-l2", "Remove a layer-2 network from the cluster's hosts", "DELETE", "/l2-networks/{l2NetworkUuid}/clusters/{uuid}", "", ref("l2NetworkUuid", "l2", true)),
	}, state("/clusters", "changeClusterState", "enable", "disable")),
}

var host = Noun{
	Name: "host", Plural: "hosts", Type: "Host", Path: "/hosts",
	Columns: columns(Column{Title: "ADDRESS", Path: "managementIp"}, stateColumn, statusColumn, Column{Title: "HYPERVISOR", Path: "hypervisorType"}),
	Verbs: join([]Verb{
		{Name: "create", Aliases: []string{"add"}, Short: "Add a host to a cluster", Creates: true, Variants: []Variant{
			{"kvm", create("/hosts/kvm",
				ref("clusterUuid", "cluster", true),
				Param{Name: "managementIp", Required: true, Doc: "address by which the host is reached; 127.0.0.1 is this machine"},
				Param{Name: "username", Required: true, Default: "root", Doc: "SSH user"},
				Param{Name: "password", Required: true, Secret: true, Doc: "SSH password"},
				Param{Name: "sshPort", Kind: Int, Doc: "SSH port"})},
			{"simulator", create("/hosts/simulators",
				ref("clusterUuid", "cluster", true),
				Param{Name: "managementIp", Required: true, Doc: "any address that no other host has"},
				Param{Name: "cpuCapacity", Kind: Int, Required: true, Doc: "processors"},
				Param{Name: "memoryCapacity", Kind: Size, Required: true, Doc: "memory"})},
		}},
		update("/hosts", "updateHost", Param{Name: "managementIp", Doc: "new address"}),
		remove("delete", "Stop the host's VMs and delete it", "/hosts"),
		action("reconnect", "Connect to the host again and check it", "/hosts", "reconnectHost"),
	}, state("/hosts", "changeHostState", "enable", "disable", "maintain")),
}

var primaryStorage = Noun{
	Name: "primary-storage", Plural: "primary storages", Aliases: []string{"ps"}, Type: "PrimaryStorage", Path: "/primary-storage",
	Columns: columns(typeColumn, stateColumn, statusColumn, Column{Title: "AVAILABLE", Path: "availableCapacity", Size: true}, Column{Title: "TOTAL", Path: "totalCapacity", Size: true}),
	Verbs: join([]Verb{
		{Name: "create", Aliases: []string{"add"}, Short: "Add a primary storage to a zone", Creates: true, Variants: []Variant{
			{"local", create("/primary-storage/local-storage", ref("zoneUuid", "zone", true),
				Param{Name: "url", Required: true, Doc: "folder on every host of the clusters"})},
			{"simulator", create("/primary-storage/simulators", ref("zoneUuid", "zone", true),
				Param{Name: "url", Required: true, Doc: "any text"},
				Param{Name: "totalCapacity", Kind: Size, Doc: "size"},
				Param{Name: "availableCapacity", Kind: Size, Doc: "free size"},
				Param{Name: "totalPhysicalCapacity", Kind: Size, Doc: "size of its disks"},
				Param{Name: "availablePhysicalCapacity", Kind: Size, Doc: "free size of its disks"})},
		}},
		update("/primary-storage", "updatePrimaryStorage"),
		remove("delete", "Delete a primary storage that no cluster uses", "/primary-storage"),
	}, state("/primary-storage", "changePrimaryStorageState", "enable", "disable", "maintain")),
}

var backupStorage = Noun{
	Name: "backup-storage", Plural: "backup storages", Aliases: []string{"bs"}, Type: "BackupStorage", Path: "/backup-storage",
	Columns: columns(typeColumn, stateColumn, statusColumn, Column{Title: "AVAILABLE", Path: "availableCapacity", Size: true}, Column{Title: "TOTAL", Path: "totalCapacity", Size: true}),
	Verbs: join([]Verb{
		{Name: "create", Aliases: []string{"add"}, Short: "Add a backup storage", Creates: true, Variants: []Variant{
			{"image-store", create("/backup-storage/image-store",
				Param{Name: "url", Required: true, Doc: "folder of the store"},
				Param{Name: "hostname", Required: true, Default: "127.0.0.1", Doc: "machine that has the folder"},
				Param{Name: "username", Required: true, Default: "root", Doc: "SSH user"},
				Param{Name: "password", Required: true, Secret: true, Doc: "SSH password"},
				Param{Name: "sshPort", Kind: Int, Doc: "SSH port"})},
			{"simulator", create("/backup-storage/simulators",
				Param{Name: "url", Required: true, Doc: "any text"},
				Param{Name: "totalCapacity", Kind: Size, Doc: "size"},
				Param{Name: "availableCapacity", Kind: Size, Doc: "free size"})},
		}},
		update("/backup-storage", "updateBackupStorage"),
		remove("delete", "Delete a backup storage", "/backup-storage"),
	}, state("/backup-storage", "changeBackupStorageState", "enable", "disable")),
}

// imageParams are those of all ways to add an image.
var imageParams = []Param{
	{Name: "backupStorageUuids", Kind: List, Ref: "backup-storage", Required: true, Doc: "names or UUIDs of the backup storages"},
	{Name: "mediaType", Values: []string{"RootVolumeTemplate", "DataVolumeTemplate", "ISO"}, Doc: "what the image is for"},
	{Name: "platform", Values: []string{"Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"}, Doc: "system in the image"},
	{Name: "guestOsType", Doc: "system in the image, for people"},
	{Name: "architecture", Doc: "x86_64 or aarch64"},
	{Name: "virtio", Kind: Bool, Doc: "the system has virtio drivers"},
}

var image = Noun{
	Name: "image", Plural: "images", Type: "Image", Path: "/images",
	Columns: columns(stateColumn, statusColumn, Column{Title: "MEDIA", Path: "mediaType"}, Column{Title: "FORMAT", Path: "format"}, Column{Title: "SIZE", Path: "size", Size: true}),
	Verbs: join([]Verb{
		{Name: "create", Aliases: []string{"add"}, Short: "Add an image from a URL", Creates: true, Call: create("/images",
			append([]Param{{Name: "url", Required: true, Doc: "http, https or file address of the image"},
				{Name: "format", Required: true, Default: "qcow2", Doc: "qcow2, raw or iso"}}, imageParams...)...)},
		{Name: "upload", Short: "Add an image from a file of this machine", Creates: true, Uploads: true, Call: create("/images",
			append([]Param{{Name: "format", Doc: "qcow2, raw or iso (default: what the file is)"}}, imageParams...)...)},
		update("/images", "updateImage", Param{Name: "guestOsType", Doc: "system in the image, for people"}, Param{Name: "platform", Doc: "system in the image"}),
		remove("delete", "Delete an image; it can be recovered until it is expunged", "/images"),
		action("recover", "Take back the deletion of an image", "/images", "recoverImage"),
		dangerous(action("expunge", "Remove a deleted image for good", "/images", "expungeImage")),
	}, state("/images", "changeImageState", "enable", "disable")),
}

var offering = Noun{
	Name: "offering", Plural: "instance offerings", Aliases: []string{"instance-offering"}, Type: "InstanceOffering", Path: "/instance-offerings",
	Columns: columns(stateColumn, Column{Title: "CPUS", Path: "cpuNum"}, Column{Title: "MEMORY", Path: "memorySize", Size: true}),
	Verbs: join([]Verb{
		{Name: "create", Short: "Create an instance offering", Creates: true, Call: create("/instance-offerings",
			Param{Name: "cpuNum", Kind: Int, Required: true, Doc: "processors"},
			Param{Name: "memorySize", Kind: Size, Required: true, Doc: "memory, such as 512M"})},
		update("/instance-offerings", "updateInstanceOffering"),
		remove("delete", "Delete an instance offering", "/instance-offerings"),
	}, state("/instance-offerings", "changeInstanceOfferingState", "enable", "disable")),
}

var diskOffering = Noun{
	Name: "disk-offering", Plural: "disk offerings", Type: "DiskOffering", Path: "/disk-offerings",
	Columns: columns(stateColumn, Column{Title: "SIZE", Path: "diskSize", Size: true}),
	Verbs: join([]Verb{
		{Name: "create", Short: "Create a disk offering", Creates: true, Call: create("/disk-offerings",
			Param{Name: "diskSize", Kind: Size, Required: true, Doc: "size, such as 10G"})},
		update("/disk-offerings", "updateDiskOffering"),
		remove("delete", "Delete a disk offering", "/disk-offerings"),
	}, state("/disk-offerings", "changeDiskOfferingState", "enable", "disable")),
}
