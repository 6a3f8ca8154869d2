package resource

import (
	"errors"
	"fmt"
	"strings"
)

// Check proves that all relations between the types resolve: parents with
// discriminators, edges, embeds, borrowed members and aliases, and that no
// member of an inventory has two meanings. It returns all faults joined.
func (r *Registry) Check() error {
	c := checker{r: r}
	for _, t := range r.All() {
		c.t = t
		c.parent()
		c.readers()
		c.edges()
		c.members()
		c.aliases()
		c.views()
	}
	return errors.Join(c.faults...)
}

type checker struct {
	r      *Registry
	t      *Type
	faults []error
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("resource type %s: %s", c.t.Name, fmt.Sprintf(format, args...)))
}

// field finds a column of t or of its parents.
func (c *checker) field(t *Type, name string) bool {
	for _, t := range c.r.Lineage(t) {
		if _, ok := t.Field(name); ok {
			return true
		}
	}
	return false
}

func (c *checker) parent() {
	if c.t.Parent == "" {
		return
	}
	seen := map[string]bool{c.t.Name: true}
	for t := c.t; t.Parent != ""; {
		p, ok := c.r.Get(t.Parent)
		switch {
		case !ok:
			c.fault("its parent %s is not declared", t.Parent)
			return
		case seen[p.Name]:
			c.fault("it is its own ancestor")
			return
		case p.Discriminator == "":
			c.fault("its parent %s has no discriminator", p.Name)
			return
		}
		if _, ok := p.Field(p.Discriminator); !ok && p.Parent == "" {
			c.fault("the discriminator %s of its parent %s is no field", p.Discriminator, p.Name)
		}
		seen[p.Name] = true
		t = p
	}
	for _, other := range c.r.Subtypes(c.t.Parent) {
		if other != c.t && strings.EqualFold(other.DiscriminatorValue, c.t.DiscriminatorValue) {
			c.fault("%s has the same discriminator value %s", other.Name, other.DiscriminatorValue)
		}
	}
	for _, f := range c.t.Fields {
		if p, _ := c.r.Get(c.t.Parent); f.Name != "uuid" && c.field(p, f.Name) {
			c.fault("field %s is declared by its parent too", f.Name)
		}
	}
}

// readers checks that it is said who may read a type, and whose its rows are.
func (c *checker) readers() {
	t := c.t
	if t.Parent != "" {
		if t.Readable != readableUnset || t.OwnedBy != "" || t.Owned {
			c.fault("a subtype's rows belong to, and are read by, whom its root %s says", c.r.Root(t).Name)
		}
		return
	}
	switch {
	case t.Readable == readableUnset:
		c.fault("say who may read its rows (Readable)")
	case t.Readable == Owner && !t.Owned && t.OwnedBy == "":
		c.fault("its owner reads its rows, but they have none (embed Owned, or name the edge OwnedBy)")
	}
	seen := map[string]bool{}
	for t := t; t.OwnedBy != ""; {
		e, ok := t.Edge(t.OwnedBy)
		to, known := c.r.Get(e.To)
		switch {
		case !ok || !known:
			c.fault("%s is owned by its %s, which is no edge of it to a type", t.Name, t.OwnedBy)
			return
		case seen[t.Name]:
			c.fault("it is owned by itself")
			return
		}
		seen[t.Name] = true
		if t = c.r.Root(to); !t.Owned && t.OwnedBy == "" {
			c.fault("it is owned by %s, which has no owner", t.Name)
		}
	}
}

// read reports whether who may read a row of c.t may read the rows of another
// type whose column is its uuid.
func (c *checker) read(of *Type, column string) bool {
	root := c.r.Root(of)
	if root.Readable == Global || c.t.Readable == Admin || c.t.Parent != "" || root.Follows == column {
		return true
	}
	e, ok := root.Edge(root.OwnedBy)
	return ok && e.To == c.t.Name && e.Column == column
}

func (c *checker) edges() {
	seen := map[string]bool{}
	for _, e := range c.t.Edges {
		to, ok := c.r.Get(e.To)
		switch {
		case e.Name == "" && e.OnDelete == None && e.Inverse == "":
			c.fault("an edge to %s has neither a name nor a rule for deletes", e.To)
		case !ok:
			c.fault("edge %s: type %s is not declared", e.Name, e.To)
		case !c.field(c.t, e.Column):
			c.fault("edge %s: column %s is no field", e.Name, e.Column)
		case !c.field(to, e.ToColumn):
			c.fault("edge %s: %s is no field of %s", e.Name, e.ToColumn, e.To)
		case e.Name != "" && seen[e.Name]:
			c.fault("edge %s is declared twice", e.Name)
		}
		seen[e.Name] = true
	}
	for _, e := range c.r.view.Load().inverse[c.t.Name] {
		if seen[e.Name] {
			c.fault("edge %s is declared here and as an inverse by %s", e.Name, e.To)
		}
		seen[e.Name] = true
	}
}

// members checks embeds and borrowed members, and that names are unique.
func (c *checker) members() {
	seen := map[string]bool{}
	for _, t := range c.r.Lineage(c.t) {
		for _, f := range t.Fields {
			seen[f.Name] = true
		}
	}
	member := func(what, name, typ string, columns ...string) {
		if seen[name] {
			c.fault("%s %s: another member has this name", what, name)
		}
		seen[name] = true
		of, ok := c.r.Get(typ)
		if !ok {
			c.fault("%s %s: type %s is not declared", what, name, typ)
			return
		}
		for _, col := range columns {
			if col != "" && !c.field(of, col) {
				c.fault("%s %s: %s is no field of %s", what, name, col, typ)
			}
		}
	}
	for _, e := range c.t.Embeds {
		if of, ok := c.r.Get(e.Type); ok && e.One {
			if f, ok := of.Field(e.Column); !ok || !f.Unique || e.Scalar != "" {
				c.fault("embed %s: it is one row of %s, by a column that is not unique", e.Name, of.Name)
			}
		}
		member("embed", e.Name, e.Type, e.Column, e.Scalar, strings.TrimPrefix(e.OrderBy, "-"))
		if of, ok := c.r.Get(e.Type); ok && !c.read(of, e.Column) {
			c.fault("embed %s: who reads the row need not be allowed to read the rows of %s in it (OwnedBy, Follows)", e.Name, of.Name)
		}
	}
	for _, b := range c.t.Borrows {
		member("borrowed member", b.Name, b.Type, b.Column, b.Field)
	}
}

func (c *checker) aliases() {
	for _, a := range c.t.Aliases {
		at := c.t
		if a.On != "" {
			on, ok := c.r.Get(a.On)
			if !ok {
				c.fault("alias %s: type %s is not declared", a.Name, a.On)
				continue
			}
			at = on
		}
		if _, clash := c.r.Edge(at, a.Name); clash {
			c.fault("alias %s: %s has an edge of this name", a.Name, at.Name)
		}
		for _, step := range strings.Split(a.Path, ".") {
			e, ok := c.r.Edge(at, step)
			if !ok {
				c.fault("alias %s: %s has no edge %s", a.Name, at.Name, step)
				break
			}
			if at, ok = c.r.Get(e.To); !ok {
				break // the edge's own check reports it
			}
		}
	}
}
