package main

import (
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The suite is about the plugin, so its host is the kit's; the other tests of
// this package have a real agent.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kumo-plugin-localstorage")
	rig.Build(t, "./plugins/localstorage", binary)
	root := t.TempDir()
	core := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{hostUUID: plugintest.FolderAgent(t, root)}}
	src, _ := source(t, image(t), "qcow2")
	plugintest.PrimaryStorage(t, plugintest.PrimaryStorageFixture{
		Conn:    plugintest.Process(t, binary, plugintest.WithCore(core)),
		Storage: &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: filepath.Join(root, "storage")},
		Invalid: &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: "/proc/storage"},
		Host:    &pluginv1.Host{Uuid: hostUUID, HypervisorType: "KVM"},
		Image:   src,
	})
}
