package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/api"
)

// Bounds of a stop, which ends within ten seconds whatever runs: what does not
// end in time is cut off, and goes on after the next start as after a kill.
const (
	workTimeout  = 5 * time.Second // of running steps, calls and connections
	partsTimeout = 2 * time.Second // then, of the parts; plugins have as much again to end
)

// Run serves until ctx ends or SIGTERM or SIGINT comes, then ends in order:
// no new calls, running flows finish their step (the rest is resumed at the
// next start), plugins end. Errors name what could not be started and leave
// nothing running.
func Run(ctx context.Context, o Options, version string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := hclog.New(&hclog.LoggerOptions{Name: "kumo", Level: hclog.LevelFromString(o.LogLevel), Output: os.Stderr})
	if err := dataFolder(o.DataDir); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return errs.Wrap(errs.Refused, "listen "+o.Listen, err, "is another server running?").WithAdvice("stop it, or choose another port with --listen")
		}
		return errs.Wrap(errs.Invalid, "listen "+o.Listen, err, "cannot be used").WithAdvice("choose an address of this machine with --listen")
	}
	defer listener.Close()
	s, err := newServer(ctx, o, version, log)
	if err != nil {
		return err
	}
	defer s.close()
	if o.ProfileListen != "" {
		profiles, err := net.Listen("tcp", o.ProfileListen)
		if err != nil {
			return errs.Wrap(errs.Invalid, "profile-listen "+o.ProfileListen, err, "cannot be used")
		}
		defer profiles.Close()
		go serveProfiles(profiles)
	}
	return s.serve(ctx, listener)
}

// serveProfiles serves Go's profiles until the listener is closed.
func serveProfiles(l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	_ = h.Serve(l) // ends with the listener
}

// server is a running core with its API.
type server struct {
	version string
	log     hclog.Logger
	*parts
	api   *api.Server
	ready atomic.Bool
}

func newServer(ctx context.Context, o Options, version string, log hclog.Logger) (*server, error) {
	s := &server{version: version, log: log}
	p, err := build(ctx, o, version, log)
	if err != nil {
		return nil, err
	}
	s.parts = p
	s.api = api.New(api.Options{
		Actions: p.kernel.Actions, Types: p.kernel.Types, Jobs: polls{p.kernel.Jobs}, Version: version,
		Auth: p.identity, Schema: newDescriber(p.kernel, version),
		Ready: func(ctx context.Context) error {
			if !s.ready.Load() {
				return errs.New(errs.Unavailable, "server", "it is starting or stopping")
			}
			if err := p.kernel.Store.Health(ctx); err != nil {
				return err
			}
			return store.Roomy("data folder", o.DataDir)
		},
		Plugins: func() map[string]string {
			states := map[string]string{}
			for _, plugin := range p.kernel.Plugins.Status() {
				states[plugin.Name] = plugin.State
				if _, missing := p.kernel.Plugins.Asks(plugin.Name); len(missing) > 0 {
					states[plugin.Name] += ": " + strings.Join(missing, ", ")
				}
			}
			return states
		},
		Samples:       p.samples,
		CheckTimeZone: func(ctx context.Context) bool { return p.kernel.Config.Bool(ctx, "rest", "checkTimeZone", "") },
		Proxies:       p.kernel.Config.TrustedProxies,
		PollHold: func(ctx context.Context) time.Duration {
			return time.Duration(p.kernel.Config.Int64(ctx, "rest", "poll.hold", "")) * time.Millisecond
		},
	}, log.Named("api"))
	s.api.ServeEvents(api.EventOptions{Bus: p.kernel.Events, Authenticate: p.identity.Authenticate, Alive: p.identity.Alive,
		Query: p.kernel.AskQuery})
	return s, nil
}

func (s *server) serve(ctx context.Context, l net.Listener) error {
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	if err := s.start(work); err != nil {
		return err
	}
	h := s.api.HTTPServer()
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(bounded(l, s.log)) }()
	s.ready.Store(true)
	go collectLess()
	s.log.Info("serving", "address", "http://"+l.Addr().String()+"/zstack/v1/", "version", s.version)
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-s.kernel.Node.Over():
		return errs.New(errs.Refused, "server", "another one has taken the database over; this one must not work any more")
	case <-ctx.Done():
	}
	s.log.Info("stopping: running steps end, the rest is resumed at the next start")
	s.ready.Store(false)
	s.drain(context.WithoutCancel(ctx), h)
	return nil
}

// heapGrowth is by how many percent of what is in use the heap grows before it is
// collected. What lives in a core is small and what requests leave is much: at Go's
// usual 100, a seventh of the CPU of making guests went into looking at the same few
// megabytes again.
const heapGrowth = 200

// collectLess gives back what the start has left, and lets the heap grow more than
// is usual between collections from then on, unless the environment's GOGC says
// how much.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	debug.FreeOSMemory()
}

// drain has running work end, as far as it does in time.
func (s *server) drain(ctx context.Context, h *http.Server) {
	end, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	flows := make(chan error, 1)
	go func() { flows <- s.kernel.Flows.Stop(end) }()
	if err := endConnections(end, h); err != nil {
		s.log.Warn("connections cut", "error", err)
	}
	if err := <-flows; err != nil {
		s.log.Warn("flows did not stop in time", "error", err)
	}
	if err := s.kernel.Dispatch.Drain(end); err != nil {
		s.log.Warn("work did not end in time", "error", err)
	}
	ctx, cancel = context.WithTimeout(ctx, partsTimeout)
	defer cancel()
	if _, err := s.kernel.Flows.FlushTraces(ctx); err != nil {
		s.log.Warn("traces of flows not kept", "error", err)
	}
}

// endConnections ends a server: calls that are being answered have until ctx ends,
// then their connections are cut, as a client that sends its body byte by byte
// never ends. What runs on behalf of a connection goes on.
func endConnections(ctx context.Context, h *http.Server) error {
	err := h.Shutdown(ctx)
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, h.Close())
}

// close stops all parts; after a failed start too. The context that start was
// given has ended before.
func (s *server) close() {
	end, cancel := context.WithTimeout(context.Background(), partsTimeout)
	defer cancel()
	if err := s.order.Stop(end); err != nil {
		s.log.Error("not all has ended as it should", "error", err)
	}
	s.log.Info("stopped")
}

// enabled returns the plugins to run: those asked for, or all in the folder.
func enabled(o Options) ([]string, error) {
	if len(o.Plugins) > 0 {
		return o.Plugins, nil
	}
	names := plugin.Available(o.PluginDir)
	if len(names) == 0 {
		return nil, errs.New(errs.NotFound, "plugin folder "+o.PluginDir, "has no plugin (files named kumo-plugin-<name>)").
			WithAdvice("run make build, or name the folder with --plugin-dir")
	}
	return names, nil
}

func pluginData(o Options) string { return filepath.Join(o.DataDir, "plugins") }
