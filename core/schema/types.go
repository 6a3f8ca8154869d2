package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
)

// typ makes the description of a type, without its actions.
func (b *builder) typ(t *resource.Type) *Type {
	v := &t.View
	out := &Type{
		Plugin: b.plugin(t.Name, t.Plugin), Dormant: t.Dormant, Parent: opt(t.Parent), Discriminator: opt(t.Discriminator), DiscriminatorValue: opt(t.DiscriminatorValue),
		Subtypes: []string{}, Path: opt(t.Path), ZQL: t.ZQLName(), Noun: noun(t), Aliases: list(v.Aliases), Doc: optCaption(v.Doc),
		Order: v.Order, Icon: opt(v.Icon), Part: v.Part || t.Internal, Context: list(v.Context), Quotas: list(v.Quotas),
		Create: []string{}, Actions: []string{}, Tags: b.tags(t), Search: []Search{},
	}
	out.NounPlural = plural(out.Noun)
	out.Caption = b.caption(t.Name, t.Name, v.Caption)
	out.CaptionPlural = resource.Say(plural(out.Caption.En), out.Caption.Zh)
	if !v.Plural.IsZero() {
		out.CaptionPlural = b.caption(t.Name+" plural", t.Name, v.Plural)
	}
	for _, sub := range b.in.Types.Subtypes(t.Name) {
		out.Subtypes = append(out.Subtypes, sub.Name)
	}
	out.Group = opt(b.inherited(t, func(v *resource.View) string { return v.Group }))
	root := b.in.Types.Lineage(t)[0]
	out.Readable, out.OwnedBy = root.Readable.String(), opt(root.OwnedBy)
	out.Label = b.in.Types.LabelOf(t)
	out.States = b.states(t)
	for _, f := range t.Fields {
		if f.Visible() && (t.Parent == "" || f.Name != "uuid") {
			out.Fields = append(out.Fields, b.field(t, &f))
		}
	}
	for _, bo := range t.Borrows {
		if of, ok := b.in.Types.Get(bo.Type); ok {
			if f, ok := of.Field(bo.Field); ok {
				shown := *f
				shown.Name = bo.Name
				out.Fields = append(out.Fields, b.field(t, &shown))
			}
		}
	}
	out.Fields = list(out.Fields)
	out.Edges = b.edges(t)
	b.embeds(t, out)
	b.columns(t, out)
	for _, s := range v.Sections {
		out.Sections = append(out.Sections, Section{Caption: b.caption(t.Name+" section", s.Caption.En, s.Caption), Fields: s.Fields})
	}
	search := v.Search
	if len(search) == 0 && !strings.Contains(out.Label, ".") {
		search = []string{out.Label}
	}
	for _, s := range search {
		f, shape, _ := strings.Cut(s, ":")
		out.Search = append(out.Search, Search{Field: f, Shape: shape})
	}
	return out
}

// inherited asks the type and then its parents.
func (b *builder) inherited(t *resource.Type, get func(*resource.View) string) string {
	lineage := b.in.Types.Lineage(t)
	for i := len(lineage) - 1; i >= 0; i-- {
		if s := get(&lineage[i].View); s != "" {
			return s
		}
	}
	return ""
}

// enumOf finds the declared values of a field of a type or its parents.
func (b *builder) enumOf(t *resource.Type, f *resource.Field) *resource.Enum {
	for _, lt := range b.in.Types.Lineage(t) {
		if e, ok := lt.Enums[f.Name]; ok {
			return e
		}
	}
	own := t.Name + "." + f.Name
	if len(f.Values) > 0 {
		return &resource.Enum{Name: own, Values: values(f.Values)}
	}
	if t.States != nil && t.States.Column == f.Name {
		return &resource.Enum{Name: own, Values: values(t.States.States())}
	}
	return nil
}

// states are the machine's field and then other fields whose values have tones.
func (b *builder) states(t *resource.Type) []State {
	out := []State{}
	if t.States != nil {
		if f, ok := t.Field(t.States.Column); ok {
			out = append(out, State{Field: f.Name, Enum: *b.enum(b.enumOf(t, f)), Moves: t.States.Moves})
		}
	}
	for _, f := range t.Fields {
		e := b.enumOf(t, &f)
		if e == nil || !f.Visible() || t.States != nil && f.Name == t.States.Column {
			continue
		}
		name := b.enum(e)
		if slices.ContainsFunc(b.doc.Enums[*name], func(v Value) bool { return v.Tone != "" }) {
			out = append(out, State{Field: f.Name, Enum: *name, Moves: map[string]map[string]string{}})
		}
	}
	return out
}

func (b *builder) field(t *resource.Type, f *resource.Field) Field {
	kind := f.Kind.String()
	ref := b.in.Types.RefOf(t, f)
	s := Shape{Name: f.Name, Kind: kind, Ref: opt(ref), RefBy: opt(f.RefBy), Required: !f.Null, Secret: f.Secret, Holds: opt(f.Holds),
		Doc: optCaption(resource.Say(f.Doc, "")), Unit: opt(f.Unit), Format: opt(f.Format), Default: typedDefault(kind, f.Default)}
	caption := b.caption(t.Name+"."+f.Name, f.Name, f.Caption, b.refWords(f.Name, ref), fieldWords[f.Name])
	s.Caption = &caption
	if f.Kind == resource.String {
		s.MaxLength = &f.Size
	}
	if f.Range != nil {
		s.Min, s.Max = &f.Range[0], &f.Range[1]
	}
	if e := b.enumOf(t, f); e != nil {
		s.Enum = b.enum(e)
	}
	s.derive()
	return Field{Shape: s, Immutable: f.Immutable || f.Name == "uuid", Null: f.Null, Ops: operators(f.Kind, f.IsUUID(), f.Null), Sort: f.Kind != resource.Text}
}

// derive fills what the name tells.
func (s *Shape) derive() {
	if s.Unit == nil {
		s.Unit = byName(units, s.Name, s.Kind)
	}
	if s.Format == nil {
		s.Format = byName(formats, s.Name, s.Kind)
	}
	if s.Format == nil && s.Ref != nil && s.Kind == "string" {
		uuid := "uuid"
		s.Format = &uuid
	}
	if s.Item != nil && s.Item.Name == "" { // of what is in dataDiskSizes, dataDiskSize tells
		item := *s.Item
		item.Name = strings.TrimSuffix(s.Name, "s")
		item.derive()
		s.Item.Unit, s.Item.Format = item.Unit, item.Format
	}
}

// refWords: what refers to one of a type is called like it, when its name says
// no more than that.
func (b *builder) refWords(name, ref string) resource.Caption {
	if ref == "" || b.in.Types.Named(name) != ref {
		return resource.Caption{}
	}
	t, ok := b.in.Types.Get(ref)
	if !ok {
		return resource.Caption{}
	}
	if strings.HasSuffix(name, "s") && !t.View.Plural.IsZero() {
		return t.View.Plural
	}
	return t.View.Caption
}

// typedDefault is a default in the kind of its field; nil for none.
func typedDefault(kind, text string) any {
	if text == "" {
		return nil
	}
	switch kind {
	case "int", "long", "time":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case "double":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	case "bool":
		if v, err := strconv.ParseBool(text); err == nil {
			return v
		}
	}
	return text
}

// edges are the type's own and those that others declare as inverses.
func (b *builder) edges(t *resource.Type) []Edge {
	out := []Edge{}
	for _, e := range t.Edges {
		if e.Name != "" {
			out = append(out, b.edge(t, e, e.Column == "uuid" && !b.unique(e.To, e.ToColumn)))
		}
	}
	for _, in := range b.in.Types.Inbound(t.Name) {
		e := in.Edge
		if e.Inverse != "" {
			seen := resource.Edge{Name: e.Inverse, To: in.From.Name, Column: e.ToColumn, ToColumn: e.Column, Hidden: e.Hidden}
			out = append(out, b.edge(t, seen, !b.unique(in.From.Name, e.Column)))
		}
	}
	return out
}

func (b *builder) unique(typeName, column string) bool {
	t, ok := b.in.Types.Get(typeName)
	if !ok {
		return false
	}
	f, ok := t.Field(column)
	return ok && (f.Unique || column == "uuid")
}

func (b *builder) edge(t *resource.Type, e resource.Edge, many bool) Edge {
	out := Edge{Name: e.Name, To: e.To, Column: e.Column, ToColumn: e.ToColumn, Many: many, OnDelete: e.OnDelete.String(), Hidden: e.Hidden}
	to, ok := b.in.Types.Get(e.To)
	if !ok {
		out.Caption = resource.Say(spoken(e.Name), spoken(e.Name))
		return out
	}
	out.Inverse = b.inverse(t, e, to)
	out.Caption = to.View.Caption
	if many {
		out.Caption = resource.Say(plural(out.Caption.En), out.Caption.Zh)
		if !to.View.Plural.IsZero() {
			out.Caption = to.View.Plural
		}
	} else if f, ok := b.in.Types.FieldOf(t, e.Column); ok && !f.Caption.IsZero() {
		out.Caption = f.Caption
	}
	out.Caption = b.caption(t.Name+" edge "+e.Name, e.Name, out.Caption)
	return out
}

// inverse is the name of the same relation as seen from the other side.
func (b *builder) inverse(t *resource.Type, e resource.Edge, to *resource.Type) *string {
	if e.Inverse != "" {
		return &e.Inverse
	}
	for _, back := range to.Edges {
		if back.Name != "" && back.To == t.Name && back.Column == e.ToColumn && back.ToColumn == e.Column {
			return &back.Name
		}
	}
	for _, in := range b.in.Types.Inbound(t.Name) {
		if in.From == to && in.Edge.Inverse == e.Name && in.Edge.Name != "" {
			return opt(in.Edge.Name)
		}
	}
	return nil
}

// embeds are published as such and as fields of kind list, so that one reads
// from the fields alone what an inventory has.
func (b *builder) embeds(t *resource.Type, out *Type) {
	out.Embeds = []Embed{}
	for _, e := range t.Embeds {
		of, ok := b.in.Types.Get(e.Type)
		if !ok {
			continue
		}
		caption := of.View.Caption
		if e.Scalar != "" {
			if f, ok := b.in.Types.FieldOf(of, e.Scalar); ok {
				caption = b.caption(of.Name+"."+f.Name, f.Name, f.Caption, b.refWords(f.Name, b.in.Types.RefOf(of, f)), fieldWords[f.Name])
			}
		} else if e.One {
			caption = of.View.Caption
		} else if !of.View.Plural.IsZero() {
			caption = of.View.Plural
		} else {
			caption.En = plural(caption.En)
		}
		out.Embeds = append(out.Embeds, Embed{Name: e.Name, Type: e.Type, Scalar: opt(e.Scalar), Caption: b.caption(t.Name+" list "+e.Name, e.Name, e.Caption, caption)})
	}
}

// columns are the declared ones, or the label, the states, the first
// references and the time of its making.
func (b *builder) columns(t *resource.Type, out *Type) {
	declared := t.View.Columns
	if len(declared) == 0 {
		declared = b.defaultColumns(t, out)
	}
	out.Columns = []Column{}
	for _, text := range declared {
		c := Column{}
		if rest, hidden := strings.CutPrefix(text, "-"); hidden {
			no := false
			text, c.Default = rest, &no
		}
		field, caption, has := strings.Cut(text, "=")
		if has {
			words := b.caption(fmt.Sprintf("%s column %s", t.Name, field), field, resource.ParseCaption(caption))
			c.Caption = &words
		}
		var usage bool
		if c.Field, c.Total, usage = strings.Cut(field, "%"); usage {
			c.As = "usage"
		}
		out.Columns = append(out.Columns, c)
	}
}

func (b *builder) defaultColumns(t *resource.Type, out *Type) []string {
	if t.Parent != "" {
		for _, lt := range b.in.Types.Lineage(t) {
			if len(lt.View.Columns) > 0 {
				return lt.View.Columns
			}
		}
	}
	columns := []string{out.Label}
	for _, s := range out.States {
		columns = append(columns, s.Field)
	}
	for _, f := range out.Fields {
		if f.Ref != nil && len(columns) < 5 && !slices.Contains(columns, f.Name) {
			columns = append(columns, f.Name)
		}
	}
	if _, ok := b.in.Types.FieldOf(t, "createDate"); ok {
		columns = append(columns, "-createDate")
	}
	return columns
}
