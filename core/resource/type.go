package resource

import (
	"fmt"
	"sort"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// OnDelete is what happens to the row that holds an edge's column when the
// row it points to is deleted.
type OnDelete int

// The rules of a delete across an edge.
const (
	// None: nothing; the column may point to what is gone.
	None OnDelete = iota
	// Cascade: the row is deleted as well, before its target.
	Cascade
	// Detach: the column is cleared.
	Detach
	// Restrict: the delete is refused while the row exists.
	Restrict
)

// String returns the rule's name in lower case.
func (o OnDelete) String() string {
	switch o {
	case None:
		return "none"
	case Cascade:
		return "cascade"
	case Detach:
		return "detach"
	case Restrict:
		return "restrict"
	}
	return fmt.Sprintf("onDelete(%d)", int(o))
}

// Edge is a relation to another type, followed by queries and cascades.
type Edge struct {
	// Name is the step in a query's path (the wire's expandedField).
	Name string
	// To is the name of the type that Column points to.
	To string
	// Column is the field of this type; "uuid" for a relation seen from the
	// side that is pointed to.
	Column string
	// ToColumn is the field of To that Column equals; default "uuid".
	ToColumn string
	// OnDelete is the rule for this type's rows when the To row is deleted.
	OnDelete OnDelete
	// Hidden: not shown in documentation; it still resolves in queries.
	Hidden bool
	// Inverse names the same relation as seen from To, so that a type may add
	// a step to a type it does not own; "" = none.
	Inverse string
}

// Embed is a list inside the inventory: the rows of Type whose Column is our
// uuid, in the order of OrderBy (default: createDate if the type has it, then
// uuid). With Scalar only that field's values are listed.
type Embed struct {
	Name, Type, Column, Scalar, OrderBy string
	// One: Column is unique in Type, and the member is the one row, not a list of
	// it; a resource without one has no such member.
	One bool
	// Caption is what people call the list; default: the plural of Type, or the
	// caption of Scalar.
	Caption Caption
}

// Borrow is a member of the inventory that is stored in a row of another type
// which belongs to ours one to one, such as a host's capacity: the value of
// Field in the row of Type whose Column is our uuid.
type Borrow struct{ Name, Type, Column, Field string }

// Alias is a short name for a path of edges. On names the type that gets it
// when that is not the declaring one.
type Alias struct{ Name, Path, On string }

// Index is an index over several columns.
type Index struct {
	Columns []string
	Unique  bool
}

// StateMachine lists the legal moves of a state column.
type StateMachine struct {
	// Column is the field that holds the state.
	Column string
	// Moves maps event to from-state to to-state.
	Moves map[string]map[string]string
}

// EnableDisable is the state of what an administrator switches on and off. Each
// event may come again.
var EnableDisable = &StateMachine{Column: "state", Moves: map[string]map[string]string{
	"enable":  {"Enabled": "Enabled", "Disabled": "Enabled"},
	"disable": {"Enabled": "Disabled", "Disabled": "Disabled"},
}}

// Next returns the state after event in state from. An event that is not
// legal there gives errs.Internal, as callers ask only for what their own
// checks allowed; Can asks without an error.
func (m *StateMachine) Next(from, event string) (string, error) {
	to, ok := m.Moves[event][from]
	if !ok {
		legal := make([]string, 0, len(m.Moves[event]))
		for s := range m.Moves[event] {
			legal = append(legal, s)
		}
		sort.Strings(legal)
		return "", errs.New(errs.Internal, "state "+from, "event %s is not legal here; it is in %s", event, strings.Join(legal, ", "))
	}
	return to, nil
}

// Can reports whether event is legal in state from.
func (m *StateMachine) Can(from, event string) bool {
	_, ok := m.Moves[event][from]
	return ok
}

// Readable says which rows of a type an account may read that is not the
// administrator's: in lists, single reads, joins and parameters alike. What it
// may change does not follow from it: that is only what it owns (core/access).
type Readable int

// Who may read the rows of a type. The zero value is closed to all but the
// administrator, and Registry.Check asks for a word about every type.
const (
	readableUnset Readable = iota
	// Global: every account reads all rows, such as zones.
	Global
	// Owner: an account reads what belongs to it and what is shared with it.
	Owner
	// Admin: only the administrator reads them.
	Admin
)

// String returns the word of the schema: "global", "owner" or "admin".
func (r Readable) String() string {
	switch r {
	case Global:
		return "global"
	case Owner:
		return "owner"
	}
	return "admin"
}

// Type is the declaration of one resource type.
type Type struct {
	// Name is the type's and its table's name, such as "Zone".
	Name string
	// Path is the REST path, such as "/zones"; "" = no own routes.
	Path string
	// FQN is the wire's class name of the inventory.
	FQN string
	// Fields are the columns, in the order of the inventory.
	Fields []Field
	// Edges are the relations to other types.
	Edges []Edge
	// Embeds are the lists inside the inventory.
	Embeds []Embed
	// Borrows are the members stored in a row of another type.
	Borrows []Borrow
	// Aliases are the short names of paths.
	Aliases []Alias
	// Indexes are those over several columns.
	Indexes []Index
	// Owned: rows belong to an account; they have the hidden column accountUuid.
	Owned bool
	// Incidental: the rows of an owned type are not what their account possesses,
	// such as its records. They do not keep it from being deleted, and go with it
	// or end by themselves.
	Incidental bool
	// Readable says who may read the rows; left out, it is Owner for types with
	// Owned or OwnedBy. A subtype's is that of its root.
	Readable Readable
	// OwnedBy names, on a type that is not Owned, the edge to what its rows are a
	// part of, such as the network of an address range: they belong to the owner
	// of that, and are shared with it.
	OwnedBy string
	// Follows names, on a type that is Owned, the column with the uuid of the
	// resource to which a row belongs, such as the VM of a NIC: the row is shared
	// when that is, and changes its owner with it.
	Follows string
	// Anywhere names, for queries of every type, columns of this one's rows that
	// follow the object in question: "__userTag__" for "tag". The names begin
	// with two underlines, as no field's does.
	Anywhere map[string]string
	// Parent names the type that this one refines. The own table holds only
	// the extra fields and shares the parent's uuid.
	Parent string
	// Discriminator is, on a parent, the field that tells the subtypes apart.
	Discriminator string
	// DiscriminatorValue is, on a subtype, the value of that field.
	DiscriminatorValue string
	// States are the legal states; nil = no state machine.
	States *StateMachine
	// Internal: no REST query route.
	Internal bool
	// QueryMessage is the wire's name of the query when it is not
	// APIQuery<Name>Msg.
	QueryMessage string
	// Enums are the values of fields, by field, as people see them.
	Enums map[string]*Enum
	// View is how people see it.
	View View
	// Plugin is the name of the plugin whose own type it is, "" for those of the core.
	// Dormant: that plugin is not enabled, so that the rows can only be read.
	Plugin  string
	Dormant bool

	byName map[string]int
}

// Field returns the field of that name of this type (not of its parent).
func (t *Type) Field(name string) (*Field, bool) {
	if i, ok := t.byName[name]; ok {
		return &t.Fields[i], true
	}
	return nil, false
}

// VO returns the wire's name of the stored type: "ZoneVO".
func (t *Type) VO() string { return t.Name + "VO" }

// ZQLName returns the name in ZQL: "zone".
func (t *Type) ZQLName() string { return strings.ToLower(t.Name) }

// Edge returns the edge of that name that the type declares itself; see
// Registry.Edge for those of its parents and the inverse ones.
func (t *Type) Edge(name string) (Edge, bool) {
	for _, e := range t.Edges {
		if e.Name == name && name != "" {
			return e, true
		}
	}
	return Edge{}, false
}

// Embed returns the list of that name.
func (t *Type) Embed(name string) (*Embed, bool) {
	for i := range t.Embeds {
		if t.Embeds[i].Name == name {
			return &t.Embeds[i], true
		}
	}
	return nil, false
}

// init completes and checks what one declaration says by itself.
func (t *Type) init() error {
	if err := checkName(t.Name); err != nil {
		return fmt.Errorf("resource type %q: %w", t.Name, err)
	}
	t.byName = make(map[string]int, len(t.Fields))
	lower := map[string]bool{}
	for i := range t.Fields {
		f := &t.Fields[i]
		f.setDefaults()
		if err := f.check(); err != nil {
			return fmt.Errorf("resource type %s: %w", t.Name, err)
		}
		if lower[strings.ToLower(f.Name)] {
			return fmt.Errorf("resource type %s: field %s is declared twice", t.Name, f.Name)
		}
		lower[strings.ToLower(f.Name)] = true
		t.byName[f.Name] = i
	}
	for i := range t.Edges {
		if t.Edges[i].ToColumn == "" {
			t.Edges[i].ToColumn = "uuid"
		}
	}
	if t.Readable == readableUnset && (t.Owned || t.OwnedBy != "") {
		t.Readable = Owner
	}
	return t.checkSelf()
}

func (t *Type) checkSelf() error {
	uuid, ok := t.Field("uuid")
	if !ok || uuid.Kind != String || uuid.Null {
		return fmt.Errorf("resource type %s: it needs a string field uuid that is not null", t.Name)
	}
	if _, has := t.Field("accountUuid"); t.Owned && !has {
		return fmt.Errorf("resource type %s: it is owned, so its row embeds resource.Owned", t.Name)
	}
	if f, ok := t.Field(t.Follows); t.Follows != "" && (!t.Owned || !ok || f.Kind != String) {
		return fmt.Errorf("resource type %s: it follows %s, so it is owned and has this field", t.Name, t.Follows)
	}
	for name, column := range t.Anywhere {
		if _, ok := t.Field(column); !ok || t.Follows == "" || !strings.HasPrefix(name, "__") {
			return fmt.Errorf("resource type %s: %s stands for %s in queries of every type, so its rows follow others, have this field, and the name begins with __", t.Name, name, column)
		}
	}
	if t.OwnedBy != "" && t.Owned {
		return fmt.Errorf("resource type %s: it has an owner of its own, so it is not owned by its %s", t.Name, t.OwnedBy)
	}
	if t.Parent != "" && t.DiscriminatorValue == "" {
		return fmt.Errorf("resource type %s: a subtype of %s needs a discriminator value", t.Name, t.Parent)
	}
	if t.Path != "" && (!strings.HasPrefix(t.Path, "/") || strings.HasSuffix(t.Path, "/")) {
		return fmt.Errorf("resource type %s: path %q begins with a slash and does not end with one", t.Name, t.Path)
	}
	if t.States != nil {
		if f, ok := t.Field(t.States.Column); !ok || f.Kind != String {
			return fmt.Errorf("resource type %s: state column %q is no string field", t.Name, t.States.Column)
		}
	}
	for _, ix := range t.Indexes {
		if len(ix.Columns) < 2 {
			return fmt.Errorf("resource type %s: an index over one column is declared on the field", t.Name)
		}
		for _, c := range ix.Columns {
			if f, ok := t.Field(c); !ok || f.Kind == Text {
				return fmt.Errorf("resource type %s: index over %v: %s is no field that can be indexed", t.Name, ix.Columns, c)
			}
		}
	}
	return nil
}
