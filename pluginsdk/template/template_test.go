package template_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/template"
)

// The budget of a whole storage plugin with its conformance test.
const (
	maxFiles = 5
	maxLines = 450
)

// TestNew writes a plugin into this module, counts it, builds it and runs its
// own conformance test.
func TestNew(t *testing.T) {
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	parent, err := os.MkdirTemp("testdata", "new")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
		// Only when no other run is at work there.
		_ = os.Remove("testdata")
	})
	dir := filepath.Join(parent, "shelf")
	if err := template.New(dir, "shelf"); err != nil {
		t.Fatal(err)
	}
	files, lines := count(t, dir)
	t.Logf("%d files, %d lines", files, lines)
	if files > maxFiles || lines > maxLines {
		t.Errorf("%d files with %d lines are more than %d with %d", files, lines, maxFiles, maxLines)
	}
	binary := filepath.Join(t.TempDir(), "kumo-plugin-shelf")
	run(t, dir, "go", "build", "-o", binary, ".")
	run(t, dir, "go", "vet", ".")
	out := run(t, dir, "go", "test", "-v", "-count=1", ".")
	for _, want := range []string{"conformance of plugin shelf", "CreateVolume, answer lost", "ok"} {
		if !strings.Contains(out, want) {
			t.Errorf("the conformance test did not say %q:\n%s", want, out)
		}
	}
	by := exec.Command(binary)
	if out, err := by.CombinedOutput(); err == nil || !strings.Contains(string(out), "shelf is a Kumo plugin") {
		t.Errorf("started by hand: %v %s", err, out)
	}
}

func count(t *testing.T, dir string) (files, lines int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(bytes.ToLower(text), []byte("sample")) {
			t.Errorf("%s still has the sample's name", e.Name())
		}
		files++
		lines += bytes.Count(text, []byte("\n"))
	}
	return files, lines
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestNewOutsideOfAModule(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shelf")
	if err := template.New(dir, "shelf"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(text), "module kumo-plugin-shelf\n") {
		t.Errorf("go.mod: %q %v", text, err)
	}
	if files, _ := count(t, dir); files > maxFiles {
		t.Errorf("%d files are more than %d", files, maxFiles)
	}
}

func TestNewRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		dir, name string
		class     errs.Class
	}{
		{t.TempDir(), "", errs.Invalid},
		{t.TempDir(), "Upper", errs.Invalid},
		{t.TempDir(), "a/b", errs.Invalid},
		{t.TempDir(), "main", errs.Invalid},
		{full, "shelf", errs.Exists},
		{filepath.Join(full, "x"), "shelf", errs.Invalid},
	}
	for _, tt := range tests {
		before, _ := os.ReadDir(tt.dir)
		if err := template.New(tt.dir, tt.name); !errors.Is(err, tt.class) {
			t.Errorf("%s %q: got %v, want %s", tt.dir, tt.name, err, tt.class)
		}
		if after, _ := os.ReadDir(tt.dir); len(after) != len(before) {
			t.Errorf("%s %q: left %d files", tt.dir, tt.name, len(after))
		}
	}
}
