package pluginsdk

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Server serves one plugin on a gRPC server. Serve uses it in a plugin's own
// process and plugintest inside a test; plugins themselves do not need it.
type Server struct {
	pluginv1.UnimplementedPluginServiceServer

	plugin Plugin
	log    hclog.Logger
	drain  drainer
	dial   func(brokerID uint32) (grpc.ClientConnInterface, error)
	// state goes from stateNew over stateConfiguring to stateReady.
	state atomic.Int32
}

const (
	stateNew = iota
	stateConfiguring
	stateReady
)

// NewServer makes the server of a plugin. dial opens the connection to the
// CoreService that Configure names.
func NewServer(p Plugin, log hclog.Logger, dial func(brokerID uint32) (grpc.ClientConnInterface, error)) *Server {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Server{plugin: p, log: log, dial: dial}
}

// Options are the options for the gRPC server on which Register is called:
// ServerOptions, and what Configure and Drain need to see of each call.
func (s *Server) Options() []grpc.ServerOption {
	return append(ServerOptions(s.log),
		grpc.ChainUnaryInterceptor(s.unaryGate), grpc.ChainStreamInterceptor(s.streamGate))
}

// Register serves PluginService and the plugin's strategies on r.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServiceServer(r, s)
	registerStrategies(r, s.plugin)
}

// Describe answers with the manifest, or says how it differs from the code. Network
// services that are called are declarative: this SDK has no others.
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if err := CheckManifest(s.plugin); err != nil {
		return nil, err
	}
	manifest := proto.Clone(s.plugin.Manifest).(*pluginv1.Manifest)
	for _, d := range manifest.GetNetworkServices() {
		d.Declarative = !d.GetByPoints()
	}
	return &pluginv1.DescribeResponse{Manifest: manifest}, nil
}

// Configure hands the environment to the plugin. It is refused a second time,
// as running calls rely on the first environment; after an error it may be
// repeated.
func (s *Server) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	name := s.plugin.Manifest.GetName()
	if !s.state.CompareAndSwap(stateNew, stateConfiguring) {
		return nil, errs.New(errs.Refused, "plugin "+name, "it is configured already")
	}
	ready := false
	defer func() {
		if !ready {
			s.state.Store(stateNew)
		}
	}()
	conn, err := s.dial(req.CoreBrokerId)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, "plugin "+name, err, "connect back to the core")
	}
	env := Env{Log: s.log, Core: NewCoreClient(conn, s.log), Settings: req.Settings, DataDir: req.DataDir}
	if env.Settings == nil {
		env.Settings = map[string]string{}
	}
	if s.plugin.Configure != nil {
		if err := s.plugin.Configure(ctx, env); err != nil {
			return nil, fmt.Errorf("configure plugin %s: %w", name, err)
		}
	}
	ready = true
	s.state.Store(stateReady)
	return &pluginv1.ConfigureResponse{}, nil
}

// Health tells whether the plugin takes calls.
func (s *Server) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	switch {
	case s.state.Load() != stateReady:
		return &pluginv1.HealthResponse{Reason: "not configured"}, nil
	case s.drain.draining():
		return &pluginv1.HealthResponse{Reason: "draining"}, nil
	}
	return &pluginv1.HealthResponse{Ready: true}, nil
}

// Purge is the plugin's own.
func (s *Server) Purge(ctx context.Context, _ *pluginv1.PurgeRequest) (*pluginv1.PurgeResponse, error) {
	if s.plugin.Purge == nil {
		return &pluginv1.PurgeResponse{}, nil
	}
	return &pluginv1.PurgeResponse{}, s.plugin.Purge(ctx)
}

// Drain refuses new calls, ends watches, and returns when running calls have
// ended or with the deadline of ctx. A repeat waits again.
func (s *Server) Drain(ctx context.Context, _ *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	if err := s.drain.wait(ctx); err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "plugin "+s.plugin.Manifest.GetName(), err,
			"%d calls still run", s.drain.count())
	}
	return &pluginv1.DrainResponse{}, nil
}
