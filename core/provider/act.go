package provider

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// act is the state of the flow of an action: on a resource, or on the type when
// UUID is empty. Account asks for it.
type act struct {
	Type, UUID, Message, Account string
	Admin                        bool `json:",omitempty"`
	// Params are those of the message.
	Params []byte
	// Returned are the UUIDs that the plugin answered.
	Returned []string
}

// asked is an action as it was called.
type asked struct {
	t *served
	d *pluginv1.ActionDecl
	// uuid is what it is on, or "".
	uuid, job string
	caller    action.Caller
	params    values
}

// defineAct is the flow of every action. There is nothing to take back: the plugin
// has done it, or has left things as they were. What it answers is written in the
// same step, as a row may have changed since the plugin has read it: then it is asked
// again.
func (s *Service) defineAct() *flow.Def[act] {
	return flow.Define("provide-act", flow.Do("act", s.act, nil))
}

// maxStale is how often an action is carried out whose changes were made up for rows
// that have changed meanwhile.
const maxStale = 10

// run runs the flow of an action, and returns the UUIDs that the plugin answered.
func (s *Service) run(ctx context.Context, q asked) ([]string, error) {
	key := cmp.Or(q.uuid, q.first(), q.d.GetMessage())
	o := flow.Options{Job: q.job, Key: key}
	if q.uuid != "" {
		o.ResourceType, o.ResourceUUID = q.t.GetName(), q.uuid
	}
	st := &act{Type: q.t.GetName(), UUID: q.uuid, Message: q.d.GetMessage(), Account: q.caller.AccountUUID, Admin: q.caller.Admin}
	var err error
	if st.Params, err = q.params.encode(); err != nil {
		return nil, err
	}
	err = flow.Run(ctx, s.k.Flows, s.acting, st, o)
	return st.Returned, err
}

// first is the value of the first parameter of the route, "" for none.
func (q asked) first() string {
	text, _ := q.params[firstOf(q.d)].(string)
	return text
}

// act has the plugin do it, and writes what it answers.
func (s *Service) act(ctx context.Context, a *act) error {
	t, err := s.named(a.Type)
	if err != nil {
		return err
	}
	params, err := decode(a.Params)
	if err != nil {
		return err
	}
	req := &pluginv1.ActOnResourceRequest{Type: a.Type, Message: a.Message, AccountUuid: a.Account, Admin: a.Admin}
	for range maxStale {
		answer, facts, asked := s.ask(ctx, t, req, a.UUID, params)
		if asked != nil {
			return asked
		}
		a.Returned = answer.GetUuids()
		if err = s.note(ctx, t, a.UUID, facts, answer.GetChanges()); !errors.Is(err, errStale) {
			break
		}
	}
	return err
}

// ask calls the plugin for an action on a resource, or on the type when uuid is empty.
func (s *Service) ask(ctx context.Context, t *served, req *pluginv1.ActOnResourceRequest, uuid string, params values) (*pluginv1.ActOnResourceResponse, values, error) {
	_, p, err := s.called(t.GetName())
	if err != nil {
		return nil, nil, err
	}
	if req.Params, err = params.proto(); err != nil {
		return nil, nil, err
	}
	if uuid != "" {
		row, err := s.row(ctx, s.k.Store, t, uuid)
		if err != nil {
			return nil, nil, err
		}
		if req.Resource, err = s.toldNow(ctx, t, row); err != nil {
			return nil, nil, err
		}
	}
	answer, err := p.ActOnResource(ctx, req)
	if err != nil {
		return nil, nil, errs.Wrap(errs.ClassOf(err), strings.TrimSpace(t.GetName()+" "+uuid), err, "plugin %s cannot carry out %s", t.plugin, req.GetMessage())
	}
	facts, err := t.facts(answer.GetFacts(), p.Decl)
	return answer, facts, err
}

// note writes what the plugin answered, in one transaction.
func (s *Service) note(ctx context.Context, t *served, uuid string, facts values, changes *pluginv1.RowChanges) error {
	own := len(facts) > 0 && uuid != ""
	if !own && changes == nil {
		return nil
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error {
		if own {
			if err := store.Set(ctx, tx, t.typ, uuid, facts); err != nil {
				return err
			}
		}
		return s.apply(ctx, tx, t.plugin, changes, "")
	})
}

// askAlone asks the plugin for what changes nothing, and has no flow.
func (s *Service) askAlone(ctx context.Context, q asked, plan bool) (*pluginv1.ActOnResourceResponse, error) {
	answer, _, err := s.ask(ctx, q.t, &pluginv1.ActOnResourceRequest{Type: q.t.GetName(), Message: q.d.GetMessage(), Plan: plan,
		AccountUuid: q.caller.AccountUUID, Admin: q.caller.Admin}, q.uuid, q.params)
	return answer, err
}

// removal is the plan of an action that takes rows away.
func (s *Service) removal(ctx context.Context, q asked) (action.Removal, error) {
	r := action.Removal{Subject: action.Row{Type: q.t.GetName(), UUID: q.uuid}}
	if q.uuid == "" {
		r.Subject = s.subjectOf(q)
	}
	answer, err := s.askAlone(ctx, q, true)
	if errs.ClassOf(err) == errs.Refused {
		r.Against = []error{err}
		return r, nil
	}
	for _, d := range answer.GetChanges().GetDeletes() {
		if _, err := s.own(q.t.plugin, d.GetType()); err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, action.Row{Type: d.GetType(), UUID: d.GetUuid()})
	}
	return r, err
}

// subjectOf is the first resource that the parameters name.
func (s *Service) subjectOf(q asked) action.Row {
	for _, f := range q.d.GetParams() {
		switch v := q.params[f.GetName()].(type) {
		case string:
			if f.GetRef() != "" && v != "" {
				return action.Row{Type: f.GetRef(), UUID: v}
			}
		case []string:
			if f.GetRef() != "" && len(v) > 0 {
				return action.Row{Type: f.GetRef(), UUID: v[0]}
			}
		}
	}
	return action.Row{Type: q.t.GetName()}
}

// readable are those of the resources that a plugin answered which are there and
// which the caller may read, in the plugin's order.
func (s *Service) readable(ctx context.Context, t *served, typeName string, uuids []string, c action.Caller) (action.Refs, error) {
	if len(uuids) > maxReturned {
		return nil, errs.New(errs.Internal, "plugin "+t.plugin, "it answered %d resources, at most %d are allowed", len(uuids), maxReturned)
	}
	typ, ok := s.k.Types.Get(typeName)
	if len(uuids) == 0 || !ok {
		return action.Refs{}, nil
	}
	where, args := "", []any{uuids}
	if !c.Admin {
		may, with := access.Read(s.k.Types, typ, "t", c.AccountUUID)
		if may != "" {
			where, args = " AND ("+may+")", append(args, with...)
		}
	}
	found, err := store.Texts(ctx, s.k.Store, "SELECT t.`uuid` FROM `"+typ.Name+"` t WHERE t.`uuid` IN (?)"+where, args...)
	if err != nil {
		return nil, err
	}
	refs := action.Refs{}
	for _, uuid := range uuids {
		if slices.Contains(found, uuid) {
			refs = append(refs, action.Ref{Type: typeName, UUID: uuid})
		}
	}
	return refs, nil
}

// maxReturned is how many resources an action answers at most, as a query does.
const maxReturned = 1000
