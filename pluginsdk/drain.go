package pluginsdk

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// strategyPrefix is what the names of strategy calls begin with; go-plugin's
// own services on the same server do not, and are never held back.
const strategyPrefix = "/kumo.plugin.v1."

const pluginServicePrefix = strategyPrefix + "PluginService/"

// errDraining has no ErrorDetail on purpose: the caller sees a lost connection
// (ErrConnectionLost) and repeats the call on the process that took over.
var errDraining = status.Error(codes.Unavailable, "the plugin process is draining")

// drainer counts the running strategy calls.
type drainer struct {
	mu      sync.Mutex
	running int
	// closed is set by the first wait: no call begins any more.
	closed bool
	// idle is closed when closed is set and running is 0.
	idle    chan struct{}
	watches map[*context.CancelFunc]struct{}
}

// begin reports whether a call may start; end must follow when it may.
func (d *drainer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running++
	return true
}

func (d *drainer) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	if d.closed && d.running == 0 {
		close(d.idle)
	}
}

// watch returns a context that ends when draining starts: a watch has no end
// of its own that one could wait for.
func (d *drainer) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	key := &cancel
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		cancel()
	}
	if d.watches == nil {
		d.watches = map[*context.CancelFunc]struct{}{}
	}
	d.watches[key] = struct{}{}
	return ctx, func() {
		cancel()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watches, key)
	}
}

func (d *drainer) wait(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		d.closed, d.idle = true, make(chan struct{})
		for cancel := range d.watches {
			(*cancel)()
		}
		if d.running == 0 {
			close(d.idle)
		}
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *drainer) draining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *drainer) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

// gate lets a strategy call start when the plugin is configured and not
// draining. done must be called when err is nil.
func (s *Server) gate(method string) (done func(), err error) {
	if !strings.HasPrefix(method, strategyPrefix) || strings.HasPrefix(method, pluginServicePrefix) {
		return func() {}, nil
	}
	if s.state.Load() != stateReady {
		return nil, errs.New(errs.Refused, "plugin "+s.plugin.Manifest.GetName(), "it is not configured yet")
	}
	if !s.drain.begin() {
		return nil, errDraining
	}
	return s.drain.end, nil
}

func (s *Server) unaryGate(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	done, err := s.gate(info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer done()
	return next(ctx, req)
}

func (s *Server) streamGate(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	done, err := s.gate(info.FullMethod)
	if err != nil {
		return err
	}
	defer done()
	if info.FullMethod != pluginv1.HypervisorService_WatchHost_FullMethodName {
		return next(srv, ss)
	}
	ctx, stop := s.drain.watch(ss.Context())
	defer stop()
	err = next(srv, &serverStream{ServerStream: ss, ctx: ctx})
	if s.drain.draining() {
		return errDraining
	}
	return err
}
