package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// alone is begin without jobs: those of the test's world end once only.
func alone(w *world, d *flow.Def[none]) *flow.Engine {
	e := flow.NewEngine(w.store, w.log, nil)
	flow.Register(e, d)
	return e
}

// TestTracesAreKept: what a flow did is in the database after its end, for the
// next process as well; of more than the bounds the oldest go, and those of
// flows that failed stay longer.
func TestTracesAreKept(t *testing.T) {
	w := newWorld(t)
	fail := false
	d := flow.Define("kept", do("a"), flow.Do("b", func(ctx context.Context, _ *none) error {
		flow.Called(ctx, flow.TraceCall{Plugin: "p", Method: "Make", Took: 1500, Tries: 1})
		if fail {
			return errors.New("no")
		}
		return nil
	}, nil))
	e := alone(w, d)
	run := func(job string) {
		t.Helper()
		if err := flow.Run(t.Context(), e, d, &none{}, flow.Options{Job: job, ResourceUUID: job}); (err != nil) != fail {
			t.Fatal(err)
		}
	}
	fail = true
	run("bad")
	fail = false
	for i := range 100 {
		run(fmt.Sprint("good", i))
	}
	run("good0") // a second flow of the same job
	look := func(e *flow.Engine, job string, flows int, phase string) {
		t.Helper()
		list, err := e.Traces(t.Context(), job)
		if err != nil || len(list) != flows {
			t.Fatalf("%s has %d traces, want %d: %v", job, len(list), flows, err)
		}
		for _, tr := range list {
			if tr.Phase != phase || tr.Job != job || tr.Flow != "kept" || tr.End.Before(tr.Begin) || len(tr.Steps) < 2 ||
				len(tr.Steps[1].Calls) != 1 || tr.Steps[1].Calls[0].Method != "Make" || tr.Steps[1].N != 2 {
				t.Errorf("%s: %+v", job, tr)
			}
		}
	}
	look(e, "good0", 2, "done")
	if n, err := e.FlushTraces(t.Context()); n != 102 || err != nil {
		t.Fatalf("%d written: %v", n, err)
	}
	next := alone(w, d)
	look(next, "good0", 2, "done")
	look(next, "good99", 1, "done")
	look(next, "bad", 1, "undone")
	if err := flow.Prune(next, flow.TraceBounds{Good: 10, Failed: 10}); err != nil {
		t.Fatal(err)
	}
	look(next, "good5", 0, "")
	look(next, "bad", 1, "undone")
	if n, err := store.Count(t.Context(), w.store, flow.Types()[1], ""); n != 11 || err != nil {
		t.Errorf("%d traces are kept, want 11: %v", n, err)
	}
}

// TestRetryAndForget: a person can have a failed undo repeated, and dropped.
func TestRetryAndForget(t *testing.T) {
	w := newWorld(t)
	broken := true
	d := flow.Define("stuck",
		flow.Do("make", func(context.Context, *none) error { return nil }, func(context.Context, *none) error {
			if broken {
				return errors.New("still broken")
			}
			return nil
		}),
		flow.Do("fail", func(context.Context, *none) error { return errors.New("no") }, nil))
	e := alone(w, d)
	stick := func(key string) string {
		t.Helper()
		if err := flow.Run(t.Context(), e, d, &none{}, flow.Options{Job: key, Key: key}); err == nil {
			t.Fatal("it did not fail")
		}
		list, err := e.Failed(t.Context())
		if err != nil || len(list) == 0 {
			t.Fatalf("%v: %v", list, err)
		}
		row := list[len(list)-1]
		if row.Why != "no" || row.UndoWhy != "still broken" || row.Key != key {
			t.Errorf("the journal says %q and %q of %s", row.Why, row.UndoWhy, row.Key)
		}
		return row.UUID
	}
	one := stick("one")
	if err := e.Retry(t.Context(), one); err == nil {
		t.Error("the undo was repeated although it cannot be")
	}
	if st := e.Stats(); st.Open != 1 || st.Undoing != 1 {
		t.Errorf("%+v", st)
	}
	broken = false
	if err := e.Retry(t.Context(), one); err != nil {
		t.Error(err)
	}
	if err := e.Retry(t.Context(), one); err != nil {
		t.Errorf("a flow that is over: %v", err)
	}
	broken = true
	two := stick("two")
	if err := e.Forget(t.Context(), two); err != nil {
		t.Error(err)
	}
	if left, err := e.Unfinished(t.Context()); len(left) != 0 || err != nil || e.Stats().Open != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	broken = false
	if err := e.Finish(t.Context(), "two", false); err != nil {
		t.Errorf("the key is not free: %v", err)
	}
}
