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
// and a column for each member cost two to three times as much.
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
	key  string // `"name":[`
	desc bool
	of   *shape // of inventories; nil for a list of values
	kind resource.Kind
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
	shape *shape
	sql   string
	args  []any
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
	b := &shaper{reg: e.reg, collect: "json_group_array"}
	if e.store.Dialect() == schemasql.MySQL {
		b.collect = "JSON_ARRAYAGG"
	}
	elements, s, err := b.object(t, "t0", wanted, 0)
	if err != nil {
		return nil, err
	}
	own := len(s.cells)
	columns := append([]string{jsonArray(elements[:own])}, elements[own:]...)
	return &rendering{shape: s, sql: strings.Join(columns, ", "), args: b.args}, nil
}

func jsonArray(elements []string) string { return "JSON_ARRAY(" + strings.Join(elements, ", ") + ")" }

// shaper makes shapes and their SQL; its arguments stand in the order of the
// text.
type shaper struct {
	reg     *resource.Registry
	collect string // the aggregate that makes an array of rows
	args    []any
	aliases int
}

func (b *shaper) alias() string {
	b.aliases++
	return fmt.Sprintf("j%d", b.aliases)
}

// object shapes the row of t under an alias.
func (b *shaper) object(t *resource.Type, alias string, wanted members, depth int) (elements []string, s *shape, err error) {
	if depth > maxNesting {
		return nil, nil, errs.New(errs.Internal, "resource type "+t.Name, "its lists are nested more than %d deep", maxNesting)
	}
	s = &shape{typ: t}
	for i := range t.Fields {
		f := &t.Fields[i]
		if !f.Visible() || !wanted.has(f.Name) || t.Parent != "" && f.Name == "uuid" {
			continue
		}
		elements = append(elements, alias+".`"+f.Name+"`")
		s.cells = append(s.cells, cell{`"` + f.Name + `":`, f.Kind})
	}
	elements = append(elements, b.borrowed(t, alias, wanted, s)...)
	for i := range t.Embeds {
		if em := &t.Embeds[i]; wanted.has(em.Name) {
			element, err := b.list(em, alias, depth, s)
			if err != nil {
				return nil, nil, err
			}
			elements = append(elements, element)
		}
	}
	disc, own := t.Field(t.Discriminator)
	if !own {
		return elements, s, nil
	}
	for _, sub := range b.reg.Subtypes(t.Name) {
		x := b.alias()
		b.args = append(b.args, strings.ToLower(sub.DiscriminatorValue))
		inner, refined, err := b.object(sub, x, wanted, depth)
		if err != nil {
			return nil, nil, err
		}
		elements = append(elements, "CASE WHEN LOWER("+alias+".`"+disc.Name+"`) = ? THEN (SELECT "+jsonArray(inner)+
			" FROM `"+sub.Name+"` "+x+" WHERE "+x+".`uuid` = "+alias+".`uuid`) END")
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

// list shapes an embedded list of what an alias stands for.
func (b *shaper) list(em *resource.Embed, alias string, depth int, s *shape) (element string, err error) {
	t, ok := b.reg.Get(em.Type)
	if !ok {
		return "", errs.New(errs.Internal, "resource type "+em.Type, "it is not declared")
	}
	root := b.reg.Root(t)
	from, x, key, err := b.source(t, root, em.Column)
	if err != nil {
		return "", err
	}
	order, desc := orderOf(root, em.OrderBy)
	elements := []string{x + ".`" + order + "`", x + ".`uuid`"}
	l := listShape{name: em.Name, key: `"` + em.Name + `":[`, desc: desc}
	if em.Scalar != "" {
		f, ok := t.Field(em.Scalar)
		if !ok {
			return "", errs.New(errs.Internal, "resource type "+em.Type, "it has no field %s", em.Scalar)
		}
		l.kind = f.Kind
		elements = append(elements, x+".`"+em.Scalar+"`")
	} else {
		var inner []string
		if inner, l.of, err = b.object(root, x, nil, depth+1); err != nil {
			return "", err
		}
		elements = append(elements, inner...)
	}
	s.lists = append(s.lists, l)
	return "(SELECT " + b.collect + "(" + jsonArray(elements) + ")" + from + " WHERE " + key + " = " + alias + ".`uuid`)", nil
}

// source finds where the column of an embedded type is stored: x is the alias
// of its root's table.
func (b *shaper) source(t, root *resource.Type, column string) (from, x, key string, err error) {
	x = b.alias()
	from = " FROM `" + root.Name + "` " + x
	aliases := map[*resource.Type]string{root: x}
	join := func(part *resource.Type) string {
		if aliases[part] == "" {
			aliases[part] = b.alias()
			from += " JOIN `" + part.Name + "` " + aliases[part] + " ON " + aliases[part] + ".`uuid` = " + x + ".`uuid`"
		}
		return aliases[part]
	}
	join(t)
	for _, part := range b.reg.Lineage(t) {
		if _, ok := part.Field(column); ok {
			return from, x, join(part) + ".`" + column + "`", nil
		}
	}
	return "", "", "", errs.New(errs.Internal, "resource type "+t.Name, "it has no field %s", column)
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
