package cascade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/sql"
)

// deletion is the state of the flow. It is the root and no more: a plan of
// 10,000 rows in the journal would be written again and again, and the rows
// that are left say as well what is to be done.
type deletion struct {
	Type string
	UUID string
	Mode Mode
	// Simple: the plan seemed to touch the database alone.
	Simple bool
	// Done: it did, and all is deleted.
	Done bool
	// Points are the plugins' steps before rows are deleted.
	Points hook.Points `json:",omitempty"`
	// Outside: what rows stand for outside is removed, too (Outside).
	Outside bool `json:",omitempty"`
}

// rounds bounds how often marking and deleting look for rows that came late.
const rounds = 10

// batch is how many rows one transaction marks, removes or detaches.
const batch = 200

func (e *Engine) define() *flow.Def[deletion] {
	world := func(s *deletion) bool { return !s.Done }
	return flow.Define("cascade-delete",
		flow.Tx("begin", e.begin, e.end),
		flow.Do("mark", e.mark, nil).When(world),
		flow.Do("check", e.check, nil).When(world).When(func(s *deletion) bool { return s.Mode == Permissive }),
		flow.Do("point.begin", e.tell, e.takeBack).When(world).When(func(s *deletion) bool { return len(s.Points) > 0 }).Checkpoint(),
		flow.Do("delete", e.deleteAll, nil).When(world).Timeout(wholeTime),
		flow.Tx("unmark", e.end, nil).When(world),
	)
}

// begin marks the root; if nothing but rows is concerned, it deletes them all.
func (e *Engine) begin(ctx context.Context, tx *store.Tx, s *deletion) error {
	if err := markAll(ctx, tx, s.UUID, s.Type, []string{s.UUID}); err != nil {
		return err
	}
	if !s.Simple {
		return nil
	}
	tree, err := e.planInside(ctx, tx, s)
	if err != nil {
		return err
	}
	if !e.simple(s, tree) {
		return nil // somebody was faster
	}
	if s.Mode == Permissive {
		if err := e.veto(ctx, tx, tree); err != nil {
			return err
		}
	}
	for _, d := range tree.leaving(s.Mode) {
		if err := e.clear(ctx, tx, d); err != nil {
			return err
		}
	}
	for _, i := range tree.Order {
		if err := e.removeRow(ctx, tx, tree.Nodes[i].Type, tree.Nodes[i].UUID); err != nil {
			return err
		}
	}
	s.Done = true
	return unmark(ctx, tx, s.UUID)
}

// planInside plans in the transaction that deletes. On SQLite no other writer
// exists meanwhile; on MySQL the rows are marked, and thereby locked, first.
func (e *Engine) planInside(ctx context.Context, tx *store.Tx, s *deletion) (*Tree, error) {
	for range rounds {
		tree, err := Plan(e.graph(ctx, tx), s.Type, s.UUID)
		if err != nil || tx.Dialect() == sql.SQLite || !e.simple(s, tree) {
			return tree, err
		}
		fresh, err := e.unmarked(ctx, tx, tree)
		if err != nil || len(fresh) == 0 {
			return tree, err
		}
		for _, typeName := range slices.Sorted(maps.Keys(fresh)) {
			if err := markAll(ctx, tx, s.UUID, typeName, fresh[typeName]); err != nil {
				return nil, err
			}
		}
	}
	return nil, e.restless(s)
}

func (e *Engine) restless(s *deletion) error {
	return errs.New(errs.Unavailable, s.Type+" "+s.UUID, "resources that depend on it are being made faster than they can be listed").
		WithAdvice("delete it again when that has ended")
}

// end removes the marks, after the deletion or in its place.
func (e *Engine) end(ctx context.Context, tx *store.Tx, s *deletion) error {
	return unmark(ctx, tx, s.UUID)
}

// current plans what is left to do.
func (e *Engine) current(ctx context.Context, s *deletion) (tree *Tree, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		tree, err = Plan(e.graph(ctx, tx), s.Type, s.UUID)
		return err
	})
	return tree, err
}

// mark marks all resources of the plan that can have children, until a plan
// shows no new one: from then on nobody adds to them.
func (e *Engine) mark(ctx context.Context, s *deletion) error {
	for range rounds {
		tree, err := e.current(ctx, s)
		if err != nil {
			return err
		}
		fresh, err := e.unmarked(ctx, e.store, tree)
		if err != nil {
			return err
		}
		if len(fresh) == 0 {
			return nil
		}
		for typeName, uuids := range fresh {
			for len(uuids) > 0 {
				some := uuids[:min(len(uuids), batch)]
				uuids = uuids[len(some):]
				err := e.store.Update(ctx, func(tx *store.Tx) error { return markAll(ctx, tx, s.UUID, typeName, some) })
				if err != nil && errs.ClassOf(err) != errs.Exists { // another delete marks them just now
					return err
				}
			}
		}
	}
	return e.restless(s)
}

// unmarked returns the resources of a plan that can have children and bear no
// mark, by type.
func (e *Engine) unmarked(ctx context.Context, q store.Querier, tree *Tree) (map[string][]string, error) {
	g := e.graph(ctx, q)
	parents := map[string]bool{}
	all := map[string][]string{}
	for _, n := range tree.Nodes {
		can, known := parents[n.Type]
		if !known {
			can = len(g.Inbound(n.Type)) > 0
			parents[n.Type] = can
		}
		if can {
			all[n.Type] = append(all[n.Type], n.UUID)
		}
	}
	for typeName, uuids := range all {
		have, err := markedOf(ctx, q, uuids)
		if err != nil {
			return nil, err
		}
		fresh := uuids[:0]
		for _, uuid := range uuids {
			if !have[uuid] {
				fresh = append(fresh, uuid)
			}
		}
		if len(fresh) == 0 {
			delete(all, typeName)
			continue
		}
		all[typeName] = fresh
	}
	return all, nil
}

// check asks everybody who may object, before anything is changed.
func (e *Engine) check(ctx context.Context, s *deletion) error {
	return e.store.View(ctx, func(tx *store.Tx) error {
		tree, err := Plan(e.graph(ctx, tx), s.Type, s.UUID)
		if err != nil {
			return err
		}
		return e.veto(ctx, tx, tree)
	})
}

func (e *Engine) veto(ctx context.Context, tx *store.Tx, tree *Tree) error {
	if err := tree.Veto(); err != nil {
		return err
	}
	for _, i := range tree.Order {
		n := &tree.Nodes[i]
		check := e.deleter(n.Type).Check
		if check == nil {
			continue
		}
		err := check(ctx, tx, n.UUID)
		switch {
		case err == nil:
		case i == 0:
			return err
		default:
			root := tree.Nodes[0]
			return errs.Wrap(errs.ClassOf(err), root.Type+" "+root.UUID, err, "cannot be deleted because of %s %s", n.Type, n.UUID)
		}
	}
	return nil
}

// leaving returns the columns to clear: those of detached rows, and with
// Enforcing those of rows that object.
func (t *Tree) leaving(m Mode) []Detach {
	list := t.Detached
	if m == Enforcing {
		for _, o := range t.Objections {
			list = append(list, Detach{Type: o.Type, UUID: o.UUID, Name: o.Name, Table: o.table, Column: o.Column,
				TargetType: o.TargetType, Target: o.Target})
		}
	}
	return list
}

// deleteAll detaches and deletes layer by layer, and again whatever a plan
// shows afterwards, as a row may have been added before its parent was marked.
func (e *Engine) deleteAll(ctx context.Context, s *deletion) error {
	for range rounds {
		tree, err := e.current(ctx, s)
		if err != nil {
			return err
		}
		_, exists, err := e.lookup(ctx, e.store, s.Type, s.UUID)
		if err != nil {
			return err
		}
		if !exists && len(tree.Nodes) == 1 && len(tree.leaving(s.Mode)) == 0 {
			return nil
		}
		if s.Mode == Permissive {
			if err := tree.Veto(); err != nil {
				return err
			}
		}
		if err := e.detachAll(ctx, s, tree); err != nil {
			return err
		}
		for _, layer := range tree.Layers() {
			if err := e.deleteLayer(ctx, s, tree, layer); err != nil {
				return err
			}
		}
	}
	return errs.New(errs.Internal, s.Type+" "+s.UUID, "it, or something that depends on it, is still there after %d deletes", rounds)
}

// each runs f for every item, parallel at once, until one fails or the flow is
// to stop; what runs is finished.
func each[T any](ctx context.Context, items []T, f func(T) error) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	var failed atomic.Bool
	var stopped error
	for _, item := range items {
		if stopped = flow.Stopped(ctx); stopped != nil || failed.Load() {
			break
		}
		g.Go(func() error {
			err := f(item)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return stopped
}

// inBatches runs f in a transaction for every few items.
func inBatches[T any](ctx context.Context, e *Engine, items []T, f func(tx *store.Tx, item T) error) error {
	for len(items) > 0 {
		if err := flow.Stopped(ctx); err != nil {
			return err
		}
		some := items[:min(len(items), batch)]
		items = items[len(some):]
		err := e.store.Update(ctx, func(tx *store.Tx) error {
			for _, item := range some {
				if err := f(tx, item); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) detachAll(ctx context.Context, s *deletion, tree *Tree) error {
	list := tree.leaving(s.Mode)
	var own []Detach
	for _, d := range list {
		if e.deleter(d.Type).Detach != nil {
			own = append(own, d)
		}
	}
	err := each(ctx, own, func(d Detach) error {
		err := e.onQueue(ctx, s, d.UUID, func(ctx context.Context) error {
			return e.deleter(d.Type).Detach(ctx, d.UUID, d.Column, d.Target, s.Mode)
		})
		if err == nil || flow.IsStopped(err) {
			return err
		}
		if errors.As(err, new(alive)) {
			return s.stays(err, d.Type, d.UUID)
		}
		if s.Mode == Enforcing {
			e.log.Warn("not detached, the row is cleared all the same", "type", d.Type, "resource", d.UUID, "column", d.Column, "error", err)
			return nil
		}
		return inTheWay(err, d.Type+" "+d.UUID, fmt.Sprintf("cannot be detached from %s %s", d.TargetType, d.Target))
	})
	if err != nil {
		return err
	}
	return inBatches(ctx, e, list, func(tx *store.Tx, d Detach) error { return e.clear(ctx, tx, d) })
}

// deleteLayer deletes the rows of one layer: first those that have a world,
// then all their rows.
func (e *Engine) deleteLayer(ctx context.Context, s *deletion, tree *Tree, layer []int) error {
	var own []int
	for _, i := range layer {
		if e.deleter(tree.Nodes[i].Type).Delete != nil {
			own = append(own, i)
		}
	}
	if s.Outside {
		ctx = Outside(ctx)
	}
	failures := make([]error, len(tree.Nodes))
	err := each(ctx, own, func(i int) error {
		n := tree.Nodes[i]
		d := e.deleter(n.Type)
		queue, err := d.queue(ctx, n.UUID)
		if err == nil {
			err = e.onQueue(ctx, s, queue, func(ctx context.Context) error { return d.Delete(ctx, n.UUID, s.Mode) })
		}
		switch {
		case err == nil, flow.IsStopped(err):
			return err
		case errors.As(err, new(alive)):
			return s.stays(err, n.Type, n.UUID)
		case s.Mode == Enforcing:
			failures[i] = err
			return nil
		case i == 0:
			return inTheWay(err, n.Type+" "+n.UUID, "cannot be deleted")
		}
		return inTheWay(err, n.Type+" "+n.UUID, fmt.Sprintf("cannot be deleted with %s %s", s.Type, s.UUID))
	})
	if err != nil {
		return err
	}
	return inBatches(ctx, e, layer, func(tx *store.Tx, i int) error {
		n := tree.Nodes[i]
		if failures[i] != nil {
			if err := e.leave(ctx, tx, n, failures[i]); err != nil {
				return err
			}
		}
		return e.removeRow(ctx, tx, n.Type, n.UUID)
	})
}

// queue is the key in whose turn a row is deleted.
func (d Deleter) queue(ctx context.Context, uuid string) (string, error) {
	if d.Key == nil {
		return uuid, nil
	}
	key, err := d.Key(ctx, uuid)
	return cmp.Or(key, uuid), err
}

// stays says what lives on, and what is not deleted for it.
func (s *deletion) stays(err error, typeName, uuid string) error {
	return errs.Wrap(errs.ClassOf(err), typeName+" "+uuid, err, "stays, and so does %s %s", s.Type, s.UUID)
}

// inTheWay says what stopped a delete, and how to go on without a part of the
// world that cannot be reached: it may be gone for ever.
func inTheWay(err error, object, what string) error {
	e := errs.Wrap(errs.ClassOf(err), object, err, "%s", what)
	if e.Class == errs.Unavailable || e.Class == errs.Timeout {
		e = e.WithAdvice("repeat it when that is back, or delete with deleteMode=Enforcing, which leaves behind what cannot be reached")
	}
	return e
}

// onQueue runs f in order with the other work on a resource, and waits for it.
// When the flow is to stop before f has begun, f is not run at all.
func (e *Engine) onQueue(ctx context.Context, s *deletion, uuid string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, rowTime)
	defer cancel()
	whole := f
	f = func(ctx context.Context) error {
		if err := e.flows.Finish(ctx, uuid, s.Mode == Enforcing); err != nil {
			return err
		}
		return whole(ctx)
	}
	if e.Turn == nil || uuid == s.UUID {
		return e.guarded(ctx, uuid, f)
	}
	begun := false
	err := e.Turn(ctx, flow.Stopping(ctx), uuid, func(ctx context.Context) error {
		begun = true
		return e.guarded(ctx, uuid, f)
	})
	if err == nil || begun {
		return err
	}
	select {
	case <-flow.Stopping(ctx):
		return flow.Stopped(ctx)
	default:
	}
	if ctx.Err() != nil {
		return errs.Wrap(errs.Timeout, "resource "+uuid, err, "other work on it has not ended")
	}
	return fmt.Errorf("queue the deletion of %s: %w", uuid, err)
}

// guarded calls a service's function; a panic in it is the error of that row.
func (e *Engine) guarded(ctx context.Context, uuid string, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			e.log.Error("deleter panicked", "resource", uuid, "panic", v, "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "resource "+uuid, "panic: %v", v).WithAdvice("the log has the details")
		}
	}()
	return f(ctx)
}
