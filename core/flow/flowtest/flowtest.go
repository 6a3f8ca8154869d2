// Package flowtest proves that a flow keeps the rules of package flow: that it
// leaves nothing behind whichever step fails, that its steps can be repeated,
// and that it survives a crash at every point. It must not import anything of
// core but flow.
package flowtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/flow"
)

// World is everything that one run of a flow touches. Every case gets a fresh
// one.
type World[S any] struct {
	// Engine makes an engine on the world's database, with the flow
	// registered. It is called again after a simulated crash.
	Engine func() *flow.Engine
	// State returns the input of the flow, the same each time.
	State func() *S
	// Options are passed to flow.Run.
	Options flow.Options
	// Done returns nil when everything that the flow is for has happened,
	// exactly once.
	Done func() error
	// Clean returns nil when nothing that the flow did is left.
	Clean func() error
}

// errInjected is what a failing step fails with.
var errInjected = errors.New("injected by the test")

// patience bounds each run.
const patience = 30 * time.Second

// FailEachStep lets each step of the flow fail, once without having done
// anything and once after it has worked, and checks that Run returns the
// cause, that the world is clean and that the journal is empty.
func FailEachStep[S any](t *testing.T, d *flow.Def[S], newWorld func(t *testing.T) World[S]) {
	t.Helper()
	for _, step := range d.Steps() {
		for _, worked := range []bool{false, true} {
			name := step + "/refuses"
			if worked {
				name = step + "/works-and-fails"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				e := w.Engine()
				called := false
				flow.SetTestHooks(e, flow.TestHooks{Call: func(at string, undo bool, call func() error) error {
					if undo || at != step {
						return call()
					}
					called = true
					if worked {
						if err := call(); err != nil {
							return err
						}
					}
					return errInjected
				}})
				err := run(t, e, d, w)
				if !called {
					t.Logf("step %s is skipped in this world", step)
					finished(t, e, err, w.Done)
					return
				}
				if !errors.Is(err, errInjected) {
					t.Errorf("Run returned %v, not the injected error", err)
				}
				var undo *flow.Error
				if errors.As(err, &undo) {
					t.Errorf("the undo of step %s failed: %v", undo.Step, undo.Undo)
				}
				finished(t, e, nil, w.Clean)
			})
		}
	}
}

// RepeatEachStep calls every do twice and checks that the flow is done as if
// once. Then it lets the last step fail, calls every do and undo twice, and
// checks that the world is clean.
func RepeatEachStep[S any](t *testing.T, d *flow.Def[S], newWorld func(t *testing.T) World[S]) {
	t.Helper()
	steps := d.Steps()
	for _, fail := range []bool{false, true} {
		name := "do"
		if fail {
			name = "undo"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.Engine()
			failed := false
			flow.SetTestHooks(e, flow.TestHooks{Call: func(at string, undo bool, call func() error) error {
				if err := call(); err != nil {
					return err
				}
				if err := call(); err != nil {
					return fmt.Errorf("repeated: %w", err)
				}
				if fail && !undo && at == steps[len(steps)-1] {
					failed = true
					return errInjected
				}
				return nil
			}})
			err := run(t, e, d, w)
			switch {
			case !fail:
				finished(t, e, err, w.Done)
			case !failed:
				t.Fatalf("the last step %s is skipped in this world, so nothing was undone", steps[len(steps)-1])
			case !errors.Is(err, errInjected):
				t.Errorf("Run returned %v, not the injected error", err)
				fallthrough
			default:
				finished(t, e, nil, w.Clean)
			}
		})
	}
}

// CrashEachPoint ends the flow at each of its points as a crash would, starts
// a fresh engine on the same database, lets it resume, and checks that the
// flow is then done, or undone if its undo had begun. Points that are passed
// only when the flow fails are reached by failing its last step.
func CrashEachPoint[S any](t *testing.T, d *flow.Def[S], newWorld func(t *testing.T) World[S]) {
	t.Helper()
	steps := d.Steps()
	for _, fail := range []bool{false, true} {
		for _, point := range d.Points() {
			name := point
			if fail {
				name += "/failing"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				e := w.Engine()
				flow.SetTestHooks(e, flow.TestHooks{
					Probe: func(at string) {
						if at == point {
							panic(flow.Abort{})
						}
					},
					Call: func(at string, undo bool, call func() error) error {
						err := call()
						if fail && !undo && at == steps[len(steps)-1] && err == nil {
							return errInjected
						}
						return err
					},
				})
				crashed, err := crash(t, e, d, w)
				if !crashed {
					want := w.Done
					if errors.Is(err, errInjected) {
						want, err = w.Clean, nil
					}
					finished(t, e, err, want)
					return
				}
				recoverFrom(t, point, d, w)
			})
		}
	}
}

// recoverFrom starts anew after a crash at a point and checks the outcome.
func recoverFrom[S any](t *testing.T, point string, d *flow.Def[S], w World[S]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e := w.Engine()
	left, err := e.Unfinished(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := w.Clean
	switch {
	case len(left) == 0 && point == d.Name()+"/end/journal":
		want = w.Done
	case len(left) == 1 && left[0].Phase == flow.PhaseForward:
		want = w.Done
	case len(left) > 1:
		t.Fatalf("%d flows in the journal, there was one", len(left))
	}
	err = e.Resume(ctx, func(_ string, run func(context.Context)) { run(ctx) })
	finished(t, e, err, want)
}

func run[S any](t *testing.T, e *flow.Engine, d *flow.Def[S], w World[S]) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flow.Run(ctx, e, d, w.State(), w.Options)
}

// crash runs the flow and reports whether it was ended by the probe.
func crash[S any](t *testing.T, e *flow.Engine, d *flow.Def[S], w World[S]) (crashed bool, err error) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(flow.Abort); !ok {
				panic(v)
			}
			crashed = true
		}
	}()
	return false, run(t, e, d, w)
}

// finished checks the world, and that nothing is left in the journal.
func finished(t *testing.T, e *flow.Engine, err error, check func() error) {
	t.Helper()
	if err != nil {
		t.Errorf("the flow failed: %v", err)
	}
	left, err := e.Unfinished(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range left {
		t.Errorf("left in the journal: %s at %s %s, cause %v, undo %v", j.Name, j.Phase, j.Step, j.Cause(), j.UndoCause())
	}
	if err := check(); err != nil {
		t.Error(err)
	}
}
