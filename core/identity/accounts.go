package identity

import (
	"context"
	"fmt"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	schemasql "github.com/kumo-cloud/kumo/sql"
)

type createAccountParams struct {
	Name        string `api:"name,required,max=255"`
	Password    string `api:"password,required,secret,notrim,max=255,format=sha512" doc:"The SHA-512 of the password, as lower-case hex digits."`
	Type        string `api:"type,values=SystemAdmin|Normal"`
	Description string `api:"description,max=2048"`
}

type updateAccountParams struct {
	UUID        string  `api:"uuid,path,required,resource=Account"`
	Name        *string `api:"name,max=255"`
	Description *string `api:"description,max=2048"`
	Password    *string `api:"password,secret,notrim,max=255,format=sha512"`
	OldPassword *string `api:"oldPassword,secret,notrim,max=255,format=sha512"`
}

type deleteAccountParams struct {
	UUID string `api:"uuid,path,required,resource=Account,missingok"`
}

type createKeyParams struct {
	AccountUUID string `api:"accountUuid,required,max=32,resource=Account,write"`
	UserUUID    string `api:"userUuid,required,max=32,anytype"`
	Description string `api:"description,max=2048"`
	KeyID       string `api:"AccessKeyID,min=10,max=20"`
	Secret      string `api:"AccessKeySecret,secret,min=10,max=40"`
}

type keyStateParams struct {
	UUID       string `api:"uuid,path,required,resource=AccessKey"`
	StateEvent string `api:"stateEvent,required,values=enable|disable"`
}

type deleteKeyParams struct {
	UUID string `api:"uuid,path,required,resource=AccessKey,missingok"`
}

// keyView is an access key on the wire, with its secret: only the answer of
// its creation shows it.
type keyView struct {
	UUID        string `json:"uuid"`
	Description string `json:"description,omitempty"`
	AccountUUID string `json:"accountUuid"`
	UserUUID    string `json:"userUuid"`
	KeyID       string `json:"AccessKeyID"`
	Secret      string `json:"AccessKeySecret"`
	State       string `json:"state"`
	CreateDate  string `json:"createDate"`
	LastOpDate  string `json:"lastOpDate"`
}

type keyReply struct {
	Inventory keyView `json:"inventory"`
}

// Register defines the settings and adds the API messages of accounts, sessions
// and access keys.
func (s *Service) Register(r *action.Registry) error {
	s.registerSessions(r)
	s.registerSharing(r)
	action.Register(r, action.Action{Message: "APICreateAccountMsg", Method: "POST", Path: "/accounts", Async: true, Access: action.Admin,
		Create: true, Returns: "Account", Doc: "Creates an account."}, s.apiCreateAccount)
	action.Register(r, action.Action{Message: "APIUpdateAccountMsg", Method: "PUT", Path: "/accounts/{uuid}", Async: true, Access: action.Normal,
		Returns: "Account", Doc: "Changes an account's name, description or password."}, s.apiUpdateAccount)
	action.Register(r, action.Action{Message: "APIDeleteAccountMsg", Method: "DELETE", Path: "/accounts/{uuid}", Async: true, Access: action.Normal,
		Removes: action.Removes(s.goneAccount), Doc: "Deletes an account that owns nothing any more."}, s.apiDeleteAccount)
	action.Register(r, action.Action{Message: "APICreateAccessKeyMsg", Method: "POST", Path: "/accesskeys", Async: true, Access: action.Normal,
		Create: true, Returns: "AccessKey", Doc: "Creates an access key. Its secret is shown in this answer only."}, s.apiCreateKey)
	action.Register(r, action.Action{Message: "APIChangeAccessKeyStateMsg", Method: "PUT", Path: "/accesskeys/{uuid}/actions", Async: true, Access: action.Normal,
		Returns: "AccessKey", Doc: "Enables or disables an access key."}, s.apiKeyState)
	action.Register(r, action.Action{Message: "APIDeleteAccessKeyMsg", Method: "DELETE", Path: "/accesskeys/{uuid}", Async: true, Access: action.Normal,
		Doc: "Deletes an access key."}, s.apiDeleteKey)
	return s.settings()
}

func (s *Service) apiCreateAccount(ctx context.Context, c *action.Call, p *createAccountParams) (action.Ref, error) {
	ref := action.Ref{Type: "Account", UUID: c.ResourceUUID}
	hash, err := s.hasher.hash(ctx, c.Caller.AccountUUID, p.Password)
	if err != nil {
		return ref, err
	}
	if p.Type == "" {
		p.Type = Normal
	}
	return ref, s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.nameIsFree(ctx, tx, p.Name, c.ResourceUUID); err != nil {
			return err
		}
		row := &Account{UUID: c.ResourceUUID, Name: p.Name, Description: p.Description, Type: p.Type, Password: hash}
		row.AccountUUID = row.UUID
		if err := store.Insert(ctx, tx, AccountType, row); err != nil {
			return err
		}
		return s.tags.CreateFor(ctx, tx, "Account", row.UUID, c)
	})
}

// named is the condition for an account's name in the letters of sql.Fold.
func (s *Service) named() string { return "`" + s.store.Dialect().FoldedName() + "` = ?" }

// nameIsFree refuses a name that another account has; people log in by name.
func (s *Service) nameIsFree(ctx context.Context, tx *store.Tx, name, self string) error {
	other, found, err := store.First(ctx, tx, AccountType, s.named(), schemasql.Fold(name))
	if err != nil {
		return err
	}
	if found && other.UUID != self {
		return errs.New(errs.Exists, "account "+name, "there is an account of this name already")
	}
	return nil
}

func (s *Service) apiUpdateAccount(ctx context.Context, c *action.Call, p *updateAccountParams) (action.Ref, error) {
	ref := action.Ref{Type: "Account", UUID: p.UUID}
	before, err := store.Get(ctx, s.store, AccountType, p.UUID)
	if err != nil {
		return ref, err
	}
	if p.OldPassword != nil {
		if ok, err := s.check(ctx, c, before.UUID, true, before.Name, before.Password, *p.OldPassword); err != nil || !ok {
			if err == nil {
				err = wrongPassword(before.Name)
			}
			return ref, err
		}
	}
	values := map[string]any{}
	if p.Name != nil && *p.Name != "" {
		values["name"] = *p.Name
	}
	if p.Description != nil {
		values["description"] = *p.Description
	}
	if p.Password != nil {
		if *p.Password == "" {
			return ref, errs.New(errs.Invalid, "parameter password of "+c.Message, "it must not be empty")
		}
		if values["password"], err = s.hasher.hash(ctx, c.Caller.AccountUUID, *p.Password); err != nil {
			return ref, err
		}
	}
	if len(values) == 0 {
		return ref, nil
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error { return s.saveAccount(ctx, tx, c, before, values) })
	if err == nil && p.Password != nil {
		s.guesses.forgive(before.UUID) // those were guesses at another password
	}
	return ref, err
}

func (s *Service) saveAccount(ctx context.Context, tx *store.Tx, c *action.Call, before *Account, values map[string]any) error {
	now, err := store.Get(ctx, tx, AccountType, before.UUID)
	if err != nil {
		return err
	}
	if now.Password != before.Password {
		return errs.New(errs.Refused, "account "+before.Name, "its password was changed meanwhile")
	}
	if name, ok := values["name"].(string); ok {
		if err := s.nameIsFree(ctx, tx, name, before.UUID); err != nil {
			return err
		}
	}
	if _, changed := values["password"]; changed {
		// Whoever knew the old password is logged out, but the caller.
		keep := c.Caller.SessionUUID
		err := s.deleteSessions(ctx, tx, "`accountUuid` = ? AND `uuid` <> ?", []any{before.UUID, keep},
			func(x *session) bool { return x.caller.AccountUUID == before.UUID && x.uuid != keep })
		if err != nil {
			return err
		}
	}
	return store.Set(ctx, tx, AccountType.Type, before.UUID, values)
}

// apiDeleteAccount refuses to delete an account that owns resources: they
// would belong to nobody.
func (s *Service) apiDeleteAccount(ctx context.Context, _ *action.Call, p *deleteAccountParams) (action.Empty, error) {
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.mayGo(ctx, tx, p.UUID); err != nil {
			return err
		}
		err := s.deleteSessions(ctx, tx, "`accountUuid` = ?", []any{p.UUID}, func(x *session) bool { return x.caller.AccountUUID == p.UUID })
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM `AccessKey` WHERE `accountUuid` = ?", p.UUID); err != nil {
			return err
		}
		tx.OnCommit(s.keys.drop)
		return s.tags.DeleteRow(ctx, tx, AccountType.Type, p.UUID)
	})
}

func (s *Service) ownsNothing(ctx context.Context, tx *store.Tx, uuid string) error {
	for _, t := range s.store.Registry().All() {
		if !t.Owned || t.Parent != "" || t.Internal || t.Incidental {
			continue
		}
		n, err := store.Count(ctx, tx, t, "`accountUuid` = ?", uuid)
		if err != nil {
			return fmt.Errorf("count what account %s owns: %w", uuid, err)
		}
		if n > 0 {
			return errs.New(errs.Refused, "account "+uuid, "it owns %d resources of type %s", n, t.Name).
				WithAdvice("delete them first")
		}
	}
	return nil
}

// goneAccount is the plan of an account's delete.
func (s *Service) goneAccount(ctx context.Context, _ *action.Call, p *deleteAccountParams) (action.Removal, error) {
	row := action.Row{Type: AccountType.Name, UUID: p.UUID}
	r := action.Removal{Subject: row, Rows: []action.Row{row}}
	err := s.store.View(ctx, func(tx *store.Tx) error { return s.mayGo(ctx, tx, p.UUID) })
	if errs.ClassOf(err) == errs.Refused {
		r.Against, err = []error{err}, nil
	}
	return r, err
}

// mayGo refuses to delete the first account, and one that owns something.
func (s *Service) mayGo(ctx context.Context, tx *store.Tx, uuid string) error {
	if uuid == AdminUUID {
		return errs.New(errs.Refused, "account admin", "the admin account cannot be deleted")
	}
	return s.ownsNothing(ctx, tx, uuid)
}

func (s *Service) apiCreateKey(ctx context.Context, c *action.Call, p *createKeyParams) (keyReply, error) {
	if p.UserUUID != p.AccountUUID {
		return keyReply{}, errs.New(errs.NotFound, "user "+p.UserUUID, "it does not exist; for an account's own key userUuid is the account's UUID")
	}
	row := &AccessKey{Description: p.Description, AccountUUID: p.AccountUUID, UserUUID: p.UserUUID, KeyID: p.KeyID, Secret: p.Secret, State: "Enabled"}
	row.UUID = c.ResourceUUID
	if row.KeyID == "" {
		row.KeyID = randomText(20)
	}
	if row.Secret == "" {
		row.Secret = randomText(40)
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		_, taken, err := store.First(ctx, tx, AccessKeyType, "`AccessKeyID` = ?", row.KeyID)
		if err != nil {
			return err
		}
		if taken {
			return errs.New(errs.Exists, "access key id "+row.KeyID, "it is in use")
		}
		if err := store.Insert(ctx, tx, AccessKeyType, row); err != nil {
			return err
		}
		return s.tags.CreateFor(ctx, tx, "AccessKey", row.UUID, c)
	})
	return keyReply{Inventory: keyView{UUID: row.UUID, Description: row.Description, AccountUUID: row.AccountUUID, UserUUID: row.UserUUID, KeyID: row.KeyID,
		Secret: row.Secret, State: row.State, CreateDate: action.FormatTime(row.CreateDate.Time), LastOpDate: action.FormatTime(row.LastOpDate.Time)}}, err
}

func (s *Service) apiKeyState(ctx context.Context, _ *action.Call, p *keyStateParams) (action.Ref, error) {
	return action.Ref{Type: "AccessKey", UUID: p.UUID}, s.store.Update(ctx, func(tx *store.Tx) error {
		row, err := store.Get(ctx, tx, AccessKeyType, p.UUID)
		if err != nil {
			return err
		}
		if row.State, err = AccessKeyType.States.Next(row.State, p.StateEvent); err != nil {
			return err
		}
		tx.OnCommit(s.keys.drop)
		return store.Save(ctx, tx, AccessKeyType, row, "state")
	})
}

func (s *Service) apiDeleteKey(ctx context.Context, _ *action.Call, p *deleteKeyParams) (action.Empty, error) {
	return action.Empty{}, s.store.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(s.keys.drop)
		return s.tags.DeleteRow(ctx, tx, AccessKeyType.Type, p.UUID)
	})
}
