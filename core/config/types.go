package config

import "github.com/kumo-cloud/kumo/core/resource"

// GlobalConfig is the row of a setting.
type GlobalConfig struct {
	UUID         string `db:"uuid" kumo:"size=32,immutable,hidden"`
	ID           int64  `db:"id" kumo:"immutable"`
	Name         string `db:"name" kumo:"size=255,immutable"`
	Category     string `db:"category" kumo:"size=64,index,immutable"`
	Description  string `db:"description" kumo:"size=2048,null"`
	DefaultValue string `db:"defaultValue" kumo:"text"`
	Value        string `db:"value" kumo:"text"`
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
	Value        string `db:"value" kumo:"text"`
}

// The resource types of settings.
var (
	GlobalConfigType = resource.Define[GlobalConfig](resource.Type{
		Name: "GlobalConfig", Readable: resource.Global, Path: "/global-configurations", FQN: "org.zstack.core.config.GlobalConfigInventory"})
	ResourceConfigType = resource.Define[ResourceConfig](resource.Type{
		Name: "ResourceConfig", Follows: "resourceUuid", Path: "/resource-configurations", FQN: "org.zstack.resourceconfig.ResourceConfigInventory"})
)

// Types are the resource types of this package.
func Types() []*resource.Type {
	return []*resource.Type{GlobalConfigType.Type, ResourceConfigType.Type}
}
