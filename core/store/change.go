package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Verb is what happened to a row.
type Verb string

// The verbs of changes.
const (
	Created Verb = "created"
	Updated Verb = "updated"
	Deleted Verb = "deleted"
)

// Change is what a transaction did to one row.
type Change struct {
	Verb Verb
	// Type is a root type: what happens to a subtype's row is an update of the
	// resource.
	Type *resource.Type
	UUID string
	// Fields are the columns that updates wrote, sorted; what they hold now
	// may be what they held before. They may be hidden or secret.
	Fields []string
	// Account is the owner's account of a row that is created with it in a column
	// of its own, or of one that is deleted, that of what it was a part of
	// included, unless that was deleted before.
	Account string
	// Cause is what WithCause put into the context of Update; may be nil.
	Cause Cause

	e    *effect
	args []value // of the statement; for an INSERT, of the row
}

// Value returns what a column was set to, as the database has it; false when
// the statement does not set it, or computes it.
func (c *Change) Value(column string) (any, bool) {
	if c.e == nil {
		return nil, false
	}
	for i, name := range c.e.columns {
		if name != column {
			continue
		}
		if c.e.direct != nil {
			if i = c.e.direct[i]; i < 0 {
				return nil, false
			}
		}
		return c.args[i], true
	}
	return nil, false
}

// Watcher is told what every transaction of this process changed.
type Watcher interface {
	// Wants tells whether changes of a type are wanted. It is asked at every
	// write, so that nothing is gathered for nobody.
	Wants(t *resource.Type) bool
	// Committing is called in a transaction that is about to be committed; its
	// error undoes it. What it writes itself is told after the commit only.
	Committing(ctx context.Context, tx *Tx, changes []Change) error
	// Committed is called after the commit, before Update returns, and must not
	// wait. On SQLite calls come in the order of commits; on MySQL two changes
	// of one row may be told in either order.
	Committed(changes []Change)
}

// Cause is why transactions are made, such as a request. It is told what those
// under its context changed, in their own goroutine after the commit. A row
// that a condition found which is not on its uuid may be missing.
type Cause interface{ Changed(changes []Change) }

type causeKey struct{}

// WithCause returns a context under which transactions are made for c.
func WithCause(ctx context.Context, c Cause) context.Context {
	return context.WithValue(ctx, causeKey{}, c)
}

// CauseOf returns what WithCause has put into a context, or nil.
func CauseOf(ctx context.Context) Cause {
	c, _ := ctx.Value(causeKey{}).(Cause)
	return c
}

// Watch adds who is told of changes, before the first one that matters to it.
func (s *Store) Watch(w Watcher) {
	for {
		old := s.watchers.Load()
		list := []Watcher{w}
		if old != nil {
			list = append(slices.Clone(*old), w)
		}
		if s.watchers.CompareAndSwap(old, &list) {
			return
		}
	}
}

func (s *Store) watching() []Watcher {
	if list := s.watchers.Load(); list != nil {
		return *list
	}
	return nil
}

// row is one that a statement changes.
type row struct {
	uuid, account string
	args          []value
}

// watched tells whether the changes of a statement are noted; with rows, also
// when they have to be looked for.
func (tx *Tx) watched(e *effect) (t *resource.Type, note, rows bool) {
	list := tx.s.watching()
	if len(list) == 0 && tx.cause == nil {
		return nil, false, false
	}
	t, ok := tx.s.reg.Get(e.table.name)
	if !ok {
		return nil, false, false
	}
	root := tx.s.reg.Root(t)
	rows = slices.ContainsFunc(list, func(w Watcher) bool { return w.Wants(root) })
	return t, rows || tx.cause != nil && !root.Internal, rows
}

// targets returns the rows that a statement is about to change.
func (tx *Tx) targets(ctx context.Context, e *effect, t *resource.Type, args []value, search bool) ([]row, error) {
	owner := ""
	if search && e.verb == Deleted {
		owner = tx.s.ownerOf(t, "`"+t.Name+"`", 0)
	}
	if e.byUUID && owner == "" {
		uuid, _ := args[e.before].(string)
		return []row{{uuid: uuid, args: args}}, nil
	}
	if !search {
		return nil, nil
	}
	columns := "`uuid`"
	if owner != "" {
		columns += ", " + owner
	}
	query := "SELECT " + columns + " FROM `" + t.Name + "`" + e.where
	if tx.Dialect() == schemasql.MySQL {
		query += " FOR UPDATE"
	}
	var rows []row
	err := tx.each(ctx, false, query, args[e.before:], func(r *Row) error {
		x := row{uuid: r.Text(0), args: args}
		if len(r.Values) > 1 {
			x.account = r.Text(1)
		}
		rows = append(rows, x)
		return nil
	})
	return rows, err
}

// ownerOf is the account of a type's row under an alias as SQL, that of what it
// is a part of included; "" when it has none.
func (s *Store) ownerOf(t *resource.Type, alias string, depth int) string {
	if t.Owned {
		return alias + ".`accountUuid`"
	}
	e, ok := t.Edge(t.OwnedBy)
	of, known := s.reg.Get(e.To)
	if !ok || !known || t.Parent != "" {
		return ""
	}
	outer := "o" + strconv.Itoa(depth)
	owner := s.ownerOf(of, outer, depth+1)
	if owner == "" {
		return ""
	}
	return "(SELECT " + owner + " FROM `" + of.Name + "` " + outer + " WHERE " + outer + ".`" + e.ToColumn + "` = " + alias + ".`" + e.Column + "`)"
}

// noteRows keeps what a statement changed.
func (tx *Tx) noteRows(e *effect, t *resource.Type, rows []row, args []value) {
	if e.verb == Created {
		rows = inserted(e, args)
	}
	root := tx.s.reg.Root(t)
	for _, r := range rows {
		c := Change{Verb: e.verb, Type: root, UUID: r.uuid, Account: r.account, Cause: tx.cause, e: e, args: r.args}
		if root != t {
			c.Verb, c.Account, c.e = Updated, "", nil
		}
		if c.Verb == Updated {
			c.Fields = e.sorted
		}
		tx.add(c)
	}
}

// inserted reads the rows of an INSERT from its arguments.
func inserted(e *effect, args []value) []row {
	uuid, account, width := slices.Index(e.columns, "uuid"), slices.Index(e.columns, "accountUuid"), len(e.columns)
	if uuid < 0 {
		return nil
	}
	var rows []row
	for ; len(args) >= width; args = args[width:] {
		r := row{args: args[:width]}
		r.uuid, _ = args[uuid].(string)
		if account >= 0 {
			r.account, _ = args[account].(string)
		}
		rows = append(rows, r)
	}
	return rows
}

// add appends a change, or makes one of several updates of one row.
func (tx *Tx) add(c Change) {
	if n := len(tx.changes); n > 0 && c.Verb == Updated {
		if last := &tx.changes[n-1]; last.UUID == c.UUID && last.Type == c.Type {
			switch last.Verb {
			case Updated:
				last.Fields, last.e, last.args = union(last.Fields, c.Fields), c.e, c.args
				return
			case Created:
				return
			}
		}
	}
	tx.changes = append(tx.changes, c)
}

// union merges two sorted lists, neither of which is changed.
func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// wanted returns those changes that a watcher wants.
func (tx *Tx) wanted(w Watcher) []Change {
	var list []Change
	for _, c := range tx.changes {
		if w.Wants(c.Type) {
			list = append(list, c)
		}
	}
	return list
}

// committing runs after the function of Update, in its transaction.
func (tx *Tx) committing(ctx context.Context) error {
	if len(tx.changes) == 0 {
		return nil
	}
	for _, w := range tx.s.watching() {
		if list := tx.wanted(w); len(list) > 0 {
			if err := w.Committing(ctx, tx, list); err != nil {
				return err
			}
		}
	}
	return nil
}

// committed tells of a commit.
func (tx *Tx) committed() {
	if len(tx.changes) == 0 {
		return
	}
	for _, w := range tx.s.watching() {
		if list := tx.wanted(w); len(list) > 0 {
			w.Committed(list)
		}
	}
	if tx.cause != nil && len(tx.changes) > 0 {
		cause, changes := tx.cause, tx.changes
		tx.hooks = append(tx.hooks, func() { cause.Changed(changes) })
	}
}

// effect is what a writing statement does, as its text says.
type effect struct {
	verb    Verb
	table   *tableState
	columns []string // that it writes, in order
	direct  []int    // of an UPDATE, by column: the argument that is its value, or -1
	sorted  []string // the same, sorted
	where   string   // its condition, with WHERE; "" for all rows
	before  int      // arguments before those of where
	byUUID  bool     // the condition begins with `uuid` = ?, so that one row has it at most
	hot     bool     // it writes volatile columns only
	sealed  []int    // of columns, those which are stored sealed
}

// maxEffects bounds the texts that are kept parsed.
const maxEffects = 4096

// effectOf reads a text once. What it does not understand is no statement of
// ours: whatever is written must be known to those who keep what was read.
func (s *Store) effectOf(query string) (*effect, error) {
	if e, ok := s.effects.Load(query); ok {
		return e.(*effect), nil
	}
	e, err := s.parseEffect(query)
	if err != nil {
		return nil, err
	}
	if s.effectCount.Add(1) > maxEffects {
		s.effects.Clear()
		s.effectCount.Store(1)
	}
	s.effects.Store(strings.Clone(query), e)
	return e, nil
}
