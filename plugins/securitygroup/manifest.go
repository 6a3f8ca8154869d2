package main

import (
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Names of the types, as the wire has them.
const (
	typeGroup  = "SecurityGroup"
	typeRule   = "SecurityGroupRule"
	typeL3     = "SecurityGroupL3NetworkRef"
	typeMember = "VmNicSecurityGroupRef"
	typePolicy = "VmNicSecurityPolicy"
)

// Words of the wire.
const (
	ingress, egress   = "Ingress", "Egress"
	accept, drop      = "ACCEPT", "DROP"
	allow, deny       = "ALLOW", "DENY"
	enabled, disabled = "Enabled", "Disabled"
	service           = "SecurityGroup"
)

var say = pluginsdk.Say

// maxRules bounds the rules of one call (specification of network services, section 4).
const maxRules = 2000

func manifest() *pluginv1.Manifest {
	return &pluginv1.Manifest{
		Name: "securitygroup", Version: version, Caption: say("Security groups", "安全组"),
		Description: "Filters the packets of guests on their hosts.",
		NetworkServices: []*pluginv1.NetworkServiceDecl{{Type: service, Name: "Security Group Service Provider", Description: "Filters guests' packets on their host.",
			Services: []string{service}, HypervisorTypes: []string{"KVM"}, ByPoints: true}},
		Permissions: []string{
			"host-call:" + hostv1.HostAgentService_Apply_FullMethodName, "host-call:" + hostv1.HostAgentService_Sync_FullMethodName,
			"query:" + typeGroup, "query:" + typeRule, "query:" + typeL3, "query:" + typeMember, "query:" + typePolicy,
			"query:VmNic", "query:VmInstance", "query:L3Network", "query:Host", "query:UsedIp", "query:NetworkServiceL3NetworkRef", "query:SystemTag",
		},
		Settings: []*pluginv1.SettingDecl{{Name: "rules.num.limit", Kind: "int", Min: 100, Max: 1000, Default: strconv.Itoa(defaultLimit),
			Doc: "How many rules a group has in a direction at most."}},
		ResourceTypes: []*pluginv1.ResourceTypeDecl{groupType(), ruleType(), l3Type(), memberType(), policyType()},
		Subscriptions: subscriptions(),
	}
}

func subscriptions() []*pluginv1.Subscription {
	groups := []string{typeGroup} // without one, guests cost nothing
	all := []*pluginv1.Subscription{
		{Phase: pluginsdk.PhasePoint, Point: "vm.start.nics-ready", WhileAny: groups},
		{Phase: pluginsdk.PhasePoint, Point: "vm.stop.done", OnFailure: pluginsdk.FailureIgnore, WhileAny: groups},
		{Phase: pluginsdk.PhasePoint, Point: "vm.destroy.done", OnFailure: pluginsdk.FailureIgnore, WhileAny: groups},
		{Phase: pluginsdk.PhasePoint, Point: "nic.attach.begin", WhileAny: groups},
		{Phase: pluginsdk.PhasePoint, Point: "nic.detach.done", OnFailure: pluginsdk.FailureIgnore, WhileAny: groups},
		{Phase: pluginsdk.PhasePoint, Point: "vm.migrate.nics-ready", WhileAny: groups},
		// Also without a group when it began: a guest may have come into one meanwhile.
		{Phase: pluginsdk.PhasePoint, Point: "vm.migrate.done", OnFailure: pluginsdk.FailureIgnore},
		{Phase: pluginsdk.PhasePoint, Point: "host.connected"},
		{Phase: pluginsdk.PhasePoint, Point: "host.leaving", OnFailure: pluginsdk.FailureIgnore},
		{Phase: pluginsdk.PhaseAfter, Type: "VmNic", Verb: pluginsdk.VerbUpdate},
		{Phase: pluginsdk.PhaseAfter, Type: typeGroup, Verb: pluginsdk.VerbUpdate},
	}
	for _, t := range []string{typeRule, typeMember, typePolicy} {
		for _, verb := range []string{pluginsdk.VerbCreate, pluginsdk.VerbUpdate, pluginsdk.VerbDelete} {
			all = append(all, &pluginv1.Subscription{Phase: pluginsdk.PhaseAfter, Type: t, Verb: verb})
		}
	}
	return all
}

func states() []*pluginv1.ValueWord {
	return []*pluginv1.ValueWord{{Value: enabled, Caption: say("Enabled", "启用"), Tone: "success"}, {Value: disabled, Caption: say("Disabled", "停用"), Tone: "stopped"}}
}

func groupType() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{
		Name: typeGroup, Path: "/security-groups", InventoryClass: "org.zstack.network.securitygroup.SecurityGroupInventory", Owned: true, Calls: true,
		Caption: say("Security group", "安全组"), Plural: say("Security groups", "安全组"), Doc: say("Rules for the packets of its members.", "成员网卡的报文规则。"),
		Icon: "firewall", Group: "network", Order: 60, Noun: "security-group", Aliases: []string{"sg"}, Quota: "securityGroup.num",
		Fields: []*pluginv1.Field{
			{Name: "ipVersion", Kind: "int", Max: 6, Immutable: true, Caption: say("IP version", "IP版本")},
			{Name: "state", MaxLength: 32, Caption: say("State", "状态")},
			{Name: "revision", Kind: "int", Hidden: true}, // of its rules
		},
		States: &pluginv1.StatesDecl{Column: "state", Ready: enabled, Change: &pluginv1.ResourceMessage{},
			Moves: []*pluginv1.StateMove{{Event: "enable", From: disabled, To: enabled}, {Event: "enable", From: enabled, To: enabled},
				{Event: "disable", From: enabled, To: disabled}, {Event: "disable", From: disabled, To: disabled}},
			Words: []*pluginv1.StateWord{{State: enabled, Caption: say("Enabled", "启用"), Tone: "success"}, {State: disabled, Caption: say("Disabled", "停用"), Tone: "stopped"}}},
		Embeds: []*pluginv1.EmbedDecl{
			{Name: "rules", Type: typeRule, Column: "securityGroupUuid", OrderBy: "priority"},
			{Name: "attachedL3NetworkUuids", Type: typeL3, Column: "securityGroupUuid", Scalar: "l3NetworkUuid", Caption: say("L3 networks", "三层网络")},
		},
		QueryAliases: []*pluginv1.QueryAlias{{Name: "vmNic", Path: "vmNicRef.vmNic"}, {Name: "l3Network", Path: "l3NetworkRef.l3Network"}},
		Columns:      []string{"name", "state", "description", "createDate"},
		Create:       &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
		Actions: append(groupActions(), nicActions()...),
		Tags: []*pluginv1.TagDecl{
			{Of: "VmInstance", Pattern: tagGroups, Caption: say("Security groups", "安全组")},
		},
	}
}

// tagGroups is the system tag by which a guest is made with its NIC in groups; they
// have commas between.
const tagGroups = "l3::{l3Uuid}::SecurityGroupUuids::{securityGroupUuids}"

func ruleType() *pluginv1.ResourceTypeDecl {
	f := ruleFields()
	for _, field := range f {
		field.Immutable = field.Name == "type" || field.Name == "ipVersion"
	}
	return &pluginv1.ResourceTypeDecl{
		Name: typeRule, Path: "/security-groups/rules", InventoryClass: "org.zstack.network.securitygroup.SecurityGroupRuleInventory", OwnedBy: "securityGroup",
		Caption: say("Rule", "规则"), Plural: say("Rules", "规则"), Doc: say("What packets of members may pass.", "成员报文的放行规则。"), Icon: "rule", Group: "network", Order: 61,
		Noun: "security-group-rule",
		Fields: append(f,
			&pluginv1.Field{Name: "securityGroupUuid", Required: true, Immutable: true, Caption: say("Security group", "安全组")},
			&pluginv1.Field{Name: "priority", Kind: "int", Caption: say("Priority", "优先级")},
			&pluginv1.Field{Name: "srcPortRange", MaxLength: 255, Caption: say("Source ports", "源端口")}),
		Edges: []*pluginv1.EdgeDecl{
			{Name: "securityGroup", To: typeGroup, Column: "securityGroupUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "rule"},
			{Name: "remoteSecurityGroup", To: typeGroup, Column: "remoteSecurityGroupUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "namedByRule"},
		},
		Columns: []string{"securityGroupUuid", "type", "priority", "protocol", "dstPortRange", "srcIpRange", "dstIpRange", "remoteSecurityGroupUuid", "action", "state"},
		Actions: ruleActions(),
	}
}

// ruleFields are those of a rule that a client gives, for rows and parameters. The last
// three are the old spelling of ports and addresses.
func ruleFields() []*pluginv1.Field {
	return []*pluginv1.Field{
		{Name: "type", Required: true, Values: []string{ingress, egress}, Caption: say("Direction", "方向")},
		{Name: "state", Values: []string{enabled, disabled}, Caption: say("State", "状态"), Words: states()},
		{Name: "remoteSecurityGroupUuid", Ref: typeGroup, Caption: say("Remote group", "远端安全组")},
		{Name: "ipVersion", Kind: "int", Max: 6, Caption: say("IP version", "IP版本")},
		{Name: "protocol", Required: true, Values: []string{"TCP", "UDP", "ICMP", "ALL"}, Caption: say("Protocol", "协议")},
		{Name: "srcIpRange", MaxLength: 1024, Caption: say("Source addresses", "源地址")},
		{Name: "dstIpRange", MaxLength: 1024, Caption: say("Destination addresses", "目的地址")},
		{Name: "dstPortRange", MaxLength: 255, Caption: say("Ports", "端口")},
		{Name: "action", Values: []string{accept, drop}, Caption: say("Action", "动作")},
		{Name: "startPort", Kind: "int", Min: -1, Max: 65535, Caption: say("First port", "起始端口")},
		{Name: "endPort", Kind: "int", Min: -1, Max: 65535, Caption: say("Last port", "结束端口")},
		{Name: "allowedCidr", MaxLength: 255, Caption: say("Allowed network", "允许的网段")},
	}
}

func l3Type() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{
		Name: typeL3, InventoryClass: "org.zstack.network.securitygroup.SecurityGroupL3NetworkRefInventory", OwnedBy: "securityGroup",
		Caption: say("Attached network", "已加载网络"), Plural: say("Attached networks", "已加载网络"),
		Fields: []*pluginv1.Field{
			{Name: "securityGroupUuid", Required: true, Immutable: true, Caption: say("Security group", "安全组")},
			{Name: "l3NetworkUuid", Required: true, Immutable: true, Caption: say("L3 network", "三层网络")},
		},
		Edges: []*pluginv1.EdgeDecl{
			{Name: "securityGroup", To: typeGroup, Column: "securityGroupUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "l3NetworkRef"},
			{Name: "l3Network", To: "L3Network", Column: "l3NetworkUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "securityGroupRef"},
		},
		Indexes: []*pluginv1.IndexDecl{{Columns: []string{"securityGroupUuid", "l3NetworkUuid"}, Unique: true}},
	}
}

func memberType() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{
		Name: typeMember, Path: "/security-groups/vm-instances/nics", InventoryClass: "org.zstack.network.securitygroup.VmNicSecurityGroupRefInventory",
		OwnedBy: "securityGroup", QueryMessage: "APIQueryVmNicInSecurityGroupMsg",
		Caption: say("Member", "成员"), Plural: say("Members", "成员"), Doc: say("A NIC in a security group.", "安全组中的网卡。"), Icon: "nic", Group: "network", Order: 62,
		Noun: "security-group-member",
		Fields: []*pluginv1.Field{
			{Name: "securityGroupUuid", Required: true, Immutable: true, Caption: say("Security group", "安全组")},
			{Name: "vmNicUuid", Required: true, Immutable: true, Caption: say("NIC", "网卡")},
			{Name: "vmInstanceUuid", Immutable: true, Caption: say("VM", "云主机")},
			{Name: "priority", Kind: "int", Caption: say("Priority", "优先级")},
		},
		Edges: []*pluginv1.EdgeDecl{
			{Name: "securityGroup", To: typeGroup, Column: "securityGroupUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "vmNicRef"},
			{Name: "vmNic", To: "VmNic", Column: "vmNicUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "securityGroupRef"},
			{Name: "vmInstance", To: "VmInstance", Column: "vmInstanceUuid", Inverse: "securityGroupRef"},
		},
		Columns: []string{"securityGroupUuid", "vmNicUuid", "vmInstanceUuid", "priority"},
		Indexes: []*pluginv1.IndexDecl{{Columns: []string{"securityGroupUuid", "vmNicUuid"}, Unique: true}},
	}
}

func policyType() *pluginv1.ResourceTypeDecl {
	policies := []string{deny, allow}
	return &pluginv1.ResourceTypeDecl{
		Name: typePolicy, Path: "/security-groups/nics/security-policy", InventoryClass: "org.zstack.network.securitygroup.VmNicSecurityPolicyInventory", OwnedBy: "vmNic",
		Caption: say("NIC policy", "网卡策略"), Plural: say("NIC policies", "网卡策略"), Doc: say("What happens to packets that no rule matches.", "没有规则匹配时的处理。"),
		Icon: "rule", Group: "network", Order: 63, Noun: "nic-security-policy",
		Fields: []*pluginv1.Field{
			{Name: "vmNicUuid", Required: true, Immutable: true, Unique: true, Caption: say("NIC", "网卡")},
			{Name: "ingressPolicy", Required: true, Values: policies, Caption: say("Ingress", "入方向")},
			{Name: "egressPolicy", Required: true, Values: policies, Caption: say("Egress", "出方向")},
		},
		Edges:   []*pluginv1.EdgeDecl{{Name: "vmNic", To: "VmNic", Column: "vmNicUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "securityPolicy"}},
		Columns: []string{"vmNicUuid", "ingressPolicy", "egressPolicy"},
	}
}
