package event

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Topic is what an event is about.
type Topic string

// The topics.
const (
	Resource Topic = "resource" // a row was created, updated or deleted
	Job      Topic = "job"      // an API job began, went on or ended
	Schema   Topic = "schema"   // types, actions or plugins changed
	Notice   Topic = "notice"   // a plugin tells of something about a resource
)

// Event is one thing that happened.
type Event struct {
	// Number orders the events of a bus.
	Number uint64
	Topic  Topic
	// Type is a resource type, such as "VmInstance"; of a job, that of its
	// subject.
	Type string
	// UUID is the resource's, or the job's; Subject is that of a job's resource.
	UUID, Subject string
	// Verb is what happened to a resource.
	Verb store.Verb
	// Fields are the columns that an update wrote, hidden ones too.
	Fields []string
	// AccountUUID is the account of a job, and the owner of a resource that is
	// gone; "" where there is none.
	AccountUUID string
	// Job is the API job by which a resource was changed, if it was one.
	Job string
	// Plugin tells a notice: its Name is for programs, Text for people.
	Plugin, Name, Text string
	// Body is what is told of a job.
	Body json.RawMessage
	Time time.Time
}

const (
	// capacity is how many events a bus keeps for those who come back.
	capacity = 8192
	// linger is how long it goes on keeping them when nobody reads.
	linger = time.Minute
)

// Bus keeps the last events and wakes those who read them. Its methods may be
// called from any goroutine.
type Bus struct {
	// epoch tells the numbers of this process from those of others.
	epoch string
	on    atomic.Bool // somebody reads, or may come back

	mu      sync.Mutex
	ring    []Event // of capacity, when something was kept
	first   uint64  // the oldest number that is kept
	next    uint64
	readers int
	waiting bool
	news    chan struct{} // closed at the next event, when somebody waits
	off     *time.Timer
	durable atomic.Pointer[[]*Durable]
	also    map[*resource.Type]func(store.Change) (Event, bool)
}

// New makes a bus.
func New() *Bus {
	return &Bus{epoch: resource.NewUUID()[:12], first: 1, next: 1, news: make(chan struct{})}
}

// On tells whether somebody listens: only then is there something to publish.
func (b *Bus) On() bool { return b.on.Load() }

// Publish hands events to all who read, and waits for nobody.
func (b *Bus) Publish(events ...Event) {
	if !b.on.Load() || len(events) == 0 {
		return
	}
	now := time.Now().UTC()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ring == nil {
		b.ring = make([]Event, capacity)
	}
	for _, e := range events {
		if e.Number = b.next; e.Time.IsZero() {
			e.Time = now
		}
		b.ring[b.next%capacity] = e
		if b.next++; b.next-b.first > capacity {
			b.first = b.next - capacity
		}
	}
	if b.waiting {
		b.waiting = false
		close(b.news)
		b.news = make(chan struct{})
	}
}

// Also has the changes of an internal type told as what f makes of them, such as
// the rows of jobs as jobs. f must not wait. It is called before the first change.
func (b *Bus) Also(t *resource.Type, f func(store.Change) (Event, bool)) {
	if b.also == nil {
		b.also = map[*resource.Type]func(store.Change) (Event, bool){}
	}
	b.also[t] = f
}

// Wants implements store.Watcher. Types that are no resources of the API are
// nobody's affair.
func (b *Bus) Wants(t *resource.Type) bool {
	if t.Internal && b.also[t] == nil {
		return false
	}
	return b.on.Load() || b.kept(t.Name)
}

// jobOf is a cause that is an API job.
type jobOf interface{ JobUUID() string }

// Committed implements store.Watcher.
func (b *Bus) Committed(changes []store.Change) {
	if !b.on.Load() {
		return
	}
	now, events := time.Now().UTC(), make([]Event, 0, len(changes))
	for _, c := range changes {
		if c.Verb == store.Updated && len(c.Fields) == 1 && c.Fields[0] == "lastOpDate" {
			continue // it was only looked at
		}
		e, ok := eventOf(c), true
		if f := b.also[c.Type]; f != nil {
			e, ok = f(c)
		}
		if e.Time = now; ok {
			events = append(events, e)
		}
	}
	b.Publish(events...)
}

func eventOf(c store.Change) Event {
	e := Event{Topic: Resource, Type: c.Type.Name, UUID: c.UUID, Verb: c.Verb, Fields: c.Fields, AccountUUID: c.Account}
	if j, ok := c.Cause.(jobOf); ok {
		e.Job = j.JobUUID()
	}
	return e
}

// Reader reads the events of a bus, one after another. One goroutine uses it.
type Reader struct {
	bus  *Bus
	next uint64
	once sync.Once
}

// Read begins to read, after the event of an ID (Bus.ID), or with the next one
// when after is "". lost tells that events after it are gone: they are too many,
// or the ID is of another process. Close must follow.
func (b *Bus) Read(after string) (r *Reader, lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers++; b.readers == 1 {
		if b.off != nil {
			b.off.Stop()
		}
		if !b.on.Load() { // whatever happened meanwhile was not kept
			b.next++
			b.first = b.next
			b.on.Store(true)
		}
	}
	r = &Reader{bus: b, next: b.next}
	if after == "" {
		return r, false
	}
	epoch, number, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != b.epoch || n+1 < b.first || n >= b.next {
		return r, true
	}
	r.next = n + 1
	return r, false
}

// ID names an event for Read.
func (b *Bus) ID(number uint64) string { return b.epoch + "-" + strconv.FormatUint(number, 10) }

// Close ends the reading; a second Close does nothing.
func (r *Reader) Close() {
	r.once.Do(func() {
		b := r.bus
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.readers--; b.readers > 0 {
			return
		}
		b.off = time.AfterFunc(linger, b.quiet)
	})
}

// quiet stops keeping events when nobody has come back.
func (b *Bus) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers == 0 {
		b.on.Store(false)
		b.ring = nil
	}
}

// Last is the number of the last event that Next has passed.
func (r *Reader) Last() uint64 { return r.next - 1 }

// Next appends what happened to a buffer, up to its capacity, and waits for
// something at most until wait ends. lost is how many events are gone that the
// reader has not seen.
func (r *Reader) Next(ctx context.Context, buffer []Event, wait time.Duration) (events []Event, lost uint64) {
	var timer <-chan time.Time
	for {
		events, lost, news := r.take(buffer)
		if len(events) > 0 || lost > 0 || wait <= 0 {
			return events, lost
		}
		if timer == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-news:
		case <-timer:
			return nil, 0
		case <-ctx.Done():
			return nil, 0
		}
	}
}

func (r *Reader) take(buffer []Event) (events []Event, lost uint64, news <-chan struct{}) {
	b := r.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.next < b.first {
		lost, r.next = b.first-r.next, b.first
	}
	for events = buffer[:0]; r.next < b.next && len(events) < cap(events); r.next++ {
		events = append(events, b.ring[r.next%capacity])
	}
	if len(events) == 0 {
		b.waiting = true
	}
	return events, lost, b.news
}

// Stats is what a bus does.
type Stats struct {
	// Readers is how many read now, Published how many events there were.
	Readers   int
	Published uint64
	// Backlog has, by durable subscriber, the events that are not yet delivered.
	Backlog map[string]int64
}

// Stats returns a snapshot.
func (b *Bus) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Readers: b.readers, Published: b.next - 1, Backlog: b.backlog()}
}
