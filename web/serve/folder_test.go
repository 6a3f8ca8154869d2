package serve

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestDataFolder(t *testing.T) {
	for _, c := range []struct {
		before, after os.FileMode
		refused       bool
	}{
		{0o700, 0o700, false},
		{0o755, 0o700, false},
		{0o770, 0o700, false},
		{0o777, 0o777, true},
		{0o777 | os.ModeSticky, 0o777, true},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, c.before); err != nil {
			t.Fatal(err)
		}
		err := dataFolder(dir)
		if c.refused != errors.Is(err, errs.Refused) {
			t.Errorf("mode %s: %v", c.before, err)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != c.after {
			t.Errorf("mode %s became %s, %v", c.before, info.Mode(), err)
		}
	}
	fresh := filepath.Join(t.TempDir(), "a", "b")
	if err := dataFolder(fresh); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a new folder has %v, %v", info, err)
	}
}

func TestUsedFolder(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // a start that failed before the folder was used is repeated
		if err := unusedFolder(dir, true); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := markFolder(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := unusedFolder(dir, false); err != nil {
		t.Errorf("with its database: %v", err)
	}
	if err := unusedFolder(dir, true); !errors.Is(err, errs.Refused) {
		t.Errorf("with an empty database: %v", err)
	}
}
