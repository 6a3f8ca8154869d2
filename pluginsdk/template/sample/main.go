// Command kumo-plugin-sample keeps volumes as qcow2 files in a folder on each
// host. It must not import anything of core or web.
package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// pluginName is also the end of the binary's name, kumo-plugin-sample.
	pluginName = "sample"
	// storageType is the type on the wire, as in AddSamplePrimaryStorage.
	storageType = "Sample"
)

// version is set when the plugin is built: -ldflags "-X main.version=1.2.3".
var version = "0.1.0"

func main() { pluginsdk.Serve(newPlugin()) }

// newPlugin declares the plugin; the core believes the manifest, and the SDK
// compares it with the code at the start.
func newPlugin() pluginsdk.Plugin {
	d := &driver{}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name:        pluginName,
			Version:     version,
			Description: "volumes as files in a folder on each host",
			Permissions: []string{pluginsdk.PermissionHostCall},
			PrimaryStorages: []*pluginv1.PrimaryStorageDecl{{
				Type: storageType,
				Add: &pluginv1.AddMessage{
					Message:        "APIAdd" + storageType + "PrimaryStorageMsg",
					Path:           "/primary-storage/" + pluginName,
					InventoryClass: "PrimaryStorageInventory",
				},
				HostLocal:       true,
				HypervisorTypes: []string{"KVM"},
				Optional:        []string{pluginsdk.OptionalResize, pluginsdk.OptionalList},
			}},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			d.core = env.Core
			return nil
		},
		PrimaryStorage: d,
	}
}
