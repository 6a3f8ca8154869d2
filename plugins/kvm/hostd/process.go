package hostd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	roomTimeout  = 3 * time.Second
	// maxLog is how large the log may be when an agent starts; the older part
	// is kept once.
	maxLog = 10 << 20
	// readyFD is the first of exec.Cmd's extra files.
	readyFD = 3
)

// takeLock makes this process the only one that has the lock of a file in the
// state folder, and writes its PID there.
func takeLock(file string) (unlock func() error, err error) {
	stateDir := filepath.Dir(file)
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, pathError(stateDir, err, "the state folder cannot be made")
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, pathError(file, err, "cannot be opened")
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

// Start runs an agent with args, and a keeper that starts it again when it ends,
// and returns when the agent can be called. Both outlive the caller. Errors have
// the end of the agent's log, and leave neither behind. An agent that has the
// folder already: Refused.
func Start(ctx context.Context, stateDir string, args []string) error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return pathError(stateDir, err, "the state folder cannot be made")
	}
	if err := awaitRoom(ctx, stateDir); err != nil {
		return err
	}
	log, err := openLog(logFile(stateDir)) // puts a long one aside
	if err != nil {
		return err
	}
	begin, err := log.Seek(0, io.SeekEnd)
	if err := errors.Join(err, log.Close()); err != nil {
		return err
	}
	if err := (wish{Token: rand.Text(), Args: args}).make(stateDir); err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }() // read to its end below
	cmd, err := spawn(stateDir, []string{"keep", "--tell-ready", "--state", stateDir}, write)
	if err = errors.Join(err, write.Close()); err != nil {
		return err
	}
	if err := waitReady(ctx, stateDir, read, begin); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stopTimeout)
		defer cancel()
		err = errors.Join(err, stopKeeper(undo, stateDir), cmd.Process.Kill(), stopHolder(undo, lockFile(stateDir)))
		_ = cmd.Wait() // it was killed
		return err
	}
	return cmd.Process.Release()
}

// awaitRoom refuses a folder that another agent has. One that was started before
// the last Stop sees soon that it is not wanted.
func awaitRoom(ctx context.Context, stateDir string) error {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		held, err := isHeld(lockFile(stateDir))
		if err != nil || !held {
			return err
		}
		if time.Since(begin) > roomTimeout || ctx.Err() != nil {
			return errs.New(errs.Refused, "state folder "+stateDir, "another agent has it")
		}
	}
}

// waitReady reads what the agent says through the pipe; the pipe ends without a
// word when the agent does.
func waitReady(ctx context.Context, stateDir string, read *os.File, begin int64) error {
	deadline := time.Now().Add(startTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := read.SetReadDeadline(deadline); err != nil {
		return err
	}
	word, err := io.ReadAll(read)
	if string(word) == "ready" {
		return nil
	}
	text := strings.TrimSpace(logSince(logFile(stateDir), begin))
	if err != nil {
		return errs.Wrap(errs.Timeout, "agent", err, "not ready in time: %s", text)
	}
	return errs.New(errs.Refused, "agent", "it ended at once: %s", text)
}

// logSince reads what was written to a log since it was begin bytes long.
func logSince(file string, begin int64) string {
	f, err := os.Open(file)
	if err != nil {
		return "" // it only adds to an error
	}
	defer func() { _ = f.Close() }() // only read
	text, _ := io.ReadAll(io.NewSectionReader(f, begin, 4000))
	return string(text)
}

// ReadyPipe is what Start waits at, for the process that it runs.
func ReadyPipe() *os.File { return os.NewFile(readyFD, "ready") }

// TellReady tells Start that the agent can be called.
func TellReady() error {
	pipe := ReadyPipe()
	_, err := pipe.WriteString("ready")
	return errors.Join(err, pipe.Close())
}

func logFile(stateDir string) string { return filepath.Join(stateDir, "hostd.log") }

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
	if err := stopKeeper(ctx, stateDir); err != nil {
		return err
	}
	if err := stopHolder(ctx, lockFile(stateDir)); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	unlock, err := takeLock(lockFile(stateDir))
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
var ownNames = []string{"owner", "keeper.pid", "hostd.log", "hostd.log.1", "dhcp", "fragments", "bin", "tls"}

// removeIfEmpty leaves a folder that has files of others, or is where they have
// mounted something.
func removeIfEmpty(folder string) error {
	err := os.Remove(folder)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// isHeld reports whether a process has the lock of the file.
func isHeld(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer func() { _ = f.Close() }() // only read
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil, nil
}

// stopHolder ends the process that has the lock of the file, if there is one.
func stopHolder(ctx context.Context, file string) error {
	for begin := time.Now(); ; {
		held, err := isHeld(file)
		if err != nil || !held {
			return err
		}
		pid, err := holder(file)
		if err != nil {
			return err
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer closeFD(fd)
			return stopProcess(ctx, pid, fd)
		} else if !errors.Is(err, unix.ESRCH) && pid > 1 {
			return err
		}
		// It has the lock and has not written its PID yet.
		if time.Since(begin) > time.Second || ctx.Err() != nil {
			return errs.New(errs.Internal, "agent", "%s has no process ID", file)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// holder reads the PID in the file, 0 when there is none.
func holder(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, nil
	}
	return pid, nil
}

func stopProcess(ctx context.Context, pid, fd int) error {
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
