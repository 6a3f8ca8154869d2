package hook

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Before asks the plugins that subscribe to a call, and tells those of the core (Asked)
// when none denies it. It is action.Ports.Before:
// errs.Refused is a plugin's denial, with its reason; errs.Unavailable says that one
// which must be asked did not answer.
func (s *Service) Before(ctx context.Context, q action.Asked) (action.Amended, error) {
	all, err := s.askAll(ctx, &q)
	if err == nil {
		Announce(ctx, s, Asked(q.Action.Message), q)
	}
	return all, err
}

// askAll asks the plugins, and has the parameters of q be what they make of them.
func (s *Service) askAll(ctx context.Context, q *action.Asked) (action.Amended, error) {
	var all action.Amended
	x := s.index.Load()
	if len(x.before) == 0 {
		return all, nil
	}
	askers := x.before[[2]string{q.About.Type, q.Action.Message}]
	if verb := verbOf(q.Action); verb != "" {
		askers = append(slices.Clip(askers), x.before[[2]string{q.About.Type, verb}]...)
	}
	if len(askers) == 0 {
		return all, nil
	}
	given := q.Parameters()
	for _, sub := range askers {
		if s.Plugins.Ready(sub.plugin) != nil {
			continue // it is switched off
		}
		one, err := s.ask(ctx, sub, *q, given)
		if err != nil {
			return action.Amended{}, err
		}
		if len(one.Parameters) > 0 {
			maps.Copy(given, one.Parameters)
			if all.Parameters == nil {
				all.Parameters = map[string]json.RawMessage{}
			}
			maps.Copy(all.Parameters, one.Parameters)
		}
		all.SystemTags = append(all.SystemTags, one.SystemTags...)
	}
	q.Parameters = func() map[string]json.RawMessage { return maps.Clone(given) }
	return all, nil
}

// verbOf is what kind of change a call makes, "" for those that have only their
// message's name.
func verbOf(a *action.Action) string {
	switch {
	case a.Create:
		return pluginsdk.VerbCreate
	case a.Deletes():
		return pluginsdk.VerbDelete
	case strings.HasPrefix(a.Message, "APIUpdate"):
		return pluginsdk.VerbUpdate
	}
	if _, byEvent := a.Param("stateEvent"); byEvent {
		return pluginsdk.VerbUpdate
	}
	return ""
}

func (s *Service) ask(ctx context.Context, sub subscription, q action.Asked, given map[string]json.RawMessage) (action.Amended, error) {
	var none action.Amended
	answer, err := s.answerOf(ctx, sub, q, given)
	if err == nil {
		if d := answer.GetDenial(); d != nil {
			return none, errs.New(errs.Refused, q.Action.Message, "plugin %s refuses it: %s", sub.plugin, reason(d)).WithAdvice("%s", d.GetAdvice())
		}
		var amended action.Amended
		if amended, err = sub.amended(answer); err == nil {
			return amended, nil
		}
	}
	if sub.ignores() {
		s.Log.Warn("plugin not asked before a call, which goes on", "plugin", sub.plugin, "message", q.Action.Message, "error", err)
		return none, nil
	}
	return none, errs.Wrap(errs.Unavailable, q.Action.Message, err, "plugin %s must be asked before it, and gives no answer", sub.plugin).
		WithAdvice("see what is wrong with the plugin, or disable it")
}

func (s *Service) answerOf(ctx context.Context, sub subscription, q action.Asked, given map[string]json.RawMessage) (*pluginv1.BeforeResponse, error) {
	o, err := s.Plugins.Observer(sub.plugin)
	if err != nil {
		return nil, err
	}
	params, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sub.timeout())
	defer cancel()
	return o.Before(ctx, &pluginv1.BeforeRequest{Type: q.About.Type, Uuid: q.About.UUID, Verb: sub.GetVerb(), Message: q.Action.Message,
		AccountUuid: q.Call.Caller.AccountUUID, Admin: q.Call.Caller.Admin, System: q.Call.Caller.System, Parameters: params,
		SystemTags: s.ShowTags(q.About.Type, q.Call.SystemTags)})
}

func reason(d *pluginv1.Denial) string {
	if d.GetReason() == "" {
		return "it gives no reason"
	}
	return d.GetReason()
}

// amended reads what a plugin amends; what its subscription does not name is an
// error of the plugin.
func (s subscription) amended(r *pluginv1.BeforeResponse) (action.Amended, error) {
	all := action.Amended{SystemTags: r.GetAddSystemTags()}
	if len(r.GetAmend()) > 0 {
		if err := json.Unmarshal(r.GetAmend(), &all.Parameters); err != nil {
			return all, errs.Wrap(errs.Invalid, "plugin "+s.plugin, err, "what it amends is no JSON object")
		}
	}
	for name := range all.Parameters {
		if !slices.Contains(s.GetAmends(), name) {
			return all, errs.New(errs.Invalid, "plugin "+s.plugin, "it amends %s, which its subscription does not name", name)
		}
	}
	if len(all.SystemTags) > 0 && !slices.Contains(s.GetAmends(), "systemTags") {
		return all, errs.New(errs.Invalid, "plugin "+s.plugin, "it adds system tags, which its subscription does not name")
	}
	return all, nil
}
