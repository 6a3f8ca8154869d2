package flow

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Resume hands every flow that a crash or a stop left behind to submit, the
// oldest first: forward ones go on forward, undoing ones with their undo. It
// is called once, when all flows are registered and before calls are taken.
// submit queues run under the flow's dispatch key; run gets the context that
// later bounds it.
//
// A flow whose definition or step this version does not know is kept as
// "undo-failed", its job ends with an error, and Failed shows it.
func (e *Engine) Resume(ctx context.Context, submit func(key string, run func(context.Context))) error {
	if err := e.claim(ctx); err != nil {
		return err
	}
	rows, err := store.Sound(ctx, e.store, journals, store.PassedOver(e.log), "ORDER BY createDate, uuid")
	if err != nil {
		return err
	}
	for _, row := range rows {
		if !e.Owner.Owns(row.Key) {
			continue
		}
		e.opens(row.UUID, row.Key, row.Phase != PhaseForward)
		if row.Phase == PhaseUndoFailed {
			continue // Collect goes on with it when it is due
		}
		e.submit(submit, row.UUID, row.Key, func(ctx context.Context) error { return e.resume(ctx, row.UUID, row.Key, false) })
	}
	return nil
}

// claim makes this node the owner of what its predecessors left.
func (e *Engine) claim(ctx context.Context) error {
	return e.store.Update(ctx, func(tx *store.Tx) error {
		if err := e.Owner.Guard(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE `Flow` SET `ownerUuid` = ?, `epoch` = ?", orNull(e.Owner.UUID), e.Owner.Epoch)
		return err
	})
}

// submit queues one flow; what becomes of it is in the log, as nobody waits.
func (e *Engine) submit(submit func(string, func(context.Context)), uuid, key string, going func(context.Context) error) {
	submit(key, func(ctx context.Context) {
		if err := going(ctx); err != nil {
			e.log.Warn("resumed flow did not succeed", "uuid", uuid, "error", err)
		}
	})
}

// resume goes on with one journaled flow. The row is read only after begin, as
// the flow may have ended since somebody saw it in the journal. With force,
// undos that fail are passed over.
func (e *Engine) resume(ctx context.Context, uuid, key string, force bool) error {
	if err := e.begin(uuid, uuid, key); err != nil {
		return err
	}
	defer e.end(uuid)
	row, found, err := store.First(ctx, e.store, journals, "uuid = ?", uuid)
	if err != nil {
		return err
	}
	e.closes(uuid, key) // unless it is left open again
	if !found {
		return nil
	}
	d, ok := e.definition(row.Name)
	if !ok {
		return e.strand(ctx, row, errs.New(errs.Internal, "flow "+row.Name, "this version does not know the flow"))
	}
	return d.resume(ctx, e, row, force)
}

func (d *Def[S]) resume(ctx context.Context, e *Engine, row *Journal, force bool) error {
	i, ok := d.index[row.Step]
	if !ok {
		return e.strand(ctx, row, errs.New(errs.Internal, "flow "+row.Name, "this version does not know step %s", row.Step))
	}
	s := new(S)
	if err := json.Unmarshal([]byte(row.State), s); err != nil {
		return e.strand(ctx, row, internal(err, row.Name, "its state cannot be read"))
	}
	r := newRun(ctx, e, d, s, *row)
	r.written, r.skipped, r.cause = true, d.skippedBits(row.Skipped), row.Cause()
	r.jobDone, r.force = row.Phase == PhaseUndoFailed, force
	e.log.Info("flow goes on", "flow", row.Name, "uuid", row.UUID, "phase", row.Phase, "step", row.Step)
	if row.Phase == PhaseForward {
		return r.run(i)
	}
	r.trace.phase(PhaseUndoing, r.cause)
	return r.backward(i)
}

// strand keeps a flow that cannot go on, for a person to look at.
func (e *Engine) strand(ctx context.Context, row *Journal, reason error) error {
	e.opens(row.UUID, row.Key, true)
	cause := row.Cause()
	if cause == nil {
		cause = reason
	}
	job := row.Job
	if row.Phase == PhaseUndoFailed || e.jobs == nil {
		job = ""
	}
	err := e.store.Update(ctx, func(tx *store.Tx) error {
		if err := e.Owner.Guard(ctx, tx); err != nil {
			return err
		}
		err := store.Set(ctx, tx, journals.Type, row.UUID, map[string]any{
			"phase": PhaseUndoFailed, "error": errtext.Encode(cause), "undoError": errtext.Encode(reason),
			"cause": cause.Error(), "undoCause": reason.Error(),
			"attempts": row.Attempts + 1, "lastTry": resource.Now(),
		})
		if err != nil || job == "" {
			return err
		}
		return e.jobs.CompleteTx(ctx, tx, job, cause)
	})
	if err == nil && job != "" {
		e.jobs.Completed(job, cause)
	}
	return errors.Join(reason, err)
}

// listed bounds what Failed and Unfinished return.
const listed = 1000

// Failed returns the flows whose undo failed, the oldest first, at most 1000.
// Collect repeats their undo; a person may look after the cause meanwhile.
func (e *Engine) Failed(ctx context.Context) ([]Journal, error) {
	return e.list(ctx, "phase = ? ORDER BY createDate, uuid LIMIT ?", PhaseUndoFailed, listed)
}

// Unfinished returns the flows that stand in the journal, whether they run,
// wait or have failed to be undone: the oldest first, at most 1000.
func (e *Engine) Unfinished(ctx context.Context) ([]Journal, error) {
	return e.list(ctx, "ORDER BY createDate, uuid LIMIT ?", listed)
}

func (e *Engine) list(ctx context.Context, where string, args ...any) ([]Journal, error) {
	rows, err := store.Find(ctx, e.store, journals, where, args...)
	if err != nil {
		return nil, err
	}
	list := make([]Journal, len(rows))
	for i, row := range rows {
		list[i] = *row
	}
	return list, nil
}

// Jobs returns the API jobs whose flows stand in the journal and have not
// failed: those that will end by themselves after Resume.
func (e *Engine) Jobs(ctx context.Context) (map[string]bool, error) {
	jobs := map[string]bool{}
	err := e.store.Each(ctx, "SELECT job FROM `Flow` WHERE phase <> ? AND job IS NOT NULL", []any{PhaseUndoFailed}, func(row *store.Row) error {
		jobs[row.Text(0)] = true
		return nil
	})
	return jobs, err
}

// Collect hands to submit, as Resume does, every failed undo that is due, and
// every flow of this process that could not go on. An undo is due interval
// after it failed first, then after twice as long each time, up to an hour. It
// returns how many it handed over.
func (e *Engine) Collect(ctx context.Context, interval time.Duration, submit func(key string, run func(context.Context))) (int, error) {
	n := 0
	e.mu.Lock()
	waiting := e.parked
	e.parked = map[string]parked{}
	e.mu.Unlock()
	for uuid, p := range waiting {
		n++
		e.submit(submit, uuid, p.key, p.going)
	}
	failed, err := e.Failed(ctx)
	if err != nil {
		return n, err
	}
	for _, row := range failed {
		if _, here := waiting[row.UUID]; here || !e.Owner.Owns(row.Key) || time.Since(row.LastTry.Time) < undoDelay(row.Attempts, interval) {
			continue
		}
		n++
		e.submit(submit, row.UUID, row.Key, func(ctx context.Context) error { return e.resume(ctx, row.UUID, row.Key, false) })
	}
	return n, nil
}

// CollectEvery calls Collect at each of the intervals, which end with ctx.
func (e *Engine) CollectEvery(ctx context.Context, intervals iter.Seq[time.Duration], submit func(key string, run func(context.Context))) {
	for every := range intervals {
		if _, err := e.Collect(ctx, every, submit); err != nil && ctx.Err() == nil {
			e.log.Warn("failed undos not collected", "error", err)
		}
	}
}
