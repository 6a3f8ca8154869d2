package store

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Tx is a transaction: the argument of the function given to Update or View.
// It is used by that function only, and not after it has returned.
type Tx struct {
	s        *Store
	session  session
	readOnly bool
	ended    bool
	busy     bool // rows are being read
	lost     bool // the connection has ended, and the transaction with it
	// steadfast statements are never interrupted.
	steadfast bool
	// beforeWrite, when set, runs once before the first write: the SQLite
	// writer sets its savepoint there, so that readers do not pay for one.
	beforeWrite func() error
	hooks       []func()
	written     int64 // rows
	cause       Cause
	began       uint64        // the number of the last commit that its reads see at least
	loose       bool          // of Read: it may be given answers that are newer
	changes     []Change      // that somebody wants to know of
	touched     []*lastChange // of the tables that were written
	// batch is, for SQLite's writer, what was touched by those who commit
	// together with this transaction; nobody else writes meanwhile.
	batch *[]*lastChange
}

// Dialect tells what SQL the database understands.
func (tx *Tx) Dialect() schemasql.Dialect { return tx.s.dialect }

func (tx *Tx) seal() *Seal { return tx.s.secrets }

// OnCommit has f called after the transaction has been committed, by the
// goroutine that called Update. When the function of Update runs again, only
// what its last run registered is called. In a View f is not called.
func (tx *Tx) OnCommit(f func()) { tx.hooks = append(tx.hooks, f) }

// Each implements Querier.
func (tx *Tx) Each(ctx context.Context, query string, args []any, fn func(*Row) error) error {
	query, values, err := tx.s.prepareArgs(query, args)
	if err != nil {
		return err
	}
	return tx.each(ctx, false, query, values, fn)
}

func (tx *Tx) each(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) error {
	if tx.ended {
		return errs.New(errs.Internal, "transaction", "used after its function had returned")
	}
	if !isSelect(query) {
		return errs.New(errs.Internal, "transaction", "Each is for SELECT, use Exec for %.40q", query)
	}
	ctx, err := tx.enter(ctx)
	if err == nil {
		tx.busy = true
		defer func() { tx.busy = false }()
		err = tx.s.query(ctx, tx.session, brief, query, args, fn)
	}
	return tx.note(err, query)
}

// enter checks that a statement may run now and gives its context.
func (tx *Tx) enter(ctx context.Context) (context.Context, error) {
	if tx.busy {
		return nil, errs.New(errs.Internal, "transaction", "a statement was run inside the callback of Each; collect the rows first")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if tx.steadfast {
		return context.Background(), nil
	}
	return ctx, nil
}

// note explains an error and remembers what it means for the transaction.
func (tx *Tx) note(err error, query string) error {
	if err == nil {
		return nil
	}
	tx.lost = tx.lost || lost(err)
	return tx.s.explain(err, query)
}

func isSelect(query string) bool {
	q := strings.TrimLeft(query, " \t\n(")
	return len(q) >= 4 && (strings.EqualFold(q[:4], "SELE") || strings.EqualFold(q[:4], "WITH"))
}

// Exec runs one INSERT, UPDATE or DELETE with "?" placeholders; slices in args
// expand for IN (?). It returns how many rows were matched, so that a
// conditional UPDATE of a counter tells whether its condition held:
//
//	n, err := tx.Exec(ctx, "UPDATE HostCapacity SET availableMemory = availableMemory - ? "+
//		"WHERE uuid = ? AND availableMemory >= ?", mem, host, mem)
//
// A violated unique index gives errs.Exists.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (rowsAffected int64, err error) {
	query, values, err := tx.s.prepareArgs(query, args)
	if err != nil {
		return 0, err
	}
	return tx.exec(ctx, query, values)
}

func (tx *Tx) exec(ctx context.Context, query string, args []value) (int64, error) {
	switch {
	case tx.ended:
		return 0, errs.New(errs.Internal, "transaction", "used after its function had returned")
	case tx.readOnly:
		return 0, errs.New(errs.Internal, "transaction", "a View cannot write: %.60q", query)
	}
	e, err := tx.s.effectOf(query)
	if err != nil {
		return 0, err
	}
	if args, err = tx.sealArgs(e, args); err != nil {
		return 0, err
	}
	if err := tx.write(); err != nil {
		return 0, tx.note(err, query)
	}
	t, note, search := tx.watched(e)
	var rows []row
	if note && e.verb != Created {
		if rows, err = tx.targets(ctx, e, t, args, search); err != nil {
			return 0, err
		}
	}
	n, err := tx.run(ctx, query, args)
	if err != nil {
		return n, tx.note(err, query)
	}
	if tx.written += n; n == 0 {
		return 0, nil
	}
	tx.touch(e)
	if note {
		tx.noteRows(e, t, rows, args)
	}
	return n, nil
}

// write prepares the transaction for its first write.
func (tx *Tx) write() error {
	if tx.beforeWrite == nil {
		return nil
	}
	if err := tx.beforeWrite(); err != nil {
		return err
	}
	tx.beforeWrite = nil
	return nil
}

func (tx *Tx) run(ctx context.Context, query string, args []value) (int64, error) {
	ctx, err := tx.enter(ctx)
	if err != nil {
		return 0, err
	}
	if err := tx.s.probed(query); err != nil {
		return 0, err
	}
	return tx.session.exec(ctx, query, args)
}
