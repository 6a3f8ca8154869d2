package hostlink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Places on a host, below the state folder.
func programPath(stateDir string) string { return path.Join(stateDir, "bin", "kumo-hostd") }
func tlsPath(stateDir, name string) string {
	return path.Join(stateDir, "tls", name)
}

// connectRemote uses the agent that runs on the host when it is this version.
// Otherwise it installs program and certificates over SSH and starts it there.
func connectRemote(ctx context.Context, cfg Config, host *pluginv1.Host, ip netip.Addr, l *Link) error {
	version, err := hostdVersion(ctx, cfg.Hostd)
	if err != nil {
		return err
	}
	ring, err := openKeyring(filepath.Join(cfg.DataDir, "tls"), cfg.Sign)
	if err != nil {
		return errs.Wrap(errs.Internal, object(host), err, "certificates cannot be kept")
	}
	// SSH comes first: it tells wrong credentials from a host that is away, and
	// carries libvirt's connection.
	if l.ssh, err = dialSSH(ctx, cfg, host, ip); err != nil {
		return failing(CheckManagement, err)
	}
	address := net.JoinHostPort(ip.String(), strconv.Itoa(cfg.Port))
	if err := l.call(ctx, host, ring, address, false); err != nil {
		return err
	}
	program := programPath(cfg.StateDir)
	own := func() error {
		_, err := l.ssh.run(ctx, program, "own", "--state", cfg.StateDir, "--owner", host.GetUuid())
		return err
	}
	if l.Info, err = agentInfo(ctx, l.agent); err == nil && l.Info.GetVersion() == version {
		return own()
	}
	if err := install(ctx, cfg, host, l.ssh, ring, version); err != nil {
		return err
	}
	if err := l.call(ctx, host, ring, address, true); err != nil {
		return err
	}
	if err := own(); err != nil {
		return err
	}
	if _, err := l.ssh.run(ctx, program, "stop", "--state", cfg.StateDir); err != nil {
		return err
	}
	if _, err := l.ssh.run(ctx, program, "start", "--state", cfg.StateDir, "--listen", address,
		"--cert", tlsPath(cfg.StateDir, "agent.pem"), "--key", tlsPath(cfg.StateDir, "agent.key"), "--ca", tlsPath(cfg.StateDir, "ca.pem")); err != nil {
		return err
	}
	l.agent.ResetConnectBackoff()
	if l.Info, err = agentInfo(ctx, l.agent, grpc.WaitForReady(true)); err != nil {
		return errs.Wrap(errs.Unavailable, object(host), err, "its agent at %s cannot be called", address).
			WithAdvice("open TCP port %d of the host for the management node", cfg.Port)
	}
	return nil
}

// call is the connection to the agent, in the place of the one before, with this plugin's
// certificate; a fresh one is of the authority as it is now.
func (l *Link) call(ctx context.Context, host *pluginv1.Host, ring *keyring, address string, fresh bool) error {
	config, err := ring.clientTLS(ctx, host.GetUuid(), fresh)
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), object(host), err, "certificates cannot be made")
	}
	conn, err := grpc.NewClient("passthrough:"+address, agentOptions(credentials.NewTLS(config))...)
	if err != nil {
		return errs.Wrap(errs.Internal, object(host), err, "its agent cannot be called")
	}
	if l.agent != nil {
		_ = l.agent.Close() // nobody uses it
	}
	l.agent = conn
	return nil
}

// install puts the program there when the host has another, and certificates always:
// the agent did not answer to those that it has.
func install(ctx context.Context, cfg Config, host *pluginv1.Host, h *sshHost, ring *keyring, version string) error {
	certFile, keyFile, err := ring.leaf(ctx, host.GetUuid(), true)
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), object(host), err, "its certificate cannot be made")
	}
	files := []upload{
		{certFile, tlsPath(cfg.StateDir, "agent.pem"), 0o600},
		{keyFile, tlsPath(cfg.StateDir, "agent.key"), 0o600},
		{ring.caFile(), tlsPath(cfg.StateDir, "ca.pem"), 0o600},
	}
	// The version has the program's SHA-256 sum in it.
	present, err := h.run(ctx, programPath(cfg.StateDir), "version")
	if errors.Is(err, errs.Unavailable) {
		return err
	}
	if err != nil || present != version {
		files = append(files, upload{cfg.Hostd, programPath(cfg.StateDir), 0o755})
	}
	return h.upload(ctx, files)
}

func disconnectRemote(ctx context.Context, cfg Config, host *pluginv1.Host, ip netip.Addr) error {
	h, err := dialSSH(ctx, cfg, host, ip)
	if err != nil {
		cfg.Log.Warn("a host was forgotten without stopping its agent", "host", host.GetUuid(), "error", err)
		return nil
	}
	defer h.close()
	_, err = h.run(ctx, programPath(cfg.StateDir), "stop", "--state", cfg.StateDir, "--purge", "--owner", host.GetUuid())
	if errors.Is(err, errs.Refused) {
		// Code 127 of the shell: the agent was never there.
		if _, missing := h.run(ctx, "test", "-e", programPath(cfg.StateDir)); missing != nil {
			return nil
		}
	}
	if errors.Is(err, errs.Unavailable) {
		cfg.Log.Warn("a host was lost while its agent was stopped", "host", host.GetUuid(), "error", err)
		return nil
	}
	return err
}
