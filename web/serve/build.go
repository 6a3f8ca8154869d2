package serve

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/compute/sshkey"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/image"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/network"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/storage"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/core/topology"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Types returns the resource types of the core; the migrations make their
// tables. Types of plugins are added when the plugins have started.
func Types() []*resource.Type {
	var all []*resource.Type
	for _, types := range [][]*resource.Type{
		access.Types(), flow.Types(), job.Types(), cascade.Types(), tag.Types(), config.Types(), identity.Types(), mgmt.Types(),
		topology.Types(), storage.Types(), image.Types(), network.Types(), compute.Types(), sshkey.Types(),
	} {
		all = append(all, types...)
	}
	return all
}

// parts are what a server is made of.
type parts struct {
	kernel   *kernel.Kernel
	jobs     *job.Service
	identity *identity.Service
	mgmt     *mgmt.Service
	topology *topology.Service
	storage  *storage.Service
	image    *image.Service
	network  *network.Service
	compute  *compute.Service
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
	// Plugins are looked for first: a wrong name must not leave a database.
	names, err := enabled(o)
	if err != nil {
		return nil, err
	}
	h := &handler{}
	plugins, err := plugin.New(plugin.Config{Dir: o.PluginDir, Enabled: names, DataDir: pluginData(o), Settings: o.PluginSettings,
		Log: log.Named("plugin"), Handler: h})
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, o.DB, types, log.Named("store"))
	if err != nil {
		return nil, err
	}
	undo := func() { st.Close() } // the first error is the one to tell
	node, err := join(ctx, st, o, log)
	if err == nil {
		undo = func() { leave(node, log); st.Close() }
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return nil, err
	}
	l := limits
	l.Log = log.Named("dispatch")
	k := &kernel.Kernel{Store: st, Types: types, Log: log, Query: query.New(st, types), Actions: action.NewRegistry(log.Named("action")),
		Events: event.New(), Dispatch: dispatch.New(l), Plugins: plugins, Node: node}
	p := &parts{kernel: k}
	p.jobs = job.New(st, renderer{k.Query, st}, log.Named("job"))
	p.jobs.Configure(job.Settings{ErrorBody: action.ErrorBody, EncodeError: action.EncodeError, DecodeError: action.DecodeError})
	k.Flows = flow.NewEngine(st, log.Named("flow"), p.jobs)
	k.Cascade = cascade.New(st, types, k.Flows, log.Named("cascade"))
	k.Tags = tag.New(st, types)
	k.Cascade.Queue = func(key string, fn func()) error { return k.Dispatch.Submit(key, "cascade", fn) }
	k.Cascade.AfterDelete(func(ctx context.Context, tx *store.Tx, _, uuid string) error { return k.Tags.DeleteFor(ctx, tx, uuid) })
	k.Config = config.New(st, k.Events, log.Named("config"))
	k.Tags.Also(k.Config.DeleteFor)
	k.Tags.Also(access.Forget)
	if err = k.Plugins.Start(ctx); err != nil {
		return nil, err
	}
	undo = func() {
		k.Plugins.Stop(context.WithoutCancel(ctx))
		leave(node, log)
		st.Close()
	}
	if err = addPluginTypes(ctx, k); err != nil {
		return nil, err
	}
	p.identity = identity.New(st, k.Config, k.Tags, log.Named("identity"))
	p.mgmt = mgmt.New(node, k.Config, log.Named("mgmt"), version)
	p.topology = topology.New(k)
	p.image = image.New(k)
	p.storage = storage.New(k, p.topology, p.image)
	p.network = network.New(k, p.topology)
	p.compute = compute.New(k, p.topology, p.storage, p.image, p.network)
	p.storage.AddImageUser(p.compute)
	h.hostCall, h.setting = p.topology.HostCall, k.Config.String
	h.progress = func(_, operationID string, percent int, message string) {
		k.Flows.Report(operationID, percent, message)
	}
	p.topology.Observe(p.storage)
	p.topology.Observe(p.network)
	p.topology.Observe(p.compute)
	k.Actions.Wire(action.Ports{
		Auth: p.identity, Lookup: action.NewLookup(st, types), Tags: k.Tags, Render: renderer{k.Query, st}, Query: renderer{k.Query, st},
		Plan: planner{k.Cascade}, Jobs: jobs{p.jobs}, Queue: k.Dispatch, Finish: k.Flows.Finish,
	})
	return p, p.register()
}

// join makes this process the one that serves the database.
func join(ctx context.Context, st *store.Store, o Options, log hclog.Logger) (*mgmt.Node, error) {
	identity, err := mgmt.Identify(o.DataDir)
	if err != nil {
		return nil, err
	}
	return mgmt.Join(ctx, st, identity, hostname(), log.Named("mgmt"))
}

// leave ends the stay of a node that served nothing.
func leave(n *mgmt.Node, log hclog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := n.Leave(ctx); err != nil {
		log.Warn("management node not signed off", "error", err)
	}
}

// addPluginTypes adds the subtypes that plugins declare and makes their tables.
func addPluginTypes(ctx context.Context, k *kernel.Kernel) error {
	var added []*resource.Type
	add := func(parent *resource.Type, value string, m *pluginv1.AddMessage, fields []*pluginv1.Field) error {
		t, err := kernel.Subtype(parent, value, m, fields)
		if err != nil || t == nil {
			return err
		}
		added = append(added, t)
		return k.Types.Add(t)
	}
	for _, m := range k.Plugins.Manifests() {
		for _, d := range m.GetHypervisors() {
			if err := add(topology.HostType.Type, d.GetType(), d.GetAdd(), d.GetFields()); err != nil {
				return err
			}
		}
		for _, d := range m.GetPrimaryStorages() {
			if err := add(storage.PrimaryStorageType.Type, d.GetType(), d.GetAdd(), d.GetFields()); err != nil {
				return err
			}
		}
		for _, d := range m.GetBackupStorages() {
			if err := add(image.BackupStorageType.Type, d.GetType(), d.GetAdd(), d.GetFields()); err != nil {
				return err
			}
		}
	}
	if err := k.Types.Check(); err != nil {
		return err
	}
	return k.Store.EnsureTypes(ctx, added...)
}

// register lets every part register its actions, flows, tags and settings.
func (p *parts) register() error {
	k := p.kernel
	for _, d := range []config.Setting{
		{Category: "rest", Name: "poll.hold", Type: "int", Default: "1000", Min: 0, Max: 1000,
			Doc: "Milliseconds that a job poll is held open until the job ends."},
		{Category: "flow", Name: "undo.interval", Type: "int", Default: "30", Min: 1, Max: 3600,
			Doc: "Seconds after which an undo that failed is tried again, at first."},
	} {
		if err := k.Config.Define(d); err != nil {
			return err
		}
	}
	k.Tags.Register(k.Actions)
	k.RegisterProgress()
	k.Config.Register(k.Actions)
	for _, f := range []func() error{
		func() error { return p.mgmt.Register(k.Actions) },
		func() error { return p.identity.Register(k.Actions) },
		p.topology.Register, p.storage.Register, p.image.Register, p.network.Register, p.compute.Register,
		func() error { return sshkey.Register(k) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	if err := k.Config.DefineTags(k.Tags); err != nil {
		return err
	}
	if err := p.registerQueries(); err != nil {
		return err
	}
	return k.Actions.CheckTypes(k.Types)
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
		var message []string
		if t.Name == "UsedIp" {
			message = []string{"APIQueryIpAddressMsg"} // the wire's name for it
		}
		if err := p.kernel.Actions.RegisterQuery(t.Name, t.Path, who, message...); err != nil {
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
