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

// largest is the biggest body that is kept in memory.
const largest = 256 << 10

// entry is a job in memory.
type entry struct {
	job     Job
	created time.Time
	kept    bool // it has a row
	// done is closed when status is final.
	done   chan struct{}
	isDone bool
	status Status
	// later is set when the answer is too big to be kept, or could not be
	// rendered: each poll renders it.
	later *Outcome
	// answers, which may be nil, is what the job answers when a flow ends it (Answers).
	answers func() json.RawMessage
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
	e.kept = true
	if err := s.enter(e); err != nil {
		return err
	}
	return s.insert(ctx, j, s.row(j, now))
}

// row is what the database has of a job that begins.
func (s *Service) row(j Job, now resource.Time) *Row {
	return &Row{
		UUID: j.UUID, Message: j.Message, State: Processing, ResourceType: j.ResourceType, ResourceUUID: j.ResourceUUID,
		AccountUUID: j.AccountUUID, WebHook: j.WebHook, CreateDate: now, OwnerUUID: s.Owner.UUID, Epoch: s.Owner.Epoch,
	}
}

// insert writes the row of a new job. When it fails, the job is forgotten.
func (s *Service) insert(ctx context.Context, j Job, row *Row) error {
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.Owner.Guard(ctx, tx); err != nil {
			return err
		}
		return store.Insert(ctx, tx, rows, row)
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

// Reject takes a job that has failed before it was accepted. Errors are those of
// Accept.
//
// Of a caller that is known it is kept as any other job is, and its web hook is
// called; of each account the last Settings.Refused ones are. Strangers cause no
// writes: their refusals are in memory, in a ring of their own, so that no number
// of them pushes out what somebody else waits for.
func (s *Service) Reject(ctx context.Context, j Job, cause error) error {
	if err := j.check(); err != nil {
		return err
	}
	if j.AccountUUID == "" {
		return s.rejectStranger(ctx, j, cause)
	}
	if err := s.unused(ctx, j.UUID); err != nil {
		return err
	}
	now := resource.Now()
	e := newEntry(j, now.Time)
	e.kept = true
	if err := s.enter(e); err != nil {
		return err
	}
	row := s.row(j, now)
	row.State, row.Error, row.Why, row.DoneDate = Done, s.config().EncodeError(cause), cause.Error(), now
	row.WebHook = "" // it is called from memory
	s.end(e, Status{Done: true, Err: cause}, nil)
	s.keepRefused(row, s.refuse(j))
	return nil
}

// refusal is a refused job that is to be written, in the place of an old one.
type refusal struct {
	row     *Row
	instead string
}

// maxRefusals is how many refused jobs wait for the database; when there are
// more, they are kept in memory only.
const maxRefusals = 4096

// keepRefused has a refused job written soon, with others: whoever is refused
// does not wait for the database.
func (s *Service) keepRefused(row *Row, instead string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refusals) >= maxRefusals {
		return
	}
	s.refusals = append(s.refusals, refusal{row, instead})
	if !s.writing {
		s.writing = true
		go s.writeRefused()
	}
}

// writeRefused writes refused jobs until none waits.
func (s *Service) writeRefused() {
	for {
		s.mu.Lock()
		batch := s.refusals[:min(len(s.refusals), 64)]
		s.refusals = s.refusals[len(batch):]
		s.writing = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := s.store.Update(ctx, func(tx *store.Tx) error {
			if err := s.Owner.Guard(ctx, tx); err != nil {
				return err
			}
			list := make([]*Row, len(batch))
			for i, r := range batch {
				list[i] = r.row
			}
			if err := store.Insert(ctx, tx, rows, list...); err != nil {
				return err
			}
			for _, r := range batch {
				if r.instead != "" {
					if err := store.Delete(ctx, tx, rows.Type, r.instead); err != nil {
						return err
					}
				}
			}
			return nil
		})
		cancel()
		if err != nil {
			s.log.Warn("refused jobs not kept", "jobs", len(batch), "error", err)
		}
	}
}

// refuse counts a refused job to its account and returns the one that goes for
// it; "" if none does.
func (s *Service) refuse(j Job) (instead string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refused[j.AccountUUID]
	if r == nil {
		r = &ring{}
		s.refused[j.AccountUUID] = r
	}
	return r.put(j.UUID, s.settings.Refused)
}

func (s *Service) rejectStranger(ctx context.Context, j Job, cause error) error {
	if err := s.unused(ctx, j.UUID); err != nil {
		return err
	}
	j.WebHook = ""
	e := newEntry(j, time.Now())
	if err := s.enter(e); err != nil {
		return err
	}
	s.end(e, Status{Done: true, Err: cause}, nil)
	return nil
}

// unused refuses a job whose uuid the database knows.
func (s *Service) unused(ctx context.Context, uuid string) error {
	_, found, err := store.First(ctx, s.store, rows, "uuid = ?", uuid)
	if err == nil && found {
		err = exists(uuid)
	}
	return err
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

// Finish ends a job that no flow ends; what it says of one that has ended is not
// looked at. An error that says the operation goes on (a flow that was stopped
// with the server) ends nothing.
func (s *Service) Finish(ctx context.Context, uuid string, o Outcome) {
	var on interface{ GoesOn() bool }
	if errors.As(o.Err, &on) && on.GoesOn() {
		return
	}
	e := s.entry(uuid)
	if e == nil {
		return // it has ended, and left the memory since
	}
	s.mu.Lock()
	ended, status := e.isDone, e.status
	s.mu.Unlock()
	if ended {
		if o.Err == nil && status.Err != nil {
			s.log.Warn("a call answered although its flow had failed", "job", uuid, "error", status.Err)
		}
		return
	}
	err := s.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return s.endTx(ctx, tx, uuid, o.Err, &o) })
	if err != nil {
		// The client still gets its answer; only after a restart it is lost.
		s.log.Error("end of job not recorded", "job", uuid, "error", err)
	}
	s.conclude(e, o)
}

// endTx is the one place where the row of a job ends: with an error, or with an
// answer; with nil as the answer it is the resource that the job was accepted
// for. A job that has ended, or is unknown, is left as it is.
func (s *Service) endTx(ctx context.Context, tx *store.Tx, uuid string, cause error, answer *Outcome) error {
	if err := s.Owner.Guard(ctx, tx); err != nil {
		return err
	}
	set, args := "`state` = ?, `doneDate` = ?", []any{Done, time.Now().UnixMilli()}
	switch {
	case cause != nil:
		set += ", `error` = ?, `cause` = ?"
		args = append(args, s.config().EncodeError(cause), cause.Error())
	case answer != nil:
		set += ", `resourceType` = ?, `resourceUuid` = ?, `result` = ?"
		args = append(args, orNull(answer.ResourceType), orNull(answer.ResourceUUID), orNull(string(answer.Result)))
	}
	_, err := tx.Exec(ctx, "UPDATE `Job` SET "+set+" WHERE `uuid` = ? AND `state` = ?", append(args, uuid, Processing)...)
	return err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Answers has a job that a flow ends answer what result returns in the flow's last
// transaction, when it has succeeded, instead of the resource that the job was accepted
// for; nil is that all the same, and so is what a flow answers that the next process
// ends. A job that is unknown, or has ended, is left as it is.
func (s *Service) Answers(uuid string, result func() json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[uuid]; e != nil {
		e.answers = result
	}
}

// ofFlow is how a job ends with its flow.
func (s *Service) ofFlow(e *entry, err error) Outcome {
	o := Outcome{Err: err, ResourceType: e.job.ResourceType, ResourceUUID: e.job.ResourceUUID}
	s.mu.Lock()
	result := e.answers
	s.mu.Unlock()
	if err == nil && result != nil {
		o.Result = result()
	}
	return o
}

// CompleteTx ends a job in the transaction of its flow; see flow.Completer.
func (s *Service) CompleteTx(ctx context.Context, tx *store.Tx, uuid string, err error) error {
	if e := s.entry(uuid); e != nil {
		if o := s.ofFlow(e, err); o.Result != nil {
			return s.endTx(ctx, tx, uuid, err, &o)
		}
	}
	return s.endTx(ctx, tx, uuid, err, nil)
}

// Completed tells that the transaction of CompleteTx is committed, and answers
// whoever waits; see flow.Completer.
func (s *Service) Completed(uuid string, err error) {
	if e := s.entry(uuid); e != nil {
		s.conclude(e, s.ofFlow(e, err))
	}
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
	close(e.done)
	s.remember(e)
	s.mu.Unlock()
	if e.job.WebHook != "" {
		s.queueHook(hook{uuid: e.job.UUID, url: e.job.WebHook, account: e.job.AccountUUID, entry: e})
	}
}

// remember keeps an ended job in memory, in the place of the oldest one of its
// kind: what is in memory only, or in the database as well.
func (s *Service) remember(e *entry) {
	r := &s.strangers
	if e.kept {
		r = &s.ended
	}
	if old := r.put(e.job.UUID, s.settings.Remember); old != "" {
		delete(s.entries, old)
	}
}

// ring is a list of jobs of which the last ones are remembered.
type ring struct {
	uuids []string
	next  int
}

// put adds a job and returns the one that falls out when there are most already;
// "" if none does.
func (r *ring) put(uuid string, most int) (old string) {
	if len(r.uuids) < most {
		r.uuids = append(r.uuids, uuid)
		return ""
	}
	old = r.uuids[r.next]
	r.uuids[r.next] = uuid
	r.next = (r.next + 1) % len(r.uuids)
	return old
}
