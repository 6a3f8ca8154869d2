package catalog

import "strings"

// Kind is the type of a parameter, which decides how a flag's text is read.
type Kind int

// The kinds. A Size is bytes on the wire, and 512M or 10G on the command line.
const (
	String Kind = iota
	Int
	Size
	Bool
	List
	Map
)

// Param is one parameter of a verb.
type Param struct {
	// Name is the wire's; its flag is made from it.
	Name     string
	Kind     Kind
	Required bool
	// Ref is the noun that the parameter's UUID belongs to: its name is
	// accepted as well.
	Ref string
	// Values are the only texts allowed; empty allows all.
	Values []string
	// Default is sent when the flag is not given; "" sends nothing.
	Default string
	// Secret parameters are read from a file or asked for, never taken from the
	// arguments, which everyone on the machine can read.
	Secret bool
	Doc    string
}

// Flag is the parameter's name on the command line: instanceOfferingUuid is
// instance-offering-uuid.
func (p Param) Flag() string {
	var b strings.Builder
	for i, r := range p.Name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Call is one API message behind a verb. {uuid} in its path is the object that
// the command line names, other variables are parameters.
type Call struct {
	Method, Path, Key string
	Params            []Param
}

// Verb is what can be done with a noun.
type Verb struct {
	Name, Short string
	Aliases     []string
	// Call is what the verb does. With Variants, --kind chooses among these, and
	// the first is the default.
	Call     Call
	Variants []Variant
	// Creates is true for verbs that make a new object and so take no argument.
	Creates bool
	// Uploads is true for verbs that create from a file of this machine, which
	// they take as their argument and whose bytes they send.
	Uploads bool
	// Dangerous verbs ask before they act.
	Dangerous bool
	// UserData adds --user-data FILE.
	UserData bool
}

// Variant is one kind of a noun with a message of its own to create it.
type Variant struct {
	Kind string
	Call Call
}

// Column is a column of the table that "ls" prints.
type Column struct {
	Title string
	// Path of the value in the inventory, such as vmNics.ip.
	Path string
	Size bool
}

// Noun is a resource type.
type Noun struct {
	Name, Plural string
	Aliases      []string
	// Type is the name in queries, Path that of the collection.
	Type, Path string
	Columns    []Column
	Verbs      []Verb
}

// Find returns the noun with this name, alias or type.
func Find(name string) (Noun, bool) {
	for _, n := range Nouns {
		if strings.EqualFold(n.Name, name) || strings.EqualFold(n.Type, name) {
			return n, true
		}
		for _, alias := range n.Aliases {
			if strings.EqualFold(alias, name) {
				return n, true
			}
		}
	}
	return Noun{}, false
}

// Verb returns the noun's verb with this name.
func (n Noun) Verb(name string) (Verb, bool) {
	for _, v := range n.Verbs {
		if v.Name == name {
			return v, true
		}
	}
	return Verb{}, false
}

// CallFor returns the message of a kind; the first when kind is empty.
func (v Verb) CallFor(kind string) (Call, bool) {
	if len(v.Variants) == 0 {
		return v.Call, kind == ""
	}
	for _, variant := range v.Variants {
		if kind == "" || variant.Kind == kind {
			return variant.Call, true
		}
	}
	return Call{}, false
}

// Kinds lists the verb's variants.
func (v Verb) Kinds() []string {
	var out []string
	for _, variant := range v.Variants {
		out = append(out, variant.Kind)
	}
	return out
}

// Params is the union of the parameters of all variants, by name.
func (v Verb) Params() []Param {
	if len(v.Variants) == 0 {
		return v.Call.Params
	}
	var out []Param
	seen := map[string]bool{}
	for _, variant := range v.Variants {
		for _, p := range variant.Call.Params {
			if !seen[p.Name] {
				seen[p.Name] = true
				out = append(out, p)
			}
		}
	}
	return out
}
