package query

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Name is what people call a resource: the value of its type's label, and of
// the context fields that tell those of one label apart.
type Name struct {
	Type    string   `json:"type"`
	Label   string   `json:"label"`
	Context []string `json:"context"`
}

// Names returns the names of all resources that inventories of a type refer to,
// embedded lists included, by UUID. What the caller may not read has none. It
// takes one statement for each type that is referred to.
func (e *Engine) Names(ctx context.Context, db store.Querier, typeName string, inventories []json.RawMessage, sc Scope) (map[string]Name, error) {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return nil, errs.New(errs.NotFound, "resource type "+typeName, "it is not declared")
	}
	found := references{reg: e.reg, uuids: map[string]map[string]bool{}}
	for _, inv := range inventories {
		d := json.NewDecoder(bytes.NewReader(inv))
		d.UseNumber()
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			return nil, errs.Wrap(errs.Internal, typeName, err, "read its inventory")
		}
		found.collect(t, row, 0)
	}
	names := map[string]Name{}
	for _, of := range found.types() {
		if err := e.nameAll(ctx, db, of, found.uuids[of.Name], sc, names); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// references are the UUIDs that inventories hold, by type.
type references struct {
	reg   *resource.Registry
	uuids map[string]map[string]bool
}

func (r *references) types() []*resource.Type {
	var out []*resource.Type
	for name := range r.uuids {
		if t, ok := r.reg.Get(name); ok {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *resource.Type) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (r *references) add(typeName string, v any) {
	uuid, ok := v.(string)
	if !ok || uuid == "" || typeName == "" {
		return
	}
	if r.uuids[typeName] == nil {
		r.uuids[typeName] = map[string]bool{}
	}
	r.uuids[typeName][uuid] = true
}

// collect walks the members of an inventory.
func (r *references) collect(t *resource.Type, row map[string]any, depth int) {
	if depth > maxNested {
		return
	}
	for _, owner := range r.family(t) {
		for i := range owner.Fields {
			f := &owner.Fields[i]
			v, given := row[f.Name]
			if !given || f.Name == "uuid" {
				continue
			}
			to := r.reg.RefOf(owner, f)
			if f.RefBy != "" {
				name, _ := row[f.RefBy].(string)
				if of, ok := r.reg.ByVO(name); ok {
					name = of.Name
				}
				to = name // of jobs it is the type's own name
			}
			r.add(to, v)
		}
		for _, embed := range owner.Embeds {
			of, ok := r.reg.Get(embed.Type)
			items, _ := row[embed.Name].([]any)
			if !ok {
				continue
			}
			if embed.One {
				items = []any{row[embed.Name]}
			}
			scalar := ""
			if f, ok := of.Field(embed.Scalar); ok {
				scalar = r.reg.RefOf(of, f)
			}
			for _, item := range items {
				if inner, ok := item.(map[string]any); ok {
					r.collect(of, inner, depth+1)
				} else {
					r.add(scalar, item)
				}
			}
		}
	}
}

// family is the type with its parents and all that refine it: any of them may
// have a member of an inventory.
func (r *references) family(t *resource.Type) []*resource.Type {
	out := r.reg.Lineage(t)
	for i := len(out) - 1; i < len(out); i++ {
		out = append(out, r.reg.Subtypes(out[i].Name)...)
	}
	return out
}

// maxNested bounds lists within lists, which declarations keep flat.
const maxNested = 4

// nameAll asks for the names of all of one type. What has none, because its
// type is not for this caller or its rows are not, is left out.
func (e *Engine) nameAll(ctx context.Context, db store.Querier, t *resource.Type, uuids map[string]bool, sc Scope, names map[string]Name) error {
	label, context := e.reg.LabelOf(t), e.reg.ContextOf(t)
	if label == "" {
		return nil
	}
	fields := []string{"uuid"}
	for _, f := range append([]string{label}, context...) {
		if first, _, _ := strings.Cut(f, "."); !slices.Contains(fields, first) {
			fields = append(fields, first)
		}
	}
	all := make([]string, 0, len(uuids))
	for uuid := range uuids {
		all = append(all, uuid)
	}
	slices.Sort(all) // the same page asks the same
	for part := range slices.Chunk(all, MaxValues) {
		res, err := e.RunIn(ctx, db, t.Name, Query{Conditions: []Condition{{Name: "uuid", Op: In, Value: strings.Join(part, ",")}}, Limit: len(part), Fields: fields}, sc)
		if class := errs.ClassOf(err); err != nil && (class == errs.Denied || class == errs.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, inv := range res.Inventories {
			var row map[string]any
			if err := json.Unmarshal(inv, &row); err != nil {
				return errs.Wrap(errs.Internal, t.Name, err, "read its inventory")
			}
			n := Name{Type: t.Name, Label: strings.Join(pick(row, label), ", "), Context: []string{}}
			for _, f := range context {
				n.Context = append(n.Context, pick(row, f)...)
			}
			if uuid, ok := row["uuid"].(string); ok && n.Label != "" {
				names[uuid] = n
			}
		}
	}
	return nil
}

// pick returns the texts at a path of an inventory, through lists.
func pick(v any, path string) []string {
	switch v := v.(type) {
	case string:
		if path == "" {
			return []string{v}
		}
	case float64, bool:
		if text, err := json.Marshal(v); err == nil && path == "" {
			return []string{string(text)}
		}
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, pick(item, path)...)
		}
		return all
	case map[string]any:
		if step, rest, _ := strings.Cut(path, "."); step != "" {
			return pick(v[step], rest)
		}
	}
	return nil
}
