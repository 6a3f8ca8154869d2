package store

import (
	"strings"
	"sync/atomic"
)

// tableState is when a table was last changed. Commits are numbered when they
// have happened; while one is under way, nobody may say what the table holds.
type tableState struct {
	name string
	rows lastChange // of anything but volatile columns
	hot  lastChange // of volatile columns
}

type lastChange struct {
	pending atomic.Int64  // commits under way
	changed atomic.Uint64 // number of the last commit
}

// since reports whether there was a change after commit n, or one that
// happens just now.
func (st *lastChange) since(n uint64) bool { return st.pending.Load() != 0 || st.changed.Load() > n }

// table returns the state of a table, which lives as long as the store.
func (s *Store) table(name string) *tableState {
	if t, ok := s.tables.Load(name); ok {
		return t.(*tableState)
	}
	t, _ := s.tables.LoadOrStore(strings.Clone(name), &tableState{name: strings.Clone(name)})
	return t.(*tableState)
}

// allVolatile tells whether the columns are all declared as volatile.
func (t *tableState) allVolatile(s *Store, columns []string) bool {
	typ, ok := s.reg.Get(t.name)
	if !ok {
		return false
	}
	for _, c := range columns {
		if f, ok := typ.Field(c); !ok || !f.Volatile {
			return false
		}
	}
	return true
}

// touch notes that a statement changed its table.
func (tx *Tx) touch(e *effect) {
	st := &e.table.rows
	if e.hot {
		st = &e.table.hot
	}
	tx.touched = appendNew(tx.touched, st)
}

func appendNew(list []*lastChange, st *lastChange) []*lastChange {
	for _, have := range list {
		if have == st {
			return list
		}
	}
	return append(list, st)
}

// begins marks a commit of changes as under way; ended must follow, whether it
// has happened or not: one that failed may have happened.
func begins(touched []*lastChange) {
	for _, st := range touched {
		st.pending.Add(1)
	}
}

// ended numbers a commit.
func (s *Store) ended(touched []*lastChange) {
	if len(touched) == 0 {
		return
	}
	n := s.commits.Add(1)
	for _, st := range touched {
		for {
			old := st.changed.Load()
			if old >= n || st.changed.CompareAndSwap(old, n) {
				break
			}
		}
		st.pending.Add(-1)
	}
}
