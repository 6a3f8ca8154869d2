package action

import (
	"context"
	"net/http"
	"strings"
)

// Audit keeps who changed what. Only calls that may change something are told.
type Audit interface {
	// Begin notes a call and returns the context to run it under. It comes before
	// the caller is known, and again when the call has its turn in a queue.
	Begin(ctx context.Context, c *Call) context.Context
	// Accepted tells that a call becomes a job, which ends by itself, and what it
	// is about; Dropped that it did not.
	Accepted(ctx context.Context, about Target)
	Dropped(ctx context.Context)
	// End tells how a call without a job ended; refused when it did not pass its
	// checks.
	End(ctx context.Context, about Target, refused bool, err error)
}

// reads reports an action that changes nothing, by the rules of the API's names.
func (a *Action) reads() bool {
	return a.Query != "" || a.Method == http.MethodGet || strings.HasPrefix(a.Message, "APIGet") || strings.HasPrefix(a.Message, "APICheck")
}

func (r *Registry) auditBegin(ctx context.Context, a *Action, c *Call) context.Context {
	if r.ports.Audit == nil || c.Plan || a.reads() {
		return ctx
	}
	return r.ports.Audit.Begin(ctx, c)
}

func (r *Registry) auditEnd(ctx context.Context, a *Action, c *Call, params any, refused bool, err error) {
	if r.ports.Audit != nil && !c.Plan && !a.reads() {
		r.ports.Audit.End(ctx, a.about(c, params), refused, err)
	}
}

// about is the resource that a call is about: the new one, the one in its path,
// or else the first one that it names.
func (a *Action) about(c *Call, params any) Target {
	if a.Create {
		return Target{Type: a.Returns, UUID: c.ResourceUUID}
	}
	targets, of := a.targets(params)
	for i, t := range targets {
		if of[i].In == "path" {
			return t
		}
	}
	if len(targets) > 0 {
		return targets[0]
	}
	return Target{}
}
