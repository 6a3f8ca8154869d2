package kerneltest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
)

// patience bounds what a test waits for: a call, an event, the end. It is only
// ever reached when something is broken, so it allows for a busy machine.
const patience = 2 * time.Minute

// Options choose what a kernel is made with; the zero value is a kernel without
// services and plugins.
type Options struct {
	// Types are those of the services under test.
	Types []*resource.Type
	// Plugins run inside the test, from before New returns until it ends.
	Plugins []pluginsdk.Plugin
	// Bases are the types that the plugins' declarations extend.
	Bases kernel.Bases
}

// Cloud is a kernel with the services of a test. Its methods fail the test when
// what they are asked for does not work.
type Cloud struct {
	*kernel.Kernel
	// Calls has what the plugins were told, and lets their calls fail.
	Calls *Calls
	// Handler answers what plugins ask of the core.
	Handler *kernel.PluginHandler

	t         testing.TB
	ctx       context.Context
	beforeEnd []func()
}

// New makes a kernel; it ends with the test. Services are made of it and given
// to Register before the first call.
func New(t testing.TB, o Options) *Cloud {
	t.Helper()
	log := plugintest.Logger(t)
	types := resource.NewRegistry()
	for _, list := range [][]*resource.Type{kernel.Types(), identity.Types(), o.Types} {
		if err := types.Add(list...); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"), storetest.Seal(t), types, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	c := &Cloud{t: t, Calls: newCalls(), Handler: &kernel.PluginHandler{}}
	var connections []plugin.Connection
	for _, p := range o.Plugins {
		conn := plugintest.Loopback(t, p)
		connections = append(connections, plugin.Connection{Manifest: conn.Manifest, Conn: c.Calls.around(conn)})
	}
	plugins, err := plugin.Connected(log, connections...)
	if err != nil {
		t.Fatal(err)
	}
	c.Kernel = kernel.New(kernel.Options{Store: st, Types: types, Plugins: plugins, Handler: c.Handler, Limits: dispatch.Limits{}, Log: log})
	if err := c.AddPluginTypes(t.Context(), o.Bases); err != nil {
		t.Fatal(err)
	}
	c.Wire(callers{}, Admin)
	if err := c.RegisterParts(); err != nil {
		t.Fatal(err)
	}
	var stop context.CancelFunc
	c.ctx, stop = context.WithCancel(context.Background())
	t.Cleanup(func() { c.end(stop) })
	c.account(Admin)
	return c
}

// Context ends when the test does, before the database is closed: the context
// for what a service starts in the background.
func (c *Cloud) Context() context.Context { return c.ctx }

// Register lets services register what they have, and then starts the kernel's
// background work.
func (c *Cloud) Register(services ...func() error) {
	c.t.Helper()
	for _, register := range services {
		c.must(register())
	}
	c.must(c.Bring())
	c.must(c.Config.DefineTags(c.Tags))
	c.must(c.Config.Load(c.ctx))
	c.must(c.Start(c.ctx))
}

// BeforeEnd calls fn when the test ends: the Context is over, the database and
// the plugins are still there.
func (c *Cloud) BeforeEnd(fn func()) { c.beforeEnd = append(c.beforeEnd, fn) }

// end waits for all work, so that nothing meets a closed database.
func (c *Cloud) end(stop context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stop()
	for _, fn := range c.beforeEnd {
		fn()
	}
	if err := c.Flows.Stop(ctx); err != nil {
		c.t.Errorf("flows did not end: %v", err)
	}
	if err := c.Dispatch.Drain(ctx); err != nil {
		c.t.Errorf("work did not end: %v", err)
	}
	if err := c.Jobs.Stop(ctx); err != nil {
		c.t.Errorf("jobs did not end: %v", err)
	}
}

func (c *Cloud) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// callers are who the credentials of a test say they are: an account's UUID is
// its session.
type callers struct{}

func (callers) Authenticate(_ context.Context, cr action.Credentials) (action.Caller, error) {
	return action.Caller{SessionUUID: cr.SessionUUID, AccountUUID: cr.SessionUUID, UserUUID: cr.SessionUUID, Admin: cr.SessionUUID == Admin}, nil
}

// Admin is the UUID of the administrator's account.
const Admin = identity.AdminUUID

// Account makes an account and returns its UUID, for As.
func (c *Cloud) Account() string {
	c.t.Helper()
	uuid := resource.NewUUID()
	c.account(uuid)
	return uuid
}

func (c *Cloud) account(uuid string) {
	c.t.Helper()
	kind := identity.Normal
	if uuid == Admin {
		kind = identity.SystemAdmin
	}
	row := &identity.Account{UUID: uuid, Name: "account " + uuid, Type: kind, Password: "-"}
	row.AccountUUID = uuid
	c.must(c.Store.Update(context.Background(), func(tx *store.Tx) error {
		return store.Insert(context.Background(), tx, identity.AccountType, row)
	}))
}
