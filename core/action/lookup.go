package action

import (
	"context"
	"strconv"
	"strings"

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

// lookups bounds the targets of one statement.
const lookups = 16

// Lookup implements Lookup with reads by primary key, many in one statement.
func (l *rows) Lookup(ctx context.Context, targets []Target) ([]Found, error) {
	out := make([]Found, len(targets))
	for first := 0; first < len(targets); first += lookups {
		last := min(first+lookups, len(targets))
		if err := l.some(ctx, targets[first:last], out[first:last]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// some looks up targets with one statement: a row of the answer is the number
// of a target that exists, and its account.
func (l *rows) some(ctx context.Context, targets []Target, out []Found) error {
	var query strings.Builder
	args := make([]any, len(targets))
	for i, t := range targets {
		typ, ok := l.types.Get(t.Type)
		if !ok {
			return errs.New(errs.Internal, "resource type "+t.Type, "an action names it, but it is not declared")
		}
		if i > 0 {
			query.WriteString(" UNION ALL ")
		}
		query.WriteString("SELECT " + strconv.Itoa(i) + ", ")
		root := l.types.Root(typ)
		out[i].Owned = root.Owned
		switch {
		case !root.Owned:
			query.WriteString("NULL FROM `" + typ.Name + "` WHERE `uuid` = ?")
		case root == typ:
			query.WriteString("`accountUuid` FROM `" + root.Name + "` WHERE `uuid` = ?")
		default:
			query.WriteString("r.`accountUuid` FROM `" + root.Name + "` r JOIN `" + typ.Name + "` t ON t.`uuid` = r.`uuid` WHERE r.`uuid` = ?")
		}
		args[i] = t.UUID
	}
	return l.store.Each(ctx, query.String(), args, func(r *store.Row) error {
		f := &out[r.Int(0)]
		f.Exists, f.Account = true, r.Text(1)
		return nil
	})
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
