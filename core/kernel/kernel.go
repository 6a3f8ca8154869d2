// Package kernel is what a service is given: the store, the registries and the
// engines of the core, put together once (New) by who serves or
// tests them. It must not import the services.
package kernel

import (
	hclog "github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
)

// Kernel is the core as services see it. Its parts are safe for concurrent use
// and live as long as the process.
type Kernel struct {
	Store    *store.Store
	Types    *resource.Registry
	Query    *query.Engine
	Actions  *action.Registry
	Flows    *flow.Engine
	Jobs     *job.Service
	Cascade  *cascade.Engine
	Tags     *tag.Service
	Config   *config.Service
	Events   *event.Bus
	Audit    *audit.Service
	Hooks    *hook.Service
	Plugins  *plugin.Manager
	Dispatch *dispatch.Queues
	Log      hclog.Logger
	// Node is this management node; loops ask it what they own. nil owns all.
	Node *mgmt.Node

	shown   renderer
	brought *brought
	calls   *callbacks
	makers  makers
	making  *flow.Def[making]
}
