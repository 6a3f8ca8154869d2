package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/schema"
	"github.com/kumo-cloud/kumo/web/api"
)

var update = flag.Bool("update-golden", false, "write the golden files of the schema, of OpenAPI and of the open endpoints anew")

// golden compares a text with the file of that name in testdata, which shows
// each change of what is published in a review.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s differs from line %d on. If the change is meant, run go test ./web/serve -run TestWire -update-golden and look at the difference.\nwant %s\ngot  %s",
				file, i+1, strings.Join(a[min(i, len(a)):min(i+4, len(a))], "\n     "), strings.Join(b[min(i, len(b)):min(i+4, len(b))], "\n     "))
		}
	}
}

func pretty(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testOpenAPI(t *testing.T, p *parts) {
	text := pretty(t, api.OpenAPI(p.kernel.Actions, p.kernel.Types, "test"))
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("the description of the whole API is not valid: %v", err)
	}
	golden(t, "openapi.golden.json", text)
}

func testSchema(t *testing.T, p *parts) {
	doc, fell := schema.Build(newDescriber(p.kernel, "test").input())
	for _, f := range fell {
		t.Errorf("%s has no caption of its own in both languages: give it one where it is declared (caption:\"English|Chinese\", resource.View, action.View, the plugin's manifest), or in the vocabulary of core/schema", f)
	}
	checkReferences(t, doc)
	if _, _, err := doc.Encode(); err != nil {
		t.Fatal(err)
	}
	doc.Revision = "" // changes with every line below
	golden(t, "schema.golden.json", pretty(t, doc))
}

// checkReferences looks for what conditions, candidates and undos name.
func checkReferences(t *testing.T, doc *schema.Document) {
	has := func(name, field string) bool {
		for of := doc.Types[name]; of != nil; {
			if slices.ContainsFunc(of.Fields, func(f schema.Field) bool { return f.Name == field }) {
				return true
			}
			if of.Parent == nil {
				break
			}
			of = doc.Types[*of.Parent]
		}
		return false
	}
	condition := regexp.MustCompile(`^(\w+)(\?=|!=|=)(\$?)([\w.]+)$`)
	for message, a := range doc.Actions {
		for _, w := range a.When {
			if a.Type == nil || !has(*a.Type, w.Field) || len(w.In) == 0 && w.Is == "" {
				t.Errorf("%s: its condition on %s asks for nothing that its type has", message, w.Field)
			}
		}
		if a.Undo != nil && doc.Actions[*a.Undo] == nil {
			t.Errorf("%s: its undo %s is not there", message, *a.Undo)
		}
		param := func(name string) bool {
			return name == "subject" || slices.ContainsFunc(a.Params, func(p schema.Param) bool { return p.Name == name })
		}
		for _, p := range a.Params {
			if p.Candidates != nil && doc.Actions[p.Candidates.Message] == nil {
				t.Errorf("%s.%s: its candidates' message %s is not there", message, p.Name, p.Candidates.Message)
			}
			if p.ShowIf != nil && !param(p.ShowIf.Param) {
				t.Errorf("%s.%s: it is shown if %s, which is no parameter", message, p.Name, p.ShowIf.Param)
			}
			for _, where := range p.RefWhere {
				m := condition.FindStringSubmatch(where)
				if m == nil || p.Ref == nil || !has(*p.Ref, m[1]) || m[3] == "$" && !param(m[4]) {
					t.Errorf("%s.%s: the condition %q is none on what it refers to", message, p.Name, where)
				}
			}
		}
	}
}

// testOpenEndpoints keeps the list of what needs no login.
func testOpenEndpoints(t *testing.T, p *parts) {
	var b strings.Builder
	for _, a := range p.kernel.Actions.All() {
		if a.Access == action.Anonymous {
			for _, path := range a.Paths() {
				fmt.Fprintf(&b, "%s %s %s\n", a.Message, a.Method, path)
			}
		}
	}
	golden(t, "open-endpoints.txt", []byte(b.String()))
}
