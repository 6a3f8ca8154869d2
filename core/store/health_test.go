package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestHealthy(t *testing.T) { both(t, testHealthy) }

func testHealthy(t *testing.T, s *store.Store) {
	if err := s.Health(ctx); err != nil {
		t.Error(err)
	}
}

// TestLostFiles proves that nothing is said to be written any more once a file
// of the database was deleted or replaced, and that what it was can be read.
func TestLostFiles(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"deleted":          os.Remove,
		"log deleted":      func(path string) error { return os.Remove(path + "-wal") },
		"index deleted":    func(path string) error { return os.Remove(path + "-shm") },
		"moved away":       func(path string) error { return os.Rename(path, path+".old") },
		"replaced":         func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
		"folder moved":     func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
		"replaced by copy": replaceByCopy,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "k.db")
			s := storetest.OpenDSN(t, "sqlite:"+path, racks.Type)
			row := newRack("before")
			update(t, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, row) })
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err := s.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("after")) })
				if errs.ClassOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "nothing is written any more") {
					t.Errorf("written: %v", err)
				}
				if err := s.Health(ctx); errs.ClassOf(err) != errs.Unavailable {
					t.Errorf("healthy: %v", err)
				}
			}
			if n, err := store.Count(ctx, s, racks.Type, ""); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
}

func replaceByCopy(path string) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// TestDamagedWhileOpen proves that a database whose file was damaged while it is
// open is not written to any more.
func TestDamagedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	s, err := store.OpenDeclared(ctx, "sqlite:"+path, storetest.Seal(t), nil, racks.Type)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		update(t, s, func(tx *store.Tx) error {
			for k := range 50 {
				if err := store.Insert(ctx, tx, racks, &rack{Base: resource.Base{UUID: resource.NewUUID(), Name: "x"}, State: "Enabled",
					Slots: i*50 + k, Notes: strings.Repeat("n", 9000)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	mustClose(t, s)
	s = storetest.OpenDSN(t, "sqlite:"+path, racks.Type)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err == nil {
		for at := int64(4096); at+4096 <= info.Size() && err == nil; at += 4096 {
			_, err = file.WriteAt(make([]byte, 64), at)
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	for tries := 0; s.Health(ctx) == nil; tries++ { // what is in the cache is not looked at again
		if tries == 50 {
			t.Fatal("the damage was not seen")
		}
		_, _ = store.Find(ctx, s, racks, "") // it fails when it comes to a damaged page
	}
	err = s.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, newRack("after")) })
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("written: %v", err)
	}
}

// TestFullDisk proves that a database says when its disk is nearly full, and
// not any longer than that.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Fatalf("mount a small disk, as root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := storetest.OpenDSN(t, "sqlite:"+filepath.Join(dir, "k.db"), racks.Type)
	if err := s.Health(ctx); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(ctx); errs.ClassOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "full") {
		t.Errorf("with a full disk: %v", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(ctx); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
