package dispatch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// waiting is work that knows of its item.
type waiting func(Item)

func (waiting) Name() string    { return "waiting" }
func (waiting) JobUUID() string { return "" }

func openWaiting(l Limits) *Queues { return New(l, func(it Item) { it.Work.(waiting)(it) }) }

// onHosts submits n items of ann's under keys that begin with a name.
func (d *Queues) onHosts(t *testing.T, n int, name, on string, work func(Item)) {
	t.Helper()
	for i := range n {
		if err := d.Submit(Item{Key: fmt.Sprint(name, i), Owner: "ann", On: on, Work: waiting(work)}); err != nil {
			t.Fatal(err)
		}
	}
}

// runs fails the test unless an item of ann's for a host runs now.
func (d *Queues) runs(t *testing.T, on string) {
	t.Helper()
	ran := make(chan struct{})
	d.onHosts(t, 1, "alone"+on, on, func(Item) { close(ran) })
	select {
	case <-ran:
	case <-time.After(10 * time.Second):
		t.Fatalf("the work for host %q waits for that on others", on)
	}
}

// never is longer than a test.
const never = time.Hour

// Work that is known to be for a host does not take all places of its owner: that
// for other hosts goes on at once, however much of it there is.
func TestHostsHaveTheirShare(t *testing.T) {
	d := openWaiting(Limits{Parallel: 16, Patience: never}) // 12 of an owner's, 8 of those for a host
	gate := make(chan struct{})
	hang := func(Item) { <-gate }
	d.onHosts(t, 100, "a", "A", hang)
	if s := d.Stats().Kinds[""]; s.Running != 8 || s.Queued != 92 || s.Lent != 0 {
		t.Errorf("of 12 places of an owner those for one host take: %+v", s)
	}
	d.runs(t, "B")
	d.runs(t, "")
	waitFor(t, func() bool { return d.Stats().Kinds[""].Running == 8 })
	d.SetLimit("", 4) // 3 of an owner's: all are taken
	d.onHosts(t, 1, "late", "B", func(Item) {})
	if s := d.Stats().Kinds[""]; s.Running != 8 || s.Queued != 93 {
		t.Errorf("above a lower limit: %+v", s)
	}
	d.SetLimit("", 32) // 24, and 16
	waitFor(t, func() bool { return d.Stats().Kinds[""].Running == 16 })
	close(gate)
	drain(t, d)
	if n := len(d.kind("").below); n != 0 {
		t.Errorf("%d owners are kept for nothing", n)
	}
}

// What waits for hosts lends its places in time, however many hosts hang and
// whether that was known before or not, and stays within the bounds.
func TestPlacesAreLent(t *testing.T) {
	for _, known := range []bool{true, false} {
		d := openWaiting(Limits{Parallel: 8, Workers: 64, Patience: 5 * time.Millisecond}) // 6 of an owner's, 4 of those for a host
		gate := make(chan struct{})
		for _, host := range []string{"A", "B", "C", "D"} {
			on := ""
			if known {
				on = host
			}
			d.onHosts(t, 6, host, on, func(it Item) { it.WaitsFor(host); it.WaitsFor(host); <-gate })
		}
		d.runs(t, "E")
		waitFor(t, func() bool { return d.Stats().Kinds[""].Lent >= 16 })
		d.runs(t, "F")
		full := KindStats{Limit: 8, Running: 24, Lent: 24}
		if known { // four of each host's
			full = KindStats{Limit: 8, Running: 16, Lent: 16, Queued: 8}
		}
		waitFor(t, func() bool { return d.Stats().Kinds[""] == full })
		close(gate)
		drain(t, d)
		if k := d.kind(""); len(k.below) != 0 || k.running != 0 || k.lent != 0 || d.all.running != 0 || d.all.lent != 0 {
			t.Errorf("known %v: left over %+v of %+v", known, k, d.all)
		}
	}
}

// As many places are lent as there are workers, half of them by one owner: others
// keep theirs, and lend them when there is room.
func TestLentPlacesAreBounded(t *testing.T) {
	d := openWaiting(Limits{Parallel: 8, Workers: 16, Patience: time.Millisecond})
	first, second := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.onHosts(t, 30, "x", "", func(it Item) {
		it.WaitsFor(it.Key) // each for another host
		gate := second
		once.Do(func() { gate = first })
		<-gate
	})
	full := KindStats{Limit: 8, Running: 8 + 6, Lent: 8, Queued: 16}
	waitFor(t, func() bool { return d.Stats().Kinds[""] == full })
	time.Sleep(10 * time.Millisecond) // they ask again, in vain
	if s := d.Stats().Kinds[""]; s != full {
		t.Errorf("%+v", s)
	}
	close(first)
	waitFor(t, func() bool {
		return d.Stats().Kinds[""] == KindStats{Limit: 8, Running: 8 + 6, Lent: 8, Queued: 15}
	})
	close(second)
	drain(t, d)
}

// Who tells late, or from outside, changes nothing.
func TestWaitsForIsForWhatRuns(t *testing.T) {
	d := openWaiting(Limits{})
	var kept Item
	d.onHosts(t, 1, "a", "", func(it Item) { kept = it })
	waitFor(t, func() bool { return d.Stats().Running == 0 })
	kept.WaitsFor("A")
	Item{}.WaitsFor("A")
	if n := len(d.kind("").below); n != 0 {
		t.Errorf("%d owners have work", n)
	}
	drain(t, d)
}

// Dropping what waits leaves alone what runs, lent or not.
func TestDrainWithLentPlaces(t *testing.T) {
	d := openWaiting(Limits{Parallel: 4, Patience: time.Millisecond})
	gate := make(chan struct{})
	d.onHosts(t, 20, "a", "A", func(Item) { <-gate })
	waitFor(t, func() bool { return d.Stats().Kinds[""].Lent == 2 })
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Drain(now); err == nil {
		t.Error("it is drained")
	}
	close(gate)
	drain(t, d)
	if s := d.Stats(); s.Running != 0 || s.Keys != 0 || s.Done != 2 {
		t.Errorf("%+v", s)
	}
}
