package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// column is a column of a table with what is known of its values.
type column struct {
	render.Column
	field *schema.Field
	// ref: its values are UUIDs, in the place of which names are shown.
	ref bool
}

func plain(columns []column) []render.Column {
	var out []render.Column
	for _, c := range columns {
		out = append(out, c.Column)
	}
	return out
}

// columnsOf makes the columns of a type's table: those asked for, else those of
// the schema; a wide table has all of these, and UUIDs beside the names.
func (a *App) columnsOf(t *schema.Type, asked []string, f render.Format) ([]column, error) {
	var out []column
	add := func(field string, caption schema.Caption) {
		c := a.columnOf(t, field, caption)
		out = append(out, c)
		if c.ref && f == render.Wide {
			out = append(out, column{Column: render.Column{Title: c.Title + " UUID", Path: field}})
		}
	}
	for _, name := range asked {
		field, err := fieldOf(t, name)
		if err != nil {
			return nil, err
		}
		add(field, captionOf(t, field))
	}
	if len(asked) > 0 {
		return out, nil
	}
	for i, c := range t.Columns {
		if c.Field == "uuid" && f != render.Wide {
			continue
		}
		if c.Shown() || f == render.Wide {
			add(c.Field, c.Caption)
		}
		if i == 0 && f == render.Wide && !slices.ContainsFunc(t.Columns, func(c schema.Column) bool { return c.Field == "uuid" }) {
			add("uuid", nil)
		}
	}
	if len(out) == 0 {
		add(cmp.Or(t.Label, "uuid"), nil)
	}
	return out, nil
}

func captionOf(t *schema.Type, field string) schema.Caption {
	for _, c := range t.Columns {
		if c.Field == field {
			return c.Caption
		}
	}
	return nil
}

// columnOf makes the column of a field, or of a path such as vmNics.ip.
func (a *App) columnOf(t *schema.Type, path string, caption schema.Caption) column {
	c := column{Column: render.Column{Path: path}, field: a.doc.FieldAt(t, path)}
	title := caption.In(a.language())
	if e := t.Embed(path); e != nil {
		title = cmp.Or(title, e.Caption.In(a.language()))
	}
	if c.field != nil {
		title = cmp.Or(title, c.field.Title(a.language()))
		c.Write = unitWriter(c.field)
		c.ref = a.doc.ItemRef(c.field) != nil || c.field.RefBy != ""
	}
	if path == "uuid" && title == "Uuid" {
		title = "UUID"
	}
	if title == "" {
		title = schema.Spaced(path[strings.LastIndexByte(path, '.')+1:])
	}
	c.Title = strings.ToUpper(title)
	return c
}

// linesOf makes a line for each member of one resource: what its list has, in that
// order, then the rest of its fields and the resources within it.
func (a *App) linesOf(t *schema.Type) []column {
	lang := a.language()
	var out []column
	seen := map[string]bool{}
	add := func(path, title string) {
		member, _, _ := strings.Cut(path, ".")
		if !seen[member] {
			seen[member] = true
			c := a.columnOf(t, path, nil)
			c.Title = title
			out = append(out, c)
		}
	}
	line := func(f *schema.Field, own schema.Caption) {
		add(f.Name, cmp.Or(f.Caption.In(lang), own.In(lang), f.Title(lang)))
	}
	for _, name := range []string{t.Label, "uuid"} {
		if f := t.Field(name); f != nil {
			line(f, nil)
		}
	}
	for _, c := range t.Columns {
		if f := t.Field(c.Field); f != nil {
			line(f, c.Caption)
		}
	}
	for _, f := range t.Fields {
		line(f, nil)
	}
	for _, e := range t.Embeds {
		path := e.Name
		if of := a.doc.Types[e.Type]; of != nil && e.Scalar == "" && of.Field(of.Label) != nil {
			path += "." + of.Label
		}
		add(path, cmp.Or(e.Caption.In(lang), schema.Spaced(e.Name)))
	}
	return out
}

// columnName is a field as people name it: hostUuid is host.
func columnName(t *schema.Type, field string) string {
	if f := t.Field(field); f != nil && (f.Ref != "" || f.RefBy != "") {
		return strings.TrimSuffix(field, "Uuid")
	}
	return field
}

// writers says how values are written: of references the names, with the UUID
// beside them when both are wanted.
func (a *App) writers(ctx context.Context, c *client.Client, t *schema.Type, columns []column, page client.Page, both bool) {
	if !slices.ContainsFunc(columns, func(c column) bool { return c.ref }) {
		return
	}
	names := page.Names
	if names == nil {
		names = a.askNames(ctx, c, columns, page.Inventories)
	}
	for i := range columns {
		if !columns[i].ref {
			continue
		}
		columns[i].Write = func(v any) string {
			uuid := fmt.Sprint(v)
			name, ok := names[uuid]
			switch {
			case !ok || name.Label == "":
				return uuid
			case both:
				return name.Label + " (" + uuid + ")"
			}
			return name.Label
		}
	}
}

// askNames reads the names of what a page refers to, by one query for each type,
// from a server that does not send them along. What cannot be read has none.
func (a *App) askNames(ctx context.Context, c *client.Client, columns []column, inventories []json.RawMessage) map[string]client.Name {
	wanted := map[*schema.Type][]string{}
	for _, one := range inventories {
		value, err := render.Decode(one)
		if err != nil {
			continue
		}
		for _, col := range columns {
			if !col.ref {
				continue
			}
			ref := a.doc.ItemRef(col.field)
			if ref == nil || ref.Path == "" || ref.Field(ref.Label) == nil {
				continue
			}
			found, ok := render.Lookup(value, col.Path).([]any)
			if !ok {
				found = []any{render.Lookup(value, col.Path)}
			}
			for _, v := range found {
				if uuid, ok := v.(string); ok && uuid != "" && !slices.Contains(wanted[ref], uuid) {
					wanted[ref] = append(wanted[ref], uuid)
				}
			}
		}
	}
	names := map[string]client.Name{}
	for ref, uuids := range wanted {
		page, err := c.Query(ctx, ref.Path, client.Query{Conditions: []string{"uuid?=" + strings.Join(uuids, ",")}, Fields: []string{"uuid", ref.Label}})
		if err != nil {
			continue
		}
		for _, one := range page.Inventories {
			names[client.Text(one, "uuid")] = client.Name{Type: ref.Name, Label: client.Text(one, ref.Label)}
		}
	}
	return names
}
