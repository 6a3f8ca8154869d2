package job

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// sweepBatch is how many expired jobs one transaction deletes.
const sweepBatch = 500

// Start takes up what the last process left: jobs in goesOn (flow.Engine.Jobs)
// end with their flow, all others that were processing have failed, and web
// hooks that were not delivered are called. It then deletes expired jobs until
// ctx ends. It is called once, before flows are resumed and calls are taken.
func (s *Service) Start(ctx context.Context, goesOn map[string]bool) error {
	var lost []string
	broken := func(uuid string, err error) {
		store.PassedOver(s.log)(uuid, err)
		lost = append(lost, uuid) // nobody can go on with it
	}
	left, err := store.Sound(ctx, s.store, rows, broken, "`state` = ?", Processing)
	if err != nil {
		return err
	}
	for _, row := range left {
		if !goesOn[row.UUID] {
			lost = append(lost, row.UUID)
			continue
		}
		e := newEntry(Job{UUID: row.UUID, Message: row.Message, ResourceType: row.ResourceType, ResourceUUID: row.ResourceUUID,
			AccountUUID: row.AccountUUID, WebHook: row.WebHook}, row.CreateDate.Time)
		e.kept = true
		if err := s.enter(e); err != nil {
			return err
		}
	}
	if err := s.failLost(ctx, lost); err != nil {
		return err
	}
	s.loadHooks(ctx)
	go s.sweepEvery(ctx)
	return nil
}

func (s *Service) failLost(ctx context.Context, lost []string) error {
	cause := errs.New(errs.Unavailable, "operation", "the management node stopped before it had begun, or before it was recorded").
		WithAdvice("look at the resource and repeat the call if it had no effect")
	text := s.config().EncodeError(cause)
	for len(lost) > 0 {
		batch := lost[:min(len(lost), sweepBatch)]
		lost = lost[len(batch):]
		err := s.store.Update(ctx, func(tx *store.Tx) error {
			if err := s.Owner.Guard(ctx, tx); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE `Job` SET `state` = ?, `error` = ?, `cause` = ?, `doneDate` = ? WHERE `uuid` IN (?)",
				Done, text, cause.Error(), resource.Now().UnixMilli(), batch)
			return err
		})
		if err != nil {
			return err
		}
		s.log.Warn("jobs ended with the last process", "jobs", len(batch))
	}
	return nil
}

func (s *Service) sweepEvery(ctx context.Context) {
	for {
		if n, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("expired jobs not deleted", "error", err)
		} else if n > 0 {
			s.log.Debug("expired jobs deleted", "jobs", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.config().SweepEvery):
		}
	}
}

// Sweep deletes the ended jobs that have expired and returns their number.
// Start calls it regularly.
func (s *Service) Sweep(ctx context.Context) (deleted int, err error) {
	c := s.config()
	before := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
	for {
		batch, err := store.Texts(ctx, s.store,
			"SELECT `uuid` FROM `Job` WHERE `createDate` < ? AND (`error` IS NULL OR `createDate` < ?) AND `state` = ? AND `webHook` IS NULL LIMIT ?",
			before(c.Expiry), before(max(c.KeepFailed, c.Expiry)), Done, sweepBatch)
		if err != nil || len(batch) == 0 {
			return deleted, err
		}
		err = s.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM `Job` WHERE `uuid` IN (?)", batch)
			return err
		})
		if err != nil {
			return deleted, err
		}
		deleted += len(batch)
	}
}

// Stop ends the delivery of web hooks: the calls that run are awaited until
// ctx ends, the others are made after the next start.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.hooks.Drain(now); err == nil { // drops what waits
		return nil
	}
	return s.hooks.Drain(ctx)
}
