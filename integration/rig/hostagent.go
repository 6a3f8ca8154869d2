package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// hostAgentBinary is built once for a sandbox, and goes with its /run.
const hostAgentBinary = "/run/kumo-hostd"

var hostAgentOnce sync.Once

// HostAgent starts a kumo-hostd process of its own for the test, on the
// sandbox's network, and returns its unix socket. At the end of the test it is
// stopped, and the bridges and networks that it made are removed.
func HostAgent(t testing.TB) (socket string) {
	t.Helper()
	if !Sandboxed() {
		t.Fatal("the agent needs a sandbox: call rig.Main from TestMain")
	}
	hostAgentOnce.Do(func() { Build(t, "./plugins/kvm/cmd/kumo-hostd", hostAgentBinary) })
	// dnsmasq's user must be able to enter the state folder.
	folder, err := os.MkdirTemp("/run", "hostd-")
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(folder, "socket")
	hostAgent := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(hostAgentBinary, args...).CombinedOutput(); err != nil {
			t.Errorf("kumo-hostd %s: %v: %s", args[0], err, tail(out))
		}
	}
	hostAgent("start", "--state", folder, "--socket", socket)
	t.Cleanup(func() {
		hostAgent("stop", "--state", folder)
		log, err := os.ReadFile(filepath.Join(folder, "hostd.log"))
		hostAgent("stop", "--state", folder, "--purge") // takes the log too
		if t.Failed() && err == nil {
			t.Logf("the agent's log: %s", tail(log))
		}
	})
	return socket
}
