package identity

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// What a log-in does when the account has as many sessions as it may have.
const (
	endIdle = "EndIdle"
	refuse  = "Refuse"
)

// Bounds of what one log-in looks at and ends. Those that the database has as
// used last are not looked at: they can be the longest idle ones only when more
// than spare others were used within the minute that the database lags.
const (
	maxEnded = 1024
	spare    = 1024
)

// makeRoom sees to it that an account may have one session more. Clients that log
// in and never out must not keep anybody out, so the session that was not used
// for longest ends; an administrator gets in whatever the setting says.
func (s *Service) makeRoom(ctx context.Context, tx *store.Tx, account *Account, now time.Time) error {
	const alive = "`userUuid` = ? AND `expiredDate` > ?"
	n, err := store.Count(ctx, tx, SessionType.Type, alive, account.UUID, resource.Time{Time: now})
	if err != nil {
		return err
	}
	limit := s.config.Int64(ctx, category, "session.maxConcurrent", "")
	if n < limit {
		return nil
	}
	if account.Type != SystemAdmin && s.config.String(ctx, category, "session.whenFull", "") == refuse {
		return action.WithCode("ID.1006", errs.New(errs.Exhausted, "account "+account.Name, "it has %d sessions, the most allowed", n).
			WithAdvice("log out sessions that are not used, or have an administrator raise identity/session.maxConcurrent or set identity/session.whenFull to EndIdle"))
	}
	ended := min(n-limit+1, maxEnded)
	rows, err := store.Find(ctx, tx, SessionType, alive+" ORDER BY `lastUseDate`, `createDate` LIMIT ?", account.UUID, resource.Time{Time: now}, ended+spare)
	if err != nil {
		return err
	}
	idle := s.longestIdle(rows, int(ended))
	s.log.Debug("sessions end for a new one", "account", account.Name, "sessions", n, "limit", limit, "ended", len(idle))
	return s.deleteSessions(ctx, tx, "`uuid` IN (?)", []any{idle}, func(x *session) bool { return slices.Contains(idle, x.uuid) })
}

// longestIdle returns the UUIDs of the n sessions whose last use is furthest back.
func (s *Service) longestIdle(rows []*Session, n int) []string {
	type idle struct {
		uuid string
		used time.Time
	}
	all := make([]idle, len(rows))
	for i, r := range rows {
		all[i] = idle{r.UUID, r.lastUse()}
		if used, ok := s.sessions.lastUse(r.UUID); ok && used.After(all[i].used) {
			all[i].used = used
		}
	}
	slices.SortStableFunc(all, func(a, b idle) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.uuid, b.uuid)) })
	var uuids []string
	for _, x := range all[:min(n, len(all))] {
		uuids = append(uuids, x.uuid)
	}
	return uuids
}
