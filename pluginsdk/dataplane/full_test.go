package dataplane

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// On a medium that is full a file can become shorter; one that cannot be written
// leaves what was there, and takes no room.
func TestWriteFileOnFullMedium(t *testing.T) {
	folder := t.TempDir()
	must(t, unix.Mount("tmpfs", folder, "tmpfs", 0, "size=32k"))
	t.Cleanup(func() { must(t, unix.Unmount(folder, 0)) })
	file := filepath.Join(folder, "network")
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	must(t, writeFile(file, text(10_000), 0o600))
	filler, err := os.Create(filepath.Join(folder, "filler"))
	must(t, err)
	for err == nil {
		_, err = filler.Write(text(1000))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, filler.Close())

	if err := writeFile(file, text(20_000), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("longer: %v", err)
	}
	if err := writeFile(filepath.Join(folder, "another"), text(1), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("another: %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != 10_000 {
		t.Errorf("%d bytes are left: %v", len(got), err)
	}
	must(t, writeFile(file, text(9_000), 0o600))
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, text(9_000)) {
		t.Errorf("shorter: %d bytes: %v", len(got), err)
	}
	entries, err := os.ReadDir(folder)
	if must(t, err); len(entries) != 2 {
		t.Errorf("files: %v", entries)
	}
}
