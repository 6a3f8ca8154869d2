package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// session is a login in memory. Only its times change.
type session struct {
	uuid    string // of the row, see keyOf
	caller  action.Caller
	created time.Time
	expires atomic.Int64 // Unix milliseconds
	used    atomic.Int64 // the last use, Unix milliseconds
	written atomic.Int64 // expires as the database has it
	noted   atomic.Int64 // used as the database has it
}

// sessions keeps the logins in use. The database has all of them; sliding is
// written back by flush, so that a call costs no write.
type sessions struct {
	store *store.Store
	now   func() time.Time

	mu    sync.RWMutex
	known map[string]*session
	// gone counts deletions, so that a load that began before one does not
	// bring the session back.
	gone uint64
}

const (
	// maxSessions bounds the logins in memory; others are read again.
	maxSessions = 65536
	// writeStep is how far a session slides before the database is told.
	writeStep = time.Minute
	// flushEvery is how often that is looked at.
	flushEvery = 5 * time.Second
)

func newSessions(st *store.Store, now func() time.Time) *sessions {
	return &sessions{store: st, now: now, known: map[string]*session{}}
}

func unknownSession() error {
	return errs.New(errs.Unauthenticated, "session", "it is unknown or has expired").WithAdvice("log in again")
}

// keyOf returns the uuid of a session's row. What the client has, its uuid on the
// wire, is 128 random bits that nothing but its client knows: with a copy of the
// database one can use no session.
func keyOf(token string) string {
	sum := sha256.Sum256([]byte("kumo session " + token))
	return hex.EncodeToString(sum[:16])
}

// find returns a client's live session. errs.Unauthenticated.
func (s *sessions) find(ctx context.Context, token string) (*session, error) {
	if !action.IsUUID(token) {
		return nil, unknownSession()
	}
	return s.get(ctx, keyOf(token))
}

// get returns the live session of a row. errs.Unauthenticated.
func (s *sessions) get(ctx context.Context, uuid string) (*session, error) {
	s.mu.RLock()
	x := s.known[uuid]
	s.mu.RUnlock()
	if x == nil {
		var err error
		if x, err = s.load(ctx, uuid); err != nil {
			return nil, err
		}
	}
	if x.expires.Load() <= s.now().UnixMilli() {
		return nil, unknownSession()
	}
	return x, nil
}

func (s *sessions) load(ctx context.Context, uuid string) (*session, error) {
	before := s.generation()
	row, err := store.Get(ctx, s.store, SessionType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil, unknownSession()
	}
	if err != nil {
		return nil, err
	}
	account, err := store.Get(ctx, s.store, AccountType, row.AccountUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return nil, unknownSession()
	}
	if err != nil {
		return nil, err
	}
	x := newSession(row, account)
	if x.expires.Load() <= s.now().UnixMilli() {
		return nil, unknownSession()
	}
	return s.add(x, before), nil
}

// generation changes with every deletion.
func (s *sessions) generation() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gone
}

// add keeps a session that was read or made since generation before, unless
// something was deleted meanwhile: then it is good for this call, and the next
// one reads it again. It returns the one to use.
func (s *sessions) add(x *session, before uint64) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != before {
		return x
	}
	if have := s.known[x.uuid]; have != nil {
		return have
	}
	s.put(x)
	return x
}

func newSession(row *Session, account *Account) *session {
	x := &session{uuid: row.UUID, created: row.CreateDate.Time, caller: action.Caller{SessionUUID: row.UUID,
		AccountUUID: account.UUID, UserUUID: row.UserUUID, Admin: account.Type == SystemAdmin}}
	x.expires.Store(row.ExpiredDate.UnixMilli())
	x.written.Store(row.ExpiredDate.UnixMilli())
	x.used.Store(row.lastUse().UnixMilli())
	x.noted.Store(row.lastUse().UnixMilli())
	return x
}

// put adds a session; mu is held.
func (s *sessions) put(x *session) {
	if len(s.known) >= maxSessions {
		now := s.now().UnixMilli()
		for k, o := range s.known {
			if o.expires.Load() <= now || o.expires.Load() == o.written.Load() {
				delete(s.known, k)
			}
			if len(s.known) < maxSessions*9/10 {
				break
			}
		}
	}
	s.known[x.uuid] = x
}

// slide notes that a session is used and moves its end, never closer.
func (s *sessions) slide(x *session, timeout time.Duration) {
	now := s.now()
	x.used.Store(now.UnixMilli())
	to := now.Add(timeout).UnixMilli()
	for {
		have := x.expires.Load()
		if have >= to || x.expires.CompareAndSwap(have, to) {
			return
		}
	}
}

// drop forgets sessions that were deleted.
func (s *sessions) drop(match func(*session) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	for k, x := range s.known {
		if match(x) {
			delete(s.known, k)
		}
	}
}

// dropOne forgets one session.
func (s *sessions) dropOne(uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	delete(s.known, uuid)
}

// lastUse is when a session was used last, as memory knows it; known is false
// when it is not there.
func (s *sessions) lastUse(uuid string) (at time.Time, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.known[uuid]
	if x == nil {
		return time.Time{}, false
	}
	return time.UnixMilli(x.used.Load()), true
}

// flush writes the ends and last uses of sessions that moved by at least step, all
// in one transaction. A session that is deleted meanwhile stays deleted.
func (s *sessions) flush(ctx context.Context, step time.Duration) error {
	type change struct {
		x        *session
		to, used int64
	}
	moved := func(to, from int64) bool { return to != from && to-from >= step.Milliseconds() }
	var changes []change
	s.mu.RLock()
	for _, x := range s.known {
		if c := (change{x, x.expires.Load(), x.used.Load()}); moved(c.to, x.written.Load()) || moved(c.used, x.noted.Load()) {
			changes = append(changes, c)
		}
	}
	s.mu.RUnlock()
	if len(changes) == 0 {
		return nil
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		for _, c := range changes {
			if _, err := tx.Exec(ctx, "UPDATE `Session` SET `expiredDate` = ?, `lastUseDate` = ? WHERE `uuid` = ? AND `expiredDate` <= ?", c.to, c.used, c.x.uuid, c.to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range changes {
		c.x.written.Store(c.to)
		c.x.noted.Store(c.used)
	}
	return nil
}

// sweep deletes the sessions that ended before now; they do not come back,
// since their end in memory is never before that in the database.
func (s *sessions) sweep(ctx context.Context) error {
	if err := s.flush(ctx, 0); err != nil {
		return err
	}
	now := s.now()
	s.drop(func(x *session) bool { return x.expires.Load() <= now.UnixMilli() })
	return s.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM `Session` WHERE `expiredDate` <= ?", resource.Time{Time: now})
		return err
	})
}
