package life

import (
	"bufio"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
)

// Sums is the file beside the plugins' binaries with the SHA-256 of those that are
// shipped with them, as sha256sum writes it. A binary that is in it is granted all
// that it asks for. Who may change the file may change the binaries: one that others
// than its owner can write is not believed.
const Sums = "SHA256SUMS"

// Granted tells what of the permissions asked for a plugin's binary is granted: by
// Sums, by the configuration, and by the administrator.
func (s *Service) Granted(ctx context.Context, name string, sum []byte, asked []string) ([]string, error) {
	if s.shipped(name, sum) {
		return asked, nil
	}
	granted := slices.Clone(s.o.Grants[name])
	if s.store == nil {
		return granted, nil
	}
	rows, err := store.Sound(ctx, s.store, grantType, store.PassedOver(s.o.Log), "`pluginUuid` = ?", uuidOf(name))
	for _, row := range rows {
		granted = append(granted, row.Permission)
	}
	return granted, err
}

func (s *Service) shipped(name string, sum []byte) bool {
	path := filepath.Join(s.o.Dir, Sums)
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	if info, err := f.Stat(); err != nil || info.Mode().Perm()&0o022 != 0 {
		s.o.Log.Warn("checksums that others can write are not believed", "file", path, "error", err)
		return false
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		has, file, _ := strings.Cut(lines.Text(), " ")
		if strings.TrimLeft(file, " *") == filepath.Base(plugin.Path(s.o.Dir, name)) && strings.EqualFold(has, hex.EncodeToString(sum)) {
			return true
		}
	}
	return false
}

// grant adds permissions to those of a plugin; one that it has is a success.
func (s *Service) grant(ctx context.Context, uuid string, permissions []string) error {
	for _, p := range permissions {
		if err := pluginsdk.CheckPermission(p); err != nil {
			return err
		}
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		for _, p := range permissions {
			_, found, err := store.First(ctx, tx, grantType, "`pluginUuid` = ? AND `permission` = ?", uuid, p)
			if err != nil || found {
				if err != nil {
					return err
				}
				continue
			}
			row := &Grant{PluginUUID: uuid, Permission: p}
			row.UUID = resource.NewUUID()
			if err := store.Insert(ctx, tx, grantType, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// revoke takes permissions away; one that it does not have is a success.
func (s *Service) revoke(ctx context.Context, uuid string, permissions []string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		rows, err := store.Find(ctx, tx, grantType, "`pluginUuid` = ?", uuid)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if slices.Contains(permissions, row.Permission) {
				if err := store.Delete(ctx, tx, grantType.Type, row.UUID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
