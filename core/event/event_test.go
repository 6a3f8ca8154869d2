package event

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func next(t *testing.T, ch <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event within 5 s")
	}
	return Event{}
}

func TestFilter(t *testing.T) {
	e := Event{Type: "Zone", Verb: "created", UUID: "z1", AccountUUID: "a1"}
	for _, c := range []struct {
		filter Filter
		want   bool
	}{
		{Filter{}, true},
		{Filter{Types: []string{"Host", "Zone"}}, true},
		{Filter{Types: []string{"Host"}}, false},
		{Filter{Verbs: []string{"created"}}, true},
		{Filter{Verbs: []string{"deleted"}}, false},
		{Filter{UUID: "z1"}, true},
		{Filter{UUID: "z2"}, false},
		{Filter{AccountUUID: "a2"}, false},
		{Filter{Types: []string{"Zone"}, Verbs: []string{"created"}, UUID: "z1", AccountUUID: "a1"}, true},
	} {
		if got := c.filter.Match(&e); got != c.want {
			t.Errorf("%+v: %v", c.filter, got)
		}
	}
}

func TestDelivery(t *testing.T) {
	b := New()
	b.Publish(Event{Type: "Zone", UUID: "nobody listens yet"})
	zones, cancelZones := b.Subscribe(Filter{Types: []string{"Zone"}}, 10)
	all, cancelAll := b.Subscribe(Filter{}, 10)
	b.Publish(Event{Type: "Zone", Verb: "created", UUID: "z1", Detail: map[string]string{"k": "v"}})
	b.Publish(Event{Type: "Host", Verb: "created", UUID: "h1"})
	b.Publish(Event{Type: "Zone", Verb: "deleted", UUID: "z1"})
	for _, want := range []string{"created", "deleted"} {
		if e := next(t, zones); e.UUID != "z1" || e.Verb != want || e.Time.IsZero() || e.Lost != 0 {
			t.Errorf("got %+v", e)
		}
	}
	for _, want := range []string{"z1", "h1", "z1"} {
		if e := next(t, all); e.UUID != want {
			t.Errorf("got %+v", e)
		}
	}
	cancelZones()
	cancelZones()
	if _, ok := <-zones; ok {
		t.Error("the channel is open after cancel")
	}
	b.Publish(Event{Type: "Zone", UUID: "z2"})
	if e := next(t, all); e.UUID != "z2" {
		t.Errorf("got %+v", e)
	}
	cancelAll()
	if s := b.Stats(); s.Subscribers != 0 || s.Published != 5 || s.Lost != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestSlowSubscriber publishes much more than fits: the newest survive, in
// order, and the numbers of what was lost add up.
func TestSlowSubscriber(t *testing.T) {
	b := New()
	ch, cancel := b.Subscribe(Filter{}, 8)
	defer cancel()
	const n = 1000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			b.Publish(Event{UUID: fmt.Sprintf("%04d", i)})
		}
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("publish waited for a slow subscriber")
	}
	var got, lost int
	last := -1
	for last < n-1 {
		e := next(t, ch)
		var i int
		if _, err := fmt.Sscanf(e.UUID, "%d", &i); err != nil {
			t.Fatal(err)
		}
		if i != last+1+int(e.Lost) {
			t.Fatalf("after %d came %d with %d lost", last, i, e.Lost)
		}
		last = i
		got++
		lost += int(e.Lost)
	}
	if got+lost != n || got < 8 || lost == 0 {
		t.Errorf("%d delivered, %d lost", got, lost)
	}
	if s := b.Stats(); int(s.Lost) != lost {
		t.Errorf("stats say %d lost, the subscriber heard of %d", s.Lost, lost)
	}
}

// TestManyAtOnce runs publishers, subscriptions and cancellations together,
// for the race detector, and checks the order of each publisher.
func TestManyAtOnce(t *testing.T) {
	b := New()
	var pubs, subs sync.WaitGroup
	for range 4 {
		ch, cancel := b.Subscribe(Filter{Types: []string{"p1"}}, 2000)
		subs.Go(func() {
			defer cancel()
			for i := range 500 {
				if e := next(t, ch); e.UUID != fmt.Sprint(i) {
					t.Errorf("got %s, want %d", e.UUID, i)
					return
				}
			}
		})
	}
	for p := range 3 {
		pubs.Go(func() {
			for i := range 500 {
				b.Publish(Event{Type: fmt.Sprint("p", p), UUID: fmt.Sprint(i)})
				if i%50 == 0 {
					_, cancel := b.Subscribe(Filter{}, 1)
					cancel()
				}
			}
		})
	}
	pubs.Wait()
	subs.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			bus := New()
			for range n {
				ch, cancel := bus.Subscribe(Filter{}, 1024)
				defer cancel()
				go func() {
					for range ch {
					}
				}()
			}
			b.ReportAllocs()
			for b.Loop() {
				bus.Publish(Event{Type: "VmInstance", Verb: "created", UUID: "u"})
			}
		})
	}
}
