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
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// versionFor asks which version serves the hosts of a zone.
func versionFor(t *testing.T, hv *plugin.Hypervisor, zone string) string {
	t.Helper()
	r, err := hv.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: &pluginv1.Host{Uuid: "h1", ZoneUuid: zone}})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetFacts().GetFields()["version"]
}

func wantVersions(t *testing.T, hv *plugin.Hypervisor, when, east, west string) {
	t.Helper()
	if e, w, none := versionFor(t, hv, "east"), versionFor(t, hv, "west"), versionFor(t, hv, ""); e != east || w != west || none != west {
		t.Errorf("%s: east has version %s, west %s, hosts of no zone %s; want %s, %s, %s", when, e, w, none, east, west, west)
	}
}

// A canary takes its zones' calls, watches included, and nothing else; another one takes
// its place; an upgrade gives it all, a rollback nothing.
func TestCanary(t *testing.T) {
	c := start(t, nil)
	hv, ctx, old := c.sample(t), t.Context(), c.Status()[0]
	watched, cutOff := make(chan struct{}), make(chan error, 1)
	go func() {
		cutOff <- hv.WatchHost(ctx, &pluginv1.WatchHostRequest{Host: &pluginv1.Host{Uuid: "h1", ZoneUuid: "east"}}, func(*pluginv1.VMStatus) error {
			close(watched)
			return nil
		})
	}()
	<-watched
	if err := c.Canary(ctx, "sample", []string{"east"}); !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), "is the one that runs") {
		t.Errorf("a canary of the same binary: %v", err)
	}
	path := install(t, c.cfg.Dir, "sample2", "sample")
	if err := c.Canary(ctx, "sample", []string{"east"}); err != nil {
		t.Fatal(err)
	}
	if err := <-cutOff; !errors.Is(err, errs.Unavailable) {
		t.Errorf("a watch on the process before: %v", err)
	}
	wantVersions(t, hv, "with a canary", "2", "1")
	s := c.Status()[0]
	if s.Version != "1" || s.PID != old.PID || s.CanaryVersion != "2" || strings.Join(s.CanaryZones, " ") != "east" {
		t.Errorf("status %+v", s)
	}
	// What runs everywhere else is what the folder has, and what is restarted.
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, hv, "after the other one was killed", "2", "1")
	if err := c.Canary(ctx, "sample", []string{"east", "north"}); err != nil {
		t.Fatalf("another zone for it: %v", err)
	}
	if v := versionFor(t, hv, "north"); v != "2" {
		t.Errorf("north has version %s", v)
	}
	if err := c.Rollback(ctx, "sample"); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, hv, "taken back", "1", "1")
	if err := c.Rollback(ctx, "sample"); !errors.Is(err, errs.Refused) {
		t.Errorf("a second rollback: %v", err)
	}
	if err := os.Rename(filepath.Join(c.cfg.DataDir, "sample", "canary"), path); err != nil {
		t.Fatal(err)
	}
	if err := c.Canary(ctx, "sample", []string{"east"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Upgrade(ctx, "sample", path); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, hv, "upgraded", "2", "2")
	if s := c.Status()[0]; s.Version != "2" || s.CanaryVersion != "" || s.SHA256 == old.SHA256 || s.Path != path {
		t.Errorf("status after the upgrade %+v", s)
	}
	if err := c.Rollback(ctx, "sample"); err != nil {
		t.Fatalf("back from what is not proven: %v", err)
	}
	wantVersions(t, hv, "back from the upgrade", "1", "1")
	if s := c.Status()[0]; s.SHA256 != old.SHA256 || s.Path != path {
		t.Errorf("status after going back %+v", s)
	}
}

// A canary that fails gives its zones back; one whose plugin is disabled ends with it.
func TestCanaryFails(t *testing.T) {
	for _, how := range []string{"ends", "hangs"} {
		t.Run(how, func(t *testing.T) {
			c := start(t, nil)
			hv := c.sample(t)
			install(t, c.cfg.Dir, "sample2", "sample")
			if err := c.Canary(t.Context(), "sample", []string{"east"}); err != nil {
				t.Fatal(err)
			}
			pid := c.Status()[0].CanaryPID
			signal := map[string]syscall.Signal{"ends": syscall.SIGKILL, "hangs": syscall.SIGSTOP}[how]
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "the zone is given back", func() bool { return c.Status()[0].LastError != "" })
			wantVersions(t, hv, "after it failed", "1", "1")
			if s := c.Status()[0]; !strings.Contains(s.LastError, "version 2 failed after") || !strings.Contains(s.LastError, "version 1 serves its zones (east) again") || s.Restarts != 0 {
				t.Errorf("status %+v", s)
			}
			if alive(pid) {
				t.Error("its process is left")
			}
		})
	}
	c := start(t, nil)
	install(t, c.cfg.Dir, "sample2", "sample")
	if err := c.Canary(t.Context(), "sample", []string{"east"}); err != nil {
		t.Fatal(err)
	}
	pid := c.Status()[0].CanaryPID
	if err := c.Disable(t.Context(), "sample"); err != nil {
		t.Fatal(err)
	}
	if s := c.Status()[0]; s.State != plugin.Disabled || s.CanaryVersion != "" || alive(pid) {
		t.Errorf("disabled, its process lives (%t): %+v", alive(pid), s)
	}
	if err := c.Canary(t.Context(), "sample", []string{"east"}); !errors.Is(err, errs.Refused) {
		t.Errorf("of a plugin that is off: %v", err)
	}
}

// What cannot be a canary changes nothing: the new binary stays in the folder.
func TestCanaryRefused(t *testing.T) {
	c := start(t, nil)
	path := install(t, c.cfg.Dir, "greedy", "sample")
	err := c.Canary(t.Context(), "sample", []string{"east"})
	if !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), "version 3 declares other things than version 1") {
		t.Fatalf("got %v", err)
	}
	wantVersions(t, c.sample(t), "refused", "1", "1")
	if now, err := os.ReadFile(path); err != nil || len(now) == 0 {
		t.Fatal(err)
	} else if want, err := os.ReadFile(filepath.Join(built, "greedy")); err != nil || string(now) != string(want) {
		t.Errorf("the folder has another binary: %v", err)
	}
	if s := c.Status()[0]; s.CanaryVersion != "" {
		t.Errorf("status %+v", s)
	}
}
