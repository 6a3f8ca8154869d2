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
