package trust

import (
	"context"
	"encoding/base64"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const ofPlugin = "`plugin` = ? AND `name` = ?"

// Secret returns what a plugin keeps under a name. Errors: NotFound.
func (s *Service) Secret(ctx context.Context, plugin, name string) ([]byte, error) {
	row, found, err := store.First(ctx, s.store, secretType, ofPlugin, plugin, name)
	if err == nil && !found {
		err = errs.New(errs.NotFound, "secret "+name, "plugin %s keeps nothing under this name", plugin)
	}
	if err != nil {
		return nil, err
	}
	value, err := base64.StdEncoding.DecodeString(row.Value)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "secret "+name, err, "what plugin %s keeps cannot be read", plugin)
	}
	return value, nil
}

// PutSecret keeps a value for a plugin; an empty one is removed. A repeat changes nothing.
func (s *Service) PutSecret(ctx context.Context, plugin, name string, value []byte) error {
	text := base64.StdEncoding.EncodeToString(value)
	return s.store.Update(ctx, func(tx *store.Tx) error {
		row, found, err := store.First(ctx, tx, secretType, ofPlugin, plugin, name)
		switch {
		case err != nil || !found && text == "":
			return err
		case text == "":
			return store.Delete(ctx, tx, secretType.Type, row.UUID)
		case found && row.Value == text:
			return nil
		case found:
			return store.Set(ctx, tx, secretType.Type, row.UUID, map[string]any{"secretValue": text})
		}
		return store.Insert(ctx, tx, secretType, &Secret{UUID: resource.NewUUID(), Plugin: plugin, Name: name, Value: text})
	})
}

// ForgetPlugin removes all that a plugin keeps.
func (s *Service) ForgetPlugin(ctx context.Context, plugin string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `PluginSecret` WHERE `plugin` = ?", plugin)
		return err
	})
}
