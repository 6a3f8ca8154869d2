package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// value is an encoded argument or a column of an answer: nil, int64, float64,
// string or []byte.
type value = driver.Value

// statement is what both drivers' statements can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// maxStatements bounds the prepared statements of one connection. The core
// has a few hundred texts; lists of IN are padded so that they stay few.
const maxStatements = 384

// conn is one connection with its prepared statements. One goroutine at a
// time uses it.
type conn struct {
	dc        driver.Conn
	stmts     map[string]statement
	order     []string // of stmts, oldest first
	args      []driver.NamedValue
	busy      bool // rows are being read
	broken    bool // not to be used again
	steadfast bool // statements are never interrupted
	row       Row
	idleSince time.Time
}

func newConn(dc driver.Conn) *conn { return &conn{dc: dc, stmts: map[string]statement{}} }

// prepare returns the statement of a text, from the cache if possible.
func (c *conn) prepare(ctx context.Context, query string) (statement, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	st, err := c.prepareNew(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(c.order) >= maxStatements {
		oldest := c.order[0]
		c.order = c.order[1:]
		if err := c.stmts[oldest].Close(); err != nil {
			c.broken = true
		}
		delete(c.stmts, oldest)
	}
	c.stmts[query] = st
	c.order = append(c.order, query)
	return st, nil
}

func (c *conn) prepareNew(ctx context.Context, query string) (statement, error) {
	ds, err := c.dc.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		c.note(err)
		return nil, err
	}
	return ds.(statement), nil
}

// note marks the connection as broken after an error that ended it.
func (c *conn) note(err error) {
	if errors.Is(err, driver.ErrBadConn) {
		c.broken = true
	} else if v, ok := c.dc.(driver.Validator); ok && !v.IsValid() {
		c.broken = true
	}
}

// lost reports whether err says that the connection was already gone, so that
// the statement was not run.
func (c *conn) lost(err error) bool { return err != nil && errors.Is(err, driver.ErrBadConn) }

func (c *conn) named(args []value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

func (c *conn) start(ctx context.Context, brief bool) (context.Context, error) {
	if c.busy {
		return nil, errs.New(errs.Internal, "transaction", "a statement was run inside the callback of Each; collect the rows first")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.steadfast || brief && c.isSQLite() {
		return context.Background(), nil
	}
	return ctx, nil
}

func (c *conn) isSQLite() bool { _, ok := c.dc.(sqliteConn); return ok }

// exec runs a statement without rows and returns the number of rows matched.
func (c *conn) exec(ctx context.Context, query string, args []value) (int64, error) {
	ctx, err := c.start(ctx, false)
	if err != nil {
		return 0, err
	}
	st, err := c.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, c.named(args))
	if err != nil {
		c.note(err)
		return 0, err
	}
	return res.RowsAffected()
}

// execOnce runs a statement without keeping it prepared, as for DDL.
func (c *conn) execOnce(ctx context.Context, query string, args ...value) error {
	ctx, err := c.start(ctx, false)
	if err != nil {
		return err
	}
	st, err := c.prepareNew(ctx, query)
	if err != nil {
		return err
	}
	if _, err = st.ExecContext(ctx, c.named(args)); err != nil {
		c.note(err)
	}
	return errors.Join(err, st.Close())
}

// query runs a statement with rows.
func (c *conn) query(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) (err error) {
	ctx, err = c.start(ctx, brief)
	if err != nil {
		return err
	}
	st, err := c.prepare(ctx, query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, c.named(args))
	if err != nil {
		c.note(err)
		return err
	}
	c.busy = true
	defer func() {
		c.busy = false
		if cerr := rows.Close(); cerr != nil && err == nil {
			c.note(cerr)
			err = cerr
		}
	}()
	row := &c.row
	row.Columns = rows.Columns()
	if n := len(row.Columns); cap(row.Values) >= n {
		row.Values = row.Values[:n]
	} else {
		row.Values = make([]value, n)
	}
	for {
		if err := rows.Next(row.Values); err != nil {
			if err == io.EOF {
				return nil
			}
			c.note(err)
			if errors.Is(err, driver.ErrBadConn) {
				// Rows may have been delivered: this must not look like lost.
				return errs.New(errs.Unavailable, "database", "the connection broke while rows were read")
			}
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// close ends the connection. Only SQLite, where it completes what is on disk,
// can fail: a MySQL server forgets a connection and its statements by itself.
func (c *conn) close() error {
	var all []error
	if c.isSQLite() {
		for _, st := range c.stmts {
			all = append(all, st.Close())
		}
		c.stmts = nil
		return errors.Join(append(all, c.dc.Close())...)
	}
	c.stmts = nil
	_ = c.dc.Close() // see above
	return nil
}

// Row is one row of an answer, valid during the callback that gets it. Text
// may be a string or bytes of the driver's buffer; Text copies it.
type Row struct {
	Columns []string
	Values  []driver.Value
}

// Null reports whether column i is NULL.
func (r *Row) Null(i int) bool { return r.Values[i] == nil }

// Text returns column i as text, "" for NULL.
func (r *Row) Text(i int) string {
	switch v := r.Values[i].(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// Int returns column i as a number, 0 for NULL and for what is no number.
func (r *Row) Int(i int) int64 {
	n, _ := toInt(r.Values[i]) // documented: 0
	return n
}

func toInt(v value) (int64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case int64:
		return v, nil
	case float64:
		return int64(v), nil
	case string:
		return parseInt(v)
	case []byte:
		return parseInt(string(v))
	case float32:
		return int64(v), nil
	case uint64:
		return int64(v), nil
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

// parseInt reads a number; sums of MySQL arrive as decimals without fraction.
func parseInt(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int64(f), nil
}
