package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// operatorSocket is a socket in the data folder by which the operator of this
// machine commands the server without a log-in: who may open the folder could
// read and write all that the server has, so the rights of the files are the
// permission.
const operatorSocket = "operator.sock"

// maxOperatorBody bounds what is sent over the socket, in bytes.
const maxOperatorBody = 64 << 10

// wish is what an operator asks for. Account is a name; "" is the first
// administrator for a new password, and all accounts for sessions.
type wish struct {
	Account  string `json:"account,omitempty"`
	Password string `json:"password,omitempty"`
}

// granted is the answer.
type granted struct {
	// Account is the name of the account that has a new password.
	Account  string            `json:"account,omitempty"`
	Ended    int               `json:"ended"`
	Sessions []json.RawMessage `json:"sessions,omitempty"`
	Misfits  []json.RawMessage `json:"misfits,omitempty"`
	// Class and Error are those of what went wrong; Error has the advice.
	Class errs.Class `json:"class,omitempty"`
	Error string     `json:"error,omitempty"`
}

// failure is what went wrong, nil when nothing did.
func (g *granted) failure() error {
	if g.Class == "" {
		return nil
	}
	return errs.New(g.Class, "", "%s", g.Error)
}

// operator does what the operator of the machine asks for, and has it recorded.
type operator struct {
	identity *identity.Service
	audit    *audit.Service
	misfits  func(ctx context.Context) ([]json.RawMessage, error)
}

// What an operator may ask for; the names are the messages of audit records.
const (
	resetPassword = "OperatorResetPassword"
	listSessions  = "OperatorListSessions"
	endSessions   = "OperatorEndSessions"
	listMisfits   = "OperatorListMisfits"
)

// do grants a wish of the user uid of this machine.
func (o operator) do(ctx context.Context, uid int, message string, w wish) (g granted, err error) {
	var account identity.Account
	if w.Account != "" || message == resetPassword {
		found, err := o.identity.Named(ctx, w.Account)
		if err != nil {
			return g, err
		}
		account = *found
	}
	switch message {
	case listSessions:
		return o.list(ctx, account.UUID)
	case listMisfits:
		g.Misfits, err = o.misfits(ctx)
		return g, err
	}
	about := action.Target{}
	if account.UUID != "" {
		about = action.Target{Type: identity.AccountType.Name, UUID: account.UUID}
	}
	ctx = o.audit.Begin(ctx, &action.Call{Message: message, Client: fmt.Sprintf("local operator, uid %d", uid)})
	defer func() { o.audit.End(ctx, about, false, err) }()
	switch message {
	case resetPassword:
		g.Account = account.Name
		g.Ended, err = o.identity.ResetPassword(ctx, &account, w.Password)
	case endSessions:
		g.Ended, err = o.identity.EndSessions(ctx, account.UUID)
	default:
		err = errs.New(errs.Unsupported, "operator's call "+message, "there is none of this name")
	}
	return g, err
}

func (o operator) list(ctx context.Context, accountUUID string) (g granted, err error) {
	sessions, err := o.identity.OpenSessions(ctx, accountUUID)
	for _, s := range sessions {
		raw, err := json.Marshal(s)
		if err != nil {
			return g, err
		}
		g.Sessions = append(g.Sessions, raw)
	}
	return g, err
}

// uidKey is the key of the user at the other end of a connection.
type uidKey struct{}

// ServeHTTP implements http.Handler: POST /MESSAGE with a wish.
func (o operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked wish
	var g granted
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOperatorBody)).Decode(&asked)
	if err != nil {
		err = errs.Wrap(errs.Invalid, "operator's call", err, "cannot be read")
	} else {
		uid, _ := r.Context().Value(uidKey{}).(int)
		g, err = o.do(r.Context(), uid, r.URL.Path[1:], asked)
	}
	if err != nil {
		g = granted{Class: errs.ClassOf(err), Error: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(g) // the operator has gone, or reads it
}

// peer is the user at the other end of a local connection; -1 when the system
// does not tell.
func peer(c net.Conn) int {
	uid := -1
	u, ok := c.(*net.UnixConn)
	if !ok {
		return uid
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return uid
	}
	err = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	if err != nil {
		return -1
	}
	return uid
}

// socketOf opens a data folder and returns the address of its socket, which is
// valid until the folder is closed. A path may be longer than a socket's address
// (108 bytes, unix(7)), so the folder is named by its descriptor.
func socketOf(dir string) (*os.File, *net.UnixAddr, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Invalid, "data folder "+dir, err, "cannot be opened").
			WithAdvice("name the server's folder with --data-dir, and call this as the user whose it is")
	}
	return folder, &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), operatorSocket)}, nil
}

// operators serves the socket. This process holds the folder, so a socket that is
// there is left over from one that was killed.
func (p *parts) operators() part.Part {
	h := &http.Server{Handler: operator{p.identity, p.kernel.Audit, p.misfits}, ReadTimeout: 10 * time.Second,
		ErrorLog: p.kernel.Log.Named("operator").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, uidKey{}, peer(c))
		}}
	return part.Part{Name: "operator", Needs: []string{"identity"},
		Start: func(context.Context) error {
			l, err := listenOperator(p.options.DataDir)
			if err == nil {
				go func() { _ = h.Serve(l) }() // ends with Stop
			}
			return err
		},
		Stop: h.Shutdown}
}

func listenOperator(dir string) (net.Listener, error) {
	folder, addr, err := socketOf(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, operatorSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errs.Wrap(errs.Internal, "operator's socket "+path, errors.Join(err, folder.Close()), "the old one cannot be removed")
	}
	l, err := net.ListenUnix("unix", addr)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "operator's socket "+path, errors.Join(err, folder.Close()), "cannot be made")
	}
	return &folderListener{l, folder}, nil
}

// folderListener keeps the folder open that its address is in.
type folderListener struct {
	*net.UnixListener
	folder *os.File
}

// Close implements net.Listener; it removes the socket.
func (l *folderListener) Close() error { return errors.Join(l.UnixListener.Close(), l.folder.Close()) }
