package cascade

import (
	"context"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// rows is the graph of a database. All names in its SQL come from checked
// declarations.
type rows struct {
	ctx context.Context
	q   store.Querier
	reg *resource.Registry
	// parts tells which types' rows the delete of a type removes itself.
	parts func(typeName string) []string
	// users tells which types' rows go before those of a type.
	users func(typeName string) []string
	// lives tells of which types rows may stay whatever is tried.
	lives func(typeName string) bool
}

// Users returns the types whose rows go before those of a type.
func (g *rows) Users(typeName string) []string { return g.users(typeName) }

// Lives tells whether rows of a type may stay whatever is tried.
func (g *rows) Lives(typeName string) bool { return g.lives(typeName) }

// Inbound implements Graph.
func (g *rows) Inbound(typeName string) []Edge {
	t, ok := g.reg.Get(typeName)
	if !ok {
		return nil
	}
	parts := map[string]bool{}
	for _, p := range g.parts(typeName) {
		parts[p] = true
	}
	var edges []Edge
	for _, member := range family(g.reg, t) {
		for _, in := range g.reg.Inbound(member.Name) {
			if in.Edge.OnDelete == resource.None {
				continue
			}
			root := g.reg.Root(in.From).Name
			edges = append(edges, Edge{
				Type: root, Table: in.From.Name, Column: in.Edge.Column, To: member.Name, ToColumn: in.Edge.ToColumn,
				OnDelete: in.Edge.OnDelete, Part: parts[root] || parts[in.From.Name],
			})
		}
	}
	return edges
}

// family returns a type and all that refine it.
func family(reg *resource.Registry, t *resource.Type) []*resource.Type {
	list := []*resource.Type{t}
	for i := 0; i < len(list); i++ {
		list = append(list, reg.Subtypes(list[i].Name)...)
	}
	return list
}

// Referrers implements Graph.
func (g *rows) Referrers(e Edge, targets []string) ([]Ref, error) {
	name, join := "NULL", ""
	if t, ok := g.reg.Get(e.Type); ok {
		if _, has := t.Field("name"); has && e.Table == e.Type {
			name = "c.`name`"
		} else if has {
			name, join = "b.`name`", " LEFT JOIN `"+e.Type+"` b ON b.`uuid` = c.`uuid`"
		}
	}
	query := "SELECT c.`uuid`, c.`" + e.Column + "`, " + name + " FROM `" + e.Table + "` c" + join +
		" WHERE c.`" + e.Column + "` IN (?)"
	if e.ToColumn != "uuid" {
		query = "SELECT c.`uuid`, t.`uuid`, " + name + " FROM `" + e.To + "` t JOIN `" + e.Table + "` c ON c.`" + e.Column +
			"` = t.`" + e.ToColumn + "`" + join + " WHERE t.`uuid` IN (?)"
	}
	var refs []Ref
	err := g.q.Each(g.ctx, query, []any{targets}, func(r *store.Row) error {
		ref := Ref{UUID: r.Text(0), Target: r.Text(1)}
		if !r.Null(2) {
			ref.Name = r.Text(2)
		}
		refs = append(refs, ref)
		return nil
	})
	return refs, err
}
