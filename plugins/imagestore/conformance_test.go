package main

import (
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kumo-plugin-imagestore")
	rig.Build(t, "./plugins/imagestore", binary)
	_, data := makeImage(t)
	row := func(url string) *pluginv1.Storage {
		return &pluginv1.Storage{Uuid: storeUUID, Url: url, Fields: map[string]string{"hostname": "127.0.0.1"}}
	}
	plugintest.BackupStorage(t, plugintest.BackupStorageFixture{
		Conn:     plugintest.Process(t, binary),
		Store:    row(filepath.Join(t.TempDir(), "store")),
		Invalid:  row("/proc/store"),
		ImageURL: serveBytes(t, data),
	})
}
