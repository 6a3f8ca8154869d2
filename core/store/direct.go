package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/jmoiron/sqlx"
)

// direct runs the prepared statements of one SQLite connection. The connection
// is sqlx's; the statements are the driver's, reached through Raw, because
// database/sql's own locking, bookkeeping and copying for each statement adds a
// quarter to a read by key. One goroutine at a time uses it.
type direct struct {
	*sqlx.Conn
	stmts map[string]driverStmt
	order []string // of stmts, oldest first
	named []driver.NamedValue
}

// driverStmt is what the statements of SQLite's driver can do.
type driverStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func newDirect(c *sqlx.Conn) *direct { return &direct{Conn: c, stmts: map[string]driverStmt{}} }

// prepare returns the statement of a text, from the cache if possible.
func (d *direct) prepare(ctx context.Context, dc any, query string) (driverStmt, error) {
	if st, ok := d.stmts[query]; ok {
		return st, nil
	}
	made, err := dc.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(d.order) >= maxStatements {
		err = d.stmts[d.order[0]].Close()
		delete(d.stmts, d.order[0])
		d.order = d.order[1:]
	}
	st := made.(driverStmt)
	d.stmts[query] = st
	d.order = append(d.order, query)
	return st, err
}

func (d *direct) values(args []value) []driver.NamedValue {
	d.named = d.named[:0]
	for i, a := range args {
		d.named = append(d.named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return d.named
}

// exec implements session.
func (d *direct) exec(ctx context.Context, query string, args []value) (n int64, err error) {
	err = d.Raw(func(dc any) error {
		st, err := d.prepare(ctx, dc, query)
		if err != nil {
			return err
		}
		res, err := st.ExecContext(ctx, d.values(args))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// chunk bounds the rows that are read before their callbacks are called.
const chunk = 64

// query implements session. Rows are read by chunks, since the callback must
// not run inside of Raw: when it panics, Raw gives the connection up.
func (d *direct) query(ctx context.Context, query string, args []value, fn func(*Row) error) (err error) {
	h := holders.Get().(*holder)
	defer h.free()
	var rows driver.Rows
	defer func() {
		if rows != nil {
			cerr := d.Raw(func(any) error { return rows.Close() })
			if err == nil {
				err = cerr
			}
		}
	}()
	for done := false; !done; {
		n := 0
		err := d.Raw(func(dc any) (err error) {
			if rows == nil {
				st, err := d.prepare(ctx, dc, query)
				if err != nil {
					return err
				}
				if rows, err = st.QueryContext(ctx, d.values(args)); err != nil {
					rows = nil
					return err
				}
				h.row.Columns = rows.Columns()
			}
			if n, done, err = h.fill(rows); done {
				err = errors.Join(err, rows.Close())
				rows = nil
			}
			return err
		})
		if err != nil {
			return err
		}
		width := len(h.row.Columns)
		for i := range n {
			h.row.Values = h.values[i*width : (i+1)*width]
			if err := fn(&h.row); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill reads the next chunk.
func (h *holder) fill(rows driver.Rows) (n int, done bool, err error) {
	width := len(h.row.Columns)
	for ; n < chunk; n++ {
		err := rows.Next(h.room(n, width))
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// close closes the statements, for which the driver would keep the file open,
// and gives the connection back to sqlx.
func (d *direct) close() error {
	return errors.Join(d.forget(), d.Conn.Close())
}

// discard closes the statements and the connection.
func (d *direct) discard() {
	_ = d.forget() // a connection that is closed forgets them anyway
	drop(d.Conn)
}

func (d *direct) forget() error {
	return d.Raw(func(any) error {
		var all error
		for _, st := range d.stmts {
			all = errors.Join(all, st.Close())
		}
		d.stmts, d.order = nil, nil
		return all
	})
}
