package flow

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// keptTraces is how many ended flows are remembered for the task centre.
const keptTraces = 1000

// Trace is what a flow did, kept in memory only.
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
	Name  string    `json:"name"`
	Undo  bool      `json:"undo,omitempty"`
	Begin time.Time `json:"begin"`
	// Took is 0 while the step runs.
	Took  time.Duration `json:"took"`
	Error string        `json:"error,omitempty"`
	// Percent and Message are what a plugin reported last while it runs.
	Percent int    `json:"percent,omitempty"`
	Message string `json:"message,omitempty"`
}

// trace is a Trace that grows.
type trace struct {
	mu sync.Mutex
	Trace
}

func (t *trace) step(name string, undo bool) {
	t.mu.Lock()
	t.Steps = append(t.Steps, TraceStep{Name: name, Undo: undo, Begin: time.Now()})
	t.mu.Unlock()
}

// Report takes a plugin's progress on an operation (OperationID). It is kept in
// the trace while the step runs; an operation that is not known is ignored.
func (e *Engine) Report(operationID string, percent int, message string) {
	uuid, step, ok := strings.Cut(operationID, ".")
	if !ok {
		return
	}
	step = strings.TrimSuffix(step, ".undo")
	e.traces.mu.Lock()
	t := e.traces.byUUID[uuid]
	e.traces.mu.Unlock()
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if n := len(t.Steps); n > 0 && t.Steps[n-1].Name == step && t.Steps[n-1].Took == 0 {
			t.Steps[n-1].Percent, t.Steps[n-1].Message = min(max(percent, 0), 100), message
		}
	}
}

// stepped ends the last step and returns how long it took.
func (t *trace) stepped(err error) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.Steps[len(t.Steps)-1]
	s.Took = time.Since(s.Begin)
	if err != nil {
		s.Error = err.Error()
	}
	return s.Took
}

func (t *trace) phase(phase string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Phase = phase
	if err != nil {
		t.Error = err.Error()
	}
}

func (t *trace) copy() Trace {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.Trace
	c.Steps = slices.Clone(c.Steps)
	return c
}

// traces remembers the running flows and the last ended ones.
type traces struct {
	mu      *sync.Mutex
	byUUID  map[string]*trace
	byJob   map[string]*trace
	running map[string]*trace
	ended   []*trace // a ring
	next    int
}

func newTraces() traces {
	return traces{mu: &sync.Mutex{}, byUUID: map[string]*trace{}, byJob: map[string]*trace{}, running: map[string]*trace{}}
}

func (ts *traces) begin(row *Journal, total int) *trace {
	t := &trace{Trace: Trace{
		UUID: row.UUID, Flow: row.Name, Job: row.Job, ResourceType: row.ResourceType, ResourceUUID: row.ResourceUUID,
		Phase: "running", Begin: time.Now(), Total: total, Steps: make([]TraceStep, 0, total),
	}}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.byUUID[t.UUID], ts.running[t.UUID] = t, t
	if t.Job != "" {
		ts.byJob[t.Job] = t
	}
	return t
}

// end moves a trace to the ring and returns how long the flow took.
func (ts *traces) end(t *trace) time.Duration {
	t.mu.Lock()
	t.End = time.Now()
	took := t.End.Sub(t.Begin)
	t.mu.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.running, t.UUID)
	if len(ts.ended) < keptTraces {
		ts.ended = append(ts.ended, t)
		return took
	}
	old := ts.ended[ts.next]
	if ts.byUUID[old.UUID] == old {
		delete(ts.byUUID, old.UUID)
	}
	if ts.byJob[old.Job] == old {
		delete(ts.byJob, old.Job)
	}
	ts.ended[ts.next] = t
	ts.next = (ts.next + 1) % keptTraces
	return took
}

// Trace returns what the flow of that uuid did, or the last flow of the job of
// that uuid; false when it is not remembered.
func (e *Engine) Trace(uuid string) (Trace, bool) {
	e.traces.mu.Lock()
	t := e.traces.byUUID[uuid]
	if t == nil {
		t = e.traces.byJob[uuid]
	}
	e.traces.mu.Unlock()
	if t == nil {
		return Trace{}, false
	}
	return t.copy(), true
}

// Traces returns the running flows and then the ended ones, the newest first,
// at most limit.
func (e *Engine) Traces(limit int) []Trace {
	e.traces.mu.Lock()
	var list []*trace
	for _, t := range e.traces.running {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *trace) int { return b.Begin.Compare(a.Begin) })
	for i := range e.traces.ended {
		// next is the oldest once the ring is full, and 0 before.
		at := (e.traces.next + len(e.traces.ended) - 1 - i) % len(e.traces.ended)
		list = append(list, e.traces.ended[at])
	}
	e.traces.mu.Unlock()
	out := make([]Trace, 0, min(limit, len(list)))
	for _, t := range list[:min(limit, len(list))] {
		out = append(out, t.copy())
	}
	return out
}
