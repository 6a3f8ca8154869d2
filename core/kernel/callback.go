package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// maxAsked is the highest limit of a plugin's query.
	maxAsked = 1000
	// maxActs is how often a step of a plugin is tried that was Unavailable before.
	maxActs = 100
	// actWait is how long a plugin waits for the end of its call at most; its own time
	// is mostly shorter.
	actWait = 2 * time.Hour
)

// callbacks answer what plugins ask of the graph and of the API. The context of a
// question is that of the operation which the plugin works for (plugin.Manager).
type callbacks struct {
	k *Kernel
	// system is the account of the platform; nil while the core is starting.
	system atomic.Pointer[string]
}

// Query reads rows as the caller that q names may. Errors: Unavailable while the
// core is starting, those of may, Invalid for what is wrong with the query.
func (h *PluginHandler) Query(ctx context.Context, q *pluginv1.QueryRequest, may func(typeName string) error) (*pluginv1.QueryResponse, error) {
	if h.calls == nil || h.calls.system.Load() == nil {
		return nil, errs.New(errs.Unavailable, "query of "+q.GetType(), "the core is starting").WithAdvice("repeat the call")
	}
	return h.calls.query(ctx, q, may)
}

// Act makes a call of the API and waits for its end. Errors: Unavailable while the
// core is starting, Refused for a call that would wait for the operation itself, and
// those of the call.
func (h *PluginHandler) Act(ctx context.Context, plugin string, r *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	if h.calls == nil || h.calls.system.Load() == nil {
		return nil, errs.New(errs.Unavailable, r.GetMessage(), "the core is starting").WithAdvice("repeat the call")
	}
	result, err := h.calls.act(ctx, plugin, r)
	if bad, is := errors.AsType[*action.HTTPError](err); is {
		err = errs.New(errs.Invalid, r.GetMessage(), "%s", bad.Text)
	}
	return &pluginv1.ActResponse{Result: result}, err
}

// caller is in whose name a plugin asks.
func (b *callbacks) caller(ctx context.Context, about string, as pluginv1.Caller) (action.Caller, error) {
	system := action.Caller{AccountUUID: *b.system.Load(), UserUUID: *b.system.Load(), Admin: true}
	switch as {
	case pluginv1.Caller_CALLER_SYSTEM:
		return system, nil
	case pluginv1.Caller_CALLER_OPERATION:
	default:
		return action.Caller{}, errs.New(errs.Invalid, about, "it does not say in whose name it is asked").
			WithAdvice("set as to CALLER_SYSTEM or CALLER_OPERATION")
	}
	if c := action.FromContext(ctx); c != nil && c.Caller.AccountUUID != "" {
		caller := c.Caller
		caller.System = false // messages that only the platform sends are not for plugins
		return caller, nil
	}
	// A flow that goes on after a restart has its job, but not the call.
	if uuid := flow.Job(ctx); uuid != "" {
		j, found, err := b.k.Jobs.Find(ctx, uuid)
		if err != nil {
			return action.Caller{}, err
		}
		if found && j.AccountUUID != "" && j.AccountUUID != system.AccountUUID {
			return action.Caller{AccountUUID: j.AccountUUID, UserUUID: j.AccountUUID}, nil
		}
		if found && j.AccountUUID != "" {
			return system, nil
		}
	}
	return action.Caller{}, errs.New(errs.Refused, about, "nobody asked for the operation %q", pluginsdk.OperationID(ctx)).
		WithAdvice("ask as CALLER_SYSTEM for what the platform does by itself")
}

func (b *callbacks) query(ctx context.Context, r *pluginv1.QueryRequest, may func(string) error) (*pluginv1.QueryResponse, error) {
	about := "query of " + r.GetType()
	c, err := b.caller(ctx, about, r.GetAs())
	if err != nil {
		return nil, err
	}
	if r.GetLimit() < 0 || r.GetLimit() > maxAsked {
		return nil, errs.New(errs.Invalid, about, "its limit %d is not in 0..%d", r.GetLimit(), maxAsked).WithAdvice("ask for further pages by start")
	}
	v := url.Values{"q": r.GetConditions(), "start": {strconv.Itoa(int(r.GetStart()))}, "sort": {r.GetSort()},
		"fields": r.GetFields(), "replyWithCount": {strconv.FormatBool(r.GetWithTotal())}}
	q, err := query.Parse(v)
	if err != nil {
		return nil, err
	}
	if q.Limit = int(r.GetLimit()); q.Limit == 0 {
		q.Limit = maxAsked
	}
	limited, end, err := b.k.shown.dear.begin(ctx, v, c)
	if err != nil {
		return nil, b.k.shown.dear.explain(ctx, r.GetType(), c, err)
	}
	defer end()
	res, err := b.k.Query.Run(limited, r.GetType(), q, query.Scope{Admin: c.Admin, AccountUUID: c.AccountUUID, May: may})
	if err != nil {
		return nil, b.k.shown.dear.explain(ctx, r.GetType(), c, err)
	}
	out := &pluginv1.QueryResponse{Total: res.Total, Inventories: make([][]byte, len(res.Inventories))}
	for i, inventory := range res.Inventories {
		out.Inventories[i] = inventory
	}
	return out, nil
}

// act finds the action and the caller of a plugin's call, and makes it.
func (b *callbacks) act(ctx context.Context, plugin string, r *pluginv1.ActRequest) (json.RawMessage, error) {
	a, ok := b.k.Actions.Get(r.GetMessage())
	switch {
	case !ok:
		return nil, errs.New(errs.NotFound, r.GetMessage(), "there is no such message")
	case a.Query != "":
		return nil, errs.New(errs.Unsupported, r.GetMessage(), "it is a query").WithAdvice("ask by Query")
	}
	body := map[string]json.RawMessage{}
	if text := r.GetParameters(); len(text) > 0 {
		if err := json.Unmarshal(text, &body); err != nil {
			return nil, errs.Wrap(errs.Invalid, "parameters of "+a.Message, err, "they are no JSON object")
		}
	}
	caller, err := b.caller(ctx, a.Message, r.GetAs())
	if err != nil {
		return nil, err
	}
	inside, err := action.Inside(ctx)
	if err != nil {
		return nil, err
	}
	step := strings.Join([]string{plugin, pluginsdk.OperationID(ctx), r.GetStep(), a.Message}, "\x00")
	if a.Create && body["resourceUuid"] == nil { // so that none is made twice, whatever is left of the job
		body["resourceUuid"] = json.RawMessage(`"` + named(step, -1) + `"`)
	}
	req := action.Request{Action: a, Input: action.Input{Body: body}, Credentials: &action.Credentials{}, Caller: &caller}
	if a.Method == http.MethodGet && !a.Async {
		return b.serve(inside, req)
	}
	for try := range maxActs {
		req.JobUUID = named(step, try)
		repeated, err := b.begin(inside, req)
		if err != nil {
			return nil, err
		}
		st, err := b.k.Jobs.Wait(ctx, req.JobUUID, actWait)
		switch {
		case err != nil:
			return nil, err
		case !st.Done:
			return nil, errs.New(errs.Unavailable, a.Message, "job %s has not ended yet", req.JobUUID).WithAdvice("repeat the call")
		case repeated && errs.ClassOf(st.Err) == errs.Unavailable:
			continue
		}
		return st.Body, st.Err
	}
	return nil, errs.New(errs.Exhausted, a.Message, "step %q was unavailable %d times", r.GetStep(), maxActs)
}

// named is the UUID that a plugin's step has for its try number try.
func named(step string, try int) string {
	return pluginsdk.UUIDOf(step, strconv.Itoa(try))
}

// begin makes the call of a job, or finds that it was made before.
func (b *callbacks) begin(ctx context.Context, r action.Request) (repeated bool, err error) {
	if repeated, err = b.begun(ctx, r); repeated || err != nil {
		return repeated, err
	}
	if r.Action.Async {
		_, err = b.serve(ctx, r)
	} else {
		err = b.now(ctx, r)
	}
	if err != nil { // it may be another's meanwhile
		if begun, other := b.begun(ctx, r); begun || other != nil {
			return begun, other
		}
	}
	return false, err
}

// begun tells whether there is the job already. One that somebody else has given
// that UUID is no outcome of the plugin's.
func (b *callbacks) begun(ctx context.Context, r action.Request) (bool, error) {
	j, found, err := b.k.Jobs.Find(ctx, r.JobUUID)
	if found && (j.Message != r.Action.Message || j.AccountUUID != r.Caller.AccountUUID) {
		return false, errs.New(errs.Refused, r.Action.Message, "its job %s is another account's", r.JobUUID)
	}
	return found, err
}

// now makes a call that is answered at once, with a job to know it by.
func (b *callbacks) now(ctx context.Context, r action.Request) error {
	err := b.k.Jobs.Accept(ctx, job.Job{UUID: r.JobUUID, Message: r.Action.Message, AccountUUID: r.Caller.AccountUUID})
	if err != nil {
		return err
	}
	body, err := b.serve(ctx, r)
	b.k.Jobs.Finish(ctx, r.JobUUID, job.Outcome{Err: err, Result: body})
	return nil
}

// serve goes through the one door.
func (b *callbacks) serve(ctx context.Context, r action.Request) (json.RawMessage, error) {
	reply, err := b.k.Actions.Serve(ctx, &r)
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}
