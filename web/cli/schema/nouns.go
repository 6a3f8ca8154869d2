package schema

import (
	"cmp"
	"slices"
	"strings"
)

// Nouns lists the types that have a noun and a list of their own, by group and
// order. A type that shares its parent's path is not one: its parent lists it.
func (d *Document) Nouns() []*Type {
	var out []*Type
	for _, t := range d.Types {
		if t.Noun == "" || t.Path == "" || d.sharesPath(t) {
			continue
		}
		out = append(out, t)
	}
	place := map[string]int{}
	for _, g := range d.Groups {
		place[g.Name] = g.Order
	}
	slices.SortFunc(out, func(a, b *Type) int {
		return cmp.Or(cmp.Compare(place[a.Group], place[b.Group]), cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Order, b.Order), cmp.Compare(a.Noun, b.Noun))
	})
	return out
}

func (d *Document) sharesPath(t *Type) bool {
	parent := d.Types[t.Parent]
	return parent != nil && (parent.Path == t.Path || parent.Noun == t.Noun)
}

// ByNoun finds a type by its noun, plural, alias or type name, in any case.
func (d *Document) ByNoun(word string) *Type {
	for _, t := range d.Nouns() {
		if t.Answers(word) {
			return t
		}
	}
	return d.ByName(word)
}

// ByName finds a type by its name in any case.
func (d *Document) ByName(name string) *Type {
	if t := d.Types[name]; t != nil {
		return t
	}
	for n, t := range d.Types {
		if strings.EqualFold(n, name) {
			return t
		}
	}
	return nil
}

// Words lists by what the type is called beside its noun.
func (t *Type) Words() []string {
	var out []string
	for _, w := range append([]string{t.NounPlural}, t.Aliases...) {
		if w != "" && w != t.Noun && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// Answers tells whether the type is called so.
func (t *Type) Answers(word string) bool {
	return word != "" && (strings.EqualFold(t.Noun, word) || strings.EqualFold(t.Name, word) ||
		slices.ContainsFunc(t.Words(), func(w string) bool { return strings.EqualFold(w, word) }))
}

// Title is what people call the type, and Plural several of them; both in a
// language.
func (t *Type) Title(language string) string {
	return cmp.Or(t.Caption.In(language), Spaced(t.Name))
}

// Plural is what people call several.
func (t *Type) Plural(language string) string {
	return cmp.Or(t.CaptionPlural.In(language), t.Title(language))
}

// Title is what people call the field.
func (f *Field) Title(language string) string {
	return cmp.Or(f.Caption.In(language), Spaced(withoutUUID(Kebab(f.Name))))
}

// Values lists the legal values of a field, nil when there are others too.
func (d *Document) Values(f *Field) []string {
	var out []string
	for _, v := range d.Enums[f.Enum] {
		out = append(out, v.Value)
	}
	return out
}

// ItemRef is the type that a field, or each item of a list, refers to; nil for
// none.
func (d *Document) ItemRef(f *Field) *Type {
	if f.Ref == "" && f.Item != nil {
		return d.Types[f.Item.Ref]
	}
	return d.Types[f.Ref]
}
