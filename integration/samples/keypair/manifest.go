package main

import (
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var manifest = &pluginv1.Manifest{
	Name: "keypair", Version: "1", Description: "Key pairs, as the sample of a plugin with types of its own.",
	Caption:       pluginsdk.Say("Key pairs", "密钥对"),
	Permissions:   []string{"query:SampleKeyRing", "act:APICreateUserTagMsg"},
	ResourceTypes: []*pluginv1.ResourceTypeDecl{keyPair, keyRing},
}

var keyPair = &pluginv1.ResourceTypeDecl{
	Name: "SampleKeyPair", Path: "/sample-key-pairs", Owned: true, Calls: true,
	Caption: pluginsdk.Say("Sample key pair", "示例密钥对"), Doc: pluginsdk.Say("A public key that is published.", "已发布的公钥。"),
	Icon: "key", Group: "compute", Quota: "sampleKeyPair.num",
	Fields: []*pluginv1.Field{
		{Name: "publicKey", MaxLength: 4096, Required: true, Holds: "key", Caption: pluginsdk.Say("Public key", "公钥")},
		{Name: "passphrase", Secret: true, Immutable: true, Caption: pluginsdk.Say("Passphrase", "口令")},
		{Name: "label", MaxLength: 64, Unique: true, Caption: pluginsdk.Say("Label", "标识")},
		{Name: "usage", Values: []string{"login", "signing"}, Default: "login", Caption: pluginsdk.Say("Usage", "用途"), Words: []*pluginv1.ValueWord{
			{Value: "login", Caption: pluginsdk.Say("Log-in", "登录")}, {Value: "signing", Caption: pluginsdk.Say("Signing", "签名")}}},
		{Name: "weight", Kind: "double", Caption: pluginsdk.Say("Weight", "权重")},
		{Name: "logins", Kind: "int", Min: 1, Max: 1000, Default: "10", Caption: pluginsdk.Say("Logins", "登录次数")},
		{Name: "expires", Kind: "time", Caption: pluginsdk.Say("Expires", "过期时间")},
		{Name: "zoneUuid", Immutable: true, Caption: pluginsdk.Say("Zone", "区域")},
		{Name: "ringUuid", Caption: pluginsdk.Say("Key ring", "密钥环")},
		{Name: "fingerprint", Fact: true, Caption: pluginsdk.Say("Fingerprint", "指纹")},
		{Name: "published", Kind: "time", Fact: true, Caption: pluginsdk.Say("Published", "发布时间")},
		{Name: "revoked", Fact: true, Caption: pluginsdk.Say("Revoked because", "撤销原因")},
		{Name: "state", MaxLength: 32, Caption: pluginsdk.Say("State", "状态")},
	},
	Edges: []*pluginv1.EdgeDecl{
		{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "sampleKeyPairs"},
		{Name: "ring", To: "SampleKeyRing", Column: "ringUuid", OnDelete: pluginsdk.OnDeleteDetach, Inverse: "keyPairs"},
	},
	States: &pluginv1.StatesDecl{
		Column: "state", Creating: "Creating", Ready: "Enabled", Change: &pluginv1.ResourceMessage{},
		Moves: []*pluginv1.StateMove{{Event: "enable", From: "Disabled", To: "Enabled"}, {Event: "disable", From: "Enabled", To: "Disabled"}},
	},
	Columns: []string{"name", "state", "usage", "fingerprint", "createDate"},
	Create:  &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
	Actions: []*pluginv1.ActionDecl{{
		Message: "APIRevokeSampleKeyPairsMsg", On: pluginsdk.ActsOnMany, Caption: pluginsdk.Say("Revoke", "撤销"), Doc: "Withdraws what was published.",
		Params: []*pluginv1.Field{{Name: "reason", Required: true, MaxLength: 255, Caption: pluginsdk.Say("Reason", "原因")}},
	}},
	Tags: []*pluginv1.TagDecl{{Pattern: "rotation::{days}", Single: true, Caption: pluginsdk.Say("Rotation in days", "轮换天数")}},
}

var keyRing = &pluginv1.ResourceTypeDecl{
	Name: "SampleKeyRing", Path: "/sample-key-rings", Owned: true,
	Caption: pluginsdk.Say("Sample key ring", "示例密钥环"), Icon: "key", Group: "compute",
	Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
}
