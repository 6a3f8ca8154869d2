package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig/port"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 90 * time.Second
	// Account and Password are the administrator's of every server here.
	Account  = "admin"
	Password = "password"
	// logged is how much of a server's log a failed test shows.
	logged = 12 << 10
)

// Options say what a server runs with. The zero value runs the simulator
// plugin on a SQLite file in a data folder of its own.
type Options struct {
	// Plugins names the plugins; default simulator.
	Plugins []string
	// PluginDir is the folder of the plugins' binaries; default one in which they are
	// built.
	PluginDir string
	// Dir is the data folder; default a new one that goes with the test.
	Dir string
	// DB is the database; default a SQLite file in Dir.
	DB string
	// Env is added to the environment, as NAME=value.
	Env []string
	// Args are added to the arguments.
	Args []string
	// Files is how many descriptors it and its plugins may each have open; 0 leaves
	// what the test may.
	Files int
	// MayDie is for a server that a test makes end by itself.
	MayDie bool
}

// Server is a running `kumo serve`. Its methods are for the goroutine of its
// test; Client may be used from any.
type Server struct {
	// URL is where it listens, such as http://127.0.0.1:4711.
	URL string
	// Dir is its data folder, DB its database.
	Dir, DB string
	// Client is logged in as the administrator.
	Client *wire.Client

	t       testing.TB
	o       Options
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended and err is set
	err     error
	log     string
	plugins []process // seen when it was told to end
	once    sync.Once
}

// Start builds and starts a server and logs in. It is stopped when the test
// ends, and its log shown when the test has failed.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := Launch(t, o)
	s.Login()
	return s
}

// Launch starts a server without waiting until it serves.
func Launch(t testing.TB, o Options) *Server {
	t.Helper()
	if len(o.Plugins) == 0 {
		o.Plugins = []string{"simulator"}
	}
	if o.Dir == "" {
		o.Dir = Folder(t)
	}
	if o.DB == "" {
		o.DB = "sqlite:" + filepath.Join(o.Dir, "kumo.db")
	}
	var names []string
	if o.PluginDir == "" {
		names = o.Plugins
	}
	binary, pluginDir := Build(t, names...)
	pluginDir = cmp.Or(o.PluginDir, pluginDir)
	addr := FreeAddr(t)
	s := &Server{URL: "http://" + addr, Dir: o.Dir, DB: o.DB, t: t, o: o, ended: make(chan struct{}), log: filepath.Join(o.Dir, "kumo.log")}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	command := []string{binary}
	if o.Files > 0 {
		command = []string{"/bin/sh", "-c", fmt.Sprintf("ulimit -n %d; exec \"$0\" \"$@\"", o.Files), binary}
	}
	s.cmd = exec.Command(command[0], append(append(command[1:], "serve", "--data-dir", o.Dir, "--listen", addr, "--plugin-dir", pluginDir,
		"--plugins", strings.Join(o.Plugins, ","), "--db", o.DB), o.Args...)...)
	s.cmd.Env = append(Environ(), o.Env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(errors.Join(err, log.Close()))
	}
	go func() {
		s.err = s.cmd.Wait()
		_ = log.Close() // the server had a descriptor of its own
		close(s.ended)
	}()
	t.Cleanup(s.cleanup)
	return s
}

// Folder makes a folder that goes with the test. Its path is short, unlike that
// of t.TempDir, because sockets lie below it (unix(7): 107 bytes).
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kumo-t-")
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

// Environ is the environment without settings of Kumo, so that those of the
// machine do not decide how tests end.
func Environ() []string {
	var list []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KUMO_") {
			list = append(list, v)
		}
	}
	return list
}

// FreeAddr returns a loopback address that nobody listens on.
func FreeAddr(t testing.TB) string {
	t.Helper()
	p, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", p)
}

// ready waits until the server answers. There is no event to wait for: a port
// that is not open yet cannot tell that it will be.
func (s *Server) ready() {
	s.t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for begin := time.Now(); time.Since(begin) < startTimeout; {
		resp, err := client.Get(s.URL + "/healthz")
		if err == nil {
			_ = resp.Body.Close() // only the status matters
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended before it served: %v", s.err)
		case <-time.After(3 * time.Millisecond):
		}
	}
	s.t.Fatalf("the server did not serve within %s", startTimeout)
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop ends the server by SIGTERM and fails the test unless it ends well and
// takes its plugin processes with it. A server that was stopped is a success.
func (s *Server) Stop() {
	s.t.Helper()
	s.once.Do(func() {
		s.note()
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.t.Error(err)
		}
		select {
		case <-s.ended:
		case <-time.After(stopTimeout):
			s.t.Errorf("the server did not end within %s of SIGTERM", stopTimeout)
			if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				s.t.Error(err)
			}
			<-s.ended
		}
		if s.err != nil && !s.o.MayDie {
			s.t.Errorf("the server ended with: %v", s.err)
		}
		wantGone(s.t, s.plugins)
	})
}

// Kill ends the server by SIGKILL and fails the test unless its plugin
// processes follow it.
func (s *Server) Kill() {
	s.t.Helper()
	s.once.Do(func() {
		s.note()
		if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.t.Error(err)
		}
		<-s.ended
		wantGone(s.t, s.plugins)
	})
}

// note remembers the plugin processes.
func (s *Server) note() {
	list, err := plugins(s.cmd.Process.Pid)
	if err != nil {
		s.t.Error(err)
	}
	for _, p := range list {
		if !contains(s.plugins, p) {
			s.plugins = append(s.plugins, p)
		}
	}
}

func contains(list []process, p process) bool {
	for _, q := range list {
		if p == q {
			return true
		}
	}
	return false
}

// WaitDead waits until the server has ended by itself, by SIGKILL, and fails
// the test unless its plugin processes follow. It returns false when the
// server lives on after the time given.
func (s *Server) WaitDead(limit time.Duration) bool {
	s.t.Helper()
	s.note()
	select {
	case <-s.ended:
	case <-time.After(limit):
		return false
	}
	s.once.Do(func() {})
	var exit *exec.ExitError
	if !errors.As(s.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.t.Errorf("the server was to be killed and ended with: %v", s.err)
	}
	wantGone(s.t, s.plugins)
	return true
}

// Again starts the server anew on the same data, without the environment that
// it was given before. It must have ended.
func (s *Server) Again(env ...string) *Server {
	s.t.Helper()
	o := s.o
	o.Env, o.MayDie = env, false
	return Start(s.t, o)
}

// With stops the server, and starts it anew on the same data with other plugins.
func (s *Server) With(plugins ...string) *Server {
	s.t.Helper()
	s.Stop()
	o := s.o
	o.Plugins, o.Env, o.MayDie = plugins, nil, false
	return Start(s.t, o)
}

// Plugin returns the process of the named plugin, 0 while it does not run.
func (s *Server) Plugin(name string) int {
	s.t.Helper()
	list, err := plugins(s.cmd.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range list {
		if p.name == name && p.alive() {
			return p.pid
		}
	}
	return 0
}

func (s *Server) cleanup() {
	s.Stop()
	if !s.t.Failed() {
		return
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Log(err)
		return
	}
	if len(text) > logged {
		text = text[len(text)-logged:]
	}
	s.t.Logf("log of the server in %s:\n%s", s.Dir, text)
}
