package server

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// built is what one test binary has built so far.
var built struct {
	sync.Mutex
	dir  string
	made map[string]error // by target
}

// Main is for TestMain: it runs the tests (a *testing.M, or what runs one),
// removes what was built for them, and returns their exit code.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		return code
	}
	if err := os.RemoveAll(built.dir); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	return code
}

// Root returns the folder of the module.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("the test binary does not know its source files")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Build builds bin/kumo and the named plugins once and returns the path of the
// first and the folder of the others. Plugins called by several names are
// built once. TestMain must call Main.
func Build(t testing.TB, plugins ...string) (binary, pluginDir string) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "kumo-test-bin-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.made = dir, map[string]error{}
	}
	binary, pluginDir = filepath.Join(built.dir, "kumo"), filepath.Join(built.dir, "plugins")
	build := func(output, source string) {
		err, done := built.made[output]
		if !done {
			err = compile(output, source)
			built.made[output] = err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build(binary, ".")
	for _, name := range plugins {
		build(filepath.Join(pluginDir, "kumo-plugin-"+name), source(name))
	}
	if err := Sums(pluginDir); err != nil {
		t.Fatal(err)
	}
	return binary, pluginDir
}

// source is the folder of a plugin: one of ours, or a sample.
func source(name string) string {
	if _, err := os.Stat(filepath.Join(Root(), "plugins", name)); err != nil {
		return "./integration/samples/" + name
	}
	return "./plugins/" + name
}

// Sums writes the checksums of a folder's plugins, as `make build` does: so they are
// granted what they ask for.
func Sums(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "kumo-plugin-*"))
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), filepath.Base(f))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, "SHA256SUMS")
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // a server may read it
}

// compile uses the flags of `make build`, so that both share the build cache.
func compile(output, source string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", output, source)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("build %s: %w", source, err), errors.New(strings.TrimSpace(string(text))))
	}
	return nil
}
