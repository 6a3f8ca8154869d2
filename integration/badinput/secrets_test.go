package badinput

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// A copy of the database tells no secret: neither what the cloud keeps of its
// accounts, stores and calls, nor in what it notes of them on the way. Without
// its key the database is refused, and nothing is made in its place.
func TestDatabaseTellsNoSecrets(t *testing.T) {
	t.Parallel()
	dir := server.Folder(t)
	s := server.Start(t, server.Options{Plugins: []string{"imagestore"}})
	secrets := map[string]string{"an access key's secret": "key-sEcrEt-4711", "a store's password": "store-sEcrEt-0815", "a web hook's token": "hook-sEcrEt-2342"}
	_, err := s.Client.Create(t.Context(), "/accesskeys", wire.Params{"accountUuid": "36c27e8ff05c4780bf6d2fa65700f22e", "userUuid": "36c27e8ff05c4780bf6d2fa65700f22e",
		"AccessKeyID": "a-key-of-a-test-20ch", "AccessKeySecret": secrets["an access key's secret"]})
	if err != nil {
		t.Fatal(err)
	}
	store := wire.Params{"name": "store", "url": filepath.Join(dir, "store"), "hostname": "127.0.0.1", "username": "root", "password": secrets["a store's password"]}
	if _, err := s.Client.Create(t.Context(), wire.BackupStorages+"/image-store", store); err != nil {
		t.Fatal(err)
	}
	hook := http.Header{"X-Web-Hook": {"http://127.0.0.1:1/?token=" + secrets["a web hook's token"]}}
	if code, answer, err := s.Client.Raw(t.Context(), http.MethodPost, wire.Zones, hook, []byte(`{"params":{"name":"z"}}`)); err != nil || code != http.StatusAccepted {
		t.Fatalf("%d %s, %v", code, answer, err)
	}
	s.Stop()
	for path, text := range files(t, s.Dir) {
		if !strings.HasPrefix(filepath.Base(path), "kumo.db") {
			continue
		}
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", filepath.Base(path), what)
			}
		}
	}
	key, away := filepath.Join(s.Dir, "secrets.key"), filepath.Join(dir, "away")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key has mode %v, %v", info.Mode(), err)
	}
	if err := os.Rename(key, away); err != nil {
		t.Fatal(err)
	}
	binary, pluginDir := server.Build(t, "imagestore")
	serve := []string{"serve", "--data-dir", s.Dir, "--listen", server.FreeAddr(t), "--plugin-dir", pluginDir, "--plugins", "imagestore"}
	for range 2 {
		code, lines := run(t, binary, serve...)
		one(t, code, lines, "another key", key)
		if _, err := os.Stat(key); !os.IsNotExist(err) {
			t.Errorf("a key was made: %v", err)
		}
	}
	if err := os.WriteFile(key, []byte("no key at all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, lines := run(t, binary, serve...)
	one(t, code, lines, key, "no key")
	if err := os.Rename(away, key); err != nil {
		t.Fatal(err)
	}
	again := s.Again()
	if n, err := again.Client.Count(t.Context(), wire.BackupStorages); err != nil || n != 1 {
		t.Errorf("with its key again it has %d stores, %v", n, err)
	}
}
