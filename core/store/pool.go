package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// pool is a bounded sqlx pool with its prepared statements: those of the pool
// on MySQL, those of each connection (direct) on SQLite. A place is taken
// before a connection is: a wait for a place ends with the caller's context
// even when the query that follows is not interruptible, and the pool has one
// connection more than places, on which a transaction's new text is prepared.
type pool struct {
	name   string
	db     *sqlx.DB
	texts  *statements // nil on SQLite
	mu     sync.Mutex
	idle   []*direct // on SQLite, the one used last at the end
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newPool(name string, db *sqlx.DB, texts *statements, size int) *pool {
	db.SetMaxOpenConns(size + 1)
	db.SetMaxIdleConns(size + 1)
	return &pool{name: name, db: db, texts: texts, places: make(chan struct{}, size), closed: make(chan struct{})}
}

// enter waits for a place; leave must follow.
func (p *pool) enter(ctx context.Context) error {
	select {
	case <-p.closed:
		return errClosed(p.name)
	default:
	}
	select {
	case p.places <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), "database "+p.name, ctx.Err(), "all %d connections are busy", cap(p.places))
	case <-p.closed:
		return errClosed(p.name)
	}
}

func (p *pool) leave() { <-p.places }

// session runs statements, prepared and kept so: on a connection, in a
// transaction, or on any connection of a pool.
type session interface {
	// ExecContext runs a statement without keeping it prepared, as for DDL.
	sqlx.ExecerContext
	exec(ctx context.Context, query string, args []value) (int64, error)
	query(ctx context.Context, query string, args []value, fn func(*Row) error) error
}

// session gives what runs statements outside of a transaction; done must
// follow. On SQLite it is a connection for this caller alone.
func (p *pool) session(ctx context.Context) (session, error) {
	if p.texts != nil {
		return p.texts, nil
	}
	return p.direct(ctx)
}

func (p *pool) done(s session) {
	if d, ok := s.(*direct); ok {
		p.keep(d)
	}
}

// direct returns the idle connection that was used last, or a new one.
func (p *pool) direct(ctx context.Context) (*direct, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		d := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return d, nil
	}
	p.mu.Unlock()
	c, err := p.db.Connx(ctx)
	if err != nil {
		return nil, err
	}
	return newDirect(c), nil
}

func (p *pool) keep(d *direct) {
	p.mu.Lock()
	select {
	case <-p.closed:
		p.mu.Unlock()
		_ = d.close() // it only read
	default:
		p.idle = append(p.idle, d)
		p.mu.Unlock()
	}
}

// lease is a transaction on a connection of the pool.
type lease struct {
	session
	tx driver.Tx // *sqlx.Tx, or snapshot
	// broken is set when the connection must not be used again.
	broken bool
	give   func() // the connection back
	drop   func() // the connection instead
}

// begin starts a transaction; end must follow, after a commit or without one.
// The end of ctx ends the wait for a connection and not the transaction: its
// statements have contexts of their own.
func (p *pool) begin(ctx context.Context, o *sql.TxOptions) (*lease, error) {
	if p.texts == nil {
		return p.beginDirect(ctx)
	}
	conn, err := p.db.Connx(ctx)
	if err != nil {
		return nil, err
	}
	return p.beginOn(ctx, conn, o)
}

// snapshot is a reading transaction of SQLite. Its BEGIN and ROLLBACK are kept
// prepared: compiling them and the goroutine of a *sqlx.Tx cost a fifth of a
// query for one inventory.
type snapshot struct{ d *direct }

// Commit implements driver.Tx.
func (s snapshot) Commit() error { return s.Rollback() }

// Rollback implements driver.Tx.
func (s snapshot) Rollback() error {
	_, err := s.d.exec(context.Background(), "ROLLBACK", nil)
	return err
}

func (p *pool) beginDirect(ctx context.Context) (*lease, error) {
	d, err := p.direct(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.exec(context.Background(), "BEGIN", nil); err != nil {
		d.discard()
		return nil, err
	}
	return &lease{session: d, tx: snapshot{d}, give: func() { p.keep(d) }, drop: d.discard}, nil
}

func (p *pool) beginOn(ctx context.Context, conn *sqlx.Conn, o *sql.TxOptions) (*lease, error) {
	tx, err := conn.BeginTxx(context.WithoutCancel(ctx), o)
	if err != nil {
		drop(conn)
		return nil, err
	}
	b := &bound{Tx: tx, pool: p.texts}
	return &lease{session: b, tx: tx, give: func() { b.end(); _ = conn.Close() }, drop: func() { b.end(); drop(conn) }}, nil
}

// end gives the connection back, after a rollback when nothing has ended the
// transaction. A connection that cannot roll back is not used again: it would
// serve an old snapshot, or commit at its next BEGIN.
func (l *lease) end() error {
	err := l.tx.Rollback()
	switch {
	case l.broken, err != nil && !errors.Is(err, sql.ErrTxDone):
		l.drop()
	default:
		l.give()
	}
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// drop closes a connection instead of giving it back.
func drop(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the error is the order to close it
}

// close closes the connections that are idle; the others close when they are
// given back. A server forgets its clients by itself, so that only SQLite,
// where this completes what is on disk, can fail.
func (p *pool) close() error {
	var err error
	p.once.Do(func() {
		p.mu.Lock()
		close(p.closed)
		idle := p.idle
		p.idle = nil
		p.mu.Unlock()
		for _, d := range idle {
			err = errors.Join(err, d.close())
		}
		if cerr := p.db.Close(); p.texts == nil {
			err = errors.Join(err, cerr)
		}
	})
	return err
}

// lost reports an error that means that the server has ended the connection,
// and with it what was not committed.
func lost(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, mysql.ErrInvalidConn)
}

func errClosed(name string) error {
	return errs.New(errs.Unavailable, "database "+name, "it is closed")
}
