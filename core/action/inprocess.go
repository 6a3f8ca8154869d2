package action

import (
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// System is the caller of work that the platform does by itself.
func System(accountUUID string) Caller {
	return Caller{AccountUUID: accountUUID, UserUUID: accountUUID, Admin: true, System: true}
}

func (r *Registry) system() Caller { return System(r.ports.SystemAccount) }

// Submit asks for an asynchronous action as the platform itself, and returns
// when the request is queued; nobody is told how it ends but the log. params
// are the parameters by wire name. The checks are those of every request; what
// is gone already is a success where the action says so.
func (r *Registry) Submit(ctx context.Context, message string, params map[string]any) error {
	a, c, in, p, stop, err := r.prepare(ctx, r.system(), message, params)
	if err != nil || stop {
		return err
	}
	if !a.Async {
		return errs.New(errs.Internal, message, "only asynchronous actions are queued")
	}
	key, err := a.queueKey(ctx, c, p)
	if err != nil {
		return err
	}
	return r.enqueue(ctx, a, order(a, c, in, p, key, a.Limit()))
}

// DoSystem is Do as the platform itself.
func (r *Registry) DoSystem(ctx context.Context, message string, params map[string]any) (any, error) {
	return r.Do(ctx, r.system(), message, params)
}

// Do calls an action inside the process and waits for its result (Ref, …): in
// the queue of its key when the action is asynchronous and queues are wired, else at
// once. params are the parameters by wire name, with "resourceUuid", "systemTags"
// and "userTags" where wanted. All checks but the session's apply.
//
// When ctx ends before the turn has come, nothing is done; later, the handler's
// context ends with it. errs.Refused, at once, when the caller works under the
// same key, as the wait would never end; errs.NotFound when there is no such
// message.
func (r *Registry) Do(ctx context.Context, caller Caller, message string, params map[string]any) (any, error) {
	a, c, in, p, stop, err := r.prepare(ctx, caller, message, params)
	if err != nil || stop {
		return Empty{}, err
	}
	if !a.Async || r.ports.Queue == nil {
		ctx, cancel := context.WithTimeout(WithCall(ctx, c), a.Limit())
		defer cancel()
		return r.call(ctx, a, c, p)
	}
	key, err := a.queueKey(ctx, c, p)
	if err == nil {
		err = wouldWait(ctx, message, key)
	}
	if err != nil {
		return nil, err
	}
	o := order(a, c, in, p, key, a.Limit())
	id, one := r.waiters.add(ctx)
	o.Waiter = id
	if err := r.enqueue(ctx, a, o); err != nil {
		r.waiters.begin(id)
		return nil, err
	}
	return r.waiters.wait(ctx, nil, id, one)
}

// prepare reads and checks a call from inside the process.
func (r *Registry) prepare(ctx context.Context, caller Caller, message string, params map[string]any) (a *Action, c *Call, in *Input, p any, stop bool, err error) {
	a, ok := r.Get(message)
	if !ok {
		return nil, nil, nil, nil, false, errs.New(errs.NotFound, message, "there is no such message")
	}
	if a.Query != "" {
		return nil, nil, nil, nil, false, errs.New(errs.Unsupported, message, "queries go to the query engine")
	}
	in = &Input{Body: make(map[string]json.RawMessage, len(params))}
	for k, v := range params {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, nil, nil, nil, false, errs.Wrap(errs.Invalid, "parameter "+k+" of "+message, err, "write it as JSON")
		}
		in.Body[k] = raw
	}
	p, b, err := a.decode(in)
	if err != nil {
		return nil, nil, nil, nil, false, errs.Wrap(errs.Invalid, message, err, "parameters")
	}
	c = &Call{Message: message, Caller: caller, SystemTags: b.systemTags, UserTags: b.userTags}
	if err := a.checkFields(p, &b); err != nil {
		return nil, nil, nil, nil, false, err
	}
	if err := a.setIdentity(c, &b); err != nil {
		return nil, nil, nil, nil, false, err
	}
	ctx = WithCall(ctx, c)
	if stop, err = r.permit(ctx, a, c, p); err == nil && !stop {
		p, stop, err = r.observed(ctx, a, c, in, p)
	}
	return a, c, in, p, stop, err
}
