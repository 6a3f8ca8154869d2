package cascade

import (
	"context"
	"regexp"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/sql"
)

// mark says that a resource is being deleted, so that nobody makes another one
// depend on it. Resources on which nothing can depend get none.
type mark struct {
	UUID         string        `db:"uuid" kumo:"size=32,immutable"`
	ResourceType string        `db:"resourceType" kumo:"size=100,immutable"`
	RootUUID     string        `db:"rootUuid" kumo:"size=32,immutable,index"` // of the delete
	CreateDate   resource.Time `db:"createDate" kumo:"immutable"`
}

var marks = resource.Define[mark](resource.Type{Name: "CascadeMark", Readable: resource.Admin, Internal: true})

// goodType is what a table's name looks like.
var goodType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// Parent names a resource on which another one depends.
type Parent struct{ Type, UUID string }

// Guard is called in the transaction that inserts a row, or sets a column, for
// each resource that the row then depends on. It returns errs.NotFound when
// that is gone, and errs.Refused when it is being deleted, so that a child is
// never added to a parent whose deletion has begun. An empty uuid is no
// dependency. It costs one statement, which on MySQL keeps the parent's row
// locked against the deletion until the transaction ends.
func Guard(ctx context.Context, tx *store.Tx, typeName, uuid string) error {
	return GuardAll(ctx, tx, Parent{typeName, uuid})
}

// GuardAll is Guard for several parents of one row, at the same cost. The error
// is that of the first parent in question.
func GuardAll(ctx context.Context, tx *store.Tx, parents ...Parent) error {
	if tx.Dialect() == sql.MySQL {
		// The locks are taken before the marks are read, which then are the latest.
		return intact(ctx, tx, "(", " LOCK IN SHARE MODE)", parents)
	}
	return intact(ctx, store.Cached(tx), "", "", parents)
}

// Intact is GuardAll without a transaction: it tells whether resources are
// there and not being deleted, and keeps nothing so. Who has changed the
// outside world for a resource asks afterwards: had the deletion begun before
// the change, which may then have come after the cleaning up, it is told so.
func Intact(ctx context.Context, q store.Querier, resources ...Parent) error {
	return intact(ctx, store.Cached(q), "", "", resources)
}

// intact puts begin and end around each SELECT.
func intact(ctx context.Context, q store.Querier, begin, end string, parents []Parent) error {
	var selects []string
	var uuids []any
	var kept []Parent
	for _, p := range parents {
		if p.UUID == "" {
			continue
		}
		if !goodType.MatchString(p.Type) {
			return errs.New(errs.Internal, "resource type "+p.Type, "it is no type's name")
		}
		selects = append(selects, begin+"SELECT 0, `uuid` FROM `"+p.Type+"` WHERE `uuid` = ?"+end)
		uuids, kept = append(uuids, p.UUID), append(kept, p)
	}
	if len(kept) == 0 {
		return nil
	}
	selects = append(selects, begin+"SELECT 1, `uuid` FROM `CascadeMark` WHERE `uuid` IN (?)"+end)
	found, marked := map[string]bool{}, map[string]bool{}
	err := q.Each(ctx, strings.Join(selects, " UNION ALL "), append(uuids, uuids), func(r *store.Row) error {
		if r.Int(0) == 1 {
			marked[r.Text(1)] = true
		} else {
			found[r.Text(1)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range kept {
		switch {
		case !found[p.UUID]:
			return errs.New(errs.NotFound, p.Type+" "+p.UUID, "it does not exist")
		case marked[p.UUID]:
			return errs.New(errs.Refused, p.Type+" "+p.UUID, "it is being deleted")
		}
	}
	return nil
}

// markAll marks resources of one type for the delete of root; those that are
// marked already, by whomever, stay so. On MySQL their rows are locked first:
// a Guard that came before holds them, and its child is seen by the next plan.
func markAll(ctx context.Context, tx *store.Tx, root, typeName string, uuids []string) error {
	if tx.Dialect() == sql.MySQL {
		err := tx.Each(ctx, "SELECT `uuid` FROM `"+typeName+"` WHERE `uuid` IN (?) ORDER BY `uuid` FOR UPDATE", []any{uuids}, func(*store.Row) error { return nil })
		if err != nil {
			return err
		}
	}
	have, err := markedOf(ctx, tx, uuids)
	if err != nil {
		return err
	}
	var list []*mark
	for _, uuid := range uuids {
		if !have[uuid] {
			list = append(list, &mark{UUID: uuid, ResourceType: typeName, RootUUID: root})
		}
	}
	return store.Insert(ctx, tx, marks, list...)
}

// markedOf returns which of the resources are marked.
func markedOf(ctx context.Context, q store.Querier, uuids []string) (map[string]bool, error) {
	have := map[string]bool{}
	for len(uuids) > 0 {
		page := uuids[:min(len(uuids), pageSize)]
		uuids = uuids[len(page):]
		found, err := store.Texts(ctx, q, "SELECT `uuid` FROM `CascadeMark` WHERE `uuid` IN (?)", page)
		if err != nil {
			return nil, err
		}
		for _, uuid := range found {
			have[uuid] = true
		}
	}
	return have, nil
}

// unmark removes the marks of one delete.
func unmark(ctx context.Context, tx *store.Tx, root string) error {
	_, err := tx.Exec(ctx, "DELETE FROM `CascadeMark` WHERE `rootUuid` = ?", root)
	return err
}
