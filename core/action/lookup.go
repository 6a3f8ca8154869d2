package action

import (
	"context"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// rows finds resources in the database.
type rows struct {
	store *store.Store
	types *resource.Registry
}

// NewLookup returns the Lookup over a database. A target of an unregistered
// type gives errs.Internal: an action names a type that nobody declared.
func NewLookup(st *store.Store, types *resource.Registry) Lookup {
	return &rows{store: st, types: types}
}

// Lookup implements Lookup with one read by primary key for each target.
func (l *rows) Lookup(ctx context.Context, targets []Target) ([]Found, error) {
	out := make([]Found, len(targets))
	for i, t := range targets {
		if i > 0 && t == targets[i-1] {
			out[i] = out[i-1]
			continue
		}
		found, err := l.one(ctx, t)
		if err != nil {
			return nil, err
		}
		out[i] = found
	}
	return out, nil
}

func (l *rows) one(ctx context.Context, t Target) (Found, error) {
	typ, ok := l.types.Get(t.Type)
	if !ok {
		return Found{}, errs.New(errs.Internal, "resource type "+t.Type, "an action names it, but it is not declared")
	}
	var found Found
	root := l.types.Root(typ)
	query := "SELECT `uuid` FROM `" + typ.Name + "` WHERE `uuid` = ?"
	if root.Owned {
		found.Owned = true
		query = "SELECT `accountUuid` FROM `" + root.Name + "` WHERE `uuid` = ?"
		if root != typ {
			query = "SELECT r.`accountUuid` FROM `" + root.Name + "` r JOIN `" + typ.Name + "` t ON t.`uuid` = r.`uuid` WHERE r.`uuid` = ?"
		}
	}
	err := l.store.Each(ctx, query, []any{t.UUID}, func(r *store.Row) error {
		found.Exists = true
		if found.Owned {
			found.Account = r.Text(0)
		}
		return nil
	})
	return found, err
}

// CheckTypes finds actions that name resource types which are not declared.
// Call it when everything is registered.
func (r *Registry) CheckTypes(types *resource.Registry) error {
	for _, a := range r.All() {
		names := []string{a.Returns, a.Query}
		for _, p := range a.Params {
			names = append(names, p.Resource)
		}
		for _, n := range names {
			if _, ok := types.Get(n); n != "" && !ok {
				return errs.New(errs.Internal, a.Message, "it names the resource type %s, which is not declared", n)
			}
		}
	}
	return nil
}
