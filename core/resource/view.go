package resource

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Caption is a text for people, in English and in Chinese. Where one is
// missing, the schema falls back: Chinese to English, English to the name of
// what it is about.
type Caption struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// Say makes a caption.
func Say(en, zh string) Caption { return Caption{En: en, Zh: zh} }

// ParseCaption reads "English|Chinese", as struct tags have it. A text without
// a bar is English alone.
func ParseCaption(text string) Caption {
	en, zh, _ := strings.Cut(text, "|")
	return Caption{En: en, Zh: zh}
}

// IsZero reports whether nothing is said in English.
func (c Caption) IsZero() bool { return c.En == "" }

// View is how people see a type: what the schema publishes for the command
// line and the console. All of it may be left out; the schema then derives
// what it can.
type View struct {
	// Caption is what one is called, Plural several (default: with an s).
	Caption, Plural Caption
	// Doc says in a sentence what it is.
	Doc Caption
	// Noun is its name on the command line (default: "disk-offering" for
	// DiskOffering), Aliases are others for it.
	Noun    string
	Aliases []string
	// Group is the part of the navigation it stands in, Order its place there
	// and Icon a picture of the console's set.
	Group string
	Order int
	Icon  string
	// Part: it is seen with what it belongs to, and has no list of its own.
	Part bool
	// Label is the field that names one (default "name"), which may cross edges
	// ("vmInstance.name"); Context are fields that tell those of one name apart.
	Label   string
	Context []string
	// Columns are those of its list: "field", "-field" for one that is shown
	// only when asked for, "field=English|Chinese" with a caption of its own,
	// "available%total" for what is used of a total. A field may be one of an
	// embedded list, "vmNics.ip".
	Columns []string
	// Sections group the fields of its page; none: all fields in order.
	Sections []Section
	// Search are the fields that free text is looked for in: "field", or
	// "field:shape" for text of a format. Default: the label.
	Search []string
	// Quotas are the names of those that count it.
	Quotas []string
}

// Section is a group of fields under a caption.
type Section struct {
	Caption Caption
	Fields  []string
}

// The tones of a value, as the console's status indicators have them.
const (
	Success  = "success"
	Info     = "info"
	Progress = "progress"
	Pending  = "pending"
	Halted   = "stopped"
	Warning  = "warning"
	Failed   = "error"
)

// Enum is a set of values under one name, which several fields may share. It
// is for people; Field.Values is what the store accepts.
type Enum struct {
	Name   string
	Values []Value
}

// Value is one of an enum. Without a caption the schema's vocabulary is asked.
type Value struct {
	Name    string
	Caption Caption
	// Tone is one of the tones above; Transient values pass by themselves.
	Tone      string
	Transient bool
}

// EnumOf makes an enum of values that the schema's vocabulary knows.
func EnumOf(name string, values ...string) *Enum {
	e := &Enum{Name: name}
	for _, v := range values {
		e.Values = append(e.Values, Value{Name: v})
	}
	return e
}

// EnabledState is the state of what an administrator switches on and off.
var EnabledState = EnumOf("EnabledState", "Enabled", "Disabled")

// ConnectionStatus is whether what the core works with can be reached.
var ConnectionStatus = EnumOf("ConnectionStatus", "Connecting", "Connected", "Disconnected")

// Platform is the kind of guest system that an image is made for.
var Platform = &Enum{Name: "Platform", Values: []Value{
	{Name: "Linux", Caption: Say("Linux", "Linux")},
	{Name: "Windows", Caption: Say("Windows", "Windows")},
	{Name: "WindowsVirtio", Caption: Say("Windows with paravirtual drivers", "Windows（半虚拟化驱动）")},
	{Name: "Paravirtualization", Caption: Say("Paravirtualized", "半虚拟化")},
	{Name: "Other", Caption: Say("Other", "其他")},
}}

// States lists the states that the machine knows, sorted.
func (m *StateMachine) States() []string {
	var all []string
	for _, moves := range m.Moves {
		for from, to := range moves {
			all = append(all, from, to)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// RefOf is the type whose uuid a field of a type holds: the declared one, that
// of an edge, or the one that its name ends in, as "zoneUuid" and "lastHostUuid"
// do; "" for none.
func (r *Registry) RefOf(t *Type, f *Field) string {
	if f.Ref != "" || f.RefBy != "" {
		return f.Ref
	}
	for _, lt := range r.Lineage(t) {
		for _, e := range lt.Edges {
			if e.Column == f.Name && e.ToColumn == "uuid" && e.Column != "uuid" {
				return e.To
			}
		}
	}
	for i, c := range f.Name {
		if i == 0 || unicode.IsUpper(c) {
			if name := r.Named(f.Name[i:]); name != "" {
				return name
			}
		}
	}
	return ""
}

// Named is the type that a name such as "zoneUuid" or "hostUuids" says.
func (r *Registry) Named(name string) string {
	base, ok := strings.CutSuffix(strings.TrimSuffix(name, "s"), "Uuid")
	if !ok || base == "" {
		return ""
	}
	t, ok := r.Get(strings.ToUpper(base[:1]) + base[1:])
	if !ok {
		return ""
	}
	return t.Name
}

// LabelOf is the field that names one of a type: the declared one of the type or
// a parent, the name, the uuid, or the first that is shown; "" when none is.
func (r *Registry) LabelOf(t *Type) string {
	lineage := r.Lineage(t)
	for i := len(lineage) - 1; i >= 0; i-- {
		if label := lineage[i].View.Label; label != "" {
			return label
		}
	}
	for _, name := range []string{"name", "uuid"} {
		if f, ok := r.FieldOf(t, name); ok && f.Visible() {
			return name
		}
	}
	for i := range t.Fields {
		if t.Fields[i].Visible() {
			return t.Fields[i].Name
		}
	}
	return ""
}

// ContextOf are the fields of the inventory that tell those of one label apart,
// without those across edges.
func (r *Registry) ContextOf(t *Type) []string {
	var out []string
	lineage := r.Lineage(t)
	for _, lt := range lineage {
		for _, path := range lt.View.Context {
			step, _, nested := strings.Cut(path, ".")
			embedded := slices.ContainsFunc(lineage, func(lt *Type) bool { _, ok := lt.Embed(step); return ok })
			if !nested || embedded {
				out = append(out, path)
			}
		}
	}
	return out
}

// FieldOf finds a visible field of a type or of its parents.
func (r *Registry) FieldOf(t *Type, name string) (*Field, bool) {
	for _, lt := range r.Lineage(t) {
		if f, ok := lt.Field(name); ok {
			return f, f.Visible()
		}
	}
	return nil, false
}

// views checks that what a view names is there.
func (c *checker) views() {
	v := &c.t.View
	known := func(what, path string) {
		if path != "" && !c.shown(path) {
			c.fault("%s: %s is no visible field", what, path)
		}
	}
	known("label", v.Label)
	for _, f := range v.Context {
		known("context", f)
	}
	for _, column := range v.Columns {
		field, _, _ := strings.Cut(strings.TrimPrefix(column, "-"), "=")
		used, total, _ := strings.Cut(field, "%")
		known("column", used)
		known("column", total)
	}
	for _, s := range v.Sections {
		for _, f := range s.Fields {
			known("section "+s.Caption.En, f)
		}
	}
	for _, s := range v.Search {
		f, _, _ := strings.Cut(s, ":")
		known("search", f)
	}
	for _, f := range c.t.Fields {
		if f.Ref != "" {
			if _, ok := c.r.Get(f.Ref); !ok {
				c.fault("field %s refers to %s, which is not declared", f.Name, f.Ref)
			}
		}
		if f.RefBy != "" {
			known(fmt.Sprintf("refby of field %s", f.Name), f.RefBy)
		}
	}
	for name := range c.t.Enums {
		known("enum", name)
	}
}

// shown resolves a field of an inventory: one of the type, of an embedded list,
// a borrowed one, or one across edges. A list itself is one as well.
func (c *checker) shown(path string) bool {
	at := c.t
	steps := strings.Split(path, ".")
	for i, step := range steps {
		if i == len(steps)-1 {
			return c.member(at, step)
		}
		to := ""
		if e, ok := c.r.Edge(at, step); ok {
			to = e.To
		}
		for _, lt := range c.r.Lineage(at) {
			if e, ok := lt.Embed(step); ok {
				to = e.Type
			}
		}
		next, ok := c.r.Get(to)
		if !ok {
			return false
		}
		at = next
	}
	return false
}

func (c *checker) member(at *Type, name string) bool {
	if _, ok := c.r.FieldOf(at, name); ok {
		return true
	}
	for _, lt := range c.r.Lineage(at) {
		if _, ok := lt.Embed(name); ok {
			return true
		}
		for _, b := range lt.Borrows {
			if b.Name == name {
				return true
			}
		}
	}
	return false
}
