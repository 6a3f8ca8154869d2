package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// shelf is a second type, one of whose fields is volatile.
type shelf struct {
	resource.Base
	RackUUID string `db:"rackUuid" kumo:"size=32,index"`
	Free     int64  `db:"free" kumo:"volatile"`
}

var shelves = resource.Define[shelf](resource.Type{Name: "Shelf"})

// TestCached proves what an answer outlives, and what not.
func TestCached(t *testing.T) {
	for name, dsn := range databases(t) {
		t.Run(name, func(t *testing.T) {
			s := storetest.OpenDSN(t, dsn, racks.Type, shelves.Type)
			r := newRack("a")
			sh := &shelf{RackUUID: r.UUID}
			sh.UUID, sh.Name = resource.NewUUID(), "s"
			update(t, s, func(tx *store.Tx) error {
				if err := store.Insert(ctx, tx, racks, r); err != nil {
					return err
				}
				return store.Insert(ctx, tx, shelves, sh)
			})
			joined := "SELECT r.`name`, s.`name` FROM `Rack` r JOIN `Shelf` s ON s.`rackUuid` = r.`uuid` WHERE r.`uuid` = ?"
			free := "SELECT `free` FROM `Shelf` WHERE `rackUuid` = ?"
			runs := func(query string) (again bool) {
				t.Helper()
				_, err := store.Remember(ctx, s, query, func(q store.Querier) (string, int, error) {
					again = true
					texts, err := store.Texts(ctx, q, query, r.UUID)
					return strings.Join(texts, ","), 10, err
				})
				if err != nil {
					t.Fatal(err)
				}
				return again
			}
			expect := func(when string, join, hot bool) {
				t.Helper()
				if got := runs(joined); got != join {
					t.Errorf("%s: the join was read again: %t", when, got)
				}
				if got := runs(free); got != hot {
					t.Errorf("%s: the volatile field was read again: %t", when, got)
				}
				if runs(joined) || runs(free) {
					t.Errorf("%s: read again without a change", when)
				}
			}
			expect("at first", true, true)
			update(t, s, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE `Shelf` SET `free` = `free` - ? WHERE `uuid` = ?", 1, sh.UUID)
				return err
			})
			expect("a volatile field changed", false, true)
			update(t, s, func(tx *store.Tx) error {
				return store.Set(ctx, tx, racks.Type, r.UUID, map[string]any{"name": "b"})
			})
			expect("the other table changed", true, false)
			if err := s.Update(ctx, func(tx *store.Tx) error {
				if err := store.Delete(ctx, tx, shelves.Type, sh.UUID); err != nil {
					return err
				}
				return errors.New("rolled back")
			}); err == nil {
				t.Fatal("no error")
			}
			expect("a change was rolled back", false, false)
			update(t, s, func(tx *store.Tx) error { return store.Delete(ctx, tx, shelves.Type, sh.UUID) })
			expect("a row was deleted", true, true)
		})
	}
}

// TestCachedInTransaction proves that a transaction that writes sees what it
// wrote, and that nobody else does before the commit.
func TestCachedInTransaction(t *testing.T) {
	s := storetest.Open(t, racks.Type)
	r := newRack("old")
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
	name := func(q store.Querier) string {
		got, err := store.Get(ctx, store.Cached(q), racks, r.UUID)
		if err != nil {
			t.Error(err)
			return ""
		}
		return got.Name
	}
	if got := name(s); got != "old" {
		t.Errorf("before: %s", got)
	}
	update(t, s, func(tx *store.Tx) error {
		if err := store.Set(ctx, tx, racks.Type, r.UUID, map[string]any{"name": "new"}); err != nil {
			return err
		}
		if got := name(tx); got != "new" {
			t.Errorf("inside: %s", got)
		}
		if got := name(s); got != "old" {
			t.Errorf("beside: %s", got)
		}
		return nil
	})
	if got := name(s); got != "new" {
		t.Errorf("after: %s", got)
	}
}

// TestCachedNeverStale has writers count rows up, each of which tells the readers
// what it has committed before they read: no reader may get less, and a writer
// gets what its transaction holds, also after one that failed.
func TestCachedNeverStale(t *testing.T) {
	for name, dsn := range databases(t) {
		t.Run(name, func(t *testing.T) {
			s := storetest.OpenDSN(t, dsn, racks.Type)
			const rows, rounds = 4, 60
			uuids := make([]string, rows)
			committed := make([]struct {
				sync.RWMutex
				n int64
			}, rows)
			for i := range uuids {
				r := newRack(fmt.Sprint(i))
				uuids[i] = r.UUID
				update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
			}
			done := make(chan struct{})
			var writers, readers sync.WaitGroup
			for i := range uuids {
				writers.Go(func() {
					for n := int64(1); n <= rounds; n++ {
						expect := func(tx *store.Tx, want int64) {
							r, err := store.Get(ctx, store.Cached(tx), racks, uuids[i])
							if err != nil || r.Free != want {
								t.Errorf("row %d: %v, %v in a transaction, want %d", i, r, err, want)
							}
						}
						count := func(tx *store.Tx) error {
							expect(tx, n-1)
							err := store.Set(ctx, tx, racks.Type, uuids[i], map[string]any{"free": n})
							expect(tx, n)
							return err
						}
						undone := errors.New("undone")
						if err := s.Update(ctx, func(tx *store.Tx) error {
							return errors.Join(count(tx), undone)
						}); !errors.Is(err, undone) {
							t.Errorf("a function that failed gave %v", err)
							return
						}
						if err := s.Update(ctx, count); err != nil {
							t.Error(err)
							return
						}
						committed[i].Lock()
						committed[i].n = n
						committed[i].Unlock()
					}
				})
			}
			read := func(q func(func(store.Querier) error) error) {
				for {
					select {
					case <-done:
						return
					default:
					}
					i := rand.IntN(rows)
					committed[i].RLock()
					least := committed[i].n
					committed[i].RUnlock()
					err := q(func(db store.Querier) error {
						r, err := store.Get(ctx, store.Cached(db), racks, uuids[i])
						if err == nil && r.Free < least {
							t.Errorf("row %d is %d, although %d was committed", i, r.Free, least)
						}
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
			for range 2 {
				readers.Go(func() { read(func(fn func(store.Querier) error) error { return fn(s) }) })
				readers.Go(func() {
					read(func(fn func(store.Querier) error) error { return s.Read(context.Background(), fn) })
				})
			}
			writers.Wait()
			close(done)
			readers.Wait()
		})
	}
}
