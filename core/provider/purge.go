package provider

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// purgedAtOnce is how many rows a purge reads at once.
const purgedAtOnce = 500

// Clear deletes all rows of a plugin's types, with what depends on them, and what
// deletes before have left of such. The plugin removes what they stand for; when it is
// abandoned it is not asked, and that stays. It can be repeated, and goes on then where
// it ended. Errors: those of the row that stays.
func (s *Service) Clear(ctx context.Context, plugin string, abandon bool) error {
	var types []*served
	for _, t := range *s.types.Load() {
		if t.plugin == plugin {
			types = append(types, t)
		}
	}
	for {
		gone, left, err := s.clear(ctx, types, abandon)
		if !left {
			return s.clearLeft(ctx, types, abandon)
		}
		if gone == 0 || ctx.Err() != nil {
			return err
		}
	}
}

// clear deletes some rows of each type, and tells how many, and whether there were any;
// err is why the first of those that stay does.
func (s *Service) clear(ctx context.Context, types []*served, abandon bool) (gone int, left bool, err error) {
	mode := cascade.Permissive
	if abandon {
		mode = cascade.Enforcing
	}
	for _, t := range types {
		uuids, listed := store.Texts(ctx, s.k.Store, "SELECT `uuid` FROM `"+t.GetName()+"` ORDER BY `uuid` LIMIT ?", purgedAtOnce)
		if listed != nil {
			return 0, true, listed
		}
		left = left || len(uuids) > 0
		for _, uuid := range uuids {
			if ctx.Err() != nil {
				return gone, true, ctx.Err()
			}
			failed := s.k.Cascade.Turn(ctx, ctx.Done(), uuid, func(ctx context.Context) error {
				return s.k.Cascade.Delete(ctx, t.GetName(), uuid, mode, flow.Options{Key: uuid})
			})
			if failed == nil {
				gone++
			}
			err = cmp.Or(err, failed)
		}
	}
	return gone, left, err
}

// clearLeft does away with what deletes have left.
func (s *Service) clearLeft(ctx context.Context, types []*served, abandon bool) error {
	for _, t := range types {
		left, err := s.k.Cascade.LeftOfType(ctx, t.GetName())
		if err != nil {
			return err
		}
		for _, g := range left {
			if abandon {
				err = s.k.Cascade.Forget(ctx, g.UUID)
			} else {
				err = s.k.Cascade.CollectOne(ctx, g.UUID)
			}
			if err != nil {
				return errs.Wrap(errs.ClassOf(err), t.GetName()+" "+g.ResourceUUID, err, "what a delete has left of it cannot be cleaned up").
					WithAdvice("see kumo gc ls, or abandon what the plugin has made")
			}
		}
	}
	return nil
}

// Forget removes the types of a plugin that is off, whose rows are gone: from the running
// server, and their tables. It can be repeated, and is finished with the next start when
// it does not end.
func (s *Service) Forget(ctx context.Context, plugin string) error {
	err := s.k.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE `PluginType` SET `declaration` = ? WHERE `plugin` = ?", forgotten, plugin)
		return err
	})
	if err == nil {
		err = s.k.Retake(ctx)
	}
	if err != nil {
		return err
	}
	return s.dropForgotten(ctx)
}

// forgotten is the declaration of a type whose table is being dropped.
const forgotten = ""

// dropForgotten drops the tables of types that are forgotten, and then what is known of
// them. A type of that name that somebody declares meanwhile keeps its table.
func (s *Service) dropForgotten(ctx context.Context) error {
	rows, err := store.Find(ctx, s.k.Store, knownType, "`declaration` = ?", forgotten)
	if err != nil || len(rows) == 0 {
		return err
	}
	var names, uuids []string
	for _, row := range rows {
		if !slices.ContainsFunc(*s.types.Load(), func(t *served) bool { return t.GetName() == row.Name }) {
			names, uuids = append(names, row.Name), append(uuids, row.UUID)
		}
	}
	if err := s.k.Store.DropTables(ctx, names...); err != nil || len(uuids) == 0 {
		return err
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `PluginType` WHERE `uuid` IN (?)", uuids)
		return err
	})
}
