package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 5 * time.Second
)

// process is a running daemon that need not be our child: it is held by a
// pidfd, so a PID that was given to another program is never touched, and its
// end is an event.
type process struct {
	pid   int
	pidfd *os.File
	ended chan struct{}
}

// adopt finds the daemon that wrote pidFile and has argument in its command
// line. It returns nil when there is none.
func adopt(pidFile, argument string) (*process, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil, nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil, nil
		}
		return nil, fmt.Errorf("hold process %d: %w", pid, err)
	}
	p := &process{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd"), ended: make(chan struct{})}
	// The pidfd is open, so the PID cannot change hands under this check.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !hasArgument(line, argument) {
		return nil, p.pidfd.Close()
	}
	go p.watch()
	return p, nil
}

func hasArgument(cmdline []byte, argument string) bool {
	for _, a := range bytes.Split(cmdline, []byte{0}) {
		if string(a) == argument {
			return true
		}
	}
	return false
}

// watch closes ended when the process has ended. A pidfd becomes readable then;
// the runtime's poller waits for it, so no thread does.
func (p *process) watch() {
	defer func() {
		// Closed already when the process was released.
		_ = p.pidfd.Close()
	}()
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	gone := false
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0
		return gone
	})
	if err == nil && gone {
		close(p.ended)
	}
}

// alive reports whether the process runs.
func (p *process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal accepts a process that has ended.
func (p *process) signal(s unix.Signal) error {
	conn, err := p.pidfd.SyscallConn()
	if err == nil {
		var sent error
		err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) })
		err = errors.Join(err, sent)
	}
	if !p.alive() || errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// stop ends the process, by force when it does not end in time.
func (p *process) stop() error {
	if !p.alive() {
		return nil
	}
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := p.signal(s); err != nil {
			return fmt.Errorf("end process %d: %w", p.pid, err)
		}
		select {
		case <-p.ended:
			return nil
		case <-time.After(stopTimeout):
		}
	}
	return fmt.Errorf("process %d did not end", p.pid)
}

// release stops watching and leaves the process running.
func (p *process) release() error { return p.pidfd.Close() }

// testDnsmasq refuses a configuration that dnsmasq cannot read.
func testDnsmasq(ctx context.Context, binary, file string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--test", "--conf-file="+file)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && ctx.Err() == nil:
		return errs.Wrap(errs.Refused, "dnsmasq", err, "does not take its configuration: %s", strings.TrimSpace(string(out)))
	}
	return errs.Wrap(errs.Refused, "dnsmasq", err, "cannot check its configuration").
		WithAdvice("install the package dnsmasq-base on the host")
}

// startDnsmasq runs dnsmasq in the namespace. dnsmasq goes into the background
// only when it is ready, so its first process tells success or the reason. The
// daemon is nobody's child and outlives us.
func startDnsmasq(ctx context.Context, binary string, ns netns.NsHandle, folder networkFolder) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	argument := "--conf-file=" + folder.config()
	cmd := exec.CommandContext(ctx, binary, argument)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	// A child inherits the namespace of the thread that forks it.
	if err := inNamespace(ns, cmd.Start); err != nil {
		return nil, errs.Wrap(errs.Refused, "dnsmasq", err, "cannot start").
			WithAdvice("install the package dnsmasq-base on the host")
	}
	if err := cmd.Wait(); err != nil {
		return nil, errs.Wrap(errs.Refused, "dnsmasq", err, "does not start: %s", strings.TrimSpace(out.String()))
	}
	p, err := adopt(folder.pid(), argument)
	if err == nil && p == nil {
		err = errors.New("it ended right after its start")
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "dnsmasq", err, "cannot be watched")
	}
	return p, nil
}
