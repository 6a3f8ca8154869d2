package event

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Event is one thing that happened to one resource.
type Event struct {
	// Type is the resource type, such as "VmInstance".
	Type string
	// Verb is what happened, in the past tense: "created", "deleted".
	Verb string
	// UUID and Name are those of the resource.
	UUID, Name string
	// AccountUUID is the owner's account, empty for types without an owner.
	AccountUUID string
	// Time is when it happened; Publish fills it in when it is zero.
	Time time.Time
	// Detail has what else is worth telling. It is shared by all subscribers:
	// nobody changes it after Publish.
	Detail map[string]string
	// Lost is how many events this subscriber missed just before this one.
	Lost uint64
}

// Filter chooses events: each part that is set must fit. The zero Filter
// chooses all.
type Filter struct {
	// Types and Verbs list what is wanted; empty means any.
	Types, Verbs []string
	// UUID is the one resource that is wanted; empty means any.
	UUID string
	// AccountUUID is the owner whose events are wanted; empty means any.
	AccountUUID string
}

// Match reports whether the filter chooses e.
func (f *Filter) Match(e *Event) bool {
	return (len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		(len(f.Verbs) == 0 || slices.Contains(f.Verbs, e.Verb)) &&
		(f.UUID == "" || f.UUID == e.UUID) &&
		(f.AccountUUID == "" || f.AccountUUID == e.AccountUUID)
}

// Bus carries events from publishers to subscribers. Its methods may be called
// from any goroutine.
type Bus struct {
	mu   sync.Mutex
	subs atomic.Pointer[[]*subscriber] // replaced as a whole, so Publish takes no lock
	lost atomic.Uint64
	sent atomic.Uint64
}

// New makes a bus.
func New() *Bus { return &Bus{} }

// Publish hands e to every subscriber whose filter chooses it, in the order of
// the calls, and never waits for one.
func (b *Bus) Publish(e Event) {
	b.sent.Add(1)
	subs := b.subs.Load()
	if subs == nil || len(*subs) == 0 {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	e.Lost = 0
	for _, s := range *subs {
		if s.filter.Match(&e) {
			s.put(e)
		}
	}
}

// Subscribe returns a channel of the events that filter chooses from now on.
// At most buffer of them wait (at least one); when more come, the oldest
// waiting one is dropped, and the next one delivered says in Lost how many
// were. cancel ends the subscription and closes the channel; it may be called
// twice. A subscriber that never cancels costs one goroutine.
func (b *Bus) Subscribe(filter Filter, buffer int) (events <-chan Event, cancel func()) {
	s := &subscriber{
		bus: b, filter: filter, ring: make([]Event, max(buffer, 1)),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), out: make(chan Event),
	}
	b.change(func(subs []*subscriber) []*subscriber { return append(subs, s) })
	go s.deliver()
	var once sync.Once
	return s.out, func() {
		once.Do(func() {
			b.change(func(subs []*subscriber) []*subscriber {
				return slices.DeleteFunc(subs, func(o *subscriber) bool { return o == s })
			})
			close(s.quit)
		})
	}
}

// change replaces the list of subscribers by what edit makes of a copy of it.
func (b *Bus) change(edit func([]*subscriber) []*subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var subs []*subscriber
	if old := b.subs.Load(); old != nil {
		subs = slices.Clone(*old)
	}
	subs = edit(subs)
	b.subs.Store(&subs)
}

// Stats is what a bus has carried.
type Stats struct {
	// Subscribers is how many there are now.
	Subscribers int
	// Published and Lost count since the start; an event that two subscribers
	// lose counts twice.
	Published, Lost uint64
}

// Stats returns a snapshot.
func (b *Bus) Stats() Stats {
	st := Stats{Published: b.sent.Load(), Lost: b.lost.Load()}
	if subs := b.subs.Load(); subs != nil {
		st.Subscribers = len(*subs)
	}
	return st
}

// subscriber holds the events that its reader has not taken yet, in a ring.
type subscriber struct {
	bus    *Bus
	filter Filter
	wake   chan struct{}
	quit   chan struct{}
	out    chan Event

	mu         sync.Mutex
	ring       []Event
	head, size int
	lost       uint64 // dropped since the last event that was taken
}

// put appends e, at the price of the oldest waiting event when the ring is
// full.
func (s *subscriber) put(e Event) {
	s.mu.Lock()
	if s.size == len(s.ring) {
		s.head = (s.head + 1) % len(s.ring)
		s.size--
		s.lost++
		s.bus.lost.Add(1)
	}
	s.ring[(s.head+s.size)%len(s.ring)] = e
	s.size++
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take removes the oldest event and tells it what was lost before it.
func (s *subscriber) take() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size == 0 {
		return Event{}, false
	}
	e := s.ring[s.head]
	s.ring[s.head] = Event{} // lets go of its Detail
	s.head = (s.head + 1) % len(s.ring)
	s.size--
	e.Lost, s.lost = s.lost, 0
	return e, true
}

// deliver moves events to the channel until the subscription ends.
func (s *subscriber) deliver() {
	defer close(s.out)
	for {
		e, ok := s.take()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-s.quit:
				return
			}
		}
		select {
		case s.out <- e:
		case <-s.quit:
			return
		}
	}
}
