package query

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// object is one inventory that was written.
type object struct {
	fqn string
	// order and uuid sort it among the others of its list.
	order, uuid string // order as the database wrote it
	from, to    int    // where it stands in its row's text
	// lists are the embedded inventories, for the schema.
	lists []list
}

type list struct {
	name string
	of   []*object
	one  bool
}

// describe writes the class of the object and of all in it.
func (o *object) describe(schema map[string]string, path []byte) {
	schema[string(path)] = o.fqn
	for _, l := range o.lists {
		if l.one {
			l.of[0].describe(schema, append(append(path[:len(path):len(path)], '.'), l.name...))
			continue
		}
		inner := append(append(append(path[:len(path):len(path)], '.'), l.name...), '[')
		for i, child := range l.of {
			child.describe(schema, append(strconv.AppendInt(inner[:len(inner):len(inner)], int64(i), 10), ']'))
		}
	}
}

// parts gives the arrays in which a row has what is not in its own table.
type parts interface {
	// optional has fn read the elements of the next one, unless that is null.
	optional(fn func(in *reader) error) error
}

// columns are the texts of a row: "" is NULL.
type columns []string

func (c *columns) optional(fn func(in *reader) error) error {
	if len(*c) == 0 {
		return errs.New(errs.Internal, "answer of the database", "it has too few columns")
	}
	text := (*c)[0]
	*c = (*c)[1:]
	if text == "" {
		return nil
	}
	in := &reader{text: text}
	if err := in.array(fn); err != nil {
		return err
	}
	return in.end()
}

// children are the arrays that branches read, by the branch's number and the
// uuid of what they belong to.
type children map[childrenKey][]string

type childrenKey struct {
	branch int
	of     string
}

// writer writes the inventory of one row, with all that is embedded in it.
type writer struct {
	out      []byte
	children children
}

// renderRow makes an inventory of a row: an array of its cells, and one of each
// part. uuid is the row's, for its lists among the children. The text has its
// exact size, as it may be kept for long.
func renderRow(s *shape, uuid string, row columns, c children) (o *object, text []byte, err error) {
	scratch := scratches.Get().(*[]byte)
	w := &writer{out: (*scratch)[:0], children: c}
	defer func() {
		if *scratch = w.out; cap(w.out) <= maxScratch {
			scratches.Put(scratch)
		}
	}()
	o = &object{fqn: s.typ.FQN, uuid: uuid}
	w.out = append(w.out, '{')
	if err := row.optional(func(in *reader) error { return w.cells(s.cells, in) }); err != nil {
		return nil, nil, err
	}
	if err := w.parts(s, o, &row); err != nil {
		return nil, nil, err
	}
	w.out = append(w.out, '}')
	return o, bytes.Clone(w.out), nil
}

// scratches are what inventories are written in.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 64 << 10 // a larger one is rare, and is not kept

// begin starts a member of the object that is being written.
func (w *writer) begin(key string) {
	if w.out[len(w.out)-1] != '{' {
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, key...)
}

// cells writes members; NULL is left out.
func (w *writer) cells(cells []cell, in *reader) error {
	for i := range cells {
		v, err := in.value()
		if err != nil {
			return err
		}
		if v != "null" {
			w.begin(cells[i].key)
			w.out = appendValue(w.out, cells[i].kind, v)
		}
	}
	return nil
}

// members writes what an array of a shape has.
func (w *writer) members(s *shape, o *object, in *reader) error {
	if err := w.cells(s.cells, in); err != nil {
		return err
	}
	return w.parts(s, o, in)
}

func (w *writer) parts(s *shape, o *object, from parts) error {
	for _, b := range s.borrows {
		if err := from.optional(func(in *reader) error { return w.cells(b, in) }); err != nil {
			return err
		}
	}
	for i := range s.lists {
		if err := w.list(&s.lists[i], o, from); err != nil {
			return err
		}
	}
	for _, sub := range s.subtypes {
		err := from.optional(func(in *reader) error {
			o.fqn = sub.typ.FQN
			return w.members(sub, o, in)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// list writes an embedded list, or its one row, if there is one.
func (w *writer) list(l *listShape, o *object, from parts) error {
	before := len(w.out)
	w.begin(l.key)
	start := len(w.out)
	children, err := w.elements(l, o, from)
	if err != nil {
		return err
	}
	order := func(a, b *object) int { return compareChildren(a, b, l.desc) }
	if !slices.IsSortedFunc(children, order) {
		slices.SortFunc(children, order)
		w.rearrange(start, children)
	}
	switch {
	case !l.one:
		w.out = append(w.out, ']')
	case len(children) == 0:
		w.out = w.out[:before]
	}
	if l.of != nil && len(children) > 0 {
		o.lists = append(o.lists, list{l.name, children, l.one})
	}
	return nil
}

// elements writes the elements of a list, wherever they are.
func (w *writer) elements(l *listShape, o *object, from parts) (written []*object, err error) {
	next := func(in *reader) error {
		if len(written) > 0 {
			w.out = append(w.out, ',')
		}
		child, err := w.child(l, in)
		if child != nil {
			written = append(written, child)
		} else if len(written) > 0 {
			w.out = w.out[:len(w.out)-1] // the comma
		}
		return err
	}
	if l.branch == 0 {
		err = from.optional(func(in *reader) error {
			for in.more() {
				if err := next(in); err != nil {
					return err
				}
			}
			return nil
		})
		return written, err
	}
	for _, text := range w.children[childrenKey{l.branch, o.uuid}] {
		in := &reader{text: text, first: true}
		if err := cmp.Or(next(in), in.end()); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// rearrange writes a list anew in the order of its children.
func (w *writer) rearrange(start int, children []*object) {
	written := slices.Clone(w.out[start:])
	w.out = w.out[:start]
	for i, c := range children {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, written[c.from-start:c.to-start]...)
	}
}

// child writes an element of a list, and returns nil for a value that is NULL.
func (w *writer) child(l *listShape, in *reader) (o *object, err error) {
	o = &object{from: len(w.out)}
	err = in.optional(func(in *reader) error {
		var err error
		if o.order, err = in.value(); err != nil {
			return err
		}
		if o.uuid, err = in.value(); err != nil {
			return err
		}
		o.uuid = strings.Trim(o.uuid, `"`)
		if l.of != nil {
			o.fqn = l.of.typ.FQN
			w.out = append(w.out, '{')
			err = w.members(l.of, o, in)
			w.out = append(w.out, '}')
			return err
		}
		v, err := in.value()
		if err == nil && v != "null" {
			w.out = appendValue(w.out, l.kind, v)
		}
		return err
	})
	if o.to = len(w.out); o.to == o.from {
		return nil, err
	}
	return o, err
}

// compareChildren orders a list as the databases do: NULL first, numbers by
// their value, texts without regard to case, and equals by uuid.
func compareChildren(a, b *object, desc bool) int {
	c := compareOrder(a.order, b.order)
	if desc {
		c = -c
	}
	return cmp.Or(c, strings.Compare(a.uuid, b.uuid))
}

func compareOrder(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "null":
		return -1
	case b == "null":
		return 1
	}
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			return cmp.Compare(x, y)
		}
	}
	return schemasql.Compare(a, b)
}

// appendValue appends a value that the database wrote as JSON, which is not
// null, as the wire has its kind. Databases write numbers for what is a text,
// and the reverse, where a column holds them.
func appendValue(b []byte, kind resource.Kind, v string) []byte {
	text := kind == resource.String || kind == resource.Text
	switch {
	case v[0] == '"' && text:
		return append(b, v...)
	case v[0] == '"':
		v = v[1 : len(v)-1]
	case v == "true":
		v = "1"
	case v == "false":
		v = "0"
	}
	if text {
		return append(append(append(b, '"'), v...), '"')
	}
	return appendNumber(b, kind, v)
}
