package flow

import (
	"context"
	"errors"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// undoes reports whether there is something to undo of step i.
func (r *run[S]) undoes(i int) bool {
	st := &r.def.steps[i]
	return !r.skipped.has(i) && (st.undo != nil || st.untx != nil)
}

// backward undoes step i and all before it and returns the cause, or what
// became of the undo.
func (r *run[S]) backward(i int) error {
	for {
		for ; i >= 0; i-- {
			if !r.undoes(i) {
				continue
			}
			if r.def.steps[i].isTx() {
				break
			}
			switch err := r.undoStep(i); {
			case errors.Is(err, errStopped):
				return r.halt()
			case err != nil && r.force:
				r.e.log.Warn("undo failed and is passed over", "flow", r.def.name, "uuid", r.row.UUID, "step", r.def.steps[i].name, "error", err)
			case err != nil:
				return r.undoFailed(i, err)
			}
			r.row.Progress = 0
		}
		next, err := r.commitUndo(i)
		switch {
		case errors.Is(err, errStopped):
			return r.halt()
		case err != nil:
			return r.undoFailed(i, err)
		case next < 0:
			r.over("undone", r.cause)
			return r.cause
		}
		i = next
	}
}

// undoStep undoes one Do step.
func (r *run[S]) undoStep(i int) error {
	if err := r.stopped(); err != nil {
		return err
	}
	st := &r.def.steps[i]
	r.e.probe(r.def.name, st.name, atUndoBefore)
	err := r.call(r.base, i, true, func(ctx context.Context) error { return st.undo(ctx, r.s) })
	r.changed()
	if err == nil {
		r.e.probe(r.def.name, st.name, atUndoAfter)
	}
	return err
}

// commitUndo undoes the Tx steps from i backwards, in one transaction with the
// journal, up to the Do step that is next; after the first step of the flow it
// ends flow and job and returns -1.
func (r *run[S]) commitUndo(i int) (next int, err error) {
	saved := *r.s
	ended := false
	err = r.update(func(ctx context.Context, tx *store.Tx) error {
		*r.s, ended = saved, false // fn may run again
		r.changed()
		for next = i; next >= 0; next-- {
			if !r.undoes(next) {
				continue
			}
			if !r.def.steps[next].isTx() {
				ended = true
				return r.write(ctx, tx, PhaseUndoing, r.def.steps[next].name)
			}
			if err := r.txStep(ctx, tx, next, true); err != nil {
				return err
			}
		}
		ended = true
		return r.finish(ctx, tx, r.cause)
	})
	step := endStep
	if next >= 0 {
		step = r.def.steps[next].name
	}
	if err != nil && ended {
		err = r.settle(err, PhaseUndoing, step)
	}
	if err != nil {
		*r.s = saved
		r.changed()
		return i, err
	}
	r.committed(PhaseUndoing, step)
	r.e.probe(r.def.name, step, atUndoJournal)
	if next < 0 {
		r.completed(r.cause)
	}
	return next, nil
}

// undoFailed keeps the flow for the collector: nothing before step i may be
// undone while step i is not, as an address must not be given away while its
// owner may still run. The job ends with the cause.
func (r *run[S]) undoFailed(i int, undoErr error) error {
	step := r.def.steps[max(i, 0)].name
	failure := &Error{Flow: r.def.name, Step: step, Cause: r.cause, Undo: undoErr}
	r.row.undoFailedWith(undoErr)
	r.row.Attempts++
	r.row.LastTry = resource.Now()
	r.e.log.Error("undo failed, it will be repeated", "flow", r.def.name, "uuid", r.row.UUID, "step", step,
		"attempts", r.row.Attempts, "cause", r.cause, "error", undoErr)
	err := r.update(func(ctx context.Context, tx *store.Tx) error {
		if err := r.write(ctx, tx, PhaseUndoFailed, step); err != nil {
			return err
		}
		return r.endJob(ctx, tx, failure)
	})
	if err != nil {
		return r.postpone(errors.Join(undoErr, err), func() error { return r.backward(i) })
	}
	r.wrote(PhaseUndoFailed, step)
	r.e.opens(r.row.UUID, r.row.Key, true)
	r.completed(failure)
	r.over(PhaseUndoFailed, failure)
	return failure
}

// postpone keeps a flow in memory whose undo could not be noted in the
// database; the collector goes on with it. If the process ends before, the
// journal has it go on from where it was noted last.
func (r *run[S]) postpone(err error, again func() error) error {
	r.e.log.Error("journal not written, the undo goes on later", "flow", r.def.name, "uuid", r.row.UUID, "error", err)
	uuid := r.row.UUID
	r.e.park(&r.row, func(ctx context.Context) error {
		if err := r.e.begin(uuid, r.def.name, r.row.Key); err != nil {
			return err
		}
		defer r.e.end(uuid)
		if !r.e.closes(uuid, r.row.Key) && r.row.Key != "" {
			return nil // Finish was faster
		}
		r.outer, r.base = ctx, context.WithoutCancel(ctx)
		r.trace = r.e.traces.begin(&r.row, len(r.def.steps))
		r.trace.phase(PhaseUndoing, r.cause)
		return again()
	})
	failure := &Error{Flow: r.def.name, Step: r.row.Step, Cause: r.cause, Undo: err}
	r.over(PhaseUndoFailed, failure)
	return failure
}
