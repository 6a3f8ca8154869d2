package plugin_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// built has the sample binaries, made once for all tests.
var built string

// TestMain builds the sample plugins; with KUMO_TEST_CORE it is a core that
// another test kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KUMO_TEST_CORE"); dir != "" {
		if err := runCore(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "kumo-plugin-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(built) }() // a folder of the test's own
	for file, flags := range map[string]string{
		"sample":  "",
		"sample2": "-X main.version=2",
		"other":   "-X main.name=other -X main.typ=Other",
		"asker":   "-X 'main.asks=query:Asked act:APIAskMsg'",
		"asker2":  "-X main.name=other -X main.typ=Other -X 'main.asks=query:Asked act:APIAskMsg'",
		"rival":   "-X main.name=rival",
		"hostile": "-X main.name=hostile -X main.typ=Hostile -X main.asks=host-call:/kumo.host.v1.HostAgentService/Info",
		"greedy":  "-X main.version=3 -X main.typ=Other",
	} {
		cmd := exec.Command("go", "build", "-ldflags", "-s -w "+flags, "-o", filepath.Join(built, file), "./testdata/sample")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", file, err, out)
			return 1
		}
	}
	return m.Run()
}

// runCore starts a plugin with a helper of its own, prints both process IDs
// and waits to be killed.
func runCore(dir string) error {
	m, err := plugin.New(plugin.Config{
		Dir: filepath.Join(dir, "bin"), DataDir: filepath.Join(dir, "data"),
		Enabled: []string{"sample"}, Handler: &handler{},
	})
	if err != nil {
		return err
	}
	if err := m.Start(context.Background()); err != nil {
		return err
	}
	hv, err := m.Hypervisor("Sample")
	if err != nil {
		return err
	}
	_, err = hv.CheckHost(context.Background(), host("helper"))
	helper, _, _ := strings.Cut(err.Error(), ":")
	fmt.Printf("%d %s\n", m.Status()[0].PID, helper)
	time.Sleep(time.Minute)
	return nil
}

// handler is a core for the plugins.
type handler struct {
	mu       sync.Mutex
	progress []string
}

func (h *handler) Progress(plugin, operationID string, percent int, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, fmt.Sprint(plugin, " ", operationID, " ", percent, " ", message))
}

func (h *handler) HostCall(_ context.Context, hostUUID, method string, _ []byte, emit func([]byte) error) error {
	if hostUUID != "h1" {
		return errs.New(errs.NotFound, "host "+hostUUID, "no such host")
	}
	return emit(nil) // an empty message
}

func (h *handler) Setting(context.Context, string, string, string) (string, error) {
	return "value", nil
}

// who is a value of the context of an operation, by which the core knows it.
type who struct{}

func (h *handler) Query(ctx context.Context, q *pluginv1.QueryRequest, may func(string) error) (*pluginv1.QueryResponse, error) {
	for _, joined := range q.GetConditions() {
		if err := may(joined); err != nil {
			return nil, err
		}
	}
	name, _ := ctx.Value(who{}).(string)
	return &pluginv1.QueryResponse{Inventories: [][]byte{[]byte(name)}}, nil
}

func (h *handler) Act(ctx context.Context, plugin string, r *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	name, _ := ctx.Value(who{}).(string)
	return &pluginv1.ActResponse{Result: []byte(plugin + " for " + name)}, nil
}

func (h *handler) Get(_ context.Context, plugin, typeName, uuid string) (*pluginv1.Resource, error) {
	return &pluginv1.Resource{Type: typeName, Uuid: uuid, Version: plugin}, nil
}

func (h *handler) Put(context.Context, string, *pluginv1.RowChanges) error { return nil }

func (h *handler) AllocateAddress(context.Context, string, *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	return &pluginv1.Address{}, nil
}

func (h *handler) ReleaseAddress(context.Context, string, string) error { return nil }

func (h *handler) Sign(context.Context, *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	return &pluginv1.SignResponse{}, nil
}

func (h *handler) Secret(context.Context, string, string) ([]byte, error) { return nil, nil }

func (h *handler) PutSecret(context.Context, string, string, []byte) error { return nil }

func (h *handler) Emit(string, *pluginv1.EmitRequest) {}

func host(name string) *pluginv1.CheckHostRequest {
	return &pluginv1.CheckHostRequest{Host: &pluginv1.Host{Uuid: "h1", Name: name}}
}

// logBuffer is a log that a test can look into.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// cloud is a manager with its folders and log.
type cloud struct {
	*plugin.Manager
	cfg plugin.Config
	log *logBuffer
	h   *handler
}

// install copies a built sample into the plugins' folder under a name.
func install(t *testing.T, dir, file, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(built, file))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kumo-plugin-"+name)
	// A new inode: the old one may be running.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func config(t *testing.T) (plugin.Config, *logBuffer) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return plugin.Config{
		Dir: bin, DataDir: filepath.Join(dir, "data"), Enabled: []string{"sample"}, Handler: &handler{},
		Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}),
	}, log
}

// start starts the sample plugin; change may alter the configuration.
func start(t *testing.T, change func(*plugin.Config)) *cloud {
	t.Helper()
	cfg, log := config(t)
	install(t, cfg.Dir, "sample", "sample")
	if change != nil {
		change(&cfg)
	}
	m, err := plugin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		m.Stop(ctx)
	})
	return &cloud{m, cfg, log, cfg.Handler.(*handler)}
}

func (c *cloud) sample(t *testing.T) *plugin.Hypervisor {
	t.Helper()
	hv, err := c.Hypervisor("Sample")
	if err != nil {
		t.Fatal(err)
	}
	return hv
}

// facts asks the plugin about its process.
func facts(t *testing.T, hv *plugin.Hypervisor) map[string]string {
	t.Helper()
	r, err := hv.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Facts.Fields
}

// eventually waits for a condition that has no event to wait for.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < limit {
		if ok() {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after %s: not %s", limit, what)
	return 0
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
