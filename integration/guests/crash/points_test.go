// Package crash kills the server at every point of the flows on guests, and its
// plugins in the middle of them, on real libvirt, and then looks for what was
// lost or left behind.
package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/points"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

// dead is how long the server may take to reach the point where it dies.
const dead = 30 * time.Second

// operation is a call that runs one flow.
type operation struct {
	method, path string
	body         map[string]any
	// before is the state of the guest that it is for, "" for none; after the
	// one that it leads to, "" for a guest that is gone.
	before, after string
}

func (l *lab) operation(flow, guest string) operation {
	act := func(action string, p wire.Params) operation {
		return operation{method: http.MethodPut, path: wire.VMs + "/" + guest + "/actions", body: map[string]any{action: p}}
	}
	var op operation
	switch flow {
	case "create-vm":
		op = operation{method: http.MethodPost, path: wire.VMs, body: map[string]any{"params": l.Spec("made")}}
		op.after = "Running"
	case "start-vm":
		op = act("startVmInstance", wire.Params{})
		op.before, op.after = "Stopped", "Running"
	case "stop-vm":
		op = act("stopVmInstance", wire.Params{"type": "cold"})
		op.before, op.after = "Running", "Stopped"
	case "destroy-vm":
		op = operation{method: http.MethodDelete, path: wire.VMs + "/" + guest}
		op.before, op.after = "Running", "Destroyed"
	case "expunge-vm":
		op = act("expungeVmInstance", wire.Params{})
		op.before = "Destroyed"
	}
	return op
}

// wound returns what must really go wrong for a run to pass a point of the undo.
func (l *lab) wound(p points.Point, g victim) wound {
	switch p.Flow {
	case "create-vm", "start-vm":
		switch {
		case p.What == "undo-journal" && p.Step == "make-volumes":
			return blocked(filepath.Join(guests.PrimaryFolder, "volumes"))
		case p.What == "undo-journal" && p.Step == "prepare-network":
			return blocked(filepath.Join(guests.StateFolder, "dhcp"))
		}
		return refusedStart
	case "stop-vm", "destroy-vm":
		return noLibvirtd
	}
	return blocked(g.disk)
}

// TestKillAtEveryPoint is the test of durable flows on real guests: the process
// dies at a point, the next one goes on or takes everything back. What remains
// then, and after the guest is removed, is compared with what was there before.
func TestKillAtEveryPoint(t *testing.T) {
	l := newLab(t)
	flows, err := points.Flows(t.Context(), l.Client)
	if err != nil {
		t.Fatal(err)
	}
	for _, flow := range []string{"create-vm", "destroy-vm", "expunge-vm", "start-vm", "stop-vm"} {
		f := points.Named(flows, flow).Unobserved()
		fail := map[string]bool{}
		for _, s := range f.Steps {
			// What these meet when a guest ends is no failure of the flow.
			fail[s.Name] = s.World && s.Name != "release-network" && s.Name != "remove-from-host"
		}
		list := f.Points(fail)
		if len(list) < 8 {
			t.Fatalf("flow %s has the points %v only", flow, list)
		}
		for _, p := range list {
			begin := time.Now()
			l.kill(p)
			t.Logf("%s: %s", p, time.Since(begin).Round(10*time.Millisecond))
			if t.Failed() {
				t.FailNow() // what follows would tell of the same
			}
		}
	}
	l.end()
}

func (l *lab) kill(p points.Point) {
	l.t.Helper()
	op, g := l.operation(p.Flow, ""), victim{}
	if op.before != "" {
		g = l.victim(op.before)
		op = l.operation(p.Flow, g.uuid)
	}
	l.Stop()
	l.Server = l.Server.Again(points.Variable + "=" + p.String())
	l.WaitConnected()
	heal := func() {}
	if p.Undo() {
		heal = l.wound(p, g)(l.t)
	}
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	accepted := l.Begin(job, op.method, op.path, op.body)
	died := l.WaitDead(dead)
	heal()
	if !died {
		l.t.Fatalf("the server has not passed %s", p)
	}
	l.Again()
	l.WaitConnected()
	l.Settle(l.db)
	err := l.Outcome(job)
	if err != nil {
		if known := accepted || l.Status(job) != http.StatusNotFound; known && !wire.Clear(err) {
			l.t.Errorf("%s: the job's error is not clear: %v", p, err)
		}
		if p.Flow != "expunge-vm" { // a guest that is half expunged stays so until the next try
			l.consistent(p.String())
		}
		again := strings.Repeat("a", 20) + job[20:]
		l.Begin(again, op.method, op.path, op.body)
		if err := l.Outcome(again); err != nil {
			l.t.Errorf("%s: the call cannot be repeated after it failed: %v", p, err)
		}
	}
	l.consistent(p.String())
	var want []string
	if op.after != "" {
		want = []string{op.after}
	}
	if got := l.texts("SELECT state FROM `VmInstance`"); !slices.Equal(got, want) {
		l.t.Errorf("%s: there are guests %v; want %v", p, got, want)
	}
	l.removeAll()
	l.nothingLeft(p.String())
}

// wound makes something go wrong until it is healed.
type wound func(t *testing.T) (heal func())

// refusedStart is a libvirt that does not let guests start.
func refusedStart(t *testing.T) (heal func()) { return mark(t, refuse) }

// blocked puts a full folder where a file belongs, or a file where a folder
// does: whoever works there fails, and what was there comes back.
func blocked(path string) wound {
	return func(t *testing.T) (heal func()) {
		t.Helper()
		away := path + ".away"
		info, err := os.Stat(path)
		if err == nil {
			err = os.Rename(path, away)
		}
		if err == nil && info.IsDir() {
			err = os.WriteFile(path, nil, 0o600)
		} else if err == nil {
			err = os.MkdirAll(filepath.Join(path, "full"), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := errors.Join(os.RemoveAll(path), os.Rename(away, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
