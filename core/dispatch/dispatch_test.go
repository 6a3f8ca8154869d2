package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// call is work that calls a function; nothing but a test has such.
type call func()

func (call) Name() string    { return "call" }
func (call) JobUUID() string { return "" }

func open(l Limits) *Queues { return New(l, func(it Item) { it.Work.(call)() }) }

func (d *Queues) add(key, kind string, fn func()) error {
	return d.Submit(Item{Key: key, Kind: kind, Work: call(fn)})
}

func submit(t testing.TB, d *Queues, key, kind string, fn func()) {
	t.Helper()
	if err := d.add(key, kind, fn); err != nil {
		t.Fatalf("submit %s/%s: %v", key, kind, err)
	}
}

func drain(t testing.TB, d *Queues) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := d.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestOrderAndBounds submits many items at random and checks each promise at
// once: order within a key, one at a time per key, the bound of each kind.
func TestOrderAndBounds(t *testing.T) {
	d := open(Limits{Parallel: 4, Kinds: map[string]int{"narrow": 1, "wide": 16}, Workers: 12})
	kinds := []string{"narrow", "wide", "other"}
	limits := map[string]int64{"narrow": 1, "wide": 16, "other": 4}
	running := map[string]*atomic.Int64{"narrow": {}, "wide": {}, "other": {}}
	var all, done atomic.Int64
	const keys, each = 40, 50
	var active [keys]atomic.Int64
	seen := make([][]int, keys)
	for n := range each {
		for k := range keys {
			kind := kinds[rand.IntN(len(kinds))]
			submit(t, d, fmt.Sprint("key", k), kind, func() {
				if active[k].Add(1) != 1 {
					t.Errorf("two items of key %d run at once", k)
				}
				if r := running[kind].Add(1); r > limits[kind] {
					t.Errorf("%d of kind %s run, the bound is %d", r, kind, limits[kind])
				}
				if a := all.Add(1); a > 12 {
					t.Errorf("%d items run, the bound is 12", a)
				}
				seen[k] = append(seen[k], n)
				time.Sleep(10 * time.Microsecond)
				all.Add(-1)
				running[kind].Add(-1)
				active[k].Add(-1)
				done.Add(1)
			})
		}
	}
	drain(t, d)
	if done.Load() != keys*each {
		t.Fatalf("%d of %d ran", done.Load(), keys*each)
	}
	for k, order := range seen {
		for i, n := range order {
			if i != n {
				t.Fatalf("key %d ran in the order %v", k, order)
			}
		}
	}
	if s := d.Stats(); s.Keys != 0 || s.Queued != 0 || s.Running != 0 || s.Done != keys*each {
		t.Fatalf("left over: %+v", s)
	}
}

// TestKeysTakeTurns has one key with a long queue and another with one item:
// with one place, the other's item is the second or third to run.
func TestKeysTakeTurns(t *testing.T) {
	d := open(Limits{Parallel: 1})
	gate := make(chan struct{})
	var mu sync.Mutex
	var order []string
	note := func(s string) func() {
		return func() { mu.Lock(); order = append(order, s); mu.Unlock() }
	}
	submit(t, d, "long", "", func() { <-gate })
	for range 20 {
		submit(t, d, "long", "", note("long"))
	}
	submit(t, d, "short", "", note("short"))
	close(gate)
	drain(t, d)
	if order[0] != "short" && order[1] != "short" {
		t.Fatalf("the short key waited for the long one: %v", order)
	}
}

// TestKindsDoNotBlockEachOther fills one kind and runs another.
func TestKindsDoNotBlockEachOther(t *testing.T) {
	d := open(Limits{Kinds: map[string]int{"slow": 2}})
	gate := make(chan struct{})
	for i := range 10 {
		submit(t, d, fmt.Sprint(i), "slow", func() { <-gate })
	}
	ran := make(chan struct{})
	submit(t, d, "x", "fast", func() { close(ran) })
	select {
	case <-ran:
	case <-time.After(5 * time.Second):
		t.Fatal("a full kind blocked another")
	}
	if s := d.Stats().Kinds["slow"]; s.Running != 2 || s.Queued != 8 {
		t.Errorf("slow: %+v", s)
	}
	d.SetLimit("slow", 5)
	waitFor(t, func() bool { return d.Stats().Kinds["slow"].Running == 5 })
	close(gate)
	drain(t, d)
}

// TestOwnersTakeTurns: who queues much does not take all places of a kind, and
// others do not wait for all that.
func TestOwnersTakeTurns(t *testing.T) {
	d := open(Limits{Parallel: 4})
	gate, ran := make(chan struct{}), make(chan struct{}, 2)
	for i := range 20 {
		if err := d.Submit(Item{Key: fmt.Sprint(i), Owner: "many", Work: call(func() { <-gate })}); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.Stats().Kinds[""]; s.Running != 3 || s.Queued != 17 {
		t.Errorf("of 4 places one owner has %d", s.Running)
	}
	for i := range 2 {
		if err := d.Submit(Item{Key: fmt.Sprint("few", i), Owner: "few", Work: call(func() { ran <- struct{}{} })}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		select {
		case <-ran:
		case <-time.After(10 * time.Second):
			t.Fatal("one owner waits for all the work of another")
		}
	}
	d.SetLimit("", 8)
	waitFor(t, func() bool { return d.Stats().Kinds[""].Running == 6 })
	close(gate)
	drain(t, d)
	if n := len(d.kind("").below); n != 0 {
		t.Errorf("%d owners are kept for nothing", n)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("waited 2 s in vain")
}

// TestPanicAndGoexit: neither stops its key, its kind or the rest.
func TestPanicAndGoexit(t *testing.T) {
	type report struct{ key, kind string }
	reports := make(chan report, 1)
	d := open(Limits{Parallel: 1, Panicked: func(key, kind string, v any, stack []byte) {
		if v != "boom" || len(stack) == 0 {
			t.Errorf("reported %v with %d bytes of stack", v, len(stack))
		}
		reports <- report{key, kind}
	}})
	var after atomic.Int64
	submit(t, d, "a", "k", func() { panic("boom") })
	submit(t, d, "a", "k", func() { after.Add(1) })
	submit(t, d, "b", "k", func() { runtime.Goexit() })
	submit(t, d, "b", "k", func() { after.Add(1) })
	drain(t, d)
	if r := <-reports; r.key != "a" || r.kind != "k" {
		t.Errorf("reported %+v", r)
	}
	if after.Load() != 2 {
		t.Errorf("%d of 2 items ran afterwards", after.Load())
	}
	if s := d.Stats(); s.Running != 0 || s.Panics != 1 {
		t.Errorf("left over: %+v", s)
	}
}

func TestRefusesWhenFullAndWhenDraining(t *testing.T) {
	d := open(Limits{Parallel: 1, Queue: 2})
	gate := make(chan struct{})
	submit(t, d, "a", "", func() { <-gate })
	submit(t, d, "b", "", func() {})
	submit(t, d, "c", "", func() {})
	if err := d.add("d", "", func() { t.Error("a refused item ran") }); errs.ClassOf(err) != errs.Exhausted {
		t.Errorf("full queue: %v", err)
	}
	close(gate)
	drain(t, d)
	drain(t, d)
	if err := d.add("e", "", func() { t.Error("a refused item ran") }); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("after drain: %v", err)
	}
}

// TestDrainGivesUp drops what waits and leaves what runs alone.
func TestDrainGivesUp(t *testing.T) {
	d := open(Limits{Parallel: 1})
	gate, ended := make(chan struct{}), make(chan struct{})
	submit(t, d, "a", "", func() { <-gate; close(ended) })
	submit(t, d, "a", "", func() { t.Error("a dropped item ran") })
	submit(t, d, "b", "", func() { t.Error("a dropped item ran") })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := d.Drain(ctx); errs.ClassOf(err) != errs.Timeout {
		t.Fatalf("drain: %v", err)
	}
	close(gate)
	<-ended
	drain(t, d)
	if s := d.Stats(); s.Keys != 0 || s.Queued != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// TestQueuedItemsAreCheap: 10,000 waiting items start no goroutine and take
// little memory.
func TestQueuedItemsAreCheap(t *testing.T) {
	d := open(Limits{Parallel: 2})
	gate := make(chan struct{})
	wait := func() { <-gate }
	submit(t, d, "x", "", wait)
	submit(t, d, "y", "", wait)
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("%032d", i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	routines := runtime.NumGoroutine()
	for _, k := range keys {
		submit(t, d, k, "", wait)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := runtime.NumGoroutine() - routines; n > 1 {
		t.Errorf("%d goroutines for waiting items", n)
	}
	if per := (after.HeapAlloc - before.HeapAlloc) / 10_000; per > 400 {
		t.Errorf("%d bytes for each waiting item", per)
	}
	close(gate)
	drain(t, d)
}

// BenchmarkSubmit measures submit and run of an empty item.
func BenchmarkSubmit(b *testing.B) {
	for _, keys := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			d := open(Limits{Queue: 1 << 40})
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprintf("%032d", i)
			}
			var n atomic.Int64
			fn := func() { n.Add(1) }
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(keys); pb.Next(); i++ {
					if err := d.add(names[i%keys], "vm", fn); err != nil {
						b.Error(err)
					}
				}
			})
			drain(b, d)
			b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "items/s")
		})
	}
}

// BenchmarkSubmitBehind measures the submit alone, behind a running item.
func BenchmarkSubmitBehind(b *testing.B) {
	d := open(Limits{Parallel: 1, Queue: 1 << 40})
	gate := make(chan struct{})
	submit(b, d, "a", "vm", func() { <-gate })
	b.ReportAllocs()
	for b.Loop() {
		submit(b, d, "a", "vm", func() {})
	}
	close(gate)
	drain(b, d)
}

// TestChains: who looks at a key sees what runs and what waits behind it.
func TestChains(t *testing.T) {
	d := New(Limits{}, func(it Item) { it.Work.(*named).do() })
	started, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	for i, name := range []string{"one", "two", "three"} {
		err := d.Submit(Item{Key: "key", Kind: "vm", Work: &named{name, func() {
			if i == 0 {
				close(started)
			}
			<-release
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	<-started
	for _, chains := range []map[string]Chain{d.Chains("key", "other"), d.Chains()} {
		c := chains["key"]
		if len(chains) != 1 || c.Running == nil || c.Running.Name != "one" || c.Running.Job != "one-job" || c.Running.Kind != "vm" || c.Running.Ran <= 0 {
			t.Fatalf("%+v", chains)
		}
		if len(c.Waiting) != 2 || c.Waiting[0].Name != "two" || c.Waiting[1].Name != "three" || c.Waiting[0].Ran != 0 || c.Waiting[0].Waited <= 0 {
			t.Errorf("waiting: %+v", c.Waiting)
		}
	}
}

// named is work with a name.
type named struct {
	name string
	do   func()
}

func (n *named) Name() string    { return n.name }
func (n *named) JobUUID() string { return n.name + "-job" }
