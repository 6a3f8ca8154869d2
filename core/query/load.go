package query

import (
	"context"
	"database/sql/driver"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// object is one inventory that is being written.
type object struct {
	uuid string
	key  string // what it was loaded by
	disc string // value of the discriminator
	fqn  string
	json []byte
	// lists are the embedded inventories, for the schema.
	lists []list
}

type list struct {
	name string
	of   []*object
}

// begin starts a member.
func (o *object) begin(key string) {
	if len(o.json) > 1 {
		o.json = append(o.json, ',')
	}
	o.json = append(o.json, key...)
}

// cells appends the columns of a row; NULL is left out.
func (o *object) cells(cells []cell, values []driver.Value) {
	for i, v := range values[:len(cells)] {
		if v != nil {
			o.begin(cells[i].key)
			o.json = appendValue(o.json, cells[i].kind, v)
		}
	}
}

// describe writes the class of the object and of all in it.
func (o *object) describe(schema map[string]string, path []byte) {
	schema[string(path)] = o.fqn
	for _, l := range o.lists {
		inner := append(append(append(path[:len(path):len(path)], '.'), l.name...), '[')
		for i, child := range l.of {
			child.describe(schema, append(strconv.AppendInt(inner[:len(inner):len(inner)], int64(i), 10), ']'))
		}
	}
}

// loader reads and renders one answer.
type loader struct {
	e   *Engine
	ctx context.Context
	db  store.Querier
}

// chunk is the number of keys of one IN list.
const chunk = 1024

// maxNesting bounds lists inside of lists; a cycle of declarations ends here.
const maxNesting = 4

// page reads one page of a query.
func (l *loader) page(t *resource.Type, st statement, limit, start int, wanted members) ([]*object, error) {
	root := l.e.reg.Root(t)
	p := l.e.planOf(root, wanted)
	query := "SELECT " + p.columns + st.from + st.order + " LIMIT ? OFFSET ?"
	if st.many {
		query = distinctPage(p, root, st)
	}
	objects, err := l.read(p, root, query, append(st.args[:len(st.args):len(st.args)], limit, start), false)
	if err != nil {
		return nil, err
	}
	return objects, l.complete(root, p, objects, wanted, 0)
}

// distinctPage picks the page's uuids first, so that only these are compared
// to make rows distinct.
func distinctPage(p *plan, root *resource.Type, st statement) string {
	inner, outer := "SELECT DISTINCT t0.`uuid` AS u", ""
	if st.sort != "" {
		inner += ", " + st.sort + " AS s"
		_, dir, _ := strings.Cut(st.order, st.sort)
		dir, _, _ = strings.Cut(strings.TrimSpace(dir), ",")
		if strings.HasPrefix(dir, "DESC") {
			outer = " ORDER BY p.s DESC, p.u DESC"
		} else {
			outer = " ORDER BY p.s, p.u"
		}
	}
	return "SELECT " + p.columns + " FROM (" + inner + st.from + st.order + " LIMIT ? OFFSET ?) p JOIN `" + root.Name + "` t0 ON t0.`uuid` = p.u" + outer
}

// read runs a query whose columns are those of a plan, preceded by the key
// when keyed.
func (l *loader) read(p *plan, t *resource.Type, query string, args []any, keyed bool) ([]*object, error) {
	var objects []*object
	size := 64 + 40*len(p.cells)
	err := l.db.Each(l.ctx, query, args, func(r *store.Row) error {
		o := &object{fqn: t.FQN, json: make([]byte, 1, size)}
		o.json[0] = '{'
		at := 0
		if keyed {
			o.key, at = r.Text(0), 1
		}
		o.uuid = r.Text(at)
		at++
		if p.disc {
			o.disc = r.Text(at)
			at++
		}
		o.cells(p.cells, r.Values[at:])
		objects = append(objects, o)
		return nil
	})
	return objects, err
}

// rows loads the objects of a type whose column is among keys.
func (l *loader) rows(t *resource.Type, column string, keys []string, orderBy string, wanted members, depth int) ([]*object, error) {
	var all []*object
	root := l.e.reg.Root(t)
	p := l.e.planOf(root, wanted)
	from, key, err := l.source(t, root, column)
	if err != nil {
		return nil, err
	}
	query := "SELECT " + key + ", " + p.columns + from + " WHERE " + key + " IN (?)" + l.orderOf(root, orderBy)
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		objects, err := l.read(p, root, query, []any{keys[:n]}, true)
		if err != nil {
			return nil, err
		}
		all, keys = append(all, objects...), keys[n:]
	}
	return all, l.complete(root, p, all, wanted, depth)
}

// source finds where the column of an embedded type is stored.
func (l *loader) source(t, root *resource.Type, column string) (from, key string, err error) {
	c := &compiler{reg: l.e.reg, dialect: l.db.Dialect(), shared: map[string]scope{}}
	s, err := c.root(t)
	if err != nil {
		return "", "", err
	}
	col, err := c.key(s, column)
	if err != nil {
		return "", "", err
	}
	return " FROM `" + root.Name + "` t0" + strings.Join(c.joins, ""), col.String(), nil
}

// orderOf is the order of a list: as declared, else by age.
func (l *loader) orderOf(root *resource.Type, orderBy string) string {
	name, desc := strings.CutPrefix(orderBy, "-")
	if _, ok := root.Field(name); !ok {
		name, desc = "createDate", false
		if _, ok := root.Field(name); !ok {
			return " ORDER BY t0.`uuid`"
		}
	}
	if desc {
		return " ORDER BY t0.`" + name + "` DESC, t0.`uuid`"
	}
	return " ORDER BY t0.`" + name + "`, t0.`uuid`"
}

// complete adds what is not in the type's own table: borrowed members, lists,
// and the members of subtypes; then it closes the objects.
func (l *loader) complete(t *resource.Type, p *plan, objects []*object, wanted members, depth int) error {
	if depth > maxNesting {
		return errs.New(errs.Internal, "resource type "+t.Name, "its lists are nested more than %d deep", maxNesting)
	}
	if len(objects) == 0 {
		return nil
	}
	byUUID := make(map[string]*object, len(objects))
	keys := make([]string, len(objects))
	for i, o := range objects {
		byUUID[o.uuid], keys[i] = o, o.uuid
	}
	if err := l.members(t, p, keys, byUUID, wanted, depth); err != nil {
		return err
	}
	if err := l.subtypes(t, objects, wanted, depth); err != nil {
		return err
	}
	for _, o := range objects {
		o.json = append(o.json, '}')
	}
	return nil
}

func (l *loader) members(t *resource.Type, p *plan, keys []string, byUUID map[string]*object, wanted members, depth int) error {
	for _, b := range p.borrows {
		err := l.each(b.query, keys, func(r *store.Row) {
			if o := byUUID[r.Text(0)]; o != nil {
				o.cells(b.cells, r.Values[1:])
			}
		})
		if err != nil {
			return err
		}
	}
	for i := range t.Embeds {
		em := &t.Embeds[i]
		if !wanted.has(em.Name) {
			continue
		}
		load := l.inventories
		if em.Scalar != "" {
			load = l.scalars
		}
		if err := load(em, keys, byUUID, depth); err != nil {
			return err
		}
	}
	return nil
}

// each runs a query for keys in chunks.
func (l *loader) each(query string, keys []string, fn func(*store.Row)) error {
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		err := l.db.Each(l.ctx, query, []any{keys[:n]}, func(r *store.Row) error {
			fn(r)
			return nil
		})
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// inventories adds a list of embedded inventories to each object.
func (l *loader) inventories(em *resource.Embed, keys []string, byUUID map[string]*object, depth int) error {
	t, ok := l.e.reg.Get(em.Type)
	if !ok {
		return errs.New(errs.Internal, "resource type "+em.Type, "it is not declared")
	}
	children, err := l.rows(t, em.Column, keys, em.OrderBy, nil, depth+1)
	if err != nil {
		return err
	}
	of := make(map[string][]*object, len(keys))
	for _, c := range children {
		of[c.key] = append(of[c.key], c)
	}
	key := `"` + em.Name + `":[`
	for _, uuid := range keys {
		o := byUUID[uuid]
		o.begin(key)
		for i, c := range of[uuid] {
			if i > 0 {
				o.json = append(o.json, ',')
			}
			o.json = append(o.json, c.json...)
		}
		o.json = append(o.json, ']')
		if list := (list{em.Name, of[uuid]}); len(list.of) > 0 {
			o.lists = append(o.lists, list)
		}
	}
	return nil
}

// scalars adds a list of one column's values to each object.
func (l *loader) scalars(em *resource.Embed, keys []string, byUUID map[string]*object, _ int) error {
	t, ok := l.e.reg.Get(em.Type)
	if !ok {
		return errs.New(errs.Internal, "resource type "+em.Type, "it is not declared")
	}
	f, ok := t.Field(em.Scalar)
	if !ok {
		return errs.New(errs.Internal, "resource type "+em.Type, "it has no field %s", em.Scalar)
	}
	values := make(map[string][]byte, len(keys))
	query := "SELECT t0.`" + em.Column + "`, t0.`" + em.Scalar + "` FROM `" + em.Type + "` t0 WHERE t0.`" + em.Column + "` IN (?)" + l.orderOf(t, em.OrderBy)
	err := l.each(query, keys, func(r *store.Row) {
		uuid := r.Text(0)
		b := values[uuid]
		if r.Null(1) {
			return
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		values[uuid] = appendValue(b, f.Kind, r.Values[1])
	})
	if err != nil {
		return err
	}
	key := `"` + em.Name + `":[`
	for _, uuid := range keys {
		o := byUUID[uuid]
		o.begin(key)
		o.json = append(append(o.json, values[uuid]...), ']')
	}
	return nil
}

// subtypes adds the members of the subtype that each object is of, and makes
// its class that of the subtype.
func (l *loader) subtypes(t *resource.Type, objects []*object, wanted members, depth int) error {
	for _, sub := range l.e.reg.Subtypes(t.Name) {
		var keys []string
		byUUID := map[string]*object{}
		for _, o := range objects {
			if strings.EqualFold(o.disc, sub.DiscriminatorValue) {
				keys = append(keys, o.uuid)
				byUUID[o.uuid] = o
			}
		}
		if len(keys) == 0 {
			continue
		}
		if err := l.subtype(sub, keys, byUUID, wanted, depth); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) subtype(sub *resource.Type, keys []string, byUUID map[string]*object, wanted members, depth int) error {
	p := l.e.planOf(sub, wanted)
	found := make(map[string]*object, len(keys))
	var present []string
	err := l.each("SELECT "+p.columns+" FROM `"+sub.Name+"` t0 WHERE t0.`uuid` IN (?)", keys, func(r *store.Row) {
		o := byUUID[r.Text(0)]
		if o == nil {
			return
		}
		at := 1
		if p.disc {
			o.disc = r.Text(1)
			at = 2
		}
		o.fqn = sub.FQN
		o.cells(p.cells, r.Values[at:])
		found[o.uuid] = o
		present = append(present, o.uuid)
	})
	if err != nil || len(present) == 0 {
		return err
	}
	if err := l.members(sub, p, present, found, wanted, depth); err != nil {
		return err
	}
	of := make([]*object, len(present))
	for i, uuid := range present {
		of[i] = found[uuid]
	}
	return l.subtypes(sub, of, wanted, depth)
}
