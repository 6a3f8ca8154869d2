package action

import (
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// System is the caller of work that the platform does by itself.
func System(accountUUID string) Caller {
	return Caller{AccountUUID: accountUUID, UserUUID: accountUUID, Admin: true}
}

// Do calls an action inside the process, without session, job and queue: the
// caller's own place in a queue must protect the resource. params are the
// parameters by wire name, with "resourceUuid", "systemTags" and "userTags" where
// wanted. All other checks apply. The call has no Job: the job of an outer call
// ends with that call. It returns the handler's result (Ref, …).
// errs.NotFound when there is no such message.
func (r *Registry) Do(ctx context.Context, caller Caller, message string, params map[string]any) (any, error) {
	a, ok := r.Get(message)
	if !ok {
		return nil, errs.New(errs.NotFound, message, "there is no such API message")
	}
	if a.Query != "" {
		return nil, errs.New(errs.Unsupported, message, "queries go to the query engine")
	}
	in := Input{Body: make(map[string]json.RawMessage, len(params))}
	for k, v := range params {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, "parameter "+k+" of "+message, err, "write it as JSON")
		}
		in.Body[k] = raw
	}
	p, b, err := a.decode(&in)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, message, err, "parameters")
	}
	c := &Call{Message: message, Caller: caller, SystemTags: b.systemTags, UserTags: b.userTags}
	if err := a.checkFields(p, &b); err != nil {
		return nil, err
	}
	if err := a.setIdentity(c, &b); err != nil {
		return nil, err
	}
	ctx = WithCall(ctx, c)
	if stop, err := r.permit(ctx, a, c, p); err != nil || stop {
		return Empty{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Limit())
	defer cancel()
	return r.call(ctx, a, c, p)
}
