package action

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// field is a parameter with the place of its value and how to read it.
type field struct {
	Param
	index   []int // in the parameter struct; nil for dynamic ones
	kind    kind
	elem    kind // of lists and maps
	pointer bool
	holds   *kinds.Kind  // of Holds
	first   bool         // its default is the first of the values that come with the action
	typ     reflect.Type // without the pointer
	members []field      // of each element of a list of objects that was declared at run time
}

type kind int

const (
	kindText kind = iota
	kindInt
	kindFloat
	kindBool
	kindList
	kindMap
	kindOther // read by encoding/json
)

// fieldsOf reads the tags of a parameter struct, once for each action.
func fieldsOf(t reflect.Type) ([]field, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("parameters must be a struct, not %s", t)
	}
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("api")
		if sf.Anonymous && !tagged {
			inner, err := fieldsOf(sf.Type)
			if err != nil {
				return nil, err
			}
			for _, f := range inner {
				f.index = append([]int{i}, f.index...)
				out = append(out, f)
			}
			continue
		}
		if !tagged || tag == "-" {
			continue
		}
		if !sf.IsExported() {
			return nil, fmt.Errorf("field %s has an api tag but is not exported", sf.Name)
		}
		f, err := parseTag(tag)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		f.index, f.Doc = []int{i}, sf.Tag.Get("doc")
		f.View.Caption, f.View.Candidates = resource.ParseCaption(sf.Tag.Get("caption")), sf.Tag.Get("candidates")
		f.View.Where = strings.Fields(sf.Tag.Get("where"))
		f.setType(sf.Type)
		if err := f.setHolds(); err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		if err := f.checkDefault(); err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// offer gives a parameter the values that are known only now.
func (f *field) offer(values []resource.Value) {
	for _, v := range values {
		f.Values = append(f.Values, v.Name)
		if !v.Caption.IsZero() {
			if f.Captions == nil {
				f.Captions = map[string]resource.Caption{}
			}
			f.Captions[v.Name] = v.Caption
		}
	}
	if len(values) > 0 && f.first {
		f.Default = values[0].Name
	}
}

func parseTag(tag string) (field, error) {
	parts := strings.Split(tag, ",")
	f := field{Param: Param{Name: parts[0]}}
	if f.Name == "" {
		return f, fmt.Errorf("the api tag has no name")
	}
	for _, o := range parts[1:] {
		key, val, _ := strings.Cut(o, "=")
		if err := f.option(key, val); err != nil {
			return f, fmt.Errorf("api tag %q: %w", tag, err)
		}
	}
	return f, nil
}

func (f *field) option(key, val string) (err error) {
	switch key {
	case "required":
		f.Required = true
	case "path":
		f.In = "path"
	case "nonempty":
		f.NonEmpty = true
	case "noempty":
		f.NoEmptyString = true
	case "secret":
		f.Secret = true
	case "notrim":
		f.NoTrim = true
	case "missingok":
		f.MissingOK = true
	case "anytype":
		f.AnyType = true
	case "write":
		f.Write = true
	case "use":
		f.Use = true
	case "min":
		f.MinLength, err = strconv.Atoi(val)
	case "max":
		f.MaxLength, err = strconv.Atoi(val)
	case "most":
		f.Most, err = strconv.Atoi(val)
	case "values":
		f.Values = strings.Split(val, "|")
	case "first":
		f.first = true
	case "default":
		f.Default = val
	case "resource":
		f.Resource = val
	case "holds":
		f.Holds = val
	case "range":
		lo, hi, ok := strings.Cut(val, ":")
		if !ok {
			return fmt.Errorf("range %q is not LOW:HIGH", val)
		}
		var r [2]int64
		if r[0], err = strconv.ParseInt(lo, 10, 64); err != nil {
			return err
		}
		if r[1], err = strconv.ParseInt(hi, 10, 64); err != nil {
			return err
		}
		f.Range = &r
	default:
		if !f.View.option(key, val) {
			return fmt.Errorf("unknown option %q", key)
		}
	}
	return err
}

func (f *field) setType(t reflect.Type) {
	f.goType = t
	if t.Kind() == reflect.Pointer {
		f.pointer, t = true, t.Elem()
	}
	f.typ = t
	f.kind = kindOf(t)
	if f.kind == kindList || f.kind == kindMap {
		f.elem = kindOf(t.Elem())
	}
	f.Type = TypeWord(f.goType)
}

// setHolds looks up the kind of values.
func (f *field) setHolds() error {
	if f.Holds == "" {
		return nil
	}
	k, ok := kinds.Of(f.Holds)
	if !ok || f.kind != kindText && (f.kind != kindList || f.elem != kindText) {
		return fmt.Errorf("it holds %q, which is no kind of text (pluginsdk/kinds)", f.Holds)
	}
	f.holds = &k
	return nil
}

func kindOf(t reflect.Type) kind {
	switch t.Kind() {
	case reflect.String:
		return kindText
	case reflect.Int, reflect.Int32, reflect.Int64:
		return kindInt
	case reflect.Float64:
		return kindFloat
	case reflect.Bool:
		return kindBool
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // json.RawMessage, []byte
			return kindOther
		}
		return kindList
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return kindMap
		}
	}
	return kindOther
}

// TypeWord names a Go type as the catalogue does.
func TypeWord(t reflect.Type) string {
	opt := ""
	if t.Kind() == reflect.Pointer {
		opt, t = "?", t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int32:
		return "int" + opt
	case reflect.Int64:
		return "long" + opt
	case reflect.Float64:
		return "double" + opt
	case reflect.Bool:
		return "bool" + opt
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "any"
		}
		return "[]" + TypeWord(t.Elem())
	case reflect.Map:
		return "map<" + TypeWord(t.Elem()) + ">"
	case reflect.Interface:
		return "any"
	}
	return t.Name()
}

// dynamicTypes are the types that a plugin may declare for a parameter.
var dynamicTypes = map[string]reflect.Type{
	"string": reflect.TypeFor[string](), "int": reflect.TypeFor[int64](), "long": reflect.TypeFor[int64](),
	"bool": reflect.TypeFor[bool](), "double": reflect.TypeFor[float64](),
	"[]string": reflect.TypeFor[[]string](), "map<string>": reflect.TypeFor[map[string]string](),
}

// Objects is the type word of a list of objects with Param.Members.
const Objects = "[]object"

func dynamicFields(params []Param) ([]field, error) {
	out := make([]field, 0, len(params))
	for _, p := range params {
		if p.Name == "" {
			return nil, fmt.Errorf("a parameter has no name")
		}
		f := field{Param: p}
		if p.Type == Objects {
			if err := f.setMembers(); err != nil {
				return nil, fmt.Errorf("parameter %q: %w", p.Name, err)
			}
			out = append(out, f)
			continue
		}
		t, ok := dynamicTypes[strings.TrimSuffix(p.Type, "?")]
		if !ok {
			return nil, fmt.Errorf("parameter %q has unknown type %q (want string, int, long, bool, double, []string, map<string> or %s)", p.Name, p.Type, Objects)
		}
		f.setType(t)
		f.Type = p.Type
		if err := f.setHolds(); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", p.Name, err)
		}
		if err := f.checkDefault(); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", p.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// setMembers makes a list of objects of Param.Members: its elements are structs of a
// type made here, so that everything else treats them as those of a handler in Go.
func (f *field) setMembers() error {
	members, err := dynamicFields(f.Members)
	if err != nil {
		return err
	}
	fields := make([]reflect.StructField, len(members))
	for i, m := range members {
		t := m.typ
		if m.kind != kindText && m.kind != kindList {
			t = reflect.PointerTo(t) // nil: not given
		}
		c := m.View.Caption
		fields[i] = reflect.StructField{Name: strings.ToUpper(m.Name[:1]) + m.Name[1:], Type: t,
			Tag: reflect.StructTag("json:" + strconv.Quote(m.Name) + " caption:" + strconv.Quote(c.En+"|"+c.Zh) + " doc:" + strconv.Quote(m.Doc))}
		members[i].index = []int{i}
		members[i].setType(t)
	}
	f.setType(reflect.SliceOf(reflect.StructOf(fields)))
	f.Type, f.members = Objects, members
	return nil
}

// object reads the members of an object.
func (f *field) object(dst reflect.Value, raw json.RawMessage) error {
	var in Input
	if err := json.Unmarshal(raw, &in.Body); err != nil {
		return fmt.Errorf("a list of objects is wanted")
	}
	for i := range f.members {
		m := &f.members[i]
		if _, err := m.decodeInto(dst.FieldByIndex(m.index), &in); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// ObjectsOf are the objects of a parameter of the type Objects, as handlers get it:
// the members that were given, by name, as string, int64, bool, float64 or []string.
func (a *Action) ObjectsOf(name string, value any) []map[string]any {
	i := slices.IndexFunc(a.fields, func(f field) bool { return f.Name == name && f.members != nil })
	list := reflect.ValueOf(value)
	if i < 0 || list.Kind() != reflect.Slice {
		return nil
	}
	all := make([]map[string]any, list.Len())
	for n := range all {
		all[n] = map[string]any{}
		for j := range a.fields[i].members {
			m := &a.fields[i].members[j]
			if v, given := m.value(list.Index(n)); given {
				all[n][m.Name] = v.Interface()
			}
		}
	}
	return all
}

// checkDefault finds a default that could not be read as the parameter's type.
func (f *field) checkDefault() error {
	if f.Default == "" {
		return nil
	}
	v := reflect.New(f.typ).Elem()
	if err := f.fromTexts(v, []string{f.Default}); err != nil {
		return fmt.Errorf("default %q: %w", f.Default, err)
	}
	if f.holds != nil {
		if _, err := f.holds.Parse(f.Default); err != nil {
			return fmt.Errorf("default: %w", err)
		}
	}
	return nil
}
