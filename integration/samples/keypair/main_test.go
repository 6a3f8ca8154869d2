package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestLimits counts what resource types of a plugin's own cost: at most 4 files with
// the test, and 180 lines without (architecture, section 5).
func TestLimits(t *testing.T) {
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if len(files) > 4 || lines > 180 {
		t.Errorf("the sample has %d files and %d lines; the limits are 4 and 180", len(files), lines)
	}
}

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0QmTVs1zCqCsUO/DykGnbOaJ1bnEjXzB3bUQ4zuC6H someone"

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	conn := plugintest.Loopback(t, plugin(), plugintest.WithDataDir(dir))
	told := func(values map[string]any) map[string]*pluginv1.Value {
		v, err := pluginsdk.Values(values)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	plugintest.ResourceProvider(t, plugintest.ResourceProviderFixture{
		Conn: conn,
		New: func(_ int, uuid string) *pluginv1.Resource {
			return &pluginv1.Resource{Type: keyPair.Name, Uuid: uuid, Values: told(map[string]any{"name": "k", "publicKey": key})}
		},
		Change: func(r *pluginv1.Resource) []string {
			r.Values = told(map[string]any{"name": "k", "publicKey": key + "else"})
			return []string{"publicKey"}
		},
		Refused: func(r *pluginv1.Resource) { r.Values = told(map[string]any{"name": "k", "publicKey": "none"}) },
		Exists: func(_ context.Context, uuid string) (bool, error) {
			_, err := os.Stat(filepath.Join(dir, uuid+".pub"))
			if os.IsNotExist(err) {
				return false, nil
			}
			return err == nil, err
		},
		Actions: []*pluginv1.ActOnResourceRequest{{Message: "APIRevokeSampleKeyPairsMsg", Params: told(map[string]any{"reason": "lost"})}},
	})
}
