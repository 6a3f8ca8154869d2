package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Order is a request that has passed its checks, as it stands in a queue: all of
// it is data, so that it can be listed, and could be run by another node, whose
// Registry.Run reads the parameters again.
type Order struct {
	Message string
	// Input has the parameters as they came.
	Input Input
	// Caller and Client are who asked, and from where.
	Caller Caller
	Client string `json:",omitempty"`
	// Job is told of the end; "" when nobody polls.
	Job string `json:",omitempty"`
	// Waiter is who waits for the end in the process that queued the order.
	Waiter string `json:",omitempty"`
	// ResourceUUID, SystemTags, UserTags and DeleteMode are those of Call.
	ResourceUUID         string   `json:",omitempty"`
	SystemTags, UserTags []string `json:",omitempty"`
	DeleteMode           string   `json:",omitempty"`
	// Key is the key of dispatch, Limit bounds the run.
	Key   string
	Limit time.Duration

	params any // what Input says, read by this process
	// inside tells of the work in this process that waits for the job (Inside).
	inside context.Context
}

// Name implements dispatch.Work.
func (o *Order) Name() string { return o.Message }

// JobUUID implements dispatch.Work.
func (o *Order) JobUUID() string { return o.Job }

func order(a *Action, c *Call, in *Input, params any, key string, limit time.Duration) *Order {
	return &Order{Message: a.Message, Input: *in, Caller: c.Caller, Client: c.Client, Job: c.Job, ResourceUUID: c.ResourceUUID,
		SystemTags: c.SystemTags, UserTags: c.UserTags, DeleteMode: c.DeleteMode, Key: key, Limit: limit, params: params}
}

// enqueue is the one way into the queues.
func (r *Registry) enqueue(ctx context.Context, a *Action, o *Order) error {
	if r.ports.Queue == nil {
		return errs.New(errs.Internal, a.Message, "no queue is wired")
	}
	it := dispatch.Item{Key: o.Key, Kind: a.Kind, Work: o}
	if a.On != nil {
		it.On = a.On(ctx, o.Key, o.params)
	}
	if !o.Caller.System {
		it.Owner = o.Caller.AccountUUID
	}
	return r.ports.Queue.Submit(it)
}

// Run runs what Submit, Do, Turn and Serve have queued; it is what the queues
// are made with. An order whose waiter has gone is not begun.
func (r *Registry) Run(it dispatch.Item) {
	switch w := it.Work.(type) {
	case *Order:
		r.runOrder(it, w)
	case *turn:
		r.runTurn(it, w)
	default:
		r.log.Error("unknown work in a queue", "name", it.Work.Name(), "key", it.Key)
	}
}

func (r *Registry) runOrder(it dispatch.Item, o *Order) {
	ctx := context.Background()
	if o.inside != nil {
		ctx = o.inside
	}
	var res any
	err := error(errs.New(errs.Internal, o.Message, "it ended unexpectedly"))
	if o.Waiter != "" {
		w := r.waiters.begin(o.Waiter)
		if w == nil {
			return
		}
		ctx = w.ctx
		defer func() { w.done <- answer{res, err} }()
	}
	res, err = r.perform(withPlace(ctx, it), o)
	switch {
	case o.Job != "":
		out := Outcome{Err: err}
		if err == nil {
			out = r.outcome(ctx, res)
		}
		r.ports.Jobs.Finish(ctx, o.Job, out)
	case err != nil && o.Waiter == "" && errs.ClassOf(err) != errs.NotFound: // what is gone needs nothing more
		r.log.Warn("request of the platform failed", "message", o.Message, "key", o.Key, "error", err)
	}
}

// perform runs an order in its turn.
func (r *Registry) perform(ctx context.Context, o *Order) (any, error) {
	a, ok := r.Get(o.Message)
	if !ok {
		return nil, errs.New(errs.Unsupported, o.Message, "it is not offered any more; its plugin has gone")
	}
	params := o.params
	if params == nil {
		p, _, err := a.decode(&o.Input)
		if err != nil {
			return nil, err
		}
		params = p
	}
	c := &Call{Job: o.Job, Caller: o.Caller, Client: o.Client, Message: o.Message, ResourceUUID: o.ResourceUUID,
		SystemTags: o.SystemTags, UserTags: o.UserTags, DeleteMode: o.DeleteMode}
	ctx, cancel := context.WithTimeout(hold(r.auditBegin(WithCall(ctx, c), a, c), o.Key), o.Limit)
	defer cancel()
	var left error
	if r.ports.Finish != nil && !a.TakesUp {
		left = r.ports.Finish(ctx, o.Key, c.DeleteMode == "Enforcing")
	}
	res, err := r.call(ctx, a, c, params)
	if o.Job == "" {
		r.auditEnd(ctx, a, c, params, false, err)
	}
	if err != nil && left != nil && !errors.Is(err, left) {
		err = fmt.Errorf("%w; %w", err, left) // which may well be why
	}
	return res, err
}
