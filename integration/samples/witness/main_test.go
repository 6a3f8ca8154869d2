package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	plugintest.Observer(t, plugintest.ObserverFixture{Conn: plugintest.Loopback(t, plugin(), plugintest.WithDataDir(dir)),
		Subject: func(_, uuid string) *pluginv1.PointSubject {
			return &pluginv1.PointSubject{Type: "VmInstance", Uuid: uuid}
		},
		Exists: func(_ context.Context, point, uuid string) (bool, error) {
			text, err := os.ReadFile(filepath.Join(dir, "points"))
			if os.IsNotExist(err) {
				return false, nil
			}
			all := "\n" + string(text)
			did, undid := strings.LastIndex(all, "\ndo "+point+" "+uuid), strings.LastIndex(all, "\nundo "+point+" "+uuid)
			return did > undid, err
		},
	})
}
