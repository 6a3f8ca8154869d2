package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk"
)

// inherited are the variables of the core that a plugin gets. The rest stays
// here: the core's environment may hold the database's password.
var inherited = []string{
	"PATH", "HOME", "LANG", "LC_ALL", "TZ",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GODEBUG", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "GOCOVERDIR",
}

// runner starts one plugin process for go-plugin. Unlike go-plugin's own it
// gives the process a lifeline, a process group of its own (so that helpers
// which the plugin started end with it, and a Ctrl-C at the core's terminal is
// the core's to handle), and an event when the process has ended.
type runner struct {
	cmd            *exec.Cmd
	stdout, stderr io.ReadCloser
	// lifeline is the end of the plugin's stdin that only this process holds.
	lifeline *os.File
	// data bounds the memory that the process may write to, in bytes.
	data uint64
	// exited is closed when the process has ended, before it is reaped.
	exited chan struct{}

	mu     sync.Mutex
	pid    int // 0 before the start
	killed bool
	reaped bool
}

// newRunner makes a runner of a binary. The process may have temporary files in tmp,
// and is watched to use no more memory than memoryLimit: what outruns the watch meets
// the system's limit at twice that (setrlimit(2), RLIMIT_DATA) and ends by itself.
func newRunner(path string, env []string, tmp string, memoryLimit int64) (*runner, error) {
	r := &runner{exited: make(chan struct{}), data: uint64(max(2*memoryLimit, leastData))}
	r.cmd = exec.Command(path)
	r.cmd.Env = append(r.cmd.Env, env...)
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			r.cmd.Env = append(r.cmd.Env, name+"="+v)
		}
	}
	r.cmd.Env = append(r.cmd.Env, pluginsdk.LifelineEnv+"=stdin", "TMPDIR="+tmp)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if r.stdout, err = r.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if r.stderr, err = r.cmd.StderrPipe(); err != nil {
		return nil, err
	}
	return r, nil
}

// Start starts the process and waits for its end in the background. A runner
// that was killed before it started does not start.
func (r *runner) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return context.Canceled
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	r.cmd.Stdin = read
	if err = keepFiles(); err == nil {
		err = r.cmd.Start()
	}
	closeErr := read.Close()
	if err != nil || closeErr != nil {
		return errors.Join(err, closeErr, write.Close())
	}
	r.lifeline, r.pid = write, r.cmd.Process.Pid
	go r.await(r.pid)
	limit := unix.Rlimit{Cur: r.data, Max: r.data}
	if err := unix.Prlimit(r.pid, unix.RLIMIT_DATA, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("limit its memory: %w", err)
	}
	return nil
}

// leastData is what a process may write to at least, in bytes: Go's runtime reserves
// more than it uses.
const leastData = 512 << 20

// keepFiles keeps descriptors from processes that are started: Go's own are closed
// there, those that this process was given when it was started would not be.
func keepFiles() error {
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // older than Linux 5.11
		return nil
	}
	return err
}

// await sees the end without reaping the process: until it is reaped, neither
// its ID nor its group's can belong to another process.
func (r *runner) await(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.killGroup()
	close(r.exited)
}

func (r *runner) killGroup() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if r.pid != 0 && !r.reaped {
		// The group may be gone already (ESRCH): that is what is wanted.
		_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	}
}

// Wait reaps the process; go-plugin calls it once its pipes are read.
func (r *runner) Wait(context.Context) error {
	<-r.exited
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.cmd.Wait()
	r.reaped = true
	return errors.Join(err, r.lifeline.Close())
}

// Kill ends the process and its helpers at once. It may be repeated.
func (r *runner) Kill(context.Context) error {
	r.killGroup()
	return nil
}

func (r *runner) Stdout() io.ReadCloser { return r.stdout }
func (r *runner) Stderr() io.ReadCloser { return r.stderr }
func (r *runner) Name() string          { return r.cmd.Path }

// Diagnose has nothing to add: the error of the start names the binary.
func (r *runner) Diagnose(context.Context) string { return "" }

// ID is the process ID, "" before the start.
func (r *runner) ID() string {
	if pid := r.pidOf(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// pidOf is the process ID as a number, 0 before the start.
func (r *runner) pidOf() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pid
}

// PluginToHost and HostToPlugin: both sides see the same file system.
func (r *runner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

func (r *runner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// memory is the resident memory of the process in bytes.
func (r *runner) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%s/statm", r.ID()))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of process %s: %q", r.ID(), text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("statm of process %s: %w", r.ID(), err)
	}
	return pages * int64(os.Getpagesize()), nil
}
