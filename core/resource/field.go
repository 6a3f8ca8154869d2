package resource

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Kind is the kind of values that a field holds.
type Kind int

// The kinds of fields, with the Go types of rows that hold them.
const (
	// String is text of at most Field.Size characters (Go: string).
	String Kind = iota
	// Text is text of any length; it cannot be indexed (Go: string, tag "text").
	Text
	// Int is a 32-bit number (Go: int, int32).
	Int
	// Long is a 64-bit number, such as a size in bytes (Go: int64).
	Long
	// Bool is true or false (Go: bool).
	Bool
	// Double is a 64-bit floating point number (Go: float64).
	Double
	// TimeKind is an instant in milliseconds (Go: resource.Time).
	TimeKind
)

var kindNames = [...]string{"string", "text", "int", "long", "bool", "double", "time"}

// String returns the kind's name in lower case, as plugins write it.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// Field is one column of a type and one member of its inventory.
type Field struct {
	// Name is the wire name and the column name.
	Name string
	// Kind is the kind of values.
	Kind Kind
	// Size is the largest number of characters of a String; default 255, or 32
	// for names that end in "uuid" or "Uuid".
	Size int
	// Null: the zero value is stored as NULL and left out of the inventory.
	Null bool
	// Secret: never rendered, never queryable, never logged (a password), and
	// sealed in the database; a Text.
	Secret bool
	// Hidden: never rendered, never queryable (internal bookkeeping).
	Hidden bool
	// Index asks for an index, Unique for a unique one (NULLs do not clash).
	Index, Unique bool
	// Immutable: not changed after the row has been made.
	Immutable bool
	// Volatile: it changes so often, as free capacity does, that what was read
	// of the other fields stays valid when it changes.
	Volatile bool
	// Holds is the kind of the text (kinds.All). Messages check what they write
	// by their own declarations; rows that do not fit are told of by the doctor.
	Holds string
	// Values lists the legal values; empty = any.
	Values []string
	// Default is what old rows get when the column is added; text of the kind.
	Default string
	// Doc says what the field means.
	Doc string
	// Caption is what people call it; see View.
	Caption Caption
	// Ref is the type whose uuid the field holds, when no edge says it; RefBy
	// names the field that holds the name of that type.
	Ref, RefBy string
	// Unit and Format say how a value is read and written where its name and
	// kind do not tell: "seconds", "cidr".
	Unit, Format string
	// Range has the inclusive bounds of numbers; nil for none.
	Range *[2]int64
}

// IsUUID reports whether the field holds a resource's uuid. Such columns
// compare byte by byte, all other text case-insensitively.
func (f *Field) IsUUID() bool {
	return f.Kind == String && f.Size == 32 && (f.Name == "uuid" || strings.HasSuffix(f.Name, "Uuid"))
}

// Sealed reports whether the database has the field sealed, so that who has the
// database alone cannot read it. A secret uuid is what rows are found by.
func (f *Field) Sealed() bool { return f.Secret && f.Name != "uuid" }

// Visible reports whether clients may see and query the field.
func (f *Field) Visible() bool { return !f.Secret && !f.Hidden }

// limits of what both databases can do.
const (
	maxString    = 4096 // above it, use Text: MySQL rows hold at most 65535 bytes outside of TEXT
	maxIndexed   = 512  // 4 bytes a character, InnoDB keys hold 3072 bytes
	maxNameBytes = 60   // MySQL identifiers hold 64
)

func (f *Field) check() error {
	if err := checkName(f.Name); err != nil {
		return fmt.Errorf("field %q: %w", f.Name, err)
	}
	if f.Kind < String || f.Kind > TimeKind {
		return fmt.Errorf("field %s: unknown kind %d", f.Name, int(f.Kind))
	}
	if f.Kind == String && (f.Size < 1 || f.Size > maxString) {
		return fmt.Errorf("field %s: size %d is outside 1..%d; use text for longer values", f.Name, f.Size, maxString)
	}
	if f.Sealed() && (f.Kind != Text || f.Default != "") {
		return fmt.Errorf("field %s: a secret is text without a default, as it is stored sealed", f.Name)
	}
	if _, ok := kinds.Of(f.Holds); f.Holds != "" && (!ok || f.Kind != String && f.Kind != Text) {
		return fmt.Errorf("field %s: it holds %q, which is no kind of text (pluginsdk/kinds)", f.Name, f.Holds)
	}
	if (f.Index || f.Unique) && (f.Kind == Text || f.Kind == String && f.Size > maxIndexed) {
		return fmt.Errorf("field %s: an indexed string holds at most %d characters", f.Name, maxIndexed)
	}
	if f.Default != "" {
		if err := f.checkDefault(); err != nil {
			return fmt.Errorf("field %s: default %q: %w", f.Name, f.Default, err)
		}
	}
	return nil
}

func (f *Field) checkDefault() (err error) {
	switch f.Kind {
	case Int, Long, TimeKind:
		_, err = strconv.ParseInt(f.Default, 10, 64)
	case Double:
		_, err = strconv.ParseFloat(f.Default, 64)
	case Bool:
		_, err = strconv.ParseBool(f.Default)
	default:
		if strings.ContainsAny(f.Default, "\\\n;") {
			err = fmt.Errorf("a default has no backslash, semicolon or line break")
		}
	}
	return err
}

// checkName accepts what is a plain identifier in SQL, JSON and URLs.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("a name has 1 to %d characters", maxNameBytes)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return fmt.Errorf("a name is letters and digits and begins with a letter")
		}
	}
	return nil
}

// setDefaults fills what a declaration may leave out.
func (f *Field) setDefaults() {
	if f.Kind == String && f.Size == 0 {
		f.Size = 255
		if f.Name == "uuid" || strings.HasSuffix(f.Name, "Uuid") {
			f.Size = 32
		}
	}
}

// parseTag reads a kumo tag: comma-separated size=N, null, secret, hidden,
// index, unique, immutable, text, values=a|b, default=x, ref=Type, refby=field,
// unit=x, format=x, holds=kind, range=LOW:HIGH, and doc=..., which is last and may contain
// commas.
func (f *Field) parseTag(tag string) error {
	for tag != "" {
		if doc, ok := strings.CutPrefix(tag, "doc="); ok {
			f.Doc = doc
			return nil
		}
		var item string
		item, tag, _ = strings.Cut(tag, ",")
		key, value, hasValue := strings.Cut(item, "=")
		switch {
		case key == "size" && hasValue:
			n, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("size=%s: %w", value, err)
			}
			f.Size = n
		case key == "values" && hasValue:
			f.Values = strings.Split(value, "|")
		case key == "default" && hasValue:
			f.Default = value
		case key == "range" && hasValue:
			f.Range = &[2]int64{}
			if _, err := fmt.Sscanf(value, "%d:%d", &f.Range[0], &f.Range[1]); err != nil {
				return fmt.Errorf("range=%s is not LOW:HIGH: %w", value, err)
			}
		case hasValue && f.setWord(key, value):
		case !hasValue && f.setFlag(key):
		default:
			return fmt.Errorf("unknown tag item %q", item)
		}
	}
	return nil
}

func (f *Field) setWord(key, value string) bool {
	switch key {
	case "ref":
		f.Ref = value
	case "holds":
		f.Holds = value
	case "refby":
		f.RefBy = value
	case "unit":
		f.Unit = value
	case "format":
		f.Format = value
	default:
		return false
	}
	return true
}

func (f *Field) setFlag(name string) bool {
	switch name {
	case "null":
		f.Null = true
	case "secret":
		f.Secret = true
	case "hidden":
		f.Hidden = true
	case "index":
		f.Index = true
	case "unique":
		f.Unique = true
	case "immutable":
		f.Immutable = true
	case "volatile":
		f.Volatile = true
	case "text":
		f.Kind = Text
	default:
		return false
	}
	return true
}

var timeType = reflect.TypeFor[Time]()

// kindOf returns the kind that a Go type of a row's field holds.
func kindOf(t reflect.Type) (Kind, bool) {
	if t == timeType {
		return TimeKind, true
	}
	switch t.Kind() {
	case reflect.String:
		return String, true
	case reflect.Int, reflect.Int32:
		return Int, true
	case reflect.Int64:
		return Long, true
	case reflect.Bool:
		return Bool, true
	case reflect.Float64:
		return Double, true
	}
	return 0, false
}

// IsName tells whether a parameter or field of this name is what people call
// something, which is shown in lists: one line.
func IsName(member string) bool { return member == "name" || strings.HasSuffix(member, "Name") }

// IsProse tells whether a parameter or field of this name has what people write
// for people, in any language: names, descriptions, tags. It is kept composed
// (schemasql.Compose); other texts, such as paths, are kept as they come.
func IsProse(member string) bool {
	return IsName(member) || member == "description" || member == "tag"
}
