// Package problem keeps what of resources, such as guests or networks, is not on a host
// as it should be, as the host tells it. It is shown on the resource that it is about,
// and costs it and others nothing. It must not import any service.
package problem

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Book has the problems of one type of resources. Use New.
type Book struct {
	store  *store.Store
	log    hclog.Logger
	rows   *resource.Type
	column string
	of     *resource.Type
	onHost string // the query of those on a host
}

// New makes a book whose rows are of a type with the fields hostUuid, reason, and
// column, which has the UUID of a resource of type of. It panics for a type that has
// not, which is a programming error.
func New(s *store.Store, log hclog.Logger, rows *resource.Type, column string, of *resource.Type) *Book {
	for _, name := range []string{"hostUuid", "reason", column} {
		if _, ok := rows.Field(name); !ok {
			panic(fmt.Sprintf("problems of %s: type %s has no field %s", of.Name, rows.Name, name))
		}
	}
	return &Book{store: s, log: log, rows: rows, column: column, of: of,
		onHost: "SELECT `" + column + "`, `reason` FROM `" + rows.Name + "` WHERE `hostUuid` = ?"}
}

// Text is reasons in one, each once; "" for none. It is bounded (errtext.Short).
func Text(reasons []string) string {
	if len(reasons) == 0 {
		return ""
	}
	var all []string
	for _, reason := range reasons {
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
	}
	return errtext.Short(strings.Join(all, "; "))
}

// Note records what a host tells now: why each of the resources in told is not as it
// should be there, "" when it is; with complete, all others are. What is known already
// is not written again. What cannot be recorded is logged, as the host works all the
// same, and is told again.
func (b *Book) Note(ctx context.Context, hostUUID string, told iter.Seq2[string, string], complete bool) {
	var known, news map[string]string
	// Most hosts have nothing to tell, and tell it often.
	err := store.Cached(b.store).Each(ctx, b.onHost, []any{hostUUID}, func(r *store.Row) error {
		if known == nil {
			known, news = map[string]string{}, map[string]string{}
		}
		known[r.Text(0)] = r.Text(1)
		if complete {
			news[r.Text(0)] = "" // unless it is told of below
		}
		return nil
	})
	for uuid, text := range told {
		delete(news, uuid)
		if text == known[uuid] {
			continue
		}
		if news == nil {
			news = map[string]string{}
		}
		news[uuid] = text
	}
	for uuid, text := range news {
		if err == nil {
			err = b.noteOne(ctx, hostUUID, uuid, text)
		}
	}
	if err != nil {
		b.log.Error("problems on a host not recorded", "type", b.of.Name, "host", hostUUID, "error", err)
	}
}

// noteOne replaces what is recorded of a resource on a host.
func (b *Book) noteOne(ctx context.Context, hostUUID, uuid, text string) error {
	if text != "" {
		b.log.Warn("not on a host as it should be", "type", b.of.Name, "resource", uuid, "host", hostUUID, "reason", text)
	}
	return b.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `"+b.rows.Name+"` WHERE `"+b.column+"` = ? AND `hostUuid` = ?", uuid, hostUUID); err != nil || text == "" {
			return err
		}
		there, err := store.Count(ctx, tx, b.of, "`uuid` = ?", uuid)
		if err != nil || there == 0 { // it went meanwhile, or is not ours
			return err
		}
		return store.InsertValues(ctx, tx, b.rows, map[string]any{"uuid": resource.NewUUID(), b.column: uuid, "hostUuid": hostUUID, "reason": text})
	})
}

// Forget drops in tx what is recorded of a resource that goes.
func (b *Book) Forget(ctx context.Context, tx *store.Tx, uuid string) error {
	_, err := tx.Exec(ctx, "DELETE FROM `"+b.rows.Name+"` WHERE `"+b.column+"` = ?", uuid)
	return err
}

// ForgetHost drops what is recorded on a host that goes.
func (b *Book) ForgetHost(ctx context.Context, hostUUID string) error {
	return b.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `"+b.rows.Name+"` WHERE `hostUuid` = ?", hostUUID)
		return err
	})
}
