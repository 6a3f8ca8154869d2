package topology

import "github.com/kumo-cloud/kumo/core/resource"

// States and statuses of zones, clusters and hosts, as on the wire
// (spec: compute and storage, section 1).
const (
	Enabled        = "Enabled"
	Disabled       = "Disabled"
	PreMaintenance = "PreMaintenance"
	Maintenance    = "Maintenance"

	Connecting   = "Connecting"
	Connected    = "Connected"
	Disconnected = "Disconnected"
)

// Zone is a site: the outermost container of clusters, storages and networks.
type Zone struct {
	resource.Base
	State     string `db:"state" kumo:"size=32"`
	Type      string `db:"type" kumo:"size=32"`
	IsDefault bool   `db:"isDefault" caption:"Default|默认"`
}

// Cluster is a group of like hosts in a zone.
type Cluster struct {
	resource.Base
	ZoneUUID       string `db:"zoneUuid" kumo:"size=32,index"`
	State          string `db:"state" kumo:"size=32"`
	HypervisorType string `db:"hypervisorType" kumo:"size=32"`
	Type           string `db:"type" kumo:"size=32"`
	Architecture   string `db:"architecture" kumo:"size=32,null"`
}

// Host is a machine that runs guests. What a hypervisor needs beyond these
// fields is a subtype that its plugin declares. Capacities: CPU in virtual
// processors after over-provisioning, memory in bytes.
type Host struct {
	resource.Base
	ZoneUUID        string `db:"zoneUuid" kumo:"size=32,index"`
	ClusterUUID     string `db:"clusterUuid" kumo:"size=32"`
	ManagementIP    string `db:"managementIp" kumo:"size=255,unique,holds=host" caption:"Management IP|管理IP"`
	HypervisorType  string `db:"hypervisorType" kumo:"size=32"`
	State           string `db:"state" kumo:"size=32"`
	Status          string `db:"status" kumo:"size=32"`
	TotalCPU        int64  `db:"totalCpuCapacity" caption:"CPU capacity|CPU总量"`
	AvailableCPU    int64  `db:"availableCpuCapacity" kumo:"volatile" caption:"Free CPU|可用CPU"`
	CPUSockets      int64  `db:"cpuSockets" caption:"CPU sockets|CPU插槽数"`
	TotalMemory     int64  `db:"totalMemoryCapacity" caption:"Memory capacity|内存总量"`
	AvailableMemory int64  `db:"availableMemoryCapacity" kumo:"volatile" caption:"Free memory|可用内存"`
	CPUNum          int64  `db:"cpuNum"`
	Architecture    string `db:"architecture" kumo:"size=32,null"`
	// Lot is a random number: hosts in the order of their lots are in no order
	// (UUIDs tell when they were made), so the allocator draws by it.
	Lot int64 `db:"lot" kumo:"hidden"`
	// Guests counts the guests that hold room on the host.
	Guests int64 `db:"guests" kumo:"hidden,volatile"`
	// CPUMHz is the speed of one processor, for the guests' cpuSpeed.
	CPUMHz int64 `db:"cpuMHz" kumo:"hidden"`
}

// States of a host's checks.
const (
	CheckOK      = "Ok"
	CheckFailed  = "Failed"
	CheckUnknown = "Unknown"
)

// HostCheck is one thing that a host needs or should have, and what was found when
// it was looked at last. A host is Connected while all that are required hold; the
// others are only shown.
type HostCheck struct {
	UUID     string `db:"uuid" kumo:"size=32,immutable"`
	HostUUID string `db:"hostUuid" kumo:"size=32,immutable"`
	Name     string `db:"name" kumo:"size=128,immutable"`
	// ResourceUUID is what it is about, such as a storage; "" for the host itself.
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,immutable"`
	Required     bool   `db:"required" caption:"Required|必需"`
	State        string `db:"state" kumo:"size=32" caption:"State|状态"`
	Reason       string `db:"reason" kumo:"text,null" caption:"Reason|原因"`
	// SinceDate is when it came into its state, LastOpDate when it was looked at
	// last, to about a minute.
	SinceDate  resource.Time `db:"sinceDate" caption:"Since|起始时间"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate resource.Time `db:"lastOpDate" kumo:"volatile" caption:"Last seen|最近检查"`
}

// The resource types of this service.
var (
	ZoneType = resource.Define[Zone](resource.Type{
		Name: "Zone", Readable: resource.Global, Path: "/zones", FQN: "org.zstack.header.zone.ZoneInventory",
		States: resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "vmInstance", To: "VmInstance", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "cluster", To: "Cluster", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "host", To: "Host", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "primaryStorage", To: "PrimaryStorage", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "l2Network", To: "L2Network", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "l3Network", To: "L3Network", Column: "uuid", ToColumn: "zoneUuid"},
			{Name: "backupStorageRef", To: "BackupStorageZoneRef", Column: "uuid", ToColumn: "zoneUuid", Hidden: true},
		},
		Aliases: []resource.Alias{{Name: "backupStorage", Path: "backupStorageRef.backupStorage"}},
		Enums:   map[string]*resource.Enum{"state": resource.EnabledState},
		View: resource.View{
			Caption: resource.Say("Zone", "区域"), Noun: "zone",
			Group: "infrastructure", Order: 10, Icon: "zone",
			Doc:     resource.Say("A site: the outermost container of clusters, storages and networks.", "一个站点，包含集群、存储与网络。"),
			Columns: []string{"name", "state", "isDefault", "createDate"},
		},
	})
	ClusterType = resource.Define[Cluster](resource.Type{
		Name: "Cluster", Readable: resource.Global, Path: "/clusters", FQN: "org.zstack.header.cluster.ClusterInventory",
		States: resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
			{Name: "host", To: "Host", Column: "uuid", ToColumn: "clusterUuid"},
			{Name: "vmInstance", To: "VmInstance", Column: "uuid", ToColumn: "clusterUuid"},
			{Name: "l2NetworkRef", To: "L2NetworkClusterRef", Column: "uuid", ToColumn: "clusterUuid", Hidden: true},
			{Name: "primaryStorageRef", To: "PrimaryStorageClusterRef", Column: "uuid", ToColumn: "clusterUuid", Hidden: true},
		},
		Aliases: []resource.Alias{
			{Name: "l2Network", Path: "l2NetworkRef.l2Network"},
			{Name: "primaryStorage", Path: "primaryStorageRef.primaryStorage"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnabledState, "type": resource.EnumOf("Cluster.type", "zstack", "baremetal", "baremetal2")},
		View: resource.View{
			Caption: resource.Say("Cluster", "集群"), Noun: "cluster",
			Group: "infrastructure", Order: 20, Icon: "cluster",
			Doc:     resource.Say("Hosts of one kind in a zone.", "区域内一组同类物理机。"),
			Columns: []string{"name", "state", "hypervisorType", "zoneUuid", "-architecture", "createDate"},
		},
	})
	HostType = resource.Define[Host](resource.Type{
		Name: "Host", Readable: resource.Global, Path: "/hosts", FQN: "org.zstack.header.host.HostInventory",
		Indexes:       []resource.Index{{Columns: []string{"clusterUuid", "lot"}}, {Columns: []string{"clusterUuid", "guests", "lot"}}},
		Discriminator: "hypervisorType",
		States: &resource.StateMachine{Column: "state", Moves: map[string]map[string]string{
			"enable":      {Enabled: Enabled, Disabled: Enabled, PreMaintenance: Enabled, Maintenance: Enabled},
			"disable":     {Enabled: Disabled, Disabled: Disabled, PreMaintenance: Disabled, Maintenance: Disabled},
			"preMaintain": {Enabled: PreMaintenance, Disabled: PreMaintenance},
			"maintain":    {PreMaintenance: Maintenance},
		}},
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid"},
			{Name: "cluster", To: "Cluster", Column: "clusterUuid", OnDelete: resource.Cascade},
			{Name: "vmInstance", To: "VmInstance", Column: "uuid", ToColumn: "hostUuid"},
			{Name: "check", To: "HostCheck", Column: "uuid", ToColumn: "hostUuid"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnumOf("HostState", Enabled, Disabled, PreMaintenance, Maintenance), "status": resource.ConnectionStatus},
		View: resource.View{
			Caption: resource.Say("Host", "物理机"), Noun: "host",
			Group: "infrastructure", Order: 30, Icon: "host", Context: []string{"managementIp"},
			Doc:     resource.Say("A machine that runs VMs.", "运行云主机的物理机。"),
			Columns: []string{"name", "state", "status", "managementIp", "hypervisorType", "availableCpuCapacity%totalCpuCapacity", "availableMemoryCapacity%totalMemoryCapacity", "clusterUuid", "-architecture", "-createDate"},
			Search:  []string{"name", "managementIp:ip"},
			Sections: []resource.Section{
				{Caption: resource.Say("Place", "位置"), Fields: []string{"zoneUuid", "clusterUuid", "managementIp"}},
				{Caption: resource.Say("Size", "规格"), Fields: []string{"cpuNum", "cpuSockets", "totalCpuCapacity", "availableCpuCapacity", "totalMemoryCapacity", "availableMemoryCapacity", "architecture"}},
			},
		},
	})
	HostCheckType = resource.Define[HostCheck](resource.Type{
		Name: "HostCheck", Readable: resource.Admin, Path: "/hosts/checks",
		Indexes: []resource.Index{{Columns: []string{"hostUuid", "name", "resourceUuid"}, Unique: true}},
		Edges:   []resource.Edge{{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade}},
		Enums:   map[string]*resource.Enum{"state": resource.EnumOf("HostCheckState", CheckOK, CheckFailed, CheckUnknown)},
		View: resource.View{
			Caption: resource.Say("Check of a host", "物理机检查"), Plural: resource.Say("Checks", "健康检查"), Noun: "host-check",
			Group: "infrastructure", Icon: "host", Part: true, Label: "name", Context: []string{"host.name"},
			Doc:     resource.Say("What a host needs or should have, and whether it has it.", "物理机所需的条件及其是否满足。"),
			Columns: []string{"name", "state", "reason", "required", "hostUuid", "resourceUuid", "sinceDate", "lastOpDate"},
		},
	})
)

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{ZoneType.Type, ClusterType.Type, HostType.Type, HostCheckType.Type}
}
