package main

import (
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var manifest = &pluginv1.Manifest{
	Name: "nimbus", Version: "1", Description: "An invented cloud, as the sample of a plugin for something outside.",
	Caption:       pluginsdk.Say("Nimbus", "雨云"),
	ResourceTypes: []*pluginv1.ResourceTypeDecl{account, region, zone, instance},
	Inventories:   []*pluginv1.InventoryDecl{{EndpointType: account.Name, Types: []string{region.Name, zone.Name, instance.Name}}},
}

// of is the field and the edge by which rows belong to the account.
func of(inverse string) (*pluginv1.Field, *pluginv1.EdgeDecl) {
	return &pluginv1.Field{Name: "nimbusAccountUuid", Required: true, Immutable: true, Caption: pluginsdk.Say("Account", "账户")},
		&pluginv1.EdgeDecl{Name: "account", To: account.Name, Column: "nimbusAccountUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: inverse}
}

var account = &pluginv1.ResourceTypeDecl{
	Name: "NimbusAccount", Path: "/nimbus-accounts", Owned: true, Caption: pluginsdk.Say("Nimbus account", "雨云账户"), Group: "compute", Icon: "cloud",
	Fields: []*pluginv1.Field{
		{Name: "url", Required: true, MaxLength: 1024, Caption: pluginsdk.Say("URL", "地址")},
		{Name: "key", Required: true, Caption: pluginsdk.Say("Key", "密钥标识")},
		{Name: "secret", Required: true, Secret: true, Caption: pluginsdk.Say("Secret", "密钥")},
	},
	Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
}

var region = foreign("NimbusRegion", "/nimbus-regions", "nimbusRegions", pluginsdk.Say("Nimbus region", "雨云地域"))

var zone = func() *pluginv1.ResourceTypeDecl {
	d := foreign("NimbusZone", "/nimbus-zones", "nimbusZones", pluginsdk.Say("Nimbus zone", "雨云可用区"))
	d.Fields = append(d.Fields, &pluginv1.Field{Name: "regionUuid", Required: true, Immutable: true, Caption: pluginsdk.Say("Region", "地域")})
	d.Edges = append(d.Edges, &pluginv1.EdgeDecl{Name: "region", To: region.Name, Column: "regionUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "zones"})
	return d
}()

var instance = func() *pluginv1.ResourceTypeDecl {
	d := foreign("NimbusInstance", "/nimbus-instances", "nimbusInstances", pluginsdk.Say("Nimbus instance", "雨云实例"))
	d.Calls, d.Priced, d.Create = true, true, &pluginv1.ResourceMessage{}
	d.Foreign.Create, d.Foreign.Delete = true, []string{pluginsdk.DeleteRemote, pluginsdk.DeleteLocal}
	d.Fields = append(d.Fields, &pluginv1.Field{Name: "zoneUuid", Required: true, Immutable: true, Caption: pluginsdk.Say("Zone", "可用区")},
		&pluginv1.Field{Name: "size", Kind: "long", Min: 1, Max: 8, Required: true, Immutable: true, Caption: pluginsdk.Say("Size", "规格")})
	d.Edges = append(d.Edges, &pluginv1.EdgeDecl{Name: "zone", To: zone.Name, Column: "zoneUuid", OnDelete: pluginsdk.OnDeleteCascade, Inverse: "instances"})
	return d
}()

// foreign is a type of things at an account, which are named and forgotten here.
func foreign(name, path, inverse string, caption *pluginv1.Caption) *pluginv1.ResourceTypeDecl {
	field, edge := of(inverse)
	return &pluginv1.ResourceTypeDecl{Name: name, Path: path, OwnedBy: edge.Name, Caption: caption, Group: "compute", Icon: "cloud",
		Fields: []*pluginv1.Field{field}, Edges: []*pluginv1.EdgeDecl{edge}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
		Foreign: &pluginv1.ForeignDecl{EndpointType: account.Name, Endpoint: field.Name, Delete: []string{pluginsdk.DeleteLocal}}}
}
