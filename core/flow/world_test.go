package flow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/flow/flowtest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// slot is what the sample flow keeps in the database.
type slot struct {
	UUID  string `db:"uuid"`
	State string `db:"state"`
}

var slots = resource.Define[slot](resource.Type{Name: "TestSlot", Internal: true})

// ended is one call of the completer.
type ended struct {
	job string
	err error
}

// jobLog is a Completer that writes to the database as core/job does.
type jobLog struct {
	mu   sync.Mutex
	done []ended
}

func (l *jobLog) CompleteTx(ctx context.Context, tx *store.Tx, job string, err error) error {
	state := "ok"
	if err != nil {
		state = err.Error()
	}
	return store.Insert(ctx, tx, slots, &slot{UUID: job, State: state})
}

func (l *jobLog) Completed(job string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, ended{job, err})
}

func (l *jobLog) all() []ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ended(nil), l.done...)
}

// world is a database and a folder: the sample flow makes rows in one and
// files in the other.
type world struct {
	t     testing.TB
	store *store.Store
	dir   string
	jobs  *jobLog
	log   hclog.Logger
}

// open opens the database of a test; TestMariaDB replaces it.
var open = func(t testing.TB) *store.Store {
	return openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"))
}

func openStore(t testing.TB, dsn string) *store.Store {
	t.Helper()
	reg := resource.NewRegistry()
	if err := reg.Add(append(flow.Types(), slots.Type)...); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), dsn, storetest.Seal(t), reg, logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newWorld(t testing.TB) *world { return worldOn(t, open(t), t.TempDir()) }

func worldOn(t testing.TB, s *store.Store, dir string) *world {
	return &world{t: t, store: s, dir: dir, jobs: &jobLog{}, log: logTo(t)}
}

func logTo(t testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Warn})
}

// testWriter sends logs to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		w.t.Log(string(b))
	}
	return len(b), nil
}

func (w *world) engine() *flow.Engine { return flow.NewEngine(w.store, w.log, w.jobs) }

// rows returns the rows of slots, uuid to state.
func (w *world) rows() map[string]string {
	w.t.Helper()
	rows, err := store.Find(context.Background(), w.store, slots, "")
	if err != nil {
		w.t.Fatal(err)
	}
	m := map[string]string{}
	for _, r := range rows {
		m[r.UUID] = r.State
	}
	return m
}

// files returns the names in the folder.
func (w *world) files() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) put(name string) error {
	return os.WriteFile(filepath.Join(w.dir, name), nil, 0o600)
}

func (w *world) remove(name string) error {
	if err := os.Remove(filepath.Join(w.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// made is the state of the sample flow.
type made struct {
	ID     string
	Path   string
	Extra  bool // asks for the step "extra"
	Items  []string
	Record record
}

type record struct{ ID string }

func insertSlot(ctx context.Context, tx *store.Tx, uuid, state string) error {
	if _, found, err := store.First(ctx, tx, slots, "uuid = ?", uuid); err != nil || found {
		return err
	}
	return store.Insert(ctx, tx, slots, &slot{UUID: uuid, State: state})
}

func deleteSlot(ctx context.Context, tx *store.Tx, uuid string) error {
	return store.Delete(ctx, tx, slots.Type, uuid)
}

// sample is a flow with every kind of step: Tx Tx Do Do Tx Do Each Tx(sub).
func (w *world) sample() *flow.Def[made] {
	recorded := flow.Define("record",
		flow.Tx("mark", func(ctx context.Context, tx *store.Tx, r *record) error {
			return insertSlot(ctx, tx, r.ID+"-record", "recorded")
		}, func(ctx context.Context, tx *store.Tx, r *record) error { return deleteSlot(ctx, tx, r.ID+"-record") }),
		flow.Tx("check", func(ctx context.Context, tx *store.Tx, r *record) error {
			_, err := store.Get(ctx, tx, slots, r.ID+"-record")
			return err
		}, nil),
	)
	return flow.Define("make",
		flow.Tx("name", func(_ context.Context, _ *store.Tx, s *made) error {
			if s.ID == "" {
				s.ID = "thing"
			}
			s.Record.ID = s.ID
			return nil
		}, nil),
		flow.Tx("reserve", func(ctx context.Context, tx *store.Tx, s *made) error {
			return insertSlot(ctx, tx, s.ID, "reserved")
		}, func(ctx context.Context, tx *store.Tx, s *made) error { return deleteSlot(ctx, tx, s.ID) }),
		flow.Do("create", func(_ context.Context, s *made) error {
			s.Path = s.ID + ".file"
			return w.put(s.Path)
		}, func(_ context.Context, s *made) error { return w.remove(s.ID + ".file") }),
		flow.Do("extra", func(_ context.Context, s *made) error { return w.put("extra") },
			func(_ context.Context, s *made) error {
				if !s.Extra {
					return errors.New("undone, although it was skipped")
				}
				return w.remove("extra")
			}).When(func(s *made) bool { return s.Extra }),
		flow.Do("look", func(_ context.Context, s *made) error {
			_, err := os.Stat(filepath.Join(w.dir, s.Path))
			return err
		}, nil).Checkpoint(),
		flow.Do("link", func(_ context.Context, s *made) error { return w.put(s.Path + ".link") },
			func(_ context.Context, s *made) error { return w.remove(s.ID + ".file.link") }),
		flow.Tx("note", func(ctx context.Context, tx *store.Tx, s *made) error {
			return insertSlot(ctx, tx, s.ID+"-note", s.Path)
		}, func(ctx context.Context, tx *store.Tx, s *made) error { return deleteSlot(ctx, tx, s.ID+"-note") }),
		flow.Each("items", 2, func(s *made) []string { return s.Items },
			func(_ context.Context, s *made, item string) error { return w.put("item-" + item) },
			func(_ context.Context, s *made, item string) error { return w.remove("item-" + item) }),
		flow.Sub("record", recorded, func(s *made) *record { return &s.Record }),
	)
}

// sampleWorld is the sample flow as flowtest wants it.
func sampleWorld(t *testing.T, w *world, d *flow.Def[made], extra bool) flowtest.World[made] {
	const job = "11111111111111111111111111111111"
	want := 6
	if extra {
		want++
	}
	return flowtest.World[made]{
		Engine: func() *flow.Engine {
			e := w.engine()
			flow.Register(e, d)
			return e
		},
		State:   func() *made { return &made{Extra: extra, Items: []string{"a", "b", "c", "d"}} },
		Options: flow.Options{Job: job, ResourceType: "Thing", ResourceUUID: "thing"},
		Done: func() error {
			rows := w.rows()
			if len(w.files()) != want || len(rows) != 4 || rows["thing-note"] != "thing.file" || rows[job] != "ok" {
				return fmt.Errorf("not done: files %v, rows %v", w.files(), rows)
			}
			return nil
		},
		Clean: func() error {
			rows := w.rows()
			delete(rows, job)
			if len(w.files()) != 0 || len(rows) != 0 {
				return fmt.Errorf("left behind: files %v, rows %v", w.files(), rows)
			}
			return nil
		},
	}
}
