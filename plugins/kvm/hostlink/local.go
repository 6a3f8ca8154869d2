package hostlink

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// agentTimeout is for starting and stopping an agent, with its networks.
const agentTimeout = 90 * time.Second

// connectLocal uses the agent that runs on this machine when it is this
// version, and starts one otherwise. The agent is in a session of its own, so
// that it and its DHCP services outlive this plugin and the core.
func connectLocal(ctx context.Context, cfg Config, host *pluginv1.Host, l *Link) error {
	version, err := hostdVersion(ctx, cfg.Hostd)
	if err != nil {
		return err
	}
	socket := filepath.Join(cfg.StateDir, "hostd.sock")
	// No transport security: the socket's mode lets only root in.
	conn, err := grpc.NewClient("unix:"+socket, agentOptions(insecure.NewCredentials())...)
	if err != nil {
		return errs.Wrap(errs.Internal, object(host), err, "its agent cannot be called")
	}
	l.agent = conn
	if err := runLocal(ctx, cfg, object(host), "own", "--state", cfg.StateDir, "--owner", host.GetUuid()); err != nil {
		return err
	}
	if l.Info, err = agentInfo(ctx, conn); err == nil && l.Info.GetVersion() == version {
		return nil
	}
	if err := runLocal(ctx, cfg, object(host), "stop", "--state", cfg.StateDir); err != nil {
		return err
	}
	if err := runLocal(ctx, cfg, object(host), "start", "--state", cfg.StateDir, "--socket", socket); err != nil {
		return err
	}
	conn.ResetConnectBackoff()
	l.Info, err = agentInfo(ctx, conn, grpc.WaitForReady(true))
	return err
}

// runLocal runs a command of the agent's program on this machine.
func runLocal(ctx context.Context, cfg Config, object string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, cfg.Hostd, args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "its agent does not %s", args[0])
		}
		return errs.Wrap(errs.Refused, object, err, "its agent does not %s: %s", args[0], strings.TrimSpace(out.String()))
	}
	return nil
}

// hostdVersion asks the program that would be installed.
func hostdVersion(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return "", errs.Wrap(errs.Internal, "agent program "+program, err, "cannot run").
			WithAdvice("kumo-hostd belongs beside the plugin's program")
	}
	return strings.TrimSpace(string(out)), nil
}
