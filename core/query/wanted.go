package query

import (
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
)

// members are the names of an inventory's members that are wanted; nil = all.
type members map[string]bool

func (m members) has(name string) bool { return m == nil || m[name] }

// wanted checks a list of fields. Of a nested name the first step counts:
// nested lists are kept whole. Without a list, members made of types that the scope
// refuses are left out.
func (e *Engine) wanted(t *resource.Type, fields []string, sc Scope) (members, error) {
	if len(fields) == 0 && sc.May == nil {
		return nil, nil
	}
	c := &compiler{reg: e.reg, caller: sc}
	family := c.family(t)
	if len(fields) == 0 {
		return c.allowed(family), nil
	}
	m := members{}
	for _, name := range fields {
		name, _, _ = strings.Cut(name, ".")
		if !isMember(family, name) {
			return nil, unknownField(t, name)
		}
		if err := c.mayShow(family, name); err != nil {
			return nil, err
		}
		m[name] = true
	}
	return m, nil
}

// enter refuses a type that the scope refuses, and so do all that it refines.
func (c *compiler) enter(t *resource.Type) error {
	if c.caller.May == nil {
		return nil
	}
	err := c.caller.May(t.Name)
	for _, up := range c.reg.Lineage(t) {
		if err == nil || up != t && c.caller.May(up.Name) == nil {
			return nil
		}
	}
	return err
}

// allowed are the members of which the scope refuses nothing.
func (c *compiler) allowed(family []*resource.Type) members {
	m := members{}
	add := func(name string) {
		if c.mayShow(family, name) == nil {
			m[name] = true
		}
	}
	for _, t := range family {
		for i := range t.Fields {
			add(t.Fields[i].Name)
		}
		for i := range t.Embeds {
			add(t.Embeds[i].Name)
		}
		for i := range t.Borrows {
			add(t.Borrows[i].Name)
		}
	}
	return m
}

// mayShow refuses a member that is made of rows of a type which the scope refuses.
func (c *compiler) mayShow(family []*resource.Type, name string) error {
	if c.caller.May == nil {
		return nil
	}
	for _, t := range family {
		if e, ok := t.Embed(name); ok {
			if err := c.mayEmbed(e, 1); err != nil {
				return err
			}
		}
		for i := range t.Borrows {
			if other, ok := c.reg.Get(t.Borrows[i].Type); ok && t.Borrows[i].Name == name {
				if err := c.enter(other); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// mayEmbed is mayShow of a list, whose inventories have members of their own.
func (c *compiler) mayEmbed(e *resource.Embed, depth int) error {
	of, ok := c.reg.Get(e.Type)
	if !ok || depth > maxNesting {
		return nil
	}
	if err := c.enter(of); err != nil || e.Scalar != "" {
		return err
	}
	family := c.family(c.reg.Root(of))
	for _, t := range family {
		for i := range t.Embeds {
			if err := c.mayEmbed(&t.Embeds[i], depth+1); err != nil {
				return err
			}
		}
		for i := range t.Borrows {
			if err := c.mayShow([]*resource.Type{t}, t.Borrows[i].Name); err != nil {
				return err
			}
		}
	}
	return nil
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
