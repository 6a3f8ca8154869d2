package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/web/api"
	"github.com/kumo-cloud/kumo/web/cli"
)

// Two types that only this test has: kites, which are flown over a meadow.
type meadow struct {
	resource.Base
	resource.Owned
}

type kite struct {
	resource.Base
	resource.Owned
	Line   int64  `db:"lineSize" kumo:"" caption:"Line|线长"`
	Meadow string `db:"meadowUuid" kumo:"size=32"`
}

var (
	meadows = resource.Define[meadow](resource.Type{Name: "Meadow", Path: "/meadows", Owned: true,
		View: resource.View{Caption: resource.Say("Meadow", "草地"), Group: "compute"}})
	kites = resource.Define[kite](resource.Type{Name: "Kite", Path: "/kites", Owned: true,
		Edges: []resource.Edge{{Name: "meadow", To: "Meadow", Column: "meadowUuid", OnDelete: resource.Cascade, Inverse: "kites"}},
		View: resource.View{Caption: resource.Say("Kite", "风筝"), Group: "compute", Aliases: []string{"flyer"},
			Columns: []string{"name", "lineSize", "meadowUuid"}}})
)

type kiteParams struct {
	Name   string `api:"name,required,max=255"`
	Meadow string `api:"meadowUuid,required,resource=Meadow"`
	Line   int64  `api:"lineSize"`
}

type meadowParams struct {
	Name string `api:"name,required,max=255"`
}

// registerKites is all that a service does to have both types made and deleted.
func registerKites(c *kerneltest.Cloud) error {
	made := func(ctx context.Context, insert func(*store.Tx) error) error { return c.Store.Update(ctx, insert) }
	action.Register(c.Actions, action.Action{Message: "APICreateMeadowMsg", Method: "POST", Path: "/meadows", Async: true, Create: true,
		Access: action.Normal, Returns: "Meadow", Doc: "Makes a meadow."}, func(ctx context.Context, call *action.Call, p *meadowParams) (action.Ref, error) {
		row := &meadow{}
		row.UUID, row.Name, row.AccountUUID = call.ResourceUUID, p.Name, call.Caller.AccountUUID
		return action.Ref{Type: "Meadow", UUID: row.UUID}, made(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, meadows, row) })
	})
	action.Register(c.Actions, action.Action{Message: "APICreateKiteMsg", Method: "POST", Path: "/kites", Async: true, Create: true,
		Access: action.Normal, Returns: "Kite", Doc: "Makes a kite."}, func(ctx context.Context, call *action.Call, p *kiteParams) (action.Ref, error) {
		row := &kite{Line: p.Line, Meadow: p.Meadow}
		row.UUID, row.Name, row.AccountUUID = call.ResourceUUID, p.Name, call.Caller.AccountUUID
		return action.Ref{Type: "Kite", UUID: row.UUID}, made(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, kites, row) })
	})
	return c.RegisterDelete(kites.Type, action.Normal)
}

// shop is a server with the two types, and a person at its command line.
type shop struct {
	*testing.T
	url      string
	app      *cli.App
	out, err bytes.Buffer
}

func newShop(t *testing.T) *shop {
	c := kerneltest.New(t, kerneltest.Options{Types: []*resource.Type{meadows.Type, kites.Type}})
	id := identity.New(c.Store, c.Config, c.Tags, storetest.Logger(t))
	c.Wire(id, kerneltest.Admin)
	p := &parts{kernel: c.Kernel, identity: id}
	c.Register(func() error { return id.Register(c.Actions) }, func() error { return registerKites(c) }, p.registerQueries)
	// The administrator of kerneltest has no password.
	err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		return store.Delete(t.Context(), tx, identity.AccountType.Type, identity.AdminUUID)
	})
	if err == nil {
		err = id.Bootstrap(t.Context(), "password")
	}
	if err != nil {
		t.Fatal(err)
	}
	rest := api.New(api.Options{Actions: c.Actions, Types: c.Types, Auth: id, Jobs: polls{c.Jobs}, Version: "test",
		Schema: newDescriber(c.Kernel, "test")}, storetest.Logger(t))
	server := httptest.NewServer(rest)
	t.Cleanup(server.Close)
	env := map[string]string{"KUMO_SERVER": server.URL, "KUMO_CONFIG_DIR": t.TempDir(), "KUMO_CACHE_DIR": t.TempDir(), "KUMO_PASSWORD": "password"}
	s := &shop{T: t, url: server.URL}
	s.app = &cli.App{In: strings.NewReader(""), Out: &s.out, Err: &s.err, Env: func(k string) string { return env[k] }, Version: "test"}
	s.kumo("login")
	return s
}

// kumo runs a command line that must succeed and returns what it printed.
func (s *shop) kumo(line string) string {
	s.Helper()
	s.out.Reset()
	if err := s.app.Run(s.Context(), strings.Fields(line), nil); err != nil {
		s.Fatalf("kumo %s: %s", line, s.app.OneLine(err))
	}
	return s.out.String()
}

// get reads a document of the API.
func (s *shop) get(path string, into any) {
	s.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		s.Fatalf("GET %s: %v: %.200s", path, err, text)
	}
}

// A type that a test declares is in the schema, in OpenAPI, on the command line
// and in queries, by its declaration and its service alone.
func TestAddedTypeIsEverywhere(t *testing.T) {
	s := newShop(t)
	var openapi struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	s.get("/zstack/v1/openapi.json", &openapi)
	for _, want := range []string{"get", "post"} {
		if openapi.Paths["/kites"][want].OperationID == "" {
			t.Errorf("OpenAPI has no %s of kites: %v", want, openapi.Paths["/kites"])
		}
	}
	s.kumo("meadow create green")
	for _, c := range []struct{ line, want string }{
		{"kite create red --meadow green --line-size 2K", "NAME LINE MEADOW red 2K green"},
		{"kite create blue --meadow-uuid green", "NAME LINE MEADOW blue 0 green"},
		{"kite ls --where meadow=green --where line>1K", "NAME LINE MEADOW red 2K green"},
		{"flyer ls --sort -name --columns meadow,name", "MEADOW NAME green red green blue"},
		{"query Meadow kites.name=blue -o name", "green"},
		{"query Kite meadow.name=green --count", "2"},
	} {
		if got := strings.Join(strings.Fields(s.kumo(c.line)), " "); got != c.want {
			t.Errorf("kumo %s printed %q, want %q", c.line, got, c.want)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"__complete kite create x --meadow g", "green"},
		{"__complete kite cr", "create Makes a kite"},
		{"--help", "Compute: kite Kites meadow Meadows"},
		{"kite create --help", "--meadow name Meadow: name or UUID, see kumo meadow ls (required)"},
	} {
		if got := strings.Join(strings.Fields(s.kumo(c.line)), " "); !strings.Contains(got, c.want) {
			t.Errorf("kumo %s printed %q without %q", c.line, got, c.want)
		}
	}
	s.kumo("kite delete red --yes")
	if got := s.kumo("kite ls -o name"); got != "blue\n" {
		t.Errorf("after the delete there is %q", got)
	}
}
