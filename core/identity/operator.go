package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

// OpenSession is a session as the operator of the server's machine is shown it.
type OpenSession struct {
	// Session tells sessions apart, in audit records too, and cannot be used as one.
	Session     string `json:"session"`
	Account     string `json:"account"`
	AccountUUID string `json:"accountUuid"`
	CreateDate  string `json:"createDate"`
	LastUseDate string `json:"lastUseDate"`
	ExpiredDate string `json:"expiredDate"`
}

// Named returns the account of a name, the first administrator for "".
// errs.NotFound.
func (s *Service) Named(ctx context.Context, name string) (*Account, error) {
	where, arg := s.named(), schemasql.Fold(schemasql.Compose(name))
	if name == "" {
		where, arg = "`uuid` = ?", AdminUUID
	}
	row, found, err := store.First(ctx, s.store, AccountType, where, arg)
	if err == nil && !found {
		err = errs.New(errs.NotFound, "account "+name, "there is none of this name").WithAdvice("look at its spelling; without --account it is the first administrator, and kumo admin sessions lists those who are signed in")
	}
	return row, err
}

// ResetPassword gives an account a new password, in plain text, and ends its
// sessions, whose number it returns: whoever was signed in signs in again. Wrong
// guesses are forgotten. It may be repeated.
func (s *Service) ResetPassword(ctx context.Context, account *Account, password string) (ended int, err error) {
	if password == "" {
		return 0, errs.New(errs.Invalid, "new password of account "+account.Name, "it must not be empty")
	}
	hash, err := s.hasher.hash(ctx, "", wirePassword(password))
	if err != nil {
		return 0, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if ended, err = s.endAll(ctx, tx, account.UUID); err != nil {
			return err
		}
		return store.Set(ctx, tx, AccountType.Type, account.UUID, map[string]any{"password": hash})
	})
	if err == nil {
		s.guesses.forgive(account.UUID)
	}
	return ended, err
}

// OpenSessions returns the sessions that have not ended, of an account or, when
// its UUID is "", of all, those first that were used last; maxShown at most.
func (s *Service) OpenSessions(ctx context.Context, accountUUID string) ([]OpenSession, error) {
	where, args := "`expiredDate` > ?", []any{resource.Time{Time: s.now()}}
	if accountUUID != "" {
		where, args = where+" AND `accountUuid` = ?", append(args, accountUUID)
	}
	// What memory knows better is written first.
	if err := s.sessions.flush(ctx, 0); err != nil {
		return nil, err
	}
	rows, err := store.Find(ctx, s.store, SessionType, where+" ORDER BY `lastUseDate` DESC, `createDate` DESC LIMIT ?", append(args, maxShown)...)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	accounts, err := store.Find(ctx, s.store, AccountType, "`uuid` IN (SELECT `accountUuid` FROM `Session`)")
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		names[a.UUID] = a.Name
	}
	all := make([]OpenSession, len(rows))
	for i, r := range rows {
		sum := sha256.Sum256([]byte(r.UUID))
		all[i] = OpenSession{Session: hex.EncodeToString(sum[:8]), Account: names[r.AccountUUID], AccountUUID: r.AccountUUID,
			CreateDate: action.FormatTime(r.CreateDate.Time), LastUseDate: action.FormatTime(r.lastUse()), ExpiredDate: action.FormatTime(r.ExpiredDate.Time)}
	}
	return all, nil
}

// maxShown bounds the sessions that are listed at once.
const maxShown = 10000

// EndSessions ends the sessions of an account or, when its UUID is "", of all, and
// returns their number. It may be repeated.
func (s *Service) EndSessions(ctx context.Context, accountUUID string) (ended int, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) (err error) {
		ended, err = s.endAll(ctx, tx, accountUUID)
		return err
	})
	return ended, err
}

// endAll ends the sessions of an account, "" for all accounts, and counts those
// that had not ended by themselves.
func (s *Service) endAll(ctx context.Context, tx *store.Tx, accountUUID string) (int, error) {
	where, args := "(`accountUuid` = ? OR ? = '')", []any{accountUUID, accountUUID}
	n, err := store.Count(ctx, tx, SessionType.Type, where+" AND `expiredDate` > ?", append(args, resource.Time{Time: s.now()})...)
	if err != nil {
		return 0, err
	}
	return int(n), s.deleteSessions(ctx, tx, where, args, func(x *session) bool { return accountUUID == "" || x.caller.AccountUUID == accountUUID })
}
