package kernel

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file takes up what plugins declare: when the core starts, and when a plugin
// comes, or comes with another manifest, while it runs.

// Bringer takes up what manifests (Declared) bring to a service.
type Bringer struct {
	// Register registers it: actions, tags, settings, rules of deletes. It is called
	// when everything else is registered, and again with other manifests; the actions
	// that it registered before are gone then, the rest is replaced by name.
	Register func() error
	// Save, which may be nil, keeps what is registered in the database. It is called
	// when manifests change while the core runs; at the start by its part (Prepare).
	Save func(context.Context) error
	// Holds, which may be nil, is an error (errs.Refused) while there is something that
	// cannot be without the plugin of a manifest.
	Holds func(ctx context.Context, m *pluginv1.Manifest) error
}

// brought is what manifests have brought.
type brought struct {
	mu       sync.Mutex // held by who takes up manifests
	bases    Bases
	bringers []Bringer
	types    []*resource.Type
	// trial are the manifests that are being taken up; nil when none are.
	trial atomic.Pointer[[]*pluginv1.Manifest]
}

// Brought adds to those that take up manifests. Call it before Bring.
func (k *Kernel) Brought(b Bringer) {
	k.brought.mu.Lock()
	defer k.brought.mu.Unlock()
	k.brought.bringers = append(k.brought.bringers, b)
}

// Declared returns the manifests of the plugins, as they are or are about to be: what
// is registered is made of them. They must not be changed.
func (k *Kernel) Declared() []*pluginv1.Manifest {
	if trial := k.brought.trial.Load(); trial != nil {
		return *trial
	}
	return k.Plugins.Manifests()
}

// AddPluginTypes adds the types that plugins declare and makes their tables.
func (k *Kernel) AddPluginTypes(ctx context.Context, b Bases) error {
	k.brought.mu.Lock()
	defer k.brought.mu.Unlock()
	k.brought.bases = b
	return k.swapTypes(ctx)
}

// Bring registers what the manifests bring. It comes when all else is registered.
func (k *Kernel) Bring() error {
	k.brought.mu.Lock()
	defer k.brought.mu.Unlock()
	return k.bring()
}

// Follow takes up the manifest of a plugin that takes calls from now on, in the place of
// the one that it had. What tables have more now stays when that, or what follows,
// fails; else nothing has changed then. Errors: Invalid for what cannot be declared.
func (k *Kernel) Follow(ctx context.Context, next *pluginv1.Manifest) error {
	b := k.brought
	b.mu.Lock()
	defer b.mu.Unlock()
	manifests := slices.Clone(k.Plugins.Manifests())
	i := slices.IndexFunc(manifests, func(m *pluginv1.Manifest) bool { return m.GetName() == next.GetName() })
	if i < 0 {
		manifests = append(manifests, next)
	} else {
		manifests[i] = next
	}
	return k.take(ctx, manifests, next)
}

// Retake takes up the manifests again, as they are now: one has gone.
func (k *Kernel) Retake(ctx context.Context) error {
	k.brought.mu.Lock()
	defer k.brought.mu.Unlock()
	return k.take(ctx, k.Plugins.Manifests())
}

// Unneeded is an error (errs.Refused) while there are resources that are what they are by a
// plugin: hosts of its type, networks that it serves.
func (k *Kernel) Unneeded(ctx context.Context, plugin string) error {
	all := k.Plugins.Manifests()
	i := slices.IndexFunc(all, func(m *pluginv1.Manifest) bool { return m.GetName() == plugin })
	if i < 0 {
		return nil
	}
	for _, e := range pluginsdk.Extensions(all[i]) {
		base := k.brought.bases.Of[e.Strategy]
		if base == nil {
			continue
		}
		n, err := store.Count(ctx, k.Store, base, "`"+base.Discriminator+"` = ?", e.Type)
		if err == nil && n > 0 {
			err = errs.New(errs.Refused, "plugin "+plugin, "%d of type %s are of its kind %s", n, base.Name, e.Type).WithAdvice("delete them first")
		}
		if err != nil {
			return err
		}
	}
	for _, br := range k.brought.bringers {
		if br.Holds == nil {
			continue
		}
		if err := br.Holds(ctx, all[i]); err != nil {
			return err
		}
	}
	return nil
}

// take registers what manifests bring while the core runs; next is the new one.
func (k *Kernel) take(ctx context.Context, manifests []*pluginv1.Manifest, next ...*pluginv1.Manifest) error {
	b := k.brought
	b.trial.Store(&manifests)
	defer b.trial.Store(nil)
	before := b.types
	if err := k.swapTypes(ctx); err != nil {
		return err
	}
	err := k.bring()
	if err == nil {
		err = k.Actions.CheckTypes(k.Types)
	}
	if err == nil {
		err = k.Hooks.Check(next)
	}
	for _, br := range b.bringers {
		if err == nil && br.Save != nil {
			err = br.Save(ctx)
		}
	}
	if err == nil {
		return nil
	}
	b.trial.Store(nil)
	if back := k.Types.Swap(b.types, before); back != nil {
		k.Log.Error("types of plugins cannot be as they were", "error", back)
	} else if b.types = before; k.bring() != nil {
		k.Log.Error("what plugins bring cannot be as it was; restart the server")
	}
	return err
}

func (k *Kernel) bring() error {
	return k.Actions.Bring(func() error {
		for _, br := range k.brought.bringers {
			if err := br.Register(); err != nil {
				return err
			}
		}
		return nil
	})
}

// swapTypes puts the types that the manifests declare in the place of those that they
// declared before.
func (k *Kernel) swapTypes(ctx context.Context) error {
	types := resource.NewRegistry()
	for _, t := range k.Types.All() {
		if !slices.Contains(k.brought.types, t) {
			if err := types.Add(t); err != nil {
				return err
			}
		}
	}
	added, err := k.extensions(types)
	if err != nil {
		return err
	}
	if own := k.brought.bases.Own; own != nil {
		more, err := own(ctx, k, types)
		if err != nil {
			return err
		}
		added = append(added, more...)
		if err := types.Add(more...); err != nil {
			return err
		}
	}
	if err := types.Check(); err != nil {
		return err
	}
	if err := k.Store.EnsureTypes(ctx, added...); err != nil {
		return err
	}
	if err := k.Types.Swap(k.brought.types, added); err != nil {
		return err
	}
	k.brought.types = added
	return nil
}

// extensions adds to types what plugins add to the types of their strategies, and
// returns it.
func (k *Kernel) extensions(types *resource.Registry) (added []*resource.Type, err error) {
	for _, m := range k.Declared() {
		for _, e := range pluginsdk.Extensions(m) {
			base := k.brought.bases.Of[e.Strategy]
			if base == nil || e.Add != nil && subtypeIn(types, base, e.Type) != nil {
				continue // a second plugin that has the same message (plugin.Manager)
			}
			t, err := Subtype(base, e.Type, e.Add, e.Fields)
			if err != nil {
				return nil, err
			}
			if t == nil {
				continue
			}
			if err := types.Add(t); err != nil {
				return nil, err
			}
			added = append(added, t)
		}
	}
	return added, nil
}
