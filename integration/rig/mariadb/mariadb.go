// Package mariadb runs a private MariaDB server for tests: its own data
// folder, its own port on the loopback, small buffers. It installs Debian's
// mariadb-server when that is missing. It must be imported by tests only.
package mariadb

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // readiness is asked for over SQL

	"github.com/kumo-cloud/kumo/integration/rig/port"
)

const (
	user     = "kumo"
	password = "kumo-test"
	// patience bounds the start; on an idle machine it takes four seconds.
	patience = 90 * time.Second
)

// server is one mariadbd.
type server struct {
	dir    string
	port   int
	cmd    *exec.Cmd
	exited chan struct{}
}

var (
	mu      sync.Mutex
	current *server
	users   int
	counter atomic.Int64
)

// Start returns a DSN for store.Open ("mysql://...") of a new, empty database
// that is dropped when the test ends. The server is shared by the tests that
// use it at the same time and ends with the last of them, or, when TestMain
// calls Main, with the test binary.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	s, err := acquire()
	if err != nil {
		t.Fatalf("mariadb: %v", err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Errorf("mariadb: %v", err)
		}
	})
	name := fmt.Sprintf("kumo_%d_%d", os.Getpid(), counter.Add(1))
	if err := s.exec("CREATE DATABASE " + name + " CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("mariadb: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name); err != nil {
			t.Errorf("mariadb: %v", err)
		}
	})
	return fmt.Sprintf("mysql://%s:%s@127.0.0.1:%d/%s", user, password, s.port, name)
}

// Main is for TestMain: it keeps the server, once started, until all tests of
// the binary have run, and returns their exit code.
func Main(m *testing.M) int {
	mu.Lock()
	users++
	mu.Unlock()
	code := m.Run()
	if err := release(); err != nil {
		fmt.Fprintln(os.Stderr, "mariadb:", err)
		return 1
	}
	return code
}

func acquire() (*server, error) {
	mu.Lock()
	defer mu.Unlock()
	if current == nil {
		s, err := start()
		if err != nil {
			return nil, err
		}
		current = s
	}
	users++
	return current, nil
}

func release() error {
	mu.Lock()
	defer mu.Unlock()
	if users--; users > 0 || current == nil {
		return nil
	}
	s := current
	current = nil
	return s.stop()
}

func start() (*server, error) {
	if err := install(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kumo-mariadb-")
	if err != nil {
		return nil, err
	}
	made := &server{dir: dir, exited: make(chan struct{})}
	if err := made.start(); err != nil {
		return nil, errors.Join(err, made.stop())
	}
	return made, nil
}

func (s *server) start() error {
	// A server that starts deletes others' temporary tables from a folder that
	// they share.
	if err := os.Mkdir(s.path("tmp"), 0o700); err != nil {
		return err
	}
	out, err := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+s.path("data"), "--tmpdir="+s.path("tmp"), "--user="+owner(),
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, tail(out))
	}
	init := fmt.Sprintf("CREATE USER '%s'@'127.0.0.1' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO '%[1]s'@'127.0.0.1';\n", user, password)
	if err := os.WriteFile(s.path("init.sql"), []byte(init), 0o644); err != nil {
		return err
	}
	if s.port, err = port.Free(); err != nil {
		return err
	}
	if err := s.launch(); err != nil {
		return err
	}
	return s.ready()
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// owner is the account that the server runs as; mariadbd refuses root unless
// it is asked for by name.
func owner() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return fmt.Sprint(os.Getuid())
}

// launch starts the server from a thread that lives as long as the server, so
// that the kernel ends it when the test binary dies.
func (s *server) launch() error {
	log, err := os.Create(s.path("log"))
	if err != nil {
		return err
	}
	s.cmd = exec.Command("mariadbd", "--no-defaults", "--user="+owner(), "--datadir="+s.path("data"), "--tmpdir="+s.path("tmp"), "--init-file="+s.path("init.sql"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", s.port), "--socket="+s.path("socket"), "--pid-file="+s.path("pid"),
		"--skip-log-bin", "--skip-name-resolve", "--performance-schema=0", "--max-connections=200",
		"--innodb-buffer-pool-size=128M", "--innodb-log-file-size=64M", "--innodb-flush-log-at-trx-commit=1")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // its exit code says nothing that the log does not
			close(s.exited)
		}
		_ = log.Close() // the server has its own descriptor
	}()
	if err := <-started; err != nil {
		s.cmd = nil
		return fmt.Errorf("mariadbd: %w", err)
	}
	return nil
}

// ready waits until the server answers.
func (s *server) ready() error {
	deadline := time.Now().Add(patience)
	for {
		err := s.exec("DO 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("mariadbd ended: %s", s.log())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("mariadbd does not answer after %s: %w: %s", patience, err, s.log())
		}
	}
}

func (s *server) exec(query string) error {
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(127.0.0.1:%d)/?timeout=5s", user, password, s.port))
	if err != nil {
		return err
	}
	_, err = db.Exec(query)
	return errors.Join(err, db.Close())
}

func (s *server) log() []byte {
	b, _ := os.ReadFile(s.path("log")) // only decorates another error
	return tail(b)
}

// stop ends the server and removes its folder. It may be called in any state.
func (s *server) stop() error {
	if s.cmd != nil {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-s.exited:
		case <-time.After(20 * time.Second):
			if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			<-s.exited
		}
	}
	return os.RemoveAll(s.dir)
}

// install makes sure that the server's programs are there.
func install() error {
	if _, err := exec.LookPath("mariadb-install-db"); err == nil {
		if _, err := exec.LookPath("mariadbd"); err == nil {
			return nil
		}
	}
	cmd := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "mariadb-server")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install mariadb-server: %w: %s", err, tail(out))
	}
	return nil
}

func tail(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-1000):]
}
