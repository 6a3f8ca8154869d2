package plugin

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// filePrefix is what the names of plugin binaries begin with.
const filePrefix = "kumo-plugin-"

// CoreHandler is what plugins may ask; core/topology and core/config implement
// it.
type CoreHandler = pluginsdk.CoreHandler

// Config is what a Manager needs.
type Config struct {
	// Dir is the folder with the binaries kumo-plugin-<name>.
	Dir string
	// Enabled names the plugins to run.
	Enabled []string
	// DataDir is where each plugin gets a folder of its own.
	DataDir string
	// Settings has values for plugins' settings, by plugin and setting; the
	// others have the manifest's defaults.
	Settings map[string]map[string]string
	// Log gets the manager's and the plugins' lines; nil logs nothing.
	Log hclog.Logger
	// Handler answers what plugins ask.
	Handler CoreHandler
	// Called, if set, is told of each call of a plugin that has ended: how long it
	// took with all its tries. It must return at once.
	Called func(ctx context.Context, plugin, method string, took time.Duration, tries int, err error)
	// HealthEvery is the time between health checks; 0 means 1 s.
	HealthEvery time.Duration
	// HealthTimeout is how long a plugin may take to answer one before it is
	// killed as hanging; 0 means 3 s. A busy machine starves nobody for that
	// long, and what is killed wrongly costs its callers a repeated call.
	HealthTimeout time.Duration
	// MemoryLimit in bytes; a plugin that uses more is restarted. 0 means 1 GiB.
	MemoryLimit int64
	// Proving is how long a new version must have run to be kept: when it ends, hangs or
	// outgrows its memory before, the one that it has replaced returns. 0 means 1 min.
	Proving time.Duration
	// Granted tells which permissions of those that a plugin asks for its binary, with
	// that SHA-256, is granted; one that asks for more does not start. nil grants all.
	Granted func(ctx context.Context, name string, sum []byte, asked []string) ([]string, error)
	// Accept, which may be nil, sees a new manifest before a process with it takes calls
	// while the core runs, and declares what is in it. An error refuses the process.
	Accept func(ctx context.Context, next *pluginv1.Manifest) error
	// Changed, if set, is told of each plugin whose Status has changed. It must
	// return at once.
	Changed func(plugin string)
}

// Manager runs the enabled plugins. Its methods may be called in parallel.
type Manager struct {
	cfg      Config
	launcher launcher
	// plugins are in the order of Config.Enabled, then in that in which they became
	// known. The list is replaced, never changed.
	plugins atomic.Pointer[[]*supervised]

	onHost atomic.Pointer[func(ctx context.Context, hostUUID string)]

	mu        sync.Mutex
	onRestart []func(plugin string)
	// life ends with Stop; nil before Start.
	life    context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// New finds the enabled plugins and takes their hashes; it starts nothing.
// Errors: Invalid for a bad name or a name given twice, NotFound for a plugin
// that is not in the folder, with what is there.
func New(cfg Config) (*Manager, error) {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Handler == nil {
		return nil, errs.New(errs.Internal, "plugin manager", "it has no handler for what plugins ask")
	}
	cfg.HealthEvery = cmp.Or(cfg.HealthEvery, time.Second)
	cfg.HealthTimeout = cmp.Or(cfg.HealthTimeout, 3*time.Second)
	cfg.MemoryLimit = cmp.Or(cfg.MemoryLimit, 1<<30)
	cfg.Proving = cmp.Or(cfg.Proving, time.Minute)
	m := &Manager{cfg: cfg}
	for i, name := range cfg.Enabled {
		if !validName.MatchString(name) {
			return nil, errs.New(errs.Invalid, "plugin "+name, "this is not a plugin's name: lower-case letters, digits and hyphens, at most 31")
		}
		if slices.Contains(cfg.Enabled[:i], name) {
			return nil, errs.New(errs.Invalid, "plugin "+name, "it is enabled twice")
		}
		bin, err := readBinary(m.Path(name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, errs.New(errs.NotFound, "plugin "+name, "there is no %s%s in %s", filePrefix, name, cfg.Dir).
				WithAdvice("the folder has: %s", orNone(Available(cfg.Dir)))
		}
		if err != nil {
			return nil, err
		}
		s := newSupervised(m, name, bin)
		s.given = true
		m.add(s)
	}
	return m, nil
}

// all are the plugins that are known; the list must not be changed.
func (m *Manager) all() []*supervised {
	if list := m.plugins.Load(); list != nil {
		return *list
	}
	return nil
}

// add makes a plugin known. Two must not be added at once.
func (m *Manager) add(s *supervised) {
	list := append(slices.Clone(m.all()), s)
	m.plugins.Store(&list)
}

// BeforeHost has f told of every call that waits for a host, before it is made. f must
// return at once.
func (m *Manager) BeforeHost(f func(ctx context.Context, hostUUID string)) { m.onHost.Store(&f) }

// Available lists the names of the plugins in a folder, sorted. A folder that
// cannot be read has none.
func Available(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), filePrefix); ok && validName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// told tells that a plugin's Status has changed.
func (m *Manager) told(plugin string) {
	if m.cfg.Changed != nil {
		m.cfg.Changed(plugin)
	}
}

// Start starts all enabled plugins in parallel and returns when they take calls.
// When one of Config.Enabled fails, or two declare the same type, all are stopped
// and the error names every cause. One that is not granted what it asks for stays
// off, and one that Recall has enabled is tried again; both are told by Status.
// ctx bounds the start only.
func (m *Manager) Start(ctx context.Context) error {
	var err error
	if m.launcher.sockets, err = socketDir(m.cfg.DataDir); err != nil {
		return err
	}
	m.launcher.cfg = m.cfg
	plugins := m.all()
	failures := make([]error, len(plugins))
	var starting sync.WaitGroup
	for i, p := range plugins {
		if p.off == "" {
			starting.Go(func() { failures[i] = p.start(ctx) })
		}
	}
	starting.Wait()
	m.dropRivals()
	if err := errors.Join(append(failures, conflicts(m.Manifests()))...); err != nil {
		m.Stop(ctx)
		return err
	}
	life, stop := context.WithCancel(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.stop = life, stop
	for _, p := range plugins {
		if p.off == "" {
			m.watch(p)
		}
	}
	return nil
}

// dropRivals forgets what plugins that are off have declared where another one,
// which runs, declares the same.
func (m *Manager) dropRivals() {
	var run []*pluginv1.Manifest
	for _, p := range m.all() {
		if p.off == "" {
			run = append(run, p.manifest.Load())
		}
	}
	for _, p := range m.all() {
		if manifest := p.manifest.Load(); p.off != "" && manifest != nil && conflicts(append(slices.Clone(run), manifest)) != nil {
			p.manifest.Store(nil)
		}
	}
}

// watch has a plugin supervised until the manager or the plugin is stopped. mu is
// held, and life has not ended.
func (m *Manager) watch(p *supervised) {
	ctx, stop := context.WithCancel(m.life)
	ended := make(chan struct{})
	p.halt = func() { stop(); <-ended }
	m.running.Go(func() {
		defer close(ended)
		defer stop()
		p.supervise(ctx)
	})
}

// socketDir makes the folder for sockets, and removes what a core that was
// killed has left in it. A socket's path has at most 107 bytes, so a deep data
// folder cannot have it.
func socketDir(dataDir string) (string, error) {
	dir := filepath.Join(dataDir, "run")
	if len(dir) > 56 {
		tmp, err := os.MkdirTemp("", "kumo-run-")
		if err != nil {
			return "", errs.Wrap(errs.Internal, "plugin manager", err, "make a folder for sockets")
		}
		return tmp, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", errs.Wrap(errs.Internal, "folder "+dir, err, "clear it of old sockets")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", errs.Wrap(errs.Internal, "folder "+dir, err, "make it for sockets")
	}
	return dir, nil
}

// Stop drains and ends all plugins in parallel. Calls that still run when ctx
// ends are cut off. Nothing that Start started is left when it returns; a
// repeat does nothing.
func (m *Manager) Stop(ctx context.Context) {
	m.mu.Lock()
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
	m.mu.Unlock()
	m.running.Wait()
	var ending sync.WaitGroup
	for _, p := range m.all() {
		ending.Go(func() { p.end(ctx, "") })
	}
	ending.Wait()
	if m.launcher.sockets != "" {
		if err := os.RemoveAll(m.launcher.sockets); err != nil {
			m.cfg.Log.Warn("folder for sockets not removed", "path", m.launcher.sockets, "error", err)
		}
	}
}

// OnRestart adds a function that is called, in a goroutine of its own, each
// time a plugin's process has been replaced: watches must be started again.
func (m *Manager) OnRestart(f func(plugin string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onRestart = append(m.onRestart, f)
}

func (m *Manager) restarted(plugin string) {
	m.mu.Lock()
	hooks := slices.Clone(m.onRestart)
	m.mu.Unlock()
	for _, f := range hooks {
		go f(plugin)
	}
}

// Manifests returns the manifests of all plugins that are known by one, those that
// are off too: what they declare is there, and does not answer. They are in the
// order in which they became known, and must not be changed.
func (m *Manager) Manifests() []*pluginv1.Manifest {
	var out []*pluginv1.Manifest
	for _, p := range m.all() {
		if manifest := p.manifest.Load(); manifest != nil {
			out = append(out, manifest)
		}
	}
	return out
}

// conflicts says which types two plugins declare.
func conflicts(manifests []*pluginv1.Manifest) error {
	owner := map[string]string{}
	var wrong []error
	for _, manifest := range manifests {
		for _, key := range typeKeys(manifest) {
			if other, ok := owner[key]; ok && other != manifest.GetName() {
				wrong = append(wrong, errs.New(errs.Invalid, key, "plugins %s and %s both declare it", other, manifest.GetName()).
					WithAdvice("enable only one of them"))
			}
			owner[key] = manifest.GetName()
		}
	}
	return errors.Join(append(wrong, differing(manifests)...)...)
}

// differing are the L2 network types that several plugins make, as they may, and do
// not describe alike.
func differing(manifests []*pluginv1.Manifest) (wrong []error) {
	first, owner := map[string]*pluginv1.L2NetworkDecl{}, map[string]string{}
	for _, manifest := range manifests {
		for _, d := range manifest.GetL2Networks() {
			if d.GetAdd() == nil {
				continue
			}
			described := &pluginv1.L2NetworkDecl{Add: d.GetAdd(), Fields: d.GetFields(), Unique: d.GetUnique(), Number: d.GetNumber(), Refuses: d.GetRefuses()}
			if other := first[d.GetType()]; other != nil && !proto.Equal(other, described) {
				wrong = append(wrong, errs.New(errs.Invalid, "L2 network type "+d.GetType(), "plugins %s and %s describe it differently", owner[d.GetType()], manifest.GetName()).
					WithAdvice("enable versions of them that fit together"))
			}
			first[d.GetType()], owner[d.GetType()] = described, manifest.GetName()
		}
	}
	return wrong
}

func typeKeys(m *pluginv1.Manifest) []string {
	var keys []string
	for _, d := range m.GetHypervisors() {
		keys = append(keys, "hypervisor type "+d.Type)
	}
	for _, d := range m.GetPrimaryStorages() {
		keys = append(keys, "primary storage type "+d.Type)
	}
	for _, d := range m.GetBackupStorages() {
		keys = append(keys, "backup storage type "+d.Type)
	}
	for _, d := range m.GetL2Networks() {
		for _, h := range d.HypervisorTypes {
			keys = append(keys, "L2 network type "+d.Type+" on "+h)
		}
	}
	for _, d := range m.GetNetworkServices() {
		keys = append(keys, "network service provider type "+d.Type)
	}
	for _, d := range m.GetResourceTypes() {
		keys = append(keys, "resource type "+d.Name)
	}
	return keys
}

func (m *Manager) plugin(name string) (*supervised, error) {
	for _, p := range m.all() {
		if p.name == name {
			return p, nil
		}
	}
	return nil, errs.New(errs.NotFound, "plugin "+name, "it is not enabled").
		WithAdvice("known are: %s", orNone(m.names()))
}

func (m *Manager) names() []string {
	var names []string
	for _, p := range m.all() {
		names = append(names, p.name)
	}
	return names
}
