package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
		of, _, _ := strings.Cut(strings.Fields(f)[0], ".")
		if shown := doc.Types[of]; shown != nil && shown.Plugin == nil {
			t.Errorf("%s has no caption of its own in both languages: give it one where it is declared (caption:\"English|Chinese\", resource.View)", f)
		}
	}
	if _, _, err := doc.Encode(); err != nil {
		t.Fatal(err)
	}
	doc.Revision = "" // changes with every line below
	golden(t, "schema.golden.json", pretty(t, doc))
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
