package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type rack struct {
	resource.Base
	resource.Owned
	ZoneUUID string        `db:"zoneUuid" kumo:"null,index"`
	State    string        `db:"state" kumo:"size=32,values=Enabled|Disabled"`
	Slots    int           `db:"slots"`
	Free     int64         `db:"free"`
	Lit      bool          `db:"lit" kumo:"null"`
	Load     float64       `db:"load"`
	Seen     resource.Time `db:"seen"`
	Order    *int          `db:"order"`
	Notes    string        `db:"notes" kumo:"text,null"`
	Serial   string        `db:"serial" kumo:"size=64,null,unique"`
}

var racks = resource.Define[rack](resource.Type{Name: "Rack", Path: "/racks", FQN: "org.example.RackInventory",
	Indexes: []resource.Index{{Columns: []string{"zoneUuid", "slots"}, Unique: true}}})

func newRack(name string) *rack {
	return &rack{Base: resource.Base{UUID: resource.NewUUID(), Name: name}, State: "Enabled"}
}

var ctx = context.Background()

func TestRoundTrip(t *testing.T) { both(t, testRoundTrip) }

func testRoundTrip(t *testing.T, s *store.Store) {
	zero := 0
	want := newRack("Ruß \"quoted\" 雲")
	want.ZoneUUID, want.Slots, want.Free, want.Lit, want.Load = resource.NewUUID(), 42, 1<<40, true, 2.5
	want.Seen, want.Order, want.Notes, want.Serial = resource.Now(), &zero, strings.Repeat("long ", 20000), "s1"
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, want) })
	got, err := store.Get(ctx, s, racks, want.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Order != 0 || got.CreateDate.IsZero() || got.CreateDate != got.LastOpDate {
		t.Errorf("order %v, created %v, changed %v", got.Order, got.CreateDate, got.LastOpDate)
	}
	got.Order = want.Order
	if *got != *want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	n, err := store.Count(ctx, s, racks.Type, "name = ? AND seen = ? AND lit = ?", strings.Replace(want.Name, "quoted", "QUOTED", 1), want.Seen, true)
	if err != nil || n != 1 {
		t.Errorf("compared without case: %d rows, %v", n, err)
	}
	empty := newRack("")
	empty.Slots = 1
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, empty) })
	n, err = store.Count(ctx, s, racks.Type, "zoneUuid IS NULL AND lit IS NULL AND seen IS NULL AND `order` IS NULL AND notes IS NULL AND serial IS NULL AND name = '' AND `load` = 0")
	if err != nil || n != 1 {
		t.Errorf("zero values: %d rows, %v", n, err)
	}
}

func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func TestFindSaveSetDelete(t *testing.T) { both(t, testFindSaveSetDelete) }

func testFindSaveSetDelete(t *testing.T, s *store.Store) {
	var rows []*rack
	for i := range 150 {
		r := newRack(fmt.Sprintf("rack-%03d", i))
		r.Slots = i
		rows = append(rows, r)
	}
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, rows...) })
	for _, c := range []struct {
		where string
		args  []any
		want  int
	}{
		{"", nil, 150},
		{"slots < ?", []any{10}, 10},
		{"name IN (?) AND slots > ?", []any{[]string{"rack-001", "rack-100", "no"}, 5}, 1},
		{"name IN (?)", []any{[]string{}}, 0},
		{"name NOT IN (?)", []any{[]string{}}, 150},
		{"slots IN (?) OR name = '?'", []any{[]int{1, 2, 3, 4, 5}}, 5},
		{"ORDER BY slots DESC LIMIT 3", nil, 3},
	} {
		got, err := store.Find(ctx, s, racks, c.where, c.args...)
		if err != nil || len(got) != c.want {
			t.Errorf("%q: %d rows, want %d, %v", c.where, len(got), c.want, err)
		}
	}
	first, ok, err := store.First(ctx, s, racks, "slots >= ? ORDER BY slots", 77)
	if err != nil || !ok || first.Slots != 77 {
		t.Fatalf("first: %+v %v %v", first, ok, err)
	}
	first.Free, first.Name = 5, "changed"
	update(t, s, func(tx *store.Tx) error { return store.Save(ctx, tx, racks, first, "free") })
	update(t, s, func(tx *store.Tx) error {
		return store.Set(ctx, tx, racks.Type, first.UUID, map[string]any{"lit": true, "serial": "", "order": nil})
	})
	got, err := store.Get(ctx, s, racks, first.UUID)
	if err != nil || got.Free != 5 || got.Name != "rack-077" || !got.Lit {
		t.Errorf("after save and set: %+v %v", got, err)
	}
	for range 2 {
		update(t, s, func(tx *store.Tx) error { return store.Delete(ctx, tx, racks.Type, first.UUID) })
	}
	if _, err := store.Get(ctx, s, racks, first.UUID); !errors.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "Rack "+first.UUID) {
		t.Errorf("get of a deleted row: %v", err)
	}
	err = s.Update(ctx, func(tx *store.Tx) error { return store.Save(ctx, tx, racks, first) })
	if !errors.Is(err, errs.NotFound) {
		t.Errorf("save of a deleted row: %v", err)
	}
}

func TestHold(t *testing.T) { both(t, testHold) }

// Who deletes a row that is held waits, and sees what was added to it.
func testHold(t *testing.T, s *store.Store) {
	parent, child := newRack("parent"), newRack("child")
	child.ZoneUUID = parent.UUID
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, parent) })
	var deletes sync.WaitGroup
	var once sync.Once
	update(t, s, func(tx *store.Tx) error {
		if err := store.Hold(ctx, tx, racks.Type, parent.UUID); err != nil {
			return err
		}
		once.Do(func() {
			deletes.Go(func() {
				err := s.Update(ctx, func(tx *store.Tx) error {
					if err := store.Delete(ctx, tx, racks.Type, parent.UUID); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "DELETE FROM `Rack` WHERE `zoneUuid` = ?", parent.UUID)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
		time.Sleep(100 * time.Millisecond) // the delete has begun, or waits
		return store.Insert(ctx, tx, racks, child)
	})
	deletes.Wait()
	if n, err := store.Count(ctx, s, racks.Type, ""); err != nil || n != 0 {
		t.Errorf("%d rows are left: %v", n, err)
	}
	err := s.Update(ctx, func(tx *store.Tx) error { return store.Hold(ctx, tx, racks.Type, parent.UUID) })
	if !errors.Is(err, errs.NotFound) {
		t.Errorf("a row that is gone was held: %v", err)
	}
}

func TestRefusals(t *testing.T) { both(t, testRefusals) }

func testRefusals(t *testing.T, s *store.Store) {
	a := newRack("a")
	a.Serial = "same"
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, a) })
	for name, c := range map[string]struct {
		change func(r *rack)
		class  errs.Class
		text   string
	}{
		"unique":   {func(r *rack) { r.Serial = "SAME" }, errs.Exists, ""},
		"uuid":     {func(r *rack) { r.UUID = a.UUID }, errs.Exists, a.UUID},
		"too long": {func(r *rack) { r.Name = strings.Repeat("雲", 256) }, errs.Invalid, "name: 256 characters"},
		"no utf-8": {func(r *rack) { r.Name = "\xff" }, errs.Invalid, "UTF-8"},
		"state":    {func(r *rack) { r.State = "Odd" }, errs.Invalid, "Enabled, Disabled"},
		"too big":  {func(r *rack) { r.Slots = 1 << 40 }, errs.Invalid, "32 bits"},
		"no uuid":  {func(r *rack) { r.UUID = "" }, errs.Internal, "no uuid"},
	} {
		r := newRack("b")
		r.Slots = 9
		c.change(r)
		err := s.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := store.Count(ctx, s, racks.Type, "")
	if err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestGroupedFailures proves that of many concurrent functions exactly those
// that fail leave nothing behind.
func TestGroupedFailures(t *testing.T) { both(t, testGroupedFailures) }

func testGroupedFailures(t *testing.T, s *store.Store) {
	boom := errors.New("boom")
	counter := newRack("counter")
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, counter) })
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			r := newRack(fmt.Sprintf("r%d", i))
			r.Slots = 100 + i
			committed := false
			err := s.Update(ctx, func(tx *store.Tx) error {
				tx.OnCommit(func() { committed = true })
				if err := store.Insert(ctx, tx, racks, r); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "UPDATE Rack SET free = free + 1 WHERE uuid = ?", counter.UUID); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return boom
				case 2:
					panic("bang")
				}
				return nil
			})
			switch i % 4 {
			case 1:
				if !errors.Is(err, boom) || committed {
					t.Errorf("%d: %v, committed %t", i, err, committed)
				}
			case 2:
				if !errors.Is(err, errs.Internal) || committed {
					t.Errorf("%d: %v, committed %t", i, err, committed)
				}
			default:
				if err != nil || !committed {
					t.Errorf("%d: %v, committed %t", i, err, committed)
				}
			}
		})
	}
	wg.Wait()
	rows, err := store.Find(ctx, s, racks, "slots >= 100")
	if err != nil || len(rows) != 100 {
		t.Errorf("%d rows, want 100, %v", len(rows), err)
	}
	c, err := store.Get(ctx, s, racks, counter.UUID)
	if err != nil || c.Free != 100 {
		t.Errorf("counter %+v, %v", c, err)
	}
}

func TestView(t *testing.T) { both(t, testView) }

func testView(t *testing.T, s *store.Store) {
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("a")) })
	err := s.View(ctx, func(tx *store.Tx) error {
		before, err := store.Count(ctx, tx, racks.Type, "")
		if err != nil {
			return err
		}
		b := newRack("b")
		b.Slots = 1
		update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, b) })
		after, err := store.Count(ctx, tx, racks.Type, "")
		if before != 1 || after != 1 {
			t.Errorf("the snapshot changed from %d to %d", before, after)
		}
		if _, werr := tx.Exec(ctx, "DELETE FROM Rack"); !errors.Is(werr, errs.Internal) {
			t.Errorf("a view wrote: %v", werr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := store.Count(ctx, s, racks.Type, ""); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestCancelled(t *testing.T) { both(t, testCancelled) }

func testCancelled(t *testing.T, s *store.Store) {
	done, cancel := context.WithCancel(ctx)
	cancel()
	ran := false
	err := s.Update(done, func(*store.Tx) error { ran = true; return nil })
	if ran || !errors.Is(err, context.Canceled) {
		t.Errorf("ran %t, %v", ran, err)
	}
	if _, err := store.Find(done, s, racks, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("find: %v", err)
	}
}

// both runs a test on SQLite and on MariaDB.
func both(t *testing.T, f func(*testing.T, *store.Store)) {
	t.Run("sqlite", func(t *testing.T) { f(t, storetest.Open(t, racks.Type)) })
	t.Run("mariadb", func(t *testing.T) { f(t, storetest.OpenDSN(t, mariadb.Start(t), racks.Type)) })
}

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }
