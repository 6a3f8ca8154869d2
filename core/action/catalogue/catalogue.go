package catalogue

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
)

//go:embed testdata/catalogue.json
var text []byte

// Param is a parameter as the catalogue knows it.
type Param struct {
	Name, Type, In string
	Required       bool
	MaxLength      int
	MinLength      int
	ValidValues    []string
	NumberRange    []int64
	ResourceType   string
	NonEmpty       bool
	EmptyString    *bool
	SuccessIfGone  bool `json:"successIfResourceNotExisting"`
	Default        any
}

// Endpoint is a message as the catalogue knows it.
type Endpoint struct {
	API, Method, Path string
	OptionalPaths     []string
	Key               string `json:"parameterName"`
	Async             bool
	Access, Base      string
	Query             bool
	Inventory         string
	Params            []Param
	Response          struct {
		Fields []struct{ Name, Type, From string }
		AllTo  string
	}
	SDKOnly bool
}

// Load returns the endpoints by message.
func Load() (map[string]*Endpoint, error) {
	var doc struct{ Endpoints []*Endpoint }
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	out := make(map[string]*Endpoint, len(doc.Endpoints))
	for _, e := range doc.Endpoints {
		out[e.API] = e
	}
	return out, nil
}

// Check fails t for every difference between the registered actions and the
// catalogue. Messages that the catalogue does not have are reported unless
// extra has them: they are additions of this project. So are differences that
// extra has as "message: difference": they are meant.
func Check(t *testing.T, r *action.Registry, extra ...string) {
	t.Helper()
	known, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	matched := 0
	for _, a := range r.All() {
		e, ok := known[a.Message]
		if !ok {
			if !slices.Contains(extra, a.Message) {
				t.Errorf("%s is not in the catalogue; name it as extra if it is an addition", a.Message)
			}
			continue
		}
		matched++
		for _, d := range Compare(e, a) {
			if slices.Contains(extra, a.Message+": "+d) {
				continue // a difference that is meant
			}
			t.Errorf("%s: %s", a.Message, d)
		}
	}
	t.Logf("%d actions match one of the catalogue's %d messages", matched, len(known))
}

// Compare lists how an action differs from its endpoint.
func Compare(e *Endpoint, a *action.Action) []string {
	var out []string
	diff := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			out = append(out, fmt.Sprintf("%s is %v, the catalogue says %v", what, got, want))
		}
	}
	diff("method", a.Method, e.Method)
	out = append(out, comparePaths(e, a)...)
	diff("async", a.Async, e.Async)
	if e.Access != "" {
		diff("access", a.Access.String(), e.Access)
	}
	if e.Query && e.SDKOnly {
		e.Inventory = a.Query + "Inventory" // the SDK does not tell it
	}
	if e.Query {
		diff("inventory", a.Query+"Inventory", e.Inventory)
		return out
	}
	diff("body key", a.Key, e.Key)
	if !e.SDKOnly {
		diff("create message (resourceUuid, tags)", a.Create, e.Base == "APICreateMessage")
	}
	out = append(out, compareParams(e, a)...)
	return append(out, compareResult(e, a)...)
}

// comparePaths wants the catalogue's paths; more are allowed.
func comparePaths(e *Endpoint, a *action.Action) []string {
	var out []string
	have := map[string]bool{}
	for _, p := range a.Paths() {
		have[action.Shape(p)] = true
	}
	for _, p := range append([]string{e.Path}, e.OptionalPaths...) {
		if p != "" && !have[action.Shape(p)] {
			out = append(out, fmt.Sprintf("path %s is missing (it has %v)", p, a.Paths()))
		}
	}
	return out
}

// shared are the parameters that the registry reads for every message.
var shared = map[string]bool{"systemTags": true, "userTags": true, "resourceUuid": true, "tagUuids": true, "deleteMode": true}

func compareParams(e *Endpoint, a *action.Action) []string {
	var out []string
	want := map[string]*Param{}
	for i := range e.Params {
		want[e.Params[i].Name] = &e.Params[i]
	}
	for _, p := range a.Params {
		w, ok := want[p.Name]
		if !ok && shared[p.Name] {
			continue
		}
		if !ok {
			out = append(out, fmt.Sprintf("parameter %s is not in the catalogue", p.Name))
			continue
		}
		for _, d := range compareParam(w, p) {
			out = append(out, "parameter "+p.Name+": "+d)
		}
	}
	for _, w := range e.Params {
		if _, ok := a.Param(w.Name); !ok && w.Required && !(shared[w.Name] && w.In != "path" && e.Base != "APIMessage") {
			out = append(out, fmt.Sprintf("required parameter %s is missing", w.Name))
		}
	}
	return out
}

func compareParam(w *Param, p action.Param) []string {
	var out []string
	diff := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			out = append(out, fmt.Sprintf("%s is %v, the catalogue says %v", what, got, want))
		}
	}
	diff("place", p.In, w.In)
	diff("type", family(p.Type), family(w.Type))
	diff("required", p.Required || p.NonEmpty && !w.Required, w.Required || p.NonEmpty && !w.Required)
	diff("maxLength", p.MaxLength, w.MaxLength)
	if len(w.ValidValues) > 0 || len(p.Values) > 0 {
		diff("values", sorted(p.Values), sorted(w.ValidValues))
	}
	var r []int64
	if p.Range != nil {
		r = []int64{p.Range[0], p.Range[1]}
	}
	if len(w.NumberRange) > 0 {
		diff("range", r, w.NumberRange)
	}
	if want := strings.TrimSuffix(w.ResourceType, "VO"); p.Resource != "" && want != "" && want != "Resource" {
		diff("resource type", p.Resource, want)
	}
	if w.SuccessIfGone && p.Resource != "" {
		diff("success when it is gone", p.MissingOK, true)
	}
	return out
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// family is a type without what JSON does not tell apart: sizes of numbers,
// whether they may be absent, and the names of structures.
func family(t string) string {
	t = strings.TrimSuffix(t, "?")
	switch {
	case strings.HasPrefix(t, "[]"):
		return "[]" + family(t[2:])
	case strings.HasPrefix(t, "map<"):
		return "map"
	case t == "int" || t == "long":
		return "integer"
	case strings.HasPrefix(t, "enum:"), t == "string":
		return "string"
	case t == "bool", t == "double":
		return t
	}
	return "object"
}

func compareResult(e *Endpoint, a *action.Action) []string {
	key := ""
	switch a.ResultType() {
	case reflect.TypeFor[action.Ref]():
		key = "inventory"
	case reflect.TypeFor[action.Refs]():
		key = "inventories"
	case reflect.TypeFor[action.Empty](), nil:
	default:
		return nil // a struct of its own: its test is with its handler
	}
	names := []string{}
	for _, f := range e.Response.Fields {
		names = append(names, f.Name)
	}
	switch {
	case key == "" && (e.Response.AllTo != "" || slices.Contains(names, "inventory")):
		return []string{fmt.Sprintf("it answers {}, the catalogue says %v", names)}
	case key == "inventory" && a.Returns == "" && len(names) == 0:
		return nil // dynamic deletes answer an empty Ref, which is {}
	case key != "" && e.Response.AllTo != key && !slices.Contains(names, key):
		return []string{fmt.Sprintf("it answers %s, the catalogue says %v", key, names)}
	}
	return nil
}
