package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Store is an open database. It is safe for use by several goroutines.
type Store struct {
	reg     *resource.Registry
	log     hclog.Logger
	name    string // for errors and logs, without a password
	dialect schemasql.Dialect
	readers *pool
	backend backend
}

// backend is what differs between the two kinds of database.
type backend interface {
	// update runs fn in a read-write transaction.
	update(ctx context.Context, fn func(*Tx) error) error
	// beginView and endView enclose a consistent snapshot on a connection.
	beginView(ctx context.Context, c *conn) error
	// change runs a schema change while no other process makes one.
	change(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error
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
}

// Open opens the database of a DSN, migrates it to the embedded schema, and
// makes the tables and columns of reg's types that migrations do not have yet.
//
//	sqlite:PATH[?synchronous=FULL|NORMAL&readers=N]
//	mysql://user:password@host:port/database[?connections=N&tls=...]
//
// A damaged file, a file that another process serves, a schema of a newer
// version and a wrong DSN give errors that say so and change nothing.
func Open(ctx context.Context, dsn string, reg *resource.Registry, log hclog.Logger) (*Store, error) {
	migrations, err := schemasql.All()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "migrations", err, "")
	}
	if reg == nil {
		reg = resource.NewRegistry()
	}
	return open(ctx, dsn, reg, log, migrations, reg.All())
}

func open(ctx context.Context, dsn string, reg *resource.Registry, log hclog.Logger, migrations []schemasql.Migration, types []*resource.Type) (*Store, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	d, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{reg: reg, log: log, name: d.name(), dialect: d.dialect}
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
	return errors.Join(err, s.readers.close())
}

// Dialect tells what SQL the database understands.
func (s *Store) Dialect() schemasql.Dialect { return s.dialect }

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

// View runs fn with a consistent snapshot of the database. Writes fail.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	c, err := s.readers.get(ctx)
	if err != nil {
		return err
	}
	defer s.readers.put(c)
	if err := s.backend.beginView(ctx, c); err != nil {
		return s.explain(err, "")
	}
	tx := &Tx{s: s, c: c, readOnly: true}
	ferr := s.call(tx, fn)
	if _, err := c.exec(context.WithoutCancel(ctx), "ROLLBACK", nil); err != nil {
		c.broken = true // a snapshot left open would serve old data for ever
		return errors.Join(ferr, s.explain(err, ""))
	}
	return ferr
}

// call runs fn and turns a panic into an error.
func (s *Store) call(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		tx.ended = true
		if p := recover(); p != nil {
			s.log.Error("transaction panicked", "database", s.name, "error", p, "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "transaction", "panic: %v", p)
		}
	}()
	return fn(tx)
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
	c, err := s.readers.get(ctx)
	if err != nil {
		return err
	}
	defer s.readers.put(c)
	err = c.query(ctx, brief, query, args, fn)
	if c.lost(err) && ctx.Err() == nil {
		// The server had closed an idle connection. Reads may be repeated, but
		// not when rows were delivered, which lost excludes.
		fresh, gerr := s.readers.renew(ctx, c)
		if gerr != nil {
			return gerr
		}
		err = fresh.query(ctx, brief, query, args, fn)
	}
	return s.explain(err, query)
}
