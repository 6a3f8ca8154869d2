package main

import (
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kumo-plugin-localstorage")
	rig.Build(t, "./plugins/localstorage", binary)
	src, _ := source(t, image(t), "qcow2")
	plugintest.PrimaryStorage(t, plugintest.PrimaryStorageFixture{
		Conn:    plugintest.Process(t, binary, plugintest.WithCore(newCore(t))),
		Storage: &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: filepath.Join(t.TempDir(), "storage")},
		Invalid: &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: "/proc/storage"},
		Host:    &pluginv1.Host{Uuid: hostUUID, HypervisorType: "KVM"},
		Image:   src,
	})
}
