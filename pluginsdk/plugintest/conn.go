package plugintest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kumo-cloud/kumo/pluginsdk"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// startTimeout bounds start and configuration of a plugin in a test.
const startTimeout = 30 * time.Second

// Conn is a connection to a plugin under test, described and configured.
type Conn struct {
	grpc.ClientConnInterface
	// Manifest is what the plugin described.
	Manifest *pluginv1.Manifest
}

// Hypervisor is the plugin's hypervisor strategy behind the connection.
func (c *Conn) Hypervisor() pluginsdk.HypervisorClient { return pluginsdk.NewHypervisorClient(c) }

// PrimaryStorage is the plugin's primary storage strategy.
func (c *Conn) PrimaryStorage() pluginsdk.PrimaryStorageClient {
	return pluginsdk.NewPrimaryStorageClient(c)
}

// BackupStorage is the plugin's backup storage strategy.
func (c *Conn) BackupStorage() pluginsdk.BackupStorageClient {
	return pluginsdk.NewBackupStorageClient(c)
}

// L2Network is the plugin's L2 network strategy.
func (c *Conn) L2Network() pluginsdk.L2Network { return pluginsdk.NewL2NetworkClient(c) }

// NetworkService is the plugin's network service strategy.
func (c *Conn) NetworkService() pluginsdk.NetworkService { return pluginsdk.NewNetworkServiceClient(c) }

// ResourceProvider is the provider of the plugin's own resource types.
func (c *Conn) ResourceProvider() pluginsdk.ResourceProvider {
	return pluginsdk.NewResourceProviderClient(c)
}

// Option changes how Loopback and Process start a plugin.
type Option func(*options)

type options struct {
	core     *Core
	settings map[string]string
	dataDir  string
}

// WithCore gives the plugin a core; without it the core has no hosts and no
// settings.
func WithCore(core *Core) Option { return func(o *options) { o.core = core } }

// WithSettings gives values to settings that the manifest declares; the others
// have their defaults.
func WithSettings(values map[string]string) Option { return func(o *options) { o.settings = values } }

// WithDataDir sets the plugin's data folder; without it the folder is the
// test's own and goes with it.
func WithDataDir(dir string) Option { return func(o *options) { o.dataDir = dir } }

func newOptions(t testing.TB, opts []Option) options {
	t.Helper()
	o := options{core: &Core{}, dataDir: ""}
	for _, opt := range opts {
		opt(&o)
	}
	if o.dataDir == "" {
		o.dataDir = t.TempDir()
	}
	return o
}

// Loopback runs a plugin inside the test behind a real gRPC server and client
// on a Unix socket, with all that Serve adds. It ends with the test.
func Loopback(t testing.TB, p pluginsdk.Plugin, opts ...Option) *Conn {
	t.Helper()
	o := newOptions(t, opts)
	dir := socketDir(t)
	conn := &Conn{}
	coreSocket := filepath.Join(dir, "core")
	srv := pluginsdk.NewServer(p, Logger(t), func(uint32) (grpc.ClientConnInterface, error) {
		return dial(t, coreSocket), nil
	})
	listen(t, coreSocket, pluginsdk.ServerOptions(Logger(t)), func(s *grpc.Server) {
		pluginv1.RegisterCoreServiceServer(s, o.coreService(conn))
	})
	socket := filepath.Join(dir, "plugin")
	if p.Close != nil {
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Errorf("close plugin: %v", err)
			}
		})
	}
	listen(t, socket, srv.Options(), func(s *grpc.Server) { srv.Register(s) })
	conn.ClientConnInterface = dial(t, socket)
	o.configure(t, conn, 0)
	return conn
}

// Process starts the plugin binary as the core does, with AutoMTLS, and ends
// it with the test. Its log goes to t.
func Process(t testing.TB, binary string, opts ...Option) *Conn {
	t.Helper()
	o := newOptions(t, opts)
	conn := &Conn{}
	host := &hostSide{}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  pluginsdk.Handshake,
		Plugins:          goplugin.PluginSet{pluginsdk.ServiceName: host},
		Cmd:              exec.Command(binary),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		Logger:           Logger(t),
		GRPCDialOptions:  pluginsdk.DialOptions(),
		StartTimeout:     startTimeout,
	})
	t.Cleanup(client.Kill)
	rpc, err := client.Client()
	if err != nil {
		t.Fatalf("start plugin %s: %v", binary, err)
	}
	if _, err := rpc.Dispense(pluginsdk.ServiceName); err != nil {
		t.Fatalf("start plugin %s: %v", binary, err)
	}
	conn.ClientConnInterface = host.conn
	id := host.broker.NextId()
	go host.broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
		s := grpc.NewServer(append(opts, pluginsdk.ServerOptions(nil)...)...)
		pluginv1.RegisterCoreServiceServer(s, o.coreService(conn))
		return s
	})
	o.configure(t, conn, id)
	return conn
}

// hostSide takes hold of the broker and the connection that go-plugin makes.
type hostSide struct {
	goplugin.NetRPCUnsupportedPlugin
	conn   *grpc.ClientConn
	broker *goplugin.GRPCBroker
}

func (h *hostSide) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (h *hostSide) GRPCClient(_ context.Context, broker *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	h.conn, h.broker = conn, broker
	return h, nil
}

func (o options) coreService(conn *Conn) pluginv1.CoreServiceServer {
	return pluginsdk.NewCoreService(coreHandler{o.core}, func() *pluginv1.Manifest { return conn.Manifest }, nil)
}

// configure does what the core does with a plugin that has just started.
func (o options) configure(t testing.TB, conn *Conn, brokerID uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	rpc := pluginv1.NewPluginServiceClient(conn)
	described, err := rpc.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatalf("describe plugin: %v", err)
	}
	conn.Manifest = described.Manifest
	settings := map[string]string{}
	for _, s := range conn.Manifest.Settings {
		settings[s.Name] = s.Default
	}
	for name, value := range o.settings {
		if _, ok := settings[name]; !ok {
			t.Fatalf("plugin %s declares no setting %s", conn.Manifest.Name, name)
		}
		settings[name] = value
	}
	_, err = rpc.Configure(ctx, &pluginv1.ConfigureRequest{
		Settings: settings, DataDir: o.dataDir, CoreBrokerId: brokerID,
	})
	if err != nil {
		t.Fatalf("configure plugin: %v", err)
	}
	health, err := rpc.Health(ctx, &pluginv1.HealthRequest{})
	if err != nil || !health.Ready {
		t.Fatalf("plugin is not ready: %v %v", health.GetReason(), err)
	}
}

// Agent serves an agent on a Unix socket until the test ends and returns its
// client, for Core.Hosts.
func Agent(t testing.TB, agent hostv1.HostAgentServiceServer) hostv1.HostAgentServiceClient {
	t.Helper()
	return hostv1.NewHostAgentServiceClient(AgentConn(t, agent))
}

// AgentAt returns the client of an agent that is a process, on its Unix socket.
func AgentAt(t testing.TB, socket string) hostv1.HostAgentServiceClient {
	t.Helper()
	return hostv1.NewHostAgentServiceClient(dial(t, socket))
}

// AgentConn is Agent for plugins that forward calls to an agent by themselves.
func AgentConn(t testing.TB, agent hostv1.HostAgentServiceServer) *grpc.ClientConn {
	t.Helper()
	socket := filepath.Join(socketDir(t), "agent")
	listen(t, socket, pluginsdk.ServerOptions(Logger(t)), func(s *grpc.Server) {
		hostv1.RegisterHostAgentServiceServer(s, agent)
	})
	return dial(t, socket)
}

// Children returns the process IDs of the living children of this process,
// such as the plugins that Process started.
func Children(t testing.TB) []int {
	t.Helper()
	var pids []int
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has just ended; its children moved to another
		}
		for _, s := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// socketDir is a folder with a name short enough for a socket in it (108
// bytes), which t.TempDir is not for long test names.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kumo-plugintest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func listen(t testing.TB, socket string, opts []grpc.ServerOption, register func(*grpc.Server)) {
	t.Helper()
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	register(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		// A short test may end before Serve has begun, which then says so.
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve %s: %v", socket, err)
		}
	})
}

func dial(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket,
		append(pluginsdk.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close connection to %s: %v", socket, err)
		}
	})
	return conn
}

// Logger logs to t, and to nothing once the test has ended: a goroutine that
// logs late must not panic another test.
func Logger(t testing.TB) hclog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.stop)
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: w, DisableTime: true})
}
