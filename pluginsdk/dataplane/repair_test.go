package dataplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An engine answers while it repairs what it found: what waits, and what fails, is
// told, and a network that takes its time keeps a call for another one waiting for
// no more than its own repair.
func TestRepairKeepsNobodyWaiting(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	apply(t, e, bridge("l2", "br_r", ""), dhcpNetwork("one", "br_r"))
	old := e.networks["br_r_one"].dnsmasq
	must(t, e.Close())
	end(t, old)

	dnsmasq, err := exec.LookPath("dnsmasq")
	must(t, err)
	tools := t.TempDir()
	gate, slow := filepath.Join(tools, "gate"), filepath.Join(tools, "dnsmasq")
	must(t, syscall.Mkfifo(gate, 0o600))
	must(t, os.WriteFile(slow, fmt.Appendf(nil, "#!/bin/sh\n[ \"$1\" = --test ] || read go < %s || exit 1\nexec %s \"$@\"\n", gate, dnsmasq), 0o755))
	e, err = Open(Config{StateDir: folder, Dnsmasq: slow, Log: nil})
	must(t, err)
	purge(t, e)
	within(t, "the bridge is there, the network waits", func() bool {
		l := e.Failures()
		return len(l) == 1 && l[0].Key == "one" && strings.Contains(l[0].Err.Error(), "after the start")
	})
	must(t, os.WriteFile(gate, []byte("go\n"), 0)) // waits until dnsmasq is being started
	<-e.repaired
	if l := e.Failures(); len(l) != 0 || !e.networks["br_r_one"].dnsmasq.alive() {
		t.Errorf("not as it should be: %v", l)
	}
}

// What cannot be repaired is told until it is as it should be, or nobody wants it.
func TestFailuresStayUntilMended(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	apply(t, e, bridge("l2", "br_s", ""), dhcpNetwork("one", "br_s"))
	p := e.networks["br_s_one"].dnsmasq
	must(t, e.Close())
	end(t, p)
	e, err := Open(Config{StateDir: folder, Dnsmasq: "/nowhere/dnsmasq"})
	must(t, err)
	purge(t, e)
	<-e.repaired
	if l := e.Failures(); len(l) != 1 || l[0].Key != "one" || !strings.Contains(l[0].Err.Error(), "/nowhere/dnsmasq") {
		t.Errorf("failures are %v", l)
	}
	must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"one"}))
	if l := e.Failures(); len(l) != 0 {
		t.Errorf("a network that is gone fails: %v", l)
	}
}

// end kills a daemon that no engine has any more.
func end(t *testing.T, p *process) {
	t.Helper()
	must(t, syscall.Kill(p.pid, syscall.SIGKILL))
	within(t, "the daemon is gone", func() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) })
}
