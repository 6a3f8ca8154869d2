package hostd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// drainTimeout is how long running calls may take when the agent stops. A
// download that is cut off starts anew when it is asked for again.
const drainTimeout = 10 * time.Second

// Options says how an agent runs. Either Socket or Listen is set.
type Options struct {
	// Socket is a unix socket, mode 0600: only root on this host may call.
	Socket string
	// Listen is a TCP address for callers with a certificate of CAFile.
	Listen                    string
	CertFile, KeyFile, CAFile string
	// StateDir holds the network state, the lock and the log.
	StateDir string
	// Kept is what a keeper gives its agent, "" without one: the agent ends when
	// it is not wanted any more, and starts another keeper when its own ends.
	Kept    string
	Version string
	Log     hclog.Logger
}

// Serve runs the agent until ctx ends, then lets running calls end and leaves
// the network state in place. ready is called when the agent can be called.
// Errors: Refused when another agent has the state folder.
func Serve(ctx context.Context, o Options, ready func()) (err error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	unlock, err := takeLock(lockFile(o.StateDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if o.Kept != "" {
		if w, err := wished(o.StateDir); err != nil || w.Token != o.Kept {
			return err // Stop came between the keeper's look and the lock
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go keepKeeper(ctx, o.StateDir, o.Kept, o.Log)
	}
	listener, options, err := listen(o)
	if err != nil {
		return err
	}
	engine, err := dataplane.Open(dataplane.Config{StateDir: o.StateDir, Log: o.Log.Named("dataplane")})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	server := grpc.NewServer(append(pluginsdk.ServerOptions(o.Log), options...)...)
	agent := New(o.Version, engine, o.Log)
	hostv1.RegisterHostAgentServiceServer(server, agent)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	o.Log.Info("agent started", "version", o.Version, "address", o.Socket+o.Listen)
	ready()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	agent.stop()
	force := time.AfterFunc(drainTimeout, server.Stop)
	defer force.Stop()
	server.GracefulStop()
	o.Log.Info("agent stopped")
	return <-served
}

func listen(o Options) (net.Listener, []grpc.ServerOption, error) {
	if o.Socket != "" {
		l, err := listenUnix(o.Socket)
		return l, nil, err
	}
	config, err := serverTLS(o)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Refused, "agent", err, "cannot listen on %s", o.Listen)
	}
	return l, []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}, nil
}

// listenUnix is called with the lock held, so an existing socket is of an agent
// that ended.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, pathError(path, err, "its folder cannot be made")
	}
	// A folder that nobody else can enter keeps the socket closed until it has
	// its mode; the rename opens it under its name.
	closed, err := os.MkdirTemp(filepath.Dir(path), ".")
	if err != nil {
		return nil, pathError(path, err, "cannot be made")
	}
	defer func() {
		// It is empty after the rename; a leftover does no harm.
		_ = os.RemoveAll(closed)
	}()
	temporary := filepath.Join(closed, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, errs.Wrap(errs.Refused, "agent", err, "cannot listen on %s", path)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(pathError(path, err, "cannot be made"), l.Close())
	}
	return l, nil
}

func serverTLS(o Options) (*tls.Config, error) {
	if o.Listen == "" || o.CertFile == "" || o.KeyFile == "" || o.CAFile == "" {
		return nil, errs.New(errs.Invalid, "agent", "without a unix socket it needs a TCP address, a certificate with its key, and a CA")
	}
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "agent", err, "its certificate cannot be read")
	}
	text, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "agent", err, "its CA cannot be read")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errs.New(errs.Invalid, "agent", "%s has no certificate", o.CAFile)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}, nil
}

func lockFile(stateDir string) string { return filepath.Join(stateDir, "hostd.pid") }
