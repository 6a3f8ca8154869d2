package store

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"

	schemasql "github.com/kumo-cloud/kumo/sql"
)

// What was read stays in memory with the number of the commit that it shows. It
// is used while none of its tables was changed by a later commit, and while none
// is being changed: every write of this process passes Tx.exec, which knows the
// table by the statement's text, so that nobody has to remember to forget. The
// database must have no other writer.

// Bounds of what is kept, in bytes.
const (
	maxMemory   = 64 << 20  // ten thousand guests as clients read them, and what creations need
	maxMemorise = 256 << 10 // one answer
)

// memory keeps what was read by a key.
type memory struct {
	mu    sync.RWMutex
	byKey map[string]*memorised
	size  int
}

type memorised struct {
	value any
	size  int
	at    uint64 // the commit that it shows
	of    []*lastChange
}

func (m *memorised) valid() bool {
	for _, t := range m.of {
		if t.since(m.at) {
			return false
		}
	}
	return true
}

// get returns what is kept and valid.
func (m *memory) get(key []byte) (any, bool) {
	m.mu.RLock()
	e, ok := m.byKey[string(key)]
	m.mu.RUnlock()
	if !ok || !e.valid() {
		return nil, false
	}
	return e.value, true
}

// put keeps an answer, unless it is too large, or old already. What does not fit
// takes the place of those that are old, or else of any other: an answer that is
// needed comes back.
func (m *memory) put(key []byte, e *memorised) {
	e.size += len(key) + 200 // of the map and the structs
	if e.size > maxMemorise || !e.valid() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = map[string]*memorised{}
	}
	if old, ok := m.byKey[string(key)]; ok {
		m.size -= old.size
	}
	m.byKey[string(key)], m.size = e, m.size+e.size
	if m.size <= maxMemory {
		return
	}
	for _, whatever := range []bool{false, true} {
		for k, old := range m.byKey {
			if m.size <= maxMemory*7/8 {
				return
			}
			if old != e && (whatever || !old.valid()) {
				delete(m.byKey, k)
				m.size -= old.size
			}
		}
	}
}

// Cached returns a Querier that keeps answers in memory, for what is read often
// and rarely changes, or by many at the same moment, who then share one reading.
// Each answer is one that the database gave, or would give now; two need not be
// of one moment, so that a View, whose answers are, is returned as it is. In a
// transaction that writes an answer is what its own statement would read there;
// on MySQL, where others write meanwhile and statements take locks, it is
// returned as it is. Every table of a statement must be in backquotes.
func Cached(q Querier) Querier {
	switch q := q.(type) {
	case *Store:
		return &cached{s: q, q: q}
	case *Tx:
		if q.loose || q.batch != nil {
			return &cached{s: q.s, q: q, tx: q}
		}
	}
	return q
}

type cached struct {
	s  *Store
	q  Querier
	tx *Tx // nil outside of one
}

// unsure tells whether a transaction that writes has changed one of the tables,
// or those that are committed with it have.
func (c *cached) unsure(of []*lastChange) bool {
	if c.tx == nil || c.tx.batch == nil {
		return false
	}
	for _, t := range of {
		if slices.Contains(c.tx.touched, t) || slices.Contains(*c.tx.batch, t) {
			return true
		}
	}
	return false
}

// Dialect implements Querier.
func (c *cached) Dialect() schemasql.Dialect { return c.q.Dialect() }

func (c *cached) seal() *Seal { return c.s.secrets }

// Each implements Querier.
func (c *cached) Each(ctx context.Context, query string, args []any, fn func(*Row) error) error {
	query, values, err := c.s.prepareArgs(query, args)
	if err != nil {
		return err
	}
	return c.each(ctx, false, query, values, fn)
}

// answer is the rows of a query.
type answer struct {
	columns []string
	values  []driver.Value // of one row after the other
}

func (c *cached) each(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) error {
	of := c.s.reads(query)
	key, ok := appendKey(make([]byte, 0, 512), query, args)
	if of == nil || !ok || c.unsure(of) {
		return c.q.each(ctx, brief, query, args, fn)
	}
	if v, ok := c.s.memory.get(key); ok {
		return v.(*answer).each(fn)
	}
	read := func() (*answer, error) { return c.read(ctx, brief, query, args, key, of) }
	var a *answer
	var err error
	if c.tx == nil {
		a, err = c.s.shared.Do(ctx, string(key), "", func([]string) (*answer, error) { return read() })
	} else { // what it sees is its own
		a, err = read()
	}
	if err != nil {
		return err
	}
	return a.each(fn)
}

// read asks the database and keeps the answer.
func (c *cached) read(ctx context.Context, brief bool, query string, args []value, key []byte, of []*lastChange) (*answer, error) {
	at := c.s.commits.Load()
	if c.tx != nil && c.tx.loose {
		at = c.tx.began
	}
	a, size := &answer{}, 0
	err := c.q.each(ctx, brief, query, args, func(r *Row) error {
		if a.columns == nil {
			a.columns = append(a.columns, r.Columns...)
		}
		for _, v := range r.Values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			if text, ok := v.(string); ok {
				size += len(text)
			}
			a.values, size = append(a.values, v), size+16
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.s.memory.put(key, &memorised{value: a, size: size, at: at, of: of})
	return a, nil
}

func (a *answer) each(fn func(*Row) error) error {
	width := len(a.columns)
	row := Row{Columns: a.columns}
	for i := 0; i+width <= len(a.values) && width > 0; i += width {
		row.Values = a.values[i : i+width : i+width]
		if err := fn(&row); err != nil {
			return err
		}
	}
	return nil
}

// appendKey makes one text of a statement and its arguments.
func appendKey(key []byte, query string, args []value) ([]byte, bool) {
	key = append(key, query...)
	for _, a := range args {
		switch a := a.(type) {
		case nil:
			key = append(key, 0)
		case int64:
			key = binary.BigEndian.AppendUint64(append(key, 1), uint64(a))
		case float64:
			key = binary.BigEndian.AppendUint64(append(key, 2), math.Float64bits(a))
		case string:
			key = append(binary.BigEndian.AppendUint64(append(key, 3), uint64(len(a))), a...)
		default:
			return nil, false
		}
	}
	return key, true
}

// Remember returns what load makes of what it reads, from memory while no table
// that it read has changed. load is told what to read with, and says how many
// bytes its result has; the result is shared, so that nobody changes it. key
// says all that the result depends on beside the database.
func Remember[T any](ctx context.Context, s *Store, key string, load func(q Querier) (T, int, error)) (T, error) {
	k := []byte("\x00" + key) // no statement begins so
	if v, ok := s.memory.get(k); ok {
		return v.(T), nil
	}
	var result T
	var size int
	e, whole := &memorised{at: s.commits.Load()}, false
	err := s.Read(ctx, func(q Querier) (err error) {
		r := &recorder{Querier: q, s: s, whole: true}
		result, size, err = load(r)
		e.of, whole = r.of, r.whole
		return err
	})
	if err == nil && whole {
		e.value, e.size = result, size
		s.memory.put(k, e)
	}
	return result, err
}

// recorder notes what is read through it.
type recorder struct {
	Querier
	s     *Store
	of    []*lastChange
	whole bool // all that was read is known
}

// Each implements Querier.
func (r *recorder) Each(ctx context.Context, query string, args []any, fn func(*Row) error) error {
	query, values, err := r.s.prepareArgs(query, args)
	if err != nil {
		return err
	}
	return r.each(ctx, false, query, values, fn)
}

func (r *recorder) each(ctx context.Context, brief bool, query string, args []value, fn func(*Row) error) error {
	of := r.s.reads(query)
	r.whole = r.whole && of != nil
	for _, t := range of {
		r.of = appendNew(r.of, t)
	}
	return r.Querier.each(ctx, brief, query, args, fn)
}

// reads returns the tables that a SELECT reads, nil when that cannot be told.
func (s *Store) reads(query string) []*lastChange {
	if of, ok := s.readings.Load(query); ok {
		return of.([]*lastChange)
	}
	of := s.parseReads(query)
	if s.effectCount.Add(1) > maxEffects {
		s.effects.Clear()
		s.readings.Clear()
		s.effectCount.Store(1)
	}
	s.readings.Store(strings.Clone(query), of)
	return of
}

// parseReads finds the tables by their names: a table's begins with a capital,
// a column's with a small letter.
func (s *Store) parseReads(query string) (of []*lastChange) {
	if !tablesQuoted(query) {
		return nil
	}
	var tables []*tableState
	columns := map[string]bool{}
	for rest := query; ; {
		_, after, ok := strings.Cut(rest, "`")
		if !ok {
			break
		}
		name, end, ok := strings.Cut(after, "`")
		if !ok || name == "" {
			return nil
		}
		if rest = end; name[0] >= 'A' && name[0] <= 'Z' {
			tables = append(tables, s.table(name))
		} else {
			columns[name] = true
		}
	}
	for _, t := range tables {
		of = appendNew(of, &t.rows)
		typ, ok := s.reg.Get(t.name)
		if !ok {
			continue
		}
		for i := range typ.Fields {
			if f := &typ.Fields[i]; f.Volatile && columns[f.Name] {
				of = appendNew(of, &t.hot)
			}
		}
	}
	return of
}

// tablesQuoted tells whether what comes after each FROM and JOIN is a name in
// backquotes or a SELECT in parentheses, and whether nothing but names is in
// backquotes: a text in quotes could hold some.
func tablesQuoted(query string) bool {
	if strings.Contains(query, "*") && strings.Contains(query, ".*") {
		return false
	}
	for _, word := range []string{"FROM ", "JOIN "} {
		for rest := query; ; {
			_, after, ok := strings.Cut(rest, word)
			if !ok {
				break
			}
			if !strings.HasPrefix(after, "`") && !strings.HasPrefix(after, "(") {
				return false
			}
			rest = after
		}
	}
	quote := byte(0)
	for i := range len(query) {
		switch c := query[i]; {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case c == '`' && quote != 0:
			return false
		}
	}
	return true
}
