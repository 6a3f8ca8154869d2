package plugin

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// firstDelay doubles with each restart after the first, up to maxDelay.
	firstDelay = 100 * time.Millisecond
	maxDelay   = 30 * time.Second
	// wellAfter is how long a process must run before the next failure counts
	// as a first one again.
	wellAfter = time.Minute
)

// supervised is one enabled plugin over the lives of all its processes. Only
// its supervisor changes current, so that no two processes are started.
type supervised struct {
	m    *Manager
	name string
	log  hclog.Logger
	// current is the process that takes calls, nil while there is none. It is
	// read at each call without a lock.
	current  atomic.Pointer[process]
	manifest atomic.Pointer[pluginv1.Manifest]
	// canary takes the calls for some zones, in the place of current.
	canary atomic.Pointer[canary]
	// streams has those that are open (*opened).
	streams sync.Map
	swaps   chan swap
	lines   lines
	open    operations
	// given: the configuration names the plugin, so that it must start.
	given bool
	// busy is held while the plugin is started or ended by command.
	busy chan struct{}
	// halt ends the supervisor; nil when there is none. It is for who is busy.
	halt func()

	mu  sync.Mutex
	bin binary
	// former is the version before an upgrade that is not proven yet.
	former *former
	// off says why the plugin is not to run: "" or one of Disabled and NotGranted.
	off      string
	restarts int
	lastErr  error
	stopped  bool
	// changed is closed, and replaced, whenever current changes.
	changed chan struct{}
}

// swap asks the supervisor to let another process take over.
type swap struct {
	next *process
	bin  binary
	// former is what returns when next fails soon; nil: nothing.
	former *former
	// old gets the process that took calls before, nil when there was none.
	old chan *process
}

func newSupervised(m *Manager, name string, bin binary) *supervised {
	return &supervised{
		m: m, name: name, bin: bin, log: m.cfg.Log.With("plugin", name),
		swaps: make(chan swap), changed: make(chan struct{}), stopped: true, busy: make(chan struct{}, 1),
	}
}

// start launches the first process.
func (s *supervised) start(ctx context.Context) error {
	p, err := s.m.launcher.launch(ctx, s, s.binary())
	if err != nil {
		s.fail(err)
		if lacks, is := errors.AsType[*lacking](err); is {
			s.manifest.Store(lacks.manifest)
			s.mu.Lock()
			s.off = NotGranted
			s.mu.Unlock()
			s.log.Error("plugin stays off", "error", err)
			return nil
		}
		if !s.given {
			s.log.Error("plugin does not start", "error", err)
			s.admit()
			return nil
		}
		return err
	}
	s.admit()
	s.use(p)
	s.log.Info("plugin started", "version", p.manifest.Load().Version, "pid", p.runner.ID(), "took", time.Since(p.started))
	return nil
}

// admit lets calls wait for a process.
func (s *supervised) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = false
}

func (s *supervised) binary() binary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bin
}

// use lets p (nil: nothing) take the calls and wakes those that wait.
func (s *supervised) use(p *process) {
	if p != nil {
		s.manifest.Store(p.manifest.Load())
	}
	s.mu.Lock()
	s.current.Store(p)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.m.told(s.name)
}

func (s *supervised) fail(err error) {
	s.mu.Lock()
	s.lastErr = err
	s.mu.Unlock()
	s.m.told(s.name)
}

// errEnded says that a process has ended by itself.
var errEnded = errors.New("process ended")

// supervise keeps the plugin running until ctx ends.
func (s *supervised) supervise(ctx context.Context) {
	delay := time.Duration(0)
	for ctx.Err() == nil {
		p := s.current.Load()
		if p == nil {
			delay = s.restart(ctx, delay)
			continue
		}
		err := s.watch(ctx, p)
		if err == nil {
			continue // stopped, or another process took over
		}
		s.use(nil)
		p.kill()
		if errors.Is(err, errEnded) {
			// Only now all that it wrote has been read.
			err = errs.New(errs.Unavailable, "plugin "+s.name, "its process ended; last words: %s", p.words)
		}
		if s.goBack(p, err) {
			delay = 0
			continue
		}
		s.fail(err)
		s.log.Error("plugin failed, starting it again", "error", err, "delay", delay)
		if time.Since(p.started) > wellAfter {
			delay = 0
		}
	}
}

// watch returns an error when the process has ended or is not well, nil when
// it is no longer the one to watch.
func (s *supervised) watch(ctx context.Context, p *process) error {
	tick := time.NewTicker(s.m.cfg.HealthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.runner.exited:
			return errEnded
		case sw := <-s.swaps:
			s.take(sw, p)
			return nil
		case <-tick.C:
			if err := p.health(ctx, s.m.cfg.HealthTimeout, s.m.cfg.MemoryLimit); err != nil && ctx.Err() == nil {
				return err
			}
			s.proven(p)
		}
	}
}

// restart waits for delay, tries once, and returns the next delay.
func (s *supervised) restart(ctx context.Context, delay time.Duration) time.Duration {
	select {
	case <-ctx.Done():
		return delay
	case sw := <-s.swaps:
		s.take(sw, nil)
		return 0
	case <-time.After(delay):
	}
	next := min(max(delay*2, firstDelay), maxDelay)
	p, err := s.m.launcher.launch(ctx, s, s.binary())
	if err == nil {
		err = s.m.accept(ctx, s, p)
	}
	if err == nil {
		s.mu.Lock()
		s.restarts++ // told by use
		s.mu.Unlock()
		s.use(p)
		s.log.Info("plugin runs again", "pid", p.runner.ID(), "took", time.Since(p.started))
		s.m.restarted(s.name)
		return next
	}
	if ctx.Err() == nil {
		s.fail(err)
		s.log.Error("plugin does not start", "error", err, "next", next)
	}
	return next
}

func (s *supervised) take(sw swap, old *process) {
	s.mu.Lock()
	s.bin, s.former = sw.bin, sw.former
	s.lastErr = nil
	s.mu.Unlock()
	s.use(sw.next)
	sw.old <- old
}

// end drains and ends the process; the supervisor has ended before. why is why it
// is off from now on, "" when the core ends.
func (s *supervised) end(ctx context.Context, why string) {
	s.dropCanary(ctx)
	p := s.current.Load()
	s.mu.Lock()
	s.stopped = true
	if why != "" {
		s.off = why
	}
	s.mu.Unlock()
	s.use(nil)
	if p != nil {
		s.retire(ctx, p)
	}
}

// retire drains a process within ctx and ends it.
func (s *supervised) retire(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	_, err := pluginv1.NewPluginServiceClient(p.conn).Drain(ctx, &pluginv1.DrainRequest{})
	if err == nil {
		err = p.answered(ctx)
	}
	if err != nil && !errors.Is(err, errs.Unavailable) {
		s.log.Warn("plugin ends with calls still running", "pid", p.runner.ID(), "error", err)
	}
	p.stop()
}
