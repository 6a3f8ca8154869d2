package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func (s *Service) registerActions(t *served) error {
	for _, d := range t.GetActions() {
		if err := s.registerAction(t, d); err != nil {
			return err
		}
	}
	return nil
}

// firstOf is the first parameter of an action's route, "" for none.
func firstOf(d *pluginv1.ActionDecl) string {
	_, after, _ := strings.Cut(d.GetRoute(), "{")
	name, _, _ := strings.Cut(after, "}")
	return name
}

func subjectName(d *pluginv1.ActionDecl) string { return cmp.Or(d.GetSubject(), "uuid") }

// paramsOf are the parameters that an action declares.
func paramsOf(d *pluginv1.ActionDecl) []action.Param {
	var params []action.Param
	for _, f := range d.GetParams() {
		p := kernel.ParamOf(f)
		p.NonEmpty = f.GetRequired() && strings.HasPrefix(p.Type, "[]")
		p.Write, p.Use = f.GetRights() == pluginsdk.RightsChange, f.GetRights() == pluginsdk.RightsRead
		params = append(params, p)
	}
	return params
}

func (s *Service) registerAction(t *served, d *pluginv1.ActionDecl) error {
	params, method := paramsOf(d), cmp.Or(d.GetMethod(), http.MethodPut)
	a := action.Action{Message: d.GetMessage(), Method: method, Path: cmp.Or(d.GetRoute(), t.GetPath()+cmp.Or(d.GetPath(), "/actions")), Async: method != http.MethodGet,
		Access: t.access(d.GetAccess()), Doc: d.GetDoc(), View: action.View{Caption: kernel.Said(d.GetCaption()), Type: t.GetName()}, Plugin: t.plugin,
		Returns: d.GetReturns()}
	switch d.GetOn() {
	case pluginsdk.ActsOnMany:
		return s.registerMany(t, d, a, params)
	case pluginsdk.ActsOnType:
		a.Params, a.View.Subject, a.Queue = params, cmp.Or(firstOf(d), "-"), firstOf(d)
	default:
		if d.GetRoute() == "" {
			a.Path = t.GetPath() + "/{" + subjectName(d) + "}" + cmp.Or(d.GetPath(), "/actions")
		}
		subject := t.subject()
		subject.Name = subjectName(d)
		a.Params, a.Queue = append([]action.Param{subject}, params...), subject.Name
		if len(d.GetAnswers()) == 0 {
			a.Returns = cmp.Or(a.Returns, t.GetName())
		}
	}
	if method == http.MethodDelete {
		a.Removes = func(ctx context.Context, c *action.Call, params any) (action.Removal, error) {
			q, err := s.asked(t, d, c, *params.(*map[string]any))
			if err != nil {
				return action.Removal{}, err
			}
			return s.removal(ctx, q)
		}
	}
	return s.serve(t, d, a)
}

// serve registers an action with the form of answer that it declares.
func (s *Service) serve(t *served, d *pluginv1.ActionDecl, a action.Action) error {
	done := func(ctx context.Context, c *action.Call, p map[string]any) (asked, []string, error) {
		q, err := s.asked(t, d, c, p)
		if err != nil || a.Async {
			if err == nil {
				err = s.enabled(t)
			}
			if err != nil {
				return q, nil, err
			}
			uuids, err := s.run(ctx, q)
			return q, uuids, err
		}
		answer, err := s.askAlone(ctx, q, false)
		return q, answer.GetUuids(), err
	}
	switch {
	case len(d.GetAnswers()) > 0:
		return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (map[string]any, error) {
			q, err := s.asked(t, d, c, p)
			if err != nil {
				return nil, err
			}
			answer, err := s.askAlone(ctx, q, false)
			return t.answers(d, answer), err
		})
	case d.GetReturns() == "":
		return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
			q, _, err := done(ctx, c, p)
			if q.uuid == "" {
				return action.Ref{}, err
			}
			return action.Ref{Type: t.GetName(), UUID: q.uuid}, err
		})
	case d.GetReturnsAs() == pluginsdk.ReturnsOne:
		return s.k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
			q, uuids, err := done(ctx, c, p)
			if err != nil {
				return action.Ref{}, err
			}
			refs, err := s.readable(ctx, t, d.GetReturns(), uuids, q.caller)
			return append(refs, action.Ref{})[0], err
		})
	case d.GetReturnsAs() == pluginsdk.ReturnsInventoryList:
		return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (json.RawMessage, error) {
			q, uuids, err := done(ctx, c, p)
			if err != nil {
				return nil, err
			}
			return s.inventoryList(ctx, q, uuids)
		})
	}
	return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (action.Refs, error) {
		q, uuids, err := done(ctx, c, p)
		if err != nil {
			return nil, err
		}
		return s.readable(ctx, t, d.GetReturns(), uuids, q.caller)
	})
}

// asked is a call of an action with its values.
func (s *Service) asked(t *served, d *pluginv1.ActionDecl, c *action.Call, p map[string]any) (asked, error) {
	q := asked{t: t, d: d, job: c.Job, caller: c.Caller}
	q.uuid, _ = p[subjectName(d)].(string)
	if d.GetOn() == pluginsdk.ActsOnType {
		q.uuid = ""
	}
	if d.GetReturns() != "" {
		q.job = "" // the job ends with what is returned
	}
	var err error
	q.params, err = s.given(d.GetMessage(), p, d.GetParams())
	return q, err
}

// inventoryList answers resources as a list that is called inventory.
func (s *Service) inventoryList(ctx context.Context, q asked, uuids []string) (json.RawMessage, error) {
	refs, err := s.readable(ctx, q.t, q.d.GetReturns(), uuids, q.caller)
	if err != nil {
		return nil, err
	}
	body, _, err := s.k.Actions.Render(ctx, refs)
	if err != nil {
		return nil, err
	}
	var shown struct {
		Inventories json.RawMessage `json:"inventories"`
	}
	if err := json.Unmarshal(body, &shown); err != nil {
		return nil, errs.Wrap(errs.Internal, q.d.GetMessage(), err, "its answer cannot be read")
	}
	return json.Marshal(map[string]any{"inventory": shown.Inventories})
}

// answers are those that an action declares; what a plugin answers beside is left out.
func (t *served) answers(d *pluginv1.ActionDecl, answer *pluginv1.ActOnResourceResponse) map[string]any {
	told, out := valuesOf(answer.GetAnswers()), map[string]any{}
	for _, f := range d.GetAnswers() {
		if v := told[f.GetName()]; v != nil && fits(f.GetKind(), v) {
			out[f.GetName()] = v
		}
	}
	return out
}

// registerMany registers an action on several resources: each is a request of its
// own in the turn of the resource, for which who asked has been checked.
func (s *Service) registerMany(t *served, d *pluginv1.ActionDecl, a action.Action, params []action.Param) error {
	each := strings.TrimPrefix(d.GetMessage(), "API")
	one := action.Action{Message: each, Async: true, Access: action.Internal, Queue: "uuid", Doc: a.Doc,
		Params: append([]action.Param{{Name: "uuid", Type: "string", Required: true, Resource: t.GetName()}, {Name: "askedBy", Type: "string"},
			{Name: "byAdmin", Type: "bool"}}, params...)}
	err := s.k.Actions.RegisterDynamic(one, func(ctx context.Context, c *action.Call, p map[string]any) (action.Ref, error) {
		q, err := s.asked(t, d, c, p)
		if err == nil {
			err = s.enabled(t)
		}
		if err != nil {
			return action.Ref{}, err
		}
		q.caller = action.Caller{}
		q.caller.AccountUUID, _ = p["askedBy"].(string)
		q.caller.Admin, _ = p["byAdmin"].(bool)
		_, err = s.run(ctx, q)
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
			of := map[string]any{"uuid": uuid, "askedBy": c.Caller.AccountUUID, "byAdmin": c.Caller.Admin}
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

// given picks the values of fields out of the parameters of a message. Times come
// as texts. Errors: Invalid, which names the parameter.
func (s *Service) given(message string, p map[string]any, fields []*pluginv1.Field) (values, error) {
	v := values{}
	a, ok := s.k.Actions.Get(message)
	if !ok {
		return nil, errs.New(errs.Unavailable, message, "it is not offered any more")
	}
	for _, f := range fields {
		value, ok := p[f.GetName()]
		if !ok || value == nil {
			continue
		}
		object := "parameter " + f.GetName() + " of " + message
		switch {
		case f.GetKind() == pluginsdk.KindObjects:
			objects := a.ObjectsOf(f.GetName(), value)
			for _, o := range objects {
				for _, m := range f.GetMembers() {
					if err := readTime(o, m, object); err != nil {
						return nil, err
					}
				}
			}
			v[f.GetName()] = objects
		default:
			v[f.GetName()] = value
			if err := readTime(v, f, object); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// readTime puts the time in the place of the text of one, if f is that.
func readTime(v map[string]any, f *pluginv1.Field, object string) error {
	text, is := v[f.GetName()].(string)
	if !is || f.GetKind() != "time" {
		return nil
	}
	if text == "" {
		v[f.GetName()] = nil
		return nil
	}
	t, ok := query.ParseTime(text)
	if !ok {
		return errs.New(errs.Invalid, object, "%.80q is no time such as 2026-01-31 12:00:00", text)
	}
	v[f.GetName()] = t
	return nil
}
