package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// TestGoexit proves that a function that ends its goroutine fails alone.
func TestGoexit(t *testing.T) {
	s := storetest.Open(t, racks.Type)
	r := newRack("half")
	err := s.Update(ctx, func(tx *store.Tx) error {
		if err := store.Insert(ctx, tx, racks, r); err != nil {
			return err
		}
		runtime.Goexit()
		return nil
	})
	if !errors.Is(err, errs.Internal) || !strings.Contains(err.Error(), "goroutine") {
		t.Fatalf("goexit: %v", err)
	}
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("next")) })
	if n, err := store.Count(ctx, s, racks.Type, ""); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
}

// batched is a function of Update for TestBatch: what it does, and what came of it.
type batched struct {
	row            *rack
	writes, counts bool // it writes its row, then counts all rows
	fails, panics  bool
	runs, hooked   int
	seen           int64
	err            error
}

func (b *batched) run(tx *store.Tx) (err error) {
	b.runs++
	tx.OnCommit(func() { b.hooked++ })
	if b.writes {
		if err := store.Insert(ctx, tx, racks, b.row); err != nil {
			return err
		}
	}
	if b.counts {
		if b.seen, err = store.Count(ctx, tx, racks.Type, ""); err != nil {
			return err
		}
	}
	if b.panics {
		panic(b.row.Name)
	}
	if b.fails {
		return errs.New(errs.Refused, b.row.Name, "as it was told")
	}
	return nil
}

// TestBatch has many functions wait for the writer, which makes one transaction
// of them. Those that fail, after a write or before, undo their own writes
// only, and no other sees them; each of the rest is done once.
func TestBatch(t *testing.T) {
	for seed := range uint64(30) {
		s, random := storetest.Open(t, racks.Type), rand.New(rand.NewPCG(seed, 0))
		free, begun, all := make(chan struct{}), make(chan struct{}), sync.WaitGroup{}
		all.Go(func() {
			update(t, s, func(*store.Tx) error { close(begun); <-free; return nil })
		})
		<-begun
		fns := make([]*batched, 1+random.IntN(40))
		for i := range fns {
			b := &batched{row: newRack(fmt.Sprint("b", i)), writes: random.IntN(4) > 0, counts: random.IntN(2) > 0,
				fails: random.IntN(6) == 0, panics: random.IntN(20) == 0}
			fns[i] = b
			all.Go(func() { b.err = s.Update(ctx, b.run) })
			for s.Waiting() <= i { // so that they come in their order
				runtime.Gosched()
			}
		}
		close(free)
		all.Wait()
		rows := int64(0)
		for i, b := range fns {
			bad := b.fails || b.panics
			if bad != (b.err != nil) || bad != (b.hooked == 0) || b.hooked > 1 || b.runs > 2 {
				t.Errorf("seed %d: function %d ran %d times, its hook %d times: %v", seed, i, b.runs, b.hooked, b.err)
			}
			if b.writes && !bad {
				rows++
			}
			seen := rows
			if b.writes && bad {
				seen++ // its own
			}
			if b.counts && b.seen != seen {
				t.Errorf("seed %d: function %d saw %d rows instead of %d", seed, i, b.seen, seen)
			}
			_, found, err := store.First(ctx, s, racks, "uuid = ?", b.row.UUID)
			if err != nil || found != (b.writes && !bad) {
				t.Errorf("seed %d: row of function %d: %v, %v", seed, i, found, err)
			}
		}
	}
}

// TestForeignLock has another connection hold SQLite's lock for writing, as a
// reader does for a moment when it finds the log's header changing. A write
// waits for it.
func TestForeignLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	s := storetest.OpenDSN(t, "sqlite:"+path, racks.Type)
	r := newRack("r")
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	holds, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	released := time.AfterFunc(200*time.Millisecond, func() {
		if err := holds.Rollback(); err != nil {
			t.Error(err)
		}
	})
	update(t, s, func(tx *store.Tx) error {
		row, err := store.Get(ctx, tx, racks, r.UUID) // so that the transaction reads before it writes
		if err != nil {
			return err
		}
		row.Slots = 7
		return store.Save(ctx, tx, racks, row, "slots")
	})
	if released.Stop() {
		t.Error("the lock was not held: the test shows nothing")
	}
}

// TestMisuse proves that wrong uses of a transaction are errors and not
// damage: a query inside of Each, a use after the end, a write in Each.
func TestMisuse(t *testing.T) { both(t, testMisuse) }

func testMisuse(t *testing.T, s *store.Store) {
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("a")) })
	var kept *store.Tx
	for name, fn := range map[string]func(tx *store.Tx) error{
		"inside Each": func(tx *store.Tx) error {
			return tx.Each(ctx, "SELECT uuid FROM Rack", nil, func(r *store.Row) error {
				_, err := tx.Exec(ctx, "DELETE FROM Rack")
				return err
			})
		},
		"Each is for SELECT": func(tx *store.Tx) error {
			return tx.Each(ctx, "DELETE FROM Rack", nil, func(*store.Row) error { return nil })
		},
		"a chan": func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM Rack WHERE uuid = ?", make(chan int))
			return err
		},
		"no field": func(tx *store.Tx) error {
			return store.Set(ctx, tx, racks.Type, "x", map[string]any{"colour": 1})
		},
		"SQL": func(tx *store.Tx) error { kept = tx; _, err := tx.Exec(ctx, "DELETE FRM Rack"); return err },
	} {
		if err := s.Update(ctx, fn); !errors.Is(err, errs.Internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := kept.Exec(ctx, "DELETE FROM Rack"); !errors.Is(err, errs.Internal) {
		t.Errorf("after the end: %v", err)
	}
	if n, err := store.Count(ctx, s, racks.Type, ""); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestWaitEnds proves that a caller whose context ends while it waits for the
// writer leaves, and that its function never runs.
func TestWaitEnds(t *testing.T) {
	s := storetest.Open(t, racks.Type)
	entered, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.Update(ctx, func(*store.Tx) error { close(entered); <-leave; return nil })
	}()
	<-entered
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	var ran atomic.Bool
	err := s.Update(short, func(*store.Tx) error { ran.Store(true); return nil })
	if errs.ClassOf(err) != errs.Timeout {
		t.Errorf("%v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	update(t, s, func(*store.Tx) error { return nil })
	if ran.Load() {
		t.Error("the function ran after its caller had left")
	}
}

func TestClosed(t *testing.T) {
	for name, dsn := range map[string]string{"sqlite": "sqlite:" + t.TempDir() + "/k.db", "mariadb": mariadb.Start(t)} {
		s := storetest.OpenDSN(t, dsn, racks.Type)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.Update(ctx, func(*store.Tx) error { return nil }); errs.ClassOf(err) != errs.Unavailable {
			t.Errorf("%s: update: %v", name, err)
		}
		if _, err := store.Find(ctx, s, racks, ""); errs.ClassOf(err) != errs.Unavailable {
			t.Errorf("%s: find: %v", name, err)
		}
	}
}

// TestDeadlock makes two transactions lock two rows in opposite order; both
// succeed in the end.
func TestDeadlock(t *testing.T) {
	s := storetest.OpenDSN(t, mariadb.Start(t), racks.Type)
	a, b := newRack("a"), newRack("b")
	b.Slots = 1
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, a, b) })
	var tries atomic.Int64
	run := func(rows ...*rack) error {
		return s.Update(ctx, func(tx *store.Tx) error {
			tries.Add(1)
			for _, r := range rows {
				if _, err := tx.Exec(ctx, "UPDATE Rack SET free = free + 1 WHERE uuid = ?", r.UUID); err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
	}
	other := make(chan error, 1)
	go func() { other <- run(b, a) }()
	if err := errors.Join(run(a, b), <-other); err != nil {
		t.Fatal(err)
	}
	got, err := store.Get(ctx, s, racks, a.UUID)
	if err != nil || got.Free != 2 || tries.Load() < 3 {
		t.Errorf("free %d after %d tries, %v", got.Free, tries.Load(), err)
	}
}

// TestLostConnections ends all connections at the server; reads and
// transactions go on with new ones.
func TestLostConnections(t *testing.T) {
	s := storetest.OpenDSN(t, mariadb.Start(t), racks.Type)
	r := newRack("a")
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
	kill := func() {
		ids, err := store.Texts(ctx, s, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()")
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *store.Tx) error {
			for _, id := range ids {
				if err := tx.Raw(ctx, "KILL "+id); err != nil && !strings.Contains(err.Error(), "Unknown thread") && !strings.Contains(err.Error(), "interrupted") {
					return err
				}
			}
			return nil
		})
	}
	held := make(chan struct{})
	done := make(chan error, 1)
	go func() { // a second connection, then idle
		done <- s.View(ctx, func(tx *store.Tx) error {
			_, err := store.Get(ctx, tx, racks, r.UUID)
			held <- struct{}{}
			<-held
			return err
		})
	}()
	<-held
	update(t, s, func(*store.Tx) error { return nil })
	held <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	kill()
	for range 5 {
		if _, err := store.Get(ctx, s, racks, r.UUID); err != nil {
			t.Errorf("read: %v", err)
		}
		update(t, s, func(tx *store.Tx) error {
			return store.Set(ctx, tx, racks.Type, r.UUID, map[string]any{"free": 1})
		})
	}
}

// TestCheckpoints writes more than the log may hold and waits until the file
// has it, while the store is open.
func TestCheckpoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	s := storetest.OpenDSN(t, "sqlite:"+path, racks.Type)
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; ; i++ {
		var rows []*rack
		for range 256 {
			r := newRack(strings.Repeat("n", 200))
			r.Notes, r.Slots, r.ZoneUUID = strings.Repeat("x", 3000), i, resource.NewUUID()
			rows = append(rows, r)
		}
		update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, rows...) })
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() > 16<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d commits the file has %d bytes: no checkpoint ran", i, fi.Size())
		}
	}
}
