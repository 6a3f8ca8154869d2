package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// TestModes proves that nobody but the owner can read a database, whether its
// files are new or were made readable.
func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	for _, round := range []string{"new", "opened again"} {
		t.Run(round, func(t *testing.T) {
			s := storetest.OpenDSN(t, "sqlite:"+path, racks.Type)
			update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack(round)) })
			for _, end := range []string{"", "-wal", "-shm", ".lock"} {
				info, err := os.Stat(path + end)
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s%s: %v, %v", filepath.Base(path), end, info.Mode(), err)
				}
			}
		})
		for _, end := range []string{"", ".lock"} {
			if err := os.Chmod(path+end, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOrphanedLog proves that a log whose database is gone is not thrown away.
func TestOrphanedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	if err := os.WriteFile(path+"-wal", []byte("all there is"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := store.Open(ctx, "sqlite:"+path, nil, nil, nil)
		if !errors.Is(err, errs.Refused) {
			t.Fatalf("opened: %v", err)
		}
		if b, err := os.ReadFile(path + "-wal"); err != nil || string(b) != "all there is" {
			t.Errorf("the log became %q, %v", b, err)
		}
	}
}
