package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// Input is the parameters of a request before they are typed. URL variables
// override what body or query say.
type Input struct {
	// Body has the fields under the body key (POST, PUT), else nil.
	Body map[string]json.RawMessage
	// Query has the query parameters (GET, DELETE), else nil.
	Query url.Values
	// Path has the URL variables, in pairs of name and value.
	Path []string
	// SystemTags and UserTags were given at the top level of the body; they win
	// over those in Body when not nil.
	SystemTags, UserTags []string
}

// base are the parameters that every message may carry.
type base struct {
	systemTags, userTags     []string
	resourceUUID, deleteMode string
	missing                  string // the first required parameter not given
}

// decode reads the parameters. Errors are *HTTPError 400: the request is
// malformed.
func (a *Action) decode(in *Input) (any, base, error) {
	v := a.newP()
	p := v.Elem()
	missing := ""
	for i := range a.fields {
		f := &a.fields[i]
		var err error
		var given bool
		if p.Kind() == reflect.Struct {
			given, err = f.decodeInto(p.FieldByIndex(f.index), in)
		} else {
			given, err = f.decodeDynamic(p, in)
		}
		if f.Required && !given && missing == "" {
			missing = f.Name
		}
		if err != nil {
			return nil, base{}, HTTPErrorf(http.StatusBadRequest, "parameter %s: %v", f.Name, err)
		}
	}
	b, err := in.base()
	if err != nil {
		return nil, base{}, err
	}
	b.missing = missing
	return v.Interface(), b, nil
}

// decodeDynamic puts a value that was given, or its default, in the map p.
func (f *field) decodeDynamic(p reflect.Value, in *Input) (bool, error) {
	v := reflect.New(f.typ).Elem()
	given, err := f.read(v, in)
	if err != nil {
		return false, err
	}
	if !given && f.Default != "" {
		given, err = true, f.fromTexts(v, []string{f.Default})
	}
	if given && err == nil {
		p.SetMapIndex(reflect.ValueOf(f.Name), v)
	}
	return given, err
}

func (f *field) decodeInto(dst reflect.Value, in *Input) (bool, error) {
	target := dst
	if f.pointer {
		target = reflect.New(f.typ).Elem()
	}
	given, err := f.read(target, in)
	if err != nil {
		return false, err
	}
	if !given && f.Default != "" {
		if err := f.fromTexts(target, []string{f.Default}); err != nil {
			return false, err
		}
		given = true
	}
	if given && f.pointer {
		dst.Set(target.Addr())
	}
	return given, nil
}

// read takes the value from the URL, else the body, else the query.
func (f *field) read(dst reflect.Value, in *Input) (given bool, err error) {
	for i := 0; i+1 < len(in.Path); i += 2 {
		if in.Path[i] == f.Name {
			return true, f.fromTexts(dst, []string{in.Path[i+1]})
		}
	}
	if raw, ok := in.Body[f.Name]; ok {
		if isNull(raw) {
			return false, nil
		}
		return true, f.fromJSON(dst, raw)
	}
	if in.Query == nil {
		return false, nil
	}
	if f.kind == kindMap {
		return f.mapFromQuery(dst, in.Query)
	}
	texts := queryTexts(in.Query, f.Name)
	if texts == nil {
		return false, nil
	}
	return true, f.fromTexts(dst, texts)
}

// queryTexts returns the values of a=1&a=2 and a.0=1&a.1=2, nil for none.
// Indexes must start at 0 and leave no gap; what follows a gap is ignored.
func queryTexts(q url.Values, name string) []string {
	texts := q[name]
	for i := 0; ; i++ {
		v, ok := q[name+"."+strconv.Itoa(i)]
		if !ok {
			return texts
		}
		texts = append(slices.Clip(texts), v...)
	}
}

func (f *field) mapFromQuery(dst reflect.Value, q url.Values) (bool, error) {
	prefix := f.Name + "."
	given := false
	for k, texts := range q {
		key, ok := strings.CutPrefix(k, prefix)
		if !ok || key == "" {
			continue
		}
		if !given {
			dst.Set(reflect.MakeMap(f.typ))
			given = true
		}
		v := reflect.New(f.typ.Elem()).Elem()
		ef := field{Param: Param{Name: k, NoTrim: f.NoTrim}}
		ef.setType(f.typ.Elem())
		if err := ef.fromTexts(v, texts); err != nil {
			return false, err
		}
		dst.SetMapIndex(reflect.ValueOf(key).Convert(f.typ.Key()), v)
	}
	return given, nil
}

// fromTexts reads a value of the URL.
func (f *field) fromTexts(dst reflect.Value, texts []string) error {
	if f.kind == kindList {
		out := reflect.MakeSlice(f.typ, len(texts), len(texts))
		for i, t := range texts {
			if err := scalarFromText(out.Index(i), f.elem, t, f.NoTrim); err != nil {
				return err
			}
		}
		dst.Set(out)
		return nil
	}
	if len(texts) != 1 {
		return fmt.Errorf("given %d times, but it takes one value", len(texts))
	}
	return scalarFromText(dst, f.kind, f.spelled(texts[0]), f.NoTrim)
}

// spelled is a text of the parameter in the characters in which it is kept.
func (f *field) spelled(text string) string {
	if resource.IsProse(f.Name) {
		return schemasql.Compose(text)
	}
	return text
}

func scalarFromText(dst reflect.Value, k kind, text string, noTrim bool) error {
	if !noTrim {
		text = strings.TrimSpace(text)
	}
	switch k {
	case kindText:
		dst.SetString(text)
	case kindInt:
		n, err := parseInt(text)
		if err != nil {
			return err
		}
		if dst.OverflowInt(n) {
			return fmt.Errorf("%s is out of range", text)
		}
		dst.SetInt(n)
	case kindFloat:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		dst.SetFloat(n)
	case kindBool:
		switch {
		case strings.EqualFold(text, "true"):
			dst.SetBool(true)
		case strings.EqualFold(text, "false"):
			dst.SetBool(false)
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case kindList, kindMap, kindOther:
		return decodeJSON([]byte(text), dst)
	}
	return nil
}

// parseInt reads an integral number: "5", "5.0" and "5e3" are, "5.5" is not.
func parseInt(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) >= 1<<63 {
		return 0, fmt.Errorf("%q is not a whole number of 64 bits", text)
	}
	return int64(x), nil
}

// fromJSON reads a value of the body, as leniently as clients need it: numbers
// and booleans may come as strings, strings as numbers or booleans.
func (f *field) fromJSON(dst reflect.Value, raw json.RawMessage) error {
	switch f.kind {
	case kindList:
		if f.members == nil && (f.elem == kindOther || f.elem == kindMap || f.elem == kindList) {
			return decodeJSON(raw, dst)
		}
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return fmt.Errorf("a list is wanted")
		}
		out := reflect.MakeSlice(f.typ, 0, len(items))
		for _, item := range items {
			if isNull(item) {
				continue
			}
			v := reflect.New(f.typ.Elem()).Elem()
			read := func() error { return scalarFromJSON(v, f.elem, item, f.NoTrim) }
			if f.members != nil {
				read = func() error { return f.object(v, item) }
			}
			if err := read(); err != nil {
				return err
			}
			out = reflect.Append(out, v)
		}
		dst.Set(out)
		return nil
	case kindMap:
		return f.mapFromJSON(dst, raw)
	}
	err := scalarFromJSON(dst, f.kind, raw, f.NoTrim)
	if err == nil && f.kind == kindText {
		dst.SetString(f.spelled(dst.String()))
	}
	return err
}

func (f *field) mapFromJSON(dst reflect.Value, raw json.RawMessage) error {
	if f.elem == kindOther || f.elem == kindMap {
		return decodeJSON(raw, dst)
	}
	var items map[string]json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return fmt.Errorf("an object is wanted")
	}
	ef := field{Param: Param{NoTrim: f.NoTrim}}
	ef.setType(f.typ.Elem())
	out := reflect.MakeMapWithSize(f.typ, len(items))
	for k, item := range items {
		if isNull(item) {
			continue
		}
		v := reflect.New(f.typ.Elem()).Elem()
		if err := ef.fromJSON(v, item); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		out.SetMapIndex(reflect.ValueOf(k).Convert(f.typ.Key()), v)
	}
	dst.Set(out)
	return nil
}

func scalarFromJSON(dst reflect.Value, k kind, raw json.RawMessage, noTrim bool) error {
	if k == kindOther {
		return decodeJSON(raw, dst)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return fmt.Errorf("the value is empty")
	}
	switch raw[0] {
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("the text is malformed")
		}
		return scalarFromText(dst, k, s, noTrim)
	case '{', '[':
		return fmt.Errorf("one value is wanted, not a list or object")
	}
	return scalarFromText(dst, k, string(raw), noTrim)
}

func decodeJSON(raw []byte, dst reflect.Value) error {
	if err := json.Unmarshal(raw, dst.Addr().Interface()); err != nil {
		return fmt.Errorf("the JSON does not fit: %w", err)
	}
	return nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// base reads the parameters that all messages share, from either place.
func (in *Input) base() (base, error) {
	b := base{systemTags: trimmed(in.SystemTags), userTags: trimmed(in.UserTags)}
	for name, dst := range map[string]*[]string{"systemTags": &b.systemTags, "userTags": &b.userTags} {
		if *dst != nil {
			continue
		}
		f := textListField(name)
		if _, err := f.read(reflect.ValueOf(dst).Elem(), in); err != nil {
			return b, HTTPErrorf(http.StatusBadRequest, "parameter %s: %v", name, err)
		}
	}
	if raw, ok := in.Body["resourceUuid"]; ok && !isNull(raw) {
		if err := scalarFromJSON(reflect.ValueOf(&b.resourceUUID).Elem(), kindText, raw, false); err != nil {
			return b, HTTPErrorf(http.StatusBadRequest, "parameter resourceUuid: %v", err)
		}
	}
	if v := in.Query["deleteMode"]; len(v) > 0 {
		b.deleteMode = strings.TrimSpace(v[0])
	} else if raw, ok := in.Body["deleteMode"]; ok && !isNull(raw) {
		if err := scalarFromJSON(reflect.ValueOf(&b.deleteMode).Elem(), kindText, raw, false); err != nil {
			return b, HTTPErrorf(http.StatusBadRequest, "parameter deleteMode: %v", err)
		}
	}
	return b, nil
}

// trimmed takes the blanks around tags, as they are taken from parameters: a
// key that comes with its line end is the key. Letters are composed.
func trimmed(texts []string) []string {
	out := slices.Clone(texts)
	for i, t := range out {
		out[i] = schemasql.Compose(strings.TrimSpace(t))
	}
	return out
}

func textListField(name string) *field {
	f := &field{Param: Param{Name: name}}
	f.setType(reflect.TypeFor[[]string]())
	return f
}
