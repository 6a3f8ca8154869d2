package flow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type none struct{}

type list struct {
	Items []int
	Note  string
}

func tx(name string) flow.Step[none] {
	return flow.Tx(name, func(context.Context, *store.Tx, *none) error { return nil },
		func(context.Context, *store.Tx, *none) error { return nil })
}

func do(name string) flow.Step[none] {
	return flow.Do(name, func(context.Context, *none) error { return nil }, func(context.Context, *none) error { return nil })
}

func never(*none) bool { return false }

// inline runs resumed flows at once.
func inline(_ string, run func(context.Context)) { run(context.Background()) }

func begin[S any](w *world, d *flow.Def[S]) *flow.Engine {
	e := w.engine()
	flow.Register(e, d)
	return e
}

func phases(t *testing.T, e *flow.Engine) string {
	t.Helper()
	left, err := e.Unfinished(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, j := range left {
		s = append(s, j.Phase+" "+j.Step)
	}
	return strings.Join(s, ", ")
}

// TestTransactions counts what a flow costs.
func TestTransactions(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name  string
		steps []flow.Step[none]
		want  int
	}{
		{"t1", []flow.Step[none]{tx("a"), tx("b"), tx("c")}, 1},
		{"t2", []flow.Step[none]{tx("a"), tx("b"), do("c"), do("d"), do("e"), tx("f"), tx("g")}, 2},
		{"t3", []flow.Step[none]{do("a"), do("b")}, 2},
		{"t4", []flow.Step[none]{tx("a"), do("b"), tx("c"), do("d"), tx("e")}, 3},
		{"t5", []flow.Step[none]{tx("a"), do("b").When(never), tx("c")}, 1},
		{"t6", []flow.Step[none]{tx("a"), do("b").When(never), do("c").When(never)}, 1},
		{"t7", []flow.Step[none]{tx("a"), do("b").Checkpoint(), do("c"), tx("d")}, 2}, // b changes nothing
	} {
		d := flow.Define(c.name, c.steps...)
		e := begin(w, d)
		db := flow.Watch(e)
		if err := flow.Run(context.Background(), e, d, &none{}, flow.Options{}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if db.Updates() != c.want {
			t.Errorf("%s: %d transactions, want %d", c.name, db.Updates(), c.want)
		}
		if left := phases(t, e); left != "" {
			t.Errorf("%s: left in the journal: %s", c.name, left)
		}
	}
}

// TestErrors: what a step can do wrong, and what the caller hears.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name  string
		step  flow.Step[none]
		class errs.Class
		text  string
	}{
		{"panic", flow.Do("explode", func(context.Context, *none) error { panic("boom") }, nil), errs.Internal, "step explode of panic: panic: boom"},
		{"panic-tx", flow.Tx("explode", func(context.Context, *store.Tx, *none) error { panic("boom") }, nil), errs.Internal, "step explode of panic-tx: panic: boom"},
		{"panic-when", do("explode").When(func(*none) bool { panic("boom") }), errs.Internal, "step explode of panic-when: panic: boom"},
		{"panic-each", flow.Each("explode", 3, func(*none) []int { return []int{1, 2, 3} }, func(context.Context, *none, int) error { panic("boom") }, nil),
			errs.Internal, "step explode of panic-each: panic: boom"},
		{"timeout", flow.Do("sleep", func(ctx context.Context, _ *none) error { <-ctx.Done(); return ctx.Err() }, nil).Timeout(10 * time.Millisecond),
			errs.Timeout, "step sleep of timeout: not done within 10ms"},
		{"timeout-each", flow.Each("sleep", 1, func(*none) []int { return []int{1} }, func(ctx context.Context, _ *none, _ int) error {
			<-ctx.Done()
			return errors.New("gave up")
		}, nil).Timeout(10 * time.Millisecond), errs.Timeout, "an item of step sleep of timeout-each: not done within 10ms: gave up"},
		{"class", flow.Do("ask", func(context.Context, *none) error { return errs.New(errs.Exhausted, "pool p", "full") }, nil), errs.Exhausted, "pool p: full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var undone atomic.Int64
			first := flow.Do("first", func(context.Context, *none) error { return nil }, func(context.Context, *none) error { undone.Add(1); return nil })
			d := flow.Define(c.name, first, c.step)
			e := begin(w, d)
			err := flow.Run(context.Background(), e, d, &none{}, flow.Options{})
			if errs.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %s %v", errs.ClassOf(err), err)
			}
			if undone.Load() != 1 || phases(t, e) != "" {
				t.Errorf("undone %d times, journal %q", undone.Load(), phases(t, e))
			}
		})
	}
}

// TestStopLeaves: a step, or an undo, that does not end in time is repeated after
// the next start, though it fails when what it needs has ended.
func TestStopLeaves(t *testing.T) {
	for _, undoing := range []bool{false, true} {
		w := newWorld(t)
		in, gate := make(chan struct{}), make(chan struct{})
		var tries, undone atomic.Int64
		hang := func(context.Context, *none) error {
			if tries.Add(1) == 1 {
				close(in)
				<-gate
				return errs.New(errs.Unavailable, "plugin", "it has ended")
			}
			return nil
		}
		steps := []flow.Step[none]{tx("a"), flow.Do("first", hang, func(context.Context, *none) error { undone.Add(1); return nil })}
		want := "forward first"
		if undoing {
			steps = []flow.Step[none]{tx("a"), flow.Do("first", func(context.Context, *none) error { return nil }, hang),
				flow.Do("second", func(context.Context, *none) error { return errs.New(errs.Refused, "second", "no") }, nil)}
			want = "undoing second"
		}
		d := flow.Define("leave", steps...)
		e := begin(w, d)
		result := make(chan error, 1)
		go func() { result <- flow.Run(context.Background(), e, d, &none{}, flow.Options{}) }()
		<-in
		over, cancel := context.WithCancel(context.Background())
		cancel()
		if err := e.Stop(over); errs.ClassOf(err) != errs.Timeout {
			t.Errorf("Stop while a step runs: %v", err)
		}
		close(gate)
		if err := <-result; !flow.IsStopped(err) {
			t.Errorf("Run returned %v", err)
		}
		if got := phases(t, e); got != want || undone.Load() != 0 {
			t.Errorf("journal %q instead of %q, undone %d", got, want, undone.Load())
		}
		next := begin(w, d)
		if err := next.Resume(context.Background(), inline); err != nil {
			t.Fatal(err)
		}
		if got := phases(t, next); got != "" || tries.Load() != 2 || undone.Load() != 0 {
			t.Errorf("after resume: journal %q, tried %d times, undone %d", got, tries.Load(), undone.Load())
		}
	}
}

// TestStop: a running step ends, then the flow waits in the journal and goes
// on in the next process from the step that was not begun.
func TestStop(t *testing.T) {
	w := newWorld(t)
	in, gate := make(chan struct{}), make(chan struct{})
	var first, second, undone atomic.Int64
	d := flow.Define("stop",
		tx("a"),
		flow.Do("first", func(ctx context.Context, _ *none) error {
			if first.Add(1) == 1 {
				close(in)
				<-gate
			}
			return ctx.Err()
		}, func(context.Context, *none) error { undone.Add(1); return nil }),
		flow.Do("second", func(context.Context, *none) error { second.Add(1); return nil }, nil))
	e := begin(w, d)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- flow.Run(ctx, e, d, &none{}, flow.Options{Job: strings.Repeat("1", 32)}) }()
	<-in
	short, cancelShort := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancelShort()
	if err := e.Stop(short); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("Stop while a step runs: %v", err)
	}
	cancel() // must not reach the step
	close(gate)
	if err := <-result; !flow.IsStopped(err) || errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("Run returned %v", err)
	}
	if err := e.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := flow.Run(context.Background(), e, d, &none{}, flow.Options{}); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("Run after Stop: %v", err)
	}
	if got := phases(t, e); got != "forward first" || second.Load() != 0 || undone.Load() != 0 || len(w.jobs.all()) != 0 {
		t.Errorf("journal %q, second %d, undone %d, jobs %v", got, second.Load(), undone.Load(), w.jobs.all())
	}
	next := begin(w, d)
	if jobs, err := next.Jobs(context.Background()); err != nil || !jobs[strings.Repeat("1", 32)] {
		t.Errorf("jobs in the journal: %v, %v", jobs, err)
	}
	if err := next.Resume(context.Background(), inline); err != nil {
		t.Fatal(err)
	}
	if got := phases(t, next); got != "" || second.Load() != 1 || len(w.jobs.all()) != 1 {
		t.Errorf("after resume: journal %q, second %d, jobs %v", got, second.Load(), w.jobs.all())
	}
}

// TestCallerGivesUp: the flow of a caller that went away goes on with the
// collector; one whose time is up is undone.
func TestCallerGivesUp(t *testing.T) {
	for name, late := range map[string]bool{"cancelled": false, "deadline": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var done, undone atomic.Int64
			ctx, cancel := context.WithCancel(context.Background())
			if late {
				ctx, cancel = context.WithTimeout(context.Background(), 500*time.Millisecond) // a loaded machine reaches the step in it
			}
			defer cancel()
			d := flow.Define("give-up", tx("a"),
				flow.Do("first", func(step context.Context, _ *none) error {
					if late {
						<-step.Done() // the deadline does reach the step
						return step.Err()
					}
					cancel()
					return step.Err()
				}, func(ctx context.Context, _ *none) error { undone.Add(1); return ctx.Err() }),
				flow.Do("second", func(context.Context, *none) error { done.Add(1); return nil }, nil))
			e := begin(w, d)
			err := flow.Run(ctx, e, d, &none{}, flow.Options{})
			if late {
				if errs.ClassOf(err) != errs.Timeout || undone.Load() != 1 || phases(t, e) != "" {
					t.Errorf("Run: %v, undone %d, journal %q", err, undone.Load(), phases(t, e))
				}
				return
			}
			if !flow.IsStopped(err) || e.Stats().Parked != 1 {
				t.Errorf("Run: %v, %+v", err, e.Stats())
			}
			n, err := e.Collect(context.Background(), time.Minute, inline)
			if n != 1 || err != nil || done.Load() != 1 || undone.Load() != 0 || phases(t, e) != "" {
				t.Errorf("Collect: %d %v, done %d, undone %d, journal %q", n, err, done.Load(), undone.Load(), phases(t, e))
			}
		})
	}
}

// TestUndoFails: the flow is kept with both errors, what comes before the
// failed undo is not undone, the job ends once, and Collect finishes the undo
// when it is due.
func TestUndoFails(t *testing.T) {
	w := newWorld(t)
	var order []string
	var broken atomic.Bool
	broken.Store(true)
	note := func(s string) func(context.Context, *none) error {
		return func(context.Context, *none) error { order = append(order, s); return nil }
	}
	d := flow.Define("undo-fails",
		flow.Tx("reserve", func(ctx context.Context, tx *store.Tx, _ *none) error { return insertSlot(ctx, tx, "r", "") },
			func(ctx context.Context, tx *store.Tx, _ *none) error {
				order = append(order, "release")
				return deleteSlot(ctx, tx, "r")
			}),
		flow.Do("one", note("one"), note("undo one")),
		flow.Do("two", note("two"), func(context.Context, *none) error {
			if broken.Load() {
				return errs.New(errs.Unavailable, "host h", "no answer")
			}
			order = append(order, "undo two")
			return nil
		}),
		flow.Do("three", func(context.Context, *none) error { return errs.New(errs.Exhausted, "pool p", "full") }, note("undo three")))
	e := begin(w, d)
	err := flow.Run(context.Background(), e, d, &none{}, flow.Options{Job: "j", ResourceUUID: "x"})
	var both *flow.Error
	if !errors.As(err, &both) || both.Step != "two" || errs.ClassOf(err) != errs.Exhausted || !errors.Is(both.Undo, errs.Unavailable) {
		t.Fatalf("Run returned %v", err)
	}
	failed, ferr := e.Failed(context.Background())
	if ferr != nil || len(failed) != 1 || failed[0].Step != "two" || failed[0].Attempts != 1 || failed[0].Key != "x" ||
		errs.ClassOf(failed[0].Cause()) != errs.Exhausted || errs.ClassOf(failed[0].UndoCause()) != errs.Unavailable {
		t.Fatalf("Failed: %+v, %v", failed, ferr)
	}
	if w.rows()["r"] != "" || len(w.rows()) != 2 { // r and the job
		t.Errorf("rows %v", w.rows())
	}
	ctx := context.Background()
	next := begin(w, d) // as after a restart
	if err := next.Resume(ctx, inline); err != nil || len(order) != 3 {
		t.Errorf("Resume touched a failed undo: %v %v", order, err)
	}
	if n, err := next.Collect(ctx, time.Hour, inline); n != 0 || err != nil {
		t.Errorf("Collect before it is due: %d %v", n, err)
	}
	if n, err := next.Collect(ctx, 0, inline); n != 1 || err != nil {
		t.Errorf("Collect: %d %v", n, err)
	}
	if failed, _ := next.Failed(ctx); len(failed) != 1 || failed[0].Attempts != 2 {
		t.Errorf("after another failure: %+v", failed)
	}
	broken.Store(false)
	if n, err := next.Collect(ctx, 0, inline); n != 1 || err != nil {
		t.Errorf("Collect: %d %v", n, err)
	}
	if want := "one, two, undo three, undo two, undo one, release"; strings.Join(order, ", ") != want {
		t.Errorf("order %v", order)
	}
	if phases(t, next) != "" || len(w.rows()) != 1 || len(w.jobs.all()) != 1 {
		t.Errorf("journal %q, rows %v, jobs %v", phases(t, next), w.rows(), w.jobs.all())
	}
}

func TestUndoDelay(t *testing.T) {
	for _, c := range []struct {
		attempts       int
		interval, want time.Duration
	}{
		{1, 30 * time.Second, 30 * time.Second}, {2, 30 * time.Second, time.Minute}, {4, 30 * time.Second, 4 * time.Minute},
		{20, 30 * time.Second, time.Hour}, {1000, time.Second, time.Hour}, {1, 2 * time.Hour, 2 * time.Hour}, {3, 2 * time.Hour, 2 * time.Hour},
	} {
		if got := flow.UndoDelay(c.attempts, c.interval); got != c.want {
			t.Errorf("attempt %d, every %s: %s, want %s", c.attempts, c.interval, got, c.want)
		}
	}
}

// TestDatabaseAway: the undo cannot be noted, so the engine keeps it and goes
// on when the database is back.
func TestDatabaseAway(t *testing.T) {
	w := newWorld(t)
	var undone atomic.Int64
	var db flow.Database
	d := flow.Define("away", flow.Do("work", func(context.Context, *none) error {
		db.Break(errs.New(errs.Unavailable, "database", "gone"))
		return errs.New(errs.Refused, "thing", "no")
	}, func(context.Context, *none) error { undone.Add(1); return nil }))
	e := begin(w, d)
	db = flow.Watch(e)
	err := flow.Run(context.Background(), e, d, &none{}, flow.Options{Job: "j"})
	if errs.ClassOf(err) != errs.Refused || undone.Load() != 0 || e.Stats().Parked != 1 {
		t.Fatalf("Run: %v, undone %d, %+v", err, undone.Load(), e.Stats())
	}
	if n, err := e.Collect(context.Background(), time.Minute, inline); n != 1 || err != nil || undone.Load() != 0 {
		t.Errorf("Collect while it is away: %d %v, undone %d", n, err, undone.Load())
	}
	db.Break(nil)
	if n, err := e.Collect(context.Background(), time.Minute, inline); n != 1 || err != nil || undone.Load() != 1 {
		t.Errorf("Collect: %d %v, undone %d", n, err, undone.Load())
	}
	if phases(t, e) != "" || len(w.jobs.all()) != 1 || e.Stats() != (flow.Stats{}) {
		t.Errorf("journal %q, jobs %v, %+v", phases(t, e), w.jobs.all(), e.Stats())
	}
}

// TestUnknownFlow: what a newer version does not know is kept and shown.
func TestUnknownFlow(t *testing.T) {
	w := newWorld(t)
	in := make(chan struct{})
	old := flow.Define("old", do("a"), flow.Do("gone", func(context.Context, *none) error { close(in); return nil }, nil).Checkpoint(), do("c"))
	e := begin(w, old)
	flow.SetTestHooks(e, flow.TestHooks{Probe: func(p string) {
		if p == "old/gone/after" {
			panic(flow.Abort{})
		}
	}})
	func() {
		defer func() { recover() }() // the Abort
		t.Error(flow.Run(context.Background(), e, old, &none{}, flow.Options{Job: "j"}))
	}()
	<-in
	for name, next := range map[string]*flow.Engine{"flow": w.engine(), "step": begin(w, flow.Define("old", do("b")))} {
		if err := next.Resume(context.Background(), inline); err != nil {
			t.Fatal(err)
		}
		failed, err := next.Failed(context.Background())
		if err != nil || len(failed) != 1 || !strings.Contains(failed[0].UndoCause().Error(), "does not know") {
			t.Errorf("unknown %s: %+v %v", name, failed, err)
		}
	}
	if all := w.jobs.all(); len(all) != 1 || errs.ClassOf(all[0].err) != errs.Internal {
		t.Errorf("jobs %v", all)
	}
}

// TestEachProgress: a long list saves how far it is, goes on from there after
// a crash, runs as many items at once as it may, and stops for a stop.
func TestEachProgress(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	seen := map[int]int{}
	var running, most, undone atomic.Int64
	fail := errors.New("item 6 fails")
	var failing atomic.Bool
	d := flow.Define("long", flow.Do("first", func(_ context.Context, s *list) error { s.Note = "first"; return nil }, nil),
		flow.Each("items", 2, func(s *list) []int { return s.Items }, func(_ context.Context, s *list, i int) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(flow.SaveEvery / 3)
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
			if s.Note != "first" {
				t.Errorf("item %d: the state was not saved: %+v", i, s)
			}
			if failing.Load() && i == 9 {
				return fail
			}
			return nil
		}, func(context.Context, *list, int) error { undone.Add(1); return nil }))
	e := begin(w, d)
	result := make(chan error, 1)
	go func() {
		result <- flow.Run(context.Background(), e, d, &list{Items: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, flow.Options{})
	}()
	time.Sleep(flow.SaveEvery + flow.SaveEvery/2)
	if err := e.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !flow.IsStopped(err) {
		t.Fatal(err)
	}
	left, err := e.Unfinished(context.Background())
	if err != nil || len(left) != 1 || left[0].Step != "items" || left[0].Progress < 4 || left[0].Progress > 9 {
		t.Fatalf("journal %+v, %v", left, err)
	}
	failing.Store(true)
	next := begin(w, d)
	if err := next.Resume(context.Background(), inline); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 2 {
		t.Errorf("%d items ran at once", most.Load())
	}
	for i := range int(left[0].Progress) {
		if seen[i] != 1 {
			t.Errorf("item %d ran %d times", i, seen[i])
		}
	}
	if len(seen) != 10 || undone.Load() != 10 || phases(t, next) != "" {
		t.Errorf("%d items seen, %d undone, journal %q", len(seen), undone.Load(), phases(t, next))
	}
}

// TestContext: what a step's ctx says.
func TestContext(t *testing.T) {
	w := newWorld(t)
	ids := map[string]bool{}
	note := func(ctx context.Context, _ *none) error {
		if len(flow.ID(ctx)) != 32 || !strings.HasPrefix(flow.OperationID(ctx), flow.ID(ctx)) {
			t.Errorf("id %q, operation %q", flow.ID(ctx), flow.OperationID(ctx))
		}
		ids[strings.TrimPrefix(flow.OperationID(ctx), flow.ID(ctx))] = true
		return nil
	}
	d := flow.Define("context", flow.Do("a", note, note), flow.Do("b", func(ctx context.Context, s *none) error {
		return errors.Join(note(ctx, s), errors.New("fails"))
	}, note))
	if err := flow.Run(context.Background(), begin(w, d), d, &none{}, flow.Options{}); err == nil {
		t.Error("no error")
	}
	for _, want := range []string{".a", ".a.undo", ".b", ".b.undo"} {
		if !ids[want] {
			t.Errorf("no operation %s in %v", want, ids)
		}
	}
	if flow.ID(context.Background()) != "" || flow.OperationID(context.Background()) != "" {
		t.Error("an id outside of flows")
	}
}

func TestTraceAndHooks(t *testing.T) {
	w := newWorld(t)
	d := flow.Define("traced", tx("a"), do("b"), do("c"), flow.Do("d", func(context.Context, *none) error { return errors.New("no") }, nil))
	e := begin(w, d)
	var steps []string
	var flows int
	e.Hooks = flow.Hooks{
		Step: func(f, s string, undo bool, took time.Duration, err error) {
			steps = append(steps, fmt.Sprintf("%s/%s %v %v", f, s, undo, err))
		},
		Flow: func(f string, took time.Duration, err error) { flows++ },
	}
	if err := flow.Run(context.Background(), e, d, &none{}, flow.Options{Job: "j", ResourceUUID: "u"}); err == nil {
		t.Error("no error")
	}
	if len(steps) != 7 || steps[3] != "traced/d false no" || steps[6] != "traced/a true <nil>" || flows != 1 {
		t.Errorf("hooks: %q, %d flows", steps, flows)
	}
	if tr, ok, err := e.Trace(t.Context(), "j"); err != nil || !ok || tr.Phase != "undone" || tr.Error != "no" || len(tr.Steps) != 7 ||
		tr.Steps[3].Error != "no" || tr.Total != 4 || tr.End.IsZero() {
		t.Errorf("trace %+v: %v", tr, err)
	}
}

// TestDefineRefuses: wrong definitions are found when the program starts.
func TestDefineRefuses(t *testing.T) {
	for name, f := range map[string]func(){
		"name":      func() { flow.Define("Bad Name", tx("a")) },
		"step name": func() { flow.Define("ok", tx("a/b")) },
		"reserved":  func() { flow.Define("ok", tx("end")) },
		"twice":     func() { flow.Define("ok", tx("a"), do("a")) },
		"empty":     func() { flow.Define[none]("ok") },
		"answer":    func() { flow.Define("ok", do("a").Answers()) },
		"no do":     func() { flow.Define("ok", flow.Do[none]("a", nil, nil)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			f()
		}()
	}
	w := newWorld(t)
	if err := flow.Run(context.Background(), w.engine(), flow.Define("stranger", tx("a")), &none{}, flow.Options{}); errs.ClassOf(err) != errs.Internal {
		t.Errorf("unregistered flow: %v", err)
	}
}

// BenchmarkRun measures flows of 3 Tx and 3 Do steps with a state of the size
// that a VM's creation has.
func BenchmarkRun(b *testing.B) {
	type state struct {
		UUID, Host, Storage, Image string
		Size                       int64
		Addresses                  []string
	}
	for _, parallel := range []int{1, 100} {
		b.Run(fmt.Sprintf("parallel=%d", parallel), func(b *testing.B) {
			w := newWorld(b)
			step := func(context.Context, *state) error { return nil }
			d := flow.Define("bench",
				flow.Tx("row", func(ctx context.Context, tx *store.Tx, s *state) error {
					return store.Insert(ctx, tx, slots, &slot{UUID: s.UUID, State: "creating"})
				}, nil),
				flow.Tx("host", func(ctx context.Context, tx *store.Tx, s *state) error { s.Host = s.UUID; return nil }, nil),
				flow.Do("network", step, step), flow.Do("disk", step, step), flow.Do("start", step, step),
				flow.Tx("running", func(ctx context.Context, tx *store.Tx, s *state) error {
					return store.Set(ctx, tx, slots.Type, s.UUID, map[string]any{"state": "running"})
				}, nil))
			e := flow.NewEngine(w.store, nil, nil)
			flow.Register(e, d)
			var n atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range parallel {
				wg.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						s := &state{UUID: fmt.Sprintf("%032d", i), Addresses: []string{"10.0.0.1", "fa:16:3e:00:00:01"}}
						if err := flow.Run(context.Background(), e, d, s, flow.Options{ResourceUUID: s.UUID}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flows/s")
		})
	}
}
