package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// listener collects what it is told.
type listener struct {
	mu     sync.Mutex
	told   []string
	refuse bool
}

func (l *listener) Wants(*resource.Type) bool { return true }

func (l *listener) Committing(context.Context, *store.Tx, []store.Change) error {
	if l.refuse {
		return errs.New(errs.Refused, "listener", "not now")
	}
	return nil
}

func (l *listener) Committed(changes []store.Change) { l.Changed(changes) }

func (l *listener) Changed(changes []store.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		text := string(c.Verb) + " " + c.Type.Name + " " + c.UUID
		if len(c.Fields) > 0 {
			text += " " + strings.Join(c.Fields, ",")
		}
		if c.Account != "" {
			text += " of " + c.Account
		}
		l.told = append(l.told, text)
	}
}

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	return told
}

// A drawer is a part of a rack, and a tray of a drawer.
type (
	drawer struct {
		resource.Base
		RackUUID string `db:"rackUuid" kumo:"size=32,index"`
	}
	tray struct {
		resource.Base
		DrawerUUID string `db:"drawerUuid" kumo:"size=32,index"`
	}
)

var (
	drawers = resource.Define[drawer](resource.Type{Name: "Drawer", OwnedBy: "rack",
		Edges: []resource.Edge{{Name: "rack", To: "Rack", Column: "rackUuid"}}})
	trays = resource.Define[tray](resource.Type{Name: "Tray", OwnedBy: "drawer",
		Edges: []resource.Edge{{Name: "drawer", To: "Drawer", Column: "drawerUuid"}}})
)

func databases(t *testing.T) map[string]string {
	return map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "k.db"), "mysql": mariadb.Start(t)}
}

// TestChanges makes every kind of write and compares what is told of it.
func TestChanges(t *testing.T) {
	for name, dsn := range databases(t) {
		t.Run(name, func(t *testing.T) {
			s := storetest.OpenDSN(t, dsn, racks.Type, drawers.Type, trays.Type)
			one, two := newRack("one"), newRack("two")
			one.AccountUUID, two.AccountUUID = "acc1", "acc2"
			part, inner := &drawer{RackUUID: one.UUID}, &tray{}
			part.UUID, inner.UUID = resource.NewUUID(), resource.NewUUID()
			inner.DrawerUUID = part.UUID
			l, cause := &listener{}, &listener{}
			under := store.WithCause(ctx, cause)
			update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("unheard")) })
			s.Watch(l)
			steps := []struct {
				name string
				do   func(tx *store.Tx) error
				want []string
			}{
				{"insert", func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, one, two) },
					[]string{"created Rack " + one.UUID + " of acc1", "created Rack " + two.UUID + " of acc2"}},
				{"set twice", func(tx *store.Tx) error {
					if err := store.Set(ctx, tx, racks.Type, one.UUID, map[string]any{"slots": 3}); err != nil {
						return err
					}
					return store.Set(ctx, tx, racks.Type, one.UUID, map[string]any{"name": "uno"})
				}, []string{"updated Rack " + one.UUID + " lastOpDate,name,slots"}},
				{"insert and set", func(tx *store.Tx) error {
					r := newRack("three")
					r.UUID = strings.Repeat("3", 32)
					if err := store.Insert(ctx, tx, racks, r); err != nil {
						return err
					}
					return store.Set(ctx, tx, racks.Type, r.UUID, map[string]any{"slots": 1})
				}, []string{"created Rack " + strings.Repeat("3", 32)}},
				{"bulk update", func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, "UPDATE `Rack` SET `free` = `free` + ?, `notes` = 'a, b WHERE' WHERE `accountUuid` IN (?)", 1, []string{"acc1", "acc2"})
					return err
				}, []string{"updated Rack " + one.UUID + " free,notes", "updated Rack " + two.UUID + " free,notes"}},
				{"update of nothing", func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, "UPDATE `Rack` SET `free` = ? WHERE `uuid` = ? AND `free` > ?", 1, one.UUID, 1000)
					return err
				}, nil},
				{"conditional update", func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, "UPDATE `Rack` SET `free` = ? WHERE `uuid` = ? AND `free` < ?", 1, one.UUID, 1000)
					return err
				}, []string{"updated Rack " + one.UUID + " free"}},
				{"insert parts", func(tx *store.Tx) error {
					return errors.Join(store.Insert(ctx, tx, drawers, part), store.Insert(ctx, tx, trays, inner))
				}, []string{"created Drawer " + part.UUID, "created Tray " + inner.UUID}},
				{"delete a part of a part", func(tx *store.Tx) error { return store.Delete(ctx, tx, trays.Type, inner.UUID) },
					[]string{"deleted Tray " + inner.UUID + " of acc1"}},
				{"bulk delete of parts", func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, "DELETE FROM `Drawer` WHERE `rackUuid` = ?", one.UUID)
					return err
				}, []string{"deleted Drawer " + part.UUID + " of acc1"}},
				{"delete", func(tx *store.Tx) error { return store.Delete(ctx, tx, racks.Type, one.UUID) },
					[]string{"deleted Rack " + one.UUID + " of acc1"}},
				{"delete again", func(tx *store.Tx) error { return store.Delete(ctx, tx, racks.Type, one.UUID) }, nil},
				{"bulk delete", func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, "DELETE FROM `Rack` WHERE `accountUuid` = ?", "acc2")
					return err
				}, []string{"deleted Rack " + two.UUID + " of acc2"}},
			}
			for _, step := range steps {
				if err := s.Update(under, step.do); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				got, why := l.take(), cause.take()
				if !sameSet(got, step.want) {
					t.Errorf("%s told %q, not %q", step.name, got, step.want)
				}
				if !sameSet(why, step.want) {
					t.Errorf("%s told its cause %q", step.name, why)
				}
			}
			failed := func(what string, fn func(tx *store.Tx) error) {
				if err := s.Update(under, fn); err == nil {
					t.Errorf("%s: no error", what)
				}
				if got := append(l.take(), cause.take()...); len(got) > 0 {
					t.Errorf("%s told %q", what, got)
				}
			}
			failed("a transaction that fails", func(tx *store.Tx) error {
				if err := store.Insert(ctx, tx, racks, newRack("none")); err != nil {
					return err
				}
				return errors.New("no")
			})
			l.refuse = true
			failed("a transaction that its watcher refuses", func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("none")) })
		})
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// TestUnknownStatement proves that nothing is written by a statement whose table
// is not known.
func TestUnknownStatement(t *testing.T) {
	s := storetest.Open(t, racks.Type)
	for _, query := range []string{"REPLACE INTO `Rack` (`uuid`) VALUES ('a')", "INSERT INTO `Rack` VALUES ('a')", "UPDATE (SELECT 1) SET a = 1",
		"WITH x AS (SELECT 1) DELETE FROM `Rack`"} {
		err := s.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		})
		if !errors.Is(err, errs.Internal) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
