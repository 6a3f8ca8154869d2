package provider

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// act is the state of the flow of an action: on a resource, or on the type when
// UUID is empty. Account asks for it.
type act struct {
	Type, UUID, Message, Account string
	// Params are those of the message, Facts what the plugin answered.
	Params, Facts []byte
	// Returned are the UUIDs that the plugin answered.
	Returned []string
}

// defineAct is the flow of every action. There is nothing to take back: the plugin
// has done it, or has left things as they were.
func (s *Service) defineAct() *flow.Def[act] {
	return flow.Define("provide-act",
		flow.Do("act", s.act, nil),
		flow.Tx("note", s.note, nil).When(func(a *act) bool { return a.UUID != "" }))
}

func (s *Service) registerActions(t *served) error {
	for _, d := range t.GetActions() {
		if err := s.registerAction(t, d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) registerAction(t *served, d *pluginv1.ActionDecl) error {
	var params []action.Param
	for _, f := range d.GetParams() {
		params = append(params, kernel.ParamOf(f))
	}
	a := action.Action{Message: d.GetMessage(), Method: cmp.Or(d.GetMethod(), "PUT"), Path: t.GetPath() + cmp.Or(d.GetPath(), "/actions"), Async: true,
		Access: t.access(d.GetAccess()), Doc: d.GetDoc(), View: action.View{Caption: kernel.Said(d.GetCaption()), Type: t.GetName()}, Plugin: t.plugin}
	switch d.GetOn() {
	case pluginsdk.ActsOnMany:
		return s.registerMany(t, d, a, params)
	case pluginsdk.ActsOnType:
		a.Params, a.View.Subject = params, "-"
	default:
		a.Path = t.GetPath() + "/{uuid}" + cmp.Or(d.GetPath(), "/actions")
		a.Params, a.Queue, a.Returns = append([]action.Param{t.subject()}, params...), "uuid", t.GetName()
	}
	if d.GetReturns() != "" {
		a.Returns, a.Async = d.GetReturns(), a.Method != http.MethodGet
		return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Refs, error) {
			uuid, _ := p["uuid"].(string)
			uuids, err := s.run(ctx, t, d, "", c.Caller.AccountUUID, uuid, p) // the job ends with what is returned
			if err != nil {
				return nil, err
			}
			return s.readable(ctx, t, d.GetReturns(), uuids, c.Caller)
		})
	}
	return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		_, err := s.run(ctx, t, d, c.Job, c.Caller.AccountUUID, uuid, p)
		if uuid == "" {
			return action.Ref{}, err
		}
		return action.Ref{Type: t.GetName(), UUID: uuid}, err
	})
}

// maxReturned is how many resources an action answers at most, as a query does.
const maxReturned = 1000

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

// registerMany registers an action on several resources: each is a request of its
// own in the turn of the resource, for which who asked has been checked.
func (s *Service) registerMany(t *served, d *pluginv1.ActionDecl, a action.Action, params []action.Param) error {
	each := strings.TrimPrefix(d.GetMessage(), "API")
	one := action.Action{Message: each, Async: true, Access: action.Internal, Queue: "uuid", Doc: a.Doc,
		Params: append([]action.Param{{Name: "uuid", Type: "string", Required: true, Resource: t.GetName()}, {Name: "askedBy", Type: "string"}}, params...)}
	err := s.k.Actions.RegisterDynamic(one, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		account, _ := p["askedBy"].(string)
		_, err := s.run(ctx, t, d, c.Job, account, uuid, p)
		return action.Ref{}, err
	})
	if err != nil {
		return err
	}
	a.Params = append([]action.Param{{Name: "uuids", Type: "[]string", Required: true, NonEmpty: true, Resource: t.GetName(), Write: true}}, params...)
	a.Returns, a.View.Subject = t.GetName(), "uuids"
	return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Refs, error) {
		uuids, _ := p["uuids"].([]string)
		var refs action.Refs
		for _, uuid := range uuids {
			of := map[string]any{"uuid": uuid, "askedBy": c.Caller.AccountUUID}
			for _, param := range params {
				if v, ok := p[param.Name]; ok {
					of[param.Name] = v
				}
			}
			if _, err := s.k.Actions.DoSystem(ctx, each, of); err != nil {
				return nil, err
			}
			if ref := (action.Ref{Type: t.GetName(), UUID: uuid}); !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
		return refs, nil
	})
}

// run runs the flow of an action, or asks the plugin what changes nothing, and
// returns what it answered. account asks for it.
func (s *Service) run(ctx context.Context, t *served, d *pluginv1.ActionDecl, job, account, uuid string, p map[string]any) ([]string, error) {
	if err := s.enabled(t); err != nil {
		return nil, err
	}
	v, err := given(d.GetMessage(), p, d.GetParams())
	if err != nil {
		return nil, err
	}
	st := &act{Type: t.GetName(), UUID: uuid, Message: d.GetMessage(), Account: account}
	if st.Params, err = v.encode(); err != nil {
		return nil, err
	}
	if d.GetMethod() == http.MethodGet {
		err = s.act(ctx, st)
		return st.Returned, err
	}
	o := flow.Options{Job: job, Key: cmp.Or(uuid, d.GetMessage())}
	if uuid != "" {
		o.ResourceType, o.ResourceUUID = t.GetName(), uuid
	}
	if err := flow.Run(ctx, s.k.Flows, s.acting, st, o); err != nil {
		return nil, err
	}
	return st.Returned, nil
}

// act has the plugin do it.
func (s *Service) act(ctx context.Context, a *act) error {
	t, p, err := s.called(a.Type)
	if err != nil {
		return err
	}
	params, err := decode(a.Params)
	if err != nil {
		return err
	}
	req := &pluginv1.ActOnResourceRequest{Type: a.Type, Message: a.Message, AccountUuid: a.Account}
	if req.Params, err = params.proto(); err != nil {
		return err
	}
	if a.UUID != "" {
		row, err := s.row(ctx, s.k.Store, t, a.UUID)
		if err != nil {
			return err
		}
		if req.Resource, err = s.told(ctx, s.k.Store, t, row, nil); err != nil {
			return err
		}
	}
	answer, err := p.ActOnResource(ctx, req)
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), strings.TrimSpace(a.Type+" "+a.UUID), err, "plugin %s cannot carry out %s", t.plugin, a.Message)
	}
	a.Returned = answer.GetUuids()
	facts, err := t.facts(answer.GetFacts(), p.Decl)
	if err == nil {
		a.Facts, err = facts.encode()
	}
	return err
}

// note writes what the plugin answered.
func (s *Service) note(ctx context.Context, tx *store.Tx, a *act) error {
	t, err := s.named(a.Type)
	if err != nil {
		return err
	}
	facts, err := decode(a.Facts)
	if err != nil || len(facts) == 0 {
		return err
	}
	return store.Set(ctx, tx, t.typ, a.UUID, facts)
}
