package crash

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/points"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) {
	code := server.Main(m)
	if err := os.RemoveAll(made.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// template is the data folder of a small cloud with a guest in each state; the
// tests work on copies of it.
type template struct {
	dir                         string
	cloud                       *wire.Cloud
	running, stopped, destroyed string
}

var made struct {
	sync.Once
	template
	ok bool
}

// cloud returns the template, made by the first caller's test.
func cloud(t *testing.T) *template {
	t.Helper()
	made.Do(func() {
		dir, err := os.MkdirTemp("", "kumo-t-")
		if err != nil {
			t.Fatal(err)
		}
		made.dir = dir
		s := server.Start(t, server.Options{Dir: dir})
		ctx, c := t.Context(), s.Client
		if made.cloud, err = wire.NewCloud(ctx, c, wire.Spec{Name: "crash", Hosts: 2}); err != nil {
			t.Fatal(err)
		}
		for name, into := range map[string]*string{"running": &made.running, "stopped": &made.stopped, "destroyed": &made.destroyed} {
			p := made.cloud.VM(name)
			p["dataDiskSizes"] = []int64{1 << 30}
			if *into, err = c.Create(ctx, wire.VMs, p); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Act(ctx, wire.VMs+"/"+made.stopped, "stopVmInstance", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, wire.VMs+"/"+made.destroyed); err != nil {
			t.Fatal(err)
		}
		s.Audit(s.Database())
		s.Stop()
		made.ok = !t.Failed()
	})
	if !made.ok {
		t.Fatal("the cloud to work on could not be made")
	}
	return &made.template
}

// copy returns a copy of the template's data.
func (m *template) copy(t *testing.T) string {
	t.Helper()
	dir := server.Folder(t) + "/d"
	if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// operation is a call that runs one flow, and the fault that makes it fail.
type operation struct {
	method, path string
	body         map[string]any
	// broken names the plugin's method that fails to reach the points of the
	// undo; byStep another one for the journal of a step's undo.
	broken string
	byStep map[string]string
}

func (m *template) operation(name string) operation {
	act := func(vm, action string) operation {
		return operation{method: http.MethodPut, path: wire.VMs + "/" + vm + "/actions", body: map[string]any{action: wire.Params{}}}
	}
	var op operation
	switch name {
	case "create-vm":
		p := m.cloud.VM("made")
		p["dataDiskSizes"] = []int64{1 << 30, 2 << 30}
		op = operation{method: http.MethodPost, path: wire.VMs, body: map[string]any{"params": p, "userTags": []string{"crash"}, "systemTags": []string{"hostname::made"}},
			broken: "StartVM", byStep: map[string]string{"make-volumes": "CreateVolume", "prepare-network": "PrepareNICs"}}
	case "start-vm":
		op = act(m.stopped, "startVmInstance")
		op.broken, op.byStep = "StartVM", map[string]string{"prepare-network": "PrepareNICs"}
	case "stop-vm":
		op = act(m.running, "stopVmInstance")
		op.broken = "StopVM"
	case "destroy-vm":
		op = operation{method: http.MethodDelete, path: wire.VMs + "/" + m.running, broken: "StopVM"}
	case "expunge-vm":
		op = act(m.destroyed, "expungeVmInstance")
		op.broken = "DeleteVolume"
	}
	return op
}

// TestKillAtEveryPoint is the test of durable flows on the real thing: the
// process dies at a point, the next one goes on or takes everything back.
func TestKillAtEveryPoint(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, name := range []string{"create-vm", "destroy-vm", "expunge-vm", "start-vm", "stop-vm"} {
		list := points.Of(name)
		if len(list) < 8 {
			t.Fatalf("flow %s has the points %v only", name, list)
		}
		for _, at := range list {
			t.Run(strings.ReplaceAll(at.String(), "/", "_"), func(t *testing.T) {
				t.Parallel()
				m.kill(t, at)
			})
		}
	}
}

func (m *template) kill(t *testing.T, at points.Point) {
	op := m.operation(at.Flow)
	s := server.Launch(t, server.Options{Dir: m.copy(t), Env: []string{points.Variable + "=" + at.String()}, MayDie: true})
	s.Login()
	s.Ready()
	if at.Undo() {
		broken := op.broken
		if other := op.byStep[at.Step]; other != "" && at.What == "undo-journal" {
			broken = other
		}
		s.Faults(broken + ":fail=internal")
	}
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	accepted := s.Begin(job, op.method, op.path, op.body)
	if !s.WaitDead(20 * time.Second) {
		t.Fatalf("the server has not passed %s", at)
	}
	next := s.Again()
	db := next.Database()
	next.Settle(db)
	err := next.Outcome(job)
	if err != nil && (accepted || next.Status(job) != http.StatusNotFound) {
		clear(t, err)
	}
	if at.Undo() && err == nil {
		t.Error("the job has succeeded though a step was made to fail")
	}
	next.Faults("")
	if err != nil {
		if at.Flow != "expunge-vm" { // a guest that is half expunged stays so until the next try
			next.Audit(db)
		}
		next.Ready()
		again := strings.Repeat("a", 32)
		next.Begin(again, op.method, op.path, op.body)
		if err := next.Outcome(again); err != nil {
			t.Errorf("the call cannot be repeated after it failed: %v", err)
		}
	}
	next.Audit(db)
	m.check(t, next, at.Flow)
}

// clear fails the test unless an error tells what, why and what to do.
func clear(t *testing.T, err error) {
	t.Helper()
	if !wire.Clear(err) {
		t.Errorf("the job's error is not clear: %v", err)
	}
}

// check looks at the state that the operation leads to.
func (m *template) check(t *testing.T, s *server.Server, name string) {
	t.Helper()
	want := map[string]string{"running": "Running", "stopped": "Stopped", "destroyed": "Destroyed"}
	switch name {
	case "create-vm":
		want["made"] = "Running"
	case "start-vm":
		want["stopped"] = "Running"
	case "stop-vm":
		want["running"] = "Stopped"
	case "destroy-vm":
		want["running"] = "Destroyed"
	case "expunge-vm":
		delete(want, "destroyed")
	}
	got := s.States()
	var names []string
	for vm := range got {
		names = append(names, vm)
	}
	slices.Sort(names)
	for vm, state := range want {
		if got[vm] != state {
			t.Errorf("guest %s is %q, want %s", vm, got[vm], state)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are the guests %v; want %d", names, len(want))
	}
}
