package client

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Session is a login as it is kept between two commands.
type Session struct {
	UUID    string `json:"uuid"`
	Account string `json:"account"`
}

// Login signs in to an account. The password goes over the wire as its SHA-512,
// as the API wants it.
func (c *Client) Login(ctx context.Context, account, password string) (Session, error) {
	body, err := c.Do(ctx, Call{
		Method: http.MethodPut, Path: "/accounts/login", Key: "logInByAccount",
		Params: map[string]any{"accountName": account, "password": WirePassword(password)},
	})
	if err != nil {
		return Session{}, fmt.Errorf("account %s: %w", account, err)
	}
	uuid := Text(Inventory(body), "uuid")
	if uuid == "" {
		return Session{}, errs.New(errs.Internal, "server "+c.Server, "answered the login without a session")
	}
	c.Session = uuid
	return Session{UUID: uuid, Account: account}, nil
}

// WirePassword is the form in which the API takes the password of an account: its
// SHA-512 as hex digits.
func WirePassword(password string) string {
	sum := sha512.Sum512([]byte(password))
	return hex.EncodeToString(sum[:])
}

// Logout ends the client's session; a session that is gone already is fine.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.Do(ctx, Call{Method: http.MethodDelete, Path: "/accounts/sessions/" + c.Session})
	return err
}

// Store keeps sessions by server in one file, readable by its owner only.
type Store struct {
	// Dir is the folder; it is made when first needed.
	Dir string
}

func (s Store) file() string { return filepath.Join(s.Dir, "sessions.json") }

// Load returns the session for a server; ok is false when there is none.
func (s Store) Load(server string) (session Session, ok bool, err error) {
	all, err := s.read()
	if err != nil {
		return Session{}, false, err
	}
	session, ok = all[server]
	return session, ok, nil
}

// Save keeps the session for a server in place of an earlier one.
func (s Store) Save(server string, session Session) error {
	all, err := s.read()
	if err != nil {
		return err
	}
	all[server] = session
	return s.write(all)
}

// Forget removes the session for a server, if there is one.
func (s Store) Forget(server string) error {
	all, err := s.read()
	if err != nil {
		return err
	}
	if _, ok := all[server]; !ok {
		return nil
	}
	delete(all, server)
	return s.write(all)
}

func (s Store) read() (map[string]Session, error) {
	all := map[string]Session{}
	text, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Refused, "session file", err, "cannot be read")
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, errs.Wrap(errs.Refused, "session file "+s.file(), err, "is damaged").WithAdvice("delete it and sign in again")
	}
	return all, nil
}

// write replaces the file at once, so that a reader never sees half of it.
func (s Store) write(all map[string]Session) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return errs.Wrap(errs.Refused, "folder "+s.Dir, err, "cannot be made").WithAdvice("name another by KUMO_CONFIG_DIR")
	}
	f, err := os.CreateTemp(s.Dir, ".sessions-*") // mode 0600
	if err != nil {
		return errs.Wrap(errs.Refused, "folder "+s.Dir, err, "cannot be written to").WithAdvice("name another by KUMO_CONFIG_DIR")
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(errs.Wrap(errs.Refused, "session file", err, "cannot be written"), os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), s.file())
}
