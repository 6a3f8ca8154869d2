package flow

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Open returns the journal of an unfinished flow; errs.NotFound when there is
// none, as it has ended or was never written.
func (e *Engine) Open(ctx context.Context, uuid string) (Journal, error) {
	row, err := store.Get(ctx, e.store, journals, uuid)
	if err != nil {
		return Journal{}, err
	}
	return *row, nil
}

// Retry goes on now with an open flow: forward, or with its undo, as the journal
// says. The caller holds the flow's key. nil says that it is over; that it was
// over before is a success. Errors: errs.Refused while it runs, and what was in
// the way of going on.
func (e *Engine) Retry(ctx context.Context, uuid string) error {
	row, found, err := store.First(ctx, e.store, journals, "uuid = ?", uuid)
	if err != nil || !found {
		return err
	}
	if err := e.notRunning(row); err != nil {
		return err
	}
	if p, waits := e.unpark(uuid); waits {
		err = p.going(ctx)
	} else {
		err = e.resume(ctx, uuid, row.Key, false)
	}
	_, found, readErr := store.First(ctx, e.store, journals, "uuid = ?", uuid)
	switch {
	case readErr != nil:
		return readErr
	case !found: // err is why the flow failed once, which is no news
		return nil
	}
	return e.unfinished(ctx, row.Key, uuid, err)
}

// Forget drops an open flow that a person has dealt with: nothing more is done
// or undone of it, and what it holds outside of the database stays. Its job
// ends, if it has not, with an error that says so. The caller holds the flow's
// key. A flow that is over is a success; errs.Refused while it runs.
func (e *Engine) Forget(ctx context.Context, uuid string) error {
	row, found, err := store.First(ctx, e.store, journals, "uuid = ?", uuid)
	if err != nil || !found {
		return err
	}
	if err := e.notRunning(row); err != nil {
		return err
	}
	cause := error(errs.New(errs.Refused, "flow "+row.Name+" "+uuid, "the administrator has forgotten it at step %s", row.Step))
	err = e.store.Update(ctx, func(tx *store.Tx) error {
		if err := e.Owner.Guard(ctx, tx); err != nil {
			return err
		}
		if err := store.Delete(ctx, tx, journals.Type, uuid); err != nil || row.Job == "" || e.jobs == nil {
			return err
		}
		return e.jobs.CompleteTx(ctx, tx, row.Job, cause)
	})
	if err != nil {
		return err
	}
	e.unpark(uuid)
	e.closes(uuid, row.Key)
	e.log.Warn("flow forgotten, what it left stays", "flow", row.Name, "uuid", uuid, "phase", row.Phase, "step", row.Step,
		"type", row.ResourceType, "resource", row.ResourceUUID, "error", row.UndoWhy)
	if row.Job != "" && e.jobs != nil {
		e.jobs.Completed(row.Job, cause)
	}
	return nil
}

// notRunning refuses a flow that runs. As whoever works on a flow holds its key,
// it cannot begin to run afterwards.
func (e *Engine) notRunning(row *Journal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.active[row.UUID]; ok {
		return errs.New(errs.Refused, "flow "+row.Name+" "+row.UUID, "it runs").WithAdvice("wait for its end")
	}
	return nil
}

func (e *Engine) unpark(uuid string) (p parked, waits bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, waits = e.parked[uuid]
	delete(e.parked, uuid)
	return p, waits
}
