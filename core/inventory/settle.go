package inventory

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// atOnce is how many removals are found, or read, at once.
const atOnce = 500

// settle finds what is gone, and decides whether that is applied.
func (s *Service) settle(ctx context.Context, r *run) error {
	p, err := s.k.Plugins.InventorySync(r.Type)
	if err != nil {
		return err
	}
	types := p.Decl.GetTypes()
	row, err := store.Get(ctx, s.k.Store, syncType, r.UUID)
	if err != nil {
		return err
	}
	for after := ""; ; {
		if err := flow.Stopped(ctx); err != nil {
			return err
		}
		n, last, err := s.gone(ctx, r, types, row.CreateDate, after)
		if err != nil {
			return err
		}
		if after = last; n < atOnce {
			break
		}
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error { return s.decide(ctx, tx, r, types) })
}

// gone makes items of some that are gone.
func (s *Service) gone(ctx context.Context, r *run, types []string, began resource.Time, after string) (n int, last string, err error) {
	err = s.k.Store.Update(ctx, func(tx *store.Tx) error {
		list, err := origin.Unseen(ctx, tx, r.Endpoint, types, r.UUID, began, after, atOnce)
		if err != nil || len(list) == 0 {
			n = 0
			return err
		}
		var items []*Item
		for _, o := range list {
			items = append(items, item(r, origin.Key{Type: o.ResourceType, ForeignID: o.ForeignID}, o.ResourceUUID, Removed, Waiting, "", ""))
		}
		n, last = len(list), list[len(list)-1].UUID
		if items, err = unknown(ctx, tx, items); err != nil {
			return err
		}
		return store.Insert(ctx, tx, itemType, items...)
	})
	return n, last, err
}

// decide ends the run, or has it wait, or its removals be applied.
func (s *Service) decide(ctx context.Context, tx *store.Tx, r *run, types []string) error {
	row, err := store.Get(ctx, tx, syncType, r.UUID)
	if err != nil {
		return err
	}
	if row.Removed, err = store.Count(ctx, tx, itemType.Type, "`syncUuid` = ? AND `what` = ?", r.UUID, Removed); err != nil {
		return err
	}
	of, err := origin.Count(ctx, tx, r.Endpoint, types)
	if err != nil {
		return err
	}
	if row.ByInterval && row.Removed*100 <= of*s.k.Config.Int64(ctx, category, share, "") {
		row.Removals = Apply
	}
	row.State, row.EndDate, row.Cursor = Done, resource.Now(), ""
	if row.Removed > 0 {
		row.State = Waiting
	}
	r.Apply = row.Removed > 0 && row.Removals == Apply
	return store.Save(ctx, tx, syncType, row, "removed", "removals", "state", "endDate", "cursor")
}

// remove takes away what is gone, children first. What cannot be is told by its item.
func (s *Service) remove(ctx context.Context, r *run) error {
	p, err := s.k.Plugins.InventorySync(r.Type)
	if err != nil {
		return err
	}
	types := slices.Clone(p.Decl.GetTypes())
	slices.Reverse(types)
	for _, typeName := range types {
		if err := s.removeAll(ctx, r, typeName); err != nil {
			return err
		}
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error { return s.removed(ctx, tx, r) })
}

func (s *Service) removeAll(ctx context.Context, r *run, typeName string) error {
	for after := ""; ; {
		items, err := store.Find(ctx, s.k.Store, itemType, "`syncUuid` = ? AND `what` = ? AND `state` = ? AND `resourceType` = ? AND `uuid` > ? ORDER BY `uuid` LIMIT ?",
			r.UUID, Removed, Waiting, typeName, after, atOnce)
		if err != nil {
			return err
		}
		for _, i := range items {
			if err := flow.Stopped(ctx); err != nil {
				return err
			}
			if err := s.removeOne(ctx, i); err != nil {
				return err
			}
			after = i.UUID
		}
		if len(items) < atOnce {
			return nil
		}
	}
}

// removeOne takes one row away, if it still stands for what is gone.
func (s *Service) removeOne(ctx context.Context, i *Item) error {
	o, err := origin.Get(ctx, s.k.Store, i.ResourceUUID)
	if err != nil {
		return err
	}
	i.State, i.Reason = Done, ""
	if o != nil && o.ForeignID == i.ForeignID {
		_, err = s.k.Actions.DoSystem(ctx, forgetMessage, map[string]any{"resourceUuid": i.ResourceUUID, "resourceType": i.ResourceType})
		if stopped := flow.Stopped(ctx); stopped != nil {
			return stopped
		}
		switch errs.ClassOf(err) {
		case errs.Refused:
			i.State = Kept
		default:
			i.State = Waiting
		}
		if err == nil {
			i.State = Done
		} else {
			i.Reason = errtext.Short(err.Error())
		}
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error { return store.Save(ctx, tx, itemType, i, "state", "reason") })
}

// removed ends the run, unless something is left to be tried again.
func (s *Service) removed(ctx context.Context, tx *store.Tx, r *run) error {
	row, err := store.Get(ctx, tx, syncType, r.UUID)
	if err != nil {
		return err
	}
	if row.Kept, err = store.Count(ctx, tx, itemType.Type, "`syncUuid` = ? AND `what` = ? AND `state` = ?", r.UUID, Removed, Kept); err != nil {
		return err
	}
	left, err := store.Count(ctx, tx, itemType.Type, "`syncUuid` = ? AND `what` = ? AND `state` = ?", r.UUID, Removed, Waiting)
	if err != nil {
		return err
	}
	row.State, row.EndDate = Done, resource.Now()
	if left > 0 {
		row.State = Waiting
	}
	return store.Save(ctx, tx, syncType, row, "kept", "state", "endDate")
}
