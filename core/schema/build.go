package schema

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// Input is what a document is made from.
type Input struct {
	Server   Server
	Types    *resource.Registry
	Actions  *action.Registry
	Settings []Setting
	// Tags are the system tags that people may set, in their order.
	Tags    []TagPattern
	Plugins map[string]Plugin
	// Brings tells which plugin brings a type or a message; a name that is
	// absent is the core's.
	Brings map[string]string
}

// Build makes the document. fell lists what has no caption of its own and got
// one made of its name, as "type.field (zh)"; the core has none.
func Build(in Input) (doc *Document, fell []string) {
	b := &builder{in: in, doc: &Document{Version: Version, Server: in.Server, Groups: groups, Enums: map[string][]Value{},
		Types: map[string]*Type{}, Actions: map[string]*Action{}, Settings: []Setting{}, Plugins: in.Plugins}}
	if b.doc.Plugins == nil {
		b.doc.Plugins = map[string]Plugin{}
	}
	shown := b.shownTypes()
	for _, t := range shown {
		b.doc.Types[t.Name] = b.typ(t)
	}
	for _, a := range in.Actions.All() {
		if a.Query == "" {
			b.doc.Actions[a.Message] = b.action(a)
		}
	}
	b.link()
	for _, s := range in.Settings {
		s.Caption = b.caption("setting "+s.Category+"/"+s.Name, s.Name, s.Caption, settingWords[s.Name])
		if len(s.Values) > 0 {
			name := s.Category + "." + s.Name
			named := values(s.Values)
			for i := range named {
				named[i].Caption = s.Captions[named[i].Name]
			}
			b.enum(&resource.Enum{Name: name, Values: named})
			s.Enum = &name
		}
		b.doc.Settings = append(b.doc.Settings, s)
	}
	sort.Slice(b.doc.Settings, func(i, j int) bool {
		x, y := &b.doc.Settings[i], &b.doc.Settings[j]
		return x.Category+"."+x.Name < y.Category+"."+y.Name
	})
	sort.Strings(b.fell)
	return b.doc, slices.Compact(b.fell)
}

type builder struct {
	in   Input
	doc  *Document
	fell []string
}

// shownTypes are those that clients meet: what has a query, and what an edge
// or a list of those leads to.
func (b *builder) shownTypes() []*resource.Type {
	reached := map[string]bool{}
	var walk func(t *resource.Type)
	walk = func(t *resource.Type) {
		if reached[t.Name] {
			return
		}
		reached[t.Name] = true
		next := []string{t.Parent}
		for _, e := range t.Edges {
			if e.Name != "" {
				next = append(next, e.To)
			}
		}
		for _, e := range t.Embeds {
			next = append(next, e.Type)
		}
		for _, e := range b.in.Types.Inbound(t.Name) {
			if e.Edge.Inverse != "" {
				next = append(next, e.From.Name)
			}
		}
		for _, name := range next {
			if to, ok := b.in.Types.Get(name); ok {
				walk(to)
			}
		}
	}
	for _, t := range b.in.Types.All() {
		if !t.Internal {
			walk(t)
		}
	}
	return slices.DeleteFunc(b.in.Types.All(), func(t *resource.Type) bool { return !reached[t.Name] })
}

// opt is a pointer to a text that is not empty.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func optCaption(c resource.Caption) *resource.Caption {
	if c.IsZero() {
		return nil
	}
	if c.Zh == "" {
		c.Zh = c.En
	}
	return &c
}

// list is s, never nil.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// caption returns the first of choices that says something. what names the
// thing for the list of what fell back to name.
func (b *builder) caption(what, name string, choices ...resource.Caption) resource.Caption {
	for _, c := range choices {
		if c.IsZero() {
			continue
		}
		if c.Zh == "" {
			c.Zh = c.En
			b.fell = append(b.fell, what+" (zh)")
		}
		return c
	}
	b.fell = append(b.fell, what)
	return resource.Say(spoken(name), spoken(name))
}

func values(names []string) []resource.Value {
	out := make([]resource.Value, len(names))
	for i, n := range names {
		out[i].Name = n
	}
	return out
}

// enum publishes an enum and returns its name. What is a name itself, such as
// "qcow2" or "UEFI", needs no translation and is shown as it is.
func (b *builder) enum(e *resource.Enum) *string {
	if _, done := b.doc.Enums[e.Name]; done {
		return &e.Name
	}
	out := make([]Value, 0, len(e.Values))
	for _, v := range e.Values {
		w := valueWords[v.Name]
		shown := Value{Value: v.Name, Tone: v.Tone, Transient: v.Transient || w.transient}
		if shown.Tone == "" {
			shown.Tone = w.tone
		}
		shown.Caption = b.caption("enum "+e.Name+" "+v.Name, v.Name, v.Caption, w.caption, properName(v.Name))
		out = append(out, shown)
	}
	b.doc.Enums[e.Name] = out
	return &e.Name
}

// properName is the caption of a value that is a name: no words of English.
func properName(value string) resource.Caption {
	digits := strings.ContainsAny(value, "0123456789")
	if digits || value != "" && strings.ToUpper(value) == value || properNames[value] {
		return resource.Say(value, value)
	}
	return resource.Caption{}
}

// plugin names who brings a type or message; told is what that says of itself.
func (b *builder) plugin(name, told string) *string { return opt(cmp.Or(told, b.in.Brings[name])) }

// nouns are the words by which messages and people call a type.
func (b *builder) nouns(name string) [][]string {
	out := [][]string{split(name)}
	if t, ok := b.in.Types.Get(name); ok {
		for _, lt := range b.in.Types.Lineage(t) {
			for _, alias := range lt.View.Aliases {
				out = append(out, strings.Split(alias, "-"))
			}
			out = append(out, split(lt.Name), strings.Split(noun(lt), "-"))
		}
	}
	return out
}

func noun(t *resource.Type) string {
	if t.View.Noun != "" {
		return t.View.Noun
	}
	return kebab(split(t.Name))
}

// link writes into the types which messages are about them.
func (b *builder) link() {
	messages := make([]string, 0, len(b.doc.Actions))
	for m := range b.doc.Actions {
		messages = append(messages, m)
	}
	sort.Slice(messages, func(i, j int) bool {
		x, y := b.doc.Actions[messages[i]], b.doc.Actions[messages[j]]
		if x.Order != y.Order {
			return x.Order < y.Order
		}
		return messages[i] < messages[j]
	})
	for _, m := range messages {
		a := b.doc.Actions[m]
		declared, _ := b.in.Actions.Get(m)
		of := append([]string{}, declared.View.Also...)
		if a.Type != nil {
			of = append(of, *a.Type)
		}
		for _, name := range of {
			if t := b.doc.Types[name]; t != nil {
				t.link(m, a)
			}
		}
	}
}

// link notes what a message does to one of the type.
func (t *Type) link(m string, a *Action) {
	switch {
	case a.Effect == "create" && a.Scope == "type":
		t.Create = append(t.Create, m)
	case a.Effect == "update" && a.Verb == "update" && t.Update == nil:
		t.Update = &m
	case a.Effect == "delete" && (a.Verb == "delete" || a.Verb == "destroy") && t.Delete == nil:
		t.Delete = &m
	case a.Verb == "recover" && t.Recover == nil:
		t.Recover = &m
	default:
		t.Actions = append(t.Actions, m)
	}
}
