package store

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
)

// maxStatements bounds the texts that are kept prepared. The core has a few
// hundred; lists of IN are padded so that they stay few.
const maxStatements = 384

// statement is a prepared text in use or kept for the next use.
type statement struct {
	*sqlx.Stmt
	users int
	old   bool // no longer kept: the last user closes it
}

// statements keeps texts prepared on a pool, each on the connections that have
// run it. It is safe for use by several goroutines.
type statements struct {
	*sqlx.DB
	mu     sync.Mutex
	byText map[string]*statement
	order  []string // of byText, oldest first
}

func newStatements(db *sqlx.DB) *statements {
	return &statements{DB: db, byText: map[string]*statement{}}
}

// get returns the statement of a text; put must follow.
func (k *statements) get(ctx context.Context, query string) (*statement, error) {
	k.mu.Lock()
	st, ok := k.byText[query]
	if ok {
		st.users++
	}
	k.mu.Unlock()
	if ok {
		return st, nil
	}
	made, err := k.PreparexContext(ctx, k.Rebind(query))
	if err != nil {
		return nil, err
	}
	return k.keep(query, made), nil
}

// keep adds a statement, or closes it when another goroutine was faster.
func (k *statements) keep(query string, made *sqlx.Stmt) *statement {
	var surplus []*sqlx.Stmt
	k.mu.Lock()
	st, ok := k.byText[query]
	if ok {
		surplus = append(surplus, made)
	} else {
		if len(k.order) >= maxStatements {
			oldest := k.byText[k.order[0]]
			delete(k.byText, k.order[0])
			k.order = k.order[1:]
			if oldest.old = true; oldest.users == 0 {
				surplus = append(surplus, oldest.Stmt)
			}
		}
		st = &statement{Stmt: made}
		k.byText[query] = st
		k.order = append(k.order, query)
	}
	st.users++
	k.mu.Unlock()
	for _, s := range surplus {
		_ = s.Close() // it ended well before; a connection that is gone has forgotten it
	}
	return st
}

func (k *statements) put(st *statement) {
	k.mu.Lock()
	st.users--
	last := st.old && st.users == 0
	k.mu.Unlock()
	if last {
		_ = st.Close() // as in keep
	}
}

// exec implements session.
func (k *statements) exec(ctx context.Context, query string, args []value) (int64, error) {
	st, err := k.get(ctx, query)
	if err != nil {
		return 0, err
	}
	defer k.put(st)
	return exec(ctx, st.Stmt, args)
}

// query implements session.
func (k *statements) query(ctx context.Context, query string, args []value, fn func(*Row) error) error {
	st, err := k.get(ctx, query)
	if err != nil {
		return err
	}
	defer k.put(st)
	return ask(ctx, st.Stmt, args, fn)
}

func exec(ctx context.Context, st *sqlx.Stmt, args []value) (int64, error) {
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func ask(ctx context.Context, st *sqlx.Stmt, args []value, fn func(*Row) error) error {
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return each(rows, fn)
}

// bound runs the statements of a pool in one of its transactions.
type bound struct {
	*sqlx.Tx
	pool   *statements
	here   map[string]*sqlx.Stmt
	origin []*statement
}

// get binds the statement of a text to the transaction. A text that the pool
// does not have yet is prepared on the connection that the pool has beyond
// those that transactions hold.
func (b *bound) get(ctx context.Context, query string) (*sqlx.Stmt, error) {
	if st, ok := b.here[query]; ok {
		return st, nil
	}
	st, err := b.pool.get(ctx, query)
	if err != nil {
		return nil, err
	}
	b.origin = append(b.origin, st)
	mine := b.StmtxContext(ctx, st.Stmt)
	if b.here == nil {
		b.here = map[string]*sqlx.Stmt{}
	}
	b.here[query] = mine
	return mine, nil
}

// exec implements session.
func (b *bound) exec(ctx context.Context, query string, args []value) (int64, error) {
	st, err := b.get(ctx, query)
	if err != nil {
		return 0, err
	}
	return exec(ctx, st, args)
}

// query implements session.
func (b *bound) query(ctx context.Context, query string, args []value, fn func(*Row) error) error {
	st, err := b.get(ctx, query)
	if err != nil {
		return err
	}
	return ask(ctx, st, args, fn)
}

// end gives the pool its statements back.
func (b *bound) end() {
	for _, st := range b.origin {
		b.pool.put(st)
	}
}
