package catalog

var l2 = Noun{
	Name: "l2", Plural: "layer-2 networks", Aliases: []string{"l2-network"}, Type: "L2Network", Path: "/l2-networks",
	Columns: columns(typeColumn, Column{Title: "INTERFACE", Path: "physicalInterface"}),
	Verbs: []Verb{
		{Name: "create", Short: "Create a layer-2 network", Creates: true, Variants: []Variant{
			{"no-vlan", create("/l2-networks/no-vlan", ref("zoneUuid", "zone", true),
				Param{Name: "physicalInterface", Required: true, Doc: "network card of every host, such as eth1"})},
		}},
		update("/l2-networks", "updateL2Network"),
		remove("delete", "Delete a layer-2 network and its layer-3 networks", "/l2-networks"),
	},
}

var l3 = Noun{
	Name: "l3", Plural: "layer-3 networks", Aliases: []string{"l3-network"}, Type: "L3Network", Path: "/l3-networks",
	Columns: columns(stateColumn, Column{Title: "CATEGORY", Path: "category"}, Column{Title: "RANGE", Path: "ipRanges.networkCidr"}, Column{Title: "DNS", Path: "dns"}),
	Verbs: join([]Verb{
		{Name: "create", Short: "Create a layer-3 network", Creates: true, Call: create("/l3-networks",
			ref("l2NetworkUuid", "l2", true),
			Param{Name: "category", Values: []string{"Private", "Public", "System"}, Doc: "what the network is for"},
			Param{Name: "system", Kind: Bool, Doc: "for the cloud's own use"},
			Param{Name: "dnsDomain", Doc: "domain of its guests"})},
		update("/l3-networks", "updateL3Network"),
		remove("delete", "Delete a layer-3 network", "/l3-networks"),
		{Name: "add-range", Short: "Give the network addresses for its guests", Call: Call{Method: "POST", Path: "/l3-networks/{uuid}/ip-ranges", Key: "params", Params: []Param{
			name(),
			{Name: "startIp", Required: true, Doc: "first address"},
			{Name: "endIp", Required: true, Doc: "last address"},
			{Name: "netmask", Required: true, Doc: "such as 255.255.255.0"},
			{Name: "gateway", Doc: "the guests' default gateway"},
		}}},
		{Name: "add-cidr", Short: "Give the network a whole block of addresses", Call: Call{Method: "POST", Path: "/l3-networks/{uuid}/ip-ranges/by-cidr", Key: "params", Params: []Param{
			name(),
			{Name: "networkCidr", Required: true, Doc: "such as 10.0.0.0/24"},
			{Name: "gateway", Doc: "the guests' default gateway"},
		}}},
		{Name: "add-dns", Short: "Add a name server for the guests", Call: Call{Method: "POST", Path: "/l3-networks/{uuid}/dns", Key: "params", Params: []Param{
			{Name: "dns", Required: true, Doc: "its address"},
		}}},
		{Name: "remove-dns", Short: "Remove a name server", Dangerous: true, Call: Call{Method: "DELETE", Path: "/l3-networks/{uuid}/dns/{dns}", Params: []Param{
			{Name: "dns", Required: true, Doc: "its address"},
		}}},
		{Name: "attach-service", Short: "Let a provider serve the network", Call: Call{Method: "POST", Path: "/l3-networks/{uuid}/network-services", Key: "params", Params: []Param{
			{Name: "networkServices", Kind: Map, Required: true, Doc: "PROVIDER-UUID=SERVICE,SERVICE; may be repeated"},
		}}},
	}, state("/l3-networks", "changeL3NetworkState", "enable", "disable")),
}

var ipRange = Noun{
	Name: "ip-range", Plural: "IP ranges", Type: "IpRange", Path: "/l3-networks/ip-ranges",
	Columns: columns(Column{Title: "START", Path: "startIp"}, Column{Title: "END", Path: "endIp"}, Column{Title: "GATEWAY", Path: "gateway"}, Column{Title: "L3", Path: "l3NetworkUuid"}),
	Verbs:   []Verb{remove("delete", "Take the range from its network", "/l3-networks/ip-ranges")},
}

var vm = Noun{
	Name: "vm", Plural: "VMs", Type: "VmInstance", Path: "/vm-instances",
	Columns: columns(stateColumn, Column{Title: "IP", Path: "vmNics.ip"}, Column{Title: "CPUS", Path: "cpuNum"}, Column{Title: "MEMORY", Path: "memorySize", Size: true}, Column{Title: "HOST", Path: "hostUuid"}),
	Verbs: []Verb{
		{Name: "create", Short: "Create a VM and start it", Creates: true, UserData: true, Call: create("/vm-instances",
			ref("instanceOfferingUuid", "offering", false),
			Param{Name: "cpuNum", Kind: Int, Doc: "processors, without an offering"},
			Param{Name: "memorySize", Kind: Size, Doc: "memory, without an offering"},
			ref("imageUuid", "image", true),
			Param{Name: "l3NetworkUuids", Kind: List, Ref: "l3", Required: true, Doc: "names or UUIDs of its networks"},
			ref("defaultL3NetworkUuid", "l3", false),
			Param{Name: "strategy", Values: []string{"InstantStart", "CreateStopped"}, Doc: "whether it starts at once"},
			ref("zoneUuid", "zone", false),
			ref("clusterUuid", "cluster", false),
			ref("hostUuid", "host", false),
			ref("primaryStorageUuidForRootVolume", "primary-storage", false),
			ref("rootDiskOfferingUuid", "disk-offering", false),
			Param{Name: "rootDiskSize", Kind: Size, Doc: "size of the root disk, for an ISO"},
			Param{Name: "dataDiskOfferingUuids", Kind: List, Ref: "disk-offering", Doc: "disk offerings of its data volumes"})},
		update("/vm-instances", "updateVmInstance"),
		action("start", "Start a stopped VM", "/vm-instances", "startVmInstance", ref("hostUuid", "host", false), ref("clusterUuid", "cluster", false)),
		action("stop", "Stop a VM in good order, or at once with --type cold", "/vm-instances", "stopVmInstance",
			Param{Name: "type", Values: []string{"grace", "cold"}, Doc: "grace presses the power button, cold cuts the power"}),
		action("reboot", "Start a running VM anew", "/vm-instances", "rebootVmInstance"),
		action("pause", "Freeze a running VM; it keeps its memory", "/vm-instances", "pauseVmInstance"),
		action("resume", "Let a paused VM go on", "/vm-instances", "resumeVmInstance"),
		remove("destroy", "Delete a VM; it can be recovered until it is expunged", "/vm-instances"),
		action("recover", "Take back the deletion of a VM", "/vm-instances", "recoverVmInstance"),
		dangerous(action("expunge", "Remove a deleted VM and its root disk for good", "/vm-instances", "expungeVmInstance")),
	},
}

var volume = Noun{
	Name: "volume", Plural: "volumes", Type: "Volume", Path: "/volumes",
	Columns: columns(typeColumn, stateColumn, statusColumn, Column{Title: "SIZE", Path: "size", Size: true}, Column{Title: "VM", Path: "vmInstanceUuid"}),
	Verbs: join([]Verb{
		update("/volumes", "updateVolume"),
		remove("delete", "Delete a data volume that no VM has; it can be recovered until it is expunged", "/volumes"),
		action("recover", "Take back the deletion of a data volume", "/volumes", "recoverDataVolume"),
		dangerous(action("expunge", "Remove a deleted data volume for good", "/volumes", "expungeDataVolume")),
	}, state("/volumes", "changeVolumeState", "enable", "disable")),
}

var tagColumns = []Column{{Title: "TAG", Path: "tag"}, {Title: "UUID", Path: "uuid"}, {Title: "ON", Path: "resourceType"}, {Title: "RESOURCE", Path: "resourceUuid"}}

func tagParams() []Param {
	return []Param{
		{Name: "resourceType", Required: true, Doc: "such as VmInstanceVO"},
		{Name: "resourceUuid", Required: true, Doc: "UUID of the resource"},
		{Name: "tag", Required: true, Doc: "text of the tag"},
	}
}

var tag = Noun{
	Name: "tag", Plural: "system tags", Aliases: []string{"system-tag"}, Type: "SystemTag", Path: "/system-tags",
	Columns: tagColumns,
	Verbs: []Verb{
		{Name: "create", Short: "Put a system tag, which changes behaviour, on a resource", Creates: true, Call: Call{Method: "POST", Path: "/system-tags", Key: "params", Params: tagParams()}},
		remove("delete", "Remove a tag", "/tags"),
	},
}

var userTag = Noun{
	Name: "user-tag", Plural: "user tags", Type: "UserTag", Path: "/user-tags",
	Columns: tagColumns,
	Verbs: []Verb{
		{Name: "create", Short: "Put a tag of your own on a resource", Creates: true, Call: Call{Method: "POST", Path: "/user-tags", Key: "params", Params: tagParams()}},
		remove("delete", "Remove a tag", "/tags"),
	},
}
