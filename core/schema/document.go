package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kumo-cloud/kumo/core/resource"
)

// Version is that of the document's shape; a client refuses a greater one.
const Version = 1

// Document is what GET /zstack/v1/schema answers. A member that has no value
// is null, and a list is never null.
type Document struct {
	Version  int                `json:"version"`
	Revision string             `json:"revision"`
	Server   Server             `json:"server"`
	Groups   []Group            `json:"groups"`
	Enums    map[string][]Value `json:"enums"`
	Types    map[string]*Type   `json:"types"`
	Actions  map[string]*Action `json:"actions"`
	Settings []Setting          `json:"settings"`
	Plugins  map[string]Plugin  `json:"plugins"`
}

// Server names the software.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Group is a part of the navigation.
type Group struct {
	Name    string           `json:"name"`
	Caption resource.Caption `json:"caption"`
	Icon    string           `json:"icon"`
	Order   int              `json:"order"`
}

// Value is one of an enum.
type Value struct {
	Value     string           `json:"value"`
	Caption   resource.Caption `json:"caption"`
	Tone      string           `json:"tone,omitempty"`
	Transient bool             `json:"transient,omitempty"`
}

// Type is a resource type. Fields, edges and embeds of a subtype are those that
// it has beyond its parent's.
type Type struct {
	Plugin             *string           `json:"plugin"`
	Dormant            bool              `json:"dormant"`
	Parent             *string           `json:"parent"`
	Discriminator      *string           `json:"discriminator"`
	DiscriminatorValue *string           `json:"discriminatorValue"`
	Subtypes           []string          `json:"subtypes"`
	Path               *string           `json:"path"`
	ZQL                string            `json:"zql"`
	Noun               string            `json:"noun"`
	NounPlural         string            `json:"nounPlural"`
	Aliases            []string          `json:"aliases"`
	Caption            resource.Caption  `json:"caption"`
	CaptionPlural      resource.Caption  `json:"captionPlural"`
	Doc                *resource.Caption `json:"doc"`
	Group              *string           `json:"group"`
	Order              int               `json:"order"`
	Icon               *string           `json:"icon"`
	Part               bool              `json:"part"`
	Readable           string            `json:"readable"`
	OwnedBy            *string           `json:"ownedBy"`
	Label              string            `json:"label"`
	Context            []string          `json:"context"`
	States             []State           `json:"states"`
	Search             []Search          `json:"search"`
	Fields             []Field           `json:"fields"`
	Edges              []Edge            `json:"edges"`
	Embeds             []Embed           `json:"embeds"`
	Columns            []Column          `json:"columns"`
	Sections           []Section         `json:"sections,omitempty"`
	Tags               []Tag             `json:"tags"`
	Create             []string          `json:"create"`
	Update             *string           `json:"update"`
	Delete             *string           `json:"delete"`
	Recover            *string           `json:"recover"`
	Actions            []string          `json:"actions"`
	Quotas             []string          `json:"quotas"`
}

// State is a field with the moves that are legal; the first is the type's.
type State struct {
	Field string                       `json:"field"`
	Enum  string                       `json:"enum"`
	Moves map[string]map[string]string `json:"moves"`
}

// Search is a field that free text of a shape is looked for in.
type Search struct {
	Field string `json:"field"`
	Shape string `json:"shape,omitempty"`
}

// Shape is what fields and parameters have in common.
type Shape struct {
	Name    string            `json:"name"`
	Kind    string            `json:"kind"`
	Item    *Shape            `json:"item,omitempty"`
	Fields  []Shape           `json:"fields,omitempty"`
	Caption *resource.Caption `json:"caption,omitempty"`
	Doc     *resource.Caption `json:"doc"`
	Ref     *string           `json:"ref"`
	RefBy   *string           `json:"refBy,omitempty"`
	// Required: of a field, it is never absent; of a parameter, it must be given.
	Required bool `json:"required"`
	Secret   bool `json:"secret"`
	// Holds is the kind of a text (pluginsdk/kinds), such as "addr4".
	Holds     *string `json:"holds,omitempty"`
	Enum      *string `json:"enum"`
	Default   any     `json:"default"`
	MaxLength *int    `json:"maxLength"`
	Min       *int64  `json:"min"`
	Max       *int64  `json:"max"`
	Unit      *string `json:"unit"`
	Format    *string `json:"format"`
}

// Field is a member of an inventory.
type Field struct {
	Shape
	Immutable bool     `json:"immutable"`
	Null      bool     `json:"null"`
	Ops       []string `json:"ops"`
	Sort      bool     `json:"sort"`
}

// Edge is a relation to another type. OnDelete is what becomes of this type's
// rows when the row they point to is deleted.
type Edge struct {
	Name     string           `json:"name"`
	To       string           `json:"to"`
	Column   string           `json:"column"`
	ToColumn string           `json:"toColumn"`
	Many     bool             `json:"many"`
	Inverse  *string          `json:"inverse"`
	OnDelete string           `json:"onDelete"`
	Caption  resource.Caption `json:"caption"`
	Hidden   bool             `json:"hidden"`
}

// Embed is a list inside of the inventory; Scalar is the one field it shows.
type Embed struct {
	Name    string           `json:"name"`
	Type    string           `json:"type"`
	Scalar  *string          `json:"scalar"`
	Caption resource.Caption `json:"caption"`
}

// Column is one of a list.
type Column struct {
	Field   string            `json:"field"`
	Caption *resource.Caption `json:"caption,omitempty"`
	Default *bool             `json:"default,omitempty"`
	As      string            `json:"as,omitempty"`
	Total   string            `json:"total,omitempty"`
}

// Section is a group of fields of the overview.
type Section struct {
	Caption resource.Caption `json:"caption"`
	Fields  []string         `json:"fields"`
}

// Tag is a system tag that may be set, as a field.
type Tag struct {
	Pattern string           `json:"pattern"`
	Caption resource.Caption `json:"caption"`
	When    string           `json:"when"`
	Params  []Param          `json:"params"`
}

// Action is an API message that is no query.
type Action struct {
	Type        *string           `json:"type"`
	Verb        string            `json:"verb"`
	Variant     *string           `json:"variant"`
	Scope       string            `json:"scope"`
	Subject     *string           `json:"subject"`
	Effect      string            `json:"effect"`
	Danger      string            `json:"danger"`
	Bulk        bool              `json:"bulk"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Key         *string           `json:"key"`
	Async       bool              `json:"async"`
	Access      string            `json:"access"`
	Caption     resource.Caption  `json:"caption"`
	Doc         *resource.Caption `json:"doc"`
	Icon        *string           `json:"icon"`
	Group       *string           `json:"group"`
	Order       int               `json:"order"`
	Plugin      *string           `json:"plugin"`
	When        []When            `json:"when"`
	Undo        *string           `json:"undo"`
	Plan        bool              `json:"plan"`
	Cancel      bool              `json:"cancel"`
	Progress    bool              `json:"progress"`
	LongJob     bool              `json:"longJob"`
	Returns     *string           `json:"returns"`
	ReturnsMany bool              `json:"returnsMany"`
	Params      []Param           `json:"params"`
}

// When is a condition on the subject for an action to make sense.
type When struct {
	Field string           `json:"field"`
	Is    string           `json:"is,omitempty"`
	In    []string         `json:"in,omitempty"`
	Why   resource.Caption `json:"why"`
}

// Param is a parameter of an action.
type Param struct {
	Shape
	In string `json:"in"`
	// Section is the part of the form.
	Section    *resource.Caption `json:"section"`
	Advanced   bool              `json:"advanced"`
	ShowIf     *ShowIf           `json:"showIf"`
	From       *string           `json:"from"`
	Candidates *Candidates       `json:"candidates,omitempty"`
	RefWhere   []string          `json:"refWhere"`
	Widget     *string           `json:"widget,omitempty"`
}

// ShowIf makes a parameter depend on another's value.
type ShowIf struct {
	Param string   `json:"param"`
	In    []string `json:"in"`
}

// Candidates is the call that lists what a parameter may name.
type Candidates struct {
	Message string            `json:"message"`
	Params  map[string]string `json:"params"`
}

// Setting is a global setting and what may override it.
type Setting struct {
	Category string           `json:"category"`
	Name     string           `json:"name"`
	Caption  resource.Caption `json:"caption"`
	Doc      resource.Caption `json:"doc"`
	Kind     string           `json:"kind"`
	// Holds is the kind of a text; of a secret, clients see stars.
	Holds   *string  `json:"holds,omitempty"`
	Secret  bool     `json:"secret,omitempty"`
	Enum    *string  `json:"enum"`
	Default string   `json:"default"`
	On      []string `json:"on"`
	Unit    *string  `json:"unit"`
	Min     *float64 `json:"min"`
	Max     *float64 `json:"max"`
	// Values become an enum named category.name, with the captions that are there.
	Values   []string                    `json:"-"`
	Captions map[string]resource.Caption `json:"-"`
}

// Plugin is a plugin that is enabled, or whose types are dormant.
type Plugin struct {
	Version string           `json:"version"`
	Caption resource.Caption `json:"caption"`
	State   string           `json:"state"`
}

// Encode returns the document as JSON and its revision, which is the ETag: it
// depends on all that the document says and on nothing else.
func (d *Document) Encode() (text []byte, revision string, err error) {
	d.Revision = ""
	b, err := json.Marshal(d)
	if err != nil {
		return nil, "", fmt.Errorf("write the schema: %w", err)
	}
	sum := sha256.Sum256(b)
	d.Revision = hex.EncodeToString(sum[:12])
	text, err = json.Marshal(d)
	return text, d.Revision, err
}
