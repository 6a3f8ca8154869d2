package flow_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// stuck is a flow whose last step fails, and whose undo too while broken holds.
// It holds the slot "held" until it is undone.
func stuck(broken *bool) *flow.Def[none] {
	return flow.Define("stuck",
		flow.Tx("hold", func(ctx context.Context, tx *store.Tx, _ *none) error { return insertSlot(ctx, tx, "held", "") },
			func(ctx context.Context, tx *store.Tx, _ *none) error { return deleteSlot(ctx, tx, "held") }),
		flow.Do("act", func(context.Context, *none) error { return errs.New(errs.Exhausted, "pool p", "full") },
			func(context.Context, *none) error {
				if *broken {
					return errs.New(errs.Unavailable, "host h", "no answer")
				}
				return nil
			}))
}

// follower is a flow that leaves the slot "done".
func follower() *flow.Def[made] {
	return flow.Define("next", flow.Tx("do", func(ctx context.Context, tx *store.Tx, _ *made) error { return insertSlot(ctx, tx, "done", "") }, nil))
}

// TestRunning asks in each step, and undo, of a flow whether one runs.
func TestRunning(t *testing.T) {
	w, asked := newWorld(t), 0
	var e *flow.Engine
	ask := func(fail error) func(context.Context, *none) error {
		return func(context.Context, *none) error {
			if asked++; !e.Running("x") || e.Running("y") || e.Running("") {
				t.Error("it runs under x, and nothing else does")
			}
			return fail
		}
	}
	d := flow.Define("asking", flow.Do("one", ask(nil), ask(nil)), flow.Do("two", ask(errs.New(errs.Exhausted, "pool p", "full")), nil))
	e = begin(w, d)
	if err := flow.Run(t.Context(), e, d, &none{}, flow.Options{Key: "x"}); err == nil || asked != 3 {
		t.Errorf("%v after %d looks", err, asked)
	}
	if e.Running("x") {
		t.Error("it runs after its end")
	}
}

func TestFinish(t *testing.T) {
	for name, again := range map[string]bool{"in the same process": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w, ctx, broken := newWorld(t), t.Context(), true
			d, n := stuck(&broken), follower()
			start := func() *flow.Engine {
				e := begin(w, d)
				flow.Register(e, n)
				return e
			}
			e := start()
			if err := e.Finish(ctx, "x", false); err != nil {
				t.Errorf("Finish with nothing open: %v", err)
			}
			if err := flow.Run(ctx, e, d, &none{}, flow.Options{Key: "x", ResourceType: "Thing", ResourceUUID: "x"}); err == nil {
				t.Fatal("a flow that fails succeeded")
			}
			if again {
				e = start()
				if err := e.Resume(ctx, inline); err != nil {
					t.Fatal(err)
				}
			}
			refused := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "Thing x: an earlier operation on it (stuck)") ||
					!strings.Contains(err.Error(), "no answer") {
					t.Errorf("%s returned %v", what, err)
				}
			}
			open := e.Finish(ctx, "x", false)
			refused("Finish", open)
			err := flow.Run(ctx, e, n, &made{}, flow.Options{Key: "x"})
			refused("Run", err)
			if !errors.Is(err, open) {
				t.Error("two errors about the same flow differ")
			}
			if !e.Undoing("x") || e.Undoing("y") {
				t.Error("Undoing does not tell which key it is")
			}
			if err := e.Finish(ctx, "y", false); err != nil {
				t.Errorf("Finish of another key: %v", err)
			}
			if rows := w.rows(); len(rows) != 1 {
				t.Errorf("rows %v, want what the open flow holds", rows)
			}

			broken = false
			if err := e.Finish(ctx, "x", false); err != nil {
				t.Fatal(err)
			}
			if e.Undoing("x") || len(w.rows()) != 0 || phases(t, e) != "" {
				t.Errorf("left after Finish: rows %v, journal %q", w.rows(), phases(t, e))
			}
			if err := flow.Run(ctx, e, n, &made{}, flow.Options{Key: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Forced, it undoes what the database holds although the host does not answer.
func TestFinishByForce(t *testing.T) {
	w, ctx, broken := newWorld(t), t.Context(), true
	d := stuck(&broken)
	e := begin(w, d)
	if err := flow.Run(ctx, e, d, &none{}, flow.Options{Key: "x"}); err == nil {
		t.Fatal("a flow that fails succeeded")
	}
	if err := e.Finish(ctx, "x", true); err != nil {
		t.Fatal(err)
	}
	if len(w.rows()) != 0 || phases(t, e) != "" || e.Undoing("x") {
		t.Errorf("left after Finish: rows %v, journal %q", w.rows(), phases(t, e))
	}
}

// A flow whose caller gave up goes on forward before the next one.
func TestFinishGoesOn(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	d := flow.Define("halted",
		flow.Do("one", func(context.Context, *none) error { cancel(); return nil }, nil),
		flow.Do("two", func(context.Context, *none) error { return w.put("two") }, nil))
	e := begin(w, d)
	if err := flow.Run(ctx, e, d, &none{}, flow.Options{Key: "x"}); !flow.IsStopped(err) {
		t.Fatalf("Run returned %v", err)
	}
	if e.Undoing("x") {
		t.Error("a flow that goes forward is said to be undone")
	}
	if err := e.Finish(t.Context(), "x", false); err != nil {
		t.Fatal(err)
	}
	if files := w.files(); len(files) != 1 || phases(t, e) != "" {
		t.Errorf("files %v, journal %q", files, phases(t, e))
	}
	if n := e.Stats(); n.Parked != 0 {
		t.Errorf("%d flows are still parked", n.Parked)
	}
}
