package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// run is one flow that runs.
type run[S any] struct {
	e   *Engine
	def *Def[S]
	s   *S
	// outer is the caller's context; base is what steps get: its values and
	// its deadline, but not its cancellation.
	outer, base context.Context
	trace       *trace

	row     Journal // as it is in the database, if written
	written bool
	encoded []byte // the state as JSON; nil when it may have changed
	skipped bits
	cause   error
	jobDone bool // the job has ended before, with an earlier attempt to undo
	aborted bool // a test ended the flow inside a transaction
	force   bool // undos that fail are passed over
}

// Run runs a flow on the state s to its end and returns nil, or the error that
// made it fail, after everything was undone. The class of the error is that of
// the first cause; when the undo failed too, the error is an *Error.
//
// When ctx is cancelled, or the engine stops, the running step is finished and
// Run returns an errs.Unavailable. If IsStopped holds for it, the flow stays in
// the journal and goes on forward later (after the next start; if only ctx was
// cancelled, at the next Collect); otherwise nothing has happened. When ctx reaches its deadline, the flow fails
// and is undone.
//
// While an earlier flow under the same key is neither done nor undone, Run
// refuses with errs.Unavailable: what s was made of will change. Finish comes
// before it.
//
// s belongs to the flow until Run returns, and for good when IsStopped.
func Run[S any](ctx context.Context, e *Engine, d *Def[S], s *S, o Options) error {
	if o.Key == "" {
		o.Key = o.ResourceUUID
	}
	uuid := resource.NewUUID()
	if have, ok := e.definition(d.name); !ok || have != definition(d) {
		return errs.New(errs.Internal, "flow "+d.name, "it is not registered, so it could not be resumed")
	}
	if err := e.clear(ctx, d.name, o.Key); err != nil {
		return err
	}
	if err := e.begin(uuid, d.name, o.Key); err != nil {
		return err
	}
	defer e.end(uuid)
	r := newRun(ctx, e, d, s, Journal{
		UUID: uuid, Name: d.name, Phase: PhaseForward,
		Job: o.Job, Key: o.Key, ResourceType: o.ResourceType, ResourceUUID: o.ResourceUUID,
	})
	return r.run(0)
}

func newRun[S any](ctx context.Context, e *Engine, d *Def[S], s *S, row Journal) *run[S] {
	return &run[S]{
		e: e, def: d, s: s, row: row, outer: ctx, base: context.WithoutCancel(ctx),
		trace: e.traces.begin(&row, len(d.steps)),
	}
}

func (r *run[S]) name() string    { return r.def.name }
func (r *run[S]) uuid() string    { return r.row.UUID }
func (r *run[S]) job() string     { return r.row.Job }
func (r *run[S]) progress() int64 { return r.row.Progress }

func (r *run[S]) stopping() <-chan struct{} { return r.e.stopping }

func (r *run[S]) called(step string, call TraceCall) { r.trace.called(step, call) }

func (r *run[S]) panicked(step string, v any) error { return r.e.panicked(r.def.name, step, v) }

// stopped returns why no further step may begin; nil if one may.
func (r *run[S]) stopped() error {
	if r.e.stopped() {
		return errStopped
	}
	err := r.outer.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded) && r.row.Phase == PhaseForward:
		return errs.Wrap(errs.Timeout, "flow "+r.def.name, err, "the time for the whole operation is up")
	case errors.Is(err, context.DeadlineExceeded):
		return nil // an undo has its own time
	}
	return errStopped
}

// run does the flow's steps from number i on, and undoes them if one fails.
func (r *run[S]) run(i int) error {
	if deadline, ok := r.outer.Deadline(); ok {
		base, cancel := context.WithDeadline(r.base, deadline)
		defer cancel()
		r.base = base
	}
	failed, err := r.forward(i)
	switch {
	case err == nil:
		r.over("done", nil)
		return nil
	case errors.Is(err, errStopped):
		return r.halt()
	}
	r.base = context.WithoutCancel(r.outer)
	return r.fail(failed, err)
}

// forward does the steps from number i on. With an error, failed is the last
// step that may have had an effect; -1 if none.
func (r *run[S]) forward(i int) (failed int, err error) {
	// A resumed flow stands before a Do step, with the journal as it should be.
	journaled := r.written && !r.def.steps[i].isTx()
	for {
		if err := r.stopped(); err != nil {
			return i - 1, err
		}
		if !journaled {
			next, err := r.commit(i)
			if err != nil {
				return i - 1, err
			}
			if i = next; i == len(r.def.steps) {
				return i, nil
			}
		}
		journaled = false
		for ; i < len(r.def.steps) && !r.def.steps[i].isTx(); i++ {
			if err := r.stopped(); err != nil {
				return i - 1, err
			}
			if err := r.doStep(i); err != nil {
				return i, err
			}
			r.row.Progress = 0
		}
	}
}

// doStep does one Do step, unless it is to be skipped.
func (r *run[S]) doStep(i int) error {
	st := &r.def.steps[i]
	switch runs, err := r.runs(i); {
	case err != nil:
		return err
	case !runs:
		r.skipped.set(i)
		return nil
	}
	r.e.probe(r.def.name, st.name, atBefore)
	err := r.call(r.base, i, false, func(ctx context.Context) error { return st.do(ctx, r.s) })
	r.changed()
	if err != nil {
		return err
	}
	r.e.probe(r.def.name, st.name, atAfter)
	if st.checkpoint && i+1 < len(r.def.steps) && !r.def.steps[i+1].isTx() {
		return r.save(r.base, i+1, 0)
	}
	return nil
}

// commit does the Tx steps from number i on, in one transaction with the
// journal, and returns the number of the Do step that comes next. After the
// last step it ends the flow and the job in the same transaction.
func (r *run[S]) commit(i int) (next int, err error) {
	saved, skipped := *r.s, r.skipped
	ended, answered := false, false
	err = r.update(func(ctx context.Context, tx *store.Tx) error {
		*r.s, r.skipped, ended, answered = saved, skipped, false, false // fn may run again
		r.changed()
		for next = i; next < len(r.def.steps); next++ {
			runs, err := r.runs(next)
			if err != nil {
				return err
			}
			if !runs {
				r.skipped.set(next)
				continue
			}
			if !r.def.steps[next].isTx() {
				ended = true
				if answered {
					if err := r.endJob(ctx, tx, nil); err != nil {
						return err
					}
				}
				return r.write(ctx, tx, PhaseForward, r.def.steps[next].name)
			}
			if err := r.txStep(ctx, tx, next, false); err != nil {
				return err
			}
			answered = answered || r.def.steps[next].answers
		}
		ended = true
		return r.finish(ctx, tx, nil)
	})
	step := endStep
	if next < len(r.def.steps) {
		step = r.def.steps[next].name
	}
	if err != nil && ended {
		err = r.settle(err, PhaseForward, step)
	}
	if err != nil {
		*r.s, r.skipped = saved, skipped
		r.changed()
		return i, err
	}
	r.committed(PhaseForward, step)
	r.e.probe(r.def.name, step, atJournal)
	if step == endStep || answered {
		r.completed(nil)
	}
	return next, nil
}

// txStep does, or undoes, one Tx step.
func (r *run[S]) txStep(ctx context.Context, tx *store.Tx, i int, undo bool) error {
	st := &r.def.steps[i]
	f, before, after := st.tx, atBefore, atAfter
	if undo {
		f, before, after = st.untx, atUndoBefore, atUndoAfter
	}
	r.e.probe(r.def.name, st.name, before)
	err := r.call(ctx, i, undo, func(ctx context.Context) error { return f(ctx, tx, r.s) })
	r.changed()
	if err == nil {
		r.e.probe(r.def.name, st.name, after)
	}
	return err
}

// update runs fn in a transaction. A test's Abort inside of it leaves through
// here, with the transaction rolled back.
func (r *run[S]) update(fn func(ctx context.Context, tx *store.Tx) error) error {
	ctx, cancel := context.WithTimeout(r.base, txTimeout)
	defer cancel()
	err := r.e.store.Update(ctx, func(tx *store.Tx) (err error) {
		defer func() {
			v := recover()
			if _, ok := v.(Abort); ok {
				r.aborted, err = true, errStopped
			} else if v != nil {
				err = r.e.panicked(r.def.name, "transaction", v)
			}
		}()
		return fn(ctx, tx)
	})
	if r.aborted {
		panic(Abort{})
	}
	return r.unlessLeft(err)
}

// settle answers what became of a commit that failed: nil when it is in the
// database nevertheless, as after a lost connection; err when it is not; and
// errStopped when the database cannot be asked either.
func (r *run[S]) settle(err error, phase, step string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.outer), txTimeout)
	defer cancel()
	row, found, readErr := store.First(ctx, r.e.store, journals, "uuid = ?", r.row.UUID)
	switch {
	case readErr != nil:
		r.e.log.Error("commit of unknown outcome, the flow goes on later", "flow", r.def.name, "uuid", r.row.UUID, "error", errors.Join(err, readErr))
		r.written = true // it may be; halt lets the journal decide
		return errStopped
	case step == endStep && r.written && !found, found && row.Phase == phase && row.Step == step:
		return nil
	}
	return err
}

// committed notes what the last transaction did to the journal.
func (r *run[S]) committed(phase, step string) {
	if step != endStep {
		r.wrote(phase, step)
	}
}

// finish ends the flow in its last transaction.
func (r *run[S]) finish(ctx context.Context, tx *store.Tx, cause error) error {
	if err := r.e.Owner.Guard(ctx, tx); err != nil {
		return err
	}
	if r.written {
		if err := store.Delete(ctx, tx, journals.Type, r.row.UUID); err != nil {
			return err
		}
	}
	return r.endJob(ctx, tx, cause)
}

func (r *run[S]) endJob(ctx context.Context, tx *store.Tx, cause error) error {
	if r.row.Job == "" || r.jobDone || r.e.jobs == nil {
		return nil
	}
	return r.e.jobs.CompleteTx(ctx, tx, r.row.Job, cause)
}

// completed tells the job that it has ended.
func (r *run[S]) completed(cause error) {
	if r.row.Job == "" || r.jobDone || r.e.jobs == nil {
		return
	}
	r.jobDone = true
	r.e.jobs.Completed(r.row.Job, cause)
}

// save writes the journal with step i as the next, and how far that one is.
func (r *run[S]) save(ctx context.Context, i int, progress int64) error {
	phase, step := r.row.Phase, r.def.steps[i].name
	r.changed()
	if state, err := r.encode(); err != nil {
		return err
	} else if progress == 0 && string(state) == r.row.State {
		return nil
	}
	before := r.row.Progress
	r.row.Progress = progress
	err := r.update(func(ctx context.Context, tx *store.Tx) error { return r.write(ctx, tx, phase, step) })
	if err != nil {
		r.row.Progress = before
		return fmt.Errorf("save the state of flow %s: %w", r.def.name, err)
	}
	r.wrote(phase, step)
	if phase == PhaseForward {
		r.e.probe(r.def.name, step, atJournal)
	}
	return nil
}

// saveProgress is called by an Each step between two rounds of items.
func (r *run[S]) saveProgress(ctx context.Context, done int64) error {
	return r.save(ctx, r.def.index[current(ctx).step], done)
}

// runs asks whether a step is to run.
func (r *run[S]) runs(i int) (runs bool, err error) {
	st := &r.def.steps[i]
	defer func() {
		if v := recover(); v != nil {
			err = r.panicked(st.name, v)
		}
	}()
	return st.runs(r.s), nil
}

// call calls a do or an undo: with its time-out, its place in the trace, and
// with a panic turned into an error.
func (r *run[S]) call(ctx context.Context, i int, undo bool, f func(context.Context) error) (err error) {
	st := &r.def.steps[i]
	ctx = &stepContext{Context: ctx, flow: r, step: st.name, undo: undo, timeout: st.timeout}
	if !st.each && (!st.isTx() || st.timeout < txTimeout) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, st.timeout)
		defer cancel()
	}
	if !st.isTx() { // plugins are called with it
		ctx = pluginsdk.WithOperationID(ctx, OperationID(ctx))
	}
	r.trace.step(st.name, undo)
	if r.e.test != nil && r.e.test.Call != nil {
		err = r.e.test.Call(st.name, undo, func() error { return r.guarded(ctx, st.name, f) })
	} else {
		err = r.guarded(ctx, st.name, f)
	}
	err = outOfTime(ctx, err, fmt.Sprintf("step %s of %s", st.name, r.def.name), st.timeout)
	took := r.trace.stepped(err)
	if r.e.Hooks.Step != nil {
		r.e.Hooks.Step(r.def.name, st.name, undo, took, err)
	}
	return r.unlessLeft(err)
}

// unlessLeft makes errStopped of an error that may come from the end of the
// process: the journal stays as it is.
func (r *run[S]) unlessLeft(err error) error {
	if err != nil && r.e.left.Load() {
		return errStopped
	}
	return err
}

func (r *run[S]) guarded(ctx context.Context, step string, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = r.panicked(step, v)
		}
	}()
	return f(ctx)
}

// halt leaves the flow as the journal has it.
func (r *run[S]) halt() error {
	if !r.written {
		r.over("stopped", nil)
		return refusal(r.def.name)
	}
	if !r.e.stopped() {
		uuid := r.row.UUID
		r.e.park(&r.row, func(ctx context.Context) error { return r.e.resume(ctx, uuid, r.row.Key, false) })
	}
	r.over("stopped", nil)
	return stopError(r.def.name)
}

// over ends the trace.
func (r *run[S]) over(phase string, cause error) {
	r.trace.phase(phase, cause)
	took := r.e.traces.end(r.trace)
	if r.e.Hooks.Flow != nil && phase != "stopped" {
		r.e.Hooks.Flow(r.def.name, took, cause)
	}
}

// fail undoes step number failed and all before it, because of cause.
func (r *run[S]) fail(failed int, cause error) error {
	r.cause = cause
	r.row.failedWith(cause)
	r.row.Progress = 0
	r.e.log.Warn("flow failed", "flow", r.def.name, "uuid", r.row.UUID, "type", r.row.ResourceType, "resource", r.row.ResourceUUID, "error", cause)
	r.trace.phase(PhaseUndoing, cause)
	if !r.written {
		// Nothing but the transaction that was rolled back has happened.
		return r.refuse(cause)
	}
	step := r.def.steps[max(failed, 0)].name
	err := r.update(func(ctx context.Context, tx *store.Tx) error { return r.write(ctx, tx, PhaseUndoing, step) })
	if err != nil {
		return r.postpone(err, func() error { return r.fail(failed, cause) })
	}
	r.wrote(PhaseUndoing, step)
	r.e.probe(r.def.name, step, atUndoJournal)
	return r.backward(failed)
}

// refuse ends the job of a flow that left nothing behind.
func (r *run[S]) refuse(cause error) error {
	if r.row.Job != "" && r.e.jobs != nil {
		if err := r.update(func(ctx context.Context, tx *store.Tx) error { return r.endJob(ctx, tx, cause) }); err != nil {
			r.e.log.Error("job not ended", "job", r.row.Job, "error", err)
			r.over("undone", cause)
			return cause
		}
		r.completed(cause)
	}
	r.over("undone", cause)
	return cause
}

// undoDelay returns how long after a failed undo the next one is due, when the
// collector runs every interval: it doubles up to an hour.
func undoDelay(attempts int, interval time.Duration) time.Duration {
	const longest = time.Hour
	d := interval
	for range min(max(attempts-1, 0), 30) {
		if d *= 2; d >= longest {
			return max(longest, interval)
		}
	}
	return d
}
