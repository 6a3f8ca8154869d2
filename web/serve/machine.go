package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Machine is the server of this machine as its operator commands it, without a
// log-in: by its socket while it runs, and by its database while it does not.
// Both are in its data folder, whose rights are the permission.
type Machine struct {
	flags   Options
	changed func(string) bool
}

// NewMachine returns the Machine whose options Flags has read.
func NewMachine() *Machine { return &Machine{} }

// Flags adds the flags that say where the server's data is; they are those of
// kumo serve, and come from the environment and the configuration file, too.
func (m *Machine) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&m.flags.Config, "config", "", "configuration file (YAML; keys are the flags' names)")
	for _, t := range texts {
		if t.name == "data-dir" || t.name == "db" {
			flags.StringVar(t.at(&m.flags), t.name, "", t.usage)
		}
	}
	m.changed = flags.Changed
}

// ResetPassword gives an account, the first administrator for "", a new password
// and ends its sessions. It returns the account's name and the number of sessions.
func (m *Machine) ResetPassword(ctx context.Context, account, password string) (name string, ended int, err error) {
	g, err := m.ask(ctx, resetPassword, wish{Account: account, Password: password})
	return g.Account, g.Ended, err
}

// Sessions returns the sessions of an account, or of all for "", as JSON objects
// (identity.OpenSession).
func (m *Machine) Sessions(ctx context.Context, account string) ([]json.RawMessage, error) {
	g, err := m.ask(ctx, listSessions, wish{Account: account})
	return g.Sessions, err
}

// EndSessions ends the sessions of an account, or of all for "", and returns
// their number.
func (m *Machine) EndSessions(ctx context.Context, account string) (int, error) {
	g, err := m.ask(ctx, endSessions, wish{Account: account})
	return g.Ended, err
}

// Misfits returns the values in the database that break a rule of today, as JSON
// objects (doctor.Misfit). Of tags, settings and the types that plugins add it knows
// while the server runs.
func (m *Machine) Misfits(ctx context.Context) ([]json.RawMessage, error) {
	g, err := m.ask(ctx, listMisfits, wish{})
	return g.Misfits, err
}

func (m *Machine) ask(ctx context.Context, message string, w wish) (granted, error) {
	o, err := resolve(m.flags, nil, m.changed, os.LookupEnv)
	if err != nil {
		return granted{}, err
	}
	g, err := askServer(ctx, o.DataDir, message, w)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return askDatabase(ctx, o, message, w)
	}
	return g, err
}

// askServer asks the server that runs; ENOENT or ECONNREFUSED when none does.
func askServer(ctx context.Context, dir, message string, w wish) (g granted, err error) {
	folder, addr, err := socketOf(dir)
	if err != nil {
		return g, err
	}
	defer folder.Close()
	var d net.Dialer
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", addr.Name) }}}
	body, err := json.Marshal(w)
	if err != nil {
		return g, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://operator/"+message, bytes.NewReader(body))
	if err != nil {
		return g, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return g, errs.Wrap(errs.Unavailable, "server of data folder "+dir, err, "it does not answer")
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		return g, errs.Wrap(errs.Internal, "server of data folder "+dir, err, "its answer cannot be read")
	}
	return g, g.failure()
}

// askDatabase does without a server what one would do. It takes the folder and the
// database as a server does, so that none can run meanwhile, here or elsewhere.
func askDatabase(ctx context.Context, o Options, message string, w wish) (g granted, err error) {
	if _, err := os.Stat(filepath.Join(o.DataDir, inUse)); err != nil {
		return g, errs.Wrap(errs.NotFound, "data folder "+o.DataDir, err, "no server has used it").
			WithAdvice("name the server's folder with --data-dir or KUMO_DATA_DIR")
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "kumo", Level: hclog.Warn, Output: os.Stderr})
	types := resource.NewRegistry()
	if err := types.Add(Types()...); err != nil {
		return g, err
	}
	if err := types.Check(); err != nil {
		return g, err
	}
	st, err := openStore(ctx, o, types, log)
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	accounts, err := store.Count(ctx, st, identity.AccountType.Type, "")
	if err != nil {
		return g, err
	}
	if err := unusedFolder(o.DataDir, accounts == 0); err != nil {
		return g, err
	}
	node, err := join(ctx, st, o, log)
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, node.Leave(context.WithoutCancel(ctx))) }()
	cfg := config.New(st, log)
	id := identity.New(st, cfg, tag.New(st, types), log)
	look := func(ctx context.Context) ([]json.RawMessage, error) { return misfits(ctx, st, types) }
	return operator{id, audit.New(st, cfg, log), look}.do(ctx, os.Getuid(), message, w)
}
