package action

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

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
			v = url.Values{"q": {"uuid=" + req.Input.Path[i+1]}}
		}
	}
	res, err := r.ports.Query.Query(ctx, req.Action.Query, v, c.Caller)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: res.body(), Schema: res.Schema, Query: true}, nil
}

// servePlan answers what a delete or detach would touch.
func (r *Registry) servePlan(ctx context.Context, a *Action, c *Call, params any) (*Reply, error) {
	var tree any
	var err error
	switch t, ok := a.planTarget(params); {
	case a.Planner != nil:
		tree, err = a.Planner(ctx, c, params)
	case ok && r.ports.Plan != nil:
		tree, err = r.ports.Plan.PlanTree(ctx, t.Type, t.UUID)
	default:
		return nil, HTTPErrorf(http.StatusBadRequest, "%s has no plan; call it without plan=true", a.Message)
	}
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"plan": tree})
	if err != nil {
		return nil, errs.Wrap(errs.Internal, a.Message, err, "write the plan")
	}
	return &Reply{Body: body}, nil
}

// planTarget is the one resource that a delete names in its path.
func (a *Action) planTarget(params any) (Target, bool) {
	if a.Method != http.MethodDelete {
		return Target{}, false
	}
	targets, at := a.targets(params)
	if len(targets) != 1 || a.fields[at[0]].In != "path" {
		return Target{}, false
	}
	return targets[0], true
}
