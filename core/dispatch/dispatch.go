package dispatch

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Bounds used where Limits leaves a field zero.
const (
	// DefaultParallel is how many items of one kind run at once.
	DefaultParallel = 128
	// DefaultWorkers is how many items run at once altogether.
	DefaultWorkers = 1024
	// DefaultQueue is how many items may wait. An item takes about 200 bytes
	// plus what its work holds, so a full queue is some tens of megabytes.
	DefaultQueue = 100_000
	// DefaultPatience is how long what waits for a host keeps its place.
	DefaultPatience = time.Second
)

// Limits bounds the queues. The zero value uses the defaults above.
type Limits struct {
	// Parallel is the bound of a kind that Kinds does not name.
	Parallel int
	// Kinds has the bounds of single kinds of work.
	Kinds map[string]int
	// Workers bounds the running items of all kinds together, and once more as
	// many that wait for hosts and have lent their places (Item.WaitsFor).
	Workers int
	// Patience is how long an item that waits for a host keeps its place.
	Patience time.Duration
	// Queue bounds the waiting items of all kinds together.
	Queue int
	// Panicked is told of a panic in an item; nil logs it to Log.
	Panicked func(key, kind string, value any, stack []byte)
	// Log may be nil.
	Log hclog.Logger
}

// Work is what an item asks for, as data: never a function, so that what waits
// can be listed and could be sent elsewhere.
type Work interface {
	// Name says what is asked for, such as the message of a call.
	Name() string
	// JobUUID is the job that is told of the end, "" for none.
	JobUUID() string
}

// Item is one piece of work and where it waits.
type Item struct {
	// Key is what it must not meet other work on; "" has no order.
	Key string
	// Kind is the class of work whose number is bounded.
	Kind string
	// Owner is on whose behalf it is done, an account; of one kind, owners take
	// turns, and none has all places. "" is nobody in particular.
	Owner string
	// On is the host that it will wait for, where that is known before it runs; an
	// owner's work on one host does not have all places of the owner. "" is none.
	On   string
	Work Work

	running *item // itself while it runs, else nil
}

// Queues is the set of all queues of this process. Its methods may be called
// from any goroutine.
type Queues struct {
	limits Limits
	run    func(Item)

	mu      sync.Mutex
	keys    map[string]*queue
	all     group
	workers int
	queued  int
	closed  bool
	idle    chan struct{} // made by Drain, closed when nothing is left

	submitted, done, refused, panics uint64
}

// item is an Item in its key's queue.
type item struct {
	Item
	since time.Time // when it was submitted
	kind  *group
	at    *group // of its kind, owner and host, while its queue is listed or it runs
	next  *item

	queues *Queues
	timer  *time.Timer // until it lends its place; set while it waits for a host
	lent   bool        // it has lent its place
	over   bool        // it has run
}

// queue is what waits under one key. Its first item is the running one while
// running is set; otherwise the queue stands in the list of that item's group.
// It is dropped from Queues.keys when it is empty.
type queue struct {
	key         string
	first, last *item
	running     bool
	began       time.Time // of the running item
	place       node[queue]
}

// New makes queues whose items are run by run.
func New(l Limits, run func(Item)) *Queues {
	if l.Parallel <= 0 {
		l.Parallel = DefaultParallel
	}
	if l.Workers <= 0 {
		l.Workers = DefaultWorkers
	}
	if l.Queue <= 0 {
		l.Queue = DefaultQueue
	}
	if l.Patience <= 0 {
		l.Patience = DefaultPatience
	}
	if l.Log == nil {
		l.Log = hclog.NewNullLogger()
	}
	return &Queues{limits: l, run: run, keys: map[string]*queue{}, all: group{limit: l.Workers}}
}

// Submit queues an item and returns at once. Items of one key run one after
// another in the order of their submission; the empty key has no order. Owners
// who wait for a place of the same kind take turns, so do the hosts of an owner, and
// the keys of a host.
//
// It returns errs.Exhausted when too many items wait and errs.Unavailable after
// Drain; the item is then never run.
func (d *Queues) Submit(w Item) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.refused++
		return errs.New(errs.Unavailable, "queue of "+w.Key, "the server is stopping").
			WithAdvice("repeat the call when it is up again")
	}
	if d.queued >= d.limits.Queue {
		d.refused++
		return errs.New(errs.Exhausted, "queue of "+w.Key, "%d operations wait already", d.queued).
			WithAdvice("repeat the call later")
	}
	k := d.kind(w.Kind)
	it := &item{Item: w, kind: k, since: time.Now(), queues: d}
	d.submitted++
	d.queued++
	k.waiting++
	d.enqueue(w.Key, it)
	d.schedule()
	return nil
}

// enqueue appends it to its key's queue, and lists a queue that had nothing to
// do as ready.
func (d *Queues) enqueue(key string, it *item) {
	var q *queue
	if key != "" {
		q = d.keys[key]
	}
	if q == nil {
		q = &queue{key: key}
		if key != "" {
			d.keys[key] = q
		}
	}
	if q.first != nil {
		q.last.next = it
		q.last = it
		return
	}
	q.first, q.last = it, it
	d.makeReady(q)
}

// makeReady lists q under the kind, the owner and the host of its first item.
func (d *Queues) makeReady(q *queue) {
	it := q.first
	it.at = it.kind.part(it.Owner).part(it.On)
	it.at.queues.push(q, &q.place)
	it.at.wake()
}

// schedule starts workers as long as there is work and room for it.
func (d *Queues) schedule() {
	for {
		q := d.take()
		if q == nil {
			return
		}
		d.workers++
		go d.work(q)
	}
}

// take picks the queue whose first item runs next and marks it running; nil
// when nothing can run.
func (d *Queues) take() *queue {
	q := d.all.take()
	if q == nil {
		return nil
	}
	it := q.first
	q.running, q.began = true, time.Now()
	it.kind.waiting--
	d.queued--
	it.Item.running = it
	d.expect(it)
	return q
}

// work runs the first item of q, and then whatever may run next, until nothing
// may. A goroutine exists only per running item, never per waiting one.
func (d *Queues) work(q *queue) {
	ended := false
	defer func() {
		if ended {
			return
		}
		// The item called runtime.Goexit, as a failed test does: this
		// goroutine ends, the queues must not.
		d.mu.Lock()
		defer d.mu.Unlock()
		d.finish(q)
		d.leave()
	}()
	for {
		d.call(q)
		d.mu.Lock()
		d.finish(q)
		next := d.take()
		if next == nil {
			ended = true
			d.leave()
			d.mu.Unlock()
			return
		}
		d.schedule() // ending an item can make two others runnable
		d.mu.Unlock()
		q = next
	}
}

// leave ends a worker.
func (d *Queues) leave() {
	d.workers--
	d.schedule()
	if d.idle != nil && d.workers == 0 && d.queued == 0 {
		close(d.idle)
		d.idle = nil
	}
}

// finish takes the item that ran off its queue.
func (d *Queues) finish(q *queue) {
	it := q.first
	d.done++
	it.over = true
	if it.timer != nil {
		it.timer.Stop()
	}
	it.at.give(it.lent)
	q.running = false
	q.first = it.next
	if q.first == nil {
		q.last = nil
		if q.key != "" {
			delete(d.keys, q.key)
		}
		return
	}
	d.makeReady(q)
}

// call runs the first item of q; a panic in it ends here.
func (d *Queues) call(q *queue) {
	it := q.first
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		stack := debug.Stack()
		d.mu.Lock()
		d.panics++
		d.mu.Unlock()
		if d.limits.Panicked != nil {
			d.limits.Panicked(q.key, it.kind.name, v, stack)
			return
		}
		d.limits.Log.Error("operation panicked", "name", it.Work.Name(), "key", q.key, "kind", it.kind.name, "panic", v, "stack", string(stack))
	}()
	d.run(it.Item)
}

// kind returns the kind of a name, made at its first use. Names come from the
// declarations of actions, so there are few of them.
func (d *Queues) kind(name string) *group {
	if k := d.all.below[name]; k != nil {
		return k
	}
	k := d.all.part(name)
	if k.limit = d.limits.Kinds[name]; k.limit <= 0 {
		k.limit = d.limits.Parallel
	}
	return k
}

// SetLimit changes how many items of a kind run at once; n below 1 counts as 1.
// A lower bound takes effect as running items end.
func (d *Queues) SetLimit(kindName string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kind(kindName).bound(max(n, 1))
	d.schedule()
}

// Drain refuses new work from now on and waits until all that was submitted
// has run. When ctx ends first, what still waits is dropped and never called,
// what runs goes on, and the answer is an errs.Timeout that counts both.
// Repeated calls are fine.
func (d *Queues) Drain(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	if d.workers == 0 && d.queued == 0 {
		d.mu.Unlock()
		return nil
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dropped := d.drop()
	if d.workers == 0 && dropped == 0 {
		return nil
	}
	return errs.Wrap(errs.Timeout, "queues", ctx.Err(), "%d operations still run, %d that waited were dropped", d.workers, dropped)
}

// drop forgets every item that does not run yet and returns their number.
func (d *Queues) drop() int {
	n := d.queued
	d.all.drop()
	for key, q := range d.keys {
		if !q.running {
			delete(d.keys, key)
			continue
		}
		q.first.next, q.last = nil, q.first
	}
	d.queued = 0
	return n
}
