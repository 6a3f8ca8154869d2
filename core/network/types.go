package network

import "github.com/kumo-cloud/kumo/core/resource"

// L2Network is a broadcast domain that can be attached to clusters.
type L2Network struct {
	resource.Base
	resource.Owned
	ZoneUUID          string `db:"zoneUuid" kumo:"size=32,index"`
	PhysicalInterface string `db:"physicalInterface" kumo:"size=1024,holds=device" caption:"NIC of the hosts|物理网卡"`
	Type              string `db:"type" kumo:"size=64"`
	VSwitchType       string `db:"vSwitchType" kumo:"size=32" caption:"Switch type|虚拟交换机类型"`
	VirtualNetworkID  int64  `db:"virtualNetworkId" caption:"Virtual network ID|虚拟网络ID"`
	Isolated          bool   `db:"isolated" caption:"Isolated|隔离"`
	PVLAN             string `db:"pvlan" kumo:"size=255,null" caption:"PVLAN|PVLAN"`
}

// L2NetworkClusterRef attaches a layer 2 network to a cluster.
type L2NetworkClusterRef struct {
	resource.Ref
	ClusterUUID    string `db:"clusterUuid" kumo:"size=32,index"`
	L2NetworkUUID  string `db:"l2NetworkUuid" kumo:"size=32,index"`
	L2ProviderType string `db:"l2ProviderType" kumo:"size=32,null" caption:"Provider type|实现方式"`
}

// L2NetworkHostRef says that a host has a layer 2 network, or may have it. It
// outlives the network until the host has given it back.
type L2NetworkHostRef struct {
	resource.Ref
	L2NetworkUUID string `db:"l2NetworkUuid" kumo:"size=32,index"`
	HostUUID      string `db:"hostUuid" kumo:"size=32"`
	// Bridge is the device that guests are plugged into; empty until it is made.
	Bridge string `db:"bridge" kumo:"size=64"`
	// Realized is what the plugin was told of the network, a
	// kumo.plugin.v1.L2Network in JSON.
	Realized string `db:"realized" kumo:"text,hidden"`
}

// NetworkServiceHostRef says at which revision a host was told all rows of a provider
// of services.
type NetworkServiceHostRef struct {
	resource.Ref
	HostUUID string `db:"hostUuid" kumo:"size=32,index"`
	// Provider is the provider's type.
	Provider string `db:"provider" kumo:"size=255"`
	Revision string `db:"revision" kumo:"size=32,hidden"`
}

// L3Network is a set of subnets on a layer 2 network, with its services.
type L3Network struct {
	resource.Base
	resource.Owned
	Type          string `db:"type" kumo:"size=64"`
	ZoneUUID      string `db:"zoneUuid" kumo:"size=32,index"`
	L2NetworkUUID string `db:"l2NetworkUuid" kumo:"size=32,index"`
	State         string `db:"state" kumo:"size=32"`
	DNSDomain     string `db:"dnsDomain" kumo:"size=255,null,holds=domain" caption:"DNS domain|DNS域名"`
	System        bool   `db:"system" caption:"System network|系统网络"`
	Category      string `db:"category" kumo:"size=32" caption:"Network type|网络类型"`
	IPVersion     int64  `db:"ipVersion"`
	EnableIPAM    bool   `db:"enableIPAM" caption:"Address management|IP地址管理"`
	Isolated      bool   `db:"isolated" caption:"Isolated|隔离"`
	// MTU in bytes; 0 is the default of the L2 network's type.
	MTU int64 `db:"mtu" kumo:"hidden,null"`
}

// L3NetworkDNS is one name server of a network, in order of createDate.
type L3NetworkDNS struct {
	resource.Ref
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	DNS           string `db:"dns" kumo:"size=64,holds=addr"`
}

// L3NetworkHostRoute is a route that guests of a network are told by DHCP.
type L3NetworkHostRoute struct {
	resource.Ref
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	Prefix        string `db:"prefix" kumo:"size=64,holds=cidr4"`
	NextHop       string `db:"nexthop" kumo:"size=64,holds=addr4"`
}

// L3NetworkProblem says why a network is not on a host as it says.
type L3NetworkProblem struct {
	resource.Ref
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	HostUUID      string `db:"hostUuid" kumo:"size=32,index"`
	Reason        string `db:"reason" kumo:"text" caption:"Reason|原因"`
}

// IPRange is a part of a subnet from which guests get addresses.
type IPRange struct {
	resource.Base
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	StartIP       string `db:"startIp" kumo:"size=64,holds=addr4"`
	EndIP         string `db:"endIp" kumo:"size=64,holds=addr4"`
	Netmask       string `db:"netmask" kumo:"size=64,holds=netmask4"`
	Gateway       string `db:"gateway" kumo:"size=64,null,holds=addr4"`
	NetworkCIDR   string `db:"networkCidr" kumo:"size=64,holds=cidr4"`
	IPVersion     int64  `db:"ipVersion"`
	PrefixLen     int64  `db:"prefixLen"`
	IPRangeType   string `db:"ipRangeType" kumo:"size=32" caption:"Range type|网络段类型"`
}

// UsedIP is an address that is in use. IPInLong orders addresses of a range.
type UsedIP struct {
	resource.Ident
	IPRangeUUID   string `db:"ipRangeUuid" kumo:"size=32"`
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	IPVersion     int64  `db:"ipVersion"`
	IP            string `db:"ip" kumo:"size=64,index,holds=addr4"`
	Netmask       string `db:"netmask" kumo:"size=64,null,holds=netmask4"`
	Gateway       string `db:"gateway" kumo:"size=64,null,holds=addr4"`
	UsedFor       string `db:"usedFor" kumo:"size=64,null" caption:"Used for|用途"`
	IPInLong      int64  `db:"ipInLong" caption:"Address as a number|IP数值"`
	VMNicUUID     string `db:"vmNicUuid" kumo:"size=32,null,index"`
	// Claim is l3NetworkUuid:ip; its unique index makes a double use
	// impossible whatever the allocator believes.
	Claim string `db:"claim" kumo:"size=128,hidden,unique"`
}

// VMNic is a network card of a guest.
type VMNic struct {
	resource.Ident
	VMInstanceUUID string `db:"vmInstanceUuid" kumo:"size=32,null,index"`
	L3NetworkUUID  string `db:"l3NetworkUuid" kumo:"size=32,null,index"`
	IP             string `db:"ip" kumo:"size=64,null,index,holds=addr4"`
	MAC            string `db:"mac" kumo:"size=32,unique,holds=mac"`
	HypervisorType string `db:"hypervisorType" kumo:"size=32,null"`
	Netmask        string `db:"netmask" kumo:"size=64,null,holds=netmask4"`
	Gateway        string `db:"gateway" kumo:"size=64,null,holds=addr4"`
	IPVersion      int64  `db:"ipVersion" kumo:"null"`
	DriverType     string `db:"driverType" kumo:"size=32,null" caption:"NIC model|网卡型号"`
	InternalName   string `db:"internalName" kumo:"size=32" caption:"Device name|内部名称"`
	DeviceID       int64  `db:"deviceId"`
	Type           string `db:"type" kumo:"size=32"`
	State          string `db:"state" kumo:"size=32"`
	AccountUUID    string `db:"accountUuid" kumo:"size=32,hidden,index"`
	// Leaving: it is being taken from its guest.
	Leaving bool `db:"leaving" kumo:"hidden"`
}

// Provider is a network service provider that a plugin brings.
type Provider struct {
	resource.Base
	Type string `db:"type" kumo:"size=64,unique"`
	// ByPoints: its plugin does its work at points of flows, and is not called for NICs.
	ByPoints bool `db:"byPoints" kumo:"hidden"`
}

// ProviderService is one service that a provider can give.
type ProviderService struct {
	resource.Ref
	ProviderUUID string `db:"networkServiceProviderUuid" kumo:"size=32,index"`
	Type         string `db:"type" kumo:"size=64"`
}

// L3NetworkService binds a service of a network to a provider.
type L3NetworkService struct {
	resource.Ref
	L3NetworkUUID string `db:"l3NetworkUuid" kumo:"size=32,index"`
	ProviderUUID  string `db:"networkServiceProviderUuid" kumo:"size=32,index"`
	ServiceType   string `db:"networkServiceType" kumo:"size=64" caption:"Service|服务"`
}

// The resource types of this service.
var (
	L2NetworkType = resource.Define[L2Network](resource.Type{
		Name: "L2Network", Readable: resource.Global, Path: "/l2-networks", FQN: "org.zstack.header.network.l2.L2NetworkInventory", Owned: true,
		Discriminator: "type",
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
			{Name: "l3Network", To: "L3Network", Column: "uuid", ToColumn: "l2NetworkUuid"},
			{Name: "clusterRef", To: "L2NetworkClusterRef", Column: "uuid", ToColumn: "l2NetworkUuid", Hidden: true},
		},
		Aliases: []resource.Alias{{Name: "cluster", Path: "clusterRef.cluster"}},
		Embeds: []resource.Embed{
			{Name: "attachedClusterUuids", Type: "L2NetworkClusterRef", Column: "l2NetworkUuid", Scalar: "clusterUuid"},
		},
		View: resource.View{
			Caption: resource.Say("L2 network", "二层网络"), Noun: "l2", Aliases: []string{"l2-network"},
			Group: "network", Order: 130, Icon: "l2",
			Doc:     resource.Say("A broadcast domain that clusters share.", "集群共用的二层广播域。"),
			Columns: []string{"name", "type", "physicalInterface", "zoneUuid", "attachedClusterUuids", "-createDate"},
		},
	})
	L2ClusterRefType = resource.Define[L2NetworkClusterRef](resource.Type{
		Name: "L2NetworkClusterRef", Readable: resource.Global, FQN: "org.zstack.header.network.l2.L2NetworkClusterRefInventory", Internal: true,
		Edges: []resource.Edge{
			{Name: "cluster", To: "Cluster", Column: "clusterUuid", OnDelete: resource.Cascade},
			{Name: "l2Network", To: "L2Network", Column: "l2NetworkUuid", OnDelete: resource.Cascade},
		},
		View: resource.View{
			Caption: resource.Say("Attachment to a cluster", "集群加载"),
			Part:    true, Label: "l2NetworkUuid",
		},
	})
	L2HostRefType = resource.Define[L2NetworkHostRef](resource.Type{
		Name: "L2NetworkHostRef", Readable: resource.Admin, FQN: "org.zstack.header.network.l2.L2NetworkHostRefInventory", Internal: true,
		Indexes: []resource.Index{{Columns: []string{"hostUuid", "l2NetworkUuid"}}},
		Edges: []resource.Edge{
			{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade},
			{Name: "l2Network", To: "L2Network", Column: "l2NetworkUuid"},
		},
	})
	ServiceHostRefType = resource.Define[NetworkServiceHostRef](resource.Type{
		Name: "NetworkServiceHostRef", Readable: resource.Admin, Internal: true,
		Edges: []resource.Edge{{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Cascade}},
	})
	L3NetworkType = resource.Define[L3Network](resource.Type{
		Name: "L3Network", Path: "/l3-networks", FQN: "org.zstack.header.network.l3.L3NetworkInventory", Owned: true,
		States: resource.EnableDisable,
		Edges: []resource.Edge{
			{Name: "zone", To: "Zone", Column: "zoneUuid"},
			{Name: "l2Network", To: "L2Network", Column: "l2NetworkUuid", OnDelete: resource.Cascade},
			{Name: "vmNic", To: "VmNic", Column: "uuid", ToColumn: "l3NetworkUuid"},
			{Name: "serviceProviderRef", To: "NetworkServiceL3NetworkRef", Column: "uuid", ToColumn: "l3NetworkUuid", Hidden: true},
			{Name: "usedIp", To: "UsedIp", Column: "uuid", ToColumn: "l3NetworkUuid"},
		},
		Aliases: []resource.Alias{{Name: "serviceProvider", Path: "serviceProviderRef.serviceProvider"}},
		Embeds: []resource.Embed{
			{Name: "dns", Type: "L3NetworkDns", Column: "l3NetworkUuid", Scalar: "dns", OrderBy: "createDate"},
			{Name: "ipRanges", Type: "IpRange", Column: "l3NetworkUuid", OrderBy: "createDate"},
			{Name: "networkServices", Type: "NetworkServiceL3NetworkRef", Column: "l3NetworkUuid", OrderBy: "networkServiceType"},
			{Name: "hostRoute", Type: "L3NetworkHostRoute", Column: "l3NetworkUuid", OrderBy: "createDate"},
			{Name: "problems", Type: "L3NetworkProblem", Column: "l3NetworkUuid", OrderBy: "createDate"},
		},
		Enums: map[string]*resource.Enum{"state": resource.EnabledState, "category": resource.EnumOf("L3Category", "Public", "Private", "System")},
		View: resource.View{
			Caption: resource.Say("L3 network", "三层网络"), Noun: "l3", Aliases: []string{"l3-network", "network"},
			Group: "network", Order: 20, Icon: "l3", Quotas: []string{"l3.num"},
			Doc:     resource.Say("Addresses on an L2 network, with services such as DHCP.", "二层网络上的地址与 DHCP 等服务。"),
			Columns: []string{"name", "state", "category", "type", "l2NetworkUuid", "ipRanges.networkCidr", "-dns", "-createDate"},
		},
	})
	DNSType = resource.Define[L3NetworkDNS](resource.Type{
		Name: "L3NetworkDns", OwnedBy: "l3Network", FQN: "org.zstack.header.network.l3.L3NetworkDnsInventory", Internal: true,
		Edges: []resource.Edge{{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("DNS server", "DNS"),
			Part:    true, Label: "dns",
		},
	})
	HostRouteType = resource.Define[L3NetworkHostRoute](resource.Type{
		Name: "L3NetworkHostRoute", OwnedBy: "l3Network", FQN: "org.zstack.header.network.l3.L3NetworkHostRouteInventory", Internal: true,
		Edges: []resource.Edge{{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("Route", "主机路由"),
			Part:    true, Label: "prefix",
		},
	})
	ProblemType = resource.Define[L3NetworkProblem](resource.Type{
		Name: "L3NetworkProblem", OwnedBy: "l3Network", Internal: true,
		Edges: []resource.Edge{{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("Problem", "问题"),
			Part:    true, Label: "reason",
		},
	})
	IPRangeType = resource.Define[IPRange](resource.Type{
		Name: "IpRange", OwnedBy: "l3Network", Path: "/l3-networks/ip-ranges", FQN: "org.zstack.header.network.l3.IpRangeInventory",
		Edges: []resource.Edge{{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade}},
		Enums: map[string]*resource.Enum{"ipRangeType": resource.EnumOf("IpRangeType", "Normal", "AddressPool")},
		View: resource.View{
			Caption: resource.Say("IP range", "网络段"), Noun: "ip-range",
			Group: "network", Icon: "ip-range", Part: true, Context: []string{"startIp", "endIp"},
			Doc:     resource.Say("A part of a subnet from which VMs get addresses.", "分配给云主机的地址段。"),
			Columns: []string{"name", "startIp", "endIp", "netmask", "gateway", "l3NetworkUuid", "-networkCidr", "-createDate"},
		},
	})
	UsedIPType = resource.Define[UsedIP](resource.Type{
		Name: "UsedIp", OwnedBy: "vmNic", Path: "/l3-networks/ip-address", FQN: "org.zstack.header.network.l3.UsedIpInventory",
		// The allocator walks a range's used addresses in order.
		Indexes: []resource.Index{{Columns: []string{"ipRangeUuid", "ipInLong"}}},
		Edges: []resource.Edge{
			{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid"},
			{Name: "vmNic", To: "VmNic", Column: "vmNicUuid"},
			// The delete of a range decides which of its addresses go (deleteRange).
			{Name: "ipRange", To: "IpRange", Column: "ipRangeUuid", Hidden: true},
		},
		QueryMessage: "APIQueryIpAddressMsg", // the wire's name for it
		View: resource.View{
			Caption: resource.Say("IP address", "IP地址"), Plural: resource.Say("IP addresses", "IP地址"), Noun: "ip",
			Group: "network", Icon: "ip", Part: true, Label: "ip", Context: []string{"usedFor"},
			Doc:     resource.Say("An address in use.", "已使用的地址。"),
			Columns: []string{"ip", "usedFor", "vmNicUuid", "l3NetworkUuid", "createDate"},
			Search:  []string{"ip:ip"},
		},
	})
	VMNicType = resource.Define[VMNic](resource.Type{
		Name: "VmNic", Follows: "vmInstanceUuid", Path: "/vm-instances/nics", FQN: "org.zstack.header.vm.VmNicInventory", Owned: true,
		Edges: []resource.Edge{
			{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid", OnDelete: resource.Cascade},
			{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade},
			{Name: "usedIp", To: "UsedIp", Column: "uuid", ToColumn: "vmNicUuid"},
		},
		Embeds: []resource.Embed{{Name: "usedIps", Type: "UsedIp", Column: "vmNicUuid", OrderBy: "ipVersion"}},
		Enums:  map[string]*resource.Enum{"state": resource.EnumOf("VmNicState", "enable", "disable")},
		View: resource.View{
			Caption: resource.Say("NIC", "网卡"), Noun: "nic", Aliases: []string{"vm-nic"},
			Group: "network", Icon: "nic", Part: true, Label: "ip", Context: []string{"vmInstance.name", "mac"},
			Doc:     resource.Say("A network card of a VM.", "云主机的网卡。"),
			Columns: []string{"ip", "mac", "vmInstanceUuid", "l3NetworkUuid", "state", "-driverType", "-internalName", "-createDate"},
			Search:  []string{"ip:ip", "mac:mac"},
		},
	})
	ProviderType = resource.Define[Provider](resource.Type{
		Name: "NetworkServiceProvider", Readable: resource.Global, Path: "/network-services/providers",
		FQN: "org.zstack.header.network.service.NetworkServiceProviderInventory",
		Embeds: []resource.Embed{
			{Name: "networkServiceTypes", Type: "NetworkServiceType", Column: "networkServiceProviderUuid", Scalar: "type", OrderBy: "type"},
		},
		View: resource.View{
			Caption: resource.Say("Network service provider", "网络服务提供者"), Noun: "network-service-provider",
			Group: "network", Order: 140, Icon: "provider",
			Doc:     resource.Say("What gives L3 networks services such as DHCP; a plugin brings it.", "由插件提供的 DHCP 等网络服务。"),
			Columns: []string{"name", "type", "networkServiceTypes"},
		},
	})
	ProviderServiceType = resource.Define[ProviderService](resource.Type{
		Name: "NetworkServiceType", Readable: resource.Global, FQN: "org.zstack.header.network.service.NetworkServiceTypeInventory", Internal: true,
		Edges: []resource.Edge{{Name: "provider", To: "NetworkServiceProvider", Column: "networkServiceProviderUuid", OnDelete: resource.Cascade}},
		View: resource.View{
			Caption: resource.Say("Network service", "网络服务"),
			Part:    true, Label: "type",
		},
	})
	L3ServiceType = resource.Define[L3NetworkService](resource.Type{
		Name: "NetworkServiceL3NetworkRef", OwnedBy: "l3Network", Path: "/l3-networks/network-services/refs",
		FQN: "org.zstack.header.network.service.NetworkServiceL3NetworkRefInventory",
		Edges: []resource.Edge{
			{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: resource.Cascade},
			{Name: "serviceProvider", To: "NetworkServiceProvider", Column: "networkServiceProviderUuid", OnDelete: resource.Restrict},
		},
		View: resource.View{
			Caption: resource.Say("Service of an L3 network", "三层网络服务"), Plural: resource.Say("Services", "服务"), Noun: "l3-service",
			Group: "network", Icon: "provider", Part: true, Label: "networkServiceType",
			Columns: []string{"networkServiceType", "l3NetworkUuid", "networkServiceProviderUuid"},
		},
	})
)

// Types returns the resource types of this service.
func Types() []*resource.Type {
	return []*resource.Type{
		L2NetworkType.Type, L2ClusterRefType.Type, L2HostRefType.Type, ServiceHostRefType.Type, L3NetworkType.Type, DNSType.Type,
		HostRouteType.Type, ProblemType.Type, IPRangeType.Type, UsedIPType.Type, VMNicType.Type,
		ProviderType.Type, ProviderServiceType.Type, L3ServiceType.Type,
	}
}
