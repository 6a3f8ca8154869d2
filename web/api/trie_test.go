package api

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/kumo-cloud/kumo/core/action"
)

func tableOf(t testing.TB, patterns ...string) *table {
	t.Helper()
	var actions []*action.Action
	for i, p := range patterns {
		actions = append(actions, &action.Action{Message: fmt.Sprintf("API%dMsg", i), Method: "GET", Path: p})
	}
	m := newMeters(nil)
	return newTable(actions, nil, m.of)
}

func TestMatch(t *testing.T) {
	tab := tableOf(t, "/vm-instances/nics/{uuid}", "/vm-instances/{uuid}/iso", "/vm-instances/{vmUuid}", "/vm-instances", "/a/{x}/b/{y}", "/a/{x}/{z}/c", "/a/lit/b/d")
	for path, want := range map[string]string{
		"/vm-instances":          "/vm-instances []",
		"//vm-instances//":       "/vm-instances []",
		"/vm-instances/u":        "/vm-instances/{} [u]",
		"/vm-instances/nics":     "/vm-instances/{} [nics]",
		"/vm-instances/nics/u":   "/vm-instances/nics/{} [u]",
		"/vm-instances/nics/is":  "/vm-instances/nics/{} [is]",
		"/vm-instances/u/iso":    "/vm-instances/{}/iso [u]",
		"/vm-instances/u/x":      "none",
		"/a/1/b/2":               "/a/{}/b/{} [1 2]",
		"/a/1/b/c":               "/a/{}/b/{} [1 c]",
		"/a/1/2/c":               "/a/{}/{}/c [1 2]",
		"/a/lit/b/d":             "/a/lit/b/d []",
		"/a/lit/b/e":             "/a/{}/b/{} [lit e]",
		"/a/lit/x/c":             "/a/{}/{}/c [lit x]",
		"/a/%2F/b/%20":           "/a/{}/b/{} [/  ]",
		"/a/%zz/b/c":             "none",
		"":                       "none",
		strings.Repeat("/x", 99): "none",
	} {
		got := "none"
		if r, vars := tab.match(path); r != nil {
			got = fmt.Sprintf("%s %v", r.pattern, vars)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	tab := tableOf(f, "/vm-instances/nics/{uuid}", "/vm-instances/{uuid}/iso", "/vm-instances/{vmUuid}", "/a/{x}/b/{y}", "/a/{x}/{z}/c", "/a/lit/b/d")
	f.Add("/vm-instances/nics/u")
	f.Add("/a/%2F//b/%20")
	f.Fuzz(func(t *testing.T, path string) {
		r, vars := tab.match(path)
		if r == nil {
			return
		}
		if want := strings.Count(r.pattern, "{}"); len(vars) != want {
			t.Fatalf("%q matched %s with values %q", path, r.pattern, vars)
		}
		for _, e := range r.entries {
			if len(e.names) != len(vars) {
				t.Fatalf("%q: names %v for values %v", path, e.names, vars)
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	_, s := newCloud(f)
	f.Add("POST", "/zones", `{"params":{"name":"z"},"systemTags":["a"]}`)
	f.Add("PUT", "/zones/"+zoneA+"/actions", `{"updateZone":{"name":null}}`)
	f.Add("GET", "/zones?q=a&q=b", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.ContainsAny(method, " \r\n\t") || method == "" || strings.ContainsAny(path, " \r\n\t\x00#") || !strings.HasPrefix(path, "/") {
			return
		}
		defer func() {
			if p := recover(); p != nil && !strings.Contains(fmt.Sprint(p), "invalid NewRequest arguments") {
				panic(p)
			}
		}()
		a := do(t, s, method, "/zstack/v1"+path, body)
		switch a.status {
		case 200, 202, 400, 404, 405, 413, 500, 503:
		default:
			t.Fatalf("status %d %s", a.status, a.body)
		}
		if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && !json.Valid([]byte(a.body)) {
			t.Fatalf("not JSON: %s", a.body)
		}
	})
}

func TestOpenAPIIsValid(t *testing.T) {
	_, s := newCloud(t)
	a := do(t, s, "GET", "/zstack/v1/openapi.json", "", "Authorization", "-")
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	Validate(t, []byte(a.body))
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"/zones get": "QueryZone", "/zones/{uuid} get": "QueryZoneByUuid", "/zones post": "CreateZone",
		"/zones/{uuid} delete": "DeleteZone", "/zones/{uuid}/actions#updateZone put": "UpdateZone", "/api-jobs/{uuid} get": "PollJob"} {
		path, method, _ := strings.Cut(key, " ")
		if got := doc.Paths[path][method].OperationID; got != want {
			t.Errorf("%s: operation %q, want %q", key, got, want)
		}
	}
}

// Validate checks a document with a validator of its own.
func Validate(t *testing.T, text []byte) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestCatalogueRoutes puts every route of the catalogue in one table, which
// routers of the standard kind refuse.
func TestCatalogueRoutes(t *testing.T) {
	b, err := os.ReadFile("../../core/action/catalogue/testdata/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	var cat struct {
		Endpoints []struct {
			API, Method, Path string
			OptionalPaths     []string
		}
	}
	if err := json.Unmarshal(b, &cat); err != nil {
		t.Fatal(err)
	}
	var actions []*action.Action
	for _, e := range cat.Endpoints {
		actions = append(actions, &action.Action{Message: e.API, Method: e.Method, Path: e.Path, Optional: e.OptionalPaths})
	}
	if len(actions) < 500 {
		t.Fatalf("only %d endpoints", len(actions))
	}
	tab := newTable(actions, nil, newMeters(nil).of)
	for _, a := range actions {
		for _, p := range a.Paths() {
			path := strings.NewReplacer("{", "0a0a0a0a", "}", "").Replace(p)
			r, _ := tab.match(path)
			if r == nil || r.pattern != "/"+action.Shape(p) {
				t.Errorf("%s: %s does not find its own route", a.Message, path)
			}
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	tab := tableOf(b, "/vm-instances/nics/{uuid}", "/vm-instances/{uuid}/iso", "/vm-instances/{vmUuid}", "/vm-instances")
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := tab.match("/vm-instances/" + zoneA); r == nil {
			b.Fatal("no match")
		}
	}
}
