package serve

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/assembly"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/plugin/life"
	"github.com/kumo-cloud/kumo/core/provider"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/trust"
)

// Types returns the resource types of the core; the migrations make their
// tables. Types of plugins are added when the plugins have started.
func Types() []*resource.Type {
	var all []*resource.Type
	for _, types := range [][]*resource.Type{
		kernel.Types(), identity.Types(), mgmt.Types(), life.Types(), trust.Types(), assembly.Types(),
	} {
		all = append(all, types...)
	}
	return all
}

// parts are what a server is made of.
type parts struct {
	kernel   *kernel.Kernel
	identity *identity.Service
	mgmt     *mgmt.Service

	options Options
	made    []part.Part // so far, in the order in which they were made
	order   part.Parts  // all, when the server is built
}

// limits bound how much work of a kind runs at once, so that ten thousand
// guests to start do not fetch ten thousand images (architecture, section 4).
var limits = dispatch.Limits{Parallel: 256, Kinds: map[string]int{"vm": 256, "host": 100, "image": 64, "storage": 16, "network": 16, "flow": 256}}

// build makes all parts and starts the plugins, whose manifests decide on
// types and actions. On an error nothing is left running.
func build(ctx context.Context, o Options, version string, log hclog.Logger) (_ *parts, err error) {
	types := resource.NewRegistry()
	if err := types.Add(Types()...); err != nil {
		return nil, err
	}
	if err := types.Check(); err != nil {
		return nil, err
	}
	p := &parts{options: o}
	// Plugins are looked for first: a wrong name must not leave a database.
	names, err := enabled(o)
	if err != nil {
		return nil, err
	}
	h := &kernel.PluginHandler{}
	lives := life.New(life.Options{Dir: o.PluginDir, Configured: names, Grants: o.PluginGrants, Log: log.Named("plugin")})
	plugins, err := plugin.New(plugin.Config{Dir: o.PluginDir, Enabled: names, DataDir: pluginData(o), Settings: o.PluginSettings,
		Log: log.Named("plugin"), Handler: h, Called: kernel.Called, Granted: lives.Granted, Changed: lives.Changed, Accept: p.accept})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.giveUp(ctx)
		}
	}()
	st, err := openStore(ctx, o, types, log.Named("store"))
	if err != nil {
		return nil, err
	}
	p.add(part.Part{Name: "store", Stop: func(context.Context) error { return st.Close() }})
	node, err := join(ctx, st, o, log)
	if err != nil {
		return nil, err
	}
	p.add(p.management(node))
	k := kernel.New(kernel.Options{Store: st, Types: types, Plugins: plugins, Handler: h, Limits: limits, Log: log})
	k.Node = node
	k.Jobs.Owner = store.Owner{UUID: node.UUID, Epoch: node.Epoch, Check: node.Guard, Holds: node.Owns}
	k.Flows.Owner = k.Jobs.Owner
	p.kernel = k
	if err = lives.Recall(ctx, st, plugins); err != nil {
		return nil, err
	}
	if err = k.Plugins.Start(ctx); err != nil {
		return nil, err
	}
	p.add(part.Part{Name: "plugins", Needs: []string{"management"}, Stop: func(ctx context.Context) error { k.Plugins.Stop(ctx); return nil }})
	if err = k.AddPluginTypes(ctx, assembly.Bases()); err != nil {
		return nil, err
	}
	p.identity = identity.New(st, k.Config, k.Tags, log.Named("identity"))
	p.mgmt = mgmt.New(node, k.Config, log.Named("mgmt"), version)
	services := assembly.New(k)
	vault := trust.New(st)
	h.OnHost, h.Rows, h.Addresses, h.Trust = services.Topology.HostCall, services.Provider, services.Network, vault
	k.Wire(p.identity, identity.AdminUUID)
	p.add(p.core(), p.accounts(), p.operators(), p.doctor(), p.lives(lives, pluginRows{k, services.Provider, vault}))
	p.add(services.Parts()...)
	p.add(p.rest())
	if p.order, err = part.Order(p.made...); err != nil {
		return nil, err
	}
	return p, p.order.Register()
}

// pluginRows are what there is because of plugins (life.Rows).
type pluginRows struct {
	*kernel.Kernel
	*provider.Service
	vault *trust.Service
}

// Forget implements life.Rows: what a plugin keeps goes with its types.
func (r pluginRows) Forget(ctx context.Context, plugin string) error {
	if err := r.vault.ForgetPlugin(ctx, plugin); err != nil {
		return err
	}
	return r.Service.Forget(ctx, plugin)
}

// join makes this process the one that serves the database.
func join(ctx context.Context, st *store.Store, o Options, log hclog.Logger) (*mgmt.Node, error) {
	identity, err := mgmt.Identify(o.DataDir)
	if err != nil {
		return nil, err
	}
	return mgmt.Join(ctx, st, identity, hostname(), log.Named("mgmt"))
}

// registerQueries registers the query of every type that has a path; of a
// subtype whose plugin asks for one, under the path of its add message.
func (p *parts) registerQueries() error {
	for _, t := range p.kernel.Types.All() {
		if t.Internal || t.Path == "" {
			continue
		}
		who := action.Normal
		if p.kernel.Types.Root(t).Readable == resource.Admin {
			who = action.Admin
		}
		if err := p.kernel.Actions.RegisterQuery(t.Name, t.Path, who, t.QueryMessage); err != nil {
			return err
		}
	}
	return nil
}

// hostname names this management node.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
