package sdk

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/view"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// Backend is what a cloud runs on. All else is the same for each.
type Backend struct {
	// Server is what the SDK talks to. It has no cloud yet.
	Server *server.Server
	// Hypervisor is the cluster's type, Provider that of the network's services.
	Hypervisor, Provider string
	// ImageURL is where the guests' image comes from, in qcow2.
	ImageURL string
	// Uplink is the network card that hosts reach guests' networks by, Range the
	// addresses there that guests may have.
	Uplink string
	Range  param.AddIpRangeDetailParam

	// Hosts adds hosts to a cluster. Primary makes a primary storage in a zone,
	// and Backup a backup storage; they return its UUID.
	Hosts   func(t *testing.T, c *client.ZSClient, cluster string)
	Primary func(t *testing.T, c *client.ZSClient, zone string) string
	Backup  func(t *testing.T, c *client.ZSClient) string

	// Up looks at the guest itself, after the SDK was told that it was started
	// for the n-th time, and Down after it was told that it runs no more.
	Up   func(t *testing.T, vm *view.VmInstanceInventoryView, n int)
	Down func(t *testing.T, uuid string)
	// Audit fails the test for what the server's database cannot explain.
	Audit func()
}

// administrator is the UUID of the account that every server has.
const administrator = "36c27e8ff05c4780bf6d2fa65700f22e"

// Walk has the SDK make a cloud, run a guest in it, and remove it: with a
// session, and once more with an access key.
func Walk(t *testing.T, b *Backend) {
	t.Run("session", func(t *testing.T) {
		bad := client.NewZSClient(b.config(t).LoginAccount(server.Account, "wrong"))
		if _, err := bad.Login(); err == nil {
			t.Error("a wrong password was accepted")
		}
		c := b.login(t)
		valid, err := c.ValidateSession()
		check(t, "validity", must(t, valid, err)["valid"], true)
		b.walk(t, c)
		if err := c.Logout(); err != nil {
			t.Error(err)
		}
	})
	t.Run("access key", func(t *testing.T) {
		// A client with an access key signs each call and polls with the
		// signature of the first, which does not fit.
		account := b.login(t)
		var key struct {
			UUID   string `json:"uuid"`
			ID     string `json:"AccessKeyID"`
			Secret string `json:"AccessKeySecret"`
		}
		err := account.Post("v1/accesskeys", params(wire.Params{"accountUuid": administrator, "userUuid": administrator}), &key)
		if err != nil || key.Secret == "" {
			t.Fatalf("access key %q: %v", key.ID, err)
		}
		wrong := client.NewZSClient(b.config(t).AccessKey(key.ID, "0123456789012345678901234567890123456789"))
		if zones, err := wrong.QueryZone(q()); err == nil {
			t.Errorf("a wrong secret reads %v", zones)
		}
		c := client.NewZSClient(b.config(t).AccessKey(key.ID, key.Secret))
		b.walk(t, c)
		if err := account.Delete("v1/accesskeys", key.UUID, string(param.DeleteModePermissive)); err != nil {
			t.Error(err)
		}
		if zones, err := c.QueryZone(q()); err == nil {
			t.Errorf("a deleted key reads %v", zones)
		}
		if err := account.Logout(); err != nil {
			t.Error(err)
		}
	})
}

// config points the SDK at the server; it looks at jobs each second, which is
// its shortest interval.
func (b *Backend) config(t *testing.T) *client.ZSConfig {
	t.Helper()
	u, err := url.Parse(b.Server.URL)
	must(t, u, err)
	port, err := strconv.Atoi(u.Port())
	must(t, port, err)
	return client.NewZSConfig(u.Hostname(), port, "zstack").RetryInterval(1).RetryTimes(60)
}

func (b *Backend) login(t *testing.T) *client.ZSClient {
	t.Helper()
	c := client.NewZSClient(b.config(t).LoginAccount(server.Account, server.Password))
	session, err := c.Login()
	if must(t, session, err); session.UUID == "" {
		t.Fatal("the login gave no session")
	}
	return c
}

// walk is one way through the SDK; each step needs those before it.
func (b *Backend) walk(t *testing.T, c *client.ZSClient) {
	t.Helper()
	db := b.Server.Database()
	before := b.Server.Counts(db)
	w := &walker{b: b, c: c}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"management", w.management}, {"place", w.place}, {"hosts", w.hosts}, {"storages", w.storages}, {"image", w.addImage},
		{"offerings", w.offerings}, {"network", w.network}, {"network services", w.services}, {"create a guest", w.create}, {"tags", w.tags},
		{"stop and start", w.stopAndStart}, {"destroy and expunge", w.destroy}, {"remove the image", w.removeImage}, {"remove the rest", w.removeRest},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
	b.Server.Settle(db)
	b.Audit()
	for _, d := range server.Differences(before, b.Server.Counts(db)) {
		t.Errorf("the cloud was removed, but in table %s", d)
	}
}

// walker remembers the UUIDs of what it has made.
type walker struct {
	b *Backend
	c *client.ZSClient

	zone, cluster   string
	primary, backup string
	image, offering string
	l2, l3          string
	vm, dataVolume  string
}

// Make creates what the SDK has no call of its own for, by its general one, and
// returns the UUID. The path is one of those in wire.
func Make(t *testing.T, c *client.ZSClient, path string, p wire.Params) string {
	t.Helper()
	var made view.BaseInfoView
	if err := c.Post("v1"+path, params(p), &made); err != nil || made.UUID == "" {
		t.Fatalf("make one of %s: UUID %q: %v", path, made.UUID, err)
	}
	return made.UUID
}

// params is the body of a call that creates.
func params(p wire.Params) map[string]any { return map[string]any{"params": p} }

// q makes a query parameter.
func q(conditions ...string) param.QueryParam {
	p := param.NewQueryParam()
	for _, c := range conditions {
		p.AddQ(c)
	}
	return p
}

// must stops the test at an error.
func must[T any](t *testing.T, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
