package hostlink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	dialTimeout = 10 * time.Second
	infoTimeout = 10 * time.Second
	// workConnections, with libvirtd's five calls each, start 15 guests at once.
	workConnections = 3
	// closeTimeout bounds what a lost host can hold up.
	closeTimeout = 5 * time.Second
)

// Names of what a link needs of a host, among the host's checks; errors of Connect
// and of a link that is lost name the one that has failed.
const (
	CheckManagement = "management link"
	CheckAgent      = "agent"
	CheckLibvirt    = "libvirt"
)

// failing returns an error as one that says that a check has failed, unless it says so of
// another already.
func failing(check string, err error) error {
	if errs.CheckOf(err) != "" {
		return err
	}
	return errs.Wrap(errs.ClassOf(err), "", err, "").OfCheck(check)
}

// Config is the same for all hosts.
type Config struct {
	// DataDir keeps keys, certificates and known host keys, mode 0700.
	DataDir string
	// Hostd is the agent's program on this machine.
	Hostd string
	// StateDir is the agent's folder on each host.
	StateDir string
	// Port is where agents on other hosts listen.
	Port int
	// Libvirt says where libvirt is: see ParseLibvirt.
	Libvirt Libvirt
	// Sign signs certificates; hosts that are this machine need none.
	Sign Signer
	Log  hclog.Logger
}

// Link is a host that can be used: its agent answers and libvirt is connected.
type Link struct {
	// Info is what the agent said when the link was made.
	Info *hostv1.InfoResponse
	// Local is true when the host is this machine.
	Local bool
	// Address is where guests' screens listen, Management where the host is reached.
	Address, Management netip.Addr

	agent *grpc.ClientConn
	// control carries events and short questions, work the rest in turn:
	// libvirtd works on five calls of one connection at a time, and starting
	// guests must not keep a check of the host waiting.
	control *libvirt.Libvirt
	work    []*libvirt.Libvirt
	turn    atomic.Uint32
	// conns are the connections below libvirt's protocol.
	conns []net.Conn
	// dial opens one more connection to libvirt.
	dial   func(ctx context.Context) (net.Conn, error)
	ssh    *sshHost
	once   sync.Once
	closed chan struct{}
	// reason and check, which may be "", are readable when closed is closed.
	reason, check string
}

// Agent is the connection to the host's agent.
func (l *Link) Agent() *grpc.ClientConn { return l.agent }

// Lost is closed when the connection to the agent, to libvirt or by SSH has
// ended: the link is of no more use.
func (l *Link) Lost() <-chan struct{} { return l.closed }

// Reason says what was lost first, when Lost is closed.
func (l *Link) Reason() string { return l.reason }

// Close ends the connections. The agent keeps running.
func (l *Link) Close() { l.lose("", "the connection was closed") }

func (l *Link) lose(check, reason string) {
	l.once.Do(func() {
		l.check, l.reason = check, reason
		close(l.closed)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range l.connections() {
				// The host may be gone: then this says so, and all is closed.
				_ = c.Disconnect()
			}
		}()
		select {
		case <-done:
		case <-time.After(closeTimeout):
		}
		for _, c := range l.conns {
			// For a libvirt that does not answer; others have closed it.
			_ = c.Close()
		}
		if l.agent != nil {
			_ = l.agent.Close() // it can only have been closed before
		}
		if l.ssh != nil {
			l.ssh.close()
		}
	})
}

// Connect makes the host ready and connects to it: the agent is installed,
// replaced when it is another version, and started when it does not run. All of
// it can be repeated. Errors: Invalid for wrong credentials or addresses,
// Unavailable when the host cannot be reached, Refused when it lacks something.
func Connect(ctx context.Context, cfg Config, host *pluginv1.Host) (_ *Link, err error) {
	ip, err := hostAddress(ctx, host)
	if err != nil {
		return nil, failing(CheckManagement, err)
	}
	local, err := isLocal(ip)
	if err != nil {
		return nil, err
	}
	l := &Link{Local: local, Address: ip, Management: ip, closed: make(chan struct{})}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if local {
		// Screens of this machine's guests are shown by the core on it.
		l.Address = netip.MustParseAddr("127.0.0.1")
		err = connectLocal(ctx, cfg, host, l)
	} else {
		err = connectRemote(ctx, cfg, host, ip, l)
	}
	if err != nil {
		return nil, failing(CheckAgent, err)
	}
	l.dial = cfg.Libvirt.dialer(ip, l.ssh)
	if err := l.openLibvirt(ctx, object(host), cfg.Libvirt.advice(), l.dial); err != nil {
		return nil, failing(CheckLibvirt, err)
	}
	l.watch()
	return l, nil
}

// watch loses the link with the first of its connections that ends.
func (l *Link) watch() {
	for _, c := range l.connections() {
		go func() {
			select {
			case <-c.Disconnected():
				l.lose(CheckLibvirt, "the connection to libvirt was lost")
			case <-l.sshLost():
				l.lose(CheckManagement, "the SSH connection was lost")
			case <-l.closed:
			}
		}()
	}
	go func() {
		// It is ready, because the agent has answered; Close ends the wait.
		l.agent.WaitForStateChange(context.Background(), connectivity.Ready)
		l.lose(CheckAgent, "the connection to its agent was lost")
	}()
}

func (l *Link) openLibvirt(ctx context.Context, object, advice string, dial func(context.Context) (net.Conn, error)) (err error) {
	remember := func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			l.conns = append(l.conns, conn)
		}
		return conn, err
	}
	if l.control, err = dialLibvirt(ctx, object, advice, remember); err != nil {
		return err
	}
	for range workConnections {
		c, err := dialLibvirt(ctx, object, advice, remember)
		if err != nil {
			return err
		}
		l.work = append(l.work, c)
	}
	return nil
}

// connections are all to libvirt that have been opened.
func (l *Link) connections() []*libvirt.Libvirt {
	if l.control == nil {
		return nil
	}
	return append([]*libvirt.Libvirt{l.control}, l.work...)
}

func (l *Link) sshLost() <-chan struct{} {
	if l.ssh == nil {
		return nil
	}
	return l.ssh.lost
}

// Disconnect stops the host's agent, takes off what it made, and forgets the
// host's keys. A host that cannot be reached, has no agent, or never had an
// address that works, is a success: it is forgotten.
func Disconnect(ctx context.Context, cfg Config, host *pluginv1.Host) error {
	ip, err := hostAddress(ctx, host)
	if err != nil {
		cfg.Log.Warn("a host was forgotten without stopping its agent", "host", host.GetUuid(), "error", err)
		return forget(cfg, host)
	}
	local, err := isLocal(ip)
	if err != nil {
		return err
	}
	if local {
		return runLocal(ctx, cfg, object(host), "stop", "--state", cfg.StateDir, "--purge", "--owner", host.GetUuid())
	}
	if err := disconnectRemote(ctx, cfg, host, ip); err != nil {
		return err
	}
	return forget(cfg, host)
}

// forget removes what this machine keeps of a host.
func forget(cfg Config, host *pluginv1.Host) error {
	certFile, keyFile := leafFiles(filepath.Join(cfg.DataDir, "tls"), host.GetUuid())
	var all error
	for _, file := range []string{knownKeyFile(cfg, host), certFile, keyFile} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, errs.Wrap(errs.Internal, object(host), err, "its keys cannot be forgotten"))
		}
	}
	return all
}

// Check refuses settings that cannot work (errs.Invalid). Connect and
// Disconnect want a Config that passed.
func (c Config) Check() error {
	if err := kinds.Exact("plainpath", c.StateDir); err != nil {
		return errs.Wrap(errs.Invalid, "setting stateFolder", err, "")
	}
	if len(c.StateDir) > 90 {
		return errs.New(errs.Invalid, "setting stateFolder", "it is too long for the agent's socket in it")
	}
	if c.Port < 1 || c.Port > 65535 {
		return errs.New(errs.Invalid, "setting hostdPort", "%d is no port", c.Port)
	}
	return nil
}

func object(host *pluginv1.Host) string { return "host " + host.GetUuid() }

// hostAddress reads the management address, or resolves the host name that it
// may be. Errors: Invalid for what can be neither.
func hostAddress(ctx context.Context, host *pluginv1.Host) (netip.Addr, error) {
	name := host.GetManagementIp()
	ip, err := netip.ParseAddr(name)
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
		if err != nil || len(found) == 0 {
			class := errs.Unavailable
			var unknown *net.DNSError
			if errors.As(err, &unknown) && unknown.IsNotFound {
				class = errs.Invalid
			}
			return ip, errs.Wrap(class, object(host), err, "its management address %q is no IP address, and no name that this machine can resolve", name)
		}
		ip = found[0]
	}
	spelling, err := kinds.Parse("addr", ip.String())
	if err != nil {
		return ip, errs.Wrap(errs.Invalid, object(host), err, "its management address %q", name)
	}
	return netip.ParseAddr(spelling)
}

// isLocal reports whether the address is of this machine.
func isLocal(ip netip.Addr) (bool, error) {
	if ip.IsLoopback() {
		return true, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, errs.Wrap(errs.Internal, "management node", err, "its addresses cannot be read")
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == ip {
				return true, nil
			}
		}
	}
	return false, nil
}

func sshPort(host *pluginv1.Host) (int, error) {
	text := host.GetFields()["sshPort"]
	if text == "" {
		return 22, nil
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, errs.New(errs.Invalid, object(host), "its SSH port %q is no port", text)
	}
	return port, nil
}

// agentOptions are those of a connection to an agent. It stays open without
// calls, so that its end tells that the agent has ended.
func agentOptions(security credentials.TransportCredentials) []grpc.DialOption {
	return append(pluginsdk.DialOptions(), grpc.WithTransportCredentials(security), grpc.WithIdleTimeout(0))
}

// agentInfo asks the agent who it is. Options: grpc.WaitForReady for an agent
// that was just started, because the connection remembers its first failure.
func agentInfo(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) (*hostv1.InfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	return hostv1.NewHostAgentServiceClient(conn).Info(ctx, &hostv1.InfoRequest{}, options...)
}
