package serve

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/audit"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// office is a data folder with a server that comes and goes, and the operator of
// its machine.
type office struct {
	*testing.T
	o    Options
	m    *Machine
	s    *server
	stop context.CancelFunc
}

func (f *office) serve() {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	s, err := newServer(ctx, f.o, "test", storetest.Logger(f))
	if err != nil {
		f.Fatal(err)
	}
	if f.s = s; s.start(ctx) != nil {
		f.Fatal("the server did not start")
	}
}

func (f *office) end() {
	if f.stop != nil {
		f.stop()
	}
	if f.s != nil {
		f.s.close()
		f.s = nil
	}
}

// login returns the caller of a new session of the administrator.
func (f *office) login(password string) (action.Caller, error) {
	f.Helper()
	sum := sha512.Sum512([]byte(password))
	answer, err := f.s.kernel.Actions.Do(f.Context(), action.Caller{}, "APILogInByAccountMsg", params{"accountName": "admin", "password": hex.EncodeToString(sum[:])})
	if err != nil {
		return action.Caller{}, err
	}
	var session struct{ Inventory struct{ UUID string } }
	text, err := json.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(text, &session)
	}
	if err != nil {
		f.Fatal(err)
	}
	return f.s.identity.Authenticate(f.Context(), action.Credentials{SessionUUID: session.Inventory.UUID})
}

// Whoever has the data folder gets back in without a log-in, beside a server that
// runs and without one, on both databases, and it is recorded who did.
func TestOperatorGetsBackIn(t *testing.T) {
	plugins := t.TempDir()
	buildPlugins(t, plugins, []string{"simulator"})
	for name, dsn := range map[string]string{"SQLite": "", "MariaDB": mariadb.Start(t)} {
		t.Run(name, func(t *testing.T) {
			// The address of a socket has room for 108 bytes.
			dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
			f := &office{T: t, o: Options{DataDir: dir, DB: dsn, PluginDir: plugins, Plugins: []string{"simulator"}, Listen: "127.0.0.1:0", AdminPassword: "first"}}
			if err := errors.Join(f.o.complete(), dataFolder(dir)); err != nil {
				t.Fatal(err)
			}
			f.m = &Machine{flags: Options{DataDir: dir, DB: f.o.DB}, changed: func(string) bool { return true }}
			t.Cleanup(f.end)
			f.withServer()
			f.withoutServer()
			f.misfits()
		})
	}
}

func (f *office) withServer() {
	f.serve()
	ctx := f.Context()
	caller, err := f.login("first")
	if err != nil {
		f.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(f.o.DataDir, operatorSocket))
	if err != nil || info.Mode().Perm() != 0o600 {
		f.Errorf("the socket: %v %v", info, err)
	}
	sessions, err := f.m.Sessions(ctx, "admin")
	if err != nil || len(sessions) != 1 || strings.Contains(string(sessions[0]), caller.SessionUUID) || !strings.Contains(string(sessions[0]), `"account":"admin"`) {
		f.Errorf("sessions %s, %v", sessions, err)
	}
	if name, ended, err := f.m.ResetPassword(ctx, "", "second"); err != nil || name != "admin" || ended != 1 {
		f.Fatalf("reset the password of %q, %d sessions ended, %v", name, ended, err)
	}
	if f.s.identity.Alive(ctx, caller) {
		f.Error("who was signed in still is")
	}
	if _, err := f.login("first"); errs.ClassOf(err) != errs.Unauthenticated {
		f.Errorf("the old password: %v", err)
	}
	if caller, err = f.login("second"); err != nil {
		f.Fatal(err)
	}
	if n, err := f.m.EndSessions(ctx, ""); err != nil || n != 1 || f.s.identity.Alive(ctx, caller) {
		f.Errorf("%d sessions ended, %v", n, err)
	}
	if _, _, err := f.m.ResetPassword(ctx, "nobody", "x"); errs.ClassOf(err) != errs.NotFound {
		f.Errorf("an unknown account: %v", err)
	}
	if _, _, err := f.m.ResetPassword(ctx, "", ""); errs.ClassOf(err) != errs.Invalid {
		f.Errorf("an empty password: %v", err)
	}
	for message, success := range map[string]int64{resetPassword: 1, endSessions: 1} {
		n, err := store.Count(ctx, f.s.kernel.Store, audit.Type.Type, "`message` = ? AND `success` = ? AND `client` = ?", message, true,
			fmt.Sprintf("local operator, uid %d", os.Getuid()))
		if err != nil || n != success {
			f.Errorf("%d records of %s, %v", n, message, err)
		}
	}
	f.end()
	if _, err := os.Stat(filepath.Join(f.o.DataDir, operatorSocket)); !errors.Is(err, os.ErrNotExist) {
		f.Errorf("the socket is left over: %v", err)
	}
}

func (f *office) withoutServer() {
	ctx := f.Context()
	// A server that was killed leaves its socket behind.
	l, err := listenOperator(f.o.DataDir)
	if err != nil {
		f.Fatal(err)
	}
	l.(*folderListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	if name, _, err := f.m.ResetPassword(ctx, "ADMIN", "third"); err != nil || name != "admin" {
		f.Fatalf("without a server: %q, %v", name, err)
	}
	if sessions, err := f.m.Sessions(ctx, ""); err != nil || len(sessions) != 0 {
		f.Errorf("sessions %s, %v", sessions, err)
	}
	f.serve()
	if _, err := f.login("third"); err != nil {
		f.Error(err)
	}
	n, err := store.Count(ctx, f.s.kernel.Store, audit.Type.Type, "`message` = ? AND `success` = ?", resetPassword, true)
	if err != nil || n != 2 {
		f.Errorf("%d records of new passwords, %v", n, err)
	}
	f.end()
}

// misfits has a tag and a setting of an older version: a server starts with them, and
// tells them.
func (f *office) misfits() {
	ctx := f.Context()
	f.serve()
	if found, err := f.m.Misfits(ctx); err != nil || len(found) != 0 {
		f.Fatalf("without any: %s, %v", found, err)
	}
	row := &tag.SystemTag{ResourceUUID: resource.NewUUID(), ResourceType: "VmInstanceVO", Tag: "hostname::a_b", Type: "System"}
	row.UUID = resource.NewUUID()
	err := f.s.kernel.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE `GlobalConfig` SET `value` = ? WHERE `name` = 'allowedNetworks'", "10.0.0.0/40"); err != nil {
			return err
		}
		return store.Insert(ctx, tx, tag.SystemTagType, row)
	})
	if err != nil {
		f.Fatal(err)
	}
	f.end()
	f.serve()
	found, err := f.m.Misfits(ctx)
	text := fmt.Sprintf("%s", found)
	if err != nil || len(found) != 2 || !strings.Contains(text, row.UUID) || !strings.Contains(text, "hostname::a_b") || !strings.Contains(text, "outbound/allowedNetworks") {
		f.Errorf("found %s, %v", text, err)
	}
	f.end()
}

// A folder that no server has used is named, and nothing is made in it.
func TestOperatorNeedsAServersFolder(t *testing.T) {
	dir := t.TempDir()
	m := &Machine{flags: Options{DataDir: dir}, changed: func(string) bool { return true }}
	if _, err := m.EndSessions(t.Context(), ""); errs.ClassOf(err) != errs.NotFound || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder that no server has used: %v", err)
	}
	m.flags.DataDir = filepath.Join(dir, "none")
	if _, err := m.EndSessions(t.Context(), ""); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("a folder that is not there: %v", err)
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("%v was made, %v", made, err)
	}
}
