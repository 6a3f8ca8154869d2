package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

type loginParams struct {
	AccountName string            `api:"accountName,required"`
	Password    string            `api:"password,required,secret,notrim,format=sha512" doc:"The SHA-512 of the password, as lower-case hex digits."`
	AccountType string            `api:"accountType"`
	CaptchaUUID string            `api:"captchaUuid,anytype"`
	VerifyCode  string            `api:"verifyCode"`
	ClientInfo  map[string]string `api:"clientInfo"`
}

type sessionParams struct {
	SessionUUID string `api:"sessionUuid,path,required,anytype"`
}

type logoutParams struct {
	SessionUUID string            `api:"sessionUuid,path,anytype"`
	ClientInfo  map[string]string `api:"clientInfo"`
}

type renewParams struct {
	SessionUUID string `api:"sessionUuid,path,required,anytype"`
	Duration    *int64 `api:"duration,range=60:31536000" doc:"Seconds from now."`
}

// sessionView is a session on the wire.
type sessionView struct {
	UUID        string `json:"uuid"`
	AccountUUID string `json:"accountUuid"`
	UserUUID    string `json:"userUuid"`
	UserType    string `json:"userType"`
	ExpiredDate string `json:"expiredDate"`
	CreateDate  string `json:"createDate"`
}

type sessionReply struct {
	Inventory sessionView `json:"inventory"`
}

type validReply struct {
	Valid bool `json:"valid"`
}

func viewOf(uuid string, c action.Caller, expires, created time.Time) sessionReply {
	return sessionReply{Inventory: sessionView{UUID: uuid, AccountUUID: c.AccountUUID, UserUUID: c.UserUUID, UserType: "AccountVO",
		ExpiredDate: action.FormatTime(expires), CreateDate: action.FormatTime(created)}}
}

func (s *Service) registerSessions(r *action.Registry) {
	action.Register(r, action.Action{Message: "APILogInByAccountMsg", Method: "PUT", Path: "/accounts/login",
		Access: action.Anonymous, View: action.View{Verb: "log-in"}, Doc: "Opens a session."}, s.apiLogin)
	action.Register(r, action.Action{Message: "APIValidateSessionMsg", Method: "GET", Path: "/accounts/sessions/{sessionUuid}/valid",
		Access: action.Anonymous, Doc: "Tells whether a session is alive, without using it."}, s.apiValidate)
	action.Register(r, action.Action{Message: "APILogOutMsg", Method: "DELETE", Path: "/accounts/sessions/{sessionUuid}",
		Access: action.Anonymous, Removes: action.Removes(s.endedSession), Doc: "Ends a session; one that is unknown is a success."}, s.apiLogout)
	action.Register(r, action.Action{Message: "APIRenewSessionMsg", Method: "PUT", Path: "/accounts/sessions/{sessionUuid}/renew",
		Async: true, Access: action.Normal, View: action.View{Verb: "renew"}, Doc: "Lets a session live longer."}, s.apiRenew)
}

func wrongPassword(name string) error {
	return action.WithCode("ID.1000", errs.New(errs.Unauthenticated, "account "+name, "the account name or the password is wrong"))
}

// nobody is hashed when there is no such account, so that the time of the
// answer does not tell which names exist. It is the hash of nothing known.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// apiLogin checks the password and opens a session. Errors: ID.1000 for a
// wrong name or password, ID.1006 for too many sessions where the settings want
// that refused, errs.Unavailable for too many wrong guesses.
func (s *Service) apiLogin(ctx context.Context, c *action.Call, p *loginParams) (sessionReply, error) {
	if len(p.AccountName) > 1020 || len(p.Password) > 1020 { // longer than any that could be stored
		return sessionReply{}, wrongPassword(p.AccountName[:min(len(p.AccountName), 64)])
	}
	account, found, err := store.First(ctx, s.store, AccountType, s.named(), schemasql.Fold(p.AccountName))
	if err != nil {
		return sessionReply{}, err
	}
	stored, subject := nobody, strange(p.AccountName)
	if found {
		stored, subject = account.Password, account.UUID
	}
	if !s.hasher.remembered(stored, p.Password) {
		ok, err := s.check(ctx, c, subject, found, p.AccountName, stored, p.Password)
		if err != nil {
			return sessionReply{}, err
		}
		if !ok || !found {
			return sessionReply{}, wrongPassword(p.AccountName)
		}
	}
	return s.open(ctx, c, account.UUID, account.Password)
}

// strange stands for a name that no account has, however it is written, in as
// many letters as a UUID.
func strange(name string) string {
	sum := sha256.Sum256([]byte(schemasql.Fold(strings.TrimSpace(name))))
	return hex.EncodeToString(sum[:16])
}

// check checks a password that a client sent for an account, as slowly as its
// network may guess at that. subject is the account's UUID: the account is what is
// guessed at, however its name is written, as the database does not tell upper
// case from lower, nor some letters from others.
func (s *Service) check(ctx context.Context, c *action.Call, subject string, known bool, name, stored, password string) (ok bool, err error) {
	network := networkOf(c.Client)
	guess := network + " " + subject
	if !s.guesses.begin(ctx, guess) {
		return false, errs.New(errs.Unavailable, "account "+name, "there were too many wrong passwords from this address").
			WithAdvice("wait a few seconds and try again")
	}
	was := unseen
	defer func() { s.guesses.end(guess, was) }()
	ok, err = s.hasher.verify(ctx, place{network, known}, stored, password)
	was = outcomeOf(ok && known, err)
	return ok, err
}

// open makes a session for an account whose password has not changed since it
// was checked. From then on the call is that account's, for the audit.
func (s *Service) open(ctx context.Context, c *action.Call, accountUUID, checked string) (sessionReply, error) {
	var row *Session
	var account *Account
	token := action.NewUUID()
	before := s.sessions.generation()
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if account, err = store.Get(ctx, tx, AccountType, accountUUID); err != nil {
			return err
		}
		if account.Password != checked {
			return wrongPassword(account.Name)
		}
		row, err = s.newSession(ctx, tx, account, token)
		return err
	})
	if err != nil {
		return sessionReply{}, err
	}
	x := newSession(row, account)
	s.sessions.add(x, before)
	c.Caller = x.caller
	return viewOf(token, x.caller, row.ExpiredDate.Time, x.created), nil
}

func (s *Service) apiValidate(ctx context.Context, _ *action.Call, p *sessionParams) (validReply, error) {
	_, err := s.sessions.find(ctx, p.SessionUUID)
	switch errs.ClassOf(err) {
	case "":
		return validReply{Valid: true}, nil
	case errs.Unauthenticated:
		return validReply{}, nil
	}
	return validReply{}, err
}

// endedSession is the plan of a log-out: whoever knows a session's UUID may end it.
func (s *Service) endedSession(_ context.Context, _ *action.Call, p *logoutParams) (action.Removal, error) {
	row := action.Row{Type: SessionType.Name, UUID: keyOf(p.SessionUUID)}
	return action.Removal{Subject: row, Rows: []action.Row{row}}, nil
}

func (s *Service) apiLogout(ctx context.Context, _ *action.Call, p *logoutParams) (action.Empty, error) {
	if !action.IsUUID(p.SessionUUID) {
		return action.Empty{}, nil // no session has such a name
	}
	uuid := keyOf(p.SessionUUID)
	// Strangers ask for anything: only a session that exists costs a write.
	if _, err := store.Get(ctx, s.store, SessionType, uuid); err != nil {
		if errs.ClassOf(err) == errs.NotFound {
			return action.Empty{}, nil
		}
		return action.Empty{}, err
	}
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(func() { s.sessions.dropOne(uuid) })
		return store.Delete(ctx, tx, SessionType.Type, uuid)
	})
}

func (s *Service) apiRenew(ctx context.Context, c *action.Call, p *renewParams) (sessionReply, error) {
	x, err := s.sessions.find(ctx, p.SessionUUID)
	switch {
	case errs.ClassOf(err) == errs.Unauthenticated: // not the caller's own
		return sessionReply{}, errs.New(errs.NotFound, "session", "it is unknown or has ended")
	case err != nil:
		return sessionReply{}, err
	case !c.Caller.Admin && x.caller.AccountUUID != c.Caller.AccountUUID:
		return sessionReply{}, errs.New(errs.Refused, "session", "it is another account's")
	}
	d := s.timeout(ctx)
	if p.Duration != nil {
		d = time.Duration(*p.Duration) * time.Second
	}
	s.sessions.slide(x, d)
	expires := time.UnixMilli(x.expires.Load())
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(func() { x.written.Store(expires.UnixMilli()) })
		return store.Set(ctx, tx, SessionType.Type, x.uuid, map[string]any{"expiredDate": resource.Time{Time: expires}})
	})
	return viewOf(p.SessionUUID, x.caller, expires, x.created), err
}
