package query

import (
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// shape says what is in the JSON arrays in which an inventory is read. The
// database makes them of the row and of all that belongs to it: that is one
// statement and a column for each part, where a statement for each kind of list
// and a column for each member cost two to three times as much. MySQL's lists
// come by a second statement (branch).
type shape struct {
	typ *resource.Type
	// cells are the members in the type's own table, one element each.
	cells []cell
	// borrows are members in one row of another type: an array each, or null.
	borrows [][]cell
	// lists are the embedded lists: an array of arrays each.
	lists []listShape
	// subtypes refine the row: an array each, null but for the row's own.
	subtypes []*shape
}

// listShape is an embedded list. Its arrays begin with what they are sorted by:
// a value, then the uuid.
type listShape struct {
	name string
	key  string // `"name":[`, or `"name":` of one row
	desc bool
	one  bool
	of   *shape // of inventories; nil for a list of values
	kind resource.Kind
	// branch numbers, from 1, the branch that reads the list; 0: it is a part of
	// its row.
	branch int
}

// cell is one rendered member.
type cell struct {
	key  string // `"name":`
	kind resource.Kind
}

// rendering is a shape with the SQL of the columns for rows of t0: an array of
// the cells, and one of each borrow, list and subtype, as elsewhere they are the
// elements behind the cells.
type rendering struct {
	shape    *shape
	sql      string
	args     []any
	branches []branch
}

// branch is a SELECT of one kind of list for many rows: its number, the uuid of
// the row, or of the list's element, that a child belongs to, and the child's
// array. The SQL ends in IN (?), for the rows' uuids. Together they are a
// statement, which MySQL and MariaDB answer without keeping anything. MariaDB
// makes a temporary table on disk for each JSON_ARRAYAGG, however few values it
// gathers, which costs ten times as much.
type branch struct {
	sql  string
	args []any
}

// maxNesting bounds lists inside of lists; a cycle of declarations ends here.
const maxNesting = 4

type renderingKey struct {
	version uint64
	t       *resource.Type
}

// renderingOf returns the rendering of a type's own table with all members; one
// of chosen members is made for each query.
func (e *Engine) renderingOf(t *resource.Type, wanted members) (*rendering, error) {
	if wanted != nil {
		return e.makeRendering(t, wanted)
	}
	key := renderingKey{e.reg.Version(), t}
	if r, ok := e.renderings.Load(key); ok {
		return r.(*rendering), nil
	}
	r, err := e.makeRendering(t, nil)
	if err != nil {
		return nil, err
	}
	e.renderings.Range(func(old, _ any) bool { // those of older declarations
		if old.(renderingKey).version != key.version {
			e.renderings.Delete(old)
		}
		return true
	})
	e.renderings.Store(key, r)
	return r, nil
}

func (e *Engine) makeRendering(t *resource.Type, wanted members) (*rendering, error) {
	b := &shaper{reg: e.reg, apart: e.store.Dialect() == schemasql.MySQL}
	elements, s, err := b.object(t, place{alias: "t0"}, wanted, 0)
	if err != nil {
		return nil, err
	}
	own := len(s.cells)
	columns := append([]string{"t0.`uuid`", jsonArray(elements[:own])}, elements[own:]...)
	return &rendering{shape: s, sql: strings.Join(columns, ", "), args: b.args, branches: b.branches}, nil
}

func jsonArray(elements []string) string { return "JSON_ARRAY(" + strings.Join(elements, ", ") + ")" }

// shaper makes shapes and their SQL; its arguments stand in the order of the
// text.
type shaper struct {
	reg      *resource.Registry
	apart    bool // lists are read by branches
	branches []branch
	args     []any
	aliases  int
}

// place is where a row stands that is shaped: under an alias; and for one in a
// branch the tables that lead from it to the row whose list it is in, the first
// one apart from those that are joined to it, and the column with that row's
// uuid.
type place struct{ alias, table, joins, top string }

func (b *shaper) alias() string {
	b.aliases++
	return fmt.Sprintf("j%d", b.aliases)
}

// object shapes the row of t in a place.
func (b *shaper) object(t *resource.Type, at place, wanted members, depth int) (elements []string, s *shape, err error) {
	if depth > maxNesting {
		return nil, nil, errs.New(errs.Internal, "resource type "+t.Name, "its lists are nested more than %d deep", maxNesting)
	}
	s = &shape{typ: t}
	for i := range t.Fields {
		f := &t.Fields[i]
		if !f.Visible() || !wanted.has(f.Name) || t.Parent != "" && f.Name == "uuid" {
			continue
		}
		elements = append(elements, at.alias+".`"+f.Name+"`")
		s.cells = append(s.cells, cell{`"` + f.Name + `":`, f.Kind})
	}
	elements = append(elements, b.borrowed(t, at.alias, wanted, s)...)
	for i := range t.Embeds {
		if em := &t.Embeds[i]; wanted.has(em.Name) {
			list, err := b.list(em, at, depth, s)
			if err != nil {
				return nil, nil, err
			}
			elements = append(elements, list...)
		}
	}
	disc, own := t.Field(t.Discriminator)
	if !own {
		return elements, s, nil
	}
	for _, sub := range b.reg.Subtypes(t.Name) {
		x := b.alias()
		b.args = append(b.args, strings.ToLower(sub.DiscriminatorValue))
		refines := at
		refines.alias = x
		inner, refined, err := b.object(sub, refines, wanted, depth)
		if err != nil {
			return nil, nil, err
		}
		elements = append(elements, "CASE WHEN LOWER("+at.alias+".`"+disc.Name+"`) = ? THEN (SELECT "+jsonArray(inner)+
			" FROM `"+sub.Name+"` "+x+" WHERE "+x+".`uuid` = "+at.alias+".`uuid`) END")
		s.subtypes = append(s.subtypes, refined)
	}
	return elements, s, nil
}

// borrowed groups the borrowed members by the rows that they are stored in.
func (b *shaper) borrowed(t *resource.Type, alias string, wanted members, s *shape) (elements []string) {
	type source struct{ typ, column string }
	at := map[source]int{}
	var columns [][]string
	var from []source
	for _, m := range t.Borrows {
		other, ok := b.reg.Get(m.Type)
		if !ok || !wanted.has(m.Name) {
			continue
		}
		f, ok := other.Field(m.Field)
		if !ok {
			continue
		}
		key := source{m.Type, m.Column}
		i, seen := at[key]
		if !seen {
			i = len(from)
			at[key] = i
			from, columns, s.borrows = append(from, key), append(columns, nil), append(s.borrows, nil)
		}
		columns[i] = append(columns[i], "`"+m.Field+"`")
		s.borrows[i] = append(s.borrows[i], cell{`"` + m.Name + `":`, f.Kind})
	}
	for i, src := range from {
		elements = append(elements, "(SELECT "+jsonArray(columns[i])+" FROM `"+src.typ+"` WHERE `"+src.column+"` = "+alias+".`uuid` LIMIT 1)")
	}
	return elements
}

// list shapes an embedded list of the row in a place. Its element is an array of
// the list; there is none when a branch reads the list.
func (b *shaper) list(em *resource.Embed, of place, depth int, s *shape) (element []string, err error) {
	t, ok := b.reg.Get(em.Type)
	if !ok {
		return nil, errs.New(errs.Internal, "resource type "+em.Type, "it is not declared")
	}
	root := b.reg.Root(t)
	at, key, err := b.source(t, root, em.Column)
	if err != nil {
		return nil, err
	}
	order, desc := orderOf(root, em.OrderBy)
	l := listShape{name: em.Name, key: `"` + em.Name + `":[`, desc: desc, one: em.One}
	if l.one {
		l.key = `"` + em.Name + `":`
	}
	outer := b.args
	if b.apart {
		if at.top = key; of.table != "" {
			at.joins += " JOIN " + of.table + " ON " + key + " = " + of.alias + ".`uuid`" + of.joins
			at.top = of.top
		}
		b.branches, b.args = append(b.branches, branch{}), nil
		l.branch = len(b.branches)
	}
	elements := []string{at.alias + ".`" + order + "`", at.alias + ".`uuid`"}
	if em.Scalar != "" {
		f, ok := t.Field(em.Scalar)
		if !ok {
			return nil, errs.New(errs.Internal, "resource type "+em.Type, "it has no field %s", em.Scalar)
		}
		l.kind = f.Kind
		elements = append(elements, at.alias+".`"+em.Scalar+"`")
	} else {
		var inner []string
		if inner, l.of, err = b.object(root, at, nil, depth+1); err != nil {
			return nil, err
		}
		elements = append(elements, inner...)
	}
	s.lists = append(s.lists, l)
	from := " FROM " + at.table + at.joins + " WHERE "
	if !b.apart {
		return []string{"(SELECT json_group_array(" + jsonArray(elements) + ")" + from + key + " = " + of.alias + ".`uuid`)"}, nil
	}
	b.branches[l.branch-1] = branch{args: b.args,
		sql: fmt.Sprintf("SELECT %d, %s, ", l.branch, key) + jsonArray(elements) + from + at.top + " IN (?)"}
	b.args = outer
	return nil, nil
}

// source finds where the column of an embedded type is stored.
func (b *shaper) source(t, root *resource.Type, column string) (at place, key string, err error) {
	at.alias = b.alias()
	at.table = "`" + root.Name + "` " + at.alias
	aliases := map[*resource.Type]string{root: at.alias}
	join := func(part *resource.Type) string {
		if aliases[part] == "" {
			aliases[part] = b.alias()
			at.joins += " JOIN `" + part.Name + "` " + aliases[part] + " ON " + aliases[part] + ".`uuid` = " + at.alias + ".`uuid`"
		}
		return aliases[part]
	}
	join(t)
	for _, part := range b.reg.Lineage(t) {
		if _, ok := part.Field(column); ok {
			key = join(part) + ".`" + column + "`"
			return at, key, nil
		}
	}
	return at, "", errs.New(errs.Internal, "resource type "+t.Name, "it has no field %s", column)
}

// orderOf is the order of a list: as declared, else by age.
func orderOf(root *resource.Type, orderBy string) (column string, desc bool) {
	name, desc := strings.CutPrefix(orderBy, "-")
	if _, ok := root.Field(name); ok {
		return name, desc
	}
	if _, ok := root.Field("createDate"); ok {
		return "createDate", false
	}
	return "uuid", false
}
