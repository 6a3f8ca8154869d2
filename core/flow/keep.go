package flow

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Millis is a duration that JSON has in milliseconds, with fractions.
type Millis time.Duration

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(m).Round(time.Microsecond))/1e6, 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Millis) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	*m = Millis(f * 1e6)
	return err
}

// keptTrace is the row of an ended flow's trace. A flow that was stopped and
// taken up again, or undone at a second try, has several.
type keptTrace struct {
	// UUID grows with the time of writing, by which old rows are found.
	UUID     string `db:"uuid" kumo:"size=32,immutable"`
	FlowUUID string `db:"flowUuid" kumo:"size=32,immutable"`
	Job      string `db:"job" kumo:"size=32,immutable,null,index"`
	// Failed traces are of flows that did not go well.
	Failed bool `db:"failed" kumo:"immutable"`
	// Trace is the Trace in JSON.
	Trace string `db:"trace" kumo:"text,immutable"`
}

var kept = resource.Define[keptTrace](resource.Type{Name: "FlowTrace", Readable: resource.Admin, Internal: true})

const (
	// traceDelay is how long the first trace waits for others to be written with.
	traceDelay = 250 * time.Millisecond
	// traceBatch is how many are written in one transaction, so that nobody waits
	// long behind them.
	traceBatch = 64
	// pruneAfter is after how many written traces old ones are looked for.
	pruneAfter = 5000
	// tracesOfJob is how many traces are read of one job.
	tracesOfJob = 200
)

// TraceBounds are how many traces the database keeps of flows that went well,
// and of those that failed. When there are more, the oldest go.
type TraceBounds struct{ Good, Failed int64 }

// KeepTraces writes the traces of flows that end, until ctx ends: some time after
// the end and several at once, so that no flow waits for it; a process that is killed
// loses those of its last moment (traceDelay). bounds is asked when old ones are
// removed.
func (e *Engine) KeepTraces(ctx context.Context, bounds func() TraceBounds) {
	for written := pruneAfter; ; {
		select {
		case <-ctx.Done():
			return
		case <-e.traces.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(traceDelay):
		}
		n, err := e.FlushTraces(ctx)
		if written += n; err == nil && written >= pruneAfter {
			written = 0
			err = e.prune(ctx, bounds())
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("traces of flows not kept", "error", err)
		}
	}
}

// FlushTraces writes what waits to be written and returns how much that was. What
// cannot be written waits for the next call.
func (e *Engine) FlushTraces(ctx context.Context) (n int, err error) {
	for {
		e.traces.mu.Lock()
		batch := slices.Clone(e.traces.pending[:min(len(e.traces.pending), traceBatch)])
		e.traces.mu.Unlock()
		if len(batch) == 0 {
			return n, nil
		}
		rows := make([]*keptTrace, 0, len(batch))
		for _, t := range batch {
			text, err := json.Marshal(&t.Trace) // an ended trace changes no more
			if err != nil {
				return n, internal(err, t.Flow, "its trace cannot be written")
			}
			rows = append(rows, &keptTrace{UUID: resource.NewUUID(), FlowUUID: t.UUID, Job: t.Job, Failed: t.Phase != "done", Trace: string(text)})
		}
		if err := e.store.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, kept, rows...) }); err != nil {
			return n, err
		}
		n += len(batch)
		e.traces.mu.Lock()
		e.traces.pending = slices.DeleteFunc(e.traces.pending, func(t *trace) bool { return slices.Contains(batch, t) })
		e.traces.forget(batch)
		e.traces.mu.Unlock()
	}
}

// prune deletes the oldest traces beyond the bounds.
func (e *Engine) prune(ctx context.Context, b TraceBounds) error {
	for failed, most := range map[bool]int64{false: b.Good, true: b.Failed} {
		last, err := store.Texts(ctx, e.store, "SELECT `uuid` FROM `FlowTrace` WHERE `failed` = ? ORDER BY `uuid` DESC LIMIT 1 OFFSET ?", failed, max(most, 0))
		if err != nil {
			return err
		}
		for len(last) > 0 {
			old, err := store.Texts(ctx, e.store, "SELECT `uuid` FROM `FlowTrace` WHERE `uuid` <= ? AND `failed` = ? ORDER BY `uuid` LIMIT 500", last[0], failed)
			if err != nil {
				return err
			}
			if len(old) == 0 {
				break
			}
			err = e.store.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, "DELETE FROM `FlowTrace` WHERE `uuid` IN (?)", old)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Traces returns what the flows of a job did and do, the oldest first.
func (e *Engine) Traces(ctx context.Context, job string) ([]Trace, error) {
	here := e.traces.ofJob(job) // first: what is written meanwhile is in both
	list := make([]Trace, 0, len(here))
	err := e.store.Each(ctx, "SELECT `trace` FROM `FlowTrace` WHERE `job` = ? ORDER BY `uuid` LIMIT ?", []any{job, tracesOfJob}, func(r *store.Row) error {
		var t Trace
		if err := json.Unmarshal([]byte(r.Text(0)), &t); err != nil {
			return internal(err, job, "its trace cannot be read")
		}
		list = append(list, t)
		return nil
	})
	for _, t := range here {
		now := t.copy()
		if !slices.ContainsFunc(list, func(o Trace) bool { return o.UUID == now.UUID && o.Begin.Equal(now.Begin) }) {
			list = append(list, now)
		}
	}
	slices.SortStableFunc(list, func(a, b Trace) int { return a.Begin.Compare(b.Begin) })
	return list, err
}

// Trace returns what the flow of a job does now, or else did last; false when
// that is not kept.
func (e *Engine) Trace(ctx context.Context, job string) (Trace, bool, error) {
	if here := e.traces.ofJob(job); len(here) > 0 {
		return here[len(here)-1].copy(), true, nil
	}
	list, err := e.Traces(ctx, job)
	if err != nil || len(list) == 0 {
		return Trace{}, false, err
	}
	return list[len(list)-1], true, nil
}
