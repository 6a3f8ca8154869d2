package identity

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Service implements action.Authenticator and the API messages of accounts,
// sessions and access keys. It is safe for concurrent use.
type Service struct {
	store    *store.Store
	config   *config.Service
	tags     *tag.Service
	log      hclog.Logger
	now      func() time.Time
	sessions *sessions
	keys     *keys
	hasher   *hasher
	guesses  *throttle

	stop context.CancelFunc
	done sync.WaitGroup
}

const category = "identity"

// New makes the service.
func New(st *store.Store, cfg *config.Service, tags *tag.Service, log hclog.Logger) *Service {
	return newService(st, cfg, tags, log, time.Now)
}

func newService(st *store.Store, cfg *config.Service, tags *tag.Service, log hclog.Logger, now func() time.Time) *Service {
	return &Service{store: st, config: cfg, tags: tags, log: log, now: now, sessions: newSessions(st, now), keys: newKeys(st),
		hasher: newHasher(now), guesses: newThrottle(now)}
}

// settings defines what can be set of log-ins (global-configs.json, categories
// identity and rest).
func (s *Service) settings() error {
	for _, d := range []config.Setting{
		{Category: category, Name: "session.timeout", Type: "int", Default: "7200", Min: 1, Max: 31535999, Doc: "Seconds that a session lives after its last use."},
		{Category: category, Name: "session.maxConcurrent", Type: "int", Default: "500", Min: 1, Doc: "Sessions that one user may have at once."},
		{Category: category, Name: "session.whenFull", Type: "string", Default: endIdle, Values: []string{endIdle, refuse},
			Doc: "What a log-in beyond session.maxConcurrent does: EndIdle ends the session that was not used for longest, Refuse refuses the log-in; an administrator is never refused."},
		{Category: category, Name: "session.cleanup.interval", Type: "int", Default: "3600", Min: 2, Doc: "Seconds between two deletions of ended sessions."},
		{Category: category, Name: "enable.unique.session", Type: "string", Default: "false", Values: []string{"true", "false"}, Doc: "Whether a log-in ends the user's other sessions."},
		{Category: "rest", Name: "checkTimeZone", Type: "bool", Default: "false", Values: []string{"true", "false"},
			Doc: "Whether the Date of a signed request must be right with its zone; otherwise its clock time may also be the server's."},
	} {
		if err := s.config.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// Start runs the writing back and cleaning of sessions until Stop.
func (s *Service) Start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.run(ctx)
	}()
}

func (s *Service) run(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	swept := s.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
		}
		if err := s.sessions.flush(ctx, s.writeStep(ctx)); err != nil && ctx.Err() == nil {
			s.log.Warn("sessions were not written back, they will be later", "error", err)
		}
		if s.now().Sub(swept) < s.config.Duration(ctx, category, "session.cleanup.interval", "") {
			continue
		}
		swept = s.now()
		if err := s.sessions.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("ended sessions were not deleted, they will be later", "error", err)
		}
	}
}

// writeStep is a minute, less for short sessions.
func (s *Service) writeStep(ctx context.Context) time.Duration {
	return min(writeStep, s.timeout(ctx)/4)
}

func (s *Service) timeout(ctx context.Context) time.Duration {
	return s.config.Duration(ctx, category, "session.timeout", "")
}

// Stop ends Start and writes back how far sessions have slid. ctx bounds it.
func (s *Service) Stop(ctx context.Context) error {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
	return s.sessions.flush(ctx, 0)
}

// Authenticate implements action.Authenticator. A session that is used lives on
// for another timeout.
func (s *Service) Authenticate(ctx context.Context, c action.Credentials) (action.Caller, error) {
	if c.SessionUUID == "" {
		return s.keys.authenticate(ctx, &c)
	}
	x, err := s.sessions.find(ctx, c.SessionUUID)
	if err != nil {
		return action.Caller{}, err
	}
	s.sessions.slide(x, s.timeout(ctx))
	return x.caller, nil
}

// Alive reports whether the session of a caller is still good. It does not live
// longer for being asked about, as it does for a call.
func (s *Service) Alive(ctx context.Context, c action.Caller) bool {
	_, err := s.sessions.get(ctx, c.SessionUUID)
	return err == nil
}

// Bootstrap makes the admin account with a password, unless it is there. The
// password is plain text; it is never logged.
func (s *Service) Bootstrap(ctx context.Context, password string) error {
	if password == "" {
		return errs.New(errs.Invalid, "admin account", "its first password must not be empty")
	}
	_, err := store.Get(ctx, s.store, AccountType, AdminUUID)
	if err == nil || errs.ClassOf(err) != errs.NotFound {
		return err
	}
	hash, err := s.hasher.hash(ctx, AdminUUID, wirePassword(password))
	if err != nil {
		return err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		row := &Account{UUID: AdminUUID, Name: "admin", Type: SystemAdmin, Password: hash}
		row.AccountUUID = AdminUUID
		return store.Insert(ctx, tx, AccountType, row)
	})
	if errs.ClassOf(err) == errs.Exists {
		return nil // another node was faster
	}
	return err
}

// deleteSessions ends the sessions for which an SQL condition holds.
func (s *Service) deleteSessions(ctx context.Context, tx *store.Tx, where string, args []any, match func(*session) bool) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `Session` WHERE "+where, args...); err != nil {
		return err
	}
	tx.OnCommit(func() { s.sessions.drop(match) })
	return nil
}

// newSession makes the row of a session that its client has a token for, within
// the account's limit.
func (s *Service) newSession(ctx context.Context, tx *store.Tx, account *Account, token string) (*Session, error) {
	now := s.now()
	if s.config.String(ctx, category, "enable.unique.session", "") == "true" {
		err := s.deleteSessions(ctx, tx, "`userUuid` = ?", []any{account.UUID}, func(x *session) bool { return x.caller.UserUUID == account.UUID })
		if err != nil {
			return nil, err
		}
	}
	if err := s.makeRoom(ctx, tx, account, now); err != nil {
		return nil, err
	}
	row := &Session{UUID: keyOf(token), UserUUID: account.UUID, ExpiredDate: resource.Time{Time: now.Add(s.timeout(ctx))},
		LastUseDate: resource.Time{Time: now}, CreateDate: resource.Time{Time: now}}
	row.AccountUUID = account.UUID
	return row, store.Insert(ctx, tx, SessionType, row)
}
