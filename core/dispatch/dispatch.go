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
	Work  Work
}

// Queues is the set of all queues of this process. Its methods may be called
// from any goroutine.
type Queues struct {
	limits Limits
	run    func(Item)

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

// item is an Item in its key's queue.
type item struct {
	Item
	since time.Time // when it was submitted
	kind  *kind
	owner *owner // set while the item's queue is listed or runs
	next  *item
}

// queue is what waits under one key. Its first item is the running one while
// running is set; otherwise the queue stands in the ready list of that item's
// kind and owner. It is dropped from Queues.keys when it is empty.
type queue struct {
	key         string
	first, last *item
	running     bool
	began       time.Time // of the running item
	place       node[queue]
}

// kind is a kind of work: its bound, and the owners who could run one now.
type kind struct {
	name    string
	limit   int
	running int
	owners  map[string]*owner
	ready   list[owner]
	waiting int // items of this kind that do not run yet
	listed  bool
	place   node[kind]
}

// owner is who has work of one kind: how much of it runs, and the keys whose
// first item is of this kind and this owner's and could run now.
type owner struct {
	name    string
	running int
	ready   list[queue]
	listed  bool
	place   node[owner]
}

// share is how many places of a kind an owner may have: a quarter is kept for
// others.
func (k *kind) share(o *owner) int {
	if o.name == "" {
		return k.limit
	}
	return max(1, k.limit-k.limit/4)
}

// listOwner puts o in the list of those who could run something.
func (k *kind) listOwner(o *owner) {
	if o.listed || o.ready.empty() || o.running >= k.share(o) {
		return
	}
	o.listed = true
	k.ready.push(o, &o.place)
}

// next picks the queue of a kind whose turn it is; nil when nobody may run.
func (k *kind) next() *queue {
	for o := k.ready.pop(); o != nil; o = k.ready.pop() {
		o.listed = false
		if o.ready.empty() || o.running >= k.share(o) {
			continue // the kind's limit was lowered while it stood in the list
		}
		q := o.ready.pop()
		o.running++
		k.listOwner(o)
		return q
	}
	return nil
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
	if l.Log == nil {
		l.Log = hclog.NewNullLogger()
	}
	return &Queues{limits: l, run: run, keys: map[string]*queue{}, kinds: map[string]*kind{}}
}

// Submit queues an item and returns at once. Items of one key run one after
// another in the order of their submission; the empty key has no order. Owners
// who wait for a place of the same kind take turns, and so do the keys of an owner.
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
	it := &item{Item: w, kind: k, since: time.Now()}
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

// makeReady lists q under the kind and the owner of its first item.
func (d *Queues) makeReady(q *queue) {
	it := q.first
	k := it.kind
	o := k.owners[it.Owner]
	if o == nil {
		o = &owner{name: it.Owner}
		k.owners[it.Owner] = o
	}
	it.owner = o
	o.ready.push(q, &q.place)
	k.listOwner(o)
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
// when nothing can run. Kinds take turns, of a kind its owners, of an owner the
// keys.
func (d *Queues) take() *queue {
	k := d.runnable.pop()
	if k == nil {
		return nil
	}
	k.listed = false
	if k.running >= k.limit {
		return d.take() // its limit was lowered while it stood in the list
	}
	q := k.next()
	if q == nil {
		return d.take()
	}
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
	d.given(it)
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

// given takes back the place of an item that ran.
func (d *Queues) given(it *item) {
	k, o := it.kind, it.owner
	o.running--
	if o.running == 0 && o.ready.empty() && !o.listed {
		delete(k.owners, o.name)
		return
	}
	k.listOwner(o)
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
func (d *Queues) kind(name string) *kind {
	k := d.kinds[name]
	if k == nil {
		limit := d.limits.Kinds[name]
		if limit <= 0 {
			limit = d.limits.Parallel
		}
		k = &kind{name: name, limit: limit, owners: map[string]*owner{}}
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
	for _, o := range k.owners {
		k.listOwner(o)
	}
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
		k.ready, k.listed, k.waiting = list[owner]{}, false, 0
		for name, o := range k.owners {
			if o.ready, o.listed = (list[queue]{}), false; o.running == 0 {
				delete(k.owners, name)
			}
		}
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
