package flow

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/store"
)

// DefaultTimeout bounds a Do step, and each of its undos, that sets no bound.
const DefaultTimeout = 10 * time.Minute

// txTimeout bounds a transaction of Tx steps, with its wait for other writers.
const txTimeout = 2 * time.Minute

// Step is one step of a flow on the state S. Make it with Tx, Do, Each or Sub.
type Step[S any] struct {
	name       string
	do, undo   func(ctx context.Context, s *S) error
	tx, untx   func(ctx context.Context, tx *store.Tx, s *S) error
	when       func(s *S) bool
	timeout    time.Duration
	checkpoint bool
	answers    bool
	each       bool      // bounds its items by itself
	parts      []Step[S] // of Sub; Define puts them in the place of this step
}

// Tx makes a step that touches only the database. do and undo may run more
// than once, also within one attempt, when the database asks for a repeat: the
// fields of s are then as before, but what its maps and pointers hold is not.
// undo may be nil. When the transaction of do is rolled back, undo is not
// called.
func Tx[S any](name string, do, undo func(ctx context.Context, tx *store.Tx, s *S) error) Step[S] {
	return Step[S]{name: name, tx: do, untx: undo}
}

// Do makes a step that touches the world. ctx carries the step's time-out and
// its OperationID; it is not cancelled when the server stops. undo may be nil;
// it is called when do failed, too.
func Do[S any](name string, do, undo func(ctx context.Context, s *S) error) Step[S] {
	return Step[S]{name: name, do: do, undo: undo}
}

// When makes the step one that runs only if f says so, asked just before it.
// A step that was skipped is not undone.
func (s Step[S]) When(f func(*S) bool) Step[S] {
	if before := s.when; before != nil {
		s.when = func(st *S) bool { return before(st) && f(st) }
	} else {
		s.when = f
	}
	return s
}

// Timeout bounds each call of the step's do and undo; of an Each step, of each
// item. The default is DefaultTimeout. A step that runs out of time has failed
// with errs.Timeout and is undone.
func (s Step[S]) Timeout(d time.Duration) Step[S] {
	s.timeout = d
	return s
}

// Checkpoint saves the state after the step, if the step changed it, when a Do
// step follows: for results that a repeat could not give again, or that took
// long. It costs a transaction.
func (s Step[S]) Checkpoint() Step[S] {
	s.checkpoint = true
	return s
}

// Answers ends the flow's job in the transaction of this step, which must be a
// Tx: for flows that go on with what the caller does not wait for. When a later
// step fails, the flow is undone as always, and the job stays a success. As a
// part of another flow (see Sub) the step ends nothing.
func (s Step[S]) Answers() Step[S] {
	s.answers = true
	return s
}

// Sub makes the steps of another flow part of this one; of gives the part of
// the state that they work on, and must always give the same. The steps are
// named name.step. The flow d need not be registered. When and Timeout on the
// result hold for each of its steps.
func Sub[S, T any](name string, d *Def[T], of func(*S) *T) Step[S] {
	parts := make([]Step[S], len(d.steps))
	for i, inner := range d.steps {
		part := Step[S]{name: name + "." + inner.name, timeout: inner.timeout, checkpoint: inner.checkpoint, each: inner.each}
		if f := inner.do; f != nil {
			part.do = func(ctx context.Context, s *S) error { return f(ctx, of(s)) }
		}
		if f := inner.undo; f != nil {
			part.undo = func(ctx context.Context, s *S) error { return f(ctx, of(s)) }
		}
		if f := inner.tx; f != nil {
			part.tx = func(ctx context.Context, tx *store.Tx, s *S) error { return f(ctx, tx, of(s)) }
		}
		if f := inner.untx; f != nil {
			part.untx = func(ctx context.Context, tx *store.Tx, s *S) error { return f(ctx, tx, of(s)) }
		}
		if f := inner.when; f != nil {
			part.when = func(s *S) bool { return f(of(s)) }
		}
		parts[i] = part
	}
	return Step[S]{name: name, parts: parts}
}

// isTx reports whether the step works in a transaction.
func (s *Step[S]) isTx() bool { return s.tx != nil }

// runs reports whether the step is to run on this state.
func (s *Step[S]) runs(st *S) bool { return s.when == nil || s.when(st) }
