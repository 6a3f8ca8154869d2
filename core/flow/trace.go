package flow

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Trace is what a flow did from its begin, or from where it was taken up again,
// to its end.
type Trace struct {
	UUID string `json:"uuid"`
	Flow string `json:"flow"`
	Job  string `json:"job,omitempty"`
	// ResourceType and ResourceUUID name what it works on.
	ResourceType string `json:"resourceType,omitempty"`
	ResourceUUID string `json:"resourceUuid,omitempty"`
	// Phase is "running", "undoing", "done", "undone", "undo-failed" or
	// "stopped".
	Phase string `json:"phase"`
	// Error is why it failed.
	Error string    `json:"error,omitempty"`
	Begin time.Time `json:"begin"`
	// End is zero while the flow runs.
	End time.Time `json:"end,omitzero"`
	// Total is how many steps the flow has; Steps are those that were called.
	Total int         `json:"total"`
	Steps []TraceStep `json:"steps"`
}

// TraceStep is one call of a do or an undo.
type TraceStep struct {
	// N counts the calls from 1.
	N     int       `json:"n"`
	Name  string    `json:"name"`
	Undo  bool      `json:"undo,omitempty"`
	Begin time.Time `json:"begin"`
	// Took is 0 while the step runs.
	Took  Millis `json:"took"`
	Error string `json:"error,omitempty"`
	// Percent and Message are what a plugin reported last while it runs.
	Percent int    `json:"percent,omitempty"`
	Message string `json:"message,omitempty"`
	// Calls are the first calls of plugins; More counts the others.
	Calls []TraceCall `json:"calls,omitempty"`
	More  int         `json:"more,omitempty"`
}

// TraceCall is one call of a plugin: how long it took with all its tries.
type TraceCall struct {
	Plugin string `json:"plugin"`
	Method string `json:"method"`
	Took   Millis `json:"took"`
	Tries  int    `json:"tries"`
	Error  string `json:"error,omitempty"`
}

// tracedCalls is how many calls of plugins a step's trace lists.
const tracedCalls = 32

// trace is a Trace that grows.
type trace struct {
	mu sync.Mutex
	Trace
}

func (t *trace) step(name string, undo bool) {
	t.mu.Lock()
	t.Steps = append(t.Steps, TraceStep{N: len(t.Steps) + 1, Name: name, Undo: undo, Begin: time.Now().UTC()})
	t.mu.Unlock()
}

// Called takes a call of a plugin that has ended into the trace of the step
// which was given ctx; outside of flows it does nothing.
func Called(ctx context.Context, call TraceCall) {
	if c := current(ctx); c != nil {
		c.flow.called(c.step, call)
	}
}

// last returns the trace of the step of that name, if it is the running one.
func (t *trace) last(step string) *TraceStep {
	if n := len(t.Steps); n > 0 && t.Steps[n-1].Name == step && t.Steps[n-1].Took == 0 {
		return &t.Steps[n-1]
	}
	return nil
}

func (t *trace) called(step string, call TraceCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch s := t.last(step); {
	case s == nil: // the call outlived its step
	case len(s.Calls) < tracedCalls:
		s.Calls = append(s.Calls, call)
	default:
		s.More++
	}
}

// Report takes a plugin's progress on an operation (OperationID). It is kept in
// the trace while the step runs; an operation that is not known is ignored.
func (e *Engine) Report(operationID string, percent int, message string) {
	uuid, step, ok := strings.Cut(operationID, ".")
	if !ok {
		return
	}
	t := e.traces.running(uuid)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.last(strings.TrimSuffix(step, ".undo")); s != nil {
		s.Percent, s.Message = min(max(percent, 0), 100), message
	}
}

// stepped ends the last step and returns how long it took.
func (t *trace) stepped(err error) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.Steps[len(t.Steps)-1]
	took := max(time.Since(s.Begin), 1)
	s.Took = Millis(took)
	if err != nil {
		s.Error = err.Error()
	}
	return took
}

func (t *trace) phase(phase string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Phase = phase
	if err != nil {
		t.Error = err.Error()
	}
}

// copy returns the trace as it is now.
func (t *trace) copy() Trace {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.Trace
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		c.Steps[i].Calls = slices.Clone(c.Steps[i].Calls)
	}
	return c
}

// maxPending is how many traces of ended flows wait for the database; when it
// is slower than that for long, those of flows that went well are lost first.
const maxPending = 8192

// traces remembers the flows that run, and those that ended until they are
// written (KeepTraces).
type traces struct {
	mu      sync.Mutex
	byUUID  map[string]*trace
	byJob   map[string][]*trace // running and pending ones, the oldest first
	pending []*trace
	wake    chan struct{} // holds one token while there is something to write
	lost    atomic.Uint64
}

func newTraces() *traces {
	return &traces{byUUID: map[string]*trace{}, byJob: map[string][]*trace{}, wake: make(chan struct{}, 1)}
}

func (ts *traces) begin(row *Journal, total int) *trace {
	t := &trace{Trace: Trace{
		UUID: row.UUID, Flow: row.Name, Job: row.Job, ResourceType: row.ResourceType, ResourceUUID: row.ResourceUUID,
		Phase: "running", Begin: time.Now().UTC(), Total: total, Steps: make([]TraceStep, 0, total),
	}}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.byUUID[t.UUID] = t
	if t.Job != "" {
		ts.byJob[t.Job] = append(ts.byJob[t.Job], t)
	}
	return t
}

// running returns the trace of a flow that runs; nil if it does not.
func (ts *traces) running(uuid string) *trace {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.byUUID[uuid]
}

// ofJob returns the traces of a job that are in memory.
func (ts *traces) ofJob(job string) []*trace {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Clone(ts.byJob[job])
}

// end has a trace written and returns how long the flow took.
func (ts *traces) end(t *trace) time.Duration {
	t.mu.Lock()
	t.End = time.Now().UTC()
	took := t.End.Sub(t.Begin)
	t.mu.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byUUID[t.UUID] == t {
		delete(ts.byUUID, t.UUID)
	}
	if len(ts.pending) >= maxPending {
		ts.drop()
	}
	ts.pending = append(ts.pending, t)
	select {
	case ts.wake <- struct{}{}:
	default:
	}
	return took
}

// drop loses a half of what waits: of flows that went well if there are any.
func (ts *traces) drop() {
	var stay, gone []*trace
	for _, t := range ts.pending {
		if t.Phase == "done" && len(gone) < maxPending/2 { // an ended trace changes no more
			gone = append(gone, t)
		} else {
			stay = append(stay, t)
		}
	}
	if len(gone) == 0 {
		gone, stay = stay[:maxPending/2], stay[maxPending/2:]
	}
	ts.lost.Add(uint64(len(gone)))
	ts.pending = stay
	ts.forget(gone)
}

// forget removes traces from the lists by job.
func (ts *traces) forget(list []*trace) {
	for _, t := range list {
		rest := slices.DeleteFunc(ts.byJob[t.Job], func(o *trace) bool { return o == t })
		if len(rest) == 0 {
			delete(ts.byJob, t.Job)
		} else {
			ts.byJob[t.Job] = rest
		}
	}
}
