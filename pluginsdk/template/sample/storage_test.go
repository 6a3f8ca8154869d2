package main

import (
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestConformance runs the kit's checks against the plugin, through real gRPC,
// with a host that is a folder.
func TestConformance(t *testing.T) {
	root := t.TempDir()
	host := &pluginv1.Host{Uuid: plugintest.NewUUID(), HypervisorType: "KVM"}
	core := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{
		host.Uuid: plugintest.FolderAgent(t, root),
	}}
	uuid := plugintest.NewUUID()
	plugintest.PrimaryStorage(t, plugintest.PrimaryStorageFixture{
		Conn:    plugintest.Loopback(t, newPlugin(), plugintest.WithCore(core)),
		Storage: &pluginv1.Storage{Uuid: uuid, Type: storageType, Url: filepath.Join(root, "storage")},
		Invalid: &pluginv1.Storage{Uuid: uuid, Type: storageType, Url: "/etc"},
		Host:    host,
		Image:   plugintest.Image(t, 16<<20).Source,
	})
}
