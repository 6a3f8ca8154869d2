package action

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// serveQuery answers a query by the query engine.
func (r *Registry) serveQuery(ctx context.Context, req *Request) (*Reply, error) {
	c := &Call{Message: req.Action.Message}
	if err := r.authenticate(ctx, req, c); err != nil {
		return nil, err
	}
	if req.Action.Access == Admin && !c.Caller.Admin {
		return nil, errs.New(errs.Denied, req.Action.Message, "only the admin account may call it")
	}
	if r.ports.Query == nil {
		return nil, errs.New(errs.Internal, req.Action.Message, "no query engine is wired")
	}
	v := req.Input.Query
	for i := 0; i+1 < len(req.Input.Path); i += 2 {
		if req.Input.Path[i] == "uuid" {
			v = url.Values{"q": {"uuid=" + req.Input.Path[i+1]}, "names": v["names"]}
		}
	}
	body, err := r.ports.Query.Query(ctx, req.Action.Query, v, c.Caller)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: body, Query: true}, nil
}

// servePlan answers what a delete or detach would touch.
func (r *Registry) servePlan(ctx context.Context, a *Action, c *Call, params any) (*Reply, error) {
	if a.Method != http.MethodDelete || r.ports.Plan == nil {
		return nil, HTTPErrorf(http.StatusBadRequest, "%s has no plan; call it without plan=true", a.Message)
	}
	removal, err := a.removal(ctx, c, params)
	if err != nil {
		return nil, err
	}
	tree, err := r.ports.Plan.Plan(ctx, removal)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"plan": tree})
	if err != nil {
		return nil, errs.Wrap(errs.Internal, a.Message, err, "write the plan")
	}
	return &Reply{Body: body}, nil
}

// removal is what a DELETE message takes away: what it says itself, or the
// resource that its path ends in.
func (a *Action) removal(ctx context.Context, c *Call, params any) (Removal, error) {
	if a.Removes != nil {
		return a.Removes(ctx, c, params)
	}
	f := a.deleted()
	row := Row{Type: f.Resource, UUID: a.text(f.Name, params)}
	return Removal{Subject: row, Rows: []Row{row}}, nil
}

// Deletes reports whether the action deletes the resource that its path names, and
// not something of it.
func (a *Action) Deletes() bool { return a.Method == http.MethodDelete && a.deleted() != nil }

// deleted is the parameter that names what a plain delete deletes: the only
// variable of every path, at its end, that names a resource. nil: it is no
// plain delete.
func (a *Action) deleted() *field {
	name := ""
	for _, path := range a.Paths() {
		at := strings.LastIndex(path, "/{")
		if at < 0 || strings.Count(path, "{") != 1 || !strings.HasSuffix(path, "}") {
			return nil
		}
		v := path[at+2 : len(path)-1]
		if name != "" && v != name {
			return nil
		}
		name = v
	}
	for i := range a.fields {
		if f := &a.fields[i]; f.Name == name && f.Resource != "" && f.kind == kindText {
			return f
		}
	}
	return nil
}
