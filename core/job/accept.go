package job

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// renderTime bounds the rendering of one answer.
const renderTime = 10 * time.Second

// finishGrace is how long after the end of its flow a job waits for its
// handler, which knows what the answer is.
const finishGrace = time.Second

// largest is the biggest body that is kept in memory.
const largest = 256 << 10

// entry is a job in memory.
type entry struct {
	job     Job
	created time.Time
	here    bool // its handler runs in this process and will call Finish
	kept    bool // it has a row
	// done is closed when status is final.
	done   chan struct{}
	isDone bool
	status Status
	// later is set when the answer is too big to be kept, or could not be
	// rendered: each poll renders it.
	later *Outcome
	told  bool // its flow ended in the database; err is how
	err   error
	grace *time.Timer
}

func newEntry(j Job, created time.Time) *entry {
	return &entry{job: j, created: created, done: make(chan struct{})}
}

// Accept keeps a new job. When it returns nil, the job is in the database. It
// returns errs.Exists when a job has this uuid, errs.Invalid when uuid or web
// hook are no such thing.
func (s *Service) Accept(ctx context.Context, j Job) error {
	if err := j.check(); err != nil {
		return err
	}
	now := resource.Now()
	e := newEntry(j, now.Time)
	e.here, e.kept = true, true
	if err := s.enter(e); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		return store.Insert(ctx, tx, rows, &Row{
			UUID: j.UUID, Message: j.Message, State: Processing, ResourceType: j.ResourceType, ResourceUUID: j.ResourceUUID,
			AccountUUID: j.AccountUUID, WebHook: j.WebHook, CreateDate: now,
		})
	})
	if err == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.entries, j.UUID)
	s.mu.Unlock()
	if errs.ClassOf(err) == errs.Exists {
		return exists(j.UUID)
	}
	return errs.Wrap(errs.ClassOf(err), "job "+j.UUID, err, "it cannot be accepted")
}

// Reject takes a job that has failed before it was accepted. It is kept in
// memory only, so that callers who are not known cause no writes; its web hook
// is called if the caller is known. Errors are those of Accept.
func (s *Service) Reject(ctx context.Context, j Job, cause error) error {
	if err := j.check(); err != nil {
		return err
	}
	_, found, err := store.First(ctx, s.store, rows, "uuid = ?", j.UUID)
	if err != nil {
		return err
	}
	if found {
		return exists(j.UUID)
	}
	if j.AccountUUID == "" {
		j.WebHook = ""
	}
	e := newEntry(j, time.Now())
	if err := s.enter(e); err != nil {
		return err
	}
	s.end(e, Status{Done: true, Err: cause}, nil)
	return nil
}

func exists(uuid string) error {
	return errs.New(errs.Exists, "job "+uuid, "a job with this uuid was accepted before")
}

func (s *Service) enter(e *entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[e.job.UUID]; ok {
		return exists(e.job.UUID)
	}
	s.entries[e.job.UUID] = e
	return nil
}

func (s *Service) entry(uuid string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[uuid]
}

// Finish ends a job, unless it has ended. An error that says the operation goes
// on (a flow that was stopped with the server) ends nothing. After a flow has
// ended the job in the database, Finish only adds what the flow did not know.
func (s *Service) Finish(ctx context.Context, uuid string, o Outcome) {
	var on interface{ GoesOn() bool }
	if errors.As(o.Err, &on) && on.GoesOn() {
		return
	}
	e := s.entry(uuid)
	if e == nil {
		s.log.Warn("an unknown job ended", "job", uuid, "error", o.Err)
		return
	}
	s.mu.Lock()
	ended, told, flowErr := e.isDone, e.told, e.err
	s.mu.Unlock()
	switch {
	case ended:
		return
	case told && (flowErr == nil) != (o.Err == nil):
		// The database has what the flow said, and that is what counts.
		s.log.Warn("flow and handler disagree about the end of a job", "job", uuid, "flow", flowErr, "error", o.Err)
		o = Outcome{Err: flowErr, ResourceType: e.job.ResourceType, ResourceUUID: e.job.ResourceUUID}
	}
	if err := s.record(ctx, e, o, told); err != nil {
		// The client still gets its answer; only after a restart it is lost.
		s.log.Error("end of job not recorded", "job", uuid, "error", err)
	}
	s.conclude(e, o)
}

// record writes the outcome, if the flow has not.
func (s *Service) record(ctx context.Context, e *entry, o Outcome, told bool) error {
	if told && (o.Err != nil || o.Result == nil && (o.ResourceUUID == "" || o.ResourceUUID == e.job.ResourceUUID)) {
		return nil
	}
	values := map[string]any{"state": Done, "doneDate": resource.Now()}
	if o.Err != nil {
		values["error"] = s.config().EncodeError(o.Err)
	} else {
		values["resourceType"], values["resourceUuid"], values["result"] = o.ResourceType, o.ResourceUUID, string(o.Result)
	}
	return s.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return store.Set(ctx, tx, rows.Type, e.job.UUID, values)
	})
}

// CompleteTx ends a job in the transaction of its flow; see flow.Completer.
func (s *Service) CompleteTx(ctx context.Context, tx *store.Tx, uuid string, err error) error {
	text := any(nil)
	if err != nil {
		text = s.config().EncodeError(err)
	}
	_, dbErr := tx.Exec(ctx, "UPDATE `ApiJob` SET `state` = ?, `error` = ?, `doneDate` = ? WHERE `uuid` = ? AND `state` = ?",
		Done, text, time.Now().UnixMilli(), uuid, Processing)
	return dbErr
}

// Completed tells that the transaction of CompleteTx is committed; see
// flow.Completer. Whoever waits is answered now if all is known; otherwise when
// the handler calls Finish.
func (s *Service) Completed(uuid string, err error) {
	e := s.entry(uuid)
	if e == nil {
		return
	}
	o := Outcome{Err: err, ResourceType: e.job.ResourceType, ResourceUUID: e.job.ResourceUUID}
	s.mu.Lock()
	if e.here && !e.isDone && (err != nil || o.ResourceUUID == "") {
		e.told, e.err = true, err
		e.grace = time.AfterFunc(finishGrace, func() { s.conclude(e, o) })
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.conclude(e, o)
}

// conclude makes the answer and ends the job in memory.
func (s *Service) conclude(e *entry, o Outcome) {
	s.mu.Lock()
	ended := e.isDone
	s.mu.Unlock()
	if ended {
		return
	}
	if o.Err != nil {
		s.end(e, Status{Done: true, Err: o.Err}, nil)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), renderTime)
	defer cancel()
	st, err := s.answer(ctx, o)
	if err != nil {
		s.log.Warn("inventory of job not rendered", "job", e.job.UUID, "type", o.ResourceType, "resource", o.ResourceUUID, "error", err)
	}
	if err != nil || len(st.Body) > largest && e.kept {
		s.end(e, Status{Done: true}, &o)
		return
	}
	s.end(e, st, nil)
}

// answer renders the answer of a job that succeeded. A resource that is gone
// again has no inventory.
func (s *Service) answer(ctx context.Context, o Outcome) (Status, error) {
	st := Status{Done: true, Body: o.Result}
	if st.Body == nil {
		st.Body = json.RawMessage("{}")
	}
	if o.Result != nil || o.ResourceUUID == "" || o.ResourceType == "" || s.render == nil {
		return st, nil
	}
	inventory, schema, err := s.render.Render(ctx, o.ResourceType, o.ResourceUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	st.Body = append(append(json.RawMessage(`{"inventory":`), inventory...), '}')
	st.Schema = make(map[string]string, len(schema))
	for path, class := range schema {
		at := "inventory"
		if path != "" {
			at += "." + path
		}
		st.Schema[at] = class
	}
	return st, nil
}

// end ends a job in memory, wakes those who wait, and queues the web hook. With
// later, polls render the answer themselves.
func (s *Service) end(e *entry, st Status, later *Outcome) {
	s.mu.Lock()
	if e.isDone {
		s.mu.Unlock()
		return
	}
	e.isDone, e.status, e.later = true, st, later
	if e.grace != nil {
		e.grace.Stop()
	}
	close(e.done)
	s.remember(e.job.UUID)
	s.mu.Unlock()
	if e.job.WebHook != "" {
		s.queueHook(hook{uuid: e.job.UUID, url: e.job.WebHook, entry: e})
	}
}

// remember puts an ended job into the ring, in the place of the oldest one.
func (s *Service) remember(uuid string) {
	if len(s.ended) < s.settings.Remember {
		s.ended = append(s.ended, uuid)
		return
	}
	delete(s.entries, s.ended[s.next])
	s.ended[s.next] = uuid
	s.next = (s.next + 1) % len(s.ended)
}
