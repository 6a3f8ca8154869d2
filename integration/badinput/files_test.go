package badinput

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// Files of the management node become images for administrators alone, and only
// from the folders that the operator lists.
func TestImageFromFile(t *testing.T) {
	dir := server.Folder(t)
	sources, config := filepath.Join(dir, "sources"), filepath.Join(dir, "config.yaml")
	data := bytes.Repeat([]byte{7}, 1<<20)
	for _, err := range []error{
		os.Mkdir(sources, 0o700), os.WriteFile(sources+"/disk.raw", data, 0o600), os.WriteFile(dir+"/disk.raw", data, 0o600),
		os.Symlink(dir+"/disk.raw", sources+"/link.raw"),
		os.WriteFile(config, fmt.Appendf(nil, "plugin-settings:\n  imagestore:\n    fileFolders: %s\n", sources), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := server.Start(t, server.Options{Plugins: []string{"imagestore"}, Args: []string{"--config", config}})
	ctx, admin, tenant := t.Context(), s.Client, wire.New(s.URL)
	store, err := admin.Create(ctx, wire.BackupStorages+"/image-store", wire.Params{"name": "files", "url": dir + "/store", "hostname": "127.0.0.1", "username": "root", "password": "none"})
	if err == nil {
		_, err = admin.Create(ctx, "/accounts", wire.Params{"name": "ann", "password": wire.HashPassword("pw")})
	}
	if err == nil {
		err = tenant.Login(ctx, "ann", "pw")
	}
	if err != nil {
		t.Fatal(err)
	}
	add := func(c *wire.Client, url string) (string, error) {
		return c.Create(ctx, wire.Images, wire.Params{"name": "i", "url": url, "format": "raw", "mediaType": "RootVolumeTemplate", "backupStorageUuids": []string{store}})
	}
	for name, c := range map[string]struct {
		client    *wire.Client
		url, says string
	}{
		"account, database":            {tenant, "file://" + s.Dir + "/kumo.db-wal", "administrator"},
		"account, listed folder":       {tenant, "file://" + sources + "/disk.raw", "administrator"},
		"account, capital letters":     {tenant, "FILE://" + sources + "/disk.raw", "administrator"},
		"account, another scheme":      {tenant, "gopher://127.0.0.1/disk.raw", "administrator"},
		"account, no scheme":           {tenant, sources + "/disk.raw", "administrator"},
		"account, no URL":              {tenant, "\x01file://" + sources + "/disk.raw", "no URL"},
		"administrator, database":      {admin, "file://" + s.Dir + "/kumo.db", "fileFolders"},
		"administrator, other folder":  {admin, "file://" + dir + "/disk.raw", "fileFolders"},
		"administrator, symbolic link": {admin, "file://" + sources + "/link.raw", "fileFolders"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := add(c.client, c.url); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if n, err := admin.Count(ctx, wire.Images); err != nil || n != 0 {
				t.Errorf("%d images: %v", n, err)
			}
		})
	}
	uuid, err := add(admin, "file://"+sources+"/disk.raw")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "store", "images", uuid, "image.raw")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the store has %d bytes: %v", len(got), err)
	}
}
