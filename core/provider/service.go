package provider

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service serves the types of plugins' own. It is safe for concurrent use.
type Service struct {
	k     *kernel.Kernel
	types atomic.Pointer[[]*served]

	creating *flow.Def[creation]
	updating *flow.Def[change]
	acting   *flow.Def[act]
}

// served is a type with its declaration.
type served struct {
	*declaration
	typ *resource.Type
}

// New makes the service.
func New(k *kernel.Kernel) *Service {
	s := &Service{k: k}
	s.types.Store(&[]*served{})
	s.creating, s.updating, s.acting = s.defineCreate(), s.defineUpdate(), s.defineAct()
	return s
}

// Register registers the flows, and what the types of plugins have.
func (s *Service) Register() error {
	flow.Register(s.k.Flows, s.creating)
	flow.Register(s.k.Flows, s.updating)
	flow.Register(s.k.Flows, s.acting)
	s.k.Brought(kernel.Bringer{Register: s.registerTypes, Save: s.Save})
	return nil
}

// registerTypes registers what the types of plugins have: messages, how their rows are
// deleted, tags.
func (s *Service) registerTypes() error {
	all, err := declarations(context.Background(), s.k)
	if err != nil {
		return err
	}
	var types []*served
	for _, d := range all {
		typ, ok := s.k.Types.Get(d.GetName())
		if !ok {
			continue // a dormant one that was left out
		}
		t := &served{d, typ}
		types = append(types, t)
		if err := s.register(t); err != nil {
			return d.wrong("%v", err)
		}
	}
	s.types.Store(&types)
	return nil
}

func (s *Service) register(t *served) error {
	deleter := cascade.Deleter{Check: func(context.Context, *store.Tx, string) error { return s.enabled(t) }}
	if t.GetCalls() {
		deleter = s.deleter(t, deleter)
	}
	s.k.Cascade.Register(t.GetName(), deleter)
	for _, d := range t.GetTags() {
		p := tag.Pattern{Resource: cmp.Or(d.GetOf(), t.GetName()), Pattern: d.GetPattern(), Single: d.GetSingle(), Caption: kernel.Said(d.GetCaption())}
		if err := s.k.Tags.Define(p); err != nil {
			return err
		}
	}
	return errors.Join(s.registerCreate(t), s.registerPrice(t), s.registerUpdate(t), s.registerState(t), s.registerDelete(t), s.registerActions(t))
}

// enabled refuses what is asked of a type whose plugin is not there.
func (s *Service) enabled(t *served) error {
	if !t.dormant {
		return s.k.Plugins.Ready(t.plugin)
	}
	for _, m := range s.k.Plugins.Manifests() {
		if m.GetName() == t.plugin {
			return errs.New(errs.Unavailable, "resource type "+t.GetName(), "version %s of plugin %s offers it no more", m.GetVersion(), t.plugin).
				WithAdvice("enable the version before")
		}
	}
	return errs.New(errs.Unavailable, "resource type "+t.GetName(), "plugin %s is not enabled", t.plugin).
		WithAdvice("start the server with --plugins …,%s", t.plugin)
}

// called returns the plugin of a type, which is named by the state of a flow.
func (s *Service) called(typeName string) (*served, *plugin.ResourceProvider, error) {
	t, err := s.named(typeName)
	if err == nil {
		err = s.enabled(t)
	}
	if err != nil {
		return nil, nil, err
	}
	p, err := s.k.Plugins.ResourceProvider(typeName)
	return t, p, err
}

// named returns a type by its name.
func (s *Service) named(typeName string) (*served, error) {
	types := *s.types.Load()
	i := slices.IndexFunc(types, func(t *served) bool { return t.GetName() == typeName })
	if i < 0 {
		return nil, errs.New(errs.Unavailable, "resource type "+typeName, "no plugin declares it any more").WithAdvice("enable its plugin again")
	}
	return types[i], nil
}

// failed says what a plugin did not do.
func (t *served) failed(err error, uuid, what string) error {
	if err == nil {
		return nil
	}
	return errs.Wrap(errs.ClassOf(err), t.GetName()+" "+uuid, err, "plugin %s cannot %s it", t.plugin, what)
}

// guard sees to it that what a row refers to by some fields is there, is not being
// deleted, and can be used.
func (s *Service) guard(ctx context.Context, tx *store.Tx, t *served, row values) error {
	var parents []cascade.Parent
	for _, f := range t.GetFields() {
		uuid, _ := row[f.GetName()].(string)
		if to := t.refOf(f); to != "" && uuid != "" {
			parents = append(parents, cascade.Parent{Type: to, UUID: uuid})
		}
	}
	if err := cascade.GuardAll(ctx, tx, parents...); err != nil {
		return err
	}
	for _, p := range parents {
		of, err := s.named(p.Type)
		if err != nil || of.GetStates().GetCreating() == "" {
			continue
		}
		found, err := s.row(ctx, tx, of, p.UUID)
		if err != nil {
			return err
		}
		if found[of.GetStates().GetColumn()] == of.GetStates().GetCreating() {
			return errs.New(errs.Refused, p.Type+" "+p.UUID, "it is still being made").WithAdvice("repeat the call when it is %s", of.GetStates().GetReady())
		}
	}
	return nil
}

// params are those that give fields their values, when a resource is made or, with
// change, changed.
func (t *served) params(change bool) []action.Param {
	var out []action.Param
	for _, f := range t.settable(change) {
		p := kernel.ParamOf(f)
		p.Resource = t.refOf(f)
		if e, ok := t.typ.Edge(t.typ.OwnedBy); ok && e.Column == f.GetName() {
			p.Write = true // it gets one more part
		}
		if t.GetForeign() != nil && f.GetName() == t.GetForeign().GetEndpoint() {
			p.Write = true // what is done there is done in the name of its owner
		}
		if change {
			p.Required, p.Default, p.NoEmptyString = false, "", f.GetRequired()
		}
		out = append(out, p)
	}
	return out
}

// settable are the fields that a create, or a change, gives values.
func (t *served) settable(change bool) []*pluginv1.Field {
	return slices.DeleteFunc(slices.Clone(t.GetFields()), func(f *pluginv1.Field) bool {
		return f.GetFact() || f.GetHidden() || f.GetName() == t.GetStates().GetColumn() || change && f.GetImmutable()
	})
}

// baseFields are the fields of every row that messages give values.
var baseFields = []*pluginv1.Field{{Name: "name", Required: true, MaxLength: 255}, {Name: "description", MaxLength: 2048}}

func baseParams(required bool) []action.Param {
	return []action.Param{{Name: "name", Type: "string", Required: required, MaxLength: 255}, {Name: "description", Type: "string", MaxLength: 2048}}
}

// spoken is the type's name in an English sentence.
func (t *served) spoken() string { return strings.ToLower(t.GetCaption().GetEn()) }
