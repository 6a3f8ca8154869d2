package query

import (
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
)

// members are the names of an inventory's members that are wanted; nil = all.
type members map[string]bool

func (m members) has(name string) bool { return m == nil || m[name] }

// wanted checks a list of fields. Of a nested name the first step counts:
// nested lists are kept whole.
func (e *Engine) wanted(t *resource.Type, fields []string) (members, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	c := &compiler{reg: e.reg}
	family := c.family(t)
	m := members{}
	for _, name := range fields {
		name, _, _ = strings.Cut(name, ".")
		if !isMember(family, name) {
			return nil, unknownField(t, name)
		}
		m[name] = true
	}
	return m, nil
}

func isMember(family []*resource.Type, name string) bool {
	for _, t := range family {
		if f, ok := t.Field(name); ok && f.Visible() {
			return true
		}
		if _, ok := t.Embed(name); ok {
			return true
		}
		for _, b := range t.Borrows {
			if b.Name == name {
				return true
			}
		}
	}
	return false
}

// plan says how the rows of one table are read and rendered.
type plan struct {
	columns string // t0.`uuid`, [t0.`discriminator`,] visible fields
	cells   []cell
	disc    bool
	borrows []borrowed
}

// cell is one rendered column.
type cell struct {
	key  string // `"name":`
	kind resource.Kind
}

// borrowed are the members that are stored in rows of one other type.
type borrowed struct {
	query string
	cells []cell
}

type planKey struct {
	version uint64
	t       *resource.Type
}

// planOf returns the plan of a type's own table for all members; a plan for
// chosen members is made for each query.
func (e *Engine) planOf(t *resource.Type, wanted members) *plan {
	if wanted != nil {
		return e.makePlan(t, wanted)
	}
	key := planKey{e.reg.Version(), t}
	if p, ok := e.plans.Load(key); ok {
		return p.(*plan)
	}
	p := e.makePlan(t, nil)
	e.plans.Range(func(old, _ any) bool { // those of older declarations
		if old.(planKey).version != key.version {
			e.plans.Delete(old)
		}
		return true
	})
	e.plans.Store(key, p)
	return p
}

func (e *Engine) makePlan(t *resource.Type, wanted members) *plan {
	p := &plan{}
	names := []string{"t0.`uuid`"}
	if t.Discriminator != "" {
		if _, own := t.Field(t.Discriminator); own {
			p.disc = true
			names = append(names, "t0.`"+t.Discriminator+"`")
		}
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		if !f.Visible() || !wanted.has(f.Name) || t.Parent != "" && f.Name == "uuid" {
			continue
		}
		names = append(names, "t0.`"+f.Name+"`")
		p.cells = append(p.cells, cell{`"` + f.Name + `":`, f.Kind})
	}
	p.columns = strings.Join(names, ", ")
	e.planBorrows(p, t, wanted)
	return p
}

// planBorrows groups the borrowed members by the rows they are stored in.
func (e *Engine) planBorrows(p *plan, t *resource.Type, wanted members) {
	type source struct{ typ, column string }
	at := map[source]int{}
	var columns []string
	for _, b := range t.Borrows {
		from, ok := e.reg.Get(b.Type)
		if !ok || !wanted.has(b.Name) {
			continue
		}
		f, ok := from.Field(b.Field)
		if !ok {
			continue
		}
		key := source{b.Type, b.Column}
		i, seen := at[key]
		if !seen {
			i = len(p.borrows)
			at[key] = i
			p.borrows = append(p.borrows, borrowed{})
			columns = append(columns, "`"+b.Column+"`")
		}
		columns[i] += ", `" + b.Field + "`"
		p.borrows[i].cells = append(p.borrows[i].cells, cell{`"` + b.Name + `":`, f.Kind})
		p.borrows[i].query = "SELECT " + columns[i] + " FROM `" + b.Type + "` WHERE `" + b.Column + "` IN (?)"
	}
}
