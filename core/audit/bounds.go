package audit

import (
	"context"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
)

// How many refused calls are recorded: of one account, or of one address when
// the caller is not known, and of all callers that are not known together.
const (
	refusedBurst  = 60
	refusedEvery  = 6 * time.Second // one more
	strangerBurst = 600
	strangerEvery = time.Second
	maxCallers    = 4096
)

// bucket holds what may be recorded at once.
type bucket struct {
	left int
	at   time.Time
}

func (b *bucket) take(now time.Time, burst int, every time.Duration) bool {
	if more := int(now.Sub(b.at) / every); more > 0 {
		b.left, b.at = min(burst, b.left+more), now
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}

// limiter bounds the records of refused calls.
type limiter struct {
	mu        sync.Mutex
	callers   map[string]*bucket
	strangers bucket
}

func newLimiter() limiter {
	return limiter{callers: map[string]*bucket{}, strangers: bucket{left: strangerBurst, at: time.Now()}}
}

func (l *limiter) allow(c *action.Call, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := c.Caller.AccountUUID
	stranger := key == ""
	if stranger {
		key = "address " + c.Client
	}
	b := l.callers[key]
	if b == nil {
		if len(l.callers) >= maxCallers {
			clear(l.callers)
		}
		b = &bucket{left: refusedBurst, at: now}
		l.callers[key] = b
	}
	return b.take(now, refusedBurst, refusedEvery) && (!stranger || l.strangers.take(now, strangerBurst, strangerEvery))
}

const (
	sweepEvery = time.Hour
	sweepBatch = 1000
)

// Start removes old records now and then until ctx ends.
func (s *Service) Start(ctx context.Context) {
	for {
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("old records not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// Sweep removes the records that are older than the setting says, and returns
// their number.
func (s *Service) Sweep(ctx context.Context) (removed int, err error) {
	days := s.config.Int64(ctx, "audit", "retention.days", "")
	before := time.Now().Add(-time.Duration(days) * 24 * time.Hour).UnixMilli()
	for {
		old, err := store.Texts(ctx, s.store, "SELECT `uuid` FROM `Audit` WHERE `createDate` < ? LIMIT ?", before, sweepBatch)
		if err != nil || len(old) == 0 {
			return removed, err
		}
		err = s.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM `Audit` WHERE `uuid` IN (?)", old)
			return err
		})
		if err != nil {
			return removed, err
		}
		removed += len(old)
	}
}
