package plugin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestStartAndStop(t *testing.T) {
	t.Setenv("KUMO_TEST_SECRET", "not for plugins")
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "other", "other")
		cfg.Enabled = []string{"sample", "other"}
		cfg.Settings = map[string]map[string]string{"sample": {"colour": "blue", "token": "t0ps3cret", "mirror": " 2001:DB8:0::1 ", "port": "081"}}
	})
	got := facts(t, c.sample(t))
	if got["token"] != "t0ps3cret" || got["mirror"] != "2001:db8::1" || got["port"] != "81" {
		t.Errorf("settings of the plugin: %v", got)
	}
	if got["colour"] != "blue" || got["secret"] != "" || got["data"] != filepath.Join(c.cfg.DataDir, "sample") {
		t.Errorf("environment of the plugin: %v", got)
	}
	info, err := os.Stat(got["data"])
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data folder: %v %v", info, err)
	}
	if ms := c.Manifests(); len(ms) != 2 || ms[0].Name != "sample" || ms[1].Name != "other" {
		t.Errorf("manifests: %v", ms)
	}
	status := c.Status()
	if s := status[0]; s.Name != "sample" || s.State != "running" || fmt.Sprint(s.PID) != got["pid"] || s.Version != "1" || s.Restarts != 0 || s.LastError != "" {
		t.Errorf("status: %+v", s)
	}
	c.Stop(t.Context())
	c.Stop(t.Context())
	for _, s := range status {
		if alive(s.PID) {
			t.Errorf("process of %s is left", s.Name)
		}
	}
	if s := c.Status()[0]; s.State != "stopped" || s.PID != 0 {
		t.Errorf("status after stop: %+v", s)
	}
	if _, err := os.Stat(filepath.Join(c.cfg.DataDir, "run")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sockets are left: %v", err)
	}
}

func TestLookups(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	if hv.Plugin != "sample" || hv.Decl.Type != "Sample" {
		t.Errorf("handle: %+v", hv)
	}
	pauser, err := hv.Pauser()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pauser.PauseVM(t.Context(), &pluginv1.PauseVMRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := hv.Consoler(); !errors.Is(err, errs.Unsupported) {
		t.Errorf("consoler: %v", err)
	}
	if _, err := hv.Gateway(); !errors.Is(err, errs.Unsupported) {
		t.Errorf("gateway: %v", err)
	}
	_, err = c.Hypervisor("Nothing")
	want := "hypervisor type Nothing: no enabled plugin offers it (enabled plugins: sample)"
	if !errors.Is(err, errs.NotFound) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, e1 := c.PrimaryStorage("Sample")
	_, e2 := c.BackupStorage("Sample")
	_, e3 := c.L2Network("Sample", "Sample")
	_, e4 := c.NetworkService("Sample")
	for _, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, errs.NotFound) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name    string
		enabled []string
		class   errs.Class
		want    string
	}{
		{"unknown", []string{"sample", "nothing"}, errs.NotFound, "plugin nothing: there is no kumo-plugin-nothing in DIR (the folder has: plain, sample)"},
		{"bad name", []string{"../sample"}, errs.Invalid, "this is not a plugin's name"},
		{"twice", []string{"sample", "sample"}, errs.Invalid, "enabled twice"},
		{"not executable", []string{"plain"}, errs.Invalid, "not an executable file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := config(t)
			install(t, cfg.Dir, "sample", "sample")
			if err := os.WriteFile(filepath.Join(cfg.Dir, "kumo-plugin-plain"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			cfg.Enabled = tt.enabled
			_, err := plugin.New(cfg)
			want := strings.ReplaceAll(tt.want, "DIR", cfg.Dir)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	script := func(text string) func(*testing.T, *plugin.Config) {
		return func(t *testing.T, cfg *plugin.Config) {
			if err := os.WriteFile(filepath.Join(cfg.Dir, "kumo-plugin-sample"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	wrong := func(setting, value string) func(*testing.T, *plugin.Config) {
		return func(_ *testing.T, cfg *plugin.Config) {
			cfg.Settings = map[string]map[string]string{"sample": {setting: value}}
		}
	}
	tests := []struct {
		name  string
		setup func(*testing.T, *plugin.Config)
		want  string
	}{
		{"exits", script("echo no such library >&2; exit 1"), "plugin sample: it did not start as a Kumo plugin"},
		{"last words", script("echo no such library >&2; exit 1"), "its last words: no such library"},
		{"talks of something else", script("echo hello; sleep 20"), "Unrecognized remote plugin message: hello"},
		{"wrong name", func(t *testing.T, cfg *plugin.Config) { install(t, cfg.Dir, "other", "sample") }, `its manifest says that it is "other"`},
		{"unknown setting", func(t *testing.T, cfg *plugin.Config) {
			cfg.Settings = map[string]map[string]string{"sample": {"size": "1"}}
		}, `it has no setting "size" (its settings are: colour, token, mirror, port, mode)`},
		{"no kind of text", wrong("mirror", "224.0.0.1"), `setting mirror: "224.0.0.1" is not an IP address or a host name, but a multicast address (RFC 1123`},
		{"secret of no kind", wrong("token", "not a t0ken"), "setting token: it is not a host name without a domain"},
		{"secret too long", wrong("token", strings.Repeat("t0ken", 5)), "setting token: it has 25 characters, at most 20 are allowed"},
		{"number out of bounds", wrong("port", "65536"), `setting port: "65536" is not between 1 and 65535`},
		{"number that is none", wrong("port", ""), `setting port: "" is not a whole number`},
		{"no choice", wrong("mode", "half"), `setting mode: "half" is not one of on, off`},
		{"control characters", wrong("colour", "a\x1b[31m"), "setting colour: it has the character U+001B"},
		{"its own refusal", func(t *testing.T, cfg *plugin.Config) {
			cfg.Settings = map[string]map[string]string{"sample": {"colour": "none"}}
		}, "setting colour: configure plugin sample: none is no colour"},
		{"two with one type", func(t *testing.T, cfg *plugin.Config) {
			install(t, cfg.Dir, "rival", "rival")
			cfg.Enabled = append(cfg.Enabled, "rival")
		}, "hypervisor type Sample: plugins sample and rival both declare it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := config(t)
			install(t, cfg.Dir, "sample", "sample")
			tt.setup(t, &cfg)
			m, err := plugin.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = m.Start(t.Context())
			if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			for _, s := range m.Status() {
				if s.State != "stopped" {
					t.Errorf("%s is %s", s.Name, s.State)
				}
			}
		})
	}
}

func TestStartTimesOut(t *testing.T) {
	cfg, _ := config(t)
	path := filepath.Join(cfg.Dir, "kumo-plugin-sample")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 100\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := plugin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := m.Start(ctx); !errors.Is(err, errs.Timeout) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAsksTheCore(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	if _, err := hv.CheckHost(t.Context(), host("setting")); !errors.Is(err, errs.Denied) {
		t.Errorf("without permission: %v", err)
	}
	if _, err := hv.CheckHost(t.Context(), host("host")); err != nil {
		t.Errorf("host call: %v", err)
	}
	if _, err := hv.CheckHost(pluginsdk.WithOperationID(t.Context(), "op"), host("progress")); err != nil {
		t.Error(err)
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if len(c.h.progress) != 1 || c.h.progress[0] != "sample op 7 begun" {
		t.Errorf("progress: %q", c.h.progress)
	}
}

func TestLogsAreForwarded(t *testing.T) {
	c := start(t, nil)
	if _, err := c.sample(t).CheckHost(t.Context(), host("log")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "logged what was printed", func() bool {
		return strings.Contains(c.log.String(), "printed by the plugin")
	})
	eventually(t, 5*time.Second, "logged", func() bool {
		for line := range strings.Lines(c.log.String()) {
			if strings.Contains(line, "[WARN]") && strings.Contains(line, "a line of the plugin") {
				return strings.Contains(line, "plugin=sample") && strings.Contains(line, "host=h1")
			}
		}
		return false
	})
}

func TestParallelCalls(t *testing.T) {
	c := start(t, nil)
	hv := c.sample(t)
	var calls sync.WaitGroup
	for range 128 {
		calls.Go(func() {
			for range 20 {
				if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	calls.Wait()
}

// TestCoreKilled kills a core with SIGKILL: its plugin, and what the plugin
// started, must not outlive it by much.
func TestCoreKilled(t *testing.T) {
	cfg, _ := config(t)
	install(t, cfg.Dir, "sample", "sample")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KUMO_TEST_CORE="+filepath.Dir(cfg.Dir))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var plugin, helper int
	if _, err := fmt.Sscan(line, &plugin, &helper); err != nil {
		t.Fatal(err)
	}
	if !alive(plugin) || !alive(helper) {
		t.Fatalf("processes %d, %d do not run", plugin, helper)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, 2*time.Second, "ended", func() bool { return !alive(plugin) && !alive(helper) })
	t.Logf("plugin and its helper ended %s after their core", took)
	if err := cmd.Wait(); err == nil {
		t.Error("the core was not killed")
	}
}
