package crash

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// eager waits until the server is ready, and has it try again every second to
// undo and to remove what it could not.
func eager(t *testing.T, s *server.Server) {
	t.Helper()
	s.Ready()
	if _, err := s.Client.Act(t.Context(), "/global-configurations/flow/undo.interval", "updateGlobalConfig", wire.Params{"value": "1"}); err != nil {
		t.Fatal(err)
	}
}

// A guest is expunged although its host does not remove what it has of it; that
// is removed later.
func TestRemains(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	eager(t, s)
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

// Guests that a delete removes although their hosts do nothing about them are
// removed there as soon as the hosts do.
func TestForgotten(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	eager(t, s)
	s.Faults("StopVM:fail=unavailable;DestroyVM:fail=unavailable;ReleaseNICs:fail=unavailable;DeleteVolume:fail=unavailable")
	path := wire.PrimaryStorages + "/" + m.cloud.PrimaryStorage
	if err := s.Client.Delete(t.Context(), path+"?deleteMode=Enforcing"); err != nil {
		t.Fatal(err)
	}
	if states := s.States(); len(states) != 0 {
		t.Errorf("guests whose storage is gone: %v", states)
	}
	db := s.Database()
	if w := s.World(); len(w.VMs) == 0 || s.Counts(db)["CascadeGarbage"] == 0 {
		t.Errorf("the hosts have %d guests, of which %d are noted: the test shows nothing", len(w.VMs), s.Counts(db)["CascadeGarbage"])
	}
	s.AuditRows(db)
	s.Faults("")
	s.Swept(db)
	if w := s.World(); len(w.VMs)+len(w.Bindings) != 0 {
		t.Errorf("the hosts still have %d guests and %d bindings", len(w.VMs), len(w.Bindings))
	}
	s.AuditRows(db)
}
