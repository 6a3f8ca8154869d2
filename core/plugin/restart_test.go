package plugin_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestCrashIsRetried(t *testing.T) {
	c := start(t, nil)
	restarted := make(chan string, 8)
	c.OnRestart(func(name string) { restarted <- name })
	hv := c.sample(t)
	before := facts(t, hv)["pid"]
	began := time.Now()
	if _, err := hv.CheckHost(t.Context(), host("crash once")); err != nil {
		t.Fatal(err)
	}
	t.Logf("the call took %s over a crash", time.Since(began))
	if after := facts(t, hv)["pid"]; after == before {
		t.Error("it is the same process")
	}
	if s := c.Status()[0]; s.Restarts != 1 || s.State != "running" || s.LastError == "" {
		t.Errorf("status: %+v", s)
	}
	if name := <-restarted; name != "sample" {
		t.Errorf("hook got %q", name)
	}
}

func TestCrashInStreamIsRetried(t *testing.T) {
	c := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := c.sample(t).WatchHost(ctx, &pluginv1.WatchHostRequest{Host: &pluginv1.Host{Name: "crash once"}}, func(*pluginv1.VMStatus) error {
		seen++
		cancel()
		return nil
	})
	if !errors.Is(err, errs.Cancelled) || seen != 1 {
		t.Errorf("%d seen, %v", seen, err)
	}
	if s := c.Status()[0]; s.Restarts != 1 {
		t.Errorf("status: %+v", s)
	}
}

// TestWatchEndsWithProcess: after the first message a stream is not started
// over, since the caller may have acted on what it saw.
func TestWatchEndsWithProcess(t *testing.T) {
	c := start(t, nil)
	pid := c.Status()[0].PID
	err := c.sample(t).WatchHost(t.Context(), &pluginv1.WatchHostRequest{Host: &pluginv1.Host{}}, func(*pluginv1.VMStatus) error {
		return syscall.Kill(pid, syscall.SIGKILL)
	})
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "plugin sample: it is not running") {
		t.Errorf("got %v", err)
	}
}

func TestCrashLoop(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	_, err := hv.CheckHost(t.Context(), host("crash"))
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "plugin sample: it is not running") {
		t.Errorf("got %v", err)
	}
	if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
		t.Errorf("after two crashes: %v", err)
	}
	if s := c.Status()[0]; s.Restarts < 2 || !strings.Contains(s.LastError, "its process ended; last words: panic: out of control") {
		t.Errorf("status: %+v", s)
	}
}

func TestHangIsKilled(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		cfg.HealthEvery, cfg.HealthTimeout = 100*time.Millisecond, 500*time.Millisecond
	})
	hv := c.sample(t)
	before := c.Status()[0].PID
	began := time.Now()
	if _, err := hv.CheckHost(t.Context(), host("stop once")); err != nil {
		t.Fatal(err)
	}
	t.Logf("the call took %s over a hang", time.Since(began))
	if alive(before) {
		t.Error("the hanging process is left")
	}
	if s := c.Status()[0]; s.Restarts != 1 || !strings.Contains(s.LastError, "health check") {
		t.Errorf("status: %+v", s)
	}
}

// TestMemoryOverrun has a process that takes too much memory ended. Its call
// may have been answered by then, or is made again on the next process.
func TestMemoryOverrun(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		cfg.HealthEvery, cfg.HealthTimeout, cfg.MemoryLimit = 50*time.Millisecond, 30*time.Second, 150<<20
	})
	if _, err := c.sample(t).CheckHost(t.Context(), host("hoard once")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "restarted", func() bool { return c.Status()[0].Restarts == 1 })
	if s := c.Status()[0]; !strings.Contains(s.LastError, "MiB of memory") {
		t.Errorf("status: %+v", s)
	}
}

// TestCrashUnderLoad kills the process while 64 callers are at work: no call
// may fail.
func TestCrashUnderLoad(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var calls sync.WaitGroup
	for range 64 {
		calls.Go(func() {
			for ctx.Err() == nil {
				if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	if err := syscall.Kill(c.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if s := c.Status()[0]; s.Restarts != 1 {
		t.Errorf("status: %+v", s)
	}
}

func TestStopLetsCallsEnd(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	ended := make(chan error, 1)
	go func() {
		_, err := hv.CheckHost(t.Context(), host("slow"))
		ended <- err
	}()
	time.Sleep(200 * time.Millisecond)
	c.Stop(t.Context())
	if err := <-ended; err != nil {
		t.Errorf("running call: %v", err)
	}
	if _, err := hv.CheckHost(t.Context(), host("")); !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "it is stopped") {
		t.Errorf("new call: %v", err)
	}
}

func TestUpgrade(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) { cfg.Proving = time.Nanosecond })
	hv := c.sample(t)
	old := c.Status()[0]
	slow := make(chan error, 1)
	go func() {
		_, err := hv.CheckHost(t.Context(), host("slow"))
		slow <- err
	}()
	time.Sleep(100 * time.Millisecond)
	upgraded := make(chan error, 1)
	go func() { upgraded <- c.Upgrade(t.Context(), "sample", filepath.Join(built, "sample2")) }()
	calls := 0
	for running := true; running; calls++ {
		select {
		case err := <-upgraded:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
			if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
				t.Fatalf("call during the upgrade: %v", err)
			}
		}
	}
	t.Logf("%d calls during the upgrade", calls)
	if err := <-slow; err != nil {
		t.Errorf("call that began before: %v", err)
	}
	now := c.Status()[0]
	if now.Version != "2" || now.PID == old.PID || now.SHA256 == old.SHA256 || now.Restarts != 0 || facts(t, hv)["version"] != "2" {
		t.Errorf("status: %+v", now)
	}
	if alive(old.PID) {
		t.Error("the old process is left")
	}
	// The new binary is the one that is restarted.
	if err := syscall.Kill(now.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
		t.Error(err)
	}
	if v := facts(t, hv)["version"]; v != "2" {
		t.Errorf("version %s was restarted", v)
	}
}

// A version that fails soon after its upgrade gives its place back, in the folder too;
// one that has run for long enough is restarted as any other. Calls wait for that.
func TestUpgradeReturns(t *testing.T) {
	for _, how := range []string{"ends", "hangs"} {
		t.Run(how, func(t *testing.T) {
			c := start(t, func(cfg *plugin.Config) {
				cfg.Proving = time.Hour
				cfg.Granted = func(_ context.Context, _ string, _ []byte, asked []string) ([]string, error) { return asked, nil }
			})
			hv, old := c.sample(t), c.Status()[0]
			if err := c.Upgrade(t.Context(), "sample", filepath.Join(built, "sample2")); err != nil {
				t.Fatal(err)
			}
			now := c.Status()[0]
			signal := map[string]syscall.Signal{"ends": syscall.SIGKILL, "hangs": syscall.SIGSTOP}[how]
			if err := syscall.Kill(now.PID, signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "the version before", func() bool { s := c.Status()[0]; return s.Version == "1" && s.PID != 0 && s.PID != now.PID })
			if v := facts(t, hv)["version"]; v != "1" {
				t.Errorf("version %s answers", v)
			}
			s := c.Status()[0]
			if s.SHA256 != old.SHA256 || s.Path != old.Path || !strings.Contains(s.LastError, "version 2 failed") || !strings.Contains(s.LastError, "version 1 is back") {
				t.Errorf("status %+v", s)
			}
			if _, err := os.Stat(filepath.Join(c.cfg.Dir, "kumo-plugin-sample.failed")); err != nil {
				t.Error(err)
			}
			if names := plugin.Available(c.cfg.Dir); len(names) != 1 {
				t.Errorf("plugins of the folder: %v", names)
			}
			// It is the binary that is restarted.
			if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "another process", func() bool { n := c.Status()[0]; return n.PID != 0 && n.PID != s.PID })
			if v := facts(t, hv)["version"]; v != "1" {
				t.Errorf("version %s was restarted", v)
			}
			if _, err := os.Stat(filepath.Join(c.cfg.DataDir, "sample", "former")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the copy is left: %v", err)
			}
		})
	}
}

func TestUpgradeRefuses(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "other", "other")
		cfg.Enabled = []string{"sample", "other"}
	})
	tests := []struct {
		name, binary, plugin, want string
	}{
		{"missing", "/nonexistent", "sample", "it cannot be used"},
		{"another plugin", filepath.Join(built, "other"), "sample", `says that it is "other"`},
		{"not enabled", filepath.Join(built, "sample"), "nothing", "it is not enabled (known are: sample, other)"},
		{"not a plugin", "/bin/true", "sample", "did not start as a Kumo plugin"},
		{"type of another", filepath.Join(built, "greedy"), "sample", "hypervisor type Other: plugins sample and other both declare it"},
	}
	before := c.Status()[0]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.Upgrade(t.Context(), tt.plugin, tt.binary); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	after := c.Status()[0]
	if after.Memory = before.Memory; !reflect.DeepEqual(after, before) {
		t.Errorf("changed from %+v to %+v", before, after)
	}
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the folder: %v %v", entries, err)
	}
}

// TestChangedBinary: a file that was replaced behind the core's back is not
// run; an upgrade takes it.
func TestChangedBinary(t *testing.T) {
	c := start(t, nil)
	path := install(t, c.cfg.Dir, "sample2", "sample")
	if err := syscall.Kill(c.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "refused", func() bool {
		return strings.Contains(c.Status()[0].LastError, "its SHA-256 has changed")
	})
	_, err := c.sample(t).CheckHost(t.Context(), host(""))
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "SHA-256 has changed") {
		t.Errorf("call: %v", err)
	}
	if s := c.Status()[0]; s.State != "restarting" || s.PID != 0 {
		t.Errorf("status: %+v", s)
	}
	if err := c.Upgrade(t.Context(), "sample", path); err != nil {
		t.Fatal(err)
	}
	if v := facts(t, c.sample(t))["version"]; v != "2" {
		t.Errorf("version %s", v)
	}
}
