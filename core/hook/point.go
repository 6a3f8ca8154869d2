package hook

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Contribution is a plugin's step at a point of one flow: a part of the flow's
// state.
type Contribution struct {
	Point, Plugin string
	TimeoutMS     int32
	Ignore        bool   `json:",omitempty"` // its failure
	State         []byte `json:",omitempty"` // the plugin's own
}

// Points are the contributions to a flow. The zero value has none.
type Points []Contribution

// At returns the contributions to the points of a flow that is about to begin. It
// costs nothing when there are none.
func (s *Service) At(points ...string) Points {
	x := s.index.Load()
	if len(x.points) == 0 {
		return nil
	}
	var all Points
	for _, p := range points {
		for _, sub := range x.points[p] {
			if s.Plugins.Ready(sub.plugin) == nil && s.any(sub.GetWhileAny()) { // else it is switched off, or has nothing to do
				all = append(all, sub.contribution())
			}
		}
	}
	return all
}

// any tells whether there is a row of one of some types, or no type is named. That is
// remembered until a table changes, so it costs no question of the database. When it
// cannot be told, there is one.
func (s *Service) any(types []string) bool {
	if len(types) == 0 {
		return true
	}
	ctx := context.Background()
	for _, name := range types {
		t, ok := s.Types.Get(name)
		if !ok {
			continue
		}
		one, err := store.Remember(ctx, s.Store, "any "+name, func(q store.Querier) ([]string, int, error) {
			one, err := store.Texts(ctx, q, "SELECT `uuid` FROM `"+t.Name+"` LIMIT 1")
			return one, 64, err
		})
		if len(one) > 0 || err != nil {
			return true
		}
	}
	return false
}

func (s subscription) contribution() Contribution {
	return Contribution{Point: s.GetPoint(), Plugin: s.plugin, TimeoutMS: pluginsdk.SubscriptionTimeout(s.Subscription), Ignore: s.ignores()}
}

// Has reports whether some plugin contributes to a point.
func (p Points) Has(point string) bool {
	return slices.ContainsFunc(p, func(c Contribution) bool { return c.Point == point })
}

// Step makes the step of a flow at a point: it has the contributing plugins do
// theirs, one after another, and undo them in reverse. name is the step's; of gives
// the contributions in the flow's state, and about what the plugins are told.
func Step[S any](s *Service, name, point string, of func(*S) *Points, about func(*S) *pluginv1.PointSubject) flow.Step[S] {
	return StepAt(s, name, func(*S) string { return point }, of, about)
}

// StepAt is Step of a flow whose state tells the point.
func StepAt[S any](s *Service, name string, point func(*S) string, of func(*S) *Points, about func(*S) *pluginv1.PointSubject) flow.Step[S] {
	do := func(ctx context.Context, st *S) error {
		return s.doAll(ctx, *of(st), point(st), flow.OperationID(ctx), about(st))
	}
	undo := func(ctx context.Context, st *S) error {
		return s.undoAll(ctx, *of(st), point(st), flow.OperationID(ctx), about(st))
	}
	return flow.Do("point."+name, do, undo).When(func(st *S) bool { return of(st).Has(point(st)) }).Checkpoint()
}

func (s *Service) do(ctx context.Context, c *Contribution, operation string, about *pluginv1.PointSubject) error {
	state, err := s.doPoint(ctx, c, operation, about)
	if err == nil {
		c.State = state
		return nil
	}
	if c.Ignore && flow.Stopped(ctx) == nil {
		s.Log.Warn("plugin's step failed, and is passed over", "plugin", c.Plugin, "point", c.Point, "resource", about.GetUuid(), "error", err)
		return nil
	}
	return errs.Wrap(errs.ClassOf(err), "plugin "+c.Plugin, err, "its step at %s for %s %s", c.Point, about.GetType(), about.GetUuid())
}

func (s *Service) doPoint(ctx context.Context, c *Contribution, operation string, about *pluginv1.PointSubject) ([]byte, error) {
	o, err := s.Plugins.Observer(c.Plugin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx, operation)
	defer cancel()
	r, err := o.DoPoint(ctx, &pluginv1.DoPointRequest{Point: c.Point, Subject: about})
	if err == nil && len(r.GetState()) > pluginsdk.MaxPointState {
		err = errs.New(errs.Exhausted, "plugin "+c.Plugin, "its state at %s has %d bytes, more than %d", c.Point, len(r.GetState()), pluginsdk.MaxPointState)
	}
	return r.GetState(), err
}

func (s *Service) undo(ctx context.Context, c *Contribution, operation string, about *pluginv1.PointSubject) error {
	o, err := s.Plugins.Observer(c.Plugin)
	if err == nil {
		bounded, cancel := c.bounded(ctx, operation)
		defer cancel()
		_, err = o.UndoPoint(bounded, &pluginv1.UndoPointRequest{Point: c.Point, Subject: about, State: c.State})
	}
	if err != nil && c.Ignore && flow.Stopped(ctx) == nil {
		s.Log.Warn("plugin's step is not undone, and is passed over", "plugin", c.Plugin, "point", c.Point, "resource", about.GetUuid(), "error", err)
		err = nil
	}
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "plugin "+c.Plugin, err, "undo its step at %s for %s %s", c.Point, about.GetType(), about.GetUuid())
	}
	c.State = nil
	return nil
}

// bounded is ctx for one call of a contribution.
func (c *Contribution) bounded(ctx context.Context, operation string) (context.Context, context.CancelFunc) {
	s := subscription{Subscription: &pluginv1.Subscription{Phase: pluginsdk.PhasePoint, TimeoutMs: c.TimeoutMS}}
	return context.WithTimeout(pluginsdk.WithOperationID(ctx, operation+"."+c.Plugin), s.timeout())
}

// Do has the plugins among all that contribute to a point do their steps for one of
// several subjects of a flow, one after another; what they answer is not kept.
// operation names the step for this subject: it is the same for each try.
func (s *Service) Do(ctx context.Context, all Points, point, operation string, about *pluginv1.PointSubject) error {
	return s.doAll(ctx, slices.Clone(all), point, operation, about)
}

// doAll keeps in all what the plugins answer.
func (s *Service) doAll(ctx context.Context, all Points, point, operation string, about *pluginv1.PointSubject) error {
	for i := range all {
		if c := &all[i]; c.Point == point {
			if err := s.do(ctx, c, operation, about); err != nil {
				return err
			}
		}
	}
	return nil
}

// Undo has the same plugins undo them, the last one first, also when they have not
// done them.
func (s *Service) Undo(ctx context.Context, all Points, point, operation string, about *pluginv1.PointSubject) error {
	return s.undoAll(ctx, slices.Clone(all), point, operation, about)
}

func (s *Service) undoAll(ctx context.Context, all Points, point, operation string, about *pluginv1.PointSubject) error {
	for i := len(all) - 1; i >= 0; i-- {
		if c := &all[i]; c.Point == point {
			if err := s.undo(ctx, c, operation, about); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell has plugins do their steps at a moment, and nothing is undone.
func (s *Service) tell(ctx context.Context, point string, about *pluginv1.PointSubject) error {
	for _, sub := range s.index.Load().points[point] {
		if s.Plugins.Ready(sub.plugin) != nil {
			continue
		}
		c := sub.contribution()
		if err := s.do(ctx, &c, point+"."+about.GetUuid(), about); err != nil {
			return err
		}
	}
	return nil
}
