package event

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type thing struct {
	resource.Base
	resource.Owned
	State string `db:"state" kumo:"size=32"`
}

var things = resource.Define[thing](resource.Type{Name: "Thing", Path: "/things"})

func newThing(name string) *thing {
	return &thing{Base: resource.Base{UUID: resource.NewUUID(), Name: name}, Owned: resource.Owned{AccountUUID: "acc"}}
}

// job is a cause.
type job string

func (j job) JobUUID() string        { return string(j) }
func (j job) Changed([]store.Change) {}

func update(t *testing.T, st *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := st.Update(store.WithCause(t.Context(), job("job1")), fn); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, r *Reader) Event {
	t.Helper()
	got, lost := r.Next(t.Context(), make([]Event, 0, 1), 5*time.Second)
	if len(got) != 1 || lost != 0 {
		t.Fatalf("%d events within 5 s, %d lost", len(got), lost)
	}
	return got[0]
}

// TestFromTransactions follows a row from its creation to its end.
func TestFromTransactions(t *testing.T) {
	st, b := storetest.Open(t, things.Type, outbox.Type), New()
	st.Watch(b)
	x := newThing("x")
	update(t, st, func(tx *store.Tx) error { return store.Insert(t.Context(), tx, things, newThing("unheard")) })
	if b.On() || b.Wants(things.Type) {
		t.Error("events are kept for nobody")
	}
	r, lost := b.Read("")
	defer r.Close()
	if lost || !b.Wants(things.Type) || b.Wants(outbox.Type) {
		t.Error("a reader changes nothing, or is told of what is internal")
	}
	update(t, st, func(tx *store.Tx) error { return store.Insert(t.Context(), tx, things, x) })
	update(t, st, func(tx *store.Tx) error {
		return store.Set(t.Context(), tx, things.Type, x.UUID, map[string]any{"state": "Running"})
	})
	update(t, st, func(tx *store.Tx) error { return store.Delete(t.Context(), tx, things.Type, x.UUID) })
	for _, want := range []Event{
		{Verb: store.Created, AccountUUID: "acc"}, {Verb: store.Updated, Fields: []string{"lastOpDate", "state"}}, {Verb: store.Deleted, AccountUUID: "acc"},
	} {
		e := next(t, r)
		if e.Type != "Thing" || e.UUID != x.UUID || e.Verb != want.Verb || !slices.Equal(e.Fields, want.Fields) || e.AccountUUID != want.AccountUUID ||
			e.Job != "job1" || e.Time.IsZero() {
			t.Errorf("got %+v, want %+v", e, want)
		}
	}
}

// TestComeBack proves that a reader who comes back misses nothing, or is told.
func TestComeBack(t *testing.T) {
	b := New()
	r, _ := b.Read("")
	b.Publish(Event{UUID: "1"}, Event{UUID: "2"})
	id := b.ID(next(t, r).Number)
	r.Close()
	r.Close()
	b.Publish(Event{UUID: "3"}) // within the time to come back
	r, lost := b.Read(id)
	if a, c := next(t, r), next(t, r); lost || a.UUID != "2" || c.UUID != "3" {
		t.Errorf("lost %t, %+v, %+v", lost, a, c)
	}
	r.Close()
	b.quiet()
	b.Publish(Event{UUID: "4"})
	for _, old := range []string{id, New().ID(1), "nonsense", b.ID(1000)} {
		r, lost := b.Read(old)
		if !lost {
			t.Errorf("nothing is lost after %s", old)
		}
		r.Close()
	}
	if s := b.Stats(); s.Readers != 0 {
		t.Errorf("%+v", s)
	}
}

// TestSlowReader proves that nobody waits for a reader, who is told exactly how
// many events are gone.
func TestSlowReader(t *testing.T) {
	b := New()
	r, _ := b.Read("")
	defer r.Close()
	const n = 3*capacity + 17
	for range n {
		b.Publish(Event{})
	}
	got, lost := r.Next(t.Context(), make([]Event, 0, 2*capacity), 0)
	if len(got)+int(lost) != n || len(got) != capacity {
		t.Errorf("%d events, %d lost of %d", len(got), lost, n)
	}
	if got, lost := r.Next(t.Context(), make([]Event, 0, 8), time.Millisecond); len(got) != 0 || lost != 0 {
		t.Errorf("then %d, %d", len(got), lost)
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	b := New()
	var pubs, readers sync.WaitGroup
	const events = 500
	for range 4 {
		r, _ := b.Read("")
		readers.Go(func() {
			defer r.Close()
			for i := 0; i < 3*events; {
				got, lost := r.Next(context.Background(), make([]Event, 0, 7), 10*time.Second)
				if i += len(got) + int(lost); len(got) == 0 {
					t.Error("no event within 10 s")
					return
				}
			}
		})
	}
	for range 3 {
		pubs.Go(func() {
			for range events {
				b.Publish(Event{UUID: "x"})
			}
		})
	}
	pubs.Wait()
	readers.Wait()
}

// inbox is what a durable subscriber has got.
type inbox struct {
	mu    sync.Mutex
	got   []string
	fails map[string]bool // by resource
	news  chan struct{}
}

func (i *inbox) deliver(_ context.Context, e Event) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fails[e.UUID] {
		return errs.New(errs.Unavailable, "inbox", "closed for %s", e.UUID)
	}
	i.got = append(i.got, string(e.Verb)+" "+e.UUID[len(e.UUID)-1:])
	select {
	case i.news <- struct{}{}:
	default:
	}
	return nil
}

// wait waits until so many events have come, and returns them.
func (i *inbox) wait(t *testing.T, n int) string {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		i.mu.Lock()
		got := slices.Clone(i.got)
		i.mu.Unlock()
		if len(got) >= n {
			return strings.Join(got, " ")
		}
		select {
		case <-i.news:
		case <-limit:
			t.Fatalf("%d of %d events within 20 s: %q", len(got), n, got)
		}
	}
}

func numbered(n string) *thing {
	x := newThing(n)
	x.UUID = strings.Repeat("0", 31) + n
	return x
}

// TestDurable proves that a durable subscriber gets everything in the order of
// each resource, also what it could not take at first, and what happened before
// a restart.
func TestDurable(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "k.db")
	st, b := storetest.OpenDSN(t, "sqlite:"+path, things.Type, outbox.Type), New()
	st.Watch(b)
	in := &inbox{fails: map[string]bool{}, news: make(chan struct{}, 1)}
	sub := func() *Durable {
		return &Durable{Name: "hook", Deliver: in.deliver, Wants: []Want{{"Thing", store.Created}, {"Thing", store.Deleted}}}
	}
	one, two := numbered("1"), numbered("2")
	in.fails[one.UUID] = true
	run, stop := context.WithCancel(ctx)
	if err := b.Subscribe(run, st, sub(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if err := b.Subscribe(run, st, sub(), hclog.NewNullLogger()); !errors.Is(err, errs.Exists) {
		t.Errorf("the same subscriber again: %v", err)
	}
	update(t, st, func(tx *store.Tx) error { return store.Insert(ctx, tx, things, one, two) })
	update(t, st, func(tx *store.Tx) error {
		return store.Set(ctx, tx, things.Type, one.UUID, map[string]any{"state": "x"}) // nobody asked for it
	})
	update(t, st, func(tx *store.Tx) error { return store.Delete(ctx, tx, things.Type, one.UUID) })
	if err := st.Update(ctx, func(tx *store.Tx) error {
		if err := store.Delete(ctx, tx, things.Type, two.UUID); err != nil {
			return err
		}
		return errors.New("rolled back")
	}); err == nil {
		t.Fatal("no error")
	}
	if got := in.wait(t, 1); got != "created 2" {
		t.Errorf("got %s", got)
	}
	for n := int64(0); n != 2; { // what came is acknowledged
		var err error
		if n, err = store.Count(ctx, st, outbox.Type, ""); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for len(b.Stats().Backlog) > 0 { // until it has ended
		time.Sleep(time.Millisecond)
	}
	in.mu.Lock()
	in.fails = nil
	in.mu.Unlock()
	again := New() // as after a restart
	st.Watch(again)
	if err := again.Subscribe(ctx, st, sub(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if got := in.wait(t, 3); got != "created 2 created 1 deleted 1" {
		t.Errorf("after a restart: %s", got)
	}
	update(t, st, func(tx *store.Tx) error { return store.Delete(ctx, tx, things.Type, two.UUID) })
	if got := in.wait(t, 4); got != "created 2 created 1 deleted 1 deleted 2" {
		t.Errorf("at last: %s", got)
	}
}

// TestFullOutbox proves that an outbox is bounded and that its subscriber is told.
func TestFullOutbox(t *testing.T) {
	ctx := t.Context()
	st, b := storetest.Open(t, things.Type, outbox.Type), New()
	st.Watch(b)
	in := &inbox{fails: map[string]bool{}, news: make(chan struct{}, 1)}
	d := &Durable{Name: "hook", Deliver: in.deliver, Wants: []Want{{"Thing", store.Created}}, Limit: 2}
	one := numbered("1")
	in.fails[one.UUID] = true
	if err := b.Subscribe(ctx, st, d, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b", "c", "d", "e"} { // all of one transaction or of several: the bound holds between them
		x := one
		if n != "a" {
			x = numbered(n)
			in.mu.Lock()
			in.fails[x.UUID] = true
			in.mu.Unlock()
		}
		update(t, st, func(tx *store.Tx) error { return store.Insert(ctx, tx, things, x) })
	}
	n, err := store.Count(ctx, st, outbox.Type, "")
	if err != nil || n != 3 {
		t.Errorf("%d rows wait, %v", n, err)
	}
	if got := b.Stats().Backlog["hook"]; got < 2 {
		t.Errorf("the backlog is told as %d", got)
	}
	in.mu.Lock()
	in.fails = nil
	in.mu.Unlock()
	if got := in.wait(t, 3); !strings.Contains(got, "missed") {
		t.Errorf("got %s", got)
	}
}
