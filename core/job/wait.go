package job

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Wait returns the status of a job as soon as it is done, or as it is when max
// has passed or ctx has ended. It waits on a signal; when too many wait
// already, it answers at once. errs.NotFound says that there is no such job,
// or that it has expired.
func (s *Service) Wait(ctx context.Context, uuid string, max time.Duration) (Status, error) {
	e := s.entry(uuid)
	if e == nil {
		return s.stored(ctx, uuid)
	}
	s.hold(ctx, e, max)
	s.mu.Lock()
	st, later := e.status, e.later
	expired := e.isDone && time.Since(e.created) > s.settings.Expiry
	s.mu.Unlock()
	if expired {
		return Status{}, unknown(uuid)
	}
	if later != nil {
		return s.answer(ctx, *later)
	}
	return st, nil
}

// Find returns a job as it was accepted, also one that has expired and is still
// there; false when there is none.
func (s *Service) Find(ctx context.Context, uuid string) (Job, bool, error) {
	if e := s.entry(uuid); e != nil {
		return e.job, true, nil
	}
	row, found, err := store.First(ctx, s.store, rows, "uuid = ?", uuid)
	if err != nil || !found {
		return Job{}, false, err
	}
	return Job{UUID: row.UUID, Message: row.Message, ResourceType: row.ResourceType, ResourceUUID: row.ResourceUUID,
		AccountUUID: row.AccountUUID, WebHook: row.WebHook}, true, nil
}

// hold returns when the job is done, or need not be waited for any longer.
func (s *Service) hold(ctx context.Context, e *entry, max time.Duration) {
	s.mu.Lock()
	if e.isDone || max <= 0 || s.waiters >= s.settings.Waiters {
		s.mu.Unlock()
		return
	}
	s.waiters++
	s.mu.Unlock()
	timer := time.NewTimer(max)
	defer timer.Stop()
	select {
	case <-e.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.waiters--
	s.mu.Unlock()
}

func unknown(uuid string) error {
	return errs.New(errs.NotFound, "job "+uuid, "there is no such job, or it has expired")
}

// stored returns the status of a job that is not in memory.
func (s *Service) stored(ctx context.Context, uuid string) (Status, error) {
	row, found, err := store.First(ctx, s.store, rows, "uuid = ?", uuid)
	if err != nil {
		return Status{}, err
	}
	c := s.config()
	if !found || row.State == Done && time.Since(row.CreateDate.Time) > c.Expiry {
		return Status{}, unknown(uuid)
	}
	return s.statusOf(ctx, row, c)
}

func (s *Service) statusOf(ctx context.Context, row *Row, c Settings) (Status, error) {
	switch {
	case row.State != Done:
		return Status{}, nil
	case row.Error != "":
		return Status{Done: true, Err: c.DecodeError(row.Error)}, nil
	}
	o := Outcome{ResourceType: row.ResourceType, ResourceUUID: row.ResourceUUID}
	if row.Result != "" {
		o.Result = json.RawMessage(row.Result)
	}
	return s.answer(ctx, o)
}

// Stats is what the service holds now.
type Stats struct {
	// Processing jobs have not ended; Remembered ones have, and are in memory.
	Processing, Remembered int
	// Waiting polls are held open; Hooks wait to be delivered.
	Waiting, Hooks int
}

// Stats returns a snapshot.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	remembered := len(s.ended.uuids) + len(s.strangers.uuids)
	return Stats{Processing: len(s.entries) - remembered, Remembered: remembered, Waiting: s.waiters, Hooks: s.pending}
}
