package pluginsdk

import (
	"io"
	"os"
	"syscall"
	"time"
)

// LifelineEnv is set to "stdin" by a core that keeps the other end of the
// plugin's standard input open as long as it lives.
const LifelineEnv = "KUMO_PLUGIN_LIFELINE"

// parentTick is how often the parent process is asked for; see watchCore.
const parentTick = 500 * time.Millisecond

// watchCore calls gone, once, when the core has died, even by SIGKILL. AutoMTLS
// makes it impossible for a new core to take over a running plugin, so a plugin
// without its core would only hold sockets, agents and locks.
//
// Two ways, as each has a hole. The lifeline is a pipe of which only the core
// has the writing end: the kernel closes it with the core and the read returns
// at once; but a launcher other than the core may not give one. The parent's
// process ID changes when the parent dies (to 1, or to the nearest subreaper);
// nothing announces that, so it is looked at twice a second. PR_SET_PDEATHSIG
// is not used: it fires when the *thread* that forked ends, which the Go
// runtime may do at any time in a healthy core.
func watchCore(gone func(reason string)) {
	lost := make(chan string, 2)
	if os.Getenv(LifelineEnv) == "stdin" {
		go func() {
			// Nothing is ever written; an error ends the lifeline like its end.
			_, _ = io.Copy(io.Discard, os.Stdin)
			lost <- "lifeline closed"
		}()
	}
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(parentTick)
		}
		lost <- "parent process ended"
	}()
	go func() { gone(<-lost) }()
}

// killHelpers ends what this process has started, with this process, when it
// leads a process group of its own, as under a core. A helper that is meant to
// outlive the plugin must have left the group (setsid).
func killHelpers() {
	if syscall.Getpgrp() == os.Getpid() {
		// On success this does not return; on failure the caller exits anyway.
		_ = syscall.Kill(0, syscall.SIGKILL)
	}
}
