package cascade

import (
	"context"
	"regexp"
	"strconv"
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

var marks = resource.Define[mark](resource.Type{Name: "CascadeMark", Internal: true})

// goodType is what a table's name looks like.
var goodType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// Parent names a resource on which another one depends.
type Parent struct{ Type, UUID string }

// Guard is called in the transaction that inserts a row, or sets a column, for
// each resource that the row then depends on. It returns errs.NotFound when
// that is gone, and errs.Refused when it is being deleted, so that a child is
// never added to a parent whose deletion has begun. An empty uuid is no
// dependency. It costs one statement, on MySQL one more, which keeps the
// parent's row locked against the deletion until the transaction ends.
func Guard(ctx context.Context, tx *store.Tx, typeName, uuid string) error {
	return GuardAll(ctx, tx, Parent{typeName, uuid})
}

// GuardAll is Guard for several parents of one row: one statement for all, on
// MySQL one more for each. The error is that of the first parent in question.
func GuardAll(ctx context.Context, tx *store.Tx, parents ...Parent) error {
	var query strings.Builder
	var args []any
	for i, p := range parents {
		if p.UUID == "" {
			continue
		}
		if !goodType.MatchString(p.Type) {
			return errs.New(errs.Internal, "resource type "+p.Type, "it is no type's name")
		}
		if tx.Dialect() == sql.MySQL {
			err := tx.Each(ctx, "SELECT `uuid` FROM `"+p.Type+"` WHERE `uuid` = ? LOCK IN SHARE MODE", []any{p.UUID}, func(*store.Row) error { return nil })
			if err != nil {
				return err
			}
		}
		if len(args) > 0 {
			query.WriteString(" UNION ALL ")
		}
		query.WriteString("SELECT " + strconv.Itoa(i) + ", (SELECT count(*) FROM `" + p.Type + "` WHERE `uuid` = ?), (SELECT count(*) FROM `CascadeMark` WHERE `uuid` = ?)")
		args = append(args, p.UUID, p.UUID)
	}
	if len(args) == 0 {
		return nil
	}
	refusals := make([]error, len(parents))
	err := tx.Each(ctx, query.String(), args, func(r *store.Row) error {
		i := r.Int(0)
		p := parents[i]
		switch {
		case r.Int(1) == 0:
			refusals[i] = errs.New(errs.NotFound, p.Type+" "+p.UUID, "it does not exist")
		case r.Int(2) > 0:
			refusals[i] = errs.New(errs.Refused, p.Type+" "+p.UUID, "it is being deleted")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, refusal := range refusals {
		if refusal != nil {
			return refusal
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
