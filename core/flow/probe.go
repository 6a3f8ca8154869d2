package flow

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// CrashVariable is a test aid: when the environment variable of this name is
// "<flow>/<step>/<point>" or "<flow>/<step>/<point>#n", the process kills
// itself with SIGKILL when that point is passed for the n-th time (first, if
// no n is given). Def.Points lists the points:
//
//	before, after            the step's do; of Tx steps inside the transaction
//	journal                  the journal with this Do step as the next is
//	                         committed; of "end", the flow is (journal deleted,
//	                         job completed)
//	undo-before, undo-after  the step's undo
//	undo-journal             the journal with this step as the next to be
//	                         undone is committed; of "end", the undo is complete
const CrashVariable = "KUMO_CRASH_AT"

// endStep stands for the end of a flow in the names of points.
const endStep = "end"

// The points of a step.
const (
	atBefore      = "before"
	atAfter       = "after"
	atJournal     = "journal"
	atUndoBefore  = "undo-before"
	atUndoAfter   = "undo-after"
	atUndoJournal = "undo-journal"
)

func pointName(flow, step, what string) string { return flow + "/" + step + "/" + what }

// crash is the point at which this process dies; nil, the usual case, costs
// one comparison at each point.
var crash = crashFromEnvironment()

type crashAt struct {
	point string
	mu    sync.Mutex
	left  int
}

func crashFromEnvironment() *crashAt {
	value := os.Getenv(CrashVariable)
	if value == "" {
		return nil
	}
	c := &crashAt{point: value, left: 1}
	if point, n, ok := strings.Cut(value, "#"); ok {
		if count, err := strconv.Atoi(n); err == nil && count > 0 {
			c.point, c.left = point, count
		}
	}
	return c
}

// pass kills the process if point is the chosen one.
func (c *crashAt) pass(point string) {
	if point != c.point {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left > 0 {
		return
	}
	// SIGKILL cannot be caught, so nothing is flushed or undone on the way out.
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic("cannot kill this process: " + err.Error())
	}
	select {} // the signal arrives before anything else happens
}

// probe passes one point of a flow.
func (e *Engine) probe(flow, step, what string) {
	if crash == nil && e.test == nil {
		return
	}
	point := pointName(flow, step, what)
	if crash != nil {
		crash.pass(point)
	}
	if e.test != nil && e.test.Probe != nil {
		e.test.Probe(point)
	}
}

// TestHooks let a test stand between the engine and the steps; flowtest uses
// them. They are no part of what the server runs.
type TestHooks struct {
	// Probe is called at every point; it may leave by panic(Abort{}), which
	// ends the flow on the spot, as a crash would.
	Probe func(point string)
	// Call is called in place of each do and undo, which it may call not at
	// all, once, or twice.
	Call func(step string, undo bool, call func() error) error
}

// Abort is what TestHooks.Probe panics with. The flow ends without any undo,
// and the panic leaves Run.
type Abort struct{}

// SetTestHooks puts hooks into an engine before its first flow runs.
func SetTestHooks(e *Engine, h TestHooks) { e.test = &h }
