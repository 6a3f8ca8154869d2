package crash

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
	if n := s.Counts(db)["GCJob"]; n != 1 {
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

// Guests that may still run are kept by every delete. What hosts do not remove of
// those that a delete forgets is removed there as soon as the hosts do.
func TestForgotten(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	eager(t, s)
	s.Faults("StopVM:fail=unavailable;DestroyVM:fail=unavailable;RemoveNetworkState:fail=unavailable;DeleteVolume:fail=unavailable")
	err := s.Client.Delete(t.Context(), wire.Clusters+"/"+m.cloud.Cluster)
	if !wire.Clear(err) || !strings.Contains(err.Error(), "delete with deleteMode=Enforcing") {
		t.Errorf("a cluster with a guest that cannot be stopped: %v", err)
	}
	path := wire.PrimaryStorages + "/" + m.cloud.PrimaryStorage + "?deleteMode=Enforcing"
	if err := s.Client.Delete(t.Context(), path); !wire.Clear(err) || !strings.Contains(err.Error(), "may still run on host") {
		t.Errorf("a storage with a guest that cannot be stopped: %v", err)
	}
	db := s.Database()
	s.Settle(db)
	s.AuditRows(db)
	s.Faults("DestroyVM:fail=unavailable;RemoveNetworkState:fail=unavailable;DeleteVolume:fail=unavailable")
	if err := s.Client.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if states := s.States(); len(states) != 0 {
		t.Errorf("guests whose storage is gone: %v", states)
	}
	if w := s.World(); len(w.VMs) == 0 || s.Counts(db)["GCJob"] == 0 {
		t.Errorf("the hosts have %d guests, of which %d are noted: the test shows nothing", len(w.VMs), s.Counts(db)["GCJob"])
	}
	s.AuditRows(db)
	s.Faults("")
	s.Swept(db)
	if w := s.World(); len(w.VMs)+len(w.Bindings) != 0 {
		t.Errorf("the hosts still have %d guests and %d bindings", len(w.VMs), len(w.Bindings))
	}
	s.AuditRows(db)
}

// attach makes a network on eth1 and attaches it to the cluster.
func (m *template) attach(t *testing.T, s *server.Server, name string) (uuid string) {
	t.Helper()
	uuid, err := s.Client.Create(t.Context(), wire.L2Networks+"/no-vlan", wire.Params{"name": name, "zoneUuid": m.cloud.Zone, "physicalInterface": "eth1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client.AttachL2Network(t.Context(), uuid, m.cloud.Cluster); err != nil {
		t.Fatal(err)
	}
	return uuid
}

// away makes all hosts unreachable, and the server know it.
func away(t *testing.T, s *server.Server, m *template) {
	t.Helper()
	s.Faults("CheckHost:fail=unavailable;ConnectHost:fail=unavailable")
	for _, host := range m.cloud.Hosts {
		if _, err := s.Client.Act(t.Context(), wire.Hosts+"/"+host, "reconnectHost", nil); err == nil {
			t.Fatal("a host that cannot be reached was connected")
		}
	}
}

// connected waits until all hosts are.
func connected(t *testing.T, s *server.Server, m *template) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		n, err := s.Client.Count(t.Context(), wire.Hosts, "status=Connected")
		if err != nil {
			t.Fatal(err)
		}
		if n == int64(len(m.cloud.Hosts)) {
			return
		}
	}
	t.Fatal("the hosts are not connected after 30 s")
}

// A network that is deleted while a host is away is taken from the host when it
// is back, before the next network on the same interface is made there.
func TestNetworkOfAbsentHost(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	c, ctx := s.Client, t.Context()
	old := m.attach(t, s, "old")
	l3, err := c.Create(ctx, wire.L3Networks, wire.Params{"name": "old", "l2NetworkUuid": old})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(ctx, wire.L3Networks+"/"+l3+"/ip-ranges/by-cidr", wire.Params{"name": "r", "networkCidr": "10.9.0.0/24"}); err != nil {
		t.Fatal(err)
	}
	if err := c.AttachServices(ctx, l3, "Simulator", "DHCP"); err != nil {
		t.Fatal(err)
	}
	// A guest that was there has left the network's services on its host.
	guest := m.cloud.VM("guest")
	guest["l3NetworkUuids"], guest["defaultL3NetworkUuid"] = []string{l3}, l3
	vm, err := c.Create(ctx, wire.VMs, guest)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, wire.VMs+"/"+vm); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Act(ctx, wire.VMs+"/"+vm, "expungeVmInstance", nil); err != nil {
		t.Fatal(err)
	}

	away(t, s, m)
	for _, gone := range []string{wire.L3Networks + "/" + l3, wire.L2Networks + "/" + old} {
		if err := c.Delete(ctx, gone); err != nil {
			t.Fatalf("while the hosts are away: %v", err)
		}
	}
	next := m.attach(t, s, "next")
	if w := s.World(); len(w.Bridges) != networks*len(m.cloud.Hosts)+2 || len(w.Networks) < 2 {
		t.Errorf("%d bridges and %d networks on the hosts: the test shows nothing", len(w.Bridges), len(w.Networks))
	}
	s.Faults("")
	connected(t, s, m)
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if err := c.Delete(ctx, wire.L2Networks+"/"+next); err != nil {
		t.Fatal(err)
	}
	w := s.World()
	for _, n := range w.Networks {
		if n.L3 == l3 {
			t.Errorf("host %s still has the services of a network that is gone", n.Host)
		}
	}
	if len(w.Bridges) != networks*len(m.cloud.Hosts) {
		t.Errorf("the hosts have %d bridges: %v", len(w.Bridges), w.Bridges)
	}
}

// A storage that is deleted while a host is away is taken from the host when it
// is back.
func TestStorageOfAbsentHost(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	eager(t, s)
	c, ctx := s.Client, t.Context()
	uuid, err := c.Create(ctx, wire.PrimaryStorages+"/simulators", wire.Params{"name": "second", "zoneUuid": m.cloud.Zone, "url": "sim://second",
		"totalCapacity": int64(1) << 40, "availableCapacity": int64(1) << 40})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AttachPrimaryStorage(ctx, uuid, m.cloud.Cluster); err != nil {
		t.Fatal(err)
	}
	away(t, s, m)
	if err := c.Delete(ctx, wire.Clusters+"/"+m.cloud.Cluster+wire.PrimaryStorages+"/"+uuid); err != nil {
		t.Fatalf("detach while the hosts are away: %v", err)
	}
	if err := c.Delete(ctx, wire.PrimaryStorages+"/"+uuid); err != nil {
		t.Fatalf("while the hosts are away: %v", err)
	}
	db := s.Database()
	if n, links := s.Counts(db)["GCJob"], len(s.World().Links); n != 2 || links != 4 {
		t.Errorf("%d notes and %d links of hosts to storages: the test shows nothing", n, links)
	}
	s.Faults("")
	connected(t, s, m)
	s.Settle(db)
	s.Swept(db)
	s.Audit(db)
	if links := len(s.World().Links); links != len(m.cloud.Hosts) {
		t.Errorf("the hosts have %d links to storages", links)
	}
}

// A network that is deleted by force under a running guest stays, and is taken from
// the host when the guest has let go of it.
func TestNetworkUnderGuest(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	c, ctx := s.Client, t.Context()
	if _, err := c.Act(ctx, "/global-configurations/host/ping.interval", "updateGlobalConfig", wire.Params{"value": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, wire.VMs+"/"+m.paused); err != nil {
		t.Fatal(err)
	}
	path := wire.L2Networks + "/" + m.cloud.L2Network + "?deleteMode=Enforcing"
	if err := c.Delete(ctx, path); !wire.Clear(err) || !strings.Contains(err.Error(), "is Running") {
		t.Errorf("a network of a guest that runs: %v", err)
	}
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if _, err := c.Act(ctx, wire.VMs+"/"+m.running, "stopVmInstance", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, path); err != nil {
		t.Fatal(err)
	}
	s.Settle(db)
	for begin := time.Now(); s.Counts(db)["L2NetworkHostRef"] > int64((networks-1)*len(m.cloud.Hosts)); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("the hosts still have %v", s.World().Bridges)
		}
	}
	s.Audit(db)
}

// A network that is deleted by force while a guest is being plugged in: the
// guest is not made, and the host has nothing of either.
func TestNetworkGoesMeanwhile(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	c, ctx := s.Client, t.Context()
	path := wire.L3Networks + "/" + m.cloud.L3Network
	if err := c.Delete(ctx, wire.L2Networks+"/"+m.cloud.L2Network); !wire.Clear(err) || !strings.Contains(err.Error(), "has a NIC in L3Network") {
		t.Errorf("delete of a network that guests use: %v", err)
	}
	for _, uuid := range []string{m.running, m.paused} { // they would keep it
		if err := c.Delete(ctx, wire.VMs+"/"+uuid); err != nil {
			t.Fatal(err)
		}
	}
	s.Faults("ApplyNetworkState:latency=1s")
	job := strings.Repeat("e", 32)
	if !s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": m.cloud.VM("late")}) {
		t.Fatal("the creation was not accepted")
	}
	time.Sleep(300 * time.Millisecond) // it waits in the plugin
	if err := c.Delete(ctx, path+"?deleteMode=Enforcing"); err != nil {
		t.Fatal(err)
	}
	if err := s.Outcome(job); !wire.Clear(err) || !strings.Contains(err.Error(), m.cloud.L3Network) {
		t.Errorf("the guest's creation: %v", err)
	}
	s.Faults("")
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if w := s.World(); len(w.Networks)+len(w.Bindings) != 0 {
		t.Errorf("the hosts have %d networks and %d bindings", len(w.Networks), len(w.Bindings))
	}
}
