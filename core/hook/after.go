package hook

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// verbs are what subscriptions call what happens to a row.
var verbs = map[string]store.Verb{
	pluginsdk.VerbCreate: store.Created, pluginsdk.VerbUpdate: store.Updated, pluginsdk.VerbDelete: store.Deleted, pluginsdk.VerbMissed: event.Missed,
}

func verbWord(v store.Verb) string {
	for word, verb := range verbs {
		if verb == v {
			return word
		}
	}
	return string(v)
}

// telling is a plugin that is told of changes.
type telling struct {
	*event.Durable
	end context.CancelFunc
}

// subscribe has the outbox kept for the plugins of x, until ctx ends or they want
// something else. loading is held.
func (s *Service) subscribe(ctx context.Context, x *index) error {
	for plugin, t := range s.told {
		if wants(x.after[plugin], t.Wants) {
			continue
		}
		t.end()
		<-t.Ended()
		delete(s.told, plugin)
	}
	for plugin, subs := range x.after {
		if s.told[plugin] != nil {
			continue
		}
		d := &event.Durable{Name: "plugin/" + plugin, Deliver: func(ctx context.Context, e event.Event) error { return s.deliver(ctx, plugin, subs, e) }}
		for _, sub := range subs {
			d.Wants = append(d.Wants, event.Want{Type: sub.GetType(), Verb: verbs[sub.GetVerb()]})
		}
		life, end := context.WithCancel(ctx)
		if err := s.Events.Subscribe(life, s.Store, d, s.Log); err != nil {
			end()
			return err
		}
		s.told[plugin] = &telling{d, end}
	}
	return nil
}

// wants tells whether subscriptions are those that a subscriber was made of.
func wants(subs []subscription, have []event.Want) bool {
	return slices.EqualFunc(subs, have, func(sub subscription, w event.Want) bool {
		return sub.GetType() == w.Type && verbs[sub.GetVerb()] == w.Verb
	})
}

// deliver tells a plugin of one change, with the resource as it is now.
func (s *Service) deliver(ctx context.Context, plugin string, subs []subscription, e event.Event) error {
	i := slices.IndexFunc(subs, func(sub subscription) bool {
		return sub.GetType() == e.Type && (verbs[sub.GetVerb()] == e.Verb || e.Verb == event.Missed)
	})
	if i < 0 {
		return nil // of an earlier version's subscription
	}
	o, err := s.Plugins.Observer(plugin)
	if err != nil {
		return err
	}
	req := &pluginv1.AfterRequest{Type: e.Type, Uuid: e.UUID, Verb: verbWord(e.Verb), Fields: e.Fields, AccountUuid: e.AccountUUID, Job: e.Job,
		TimeMs: e.Time.UnixMilli()}
	if e.Verb != store.Deleted {
		shown, err := s.Inventory(ctx, e.Type, e.UUID)
		if err != nil && errs.ClassOf(err) != errs.NotFound {
			return err
		}
		req.Inventory = shown
	}
	ctx, cancel := context.WithTimeout(ctx, subs[i].timeout())
	defer cancel()
	_, err = o.After(ctx, req)
	return err
}
