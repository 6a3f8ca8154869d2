package hostlink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// defaultSockets are libvirt's monolithic and modular daemons, in the order of
// preference.
var defaultSockets = []string{"/var/run/libvirt/libvirt-sock", "/var/run/libvirt/virtqemud-sock"}

const defaultTCPPort = "16509"

// Libvirt says how libvirt is reached on every host.
type Libvirt struct {
	sockets []string
	tcpPort string
}

// ParseLibvirt reads the setting: "" or "qemu:///system" for the host's unix
// socket (through SSH on other hosts), "qemu+unix:///system?socket=/path" for
// another socket, "qemu+tcp:///system" or "qemu+tcp://:PORT/system" for TCP on
// the management address. Errors: Invalid.
func ParseLibvirt(text string) (Libvirt, error) {
	bad := func(why string) (Libvirt, error) {
		return Libvirt{}, errs.New(errs.Invalid, "setting libvirtURI", "%q: %s", text, why)
	}
	if text == "" {
		return Libvirt{sockets: defaultSockets}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("it is no URI")
	}
	if u.Path != "/system" || u.Hostname() != "" || u.User != nil {
		return bad("it must have no host, because each host has its management address, and the path /system")
	}
	switch u.Scheme {
	case "qemu", "qemu+unix":
		if u.Port() != "" {
			return bad("a unix socket has no port")
		}
		socket := u.Query().Get("socket")
		if u.RawQuery == "" {
			return Libvirt{sockets: defaultSockets}, nil
		}
		if kinds.Exact("plainpath", socket) != nil {
			return bad("the socket is no plain absolute path")
		}
		return Libvirt{sockets: []string{socket}}, nil
	case "qemu+tcp":
		port := u.Port()
		if port == "" {
			port = defaultTCPPort
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return bad("its port is not between 1 and 65535")
		}
		return Libvirt{tcpPort: port}, nil
	}
	return bad("its scheme is not qemu, qemu+unix or qemu+tcp")
}

// dialer opens the connection that libvirt's protocol runs on.
func (c Libvirt) dialer(ip netip.Addr, ssh *sshHost) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
		if c.tcpPort != "" {
			return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), c.tcpPort))
		}
		var all error
		for _, socket := range c.sockets {
			var conn net.Conn
			var err error
			if ssh != nil {
				conn, err = ssh.dial(ctx, "unix", socket)
			} else {
				conn, err = d.DialContext(ctx, "unix", socket)
			}
			if err == nil {
				return conn, nil
			}
			all = errors.Join(all, err)
		}
		return nil, all
	}
}

// advice tells what lets libvirt be reached where the setting looks for it.
func (c Libvirt) advice() string {
	if c.tcpPort != "" {
		return "start libvirt's TCP socket on the host (libvirtd-tcp.socket, port " + c.tcpPort + ", auth_tcp = \"none\")"
	}
	return "start libvirtd on the host (package libvirt-daemon-system)"
}

// fixedConn hands a connection that is open to go-libvirt.
type fixedConn struct{ net.Conn }

func (c fixedConn) Dial() (net.Conn, error) { return c.Conn, nil }

func dialLibvirt(ctx context.Context, object, advice string, dial func(context.Context) (net.Conn, error)) (*libvirt.Libvirt, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		class := errs.Unavailable
		if errors.Is(err, os.ErrPermission) {
			class = errs.Refused
		}
		return nil, errs.Wrap(class, object, err, "libvirt cannot be reached").
			WithAdvice("%s", advice)
	}
	l := libvirt.NewWithDialer(fixedConn{conn})
	opened := make(chan error, 1)
	go func() { opened <- l.Connect() }()
	select {
	case err = <-opened:
	case <-ctx.Done():
		// Closing the connection ends the goroutine.
		err = errors.Join(ctx.Err(), conn.Close())
	}
	if err != nil {
		var answer libvirt.Error
		if errors.As(err, &answer) && answer.Code == uint32(libvirt.ErrAuthFailed) {
			return nil, errs.Wrap(errs.Refused, object, err, "libvirt does not let this program in").
				WithAdvice("run Kumo as root, or set auth_unix_rw to none")
		}
		return nil, errs.Wrap(errs.Unavailable, object, err, "libvirt does not answer")
	}
	return l, nil
}

// Apart is a connection to libvirt of its own, for what libvirtd takes back when the
// connection on which it was asked for ends, and for calls that take as long as they take.
type Apart struct {
	*libvirt.Libvirt
	object string
	conn   net.Conn
}

// Apart opens one. It ends by Close, and does not end with the link. Errors: Unavailable.
func (l *Link) Apart(ctx context.Context, object string) (*Apart, error) {
	a := &Apart{object: object}
	var err error
	a.Libvirt, err = dialLibvirt(ctx, object, "repeat the call", func(ctx context.Context) (conn net.Conn, err error) {
		a.conn, err = l.dial(ctx)
		return a.conn, err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Close ends the connection, and the calls on it. A repeat does nothing.
func (a *Apart) Close() { _ = a.conn.Close() } // it can only have been closed before

// Error gives an error of a call on the connection its class.
func (a *Apart) Error(err error) error { return classify(a.object, err) }

// Call runs one call of libvirt's protocol, which has no contexts: when ctx
// ends first, the call may still happen, and the link is closed, because a
// libvirt that does not answer one call will not answer the next. IsGone tells
// a missing guest from other errors.
func Call[T any](ctx context.Context, l *Link, object string, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	return callOn(ctx, l, l.work[int(l.turn.Add(1))%len(l.work)], object, f)
}

// Ask is Call for events and short questions: it does not wait for guests that
// are being started.
func Ask[T any](ctx context.Context, l *Link, object string, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	return callOn(ctx, l, l.control, object, f)
}

func callOn[T any](ctx context.Context, l *Link, c *libvirt.Libvirt, object string, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		v, err := f(c)
		answers <- answer{v, err}
	}()
	var zero T
	select {
	case a := <-answers:
		return a.value, classify(object, a.err)
	case <-l.closed:
		return zero, errs.New(errs.Unavailable, object, "%s", l.reason).OfCheck(l.check)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			go l.Close()
		}
		return zero, errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "libvirt did not answer in time")
	}
}

func classify(object string, err error) error {
	if err == nil {
		return nil
	}
	var answer libvirt.Error
	if !errors.As(err, &answer) {
		return errs.Wrap(errs.Unavailable, object, err, "the connection to libvirt was lost")
	}
	class := errs.Internal
	switch libvirt.ErrorNumber(answer.Code) {
	case libvirt.ErrNoDomain, libvirt.ErrNoDomainMetadata:
		class = errs.NotFound
	case libvirt.ErrOperationInvalid:
		class = errs.Refused
	case libvirt.ErrNoSupport, libvirt.ErrOperationUnsupported, libvirt.ErrConfigUnsupported:
		class = errs.Unsupported
	case libvirt.ErrXMLError, libvirt.ErrXMLDetail, libvirt.ErrInvalidArg:
		class = errs.Invalid
	case libvirt.ErrNoMemory:
		class = errs.Exhausted
	}
	if strings.Contains(answer.Message, "Cannot allocate memory") {
		class = errs.Exhausted
	}
	return errs.Wrap(class, object, err, "libvirt refused")
}

// IsGone reports that libvirt has no such guest, or metadata.
func IsGone(err error) bool { return errors.Is(err, errs.NotFound) }
