package config

import (
	"cmp"

	"github.com/kumo-cloud/kumo/core/resource"
)

// GlobalConfig is the row of a setting.
type GlobalConfig struct {
	UUID         string `db:"uuid" kumo:"size=32,immutable,hidden"`
	ID           int64  `db:"id" kumo:"immutable" caption:"Number|编号"`
	Name         string `db:"name" kumo:"size=255,immutable"`
	Category     string `db:"category" kumo:"size=64,index,immutable"`
	Description  string `db:"description" kumo:"size=2048,null"`
	DefaultValue string `db:"defaultValue" kumo:"text" caption:"Default|默认值"`
	// Value is what clients see; Sealed is a secret one.
	Value  string `db:"value" kumo:"text"`
	Sealed string `db:"sealed" kumo:"text,null,secret"`
}

// text returns the value, also a secret one.
func (g *GlobalConfig) text() string { return cmp.Or(g.Sealed, g.Value) }

// set gives the row a value; it reports whether that is another one.
func (g *GlobalConfig) set(d *Setting, text string) bool {
	return set(d, text, &g.Value, &g.Sealed)
}

func set(d *Setting, text string, value, sealed *string) bool {
	oldValue, oldSealed := *value, *sealed
	*value, *sealed = d.shown(text), ""
	if d.Secret {
		*sealed = text
	}
	return *value != oldValue || *sealed != oldSealed
}

// ResourceConfig is the row of an override.
type ResourceConfig struct {
	resource.Ident
	resource.Owned
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,immutable,index"`
	// ResourceType is the wire's name of the stored type: "HostVO".
	ResourceType string `db:"resourceType" kumo:"size=64,immutable"`
	Name         string `db:"name" kumo:"size=255,immutable"`
	Description  string `db:"description" kumo:"size=2048,null"`
	Category     string `db:"category" kumo:"size=64,immutable"`
	// Value is what clients see; Sealed is a secret one.
	Value  string `db:"value" kumo:"text"`
	Sealed string `db:"sealed" kumo:"text,null,secret"`
}

// text returns the value, also a secret one.
func (r *ResourceConfig) text() string { return cmp.Or(r.Sealed, r.Value) }

// set gives the row a value; it reports whether that is another one.
func (r *ResourceConfig) set(d *Setting, text string) bool {
	return set(d, text, &r.Value, &r.Sealed)
}

// The resource types of settings.
var (
	GlobalConfigType = resource.Define[GlobalConfig](resource.Type{
		Name: "GlobalConfig", Readable: resource.Global, Path: "/global-configurations", FQN: "org.zstack.core.config.GlobalConfigInventory",
		View: resource.View{
			Caption: resource.Say("Setting", "全局设置"), Noun: "setting", Aliases: []string{"global-config"},
			Group: "administration", Order: 90, Icon: "setting", Label: "name", Context: []string{"category"},
			Doc:     resource.Say("A setting of the whole cloud.", "整个云的设置。"),
			Columns: []string{"category", "name", "value", "defaultValue"},
		},
	})
	ResourceConfigType = resource.Define[ResourceConfig](resource.Type{
		Name: "ResourceConfig", Follows: "resourceUuid", Incidental: true, Path: "/resource-configurations", FQN: "org.zstack.resourceconfig.ResourceConfigInventory",
		View: resource.View{
			Caption: resource.Say("Setting of this resource", "资源设置"), Plural: resource.Say("Settings of this resource", "资源设置"), Noun: "resource-setting",
			Group: "administration", Icon: "setting", Part: true, Label: "name", Context: []string{"category"},
			Doc:     resource.Say("A setting that counts for one resource.", "只对某个资源生效的设置。"),
			Columns: []string{"category", "name", "value", "resourceUuid"},
		},
	})
)

// Types are the resource types of this package.
func Types() []*resource.Type {
	return []*resource.Type{GlobalConfigType.Type, ResourceConfigType.Type}
}
