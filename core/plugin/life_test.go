package plugin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func status(t *testing.T, c *cloud, name string) plugin.Status {
	t.Helper()
	for _, s := range c.Status() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("plugin %s is not known", name)
	return plugin.Status{}
}

// A disabled plugin ends its calls and is gone; what it declares stays and does not
// answer, until it is enabled again, from the binary that is there then.
func TestDisableAndEnable(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "other", "other")
		cfg.Enabled = []string{"sample", "other"}
	})
	hv, ctx := c.sample(t), t.Context()
	slow := make(chan error, 1)
	go func() {
		_, err := hv.CheckHost(ctx, host("slow"))
		slow <- err
	}()
	time.Sleep(100 * time.Millisecond)
	pid := status(t, c, "sample").PID
	for range 2 {
		if err := c.Disable(ctx, "sample"); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-slow; err != nil {
		t.Errorf("a call that ran: %v", err)
	}
	if s := status(t, c, "sample"); s.State != plugin.Disabled || s.PID != 0 || alive(pid) {
		t.Errorf("status %+v, its process lives: %t", s, alive(pid))
	}
	_, err := hv.CheckHost(ctx, host(""))
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "plugin sample: it is not enabled (enable it: kumo plugin enable sample)") {
		t.Errorf("a call of what is disabled: %v", err)
	}
	if len(c.Manifests()) != 2 || c.sample(t).Plugin != "sample" {
		t.Error("what it declares is gone")
	}
	if err := c.Restart(ctx, "sample"); !errors.Is(err, errs.Refused) {
		t.Errorf("restart of what is disabled: %v", err)
	}
	if s := status(t, c, "other"); s.State != plugin.Running {
		t.Errorf("the other one: %+v", s)
	}
	install(t, c.cfg.Dir, "sample2", "sample")
	for range 2 {
		if err := c.Enable(ctx, "sample"); err != nil {
			t.Fatal(err)
		}
	}
	if v := facts(t, hv)["version"]; v != "2" {
		t.Errorf("version %s runs", v)
	}
	before := status(t, c, "sample")
	if err := c.Restart(ctx, "sample"); err != nil {
		t.Fatal(err)
	}
	if s := status(t, c, "sample"); s.PID == before.PID || s.Restarts != 1 || s.State != plugin.Running || alive(before.PID) {
		t.Errorf("after a restart: %+v", s)
	}
}

// A plugin of the folder that was not given at the start can be enabled; one that
// cannot be accepted, or is not there, changes nothing.
func TestEnableNew(t *testing.T) {
	refuse := errors.New("not now")
	var mu sync.Mutex
	var accepted []string
	c := start(t, func(cfg *plugin.Config) {
		cfg.Accept = func(_ context.Context, next *pluginv1.Manifest) error {
			mu.Lock()
			defer mu.Unlock()
			accepted = append(accepted, next.GetName())
			if len(accepted) == 1 {
				return refuse
			}
			return nil
		}
		install(t, cfg.Dir, "other", "other")
		install(t, cfg.Dir, "rival", "rival")
	})
	ctx := t.Context()
	if err := c.Enable(ctx, "absent"); !errors.Is(err, errs.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if err := c.Enable(ctx, "rival"); err == nil || !strings.Contains(err.Error(), "plugins rival and sample both declare it") {
		t.Errorf("one that declares what another one does: %v", err)
	}
	if err := c.Enable(ctx, "other"); !errors.Is(err, refuse) {
		t.Errorf("one that is not accepted: %v", err)
	}
	if s := status(t, c, "other"); s.State != plugin.Disabled || s.PID != 0 || s.LastError != "not now" {
		t.Errorf("after that: %+v", s)
	}
	if err := c.Enable(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hypervisor("Other"); err != nil {
		t.Error(err)
	}
	if !slices.Equal(accepted, []string{"other", "other"}) {
		t.Errorf("accepted were %v", accepted)
	}
}

// What was known before the start decides what runs.
func TestRecall(t *testing.T) {
	cfg, _ := config(t)
	install(t, cfg.Dir, "sample", "sample")
	install(t, cfg.Dir, "other", "other")
	m, err := plugin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	declared := &pluginv1.Manifest{Name: "sample", Version: "old", Hypervisors: []*pluginv1.HypervisorDecl{{Type: "Sample"}}}
	if err := errors.Join(m.Recall("sample", false, declared), m.Recall("other", true, nil)); err != nil {
		t.Fatal(err)
	}
	if err := m.Recall("gone", true, nil); !errors.Is(err, errs.NotFound) {
		t.Errorf("one that is gone: %v", err)
	}
	t.Cleanup(func() { m.Stop(context.Background()) })
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &cloud{m, cfg, nil, nil}
	if s := status(t, c, "sample"); s.State != plugin.Disabled || s.Version != "old" {
		t.Errorf("the disabled one: %+v", s)
	}
	if s := status(t, c, "other"); s.State != plugin.Running {
		t.Errorf("the enabled one: %+v", s)
	}
	if _, err := c.sample(t).CheckHost(t.Context(), host("")); !errors.Is(err, errs.Unavailable) {
		t.Errorf("a call of what is disabled: %v", err)
	}
	if err := m.Enable(t.Context(), "sample"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.sample(t).CheckHost(t.Context(), host("")); err != nil {
		t.Error(err)
	}
}

// A plugin that asks for more than it is granted does not start, and the others do;
// what it is granted later lets it start, and what it loses ends it.
func TestGrants(t *testing.T) {
	var mu sync.Mutex
	granted := []string{"host-call:/kumo.host.v1.HostAgentService/CreateDisk"}
	grant := func(p ...string) {
		mu.Lock()
		defer mu.Unlock()
		granted = p
	}
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "other", "other")
		cfg.Enabled = []string{"sample", "other"}
		cfg.Granted = func(_ context.Context, name string, sum []byte, asked []string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if name == "other" || len(sum) != 32 {
				return asked, nil
			}
			return granted, nil
		}
	})
	ctx, hv := t.Context(), c.sample(t)
	s := status(t, c, "sample")
	if s.State != plugin.NotGranted || s.PID != 0 || !strings.Contains(s.LastError, "it asks for what it is not granted: host-call (grant it: kumo plugin grant sample --permissions host-call") {
		t.Errorf("status %+v", s)
	}
	if asked, missing := c.Asks("sample"); !slices.Equal(asked, []string{"host-call"}) || !slices.Equal(missing, asked) {
		t.Errorf("it asks for %v and lacks %v", asked, missing)
	}
	if s := status(t, c, "other"); s.State != plugin.Running {
		t.Errorf("the other one: %+v", s)
	}
	if _, err := hv.CheckHost(ctx, host("")); !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "not granted: host-call") {
		t.Errorf("a call of what does not run: %v", err)
	}
	grant("host-call")
	if err := c.Regrant(ctx, "sample"); err != nil {
		t.Fatal(err)
	}
	if _, err := hv.CheckHost(ctx, host("host")); err != nil {
		t.Error(err)
	}
	pid := status(t, c, "sample").PID
	grant("setting")
	if err := c.Regrant(ctx, "sample"); err != nil {
		t.Fatal(err)
	}
	if s := status(t, c, "sample"); s.State != plugin.NotGranted || alive(pid) {
		t.Errorf("after its grant was taken: %+v", s)
	}
}

// The last lines of all processes are kept, as people read them.
func TestLog(t *testing.T) {
	c := start(t, nil)
	if _, err := c.sample(t).CheckHost(t.Context(), host("log")); err != nil {
		t.Fatal(err)
	}
	has := func(text string) bool {
		lines, err := c.Log("sample", 100)
		return err == nil && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, text) })
	}
	eventually(t, 5*time.Second, "kept what was printed", func() bool { return has("printed by the plugin") })
	eventually(t, 5*time.Second, "kept what was logged", func() bool { return has("[WARN] a line of the plugin host=h1") })
	if _, err := c.Log("absent", 1); !errors.Is(err, errs.NotFound) {
		t.Errorf("the log of no plugin: %v", err)
	}
}
