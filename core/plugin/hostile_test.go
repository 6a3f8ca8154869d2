package plugin_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A plugin that is granted one method and calls everything, floods the core with
// reports and answers garbage, harms nobody: what it is not granted is refused, other
// plugins answer meanwhile, and its garbage is an error of its own call.
func TestHostile(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "hostile", "hostile")
		cfg.Enabled = []string{"sample", "hostile"}
	})
	bad, err := c.Hypervisor("Hostile")
	if err != nil {
		t.Fatal(err)
	}
	ctx := pluginsdk.WithOperationID(t.Context(), "op")
	ended := make(chan error, 1)
	go func() {
		_, err := bad.CheckHost(ctx, host("everything"))
		ended <- err
	}()
	good, calls := c.sample(t), 0
	for running := true; running; calls++ {
		select {
		case err := <-ended:
			running = false
			if err == nil || !strings.Contains(err.Error(), "setting true, info false, disk true, query true, act true, address true, sign true, emit true") {
				t.Errorf("what it was refused: %v", err)
			}
		default:
			if _, err := good.CheckHost(t.Context(), host("")); err != nil {
				t.Fatalf("another plugin's call meanwhile: %v", err)
			}
		}
	}
	t.Logf("%d calls of another plugin meanwhile", calls)
	c.h.mu.Lock()
	for _, p := range c.h.progress {
		if len(p) > 1100 {
			t.Errorf("a report of %d bytes was let through", len(p))
			break
		}
	}
	c.h.mu.Unlock()
	if _, err := bad.CheckHost(ctx, host("garbage")); err == nil || errors.Is(err, errs.Unavailable) {
		t.Errorf("its garbage: %v", err)
	}
	for _, s := range c.Status() {
		if s.State != plugin.Running || s.Restarts != 0 {
			t.Errorf("status %+v", s)
		}
	}
}

// A plugin inherits no descriptor of the core, not even one that the core was started
// with, and has a folder of its own for temporary files, which is empty at its start.
func TestInheritsNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret")
	fd, err := syscall.Open(secret, syscall.O_CREAT|syscall.O_RDWR, 0o600) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	c := start(t, nil)
	got, tmp := facts(t, c.sample(t)), filepath.Join(c.cfg.DataDir, "sample", "tmp")
	if strings.Contains(got["files"], secret) || got["files"] == "" {
		t.Errorf("open in the plugin: %s", got["files"])
	}
	info, err := os.Stat(tmp)
	if got["tmp"] != tmp || err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("temporary files go to %s, which is %v %v", got["tmp"], info, err)
	}
	left := filepath.Join(tmp, "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Restart(t.Context(), "sample")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("a file of the process that was being replaced: %v", err)
	}
	if err := errors.Join(c.Disable(t.Context(), "sample"), c.Enable(t.Context(), "sample")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the last process left: %v", err)
	}
}

// A plugin that takes memory faster than it is looked at ends by the system's limit.
func TestMemoryBurst(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		cfg.HealthEvery, cfg.MemoryLimit = time.Hour, 100<<20
	})
	if _, err := c.sample(t).CheckHost(t.Context(), host("burst once")); err != nil {
		t.Fatal(err)
	}
	if s := c.Status()[0]; s.Restarts != 1 || !strings.Contains(s.LastError, "out of memory") {
		t.Errorf("status %+v", s)
	}
}
