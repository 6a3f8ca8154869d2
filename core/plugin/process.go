package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	gprunner "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// startTimeout bounds handshake, Describe and Configure together. A start
	// takes 50 ms; a loaded machine or a cold disk may need much more.
	startTimeout = 30 * time.Second
	// goodbyeTimeout is what a process has to end after it was asked to.
	goodbyeTimeout = 2 * time.Second
)

// binary is a plugin's file with the hash that was taken when it was found. A
// file that has changed since is not started; Upgrade takes a new hash.
type binary struct {
	path string
	sum  []byte
	// granted is what it was granted when it ran, for one that has returned.
	granted []string
}

func readBinary(path string) (binary, error) {
	object := "plugin binary " + path
	info, err := os.Stat(path)
	if err != nil {
		return binary{}, errs.Wrap(errs.NotFound, object, err, "it cannot be used")
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return binary{}, errs.New(errs.Invalid, object, "it is not an executable file")
	}
	f, err := os.Open(path)
	if err != nil {
		return binary{}, errs.Wrap(errs.Invalid, object, err, "it cannot be read")
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return binary{}, errs.Wrap(errs.Invalid, object, err, "it cannot be read")
	}
	return binary{path: path, sum: h.Sum(nil)}, nil
}

func (b binary) check() error {
	now, err := readBinary(b.path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.sum, b.sum) {
		return errs.New(errs.Refused, "plugin binary "+b.path, "its SHA-256 has changed since it was found: %x, was %x", now.sum, b.sum).
			WithAdvice("`kumo plugin upgrade` takes a new binary; otherwise put the old one back")
	}
	return nil
}

// process is one running plugin process, described and configured.
type process struct {
	name     string
	log      hclog.Logger
	client   *goplugin.Client
	runner   *runner
	mu       sync.Mutex // guards runner until connect returns
	conn     grpc.ClientConnInterface
	manifest atomic.Pointer[pluginv1.Manifest]
	core     atomic.Pointer[grpc.Server]
	started  time.Time
	words    *lastWords
	// granted are its permissions; each of its calls is checked.
	granted atomic.Pointer[[]string]
	// memory is what it used when that was last told, in bytes; toldAt is when.
	memory atomic.Int64
	toldAt time.Time
	told   func(plugin string)
	// calls counts the handles' calls that have no answer yet; idle gets a
	// token when it falls to 0.
	calls atomic.Int64
	idle  chan struct{}
}

// launcher is what all processes of a manager have in common.
type launcher struct {
	cfg Config
	// sockets is the folder for the sockets of all plugins.
	sockets string
}

// launch starts, describes and configures a process. When it fails, no process
// is left.
func (l *launcher) launch(ctx context.Context, s *supervised, bin binary) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := bin.check(); err != nil {
		return nil, err
	}
	tmp, err := temporary(filepath.Join(l.cfg.DataDir, s.name), s.current.Load() == nil)
	if err != nil {
		return nil, err
	}
	p := &process{name: s.name, log: s.log, words: &lastWords{}, idle: make(chan struct{}, 1), started: time.Now(), told: s.m.told}
	host := &hostSide{}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  pluginsdk.Handshake,
		Plugins:          goplugin.PluginSet{pluginsdk.ServiceName: host},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.sockets},
		GRPCDialOptions:  pluginsdk.DialOptions(),
		StartTimeout:     startTimeout,
		Logger:           p.log,
		Stderr:           io.MultiWriter(p.words, &s.lines),
		SyncStdout:       io.MultiWriter(&s.lines, p.log.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Info})),
		SyncStderr:       p.log.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (gprunner.Runner, error) {
			return p.newRunner(ctx, bin.path, cmd.Env, tmp, l.cfg.MemoryLimit)
		},
	})
	if err := p.connect(ctx, host); err != nil {
		p.kill()
		return nil, p.startError(err) // only now all that it wrote has been read
	}
	if err := p.configure(ctx, l.cfg, asker{l.cfg.Handler, &s.open}, host, bin); err != nil {
		p.kill()
		return nil, err
	}
	if used, err := p.runner.memory(); err == nil {
		p.memory.Store(used)
		p.toldAt = time.Now()
	}
	return p, nil
}

// temporary makes the folder for a plugin's temporary files, in its data folder, and
// clears it when alone: no other process of the plugin uses it.
func temporary(dir string, alone bool) (string, error) {
	tmp := filepath.Join(dir, "tmp")
	var err error
	if alone {
		err = os.RemoveAll(tmp)
	}
	if err == nil {
		err = os.MkdirAll(tmp, 0o700)
	}
	if err != nil {
		return "", errs.Wrap(errs.Internal, "folder "+tmp, err, "make it for a plugin's temporary files")
	}
	return tmp, nil
}

// hostSide takes hold of the connection and the broker that go-plugin makes.
type hostSide struct {
	goplugin.NetRPCUnsupportedPlugin
	conn   *grpc.ClientConn
	broker *goplugin.GRPCBroker
}

func (h *hostSide) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the core is no plugin")
}

func (h *hostSide) GRPCClient(_ context.Context, broker *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	h.conn, h.broker = conn, broker
	return h, nil
}

// newRunner is called by go-plugin's start, which runs in a goroutine of its
// own: when ctx has ended meanwhile, nothing may be started any more.
func (p *process) newRunner(ctx context.Context, path string, env []string, tmp string, memoryLimit int64) (gprunner.Runner, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r, err := newRunner(path, append(env, pluginsdk.LogLevelEnv+"="+p.log.GetLevel().String()), tmp, memoryLimit)
	if err != nil {
		return nil, err
	}
	p.runner = r
	return r, nil
}

// connect runs go-plugin's start. That does not know contexts, so the end of
// ctx kills the process, which ends the start.
func (p *process) connect(ctx context.Context, host *hostSide) error {
	started := make(chan error, 1)
	go func() {
		rpc, err := p.client.Client()
		if err == nil {
			_, err = rpc.Dispense(pluginsdk.ServiceName)
		}
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		p.mu.Lock()
		if p.runner != nil {
			p.runner.killGroup()
		}
		p.mu.Unlock()
		<-started
		return errs.Wrap(errs.ClassOf(ctx.Err()), "plugin "+p.name, ctx.Err(), "it did not start in time")
	}
	p.conn = host.conn
	return nil
}

// startError says what the process said last, which tells more than the missing
// handshake does.
func (p *process) startError(err error) error {
	if errs.ClassOf(err) == errs.Timeout || errs.ClassOf(err) == errs.Cancelled {
		return err
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	e := errs.New(errs.Invalid, "plugin "+p.name, "it did not start as a Kumo plugin: %s", first)
	if words := p.words.String(); words != "" {
		e.Message += "; its last words: " + words
	}
	return e.WithAdvice("check that %s%s is a plugin for this version of Kumo", filePrefix, p.name)
}

func (p *process) configure(ctx context.Context, cfg Config, core CoreHandler, host *hostSide, bin binary) error {
	rpc := pluginv1.NewPluginServiceClient(p.conn)
	described, err := rpc.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe plugin %s: %w", p.name, err)
	}
	m := described.Manifest
	if m.GetName() != p.name {
		return errs.New(errs.Invalid, "plugin "+p.name, "its manifest says that it is %q", m.GetName()).
			WithAdvice("the file must be called %s<name in the manifest>", filePrefix)
	}
	p.manifest.Store(m)
	if err := p.grant(ctx, bin.grants(cfg.Granted), bin.sum); err != nil {
		return err
	}
	settings, err := settingsFor(m, cfg.Settings[p.name])
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.DataDir, p.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.Wrap(errs.Internal, "plugin "+p.name, err, "make its data folder")
	}
	id := host.broker.NextId()
	go host.broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
		s := grpc.NewServer(append(opts, pluginsdk.ServerOptions(p.log)...)...)
		pluginv1.RegisterCoreServiceServer(s, pluginsdk.NewCoreService(core, p.manifest.Load, p.allows))
		p.core.Store(s)
		return s
	})
	_, err = rpc.Configure(ctx, &pluginv1.ConfigureRequest{Settings: settings, DataDir: dir, CoreBrokerId: id})
	return err
}

// settingsFor gives every declared setting its value or default, checked and
// spelled as the manifest says.
func settingsFor(m *pluginv1.Manifest, values map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(m.Settings))
	names := make([]string, 0, len(m.Settings))
	for _, s := range m.Settings {
		text, given := values[s.Name]
		if !given {
			text = s.Default
		}
		spelling, err := pluginsdk.ParseSetting(s, text)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, "plugin "+m.Name, err, "")
		}
		out[s.Name] = spelling
		names = append(names, s.Name)
	}
	for name := range values {
		if _, ok := out[name]; !ok {
			return nil, errs.New(errs.Invalid, "plugin "+m.Name, "it has no setting %q", name).
				WithAdvice("its settings are: %s", orNone(names))
		}
	}
	return out, nil
}

// health asks the process whether it is well; the answer is an error that says
// what is wrong.
func (p *process) health(ctx context.Context, timeout time.Duration, memoryLimit int64) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := pluginv1.NewPluginServiceClient(p.conn).Health(ctx, &pluginv1.HealthRequest{})
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	if !resp.Ready {
		return errs.New(errs.Unavailable, "plugin "+p.name, "it says that it is not ready: %s", resp.Reason)
	}
	used, err := p.runner.memory()
	if err == nil {
		p.measured(used)
	}
	if err == nil && used > memoryLimit {
		return errs.New(errs.Exhausted, "plugin "+p.name, "it uses %d MiB of memory, the limit is %d MiB", used>>20, memoryLimit>>20)
	}
	return nil
}

const (
	// memoryEvery is how often at most it is told how much memory a process uses, and
	// memoryStep the least change that is told, beside an eighth.
	memoryEvery = 10 * time.Second
	memoryStep  = 1 << 20
)

// measured notes how much memory the process uses, when that is news. One
// goroutine calls it.
func (p *process) measured(used int64) {
	before := p.memory.Load()
	news := max(used-before, before-used) > before/8+memoryStep
	if before != 0 && (!news || time.Since(p.toldAt) < memoryEvery) {
		return
	}
	p.toldAt = time.Now()
	p.memory.Store(used)
	p.told(p.name)
}

func (p *process) begin() { p.calls.Add(1) }

func (p *process) end() {
	if p.calls.Add(-1) == 0 {
		select {
		case p.idle <- struct{}{}:
		default:
		}
	}
}

// answered waits until all calls have their answers. That Drain has answered
// says only that the plugin has computed them: some may still be on their way
// and would be lost if the process ended now.
func (p *process) answered(ctx context.Context) error {
	for p.calls.Load() > 0 {
		select {
		case <-p.idle:
		case <-p.runner.exited:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stop asks the process to end and kills it when it does not.
func (p *process) stop() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.client.Kill()
	}()
	select {
	case <-ended:
	case <-time.After(goodbyeTimeout):
		p.log.Warn("plugin did not end when asked to, killing it")
	}
	p.kill()
}

// kill ends the process at once and lets go of all that belongs to it. It may
// be repeated.
func (p *process) kill() {
	if p.runner != nil {
		p.runner.killGroup()
	}
	p.client.Kill()
	if s := p.core.Swap(nil); s != nil {
		s.Stop()
	}
}
