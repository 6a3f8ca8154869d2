package crash

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// A guest is expunged although its host does not remove what it has of it; that
// is removed later.
func TestRemains(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	if _, err := s.Client.Act(t.Context(), "/global-configurations/flow/undo.interval", "updateGlobalConfig", wire.Params{"value": "1"}); err != nil {
		t.Fatal(err)
	}
	path := wire.VMs + "/" + m.running
	if err := s.Client.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	s.Faults("DestroyVM:fail=unavailable")
	if _, err := s.Client.Act(t.Context(), path, "expungeVmInstance", nil); err != nil {
		t.Fatal(err)
	}
	if _, there := s.World().VMs[m.running]; !there {
		t.Error("the host has nothing of the guest: the test shows nothing")
	}
	db := s.Database()
	if n := s.Counts(db)["CascadeGarbage"]; n != 1 {
		t.Errorf("%d notes of what is left; want 1", n)
	}
	s.AuditRows(db)
	s.Faults("")
	s.Swept(db)
	s.Audit(db)
}

// While an operation on a guest cannot be undone, others on it say so and change
// nothing; as soon as it can, the next one does it first.
func TestOpenUndo(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	path := wire.VMs + "/" + m.stopped
	start := func() error {
		_, err := s.Client.Act(t.Context(), path, "startVmInstance", nil)
		return err
	}
	const faults = "StartVM:fail=internal;StopVM:fail=unavailable;DestroyVM:fail=unavailable"
	s.Faults(faults)
	if err := start(); err == nil {
		t.Fatal("it was started by a plugin that cannot")
	}
	refused := func(when string) {
		t.Helper()
		_, stop := s.Client.Act(t.Context(), path, "stopVmInstance", nil)
		for what, err := range map[string]error{"start": start(), "stop": stop, "destroy": s.Client.Delete(t.Context(), path)} {
			if !wire.Clear(err) || !strings.Contains(err.Error(), "an earlier operation on it (start-vm) has failed and cannot be undone yet") ||
				!strings.Contains(err.Error(), "injected") {
				t.Errorf("%s: %s: %v", when, what, err)
			}
		}
		if got := s.States()["stopped"]; got != "Starting" {
			t.Errorf("%s: the guest is %s", when, got)
		}
	}
	refused("at once")
	s.Kill()
	s = s.Again()
	s.Ready()
	refused("after a restart")

	s.Faults("")
	if err := start(); err != nil { // long before the undo is repeated by itself
		t.Error(err)
	}
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := s.States()["stopped"]; got != "Running" {
		t.Errorf("the guest is %s", got)
	}

	// What cannot be undone does not stop a delete that nothing shall stop.
	if _, err := s.Client.Act(t.Context(), path, "stopVmInstance", nil); err != nil {
		t.Fatal(err)
	}
	s.Faults(faults)
	if err := start(); err == nil {
		t.Fatal("it was started by a plugin that cannot")
	}
	if err := s.Client.Delete(t.Context(), path+"?deleteMode=Enforcing"); err != nil {
		t.Error(err)
	}
	s.Faults("")
	s.Settle(db)
	s.Audit(db)
	if got := s.States()["stopped"]; got != "Destroyed" {
		t.Errorf("the guest is %s", got)
	}
}
