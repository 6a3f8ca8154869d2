package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
)

// The hook is asked before each read and write, and its error takes the place of
// the statement, within a transaction too; without it all is as before.
func TestTestHook(t *testing.T) { both(t, testTestHook) }

func testTestHook(t *testing.T, s *store.Store) {
	broken := errors.New("broken")
	row := newRack("a")
	update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, row) })
	write := func() error {
		return s.Update(ctx, func(tx *store.Tx) error {
			row := newRack("b")
			row.Slots = 1
			if err := store.Insert(ctx, tx, racks, row); err != nil {
				return err
			}
			return store.Delete(ctx, tx, racks.Type, row.UUID)
		})
	}
	for _, verb := range []string{"SELECT", "INSERT", "DELETE"} {
		store.SetTestHook(s, func(query string) error {
			if strings.HasPrefix(query, verb) {
				return broken
			}
			return nil
		})
		_, err := store.Get(ctx, s, racks, row.UUID)
		if errors.Is(err, broken) != (verb == "SELECT") {
			t.Errorf("%s is broken, and a read returned %v", verb, err)
		}
		if err := write(); errors.Is(err, broken) != (verb != "SELECT") {
			t.Errorf("%s is broken, and writes returned %v", verb, err)
		}
		store.SetTestHook(s, nil)
		if rows, err := store.Find(ctx, s, racks, ""); err != nil || len(rows) != 1 {
			t.Errorf("%s is whole again, and there are %d racks, %v", verb, len(rows), err)
		}
	}
	if err := write(); err != nil {
		t.Error(err)
	}
}
