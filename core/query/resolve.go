package query

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// ErrUnknownField marks, for errors.Is, a query that names a field or an edge
// which the type does not have; the wire tells it as SYS.1000 and not as a
// wrong argument. The error's class is errs.Invalid.
var ErrUnknownField = errors.New("unknown field")

func unknownField(t *resource.Type, name string) error {
	return &errs.Error{Class: errs.Invalid, Object: "query of " + t.Name, Err: ErrUnknownField,
		Message: fmt.Sprintf("%s has no queryable field %s", t.Name, clip(name))}
}

// maxJoins keeps below SQLite's limit of 64 tables (MySQL: 61).
const maxJoins = 56

// scope is a table in the FROM clause and the type whose members can be named
// there. A type's members lie in its own table, in those of its parents, and in
// those of its subtypes; table is the one that alias stands for.
type scope struct {
	typ   *resource.Type
	table *resource.Type
	alias string
}

// compiler collects the joins and conditions of one statement.
type compiler struct {
	reg     *resource.Registry
	dialect schemasql.Dialect
	// foldedText is store.Folded.
	foldedText func(string) string
	caller     Scope
	shared     map[string]scope // joins with one target, by what is joined
	tables     int              // that are named so far beside the root's
	values     int
	many       bool // a list is joined: a row may occur several times
	frame
	// outer are the frames around this one, the root's first.
	outer []frame
}

// frame is one SELECT. One list is joined to the root's, so that the database may
// begin with whichever is smaller. What is asked of further lists, or of lists of
// lists, stands in frames of their own, each within an IN: that is read once,
// where joins would multiply one list with the next.
type frame struct {
	in    string // how the frame begins, "" for the root's
	joins []string
	where []string
	// joinArgs belong to joins, args to where: that is their order in the text.
	joinArgs, args []any
}

// within opens a frame of the rows of a table whose column equals one that is
// there.
func (c *compiler) within(table *resource.Type, on, equals string) (scope, error) {
	alias, err := c.alias()
	if err != nil {
		return scope{}, err
	}
	c.outer = append(c.outer, c.frame)
	c.frame = frame{in: fmt.Sprintf("%s IN (SELECT %s.`%s` FROM `%s` %s", equals, alias, on, table.Name, alias)}
	if where, args := c.visible(table, alias); where != "" {
		c.where, c.args = append(c.where, where), append(c.args, args...)
	}
	return scope{typ: table, table: table, alias: alias}, nil
}

// close makes conditions of the frames that are open beyond the first.
func (c *compiler) close() {
	for len(c.outer) > 0 {
		f := c.frame
		c.frame, c.outer = c.outer[len(c.outer)-1], c.outer[:len(c.outer)-1]
		text := f.in + strings.Join(f.joins, "")
		if len(f.where) > 0 {
			text += " WHERE " + strings.Join(f.where, " AND ")
		}
		c.where = append(c.where, text+")")
		c.args = append(append(c.args, f.joinArgs...), f.args...)
	}
}

// alias names another table.
func (c *compiler) alias() (string, error) {
	if c.tables >= maxJoins {
		return "", invalid("the conditions touch more than %d tables", maxJoins)
	}
	c.tables++
	return fmt.Sprintf("t%d", c.tables), nil
}

// visible is the condition for what the caller may see of a table, "" for all.
func (c *compiler) visible(table *resource.Type, alias string) (string, []any) {
	if c.caller.Admin {
		return "", nil
	}
	return access.Read(c.reg, table, alias, c.caller.AccountUUID)
}

// column is a resolved field.
type column struct {
	alias string
	field *resource.Field
}

func (c column) String() string { return c.alias + ".`" + c.field.Name + "`" }

// join adds a table with a part of the object whose column equals one that is
// there. With one the target is unique, so that conditions may share it.
func (c *compiler) join(table *resource.Type, on, equals string, one bool) (scope, error) {
	key := table.Name + " " + on + " " + equals
	if s, ok := c.shared[key]; ok && one {
		return s, nil
	}
	alias, err := c.alias()
	if err != nil {
		return scope{}, err
	}
	s := scope{typ: table, table: table, alias: alias}
	c.joins = append(c.joins, fmt.Sprintf(" JOIN `%s` %s ON %s.`%s` = %s", table.Name, s.alias, s.alias, on, equals))
	if one {
		c.shared[key] = s
	} else {
		c.many = true
	}
	return s, nil
}

// joinVisible adds rows of other objects: those that the caller may see. The
// condition stands in the ON clause, or in the list's own frame, so that it is
// part of the scope itself, whatever is asked of it there.
func (c *compiler) joinVisible(table *resource.Type, on, equals string, one bool) (scope, error) {
	if !one && (c.many || len(c.outer) > 0) {
		return c.within(table, on, equals)
	}
	before := len(c.joins)
	s, err := c.join(table, on, equals, one)
	if err != nil || len(c.joins) == before {
		return s, err
	}
	if where, args := c.visible(table, s.alias); where != "" {
		c.joins[before] += " AND " + where
		c.joinArgs = append(c.joinArgs, args...)
	}
	return s, nil
}

// root opens the scope of the queried type.
func (c *compiler) root(t *resource.Type) (scope, error) {
	s := scope{typ: t, table: c.reg.Root(t), alias: "t0"}
	if err := c.enter(t); err != nil {
		return s, err
	}
	return s, c.narrow(s)
}

// narrow makes sure that rows of the root's table are of a subtype.
func (c *compiler) narrow(s scope) error {
	if s.typ == s.table {
		return nil
	}
	_, err := c.join(s.typ, "uuid", s.alias+".`uuid`", true)
	return err
}

// at returns the alias of the table of owner, for the same object as s.
func (c *compiler) at(s scope, owner *resource.Type) (string, error) {
	if owner == s.table {
		return s.alias, nil
	}
	j, err := c.join(owner, "uuid", s.alias+".`uuid`", true)
	return j.alias, err
}

// family lists the types whose members a scope of t has: t, its parents, and
// all subtypes.
func (c *compiler) family(t *resource.Type) []*resource.Type {
	lineage := c.reg.Lineage(t)
	out := make([]*resource.Type, 0, len(lineage)+2)
	for i := len(lineage) - 1; i >= 0; i-- {
		out = append(out, lineage[i])
	}
	return append(out, c.descendants(t, 0)...)
}

func (c *compiler) descendants(t *resource.Type, depth int) (out []*resource.Type) {
	if depth > MaxDepth {
		return nil
	}
	for _, sub := range c.reg.Subtypes(t.Name) {
		out = append(append(out, sub), c.descendants(sub, depth+1)...)
	}
	return out
}

// key resolves a column that an edge uses, which may be hidden.
func (c *compiler) key(s scope, name string) (column, error) {
	for _, owner := range c.family(s.typ) {
		if owner.Parent != "" && name == "uuid" {
			continue // the root's
		}
		if f, ok := owner.Field(name); ok {
			alias, err := c.at(s, owner)
			return column{alias, f}, err
		}
	}
	return column{}, unknownField(s.typ, name)
}

// field resolves the last name of a path.
func (c *compiler) field(s scope, name string) (column, error) {
	family := c.family(s.typ)
	for _, owner := range family {
		if owner.Parent != "" && name == "uuid" {
			continue
		}
		if f, ok := owner.Field(name); ok && f.Visible() {
			alias, err := c.at(s, owner)
			return column{alias, f}, err
		}
	}
	for _, owner := range family {
		for _, b := range owner.Borrows {
			if b.Name == name {
				return c.member(s, b.Type, b.Column, b.Field, true)
			}
		}
		if e, ok := owner.Embed(name); ok && e.Scalar != "" {
			return c.member(s, e.Type, e.Column, e.Scalar, false)
		}
	}
	return column{}, unknownField(s.typ, name)
}

// member resolves a field in the rows of another type that point to s.
func (c *compiler) member(s scope, typ, pointer, field string, one bool) (column, error) {
	other, ok := c.reg.Get(typ)
	if !ok {
		return column{}, errs.New(errs.Internal, "resource type "+typ, "it is not declared")
	}
	next, err := c.target(s, "uuid", other, pointer, one)
	if err != nil {
		return column{}, err
	}
	return c.field(next, field)
}

// target joins the rows of type to whose toColumn equals column of s.
func (c *compiler) target(s scope, column string, to *resource.Type, toColumn string, one bool) (scope, error) {
	if err := c.enter(to); err != nil {
		return scope{}, err
	}
	from, err := c.key(s, column)
	if err != nil {
		return scope{}, err
	}
	table := c.reg.Root(to)
	if _, ok := table.Field(toColumn); !ok {
		for _, owner := range c.family(to) {
			if _, ok := owner.Field(toColumn); ok {
				table = owner
				break
			}
		}
	}
	next, err := c.joinVisible(table, toColumn, from.String(), one)
	if err != nil {
		return scope{}, err
	}
	next.typ = to
	if table != to && to.Parent != "" {
		_, err = c.join(to, "uuid", next.alias+".`uuid`", true)
	}
	return next, err
}

// step follows one name of a path to another type: an edge, an alias of
// several, or a list of the inventory.
func (c *compiler) step(s scope, name string, depth int) (scope, error) {
	if depth > MaxDepth {
		return scope{}, invalid("the path has more than %d edges", MaxDepth)
	}
	for _, owner := range c.family(s.typ) {
		if e, ok := c.reg.Edge(owner, name); ok {
			to, ok := c.reg.Get(e.To)
			if !ok {
				return scope{}, errs.New(errs.Internal, "resource type "+e.To, "it is not declared")
			}
			return c.target(s, e.Column, to, e.ToColumn, unique(to, e.ToColumn))
		}
		if path, ok := c.reg.Alias(owner, name); ok {
			return c.walk(s, strings.Split(path, "."), depth)
		}
		if e, ok := owner.Embed(name); ok && e.Scalar == "" {
			if to, ok := c.reg.Get(e.Type); ok {
				return c.target(s, "uuid", to, e.Column, unique(to, e.Column))
			}
		}
	}
	return scope{}, unknownField(s.typ, name)
}

func (c *compiler) walk(s scope, steps []string, depth int) (scope, error) {
	for i, name := range steps {
		var err error
		if s, err = c.step(s, name, depth+1+i); err != nil {
			return scope{}, err
		}
	}
	return s, nil
}

func unique(t *resource.Type, column string) bool {
	if column == "uuid" {
		return true
	}
	f, ok := t.Field(column)
	return ok && f.Unique
}
