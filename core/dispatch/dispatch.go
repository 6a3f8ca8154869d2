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
	// DefaultQueue is how many items may wait. An item takes about 150 bytes
	// plus what its function holds, so a full queue is some tens of megabytes.
	DefaultQueue = 100_000
)

// Limits bounds the queues. The zero value uses the defaults above.
type Limits struct {
	// Parallel is the bound of a kind that Kinds does not name.
	Parallel int
	// Kinds has the bounds of single kinds of work.
	Kinds map[string]int
	// Workers bounds the running items of all kinds together.
	Workers int
	// Queue bounds the waiting items of all kinds together.
	Queue int
	// Panicked is told of a panic in an item; nil logs it to Log.
	Panicked func(key, kind string, value any, stack []byte)
	// Log may be nil.
	Log hclog.Logger
}

// Queues is the set of all queues of this process. Its methods may be called
// from any goroutine.
type Queues struct {
	limits Limits

	mu       sync.Mutex
	keys     map[string]*queue
	kinds    map[string]*kind
	runnable list[kind] // kinds that have a ready key and a free place
	workers  int
	queued   int
	closed   bool
	idle     chan struct{} // made by Drain, closed when nothing is left

	submitted, done, refused, panics uint64
}

// item is one piece of work in its key's queue.
type item struct {
	fn   func()
	kind *kind
	next *item
	// since is when it was submitted; name and job are for Chains.
	since     time.Time
	name, job string
}

// queue is what waits under one key. Its first item is the running one while
// running is set; otherwise the queue stands in the ready list of that item's
// kind. It is dropped from Queues.keys when it is empty.
type queue struct {
	key         string
	first, last *item
	running     bool
	began       time.Time // of the running item
	place       node[queue]
}

// kind is a kind of work: its bound, and the keys whose first item is of this
// kind and could run now.
type kind struct {
	name    string
	limit   int
	running int
	ready   list[queue]
	waiting int // items of this kind that do not run yet
	listed  bool
	place   node[kind]
}

// New makes the queues.
func New(l Limits) *Queues {
	if l.Parallel <= 0 {
		l.Parallel = DefaultParallel
	}
	if l.Workers <= 0 {
		l.Workers = DefaultWorkers
	}
	if l.Queue <= 0 {
		l.Queue = DefaultQueue
	}
	if l.Log == nil {
		l.Log = hclog.NewNullLogger()
	}
	return &Queues{limits: l, keys: map[string]*queue{}, kinds: map[string]*kind{}}
}

// Submit queues fn under key as work of a kind and returns at once. Items of
// one key run one after another in the order of their submission; the empty
// key has no order. Keys that wait for a place of the same kind take turns.
//
// It returns errs.Exhausted when too many items wait and errs.Unavailable after
// Drain; fn is then never called.
func (d *Queues) Submit(key, kindName string, fn func()) error {
	return d.SubmitNamed(key, kindName, "", "", fn)
}

// SubmitNamed is Submit for work that Chains shows with a name and its job.
func (d *Queues) SubmitNamed(key, kindName, name, job string, fn func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.refused++
		return errs.New(errs.Unavailable, "queue of "+key, "the server is stopping").
			WithAdvice("repeat the call when it is up again")
	}
	if d.queued >= d.limits.Queue {
		d.refused++
		return errs.New(errs.Exhausted, "queue of "+key, "%d operations wait already", d.queued).
			WithAdvice("repeat the call later")
	}
	k := d.kind(kindName)
	it := &item{fn: fn, kind: k, since: time.Now(), name: name, job: job}
	d.submitted++
	d.queued++
	k.waiting++
	d.enqueue(key, it)
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

// makeReady lists q under the kind of its first item.
func (d *Queues) makeReady(q *queue) {
	k := q.first.kind
	k.ready.push(q, &q.place)
	d.list(k)
}

// list puts k in the list of runnable kinds when it can run something.
func (d *Queues) list(k *kind) {
	if k.listed || k.ready.empty() || k.running >= k.limit {
		return
	}
	k.listed = true
	d.runnable.push(k, &k.place)
}

// schedule starts workers as long as there is work and room for it.
func (d *Queues) schedule() {
	for d.workers < d.limits.Workers {
		q := d.take()
		if q == nil {
			return
		}
		d.workers++
		go d.work(q)
	}
}

// take picks the queue whose first item runs next and marks it running; nil
// when nothing can run. Kinds take turns, and so do the keys of a kind.
func (d *Queues) take() *queue {
	k := d.runnable.pop()
	if k == nil {
		return nil
	}
	k.listed = false
	if k.ready.empty() || k.running >= k.limit {
		return d.take() // its limit was lowered while it stood in the list
	}
	q := k.ready.pop()
	q.running, q.began = true, time.Now()
	k.running++
	k.waiting--
	d.queued--
	d.list(k)
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
	it.kind.running--
	q.running = false
	q.first = it.next
	if q.first == nil {
		q.last = nil
		if q.key != "" {
			delete(d.keys, q.key)
		}
	} else {
		d.makeReady(q)
	}
	d.list(it.kind)
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
		d.limits.Log.Error("operation panicked", "key", q.key, "kind", it.kind.name, "panic", v, "stack", string(stack))
	}()
	it.fn()
}

// kind returns the kind of a name, made at its first use. Names come from the
// declarations of actions, so there are few of them.
func (d *Queues) kind(name string) *kind {
	k := d.kinds[name]
	if k == nil {
		limit := d.limits.Kinds[name]
		if limit <= 0 {
			limit = d.limits.Parallel
		}
		k = &kind{name: name, limit: limit}
		d.kinds[name] = k
	}
	return k
}

// SetLimit changes how many items of a kind run at once; n below 1 counts as 1.
// A lower bound takes effect as running items end.
func (d *Queues) SetLimit(kindName string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kind(kindName)
	k.limit = max(n, 1)
	d.list(k)
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
	for _, k := range d.kinds {
		k.ready, k.listed, k.waiting = list[queue]{}, false, 0
	}
	d.runnable = list[kind]{}
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
