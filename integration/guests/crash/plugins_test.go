package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// hostPlugins are those that a creation needs.
var hostPlugins = []string{"kvm", "flat", "localstorage"}

// reached is how long a creation may take to the place where it is held.
const reached = time.Minute

// TestPluginsInTheMiddle kills and freezes plugins while a guest is being made.
func TestPluginsInTheMiddle(t *testing.T) {
	l := newLab(t)
	for _, s := range []struct {
		name string
		hold func(*lab) (wait, free func())
		hurt string
		by   syscall.Signal
	}{
		{"kvm killed while libvirt starts the guest", holdStart, "kvm", syscall.SIGKILL},
		{"kvm frozen while libvirt starts the guest", holdStart, "kvm", syscall.SIGSTOP},
		{"flat killed while libvirt starts the guest", holdStart, "flat", syscall.SIGKILL},
		{"localstorage killed while it makes the disk", holdAgent, "localstorage", syscall.SIGKILL},
		{"localstorage frozen while it makes the disk", holdAgent, "localstorage", syscall.SIGSTOP},
		{"kvm killed while the disk is made", holdAgent, "kvm", syscall.SIGKILL},
	} {
		begin := time.Now()
		l.creationGoesOn(s.name, s.hold, s.hurt, s.by)
		t.Logf("%s: %s", s.name, time.Since(begin).Round(10*time.Millisecond))
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, by := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		begin := time.Now()
		l.networkGoesOn(by)
		t.Logf("flat and %s while it prepares the network: %s", by, time.Since(begin).Round(10*time.Millisecond))
	}
	l.hangs()
	l.end()
}

// holdStart holds a creation where libvirt starts the guest.
func holdStart(l *lab) (wait, free func()) {
	l.t.Helper()
	free = mark(l.t, hold)
	wait = func() {
		l.t.Helper()
		l.await("held in libvirt", func() bool { return len(l.files(held+"/*")) == 1 })
	}
	return wait, free
}

// holdAgent holds it at the first operation on the host, by freezing the host's
// agent.
func holdAgent(l *lab) (wait, free func()) {
	l.t.Helper()
	agent := l.agent()
	signal(l.t, agent, syscall.SIGSTOP)
	wait = func() {
		l.t.Helper()
		l.await("waiting for the agent", func() bool { return len(l.texts("SELECT name FROM `Flow`")) == 1 })
		time.Sleep(50 * time.Millisecond) // the call that follows the journal leaves no trace
	}
	return wait, func() { signal(l.t, agent, syscall.SIGCONT) }
}

// await waits until a creation has come to a place.
func (l *lab) await(where string, there func() bool) {
	l.t.Helper()
	for begin := time.Now(); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > reached {
			l.t.Fatalf("the guest is not %s after %s", where, reached)
		}
	}
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
}

// agent is the process of the host's agent that serves.
func (l *lab) agent() int {
	l.t.Helper()
	for _, link := range l.files("/proc/[0-9]*/exe") {
		exe, err := os.Readlink(link)
		if err != nil || filepath.Base(exe) != "kumo-hostd" {
			continue // it has ended, or is another program
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if err != nil || !strings.Contains(string(args), "hostd.sock") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/exe", &pid); err == nil {
			return pid
		}
	}
	l.t.Fatal("the host's agent does not run")
	return 0
}

// hit signals a plugin and waits until it is there again as another process.
func (l *lab) hit(plugin string, by syscall.Signal) {
	l.t.Helper()
	pid := l.Plugin(plugin)
	signal(l.t, pid, by)
	l.PluginBack(plugin, l.PluginGone(plugin, pid))
}

func others(plugin string) []string {
	return slices.DeleteFunc(append([]string{"imagestore"}, hostPlugins...), func(p string) bool { return p == plugin })
}

// creationGoesOn hurts a plugin while a creation is held somewhere: the guest is
// made all the same, once, and the other plugins do not notice.
func (l *lab) creationGoesOn(name string, hold func(*lab) (wait, free func()), plugin string, by syscall.Signal) {
	l.t.Helper()
	stop := l.Watch(others(plugin)...)
	wait, free := hold(l)
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	l.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": l.Spec("made")})
	wait()
	l.hit(plugin, by)
	free()
	if err := l.Outcome(job); err != nil {
		l.t.Errorf("%s: the guest was not made: %v", name, err)
	}
	stop()
	l.after(name)
}

// networkGoesOn does so with the network's plugin, by a start: there preparing
// the network is the first thing on the host.
func (l *lab) networkGoesOn(by syscall.Signal) {
	l.t.Helper()
	name := fmt.Sprintf("flat and %s", by)
	g := l.victim("Stopped")
	stop := l.Watch(others("flat")...)
	wait, free := holdAgent(l)
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	l.Begin(job, http.MethodPut, wire.VMs+"/"+g.uuid+"/actions", map[string]any{"startVmInstance": wire.Params{}})
	wait()
	l.hit("flat", by)
	free()
	if err := l.Outcome(job); err != nil {
		l.t.Errorf("%s: the guest was not started: %v", name, err)
	}
	stop()
	l.after(name)
}

// after looks at the one guest that there must be, and removes it.
func (l *lab) after(name string) {
	l.t.Helper()
	l.WaitConnected()
	l.Settle(l.db)
	l.consistent(name)
	if got := l.texts("SELECT state FROM `VmInstance`"); !slices.Equal(got, []string{"Running"}) {
		l.t.Errorf("%s: there are guests %v; want one that runs", name, got)
	}
	l.removeAll()
	l.nothingLeft(name)
}

// hangs gives a creation one second while libvirt does not answer: the job ends
// in time with an error that says so, and nothing is left of the guest, which
// libvirt starts when nobody waits for it any more.
func (l *lab) hangs() {
	l.t.Helper()
	stop := l.Watch(append(others(""), "kvm")...)
	wait, free := holdStart(l)
	body, err := json.Marshal(map[string]any{"params": l.Spec("made")})
	if err != nil {
		l.t.Fatal(err)
	}
	begin := time.Now()
	status, answer, err := l.Client.Raw(l.t.Context(), http.MethodPost, wire.VMs, http.Header{"X-Api-Timeout": {"1"}}, body)
	if err != nil || status != http.StatusAccepted {
		l.t.Fatalf("status %d: %s: %v", status, answer, err)
	}
	job, err := wire.JobID(answer)
	if err != nil {
		l.t.Fatal(err)
	}
	wait()
	time.Sleep(1500 * time.Millisecond) // its time is over
	free()
	err = l.Outcome(job)
	// A minute is far from the twelve hours that a creation may take.
	if took := time.Since(begin); wire.Code(err) != "SYS.1001" || took > time.Minute {
		l.t.Errorf("a creation that hangs ended after %s with: %v", took, err)
	}
	stop()
	l.Settle(l.db)
	l.consistent("a creation that hangs")
	if got := l.texts("SELECT state FROM `VmInstance`"); len(got) != 0 {
		l.t.Errorf("there are guests %v; want none", got)
	}
	l.nothingLeft("a creation that hangs")
}
