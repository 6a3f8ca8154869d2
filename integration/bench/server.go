package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig/port"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
	healthPath   = "/healthz"
)

// server is `kumo serve` on a data folder and a loopback port of its own.
type server struct {
	binary  string
	args    []string
	addr    string
	logPath string

	cmd   *exec.Cmd
	ended chan error
	log   *os.File
}

// serveArgs are the arguments of `kumo serve`; this is the only place that
// knows them.
func serveArgs(dir, addr, pluginDir, db string) []string {
	return []string{"serve", "--data-dir", filepath.Join(dir, "data"), "--listen", addr,
		"--plugin-dir", pluginDir, "--plugins", "simulator", "--db", db}
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr() (string, error) {
	p, err := port.Free()
	return fmt.Sprintf("127.0.0.1:%d", p), err
}

// start runs the server and returns how long it took to answer healthPath.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	var err error
	if s.log, err = os.OpenFile(s.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, s.binary, s.args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	begin := time.Now()
	if err = cmd.Start(); err != nil {
		return 0, errors.Join(fmt.Errorf("start %s: %w", s.binary, err), s.log.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	return s.ready(ctx, begin)
}

// ready waits for the health answer. There is no event to wait for: a port that
// is not open yet cannot tell that it will be.
func (s *server) ready(ctx context.Context, begin time.Time) (time.Duration, error) {
	c := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Since(begin) < startTimeout {
		if resp, err := c.Get("http://" + s.addr + healthPath); err == nil {
			status := resp.StatusCode
			if err = resp.Body.Close(); err != nil {
				return 0, err
			}
			if status == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return 0, fmt.Errorf("%s ended before it served: %w\n%s", s.cmd.Path, err, tail(s.logPath))
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("%s did not answer %s within %s\n%s", s.cmd.Path, healthPath, startTimeout, tail(s.logPath))
}

// stop ends the server in an orderly way; one that does not run is a success.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	signalErr := s.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(signalErr, os.ErrProcessDone) {
		signalErr = nil
	}
	var err error
	select {
	case err = <-s.ended:
	case <-time.After(stopTimeout):
		err = errors.Join(fmt.Errorf("process %d did not end within %s", s.cmd.Process.Pid, stopTimeout), s.cmd.Process.Kill())
		<-s.ended
	}
	if err != nil {
		err = fmt.Errorf("stop the server: %w\n%s", err, tail(s.logPath))
	}
	s.cmd = nil
	return errors.Join(signalErr, err, s.log.Close())
}

// kill ends the server as kill -9 does.
func (s *server) kill() error {
	err := s.cmd.Process.Kill()
	<-s.ended // it says that the process was killed, which is what we want
	s.cmd = nil
	return errors.Join(err, s.log.Close())
}

// memory is the resident memory of the server and of its plugins, in bytes.
type memory struct {
	core    int64
	plugins map[string]int64
}

func (s *server) memory() (memory, error) {
	m := memory{plugins: map[string]int64{}}
	var err error
	if m.core, err = resident(s.cmd.Process.Pid); err != nil {
		return m, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return m, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended meanwhile
		}
		// The second field is the name in brackets and may hold blanks.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(s.cmd.Process.Pid) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return m, err
		}
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue
		}
		if m.plugins[strings.TrimPrefix(filepath.Base(exe), "kumo-plugin-")], err = resident(pid); err != nil {
			return m, err
		}
	}
	return m, nil
}

// resident reads what a process has in memory, each page once: VmRSS has a page
// of a file that several connections map as often as they do.
func resident(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no Pss", path)
}

// tail returns the end of a log, for error messages.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return "… " + string(text[max(0, len(text)-2000):])
}
