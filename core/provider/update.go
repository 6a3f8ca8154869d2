package provider

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// change is the state of the flow that changes a resource.
type change struct {
	Type, UUID string
	// Changed names the fields that get the values in Given, or none.
	Changed []string
	Given   []byte
	// Before has the values as they were; Facts what the plugin answered.
	Before, Facts []byte
	// Changes are the rows that change with it.
	Changes []byte
	Calls   bool
}

// defineUpdate is the flow of every change: the plugin first, as it may refuse; then
// the row.
func (s *Service) defineUpdate() *flow.Def[change] {
	calls := func(c *change) bool { return c.Calls }
	return flow.Define("provide-update",
		flow.Tx("look", s.look, nil),
		flow.Do("tell", s.tell, s.untell).When(calls),
		flow.Tx("write", s.write, nil))
}

func (s *Service) registerUpdate(t *served) error {
	m := t.GetUpdate()
	if m == nil {
		return nil
	}
	fields := append(baseFields, t.settable(true)...)
	a := action.Action{
		Message: cmp.Or(m.GetMessage(), "APIUpdate"+t.GetName()+"Msg"), Method: "PUT", Path: t.GetPath() + "/{uuid}/actions", Async: true,
		Access: t.access(m.GetAccess()), Queue: "uuid", Returns: t.GetName(), Doc: cmp.Or(m.GetDoc(), "Changes the fields of a "+t.spoken()+" that are given."),
		Params: slices.Concat([]action.Param{t.subject()}, baseParams(false), t.params(true)), View: action.View{Caption: kernel.Said(m.GetCaption())}, Plugin: t.plugin,
	}
	return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		v, err := s.given(a.Message, p, fields)
		if err != nil {
			return action.Ref{}, err
		}
		if v["name"] == "" {
			delete(v, "name") // as for every update (kernel.Given)
		}
		return s.change(ctx, t, c, p, v)
	})
}

// subject is the parameter that names one of the type in the path.
func (t *served) subject() action.Param {
	return action.Param{Name: "uuid", Type: "string", In: "path", Required: true, Resource: t.GetName()}
}

// registerState registers the message that moves the state, which is a change of
// the row like others.
func (s *Service) registerState(t *served) error {
	m, column := t.GetStates().GetChange(), t.GetStates().GetColumn()
	if m == nil {
		return nil
	}
	a := action.Action{
		Message: cmp.Or(m.GetMessage(), "APIChange"+t.GetName()+"StateMsg"), Method: "PUT", Path: t.GetPath() + "/{uuid}/actions", Async: true,
		Access: t.access(m.GetAccess()), Queue: "uuid", Returns: t.GetName(), Doc: cmp.Or(m.GetDoc(), "Changes the state of a "+t.spoken()+"."),
		Params: []action.Param{t.subject(), {Name: "stateEvent", Type: "string", Required: true, Values: slices.Sorted(maps.Keys(t.typ.States.Moves))}},
		View:   action.View{Caption: kernel.Said(m.GetCaption())}, Plugin: t.plugin,
	}
	return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		event, _ := p["stateEvent"].(string)
		row, err := s.row(ctx, s.k.Store, t, uuid)
		if err != nil {
			return action.Ref{}, err
		}
		from, _ := row[column].(string)
		next, err := t.typ.States.Next(from, event)
		if err != nil {
			return action.Ref{}, errs.Wrap(errs.Refused, t.GetName()+" "+uuid, err, "cannot %s in state %s", event, from)
		}
		return s.change(ctx, t, c, p, values{column: next})
	})
}

// change runs the flow for values that were given, which may be none.
func (s *Service) change(ctx context.Context, t *served, c *action.Call, p map[string]any, v values) (action.Ref, error) {
	uuid, _ := p["uuid"].(string)
	ref := action.Ref{Type: t.GetName(), UUID: uuid}
	if err := s.enabled(t); err != nil || len(v) == 0 {
		return ref, err
	}
	st := &change{Type: t.GetName(), UUID: uuid, Changed: slices.Sorted(maps.Keys(v))}
	var err error
	if st.Calls, err = s.mayChange(ctx, t, uuid, st.Changed); err != nil {
		return ref, err
	}
	if st.Given, err = v.encode(); err != nil {
		return ref, err
	}
	return ref, flow.Run(ctx, s.k.Flows, s.updating, st, flow.Options{Job: c.Job, Key: uuid, ResourceType: ref.Type, ResourceUUID: uuid})
}

// set are the values to write: those that are cleared are nil.
func (c *change) set() (values, error) {
	v, err := decode(c.Given)
	if err != nil {
		return nil, err
	}
	for _, name := range c.Changed {
		if _, ok := v[name]; !ok {
			v[name] = nil
		}
	}
	return v, nil
}

// look notes how the row is, and whether what it will refer to is there.
func (s *Service) look(ctx context.Context, tx *store.Tx, c *change) error {
	t, err := s.named(c.Type)
	if err != nil {
		return err
	}
	row, err := s.row(ctx, tx, t, c.UUID)
	if err != nil {
		return err
	}
	set, err := c.set()
	if err != nil {
		return err
	}
	if c.Before, err = row.encode(); err != nil {
		return err
	}
	return s.guard(ctx, tx, t, set)
}

// tell has the plugin change it.
func (s *Service) tell(ctx context.Context, c *change) error {
	set, err := c.set()
	if err != nil {
		return err
	}
	facts, changes, err := s.update(ctx, c, set)
	if err != nil {
		return err
	}
	if c.Facts, err = facts.encode(); err == nil {
		c.Changes, err = kept(changes)
	}
	return err
}

// untell has the plugin make it as the row is.
func (s *Service) untell(ctx context.Context, c *change) error {
	_, _, err := s.update(ctx, c, nil)
	if errs.ClassOf(err) == errs.NotFound {
		return nil // the row went with a delete by force
	}
	return err
}

// update tells the plugin of the row as it was, with what is set, and returns what it
// answered.
func (s *Service) update(ctx context.Context, c *change, set values) (values, *pluginv1.RowChanges, error) {
	t, p, err := s.called(c.Type)
	if err != nil {
		return nil, nil, err
	}
	row, err := decode(c.Before)
	if err != nil {
		return nil, nil, err
	}
	now, err := s.row(ctx, s.k.Store, t, c.UUID)
	if err != nil {
		return nil, nil, err
	}
	row["uuid"], row["accountUuid"] = c.UUID, now["accountUuid"]
	maps.Copy(row, set)
	told, err := s.told(ctx, s.k.Store, t, row, nil)
	if err != nil {
		return nil, nil, err
	}
	answer, err := p.UpdateResource(ctx, &pluginv1.UpdateResourceRequest{Resource: told, Changed: c.Changed})
	if err != nil {
		return nil, nil, t.failed(err, c.UUID, "change")
	}
	facts, err := t.facts(answer.GetFacts(), p.Decl)
	return facts, answer.GetChanges(), err
}

// write writes what was given, and what the plugin answered.
func (s *Service) write(ctx context.Context, tx *store.Tx, c *change) error {
	t, err := s.named(c.Type)
	if err != nil {
		return err
	}
	set, err := c.set()
	if err != nil {
		return err
	}
	facts, err := decode(c.Facts)
	if err != nil {
		return err
	}
	if err := s.guard(ctx, tx, t, set); err != nil {
		return err
	}
	maps.Copy(set, facts)
	if err := store.Set(ctx, tx, t.typ, c.UUID, set); err != nil {
		return err
	}
	return s.applyKept(ctx, tx, t, c.Changes, "")
}
