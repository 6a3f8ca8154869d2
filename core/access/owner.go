package access

import (
	"context"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Owner returns the account to which a resource belongs, that of what it is a
// part of included; "" when its type has no owner, or it does not exist.
func Owner(ctx context.Context, q store.Querier, reg *resource.Registry, t *resource.Type, uuid string) (string, error) {
	owned, from := ownerFrom(reg, reg.Root(t))
	if !owned {
		return "", nil
	}
	accounts, err := store.Texts(ctx, q, from+" WHERE t0.`uuid` = ?", uuid)
	if err != nil || len(accounts) == 0 {
		return "", err
	}
	return accounts[0], nil
}

// ownerFrom selects the account of rows of t, under the alias t0.
func ownerFrom(reg *resource.Registry, t *resource.Type) (owned bool, sql string) {
	var joins strings.Builder
	alias := "t0"
	for root := t; !root.Owned; {
		e, ok := root.Edge(root.OwnedBy)
		of, known := reg.Get(e.To)
		if !ok || !known {
			return false, ""
		}
		next := alias + "o"
		joins.WriteString(" JOIN `" + of.Name + "` " + next + " ON " + next + ".`" + e.ToColumn + "` = " + alias + ".`" + e.Column + "`")
		alias, root = next, reg.Root(of)
	}
	return true, "SELECT " + alias + ".`accountUuid` FROM `" + t.Name + "` t0" + joins.String()
}

// Find returns the type of the resource with a uuid: the root of its subtypes,
// nil when there is none. Rows of internal types are not found.
func Find(ctx context.Context, q store.Querier, reg *resource.Registry, uuid string) (*resource.Type, error) {
	var selects []string
	var args []any
	var types []*resource.Type
	for _, t := range reg.All() {
		if t.Parent == "" && !t.Internal {
			selects = append(selects, "SELECT "+strconv.Itoa(len(types))+" FROM `"+t.Name+"` WHERE `uuid` = ?")
			args, types = append(args, uuid), append(types, t)
		}
	}
	if len(types) == 0 {
		return nil, nil
	}
	found, err := store.Texts(ctx, q, strings.Join(selects, " UNION ALL "), args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	n, err := strconv.Atoi(found[0])
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "resource "+uuid, err, "look for its type")
	}
	return types[n], nil
}

// GiveTo makes an account the owner of a row of an owned type, and of all rows
// that follow it, in one transaction. Who it was shared with goes on reading it.
func GiveTo(ctx context.Context, tx *store.Tx, reg *resource.Registry, t *resource.Type, uuid, account string) error {
	if err := store.Set(ctx, tx, t, uuid, map[string]any{"accountUuid": account}); err != nil {
		return err
	}
	rows, err := store.Find(ctx, tx, SharedType, "`resourceUuid` = ?", uuid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		row.OwnerAccountUUID = account
		if err := store.Save(ctx, tx, SharedType, row, "ownerAccountUuid"); err != nil {
			return err
		}
	}
	for _, of := range reg.All() {
		if of.Follows == "" {
			continue
		}
		uuids, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `"+of.Name+"` WHERE `"+of.Follows+"` = ? AND `accountUuid` <> ?", uuid, account)
		if err != nil {
			return err
		}
		for _, follower := range uuids {
			if err := GiveTo(ctx, tx, reg, of, follower, account); err != nil {
				return err
			}
		}
	}
	return nil
}

// Forget ends the sharing of a resource and with an account of this uuid, in the
// transaction that deletes it; none is a success.
func Forget(ctx context.Context, tx *store.Tx, uuid string) error {
	for _, column := range []string{"resourceUuid", "receiverAccountUuid"} {
		uuids, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `"+SharedType.Name+"` WHERE `"+column+"` = ?", uuid)
		if err != nil {
			return err
		}
		for _, row := range uuids {
			if err := store.Delete(ctx, tx, SharedType.Type, row); err != nil {
				return err
			}
		}
	}
	return nil
}
