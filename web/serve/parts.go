package serve

import (
	"context"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/core/plugin/life"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// add notes parts that have been made.
func (p *parts) add(made ...part.Part) { p.made = append(p.made, made...) }

// giveUp stops what has been made of a server that will not be one. The error
// for which it is given up is the one to tell.
func (p *parts) giveUp(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), partsTimeout)
	defer cancel()
	_ = part.Parts(p.made).Stop(end)
}

// management is this node: it lives until the plugins have ended, so that no
// other node takes over while they still work.
func (p *parts) management(node *mgmt.Node) part.Part {
	return part.Part{Name: "management", Needs: []string{"store"},
		Register: func() error { return p.mgmt.Register(p.kernel.Actions) },
		Start:    func(ctx context.Context) error { p.mgmt.Start(ctx); return nil },
		Stop: func(ctx context.Context) error {
			if p.mgmt == nil {
				return node.Leave(ctx)
			}
			return p.mgmt.Stop(ctx)
		}}
}

// core is the kernel: what was left by the last process goes on when it starts.
func (p *parts) core() part.Part {
	k := p.kernel
	return part.Part{Name: "kernel", Needs: []string{"plugins"}, Register: k.RegisterParts, Prepare: k.Config.Load, Start: k.Start, Stop: k.Jobs.Stop}
}

// accounts are who may call.
func (p *parts) accounts() part.Part {
	return part.Part{Name: "identity", Needs: []string{"kernel"},
		Register: func() error { return p.identity.Register(p.kernel.Actions) },
		Prepare:  p.bootstrap,
		Start:    func(ctx context.Context) error { p.identity.Start(ctx); return nil },
		Stop:     p.identity.Stop}
}

// lives are the rows of the plugins, and what administrators may do with plugins.
func (p *parts) lives(s *life.Service, rows life.Rows) part.Part {
	return part.Part{Name: "plugin-life", Needs: []string{"kernel"},
		Register: func() error { return s.Register(p.kernel.Actions, rows) },
		Prepare:  s.Save,
		Start:    func(ctx context.Context) error { s.Start(ctx); return nil },
		Stop:     func(context.Context) error { s.Stop(); return nil }}
}

// accept declares what is new in the manifest of a plugin that takes calls from now
// on (plugin.Config.Accept).
func (p *parts) accept(ctx context.Context, next *pluginv1.Manifest) error {
	return p.kernel.Follow(ctx, next)
}

// rest is what is made of all that the other parts have registered: queries of
// the types, tags of the settings.
func (p *parts) rest() part.Part {
	k := p.kernel
	return part.Part{Name: "rest", Needs: part.Names(p.made...), Register: func() error {
		err := k.Config.Define(config.Setting{Category: "rest", Name: "poll.hold", Type: "int", Default: "1000", Min: 0, Max: 1000,
			Doc: "Milliseconds that a job poll is held open until the job ends."})
		if err != nil {
			return err
		}
		if err := k.Config.DefineTags(k.Tags); err != nil {
			return err
		}
		k.Brought(kernel.Bringer{Register: p.registerQueries, Save: k.Config.Load})
		if err := k.Bring(); err != nil {
			return err
		}
		return k.Actions.CheckTypes(k.Types)
	}}
}
