package hostd

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// This file keeps an agent running on a host without any service manager. Start
// writes down what is wanted (the agent's arguments, in a file of the state
// folder) and runs a keeper, a second process of the same program. Each of the
// two holds the lock of its own file and waits for that of the other, so that
// the kernel tells at once when one has ended, however it ended, and neither
// need be the other's child: the keeper starts the agent again, and the agent
// the keeper. Stop takes the wish away first: without it neither starts
// anything, and an agent that was just being started ends at once.

const (
	// Pauses between the starts of an agent that ends again and again. One that
	// ran for settled begins at the first.
	keepFirst = 100 * time.Millisecond
	keepLast  = 5 * time.Second
	settled   = 10 * time.Second
)

func wishFile(stateDir string) string   { return filepath.Join(stateDir, "wanted") }
func keeperFile(stateDir string) string { return filepath.Join(stateDir, "keeper.pid") }

// wish is what Start wants.
type wish struct {
	// Token tells this wish from an earlier one: an agent that was started for
	// that has to make room.
	Token string
	// Args are the agent's.
	Args []string
}

// make records the wish.
func (w wish) make(stateDir string) error {
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	file := wishFile(stateDir)
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return pathError(file, err, "cannot be written")
	}
	return os.Rename(file+".new", file)
}

// wished returns the wish, an empty one when no agent is to run.
func wished(stateDir string) (wish, error) {
	var w wish
	text, err := os.ReadFile(wishFile(stateDir))
	if err != nil {
		return w, ignoreMissing(err)
	}
	return w, json.Unmarshal(text, &w)
}

// Keep runs an agent as long as one is wanted, and another whenever it ends. It
// returns when none is wanted any more, or ctx ends, which leaves the agent
// alone. ready is handed to the first agent, to tell that it can be called; nil
// when nobody waits for that. Errors: Refused when there is another keeper.
func Keep(ctx context.Context, stateDir string, ready *os.File, log hclog.Logger) (err error) {
	unlock, err := takeLock(keeperFile(stateDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	ended := make(chan error, 1)
	go func() { ended <- keep(ctx, stateDir, ready, log) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

func keep(ctx context.Context, stateDir string, ready *os.File, log hclog.Logger) error {
	for pause := keepFirst; ; pause = min(2*pause, keepLast) {
		if err := awaitEnd(lockFile(stateDir)); err != nil {
			return err
		}
		w, err := wished(stateDir)
		if err != nil || w.Token == "" || ctx.Err() != nil {
			return err
		}
		begin := time.Now()
		err = runAgent(stateDir, w, ready)
		log.Warn("the agent ended", "error", err)
		ready = nil
		if time.Since(begin) > settled {
			pause = keepFirst
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitEnd waits until no process has the lock.
func awaitEnd(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return ignoreMissing(err) // with its folder all has gone
	}
	defer func() { _ = f.Close() }() // gives the lock back
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// runAgent runs an agent in a session of its own until it ends.
func runAgent(stateDir string, w wish, ready *os.File) error {
	args := append([]string{"serve"}, append(w.Args, "--kept", w.Token)...)
	if ready != nil {
		args = append(args, "--tell-ready")
	}
	cmd, err := spawn(stateDir, args, ready)
	if err != nil {
		return errors.Join(err, closePipe(ready))
	}
	// Only the agent has the pipe now, so that it ends with the agent.
	return errors.Join(closePipe(ready), cmd.Wait())
}

func closePipe(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// spawn starts this program in a session of its own, with the agent's log.
func spawn(stateDir string, args []string, ready *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := openLog(logFile(stateDir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(self, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	if ready != nil {
		cmd.ExtraFiles = []*os.File{ready} // becomes readyFD
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, cmd.Start()
}

// keepKeeper starts a keeper whenever there is none, as long as the agent with
// this token is wanted.
func keepKeeper(ctx context.Context, stateDir, token string, log hclog.Logger) {
	for ctx.Err() == nil {
		err := awaitEnd(keeperFile(stateDir))
		w, wishErr := wished(stateDir)
		if err = errors.Join(err, wishErr); err != nil {
			log.Error("nobody looks after this agent", "error", err)
			return
		}
		if w.Token != token || ctx.Err() != nil {
			return
		}
		log.Warn("the agent's keeper ended, starting another")
		cmd, err := spawn(stateDir, []string{"keep", "--state", stateDir}, nil)
		if err != nil {
			log.Error("the keeper cannot be started", "error", err)
		} else {
			go func() { _ = cmd.Wait() }() // its end is seen by its lock
		}
		select {
		case <-time.After(time.Second): // by then it has its lock
		case <-ctx.Done():
		}
	}
}

// stopKeeper takes the wish for an agent away and ends the keeper.
func stopKeeper(ctx context.Context, stateDir string) error {
	if err := ignoreMissing(os.Remove(wishFile(stateDir))); err != nil {
		return pathError(wishFile(stateDir), err, "cannot be removed")
	}
	return stopHolder(ctx, keeperFile(stateDir))
}
