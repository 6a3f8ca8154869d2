package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/batch"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Store is an open database. It is safe for use by several goroutines.
type Store struct {
	reg     *resource.Registry
	log     hclog.Logger
	secrets *Seal  // nil: secret columns are stored as they are
	name    string // for errors and logs, without a password
	dialect schemasql.Dialect
	older   bool  // a server without schemasql.CaseCollation
	pool    *pool // of readers on SQLite, of all connections on MySQL
	backend backend
	damaged atomic.Pointer[error] // the SQLite file is, as its first error says

	watchers    atomic.Pointer[[]Watcher]
	tables      sync.Map // name: *tableState
	commits     atomic.Uint64
	effects     sync.Map // text: *effect
	effectCount atomic.Int64
	readings    sync.Map // text: []*lastChange, nil for one that cannot be told
	memory      memory
	shared      batch.Groups[*answer]
	probe       atomic.Pointer[func(query string) error] // of tests
}

// backend is what differs between the two kinds of database.
type backend interface {
	// update runs fn in a read-write transaction.
	update(ctx context.Context, fn func(*Tx) error) error
	// change runs a schema change while no other process makes one.
	change(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error
	// health tells why it cannot be written to or read.
	health(ctx context.Context) error
	close() error
}

// Querier reads: *Store outside of a transaction, *Tx inside one.
type Querier interface {
	// Each runs one SELECT with "?" placeholders and calls fn for each row.
	// Slices in args expand for IN (?). The row is valid during the call only,
	// and fn must not use the same Tx; an error of fn ends the query.
	Each(ctx context.Context, query string, args []any, fn func(*Row) error) error

	// each is Each with encoded arguments. A brief query reads few rows by an
	// index, so that on SQLite it need not be interruptible, which costs more
	// than the query.
	each(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) error
	// Dialect tells what SQL is understood.
	Dialect() schemasql.Dialect
	seal() *Seal
}

// Open opens the database of a DSN, migrates it to the embedded schema, and
// makes the tables and columns of reg's types that migrations do not have yet.
//
//	sqlite:PATH[?synchronous=FULL|NORMAL&readers=N]
//	mysql://user:password@host:port/database[?connections=N&tls=...]
//
// Secret columns are sealed with the key of a Seal, also those written before
// there was one; nil leaves them as they are, and another key than that in use
// is refused.
//
// A damaged file, a file that another process serves, a schema of a newer
// version and a wrong DSN give errors that say so and change nothing.
func Open(ctx context.Context, dsn string, secrets *Seal, reg *resource.Registry, log hclog.Logger) (*Store, error) {
	migrations, err := schemasql.All()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "migrations", err, "")
	}
	if reg == nil {
		reg = resource.NewRegistry()
	}
	return open(ctx, dsn, secrets, reg, log, migrations, reg.All())
}

func open(ctx context.Context, dsn string, secrets *Seal, reg *resource.Registry, log hclog.Logger, migrations []schemasql.Migration, types []*resource.Type) (*Store, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	d, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{reg: reg, secrets: secrets, log: log, name: d.name(), dialect: d.dialect}
	if d.dialect == schemasql.SQLite {
		err = openSQLite(ctx, s, d)
	} else {
		err = openMySQL(ctx, s, d)
	}
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, migrations); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.EnsureTypes(ctx, types...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the transactions that have begun, refuses new ones and closes the
// database. A second Close does nothing.
func (s *Store) Close() error {
	err := s.backend.close()
	return errors.Join(err, s.pool.close())
}

// Dialect tells what SQL the database understands.
func (s *Store) Dialect() schemasql.Dialect { return s.dialect }

// Folded is an expression for what the text of an expression compares by, to be
// compared with a value of schemasql.Fold.
func (s *Store) Folded(text string) string { return s.dialectOf(s.dialect.Folded(text)) }

// dialectOf writes SQL as the server understands it.
func (s *Store) dialectOf(query string) string {
	if s.older {
		return schemasql.Older(query)
	}
	return query
}

func (s *Store) seal() *Seal { return s.secrets }

// Registry returns the types that the store was opened with.
func (s *Store) Registry() *resource.Registry { return s.reg }

// Update runs fn in a transaction and commits it, or rolls back what fn did
// when fn returns an error or panics (errs.Internal). fn may run more than
// once: it touches only tx and its own variables, and must not call Update.
//
// On SQLite one writer runs all fns one after another and commits those that
// wait together; a fn that fails undoes only its own writes. On MySQL fns run
// in parallel (READ COMMITTED) and are repeated after a deadlock.
//
// When ctx ends before fn has begun, fn is not run; when it ends later, Update
// waits for the outcome, so a nil error always means committed, and an error
// means not committed, except for errs.Unavailable from a lost MySQL
// connection during the commit, which says so.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("database %s: %w", s.name, err)
	}
	return s.backend.update(ctx, fn)
}

// View runs fn with a consistent snapshot of the database, which its first
// read takes. Writes fail.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) (err error) {
	return s.view(ctx, false, fn)
}

func (s *Store) view(ctx context.Context, loose bool, fn func(tx *Tx) error) (err error) {
	if err := s.pool.enter(ctx); err != nil {
		return err
	}
	defer s.pool.leave()
	began := s.commits.Load()
	l, err := s.pool.begin(ctx, s.snapshot())
	if err != nil {
		return s.explain(err, "BEGIN")
	}
	defer func() {
		if rerr := l.end(); rerr != nil {
			err = errors.Join(err, s.explain(rerr, "ROLLBACK"))
		}
	}()
	return s.call(ctx, &Tx{s: s, session: l, readOnly: true, began: began, loose: loose}, fn)
}

// Readers is how many may read at the same time.
func (s *Store) Readers() int { return cap(s.pool.places) }

// Read runs fn with what reads cheapest: on SQLite a View, on MySQL statements
// of their own, each of which sees what is committed when it begins. That saves
// the three round trips of a transaction. It is for readers that do not need
// one moment, as they check or take again what they found.
func (s *Store) Read(ctx context.Context, fn func(q Querier) error) error {
	if s.dialect == schemasql.MySQL {
		return fn(s)
	}
	return s.view(ctx, true, func(tx *Tx) error { return fn(tx) })
}

// snapshot is how a View begins: SQLite's transactions are snapshots, and its
// readers cannot write by themselves.
func (s *Store) snapshot() *sql.TxOptions {
	if s.dialect == schemasql.SQLite {
		return nil
	}
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

// call runs fn, and what belongs to its transaction, and turns a panic into an
// error.
func (s *Store) call(ctx context.Context, tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		tx.ended = true
		if p := recover(); p != nil {
			s.log.Error("transaction panicked", "database", s.name, "error", p, "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "transaction", "panic: %v", p)
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.committing(ctx)
}

// Each implements Querier. Every call sees what is committed when it begins.
func (s *Store) Each(ctx context.Context, query string, args []any, fn func(*Row) error) error {
	query, values, err := s.prepareArgs(query, args)
	if err != nil {
		return err
	}
	return s.each(ctx, false, query, values, fn)
}

func (s *Store) each(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) error {
	if err := s.pool.enter(ctx); err != nil {
		return err
	}
	defer s.pool.leave()
	from, err := s.pool.session(ctx)
	if err != nil {
		return s.explain(err, "")
	}
	defer s.pool.done(from)
	return s.explain(s.query(ctx, from, brief, query, args, fn), query)
}

// query runs a statement with rows.
func (s *Store) query(ctx context.Context, from session, brief bool, query string, args []value, fn func(*Row) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if brief && s.dialect == schemasql.SQLite {
		ctx = context.Background()
	}
	if err := s.probed(query); err != nil {
		return err
	}
	return from.query(ctx, query, args, fn)
}
