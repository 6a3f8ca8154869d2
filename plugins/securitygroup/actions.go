package main

import (
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Messages of the wire that this plugin carries out.
const (
	addRules       = "APIAddSecurityGroupRuleMsg"
	changeRule     = "APIChangeSecurityGroupRuleMsg"
	changeRules    = "APIChangeSecurityGroupRuleStateMsg"
	orderRules     = "APIUpdateSecurityGroupRulePriorityMsg"
	deleteRules    = "APIDeleteSecurityGroupRuleMsg"
	validateRule   = "APIValidateSecurityGroupRuleMsg"
	attachL3       = "APIAttachSecurityGroupToL3NetworkMsg"
	detachL3       = "APIDetachSecurityGroupFromL3NetworkMsg"
	addNICs        = "APIAddVmNicToSecurityGroupMsg"
	deleteNICs     = "APIDeleteVmNicFromSecurityGroupMsg"
	setGroups      = "APISetVmNicSecurityGroupMsg"
	changePolicy   = "APIChangeVmNicSecurityPolicyMsg"
	candidateNICs  = "APIGetCandidateVmNicForSecurityGroupMsg"
	paramGroup     = "securityGroupUuid"
	paramNIC       = "vmNicUuid"
	pathOfGroup    = "/security-groups/{securityGroupUuid}"
	pathOfGroupNIC = "/security-groups/nics/{vmNicUuid}"
)

func groupActions() []*pluginv1.ActionDecl {
	var members []*pluginv1.Field
	for _, f := range ruleFields() {
		if f.Name != "protocol" && f.Name != "type" {
			f.Words = nil
		}
		members = append(members, f)
	}
	members = append(members, &pluginv1.Field{Name: "description", MaxLength: 255, Caption: say("Description", "描述")})
	l3 := func(rights string) []*pluginv1.Field {
		return []*pluginv1.Field{{Name: "l3NetworkUuid", Required: true, Ref: "L3Network", Rights: rights, Caption: say("L3 network", "三层网络")}}
	}
	return []*pluginv1.ActionDecl{
		{Message: addRules, Method: "POST", Route: pathOfGroup + "/rules", Subject: paramGroup, Caption: say("Add rules", "添加规则"), Doc: "Adds rules, at the end or at a priority.",
			Params: []*pluginv1.Field{
				{Name: "rules", Kind: pluginsdk.KindObjects, Required: true, Members: members, Caption: say("Rules", "规则")},
				{Name: "remoteSecurityGroupUuids", Kind: "strings", Ref: typeGroup, Caption: say("Remote groups", "远端安全组")},
				{Name: "priority", Kind: "int", Min: -1, Max: maxRules, Default: "-1", Caption: say("Priority", "优先级")},
			}},
		{Message: changeRules, Route: pathOfGroup + "/rules/state/actions", Subject: paramGroup, Caption: say("Enable or disable rules", "启用或停用规则"), Doc: "Changes the state of rules.",
			Params: []*pluginv1.Field{
				{Name: "ruleUuids", Kind: "strings", Required: true, Ref: typeRule, Rights: pluginsdk.RightsChange, Caption: say("Rules", "规则")},
				{Name: "state", Required: true, Values: []string{enabled, disabled}, Caption: say("State", "状态")},
			}},
		{Message: orderRules, Route: pathOfGroup + "/rules/priority/actions", Subject: paramGroup, Caption: say("Order rules", "调整优先级"), Doc: "Gives all rules of a direction their priorities.",
			Params: []*pluginv1.Field{
				{Name: "type", Required: true, Values: []string{ingress, egress}, Caption: say("Direction", "方向")},
				{Name: "rules", Kind: pluginsdk.KindObjects, Required: true, Caption: say("Rules", "规则"), Members: []*pluginv1.Field{
					{Name: "ruleUuid", Required: true, Ref: typeRule, Caption: say("Rule", "规则")},
					{Name: "priority", Kind: "int", Required: true, Min: 1, Max: maxRules, Caption: say("Priority", "优先级")}}},
			}},
		{Message: deleteRules, On: pluginsdk.ActsOnType, Method: "DELETE", Route: "/security-groups/rules", Returns: typeGroup, ReturnsAs: pluginsdk.ReturnsOne,
			Caption: say("Delete rules", "删除规则"), Doc: "Deletes rules of a group.",
			Params: []*pluginv1.Field{{Name: "ruleUuids", Kind: "strings", Required: true, Ref: typeRule, Rights: pluginsdk.RightsChange, Caption: say("Rules", "规则")}}},
		{Message: validateRule, Method: "GET", Route: pathOfGroup + "/rules/validation", Subject: paramGroup, Caption: say("Validate a rule", "校验规则"), Doc: "Tells whether a rule could be added.",
			Params: ruleFields(), Answers: []*pluginv1.Field{{Name: "available", Kind: "bool", Caption: say("Available", "可用")}, {Name: "success", Kind: "bool", Caption: say("Success", "成功")},
				{Name: "code", Caption: say("Code", "代码")}, {Name: "reason", Kind: "text", Caption: say("Reason", "原因")}}},
		{Message: attachL3, Method: "POST", Route: pathOfGroup + "/l3-networks/{l3NetworkUuid}", Subject: paramGroup, Caption: say("Attach L3 network", "加载三层网络"),
			Doc: "Lets NICs of a network be members.", Params: l3(pluginsdk.RightsRead)},
		{Message: detachL3, Method: "DELETE", Route: pathOfGroup + "/l3-networks/{l3NetworkUuid}", Subject: paramGroup, Caption: say("Detach L3 network", "卸载三层网络"),
			Doc: "Takes the NICs of a network out of the group.", Params: l3(pluginsdk.RightsRead)},
		{Message: addNICs, Method: "POST", Route: pathOfGroup + "/vm-instances/nics", Subject: paramGroup, Caption: say("Add NICs", "添加网卡"), Doc: "Makes NICs members of a group.", Params: nics()},
		{Message: deleteNICs, Method: "DELETE", Route: pathOfGroup + "/vm-instances/nics", Subject: paramGroup, Caption: say("Remove NICs", "移除网卡"), Doc: "Takes NICs out of a group.", Params: nics()},
		{Message: candidateNICs, Method: "GET", Route: pathOfGroup + "/vm-instances/candidate-nics", Subject: paramGroup, Returns: "VmNic", Caption: say("NICs to add", "可添加的网卡"),
			Doc: "Lists the NICs that could become members."},
	}
}

func nics() []*pluginv1.Field {
	return []*pluginv1.Field{{Name: "vmNicUuids", Kind: "strings", Required: true, Ref: "VmNic", Rights: pluginsdk.RightsChange, Caption: say("NICs", "网卡")}}
}

func nicActions() []*pluginv1.ActionDecl {
	nic := &pluginv1.Field{Name: paramNIC, Required: true, Ref: "VmNic", Caption: say("NIC", "网卡")}
	policy := func(name string, caption *pluginv1.Caption) *pluginv1.Field {
		return &pluginv1.Field{Name: name, Values: []string{deny, allow}, Caption: caption}
	}
	return []*pluginv1.ActionDecl{
		{Message: setGroups, On: pluginsdk.ActsOnType, Route: pathOfGroupNIC + "/actions", Returns: typeMember, ReturnsAs: pluginsdk.ReturnsInventoryList,
			Caption: say("Set security groups", "设置安全组"), Doc: "Gives a NIC its groups in their order.",
			Params: []*pluginv1.Field{nic, {Name: "refs", Kind: pluginsdk.KindObjects, Caption: say("Groups", "安全组"), Members: []*pluginv1.Field{
				{Name: paramGroup, Required: true, Ref: typeGroup, Caption: say("Security group", "安全组")},
				{Name: "priority", Kind: "int", Required: true, Min: 1, Max: 1000, Caption: say("Priority", "优先级")}}}}},
		{Message: changePolicy, On: pluginsdk.ActsOnType, Route: pathOfGroupNIC + "/security-policy/actions", Returns: typePolicy, ReturnsAs: pluginsdk.ReturnsOne,
			Caption: say("Change NIC policy", "修改网卡策略"), Doc: "Says what happens to packets of a NIC in groups that no rule matches.",
			Params: []*pluginv1.Field{nic, policy("ingressPolicy", say("Ingress", "入方向")), policy("egressPolicy", say("Egress", "出方向"))}},
	}
}

func ruleActions() []*pluginv1.ActionDecl {
	var params []*pluginv1.Field
	for _, f := range ruleFields() {
		switch f.Name {
		case "type", "ipVersion", "startPort", "endPort", "allowedCidr":
			continue
		}
		f.Required, f.Words = false, nil
		params = append(params, f)
	}
	params = append(params, &pluginv1.Field{Name: "priority", Kind: "int", Min: 0, Max: maxRules, Caption: say("Priority", "优先级")},
		&pluginv1.Field{Name: "description", MaxLength: 255, Caption: say("Description", "描述")})
	return []*pluginv1.ActionDecl{{Message: changeRule, Caption: say("Change rule", "修改规则"), Doc: "Changes the fields of a rule that are given.", Params: params}}
}
