package query_test

import (
	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
)

// sample is a small cloud with every kind of relation.
func sample() []*resource.Type {
	str := func(name string, opts ...func(*resource.Field)) resource.Field {
		f := resource.Field{Name: name}
		for _, o := range opts {
			o(&f)
		}
		return f
	}
	kind := func(name string, k resource.Kind, opts ...func(*resource.Field)) resource.Field {
		return str(name, append(opts, func(f *resource.Field) { f.Kind = k })...)
	}
	null := func(f *resource.Field) { f.Null = true }
	index := func(f *resource.Field) { f.Index = true }
	hidden := func(f *resource.Field) { f.Hidden = true }
	secret := func(f *resource.Field) { f.Kind, f.Secret = resource.Text, true }
	ref := func(name string) resource.Field { return str(name, null, index) }
	must := func(t resource.Type) *resource.Type {
		t.FQN = "org.example." + t.Name + "Inventory"
		d, err := resource.Declare(t)
		if err != nil {
			panic(err)
		}
		return d
	}
	id := str("uuid", hidden)
	edge := func(name, to, column string) resource.Edge {
		return resource.Edge{Name: name, To: to, Column: column}
	}
	return []*resource.Type{
		must(resource.Type{Name: "Zone", Readable: resource.Global, Path: "/zones", Fields: []resource.Field{str("state")}}),
		must(resource.Type{Name: "Cluster", Readable: resource.Global, Path: "/clusters", Fields: []resource.Field{ref("zoneUuid")}, Edges: []resource.Edge{edge("zone", "Zone", "zoneUuid")}}),
		must(resource.Type{Name: "Host", Readable: resource.Global, Path: "/hosts", Discriminator: "hypervisorType",
			Fields: []resource.Field{str("hypervisorType"), ref("clusterUuid"), str("managementIp"), str("password", secret)},
			Edges:  []resource.Edge{{Name: "cluster", To: "Cluster", Column: "clusterUuid", Inverse: "host"}},
			Borrows: []resource.Borrow{{Name: "totalCpuCapacity", Type: "HostCapacity", Column: "uuid", Field: "totalCpu"},
				{Name: "availableMemoryCapacity", Type: "HostCapacity", Column: "uuid", Field: "availableMemory"}}}),
		must(resource.Type{Name: "HostCapacity", Readable: resource.Global, Fields: []resource.Field{id, kind("totalCpu", resource.Long), kind("availableMemory", resource.Long)}}),
		must(resource.Type{Name: "KVMHost", Parent: "Host", DiscriminatorValue: "KVM", Fields: []resource.Field{str("username"), kind("sshPort", resource.Int), str("secretKey", secret)}}),
		must(resource.Type{Name: "ESXHost", Parent: "Host", DiscriminatorValue: "ESX", Fields: []resource.Field{str("vCenterUuid", null)}}),
		must(resource.Type{Name: "VmInstance", Path: "/vm-instances", Owned: true, Discriminator: "type",
			Fields: []resource.Field{str("type"), ref("hostUuid"), str("state", index), kind("cpuNum", resource.Int), kind("memorySize", resource.Long),
				kind("ha", resource.Bool, null), kind("load", resource.Double), kind("bootedAt", resource.TimeKind), str("internal", hidden)},
			Edges:  []resource.Edge{edge("host", "Host", "hostUuid")},
			Embeds: []resource.Embed{{Name: "vmNics", Type: "VmNic", Column: "vmInstanceUuid", OrderBy: "deviceId"}, {Name: "allVolumes", Type: "Volume", Column: "vmInstanceUuid"}}}),
		must(resource.Type{Name: "ApplianceVm", Parent: "VmInstance", DiscriminatorValue: "ApplianceVm", Discriminator: "applianceVmType",
			Fields: []resource.Field{str("applianceVmType"), str("status")}}),
		must(resource.Type{Name: "VirtualRouterVm", Parent: "ApplianceVm", DiscriminatorValue: "VirtualRouter", Fields: []resource.Field{str("publicNetworkUuid", null)}}),
		must(resource.Type{Name: "VmNic", OwnedBy: "vmInstance", Fields: []resource.Field{str("uuid"), ref("vmInstanceUuid"), ref("l3NetworkUuid"), str("ip", null, index), kind("deviceId", resource.Int)},
			Edges:  []resource.Edge{{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid"}, edge("l3Network", "L3Network", "l3NetworkUuid")},
			Embeds: []resource.Embed{{Name: "usedIps", Type: "UsedIp", Column: "vmNicUuid"}}}),
		must(resource.Type{Name: "UsedIp", OwnedBy: "vmNic", Fields: []resource.Field{str("uuid"), ref("vmNicUuid"), str("ip")},
			Edges: []resource.Edge{edge("vmNic", "VmNic", "vmNicUuid")}}),
		must(resource.Type{Name: "Volume", Follows: "vmInstanceUuid", Path: "/volumes", Owned: true, Fields: []resource.Field{ref("vmInstanceUuid"), kind("size", resource.Long)},
			Embeds: []resource.Embed{{Name: "deed", Type: "Deed", Column: "volumeUuid", One: true}}}),
		must(resource.Type{Name: "Deed", Follows: "volumeUuid", Owned: true, Fields: []resource.Field{id, str("volumeUuid", hidden, func(f *resource.Field) { f.Unique = true }),
			ref("zoneUuid"), str("seal")}, Edges: []resource.Edge{edge("zone", "Zone", "zoneUuid")}}),
		must(resource.Type{Name: "L3Network", Path: "/l3-networks", Owned: true, Fields: []resource.Field{ref("zoneUuid")},
			Edges:  []resource.Edge{edge("zone", "Zone", "zoneUuid")},
			Embeds: []resource.Embed{{Name: "dns", Type: "L3NetworkDns", Column: "l3NetworkUuid", Scalar: "dns"}}}),
		must(resource.Type{Name: "L3NetworkDns", OwnedBy: "l3Network", Fields: []resource.Field{id, ref("l3NetworkUuid"), str("dns")},
			Edges: []resource.Edge{edge("l3Network", "L3Network", "l3NetworkUuid")}}),
		must(resource.Type{Name: "Eip", Path: "/eips", Owned: true, Fields: []resource.Field{ref("vmNicUuid"), str("guestIp")},
			Edges: []resource.Edge{{Name: "vmNic", To: "VmNic", Column: "vmNicUuid", Inverse: "eip"}}}),
		must(resource.Type{Name: "SecurityGroup", Path: "/security-groups", Owned: true}),
		must(resource.Type{Name: "NicSecurityGroupRef", OwnedBy: "vmNic", Fields: []resource.Field{id, ref("vmNicUuid"), ref("securityGroupUuid")},
			Edges: []resource.Edge{{Name: "vmNic", To: "VmNic", Column: "vmNicUuid", Inverse: "securityGroupRef", Hidden: true},
				{Name: "securityGroup", To: "SecurityGroup", Column: "securityGroupUuid", Inverse: "vmNicRef", Hidden: true}},
			Aliases: []resource.Alias{{Name: "securityGroup", Path: "securityGroupRef.securityGroup", On: "VmNic"}}}),
		must(resource.Type{Name: "SystemTag", Anywhere: map[string]string{"__systemTag__": "tag"}, Owned: true, Follows: "resourceUuid", Fields: []resource.Field{str("uuid"), ref("resourceUuid"), str("tag", index)}}),
		must(resource.Type{Name: "UserTag", Anywhere: map[string]string{"__userTag__": "tag", "__tagUuid__": "tagPatternUuid"}, Owned: true, Follows: "resourceUuid", Fields: []resource.Field{str("uuid"), ref("resourceUuid"), str("tag", index), ref("tagPatternUuid")}}),
		access.SharedType.Type,
	}
}
