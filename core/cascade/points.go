package cascade

import (
	"context"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/resource"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// pointOf is the point at which plugins are told of rows of a root type that are
// about to be deleted.
func pointOf(typeName string) string { return typeName + ".delete.begin" }

// Observe has plugins do their steps before rows of any type are deleted, and declares
// the points of all types that are registered. It comes before the first delete, and
// again when there are other types.
func (e *Engine) Observe(hooks *hook.Service) {
	if e.hooks == nil {
		e.hooks = hooks
	}
	var points []string
	defer func() { e.points.Store(&points) }()
	for _, t := range e.reg.All() {
		if !observable(t) {
			continue
		}
		points = append(points, pointOf(t.Name))
		hooks.Declare(pointOf(t.Name), "A row of "+t.Name+" is about to be deleted by a cascade, its own or that of what it depends on, and nothing has been yet. "+
			"What has a trash (guests, data volumes, images) is removed from there without one; parts (the NICs of a guest) go with their whole, untold. "+
			"Subject: its type and uuid. No state is kept for its undo, which comes for each row that is still there when the delete has failed. "+
			"With deleteMode=Enforcing a failure is of no consequence.")
	}
}

// observable: parts of a type go with their root, and what has no path is the
// platform's own.
func observable(t *resource.Type) bool { return t.Parent == "" && t.Path != "" && !t.Internal }

// contributions are those to the points of all types: which of them a delete concerns
// may change until its rows are marked.
func (e *Engine) contributions() hook.Points {
	if e.hooks == nil {
		return nil
	}
	return e.hooks.At(*e.points.Load()...)
}

// observed returns the rows of a plan that plugins are told of.
func (s *deletion) observed(t *Tree) []Node {
	if len(s.Points) == 0 {
		return nil
	}
	var rows []Node
	for _, i := range t.Order {
		if s.Points.Has(pointOf(t.Nodes[i].Type)) {
			rows = append(rows, t.Nodes[i])
		}
	}
	return rows
}

// tell has the plugins do their steps for the rows that are about to be deleted.
func (e *Engine) tell(ctx context.Context, s *deletion) error {
	tree, err := e.current(ctx, s)
	if err != nil {
		return err
	}
	return each(ctx, s.observed(tree), func(n Node) error {
		err := e.hooks.Do(ctx, s.Points, pointOf(n.Type), e.operation(ctx, n), about(n))
		if err == nil || flow.Stopped(ctx) != nil || s.Mode == Permissive {
			return err
		}
		e.log.Warn("plugin's step before a delete failed, and is passed over", "type", n.Type, "resource", n.UUID, "error", err)
		return nil
	})
}

// takeBack undoes tell for the rows that stay.
func (e *Engine) takeBack(ctx context.Context, s *deletion) error {
	_, exists, err := e.lookup(ctx, e.store, s.Type, s.UUID)
	if err != nil || !exists {
		return err
	}
	tree, err := e.current(ctx, s)
	if err != nil {
		return err
	}
	return each(ctx, s.observed(tree), func(n Node) error {
		return e.hooks.Undo(ctx, s.Points, pointOf(n.Type), e.operation(ctx, n), about(n))
	})
}

// operation is the same for each try of one row's step.
func (e *Engine) operation(ctx context.Context, n Node) string {
	return flow.OperationID(ctx) + "." + n.UUID
}

func about(n Node) *pluginv1.PointSubject { return &pluginv1.PointSubject{Type: n.Type, Uuid: n.UUID} }
