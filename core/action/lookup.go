package action

import (
	"context"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/access"
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
func (l *rows) Lookup(ctx context.Context, caller Caller, targets []Target) ([]Found, error) {
	out := make([]Found, len(targets))
	for first := 0; first < len(targets); first += lookups {
		last := min(first+lookups, len(targets))
		if err := l.some(ctx, caller, targets[first:last], out[first:last]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// some looks up targets with one statement: a row of the answer is the number
// of a target that exists, and what the caller may do with it.
func (l *rows) some(ctx context.Context, caller Caller, targets []Target, out []Found) error {
	var query strings.Builder
	args := make([]any, 0, len(targets))
	right := func(where string, with []any) {
		if where == "" {
			where = "1"
		}
		query.WriteString(", (" + where + ")")
		args = append(args, with...)
	}
	for i, t := range targets {
		typ, ok := l.types.Get(t.Type)
		if !ok {
			return errs.New(errs.Internal, "resource type "+t.Type, "an action names it, but it is not declared")
		}
		if i > 0 {
			query.WriteString(" UNION ALL ")
		}
		query.WriteString("SELECT " + strconv.Itoa(i))
		if caller.Admin {
			query.WriteString(", 1, 1")
		} else {
			right(access.Read(l.types, typ, "t", caller.AccountUUID))
			right(access.Write(l.types, typ, "t", caller.AccountUUID))
		}
		query.WriteString(" FROM `" + typ.Name + "` t WHERE t.`uuid` = ?")
		args = append(args, t.UUID)
	}
	return store.Cached(l.store).Each(ctx, query.String(), args, func(r *store.Row) error {
		write := r.Int(2) == 1
		i := r.Int(0)
		t, _ := l.types.Get(targets[i].Type)
		root := l.types.Root(t)
		out[i] = Found{Exists: true, Readable: write || r.Int(1) == 1, Writable: write, Ownerless: !root.Owned && root.OwnedBy == ""}
		return nil
	})
}

// checked finds a parameter that names a resource and is not looked up: no
// code gets a row of another account unchecked.
func (a *Action) checked() error {
	for i := range a.fields {
		f := &a.fields[i]
		named := strings.HasSuffix(f.Name, "Uuid") || strings.HasSuffix(f.Name, "Uuids") || f.Name == "uuid"
		if named && f.index != nil && f.Resource == "" && !f.AnyType {
			return errs.New(errs.Internal, a.Message, "its parameter %s does not say of which type the resource is (resource=TYPE, or anytype)", f.Name)
		}
	}
	return nil
}

// CheckTypes finds actions that name resource types which are not declared, and
// parameters that name a resource without its type.
// Call it when everything is registered.
func (r *Registry) CheckTypes(types *resource.Registry) error {
	for _, a := range r.All() {
		names := []string{a.Returns, a.Query}
		for _, p := range a.Params {
			names = append(names, p.Resource)
		}
		if err := a.checked(); err != nil {
			return err
		}
		for _, n := range names {
			if _, ok := types.Get(n); n != "" && !ok {
				return errs.New(errs.Internal, a.Message, "it names the resource type %s, which is not declared", n)
			}
		}
	}
	return nil
}
