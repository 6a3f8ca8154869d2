package hostd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 2 * drainTimeout
	purgeTimeout = 2 * time.Minute
	// maxLog is how large the log may be when an agent starts; the older part
	// is kept once.
	maxLog = 10 << 20
	// readyFD is the first of exec.Cmd's extra files.
	readyFD = 3
)

// takeLock makes this process the only agent of the state folder, and writes
// its PID there.
func takeLock(stateDir string) (unlock func() error, err error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, pathError(stateDir, err, "the state folder cannot be made")
	}
	f, err := os.OpenFile(lockFile(stateDir), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, pathError(lockFile(stateDir), err, "cannot be opened")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(f) // only makes the message better
		return nil, errors.Join(errs.New(errs.Refused, "state folder "+stateDir, "another agent (process %s) has it", strings.TrimSpace(string(pid))), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// Start runs "serve" of this program with args in a session of its own, and
// returns when it can be called. The agent outlives its starter. Errors have
// the end of the agent's log. An agent that has the folder already: Refused.
func Start(ctx context.Context, stateDir string, args []string) error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return pathError(stateDir, err, "the state folder cannot be made")
	}
	log, err := openLog(filepath.Join(stateDir, "hostd.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the agent has its own
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }() // read to its end below
	cmd := exec.Command(self, append([]string{"serve"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, write.Close())
	}
	if err := write.Close(); err != nil {
		return err
	}
	return waitReady(ctx, cmd, read, log, begin)
}

// waitReady reads what the agent says through the pipe; the pipe ends without a
// word when the agent does.
func waitReady(ctx context.Context, cmd *exec.Cmd, read *os.File, log *os.File, begin int64) error {
	deadline := time.Now().Add(startTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := read.SetReadDeadline(deadline); err != nil {
		return err
	}
	word, err := io.ReadAll(read)
	if string(word) == "ready" {
		return cmd.Process.Release()
	}
	text := make([]byte, 4000)
	n, _ := log.ReadAt(text, begin) // the log only adds to the error
	if err != nil {
		return errors.Join(errs.Wrap(errs.Timeout, "agent", err, "not ready in time: %s", strings.TrimSpace(string(text[:n]))), cmd.Process.Kill())
	}
	return errs.Wrap(errs.Refused, "agent", cmd.Wait(), "it ended at once: %s", strings.TrimSpace(string(text[:n])))
}

// TellReady tells Start that the agent can be called.
func TellReady() error {
	pipe := os.NewFile(readyFD, "ready")
	_, err := pipe.WriteString("ready")
	return errors.Join(err, pipe.Close())
}

func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, pathError(path, err, "cannot be put aside")
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, pathError(path, err, "cannot be opened")
	}
	return f, nil
}

// Own records for which host (its UUID) the agent of the state folder works.
// The last one to connect wins: a cloud that was set up anew has other UUIDs
// for the same machine.
func Own(stateDir, owner string) error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return pathError(stateDir, err, "the state folder cannot be made")
	}
	file := ownerFile(stateDir)
	if err := os.WriteFile(file+".new", []byte(owner), 0o644); err != nil {
		return pathError(file, err, "cannot be written")
	}
	return os.Rename(file+".new", file)
}

func ownerFile(stateDir string) string { return filepath.Join(stateDir, "owner") }

// Stop ends the agent of the state folder and waits for its end; with purge it
// also takes the network state and its own files off the host. No agent is a success, and so is
// one that works for another host than owner, when owner is given: the host
// that is being forgotten is not the one which has the machine now.
func Stop(ctx context.Context, stateDir, owner string, purge bool, log hclog.Logger) error {
	if _, err := os.Stat(stateDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if owner != "" {
		recorded, err := os.ReadFile(ownerFile(stateDir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return pathError(ownerFile(stateDir), err, "cannot be read")
		}
		if string(recorded) != owner {
			log.Info("the agent works for another host and is left alone", "host", owner)
			return nil
		}
	}
	if err := stopAgent(ctx, stateDir); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	unlock, err := takeLock(stateDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	err = dataplane.Remove(ctx, dataplane.Config{StateDir: stateDir, Log: log})
	if err == nil {
		err = removeState(stateDir)
	}
	// What could not be removed keeps its owner: the call can be repeated.
	return errors.Join(err, ignoreMissing(os.Remove(lockFile(stateDir))), unlock(), removeIfEmpty(stateDir))
}

// removeState takes the agent's own files away: its key and program, its log and
// socket. The folder may hold files of others, so only what is ours goes.
func removeState(stateDir string) error {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(stateDir, e.Name())
		switch {
		case e.Type() == os.ModeSocket:
			err = errors.Join(err, ignoreMissing(os.Remove(name)))
		case slices.Contains(ownNames, e.Name()):
			err = errors.Join(err, os.RemoveAll(name))
		}
	}
	return err
}

// ownNames are in the state folder of an agent, apart from its lock and socket.
// The plugin puts the program into bin and its certificates into tls.
var ownNames = []string{"owner", "hostd.log", "hostd.log.1", "dhcp", "fragments", "bin", "tls"}

func removeIfEmpty(folder string) error {
	err := os.Remove(folder)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func stopAgent(ctx context.Context, stateDir string) error {
	f, err := os.Open(lockFile(stateDir))
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = f.Close() }() // only read
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		return nil // nobody holds it
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return errs.New(errs.Internal, "agent", "%s has no process ID", lockFile(stateDir))
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return err
	}
	defer closeFD(fd)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		ended, err := waitPidfd(ctx, fd, stopTimeout)
		if err != nil || ended {
			return err
		}
	}
	return errs.New(errs.Timeout, "agent", "process %d does not end", pid)
}

// waitPidfd waits for the end of a process; the kernel wakes it.
func waitPidfd(ctx context.Context, fd int, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false, ctx.Err()
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
}
