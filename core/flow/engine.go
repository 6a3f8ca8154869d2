package flow

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Completer ends the API job of a flow; core/job implements it.
type Completer interface {
	// CompleteTx marks the job as ended, with err or nil, in the flow's last
	// transaction. A job that has ended, or is unknown, is left as it is.
	CompleteTx(ctx context.Context, tx *store.Tx, job string, err error) error
	// Completed is told when that transaction is committed.
	Completed(job string, err error)
}

// Hooks are told of what ran, for metrics. They are called on the flow's
// goroutine and must return at once. Nil ones cost nothing.
type Hooks struct {
	// Step is told of each do and undo.
	Step func(flow, step string, undo bool, took time.Duration, err error)
	// Flow is told of each flow that ended; err is the first cause.
	Flow func(flow string, took time.Duration, err error)
}

// Options say on whose behalf a flow runs.
type Options struct {
	// Job is the API job that ends with the flow; "" if there is none.
	Job string
	// Key is the dispatch key that the caller holds, and under which the flow
	// goes on after a crash; default ResourceUUID.
	Key string
	// ResourceType and ResourceUUID name what the flow works on, for people.
	ResourceType, ResourceUUID string
}

// Engine runs flows. Its methods may be called from any goroutine.
type Engine struct {
	// Hooks is set before the first flow runs, and so is Owner.
	Hooks Hooks
	Owner store.Owner

	store  database
	log    hclog.Logger
	jobs   Completer
	traces *traces
	test   *TestHooks

	mu       sync.Mutex
	defs     map[string]definition
	active   map[string]string          // flows that run in this process, with their dispatch keys
	running  map[string]int             // by dispatch key: how many of them
	parked   map[string]parked          // flows that wait for Collect
	open     map[string]map[string]bool // by dispatch key: flows that neither run nor are over, and whether they are undone
	stopping chan struct{}              // closed by Stop
	left     atomic.Bool                // Stop waits no longer: what fails now may fail for the end of the process
	idle     chan struct{}              // made by Stop, closed when nothing is active
}

// database is what the engine needs of a *store.Store.
type database interface {
	store.Querier
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
}

// definition is a Def without its type parameter.
type definition interface {
	resume(ctx context.Context, e *Engine, row *Journal, force bool) error
	describe() Definition
}

// parked is a flow of this process that could not go on, although the server
// is not stopping: its caller gave up, or the database could not be written.
type parked struct {
	key   string
	going func(context.Context) error
}

// NewEngine makes an engine. jobs may be nil when no flow has a job.
func NewEngine(s *store.Store, log hclog.Logger, jobs Completer) *Engine {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Engine{
		store: s, log: log, jobs: jobs, defs: map[string]definition{}, active: map[string]string{}, running: map[string]int{},
		parked: map[string]parked{}, open: map[string]map[string]bool{}, stopping: make(chan struct{}), traces: newTraces(),
	}
}

// Register makes a flow known, so that Resume finds it. Every flow that is run
// must be registered, with the same name in every version of the program.
// Register panics when another flow has the name.
func Register[S any](e *Engine, d *Def[S]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if have, ok := e.defs[d.name]; ok && have != definition(d) {
		panic(fmt.Sprintf("flow %s is registered twice", d.name))
	}
	e.defs[d.name] = d
}

func (e *Engine) definition(name string) (definition, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d, ok := e.defs[name]
	return d, ok
}

// begin counts a flow as active. It refuses when the engine stops or the flow
// runs already.
func (e *Engine) begin(uuid, name, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.stopping:
		return errs.New(errs.Unavailable, "flow "+name, "the server is stopping").WithAdvice("repeat the call when it is up again")
	default:
	}
	if _, ok := e.active[uuid]; ok {
		return errs.New(errs.Internal, "flow "+name+" "+uuid, "it runs already")
	}
	e.active[uuid] = key
	e.running[key]++
	return nil
}

// Running tells whether a flow under a key is at work in this process.
func (e *Engine) Running(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running[key] > 0
}

// end is the counterpart of begin.
func (e *Engine) end(uuid string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := e.active[uuid]
	if e.running[key]--; e.running[key] == 0 {
		delete(e.running, key)
	}
	delete(e.active, uuid)
	if e.idle != nil && len(e.active) == 0 {
		close(e.idle)
		e.idle = nil
	}
}

// park keeps a flow for the next Collect, or Finish.
func (e *Engine) park(row *Journal, going func(context.Context) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parked[row.UUID] = parked{key: row.Key, going: going}
	e.leaveOpen(row.UUID, row.Key, row.Phase != PhaseForward)
}

// stopped reports whether Stop was called.
func (e *Engine) stopped() bool {
	select {
	case <-e.stopping:
		return true
	default:
		return false
	}
}

// Stop lets every running flow finish the step it is in, and then stop without
// an undo: it stays in the journal and goes on after the next start. New flows
// are refused. Stop waits for all that until ctx ends, and then returns
// errs.Timeout with the number of flows that still run. Their steps are repeated
// after the next start, as after a kill: when one fails from then on, because
// what it needs has ended, the flow is not undone. It may be repeated.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if !e.stopped() {
		close(e.stopping)
	}
	if len(e.active) == 0 {
		e.mu.Unlock()
		return nil
	}
	if e.idle == nil {
		e.idle = make(chan struct{})
	}
	idle := e.idle
	e.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		e.left.Store(true)
		e.mu.Lock()
		defer e.mu.Unlock()
		return errs.Wrap(errs.Timeout, "flows", ctx.Err(), "%d are still in a step", len(e.active))
	}
}

// Stats is what an engine does now.
type Stats struct {
	// Active flows run; Parked ones wait for the next Collect. Open ones neither
	// run nor are over; Undoing of them have failed and are not undone.
	Active, Parked, Open, Undoing int
	// LostTraces counts the traces that could not be kept.
	LostTraces uint64
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := Stats{Active: len(e.active), Parked: len(e.parked), LostTraces: e.traces.lost.Load()}
	for _, under := range e.open {
		for _, undo := range under {
			st.Open++
			if undo {
				st.Undoing++
			}
		}
	}
	return st
}
