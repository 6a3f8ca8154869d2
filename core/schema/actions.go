package schema

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// action makes the description of a message.
func (b *builder) action(a *action.Action) *Action {
	v := &a.View
	out := &Action{Method: a.Method, Path: a.Path, Key: opt(a.Key), Async: a.Async, Access: a.Access.String(),
		Icon: opt(v.Icon), Group: opt(v.Group), Order: v.Order, Plugin: b.plugin(a.Message, a.Plugin), When: []When{}, Undo: opt(v.Undo),
		Cancel: v.Cancel, Progress: v.Progress, LongJob: v.LongJob, Returns: opt(a.Returns), ReturnsMany: a.ResultType() == reflect.TypeFor[action.Refs](),
		Plan: a.HasPlan(), Params: []Param{}}
	if out.Path == "" && len(a.Optional) > 0 {
		out.Path = a.Optional[0]
	}
	out.Effect = effectOf(a)
	typeName := b.place(a, out)
	var others [][]string
	for _, p := range a.Params {
		if p.Resource != "" && p.Resource != typeName {
			others = append(others, b.nouns(p.Resource)...)
		}
	}
	variants := out.Scope == "type" && out.Effect == "create" || out.Effect == "update" && strings.HasPrefix(a.Message, "APIUpdate")
	verb, variant := verbOf(a.Message, b.nouns(typeName), others, variants)
	if v.Verb != "" {
		verb = v.Verb
	}
	if v.Variant != "" {
		variant = v.Variant
	}
	out.Verb, out.Variant = verb, opt(variant)
	out.Danger = dangerOf(a, out.Effect, out.Plan)
	if v.Danger != "" {
		out.Danger = v.Danger
	}
	if out.Undo == nil {
		out.Undo = undoOf(a, func(m string) bool { _, ok := b.in.Actions.Get(m); return ok })
	}
	out.Caption = b.caption(a.Message, strings.ReplaceAll(verb, "-", " "), v.Caption, verbWords[verb])
	out.Doc = optCaption(v.Doc)
	if out.Doc == nil {
		out.Doc = optCaption(resource.Say(a.Doc, ""))
	}
	for _, w := range v.When {
		out.When = append(out.When, b.when(a, typeName, w))
	}
	b.menu(out)
	needs := false
	for _, p := range a.Params {
		out.Params = append(out.Params, b.param(a, typeName, out, p))
		needs = needs || p.Required && (out.Subject == nil || p.Name != *out.Subject) && p.Name != "stateEvent"
	}
	out.Bulk = out.Scope == "one" && !needs && slices.Contains([]string{"power", "state", "delete", "attach", "detach"}, out.Effect)
	return out
}

// when is a condition. Of values its reason may be left out: it is that the field
// has another one.
func (b *builder) when(a *action.Action, typeName string, w action.When) When {
	out := When{Field: w.Field, Is: w.Is, In: w.In}
	why := w.Why
	if f := b.like(typeName, w.Field); why.IsZero() && f != nil && f.Enum != nil && f.Caption != nil {
		var en, zh []string
		for _, v := range b.doc.Enums[*f.Enum] {
			if slices.Contains(w.In, v.Value) {
				en, zh = append(en, v.Caption.En), append(zh, v.Caption.Zh)
			}
		}
		why = resource.Say("Only while the "+strings.ToLower(f.Caption.En)+" is "+strings.Join(en, ", "), "仅当"+f.Caption.Zh+"为"+strings.Join(zh, "、")+"时可用")
	}
	out.Why = b.caption(a.Message+" why "+w.Field, w.Field, why)
	return out
}

// menu places an action where its declaration does not: among those of its effect,
// with the icon of its verb.
func (b *builder) menu(out *Action) {
	if out.Order == 0 {
		out.Order = effectOrder[out.Effect]
	}
	if out.Scope == "type" && out.Effect != "create" || out.Effect == "read" {
		return
	}
	if out.Group == nil {
		out.Group = opt(out.Effect)
	}
	if out.Icon == nil {
		out.Icon = opt(verbIcons[out.Verb])
		if out.Icon == nil {
			first, _, _ := strings.Cut(out.Verb, "-")
			out.Icon = opt(verbIcons[first])
		}
	}
}

// place finds the type that an action belongs to, and what it acts on: of the
// parameters that name a resource, the one of the type that is returned, else
// the first of the path, else one called uuid.
func (b *builder) place(a *action.Action, out *Action) (typeName string) {
	subject := ""
	creates := a.Create || out.Effect == "create" && !b.pathNames(a, a.Returns)
	if !creates {
		subject = b.subject(a)
	}
	if a.View.Subject != "" {
		subject = strings.TrimPrefix(a.View.Subject, "-")
	}
	out.Scope = "type"
	if p, ok := a.Param(subject); ok && subject != "" {
		out.Subject, out.Scope, typeName = &subject, "one", p.Resource
		if strings.HasPrefix(p.Type, "[]") {
			out.Scope = "many"
		}
	}
	switch {
	case a.View.Type != "":
		typeName = a.View.Type
	case typeName == "" && a.Returns != "":
		typeName = a.Returns
	case typeName == "":
		typeName = b.typeOfPath(a)
	}
	if a.View.Effect != "" {
		out.Effect = a.View.Effect
	} else if out.Effect == "create" && out.Scope != "type" {
		out.Effect = "attach" // adds something to the subject
	} else if out.Effect == "delete" && strings.HasPrefix(a.Message, "APIRemove") && out.Scope == "one" {
		out.Effect = "detach"
	}
	if _, ok := b.in.Types.Get(typeName); ok {
		out.Type = &typeName
	}
	return typeName
}

// pathNames reports whether the path names one of a type.
func (b *builder) pathNames(a *action.Action, typeName string) bool {
	return slices.ContainsFunc(a.Params, func(p action.Param) bool { return p.In == "path" && p.Resource != "" && p.Resource == typeName })
}

func (b *builder) subject(a *action.Action) string {
	candidates := [3]string{}
	for _, p := range a.Params {
		if p.Resource == "" {
			continue
		}
		if p.In == "path" && a.Returns == p.Resource && candidates[0] == "" {
			candidates[0] = p.Name
		}
		if p.In == "path" && candidates[1] == "" {
			candidates[1] = p.Name
		}
		if p.Required && (p.Name == "uuid" || a.Method == http.MethodGet) && candidates[2] == "" {
			candidates[2] = p.Name
		}
	}
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}

// typeOfPath is the type with the longest path that an action's begins with.
func (b *builder) typeOfPath(a *action.Action) string {
	best, name := 0, ""
	for _, path := range a.Paths() {
		for _, t := range b.in.Types.All() {
			if t.Path != "" && (path == t.Path || strings.HasPrefix(path, t.Path+"/")) && len(t.Path) > best {
				best, name = len(t.Path), t.Name
			}
		}
	}
	return name
}

func (b *builder) param(a *action.Action, typeName string, act *Action, p action.Param) Param {
	out := Param{Shape: b.shape(p.Name, p.Type, p.ParamType(), 0), In: "body", Advanced: p.View.Advanced,
		From: opt(p.View.From), RefWhere: list(p.View.Where), Widget: opt(p.View.Widget)}
	switch {
	case p.In == "path":
		out.In = "path"
	case a.Method == http.MethodGet || a.Method == http.MethodDelete:
		out.In = "query"
	}
	s := &out.Shape
	s.Required, s.Secret, s.Holds, s.Unit, s.Format = p.Required, p.Secret, opt(p.Holds), opt(p.View.Unit), opt(p.View.Format)
	if p.MaxLength > 0 {
		s.MaxLength = &p.MaxLength
	}
	if p.Range != nil {
		s.Min, s.Max = &p.Range[0], &p.Range[1]
	}
	leaf := s.Kind
	if s.Item != nil {
		leaf = s.Item.Kind
	}
	s.Default = typedDefault(leaf, p.Default)
	s.Doc = optCaption(resource.Say(p.Doc, ""))
	ref := p.Resource
	if ref == "" {
		ref = b.in.Types.Named(p.Name)
	}
	s.Ref = opt(ref)
	own := b.like(typeName, p.Name)
	if own != nil && own.RefBy != nil && ref == "" {
		if _, ok := a.Param(*own.RefBy); ok {
			s.RefBy = own.RefBy
		}
	}
	if len(p.Values) > 0 {
		s.Enum = b.paramEnum(a, typeName, p)
	} else if own != nil && own.Enum != nil {
		s.Enum = own.Enum
	}
	if own != nil && own.Kind == s.Kind {
		if s.Unit == nil {
			s.Unit = own.Unit
		}
		if s.Format == nil {
			s.Format = own.Format
		}
	}
	if p.View.Section != "" {
		section := b.caption(a.Message+" section "+p.View.Section, p.View.Section, sectionWords[p.View.Section])
		out.Section = &section
	}
	s.derive()
	isSubject := act.Subject != nil && *act.Subject == p.Name
	caption := b.paramCaption(a, p, own, ref, isSubject)
	s.Caption = &caption
	if act.Effect == "update" && own != nil && !isSubject && out.From == nil {
		out.From = &own.Name
	}
	if name, in, ok := strings.Cut(p.View.ShowIf, ":"); ok {
		out.ShowIf = &ShowIf{Param: name, In: strings.Split(in, "|")}
	}
	if words := strings.Fields(p.View.Candidates); len(words) > 0 {
		out.Candidates = &Candidates{Message: words[0], Params: map[string]string{}}
		for _, w := range words[1:] {
			name, value, _ := strings.Cut(w, "=")
			out.Candidates.Params[name] = value
		}
	}
	return out
}

func (b *builder) paramCaption(a *action.Action, p action.Param, own *Field, ref string, subject bool) resource.Caption {
	var ofType, ofField resource.Caption
	if t, ok := b.in.Types.Get(ref); ok && (subject || b.in.Types.Named(p.Name) == ref) {
		ofType = t.View.Caption
		if strings.HasSuffix(p.Name, "s") && !t.View.Plural.IsZero() {
			ofType = t.View.Plural
		}
	}
	if own != nil && own.Caption != nil {
		ofField = *own.Caption
	}
	return b.caption(a.Message+"."+p.Name, p.Name, p.View.Caption, ofType, ofField, fieldWords[p.Name])
}

// like is the field of a type or its parents that a parameter is named like.
func (b *builder) like(typeName, name string) *Field {
	t, ok := b.in.Types.Get(typeName)
	if !ok {
		return nil
	}
	for _, lt := range b.in.Types.Lineage(t) {
		if doc := b.doc.Types[lt.Name]; doc != nil {
			for i := range doc.Fields {
				if doc.Fields[i].Name == name {
					return &doc.Fields[i]
				}
			}
		}
	}
	return nil
}

// paramEnum names the values of a parameter: like those of the field, when they
// are the same, else by the type, or the message where that name is taken by
// other values.
func (b *builder) paramEnum(a *action.Action, typeName string, p action.Param) *string {
	same := func(name string) bool {
		known := b.doc.Enums[name]
		return len(known) == len(p.Values) && !slices.ContainsFunc(known, func(v Value) bool { return !slices.Contains(p.Values, v.Value) })
	}
	f := b.like(typeName, p.Name)
	if f != nil && f.Enum != nil && same(*f.Enum) {
		return f.Enum
	}
	name := typeName + "." + p.Name
	if _, taken := b.doc.Enums[name]; typeName == "" || taken && !same(name) {
		name = a.Message + "." + p.Name
	}
	named := values(p.Values)
	for i := range named {
		named[i].Caption = p.Captions[named[i].Name]
	}
	e := b.enum(&resource.Enum{Name: name, Values: named})
	if f != nil && f.Enum == nil && a.Create && a.Values[p.Name] != nil {
		f.Enum = e // it has what plugins offer, by the same names
	}
	return e
}

// shape turns a parameter's type word, or its Go type, into a kind.
func (b *builder) shape(name, word string, t reflect.Type, depth int) Shape {
	word = strings.TrimSuffix(word, "?")
	s := Shape{Name: name}
	switch {
	case strings.HasPrefix(word, "[]"):
		item := b.shape("", word[2:], elem(t), depth)
		s.Kind, s.Item = "list", &item
	case strings.HasPrefix(word, "map<"):
		item := b.shape("", strings.TrimSuffix(word[4:], ">"), elem(t), depth)
		s.Kind, s.Item = "map", &item
	case slices.Contains([]string{"string", "int", "long", "bool", "double"}, word):
		s.Kind = word
	default:
		s.Kind = "object"
		s.Fields = b.members(t, depth)
	}
	return s
}

func elem(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
		return nil
	}
	return t.Elem()
}

// members are the fields of an object that a parameter holds, as JSON names
// them.
func (b *builder) members(t reflect.Type, depth int) []Shape {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || depth > 4 || t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return nil
	}
	var out []Shape
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		s := b.shape(name, action.TypeWord(f.Type), f.Type, depth+1)
		s.Ref = opt(b.in.Types.Named(name))
		caption := b.caption("object "+t.Name()+"."+name, name, resource.ParseCaption(f.Tag.Get("caption")), b.refWords(name, b.in.Types.Named(name)), fieldWords[name])
		s.Caption, s.Doc = &caption, optCaption(resource.Say(f.Tag.Get("doc"), ""))
		s.derive()
		out = append(out, s)
	}
	return out
}
