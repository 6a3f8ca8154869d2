package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Plugins are those that may observe.
type Plugins interface {
	Manifests() []*pluginv1.Manifest
	// Observer returns the calls of a plugin. Errors: NotFound when it is not enabled.
	Observer(plugin string) (pluginsdk.Observer, error)
	// Ready is an error for a plugin that is off until somebody wants it to run.
	Ready(plugin string) error
	// OnRestart has f told of plugins whose process is a new one.
	OnRestart(f func(plugin string))
}

// Service knows who observes what. It is safe for concurrent use.
type Service struct {
	Options
	index atomic.Pointer[index]
	again sync.Once // OnRestart

	mu     sync.Mutex
	points map[string]string // declared ones, with what they are
	parts  map[string]any    // those of the core by moment ([]func(context.Context, T) error)

	// told are the plugins that are told of changes; who changes it holds loading.
	loading chan struct{}
	told    map[string]*telling
}

// Options are what a Service needs.
type Options struct {
	Plugins Plugins
	Types   *resource.Registry
	Store   *store.Store
	Events  *event.Bus
	// Inventory shows a resource. errs.NotFound when it is gone.
	Inventory func(ctx context.Context, typeName, uuid string) (json.RawMessage, error)
	// ShowTags is what clients see of system tags: without their secrets.
	ShowTags func(typeName string, tags []string) []string
	Log      hclog.Logger
}

// New returns a service to which nobody subscribes yet; Start reads who does.
func New(o Options) *Service {
	s := &Service{Options: o, points: map[string]string{}, told: map[string]*telling{}, loading: make(chan struct{}, 1)}
	s.index.Store(&index{})
	return s
}

// subscription is one of a manifest, with whose it is.
type subscription struct {
	*pluginv1.Subscription
	plugin string
}

// index is who subscribes to what, in the order in which plugins are enabled.
type index struct {
	before map[[2]string][]subscription // by type and verb
	points map[string][]subscription
	after  map[string][]subscription // by plugin
}

func (s subscription) timeout() time.Duration {
	return time.Duration(pluginsdk.SubscriptionTimeout(s.Subscription)) * time.Millisecond
}

func (s subscription) ignores() bool { return s.GetOnFailure() == pluginsdk.FailureIgnore }

// Declare makes a point known, by a name such as "vm.start.nics-ready" and a sentence
// on what has happened there and what the subject says. A repeat is one; it panics when
// the name is taken, which is a programming error.
func (s *Service) Declare(point, doc string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, twice := s.points[point]; twice && other != doc {
		panic("point " + point + " is declared twice")
	}
	s.points[point] = doc
}

// Points returns the declared points, each with what it is.
func (s *Service) Points() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.points)
}

// Start reads what the plugins subscribe to, and tells them of changes until ctx
// ends; it takes up what manifests say of plugins that are started later. Errors:
// errs.Invalid names subscriptions to types and points that do not exist.
func (s *Service) Start(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	s.again.Do(func() {
		s.Plugins.OnRestart(func(plugin string) {
			if err := s.load(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("what plugins observe is not taken up", "plugin", plugin, "error", err)
			}
		})
	})
	return nil
}

// load takes up what the manifests say now, one call after the other.
func (s *Service) load(ctx context.Context) error {
	select {
	case s.loading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.loading }()
	next, err := s.read(s.Plugins.Manifests(), s.Points())
	if err != nil {
		return err
	}
	s.index.Store(next)
	return s.subscribe(ctx, next)
}

// Check tells whether plugins with these manifests could observe what they ask for:
// errs.Invalid as Start.
func (s *Service) Check(manifests []*pluginv1.Manifest) error {
	_, err := s.read(manifests, s.Points())
	return err
}

func (s *Service) read(manifests []*pluginv1.Manifest, points map[string]string) (*index, error) {
	x := &index{before: map[[2]string][]subscription{}, points: map[string][]subscription{}, after: map[string][]subscription{}}
	var wrong []error
	for _, m := range manifests {
		for _, d := range m.GetSubscriptions() {
			if err := s.check(m.GetName(), d, points); err != nil {
				wrong = append(wrong, err)
				continue
			}
			one := subscription{d, m.GetName()}
			switch d.GetPhase() {
			case pluginsdk.PhaseBefore:
				k := [2]string{d.GetType(), d.GetVerb()}
				x.before[k] = append(x.before[k], one)
			case pluginsdk.PhaseAfter:
				x.after[m.GetName()] = append(x.after[m.GetName()], one)
			default:
				x.points[d.GetPoint()] = append(x.points[d.GetPoint()], one)
			}
		}
	}
	return x, errors.Join(wrong...)
}

func (s *Service) check(plugin string, d *pluginv1.Subscription, points map[string]string) error {
	if err := pluginsdk.CheckSubscription(d); err != nil {
		return fmt.Errorf("plugin %s: %w", plugin, err)
	}
	if d.GetPhase() != pluginsdk.PhasePoint {
		if t, ok := s.Types.Get(d.GetType()); !ok || t.Parent != "" {
			return errs.New(errs.Invalid, "plugin "+plugin, "it subscribes to type %s, which is none, or a kind of another", d.GetType()).
				WithAdvice("subscribe to the base type, such as Host")
		}
		return nil
	}
	for _, name := range d.GetWhileAny() {
		if t, ok := s.Types.Get(name); !ok || t.Plugin != plugin {
			return errs.New(errs.Invalid, "plugin "+plugin, "it contributes to point %s while there is any %s, which is no type of its own", d.GetPoint(), name)
		}
	}
	if _, ok := points[d.GetPoint()]; !ok {
		return errs.New(errs.Invalid, "plugin "+plugin, "it subscribes to point %q, which this core does not have", d.GetPoint()).
			WithAdvice("there are %s", strings.Join(slices.Sorted(maps.Keys(points)), ", "))
	}
	return nil
}
