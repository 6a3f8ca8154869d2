package mgmt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/sql"
)

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }

// stores are the two kinds of database.
func stores(t *testing.T, f func(t *testing.T, st *store.Store)) {
	types := append(Types(), config.Types()...)
	t.Run("sqlite", func(t *testing.T) { f(t, storetest.Open(t, types...)) })
	t.Run("mariadb", func(t *testing.T) { f(t, storetest.OpenDSN(t, mariadb.Start(t), types...)) })
}

func identify(t *testing.T, dir string) *Identity {
	t.Helper()
	id, err := Identify(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(id.close)
	return id
}

func join(t *testing.T, st *store.Store, id *Identity, host string) *Node {
	t.Helper()
	n, err := Join(t.Context(), st, id, host, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func guard(t *testing.T, st *store.Store, n *Node) error {
	return st.Update(t.Context(), func(tx *store.Tx) error { return n.Guard(t.Context(), tx) })
}

func TestHeartbeat(t *testing.T) {
	stores(t, func(t *testing.T, st *store.Store) {
		cfg := config.New(st, storetest.Logger(t))
		n := join(t, st, identify(t, t.TempDir()), "node-a")
		s := New(n, cfg, storetest.Logger(t), "1.2.3")
		if err := s.Register(action.NewRegistry(hclog.NewNullLogger())); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := cfg.Set(t.Context(), "managementServer", "node.heartbeatInterval", "1"); err != nil {
			t.Fatal(err)
		}
		s.Start(t.Context())
		first, err := store.Get(t.Context(), st, ManagementNodeType, n.UUID)
		if err != nil || first.HostName != "node-a" {
			t.Fatalf("%+v %v", first, err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			now, err := store.Get(t.Context(), st, ManagementNodeType, n.UUID)
			if err != nil {
				t.Fatal(err)
			}
			if now.HeartBeat.After(first.HeartBeat.Time) && now.Lease == 12_000 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no heartbeat")
			}
		}
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if c, _ := store.Count(t.Context(), st, ManagementNodeType.Type, ""); c != 0 {
			t.Errorf("%d rows after Stop", c)
		}
		if n.Owns("key") || guard(t, st, n) == nil {
			t.Error("a node that has left works on")
		}
	})
}

// A node that died is succeeded at once by itself, and can commit no more if it
// was not dead after all.
func TestSameNodeAgain(t *testing.T) {
	stores(t, func(t *testing.T, st *store.Store) {
		id := identify(t, t.TempDir())
		old := join(t, st, id, "node-a")
		if err := guard(t, st, old); err != nil || !old.Owns("key") {
			t.Fatalf("the node that serves is refused: %v", err)
		}
		next := join(t, st, id, "node-a")
		if next.UUID != old.UUID || next.Epoch <= old.Epoch {
			t.Errorf("after %s %d comes %s %d", old.UUID, old.Epoch, next.UUID, next.Epoch)
		}
		if err := guard(t, st, next); err != nil {
			t.Error(err)
		}
		if st.Dialect() == sql.SQLite {
			return // two processes cannot have the file open
		}
		if err := guard(t, st, old); errs.ClassOf(err) != errs.Refused {
			t.Errorf("a transaction of the old epoch: %v", err)
		}
		if old.Owns("key") {
			t.Error("the old epoch owns a key after it was refused")
		}
		if err := old.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := guard(t, st, next); err != nil {
			t.Errorf("the end of the old epoch ended the new one: %v", err)
		}
	})
}

// Another node is refused while the first lives, and told who that is; it
// succeeds it when its lease is over.
func TestOtherNode(t *testing.T) {
	st := storetest.OpenDSN(t, mariadb.Start(t), append(Types(), config.Types()...)...)
	first := join(t, st, identify(t, t.TempDir()), "node-a")
	other := identify(t, t.TempDir())
	_, err := Join(t.Context(), st, other, "node-b", hclog.NewNullLogger())
	if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "node-a") || !strings.Contains(err.Error(), "since 20") {
		t.Fatalf("a second node: %v", err)
	}
	age := func(by time.Duration) {
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE `ManagementNode` SET `heartBeat` = `heartBeat` - ?", by.Milliseconds())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	age(lease - 30*time.Second)
	if _, err := Join(t.Context(), st, other, "node-b", hclog.NewNullLogger()); errs.ClassOf(err) != errs.Refused {
		t.Fatalf("within the lease: %v", err)
	}
	age(30 * time.Second)
	second := join(t, st, other, "node-b")
	if err := first.beat(t.Context(), time.Second); errs.ClassOf(err) != errs.Refused {
		t.Errorf("heartbeat of the succeeded node: %v", err)
	}
	<-first.Over()
	if err := guard(t, st, second); err != nil {
		t.Error(err)
	}
	if err := second.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	join(t, st, identify(t, t.TempDir()), "node-c") // nobody is waited for after a proper end
}

// A successor waits for what the old epoch is committing.
func TestGuardHoldsSuccessor(t *testing.T) {
	st := storetest.OpenDSN(t, mariadb.Start(t), append(Types(), config.Types()...)...)
	id := identify(t, t.TempDir())
	old := join(t, st, id, "node-a")
	guarded, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- st.Update(t.Context(), func(tx *store.Tx) error {
			err := old.Guard(t.Context(), tx)
			close(guarded)
			<-release
			return err
		})
	}()
	<-guarded
	joined := make(chan error, 1)
	go func() {
		_, err := Join(t.Context(), st, id, "node-a", hclog.NewNullLogger())
		joined <- err
	}()
	select {
	case err := <-joined:
		t.Errorf("joined beside an open transaction of the old epoch: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-joined; err != nil {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	id := identify(t, dir)
	if _, err := Identify(dir); errs.ClassOf(err) != errs.Refused {
		t.Errorf("a second process in the folder: %v", err)
	}
	id.close()
	if again := identify(t, dir); again.UUID != id.UUID {
		t.Errorf("the node was %s and is now %s", id.UUID, again.UUID)
	}
}

func TestMessages(t *testing.T) {
	st := storetest.Open(t, config.Types()...)
	r := action.NewRegistry(hclog.NewNullLogger())
	s := New(nil, config.New(st, nil), hclog.NewNullLogger(), "1.2.3")
	if err := s.Register(r); err != nil {
		t.Fatal(err)
	}
	v, err := r.Do(t.Context(), action.Caller{}, "APIGetVersionMsg", nil)
	if err != nil || v != (versionReply{true, "1.2.3"}) {
		t.Errorf("%v %v", v, err)
	}
	now, err := r.Do(t.Context(), action.Caller{}, "APIGetCurrentTimeMsg", nil)
	if got := time.Since(time.UnixMilli(now.(timeReply).CurrentTime["MillionSeconds"])); err != nil || got > time.Minute {
		t.Errorf("%v %v", now, err)
	}
	path := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(path, []byte("NAME=\"X\"\nID=debian\nVERSION_ID=\"12\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err := release(path); err != nil || o.Name != "debian" || o.Version != "12" {
		t.Errorf("%+v %v", o, err)
	}
}
