package config

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// bindable returns a setting that resources may override. errs.NotFound,
// errs.Invalid.
func (s *Service) bindable(category, name string) (*Setting, error) {
	d, err := s.lookup(category, name)
	if err == nil && len(d.Resources) == 0 {
		err = errs.New(errs.Invalid, d.label(), "it is global only; no resource can have its own value")
	}
	return d, err
}

// SetFor gives a resource its own value. errs.NotFound when the resource is
// none of the setting's types.
func (s *Service) SetFor(ctx context.Context, category, name, resourceUUID, value string) (string, error) {
	d, err := s.bindable(category, name)
	if err != nil {
		return "", err
	}
	v, err := d.parse(value)
	if err != nil {
		return "", err
	}
	uuid := ""
	err = s.store.Update(ctx, func(tx *store.Tx) (err error) {
		uuid, err = s.setFor(ctx, tx, d, resourceUUID, v)
		return err
	})
	return uuid, err
}

func (s *Service) setFor(ctx context.Context, tx *store.Tx, d *Setting, resourceUUID string, v parsed) (string, error) {
	typ, err := s.typeOf(ctx, tx, d, resourceUUID)
	if err != nil {
		return "", err
	}
	if typ == nil {
		return "", errs.New(errs.NotFound, "resource "+resourceUUID, "there is none of the types %q that can have %s", d.Resources, d.label())
	}
	if err := store.Hold(ctx, tx, typ, resourceUUID); err != nil {
		return "", err
	}
	row, found, err := store.First(ctx, tx, ResourceConfigType, "`resourceUuid` = ? AND `category` = ? AND `name` = ?", resourceUUID, d.Category, d.Name)
	if err != nil {
		return "", err
	}
	if found {
		row.set(d, v.text)
		err = store.Save(ctx, tx, ResourceConfigType, row, "value", "sealed")
	} else {
		row = &ResourceConfig{ResourceUUID: resourceUUID, ResourceType: typ.VO(), Name: d.Name, Category: d.Category, Description: d.Doc}
		row.set(d, v.text)
		row.UUID = resource.NewUUID()
		if row.AccountUUID, err = access.Owner(ctx, tx, s.store.Registry(), typ, resourceUUID); err == nil {
			err = store.Insert(ctx, tx, ResourceConfigType, row)
		}
	}
	if err != nil {
		return "", err
	}
	tx.OnCommit(func() {
		s.change(func(w *view) {
			if w.overrides[d.key()] == nil {
				w.overrides[d.key()] = map[string]parsed{}
			}
			w.overrides[d.key()][resourceUUID] = v
		})
	})
	return row.UUID, nil
}

// ClearFor takes a resource's own value away; none is a success.
func (s *Service) ClearFor(ctx context.Context, category, name, resourceUUID string) error {
	d, err := s.bindable(category, name)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `ResourceConfig` WHERE `resourceUuid` = ? AND `category` = ? AND `name` = ?", resourceUUID, category, name)
		if err == nil {
			tx.OnCommit(func() { s.change(func(w *view) { delete(w.overrides[d.key()], resourceUUID) }) })
		}
		return err
	})
}

// DeleteFor takes all of a resource's own values away, in the transaction that
// deletes it. A resource without any costs nothing.
func (s *Service) DeleteFor(ctx context.Context, tx *store.Tx, resourceUUID string) error {
	has := false
	for _, over := range s.view.Load().overrides {
		if _, ok := over[resourceUUID]; ok {
			has = true
			break
		}
	}
	if !has {
		return nil
	}
	if _, err := tx.Exec(ctx, "DELETE FROM `ResourceConfig` WHERE `resourceUuid` = ?", resourceUUID); err != nil {
		return err
	}
	tx.OnCommit(func() {
		s.change(func(w *view) {
			for _, over := range w.overrides {
				delete(over, resourceUUID)
			}
		})
	})
	return nil
}

// effective returns what clients see of a resource's value, and the overrides that
// it could come from, the nearest first.
func (s *Service) effective(ctx context.Context, d *Setting, resourceUUID string) (string, []*ResourceConfig, error) {
	chain, err := s.chain(ctx, d, resourceUUID)
	if err != nil {
		return "", nil, err
	}
	rows, err := store.Find(ctx, s.store, ResourceConfigType, "`category` = ? AND `name` = ? AND `resourceUuid` IN (?)", d.Category, d.Name, chain)
	if err != nil {
		return "", nil, err
	}
	slices.SortFunc(rows, func(a, b *ResourceConfig) int {
		return slices.Index(chain, a.ResourceUUID) - slices.Index(chain, b.ResourceUUID)
	})
	return d.shown(s.String(ctx, d.Category, d.Name, resourceUUID)), rows, nil
}
