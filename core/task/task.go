package task

import (
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/flow"
)

// Service answers the messages about work.
type Service struct {
	flows   *flow.Engine
	cascade *cascade.Engine
	queues  *dispatch.Queues
	actions *action.Registry
}

// kind is the kind of work of what is done here; kindFlow that of flows which go
// on. They are two, as the one waits for the other.
const (
	kind     = "task"
	kindFlow = "flow"
)

// Register adds the messages.
func Register(r *action.Registry, flows *flow.Engine, c *cascade.Engine, q *dispatch.Queues) {
	s := &Service{flows: flows, cascade: c, queues: q, actions: r}
	s.registerFlows(r)
	s.registerEnd(r)
	s.registerGarbage(r)
	s.registerQueues(r)
	s.registerTraces(r)
}
