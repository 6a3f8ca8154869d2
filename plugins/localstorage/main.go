package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(newPlugin()) }

// newPlugin declares the storage type: message, path and parameters are those
// of the wire catalogue (APIAddLocalPrimaryStorageMsg).
func newPlugin() pluginsdk.Plugin {
	s := &storage{}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "localstorage", Version: version,
			Caption:     pluginsdk.Say("Local storage", "本地存储"),
			Description: "Keeps volumes as qcow2 files in a folder of each host.",
			PrimaryStorages: []*pluginv1.PrimaryStorageDecl{{
				Type: "LocalStorage",
				Add: &pluginv1.AddMessage{
					Message:        "APIAddLocalPrimaryStorageMsg",
					Path:           "/primary-storage/local-storage",
					InventoryClass: "org.zstack.header.storage.primary.PrimaryStorageInventory",
					Subtype:        "LocalStoragePrimaryStorage",
					UrlHolds:       "plainpath",
					Caption:        pluginsdk.Say("Local storage", "本地存储"),
					Doc:            pluginsdk.Say("A folder of each host that keeps the volumes of its guests.", "各物理机上保存本机云主机云盘的目录。"),
				},
				HostLocal:       true,
				HypervisorTypes: []string{"KVM"},
				Optional:        []string{pluginsdk.OptionalResize, pluginsdk.OptionalList},
				ImageFormats:    imageFormats,
			}},
			Permissions: []string{pluginsdk.PermissionHostCall},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			s.core = env.Core
			return nil
		},
		PrimaryStorage: s,
	}
}
