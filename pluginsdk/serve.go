package pluginsdk

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Handshake is what core and plugin must agree on before they talk. The cookie
// is no secret: it only keeps a person from starting a plugin by hand.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "KUMO_PLUGIN",
	MagicCookieValue: "0c1b6c1a53c3f6f2b0b8f7a5e7d6b8c9",
}

// ServiceName is the only entry in go-plugin's set of plugins: what a process
// offers is in its manifest.
const ServiceName = "kumo"

// LogLevelEnv is the variable by which the core tells its log level, so that a
// plugin does not format lines that the core would drop.
const LogLevelEnv = "KUMO_PLUGIN_LOG_LEVEL"

// closeTimeout bounds Plugin.Close at the end of the process; go-plugin kills
// what has not ended 2 s after it was asked to.
const closeTimeout = 1500 * time.Millisecond

func serve(p Plugin) {
	name := p.Manifest.GetName()
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a Kumo plugin: it is started by `kumo serve`, not by hand.\n", orUnnamed(name))
		os.Exit(1)
	}
	// go-plugin reads JSON lines from the original stderr and logs them again
	// in the core with their level; os.Stderr itself is replaced by Serve below.
	log := hclog.New(&hclog.LoggerOptions{
		Level: logLevel(), Output: os.Stderr, JSONFormat: true,
	})
	// When the core dies, its end of stderr may close before the lifeline does;
	// the next log line must not end the process before watchCore tidies up.
	// Notify, not Ignore: what is ignored is inherited by helpers.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	watchCore(func(reason string) {
		log.Error("the core is gone, exiting", "reason", reason)
		closePlugin(p, log, time.Second/2)
		killHelpers()
		os.Exit(1)
	})
	served := &served{plugin: p, log: log}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         goplugin.PluginSet{ServiceName: served},
		Logger:          log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, served.server().Options()...)...)
		},
	})
	closePlugin(p, log, closeTimeout)
}

func orUnnamed(name string) string {
	if name == "" {
		return "this"
	}
	return name
}

func logLevel() hclog.Level {
	if l := hclog.LevelFromString(os.Getenv(LogLevelEnv)); l != hclog.NoLevel {
		return l
	}
	return hclog.Debug
}

// closePlugin calls Plugin.Close and gives up waiting after limit: the process
// ends in any case.
func closePlugin(p Plugin, log hclog.Logger, limit time.Duration) {
	if p.Close == nil {
		return
	}
	done := make(chan error, 1)
	go func() { done <- p.Close() }()
	select {
	case err := <-done:
		if err != nil {
			log.Warn("plugin did not close well", "error", err)
		}
	case <-time.After(limit):
		log.Warn("plugin did not close in time", "limit", limit)
	}
}

// served is the plugin in go-plugin's terms.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	plugin Plugin
	log    hclog.Logger
	srv    *Server
	broker *goplugin.GRPCBroker
}

// server is made by go-plugin's first use, which is before it has a broker;
// go-plugin sets up its server in one goroutine.
func (s *served) server() *Server {
	if s.srv == nil {
		s.srv = NewServer(s.plugin, s.log, func(id uint32) (grpc.ClientConnInterface, error) {
			return s.broker.DialWithOptions(id, DialOptions()...)
		})
	}
	return s.srv
}

// GRPCServer implements go-plugin's side of the plugin process.
func (s *served) GRPCServer(broker *goplugin.GRPCBroker, r *grpc.Server) error {
	s.broker = broker
	s.server().Register(r)
	return nil
}

// GRPCClient is the core's side, which has its own (core/plugin).
func (s *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("a plugin process is no client")
}
