package schema

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Version is the greatest version of the document's shape that is understood.
const Version = 1

// Document is the server's description of itself. Members that the command line
// has no use for are left out.
type Document struct {
	Version  int    `json:"version"`
	Revision string `json:"revision"`
	Groups   []Group
	Enums    map[string][]Value
	Types    map[string]*Type
	Actions  map[string]*Action
}

// Caption is a text for people by language, "en" and "zh".
type Caption map[string]string

// In returns the text in a language, else the English one; "" when there is none.
func (c Caption) In(language string) string {
	if text := c[language]; text != "" {
		return text
	}
	return c["en"]
}

// Group is a heading over nouns.
type Group struct {
	Name    string
	Caption Caption
	Order   int
}

// Value is one legal value of an enum.
type Value struct {
	Value   string
	Caption Caption
}

// Type is a resource type.
type Type struct {
	// Name is the key in Document.Types.
	Name string `json:"-"`

	Parent           string
	Subtypes         []string
	Path             string
	Noun, NounPlural string
	Aliases          []string
	Caption          Caption
	CaptionPlural    Caption
	Doc              Caption
	Group            string
	Order            int
	// Part types have no entry of their own in a menu.
	Part bool
	// Label is the field by which people call one; a path may cross edges.
	Label   string
	Context []string
	States  []States
	// Fields are those of the type, of those that it refines and of those that
	// refine it, of which one resource has some.
	Fields []*Field
	// Embeds are lists of other resources within the inventory.
	Embeds  []Embed
	Edges   []Edge
	Columns []Column
	Tags    []Tag
	// Create, Update, Delete, Recover and Actions are names of messages.
	Create                  []string
	Update, Delete, Recover string
	Actions                 []string
}

// States lists the moves of a state field: event to from-state to to-state.
type States struct {
	Field string
	Enum  string
	Moves map[string]map[string]string
}

// Edge is a relation to another type.
type Edge struct {
	Name, To string
	Many     bool
}

// Embed is a list of resources of a type within an inventory, or of the values of
// their field Scalar.
type Embed struct {
	Name, Type, Scalar string
	Caption            Caption
}

// Column is one of a type's list.
type Column struct {
	Field   string
	Caption Caption
	// Default is true when absent: shown without being asked for.
	Default *bool
}

// Shown tells whether the column is in the list of people who did not choose.
func (c Column) Shown() bool { return c.Default == nil || *c.Default }

// Tag is a system tag that may be set as if it were fields.
type Tag struct {
	// Pattern has the parameters in braces: "hostname::{hostname}".
	Pattern string
	Caption Caption
	When    string
	Params  []*Param
}

// Field is a member of an inventory.
type Field struct {
	Name         string
	Kind         string
	Unit, Format string
	Caption, Doc Caption
	Ref, RefBy   string
	Required     bool
	Secret       bool
	Enum         string
	Default      json.RawMessage
	Item         *Field
	Min, Max     *float64
	Ops          []string
	Sort         bool
}

// DefaultText is the default as people write it, "" when there is none.
func (f *Field) DefaultText() string {
	var v any
	if len(f.Default) == 0 || json.Unmarshal(f.Default, &v) != nil || v == nil {
		return ""
	}
	if text, ok := v.(string); ok {
		return text
	}
	return string(f.Default)
}

// Param is a parameter of an action.
type Param struct {
	Field
	// In is path, query or body.
	In       string
	Advanced bool
	Widget   string
}

// Action is one message of the API.
type Action struct {
	// Message is the key in Document.Actions.
	Message string `json:"-"`

	Type, Verb, Variant string
	// Scope is one, many (the subject is a list) or type; Subject is the
	// parameter that holds the resource.
	Scope, Subject    string
	Effect, Danger    string
	Method, Path, Key string
	Async             bool
	Caption, Doc      Caption
	Plan              bool
	Returns           string
	Params            []*Param
}

// Parse reads a document. One of a later version is refused: what it means is
// not known.
func Parse(text []byte) (*Document, error) {
	d := &Document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, errs.Wrap(errs.Internal, "schema of the server", err, "cannot be read")
	}
	if d.Version != Version {
		return nil, errs.New(errs.Unsupported, "schema of the server", "it is of version %d, and this kumo knows version %d", d.Version, Version).
			WithAdvice("use a kumo of the server's version")
	}
	for name, t := range d.Types {
		t.Name = name
	}
	for message, a := range d.Actions {
		a.Message = message
	}
	d.inherit()
	return d, nil
}

// FieldAt returns the field at a path through lists within the inventory and
// relations, such as vmNics.ip; of a list of values it is the field that has them.
// nil when there is none.
func (d *Document) FieldAt(t *Type, path string) *Field {
	name, rest, nested := strings.Cut(path, ".")
	if f := t.Field(name); f != nil && !nested {
		return f
	}
	to := ""
	for _, e := range t.Edges {
		if e.Name == name && nested {
			to = e.To
		}
	}
	for _, e := range t.Embeds {
		if e.Name == name && (nested || e.Scalar != "") {
			to = e.Type
			if !nested {
				rest = e.Scalar
			}
		}
	}
	if next := d.Types[to]; next != nil {
		return d.FieldAt(next, rest)
	}
	return nil
}

// Embed returns the list of this name within an inventory, or nil.
func (t *Type) Embed(name string) *Embed {
	for i := range t.Embeds {
		if t.Embeds[i].Name == name {
			return &t.Embeds[i]
		}
	}
	return nil
}

// inherit gives each type what the document says of the types that it refines, and
// the fields of those that refine it: a list has them all.
func (d *Document) inherit() {
	fields, edges, embeds := map[*Type][]*Field{}, map[*Type][]Edge{}, map[*Type][]Embed{}
	for _, t := range d.Types {
		family := d.lineage(t)
		for i := len(family) - 1; i >= 0; i-- {
			edges[t] = append(edges[t], family[i].Edges...)
			embeds[t] = append(embeds[t], family[i].Embeds...)
			fields[t] = append(fields[t], family[i].Fields...)
		}
		for _, name := range t.Subtypes {
			if sub := d.Types[name]; sub != nil {
				fields[t] = append(fields[t], sub.Fields...)
			}
		}
	}
	for _, t := range d.Types {
		t.Fields, t.Edges, t.Embeds = fields[t], edges[t], embeds[t]
	}
}

// lineage is the type, its parent, and so on.
func (d *Document) lineage(t *Type) []*Type {
	var out []*Type
	for t != nil && !slices.Contains(out, t) { // a circle of parents ends, too
		out = append(out, t)
		t = d.Types[t.Parent]
	}
	return out
}

// Param returns the parameter of this name, or nil.
func (a *Action) Param(name string) *Param {
	for _, p := range a.Params {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Field returns the field of this name, or nil.
func (t *Type) Field(name string) *Field {
	for _, f := range t.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}
