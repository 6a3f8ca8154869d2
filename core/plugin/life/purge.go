package life

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Rows are the resources that there are because of plugins.
type Rows interface {
	// Unneeded is an error while there are resources of the core's own types that cannot be
	// without a plugin.
	Unneeded(ctx context.Context, plugin string) error
	// Clear deletes all rows of a plugin's types. abandon: the plugin is not asked.
	Clear(ctx context.Context, plugin string, abandon bool) error
	// Forget removes the types of a plugin that is off, with their tables.
	Forget(ctx context.Context, plugin string) error
}

type purgeParams struct {
	one
	Abandon bool `api:"abandon" caption:"Abandon|遗弃外部资源" doc:"Does not ask the plugin, which may be gone: what it has made outside of the cloud's database stays there."`
}

// purge removes a plugin with all that it has brought. Each of its steps can be repeated:
// what a core that dies meanwhile leaves is a plugin with fewer rows, which is purged
// again.
func (s *Service) purge(ctx context.Context, uuid string, abandon bool) error {
	row, err := store.Get(ctx, s.store, Type, uuid)
	if err != nil {
		return err
	}
	if err := s.rows.Unneeded(ctx, row.Name); err != nil {
		return err
	}
	if abandon {
		if err := s.changeState(ctx, uuid, "disable"); err != nil { // it is not asked
			return err
		}
	} else {
		if err := s.plugins.Enable(ctx, row.Name); err != nil {
			return errs.Wrap(errs.ClassOf(err), "plugin "+row.Name, err, "it is needed to remove what it has made").
				WithAdvice("to leave that where it is: kumo plugin purge %s --abandon", row.Name)
		}
	}
	if err := s.rows.Clear(ctx, row.Name, abandon); err != nil {
		return err
	}
	if !abandon {
		if err := s.plugins.Purge(ctx, row.Name); err != nil {
			return err
		}
	}
	if err := s.changeState(ctx, uuid, "disable"); err != nil {
		return err
	}
	if err := s.plugins.Forget(ctx, row.Name); err != nil && errs.ClassOf(err) != errs.NotFound {
		return err
	}
	if err := s.rows.Forget(ctx, row.Name); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `PluginGrant` WHERE `pluginUuid` = ?", uuid); err != nil {
			return err
		}
		return store.Set(ctx, tx, Type.Type, uuid, map[string]any{"manifest": "", "provides": nil, "version": "", "permissions": nil, "missing": nil})
	})
}
