package kernel

import (
	"context"
	"encoding/json"
	"net/netip"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/batch"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/core/task"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Types returns the resource types of the kernel's own parts.
func Types() []*resource.Type {
	var all []*resource.Type
	for _, types := range [][]*resource.Type{access.Types(), audit.Types(), event.Types(), flow.Types(), job.Types(), cascade.Types(), tag.Types(), config.Types(), origin.Types()} {
		all = append(all, types...)
	}
	return all
}

// Options are what a kernel is put together from. The server and the tests of
// services (kerneltest) do it by the same functions: New, AddPluginTypes, the
// services, Wire; then the parts come in the order of their needs (core/part).
type Options struct {
	// Store is open; Types are the types that it was opened with.
	Store *store.Store
	Types *resource.Registry
	// Plugins may be started later, but before AddPluginTypes.
	Plugins *plugin.Manager
	// Handler is what the plugins were given to ask; New lets it answer for
	// settings and progress, Wire for queries and calls of the API.
	Handler *PluginHandler
	Limits  dispatch.Limits
	Log     hclog.Logger
}

// New puts the parts of a kernel together. It starts nothing.
func New(o Options) *Kernel {
	st, types, log := o.Store, o.Types, o.Log
	l := o.Limits
	l.Log = log.Named("dispatch")
	k := &Kernel{Store: st, Types: types, Log: log, Query: query.New(st, types), Actions: action.NewRegistry(log.Named("action")),
		Events: event.New(), Plugins: o.Plugins, brought: &brought{}}
	k.Dispatch = dispatch.New(l, k.Actions.Run)
	k.Plugins.BeforeHost(action.WaitsFor)
	st.Watch(k.Events)
	k.shown = renderer{k.Query, st, newDear(st), &batch.Groups[map[string]query.Shown]{}}
	k.Jobs = job.New(st, k.shown, log.Named("job"))
	k.Jobs.Configure(job.Settings{ErrorBody: action.ErrorBody, EncodeError: action.EncodeError, DecodeError: action.DecodeError})
	k.Events.Also(job.RowType(), k.Jobs.Event)
	k.Flows = flow.NewEngine(st, log.Named("flow"), k.Jobs)
	k.Cascade = cascade.New(st, types, k.Flows, log.Named("cascade"))
	k.Tags = tag.New(st, types)
	k.Cascade.Turn = func(ctx context.Context, stop <-chan struct{}, key string, fn func(context.Context) error) error {
		return k.Actions.Turn(ctx, stop, key, "cascade", "DeleteWithParent", fn)
	}
	k.Cascade.AfterDelete(func(ctx context.Context, tx *store.Tx, _, uuid string) error { return k.Tags.DeleteFor(ctx, tx, uuid) })
	k.Config = config.New(st, log.Named("config"))
	k.Audit = audit.New(st, k.Config, log.Named("audit"))
	k.Hooks = hook.New(hook.Options{Plugins: o.Plugins, Types: types, Store: st, Events: k.Events, Log: log.Named("hook"),
		Inventory: func(ctx context.Context, typeName, uuid string) (json.RawMessage, error) {
			shown, _, err := k.shown.Inventory(ctx, typeName, uuid)
			return shown, err
		}, ShowTags: k.Tags.Shown})
	k.making = k.makingFlow()
	k.Tags.Also(k.Config.DeleteFor)
	k.Tags.Also(access.Forget)
	k.Tags.Also(origin.Forget)
	k.calls = &callbacks{k: k}
	o.Handler.emit = func(plugin string, e *pluginv1.EmitRequest) {
		if _, known := types.Get(e.GetType()); known {
			k.Events.Publish(event.Event{Topic: event.Notice, Type: e.GetType(), UUID: e.GetUuid(), Plugin: plugin, Name: e.GetName(), Text: e.GetText()})
		}
	}
	o.Handler.setting, o.Handler.progress, o.Handler.calls = k.Config.String, k.Flows.Report, k.calls
	return k
}

// Wire gives the action registry what it needs of the other parts.
// system is the account of what the platform asks for by itself.
func (k *Kernel) Wire(auth action.Authenticator, system string) {
	k.Jobs.Configure(job.Settings{Trusted: func(account string) bool { return account == system },
		Listed: func() []netip.Prefix { return k.Config.AllowedNetworks(context.Background()) }})
	k.Actions.Wire(action.Ports{
		Auth: auth, Lookup: action.NewLookup(k.Store, k.Types), Tags: k.Tags, Render: k.shown, Query: k.shown,
		Plan: planner{k.Cascade}, Jobs: jobs{k.Jobs}, Queue: k.Dispatch, SystemAccount: system, Audit: k.Audit, Before: k.Hooks.Before, Finish: k.Flows.Finish,
	})
	k.calls.system.Store(&system)
}

// Bases are the types that plugins extend by subtypes.
type Bases struct {
	// Of has the type of each strategy; those that are absent are not extended.
	Of map[pluginsdk.Strategy]*resource.Type
	// Own gives the types of plugins' own, which may refer to types; nil: there are none.
	Own func(ctx context.Context, k *Kernel, types *resource.Registry) ([]*resource.Type, error)
}

// RegisterParts registers the actions and settings of the kernel's own parts. It comes
// after AddPluginTypes.
func (k *Kernel) RegisterParts() error {
	if err := k.Audit.Register(); err != nil {
		return err
	}
	for _, d := range []config.Setting{
		{Name: "undo.interval", Default: "30", Min: 1, Max: 3600, Doc: "Seconds after which an undo that failed is tried again, at first."},
		{Name: "trace.good", Default: "10000", Max: 1e6, Doc: "How many traces are kept of flows that went well."},
		{Name: "trace.failed", Default: "20000", Max: 1e6, Doc: "How many traces are kept of flows that failed or were stopped."},
	} {
		d.Category, d.Type = "flow", "int"
		if err := k.Config.Define(d); err != nil {
			return err
		}
	}
	if err := k.Config.DefineNetworks(); err != nil {
		return err
	}
	flow.Register(k.Flows, k.making)
	k.Tags.Register(k.Actions)
	k.RegisterProgress()
	task.Register(k.Actions, k.Flows, k.Cascade, k.Dispatch)
	k.Config.Register(k.Actions)
	k.Brought(Bringer{Register: func() error { k.Cascade.Observe(k.Hooks); return nil }})
	return nil
}

// Start takes up the calls and flows that the last process left, and begins the
// background work of the parts, which ends with ctx. Config.Load comes before.
func (k *Kernel) Start(ctx context.Context) error {
	if err := k.Hooks.Start(ctx); err != nil {
		return err
	}
	goesOn, err := k.Flows.Jobs(ctx)
	if err != nil {
		return err
	}
	if err := k.Jobs.Start(ctx, goesOn); err != nil {
		return err
	}
	submit := func(key string, run func(context.Context)) {
		end, err := k.Actions.Ask(ctx, key, "flow", "ContinueFlow")
		if err != nil { // it stays in the journal
			k.Log.Warn("flow not queued to go on", "key", key, "error", err)
			return
		}
		go func() {
			err := end(nil, func(turn context.Context) error { run(turn); return nil })
			if err != nil && ctx.Err() == nil {
				k.Log.Warn("flow did not go on", "key", key, "error", err)
			}
		}()
	}
	if err := k.Flows.Resume(ctx, submit); err != nil {
		return err
	}
	again := k.Config.Every(ctx, "flow", "undo.interval")
	go k.Flows.CollectEvery(ctx, again, submit)
	go k.Cascade.CollectEvery(ctx, again)
	go k.Flows.KeepTraces(ctx, func() flow.TraceBounds {
		return flow.TraceBounds{Good: k.Config.Int64(ctx, "flow", "trace.good", ""), Failed: k.Config.Int64(ctx, "flow", "trace.failed", "")}
	})
	go k.Audit.Start(ctx)
	return nil
}
