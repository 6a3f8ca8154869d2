package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

// template is the data folder of a small cloud with a guest in each state, a
// network and a storage that are attached to nothing; the tests work on copies of
// it.
type template struct {
	dir                                 string
	cloud                               *wire.Cloud
	running, stopped, destroyed, paused string
	network, storage                    string
	l3, nic                             string // one in which no guest is, and the NIC of the running guest
	flows                               []points.Flow
}

// witnessed are the plugins of clouds with an observer, which does a step at each
// point of the flows.
var witnessed = []string{"simulator", "witness"}

// guests is how many there are in the template, networks how many of its L2 networks
// are attached to the cluster.
const (
	guests   = 4
	networks = 2
)

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
		s := server.Start(t, server.Options{Dir: dir, Plugins: witnessed})
		ctx, c := t.Context(), s.Client
		if made.cloud, err = wire.NewCloud(ctx, c, wire.Spec{Name: "crash", Hosts: 2}); err != nil {
			t.Fatal(err)
		}
		create := func(into *string, path string, p wire.Params) {
			t.Helper()
			if *into, err = c.Create(ctx, path, p); err != nil {
				t.Fatal(err)
			}
		}
		for name, into := range map[string]*string{"running": &made.running, "stopped": &made.stopped, "destroyed": &made.destroyed, "paused": &made.paused} {
			p := made.cloud.VM(name)
			p["dataDiskSizes"] = []int64{1 << 30}
			create(into, wire.VMs, p)
		}
		create(&made.network, wire.L2Networks+"/no-vlan", wire.Params{"name": "spare", "zoneUuid": made.cloud.Zone, "physicalInterface": "eth7"})
		other := ""
		create(&other, wire.L2Networks+"/no-vlan", wire.Params{"name": "other", "zoneUuid": made.cloud.Zone, "physicalInterface": "eth8"})
		if _, err := c.Call(ctx, http.MethodPost, wire.L2Networks+"/"+other+"/clusters/"+made.cloud.Cluster, nil); err != nil {
			t.Fatal(err)
		}
		create(&made.l3, wire.L3Networks, wire.Params{"name": "other", "l2NetworkUuid": other, "category": "Private"})
		if _, err := c.Create(ctx, wire.L3Networks+"/"+made.l3+"/ip-ranges", wire.Params{"name": "other", "startIp": "10.99.0.10", "endIp": "10.99.0.99",
			"netmask": "255.255.255.0", "gateway": "10.99.0.1"}); err != nil {
			t.Fatal(err)
		}
		if err := c.AttachServices(ctx, made.l3, "Simulator", "DHCP", "DNS", "Userdata"); err != nil {
			t.Fatal(err)
		}
		create(&made.storage, wire.PrimaryStorages+"/simulators", wire.Params{"name": "spare", "zoneUuid": made.cloud.Zone, "url": "sim://spare",
			"totalCapacity": int64(1) << 40, "availableCapacity": int64(1) << 40})
		if _, err := c.Act(ctx, wire.VMs+"/"+made.stopped, "stopVmInstance", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Act(ctx, wire.VMs+"/"+made.paused, "pauseVmInstance", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, wire.VMs+"/"+made.destroyed); err != nil {
			t.Fatal(err)
		}
		page, err := c.Query(ctx, wire.VMNics, "vmInstanceUuid="+made.running)
		if err != nil || len(page.Inventories) != 1 {
			t.Fatalf("NICs %s, %v", page.Inventories, err)
		}
		var nic struct{ UUID string }
		if err := json.Unmarshal(page.Inventories[0], &nic); err != nil {
			t.Fatal(err)
		}
		made.nic = nic.UUID
		if made.flows, err = points.Flows(ctx, c); err != nil {
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

// scenario is a call that runs one flow, with what makes its steps fail.
type scenario struct {
	method, path string
	body         map[string]any
	// broken has, for each step that can be made to fail, the plugin's method that
	// does not work then.
	broken map[string]string
	// whole has the steps that touch the world and do not fail when it does not
	// work: what cannot be removed is kept for the collector, or they only read.
	whole []string
	// skips are steps that the call leaves out.
	skips []string
	// half says that a flow which failed may leave the resource half done, until
	// the next try.
	half bool
	// want changes the states of the template's guests to those after the call.
	want func(states map[string]string)
}

// scenarios has one for each flow of the registry; TestEveryFlow fails for a flow
// that has none.
func (m *template) scenarios() map[string]scenario {
	becomes := func(guest, state string) func(map[string]string) {
		return func(states map[string]string) {
			if states[guest] = state; state == "" {
				delete(states, guest)
			}
		}
	}
	act := func(vm, action string) scenario {
		return scenario{method: http.MethodPut, path: wire.VMs + "/" + vm + "/actions", body: map[string]any{action: wire.Params{}}}
	}
	post := func(path string, p wire.Params) scenario {
		return scenario{method: http.MethodPost, path: path, body: map[string]any{"params": p}}
	}
	with := func(s scenario, broken map[string]string, want func(map[string]string), whole ...string) scenario {
		s.broken, s.want, s.whole = broken, want, whole
		return s
	}
	vm := m.cloud.VM("made")
	vm["dataDiskSizes"] = []int64{1 << 30, 2 << 30}
	create := post(wire.VMs, vm)
	create.body["userTags"], create.body["systemTags"] = []string{"crash"}, []string{"hostname::made"}
	expunge := with(act(m.destroyed, "expungeVmInstance"), map[string]string{"delete-volumes": "DeleteVolume"}, becomes("destroyed", ""), "remove-from-host")
	expunge.half = true
	remove := with(scenario{method: http.MethodDelete, path: wire.Zones + "/" + m.cloud.Zone}, map[string]string{"delete": "StopVM"},
		func(states map[string]string) { clear(states) }, "mark", "check")
	remove.half = true
	same := func(map[string]string) {}
	image := with(post(wire.Images, wire.Params{"name": "second", "url": "http://192.0.2.1/second.qcow2?virtual=1073741824&actual=67108864", "format": "qcow2",
		"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{m.cloud.BackupStorage}}), map[string]string{"download": "AddImage"}, same, "recount")
	image.skips = []string{"open-upload", "tell-address"} // they are for images that the client sends
	migrate := with(scenario{method: http.MethodPut, path: wire.VMs + "/" + m.running + "/actions", body: map[string]any{"migrateVm": wire.Params{}}},
		map[string]string{"prepare-network": "ApplyNetworkState", "migrate-on-host": "MigrateVM"}, same, "release-network", "clean-source")
	migrate.skips = []string{"make-volumes"} // all hosts share them
	return map[string]scenario{
		"migrate-vm": migrate,
		"create-vm":  with(create, map[string]string{"make-volumes": "CreateVolume", "prepare-network": "ApplyNetworkState", "start-on-host": "StartVM"}, becomes("made", "Running")),
		"start-vm":   with(act(m.stopped, "startVmInstance"), map[string]string{"prepare-network": "ApplyNetworkState", "start-on-host": "StartVM"}, becomes("stopped", "Running")),
		"stop-vm":    with(act(m.running, "stopVmInstance"), map[string]string{"stop-on-host": "StopVM"}, becomes("running", "Stopped"), "release-network"),
		"reboot-vm":  with(act(m.running, "rebootVmInstance"), map[string]string{"prepare-network": "ApplyNetworkState", "reboot-on-host": "RebootVM"}, same),
		"pause-vm":   with(act(m.running, "pauseVmInstance"), map[string]string{"pause-on-host": "PauseVM"}, becomes("running", "Paused")),
		"resume-vm":  with(act(m.paused, "resumeVmInstance"), map[string]string{"resume-on-host": "ResumeVM"}, becomes("paused", "Running")),
		"destroy-vm": with(scenario{method: http.MethodDelete, path: wire.VMs + "/" + m.running}, map[string]string{"end-on-host": "StopVM"}, becomes("running", "Destroyed"), "release-network"),
		"expunge-vm": expunge,
		"add-host": with(post(wire.Hosts+"/simulators", wire.Params{"name": "third", "managementIp": "198.18.9.9", "clusterUuid": m.cloud.Cluster,
			"cpuCapacity": 100, "memoryCapacity": int64(1) << 40}), map[string]string{"connect": "ConnectHost"}, same),
		"add-image": image,
		"attach-l2-network": with(scenario{method: http.MethodPost, path: wire.L2Networks + "/" + m.network + "/clusters/" + m.cloud.Cluster},
			map[string]string{"realize": "Realize"}, same),
		"attach-primary-storage": with(scenario{method: http.MethodPost, path: wire.Clusters + "/" + m.cloud.Cluster + wire.PrimaryStorages + "/" + m.storage},
			map[string]string{"attach-hosts": "AttachHost"}, same),
		"cascade-delete": remove,
		"create-row":     with(post(wire.L3Networks, wire.Params{"name": "second", "l2NetworkUuid": m.network, "category": "Private"}), nil, same, "insert"),
		"attach-nic": with(post(wire.VMs+"/"+m.running+wire.L3Networks+"/"+m.l3, wire.Params{"staticIp": "10.99.0.50"}),
			map[string]string{"prepare-network": "ApplyNetworkState", "plug-on-host": "AttachNIC"}, same),
		"detach-nic": with(scenario{method: http.MethodDelete, path: wire.VMNics + "/" + m.nic}, map[string]string{"unplug-on-host": "DetachNIC"}, same, "release-network"),
	}
}

// fails are the steps that the scenario can make fail.
func (s scenario) fails() map[string]bool {
	steps := map[string]bool{}
	for step := range s.broken {
		steps[step] = true
	}
	return steps
}

// elsewhere are the flows of plugins' own types and of what is outside, of which the
// simulator has none: integration/owntypes and integration/foreign kill the server in
// them, and core/inventory fails and ends each of their steps.
var elsewhere = []string{"provide-create", "provide-update", "provide-act", "inventory-sync", "inventory-apply"}

// TestEveryFlow: each flow of the registry has a scenario that drives it, and the
// scenario says of each step that touches the world how it is made to fail, or
// that it does not. Whoever adds a flow adds its scenario.
func TestEveryFlow(t *testing.T) {
	m := cloud(t)
	list := m.scenarios()
	for _, f := range m.flows {
		s, ok := list[f.Name]
		if slices.Contains(elsewhere, f.Name) {
			continue
		}
		if !ok {
			t.Errorf("flow %s has no scenario: no test kills the server in it", f.Name)
			continue
		}
		delete(list, f.Name)
		for _, step := range f.Steps {
			if step.World && !strings.HasPrefix(step.Name, "point.") && !slices.Contains(s.skips, step.Name) && s.broken[step.Name] == "" && !slices.Contains(s.whole, step.Name) {
				t.Errorf("step %s of flow %s touches the world, and the scenario does not say how it fails", step.Name, f.Name)
			}
		}
	}
	for name := range list {
		t.Errorf("there is a scenario of flow %s, and no such flow", name)
	}
}

// full makes the test pass every point; without it, points of the undo are left
// out where the same step has one that is as good.
var full = os.Getenv("KUMO_TEST_LONG") != ""

// TestKillAtEveryPoint is the test of durable flows on the real thing: the
// process dies at a point, the next one goes on or takes everything back.
func TestKillAtEveryPoint(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, f := range m.flows {
		s := m.scenarios()[f.Name]
		if s.method == "" {
			continue // TestEveryFlow tells
		}
		f = f.Without(s.skips...)
		list := f.Points(s.fails())
		if len(list) < 5 {
			t.Fatalf("flow %s has the points %v only", f.Name, list)
		}
		for _, at := range list {
			if !full && at.What == "undo-before" { // as undo-after, but the step's undo has not happened: a repeat of it
				continue
			}
			t.Run(strings.ReplaceAll(at.String(), "/", "_"), func(t *testing.T) {
				t.Parallel()
				m.kill(t, f, s, at)
			})
		}
	}
}

func (m *template) kill(t *testing.T, f points.Flow, op scenario, at points.Point) {
	s := server.Launch(t, server.Options{Dir: m.copy(t), Plugins: witnessed, Env: []string{points.Variable + "=" + at.String()}, MayDie: true})
	s.Login()
	s.Ready()
	if at.Undo() {
		s.Faults(op.broken[f.Breaks(at, op.fails())] + ":fail=internal")
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
		clearError(t, err)
	}
	if at.Undo() && err == nil {
		t.Error("the job has succeeded though a step was made to fail")
	}
	next.Faults("")
	next.Recover(db) // the fault may have kept hosts from being connected, too
	if err != nil {
		if !op.half {
			next.Audit(db)
		}
		again := strings.Repeat("a", 32)
		next.Begin(again, op.method, op.path, op.body)
		if err := next.Outcome(again); err != nil {
			t.Errorf("the call cannot be repeated after it failed: %v", err)
		}
		next.Settle(db) // some flows answer before they end
	}
	next.Audit(db)
	m.check(t, next, at.Flow)
}

// clearError fails the test unless an error tells what, why and what to do.
func clearError(t *testing.T, err error) {
	t.Helper()
	if !wire.Clear(err) {
		t.Errorf("the job's error is not clear: %v", err)
	}
}

// check looks at the state that the operation leads to.
func (m *template) check(t *testing.T, s *server.Server, name string) {
	t.Helper()
	want := map[string]string{"running": "Running", "stopped": "Stopped", "destroyed": "Destroyed", "paused": "Paused"}
	if op, ok := m.scenarios()[name]; ok {
		op.want(want)
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
	m.undone(t, s)
}

// undone tells whether the witness has taken back what it did for guests and images
// that were never there, and for what was to be deleted and is still there, and
// nothing else.
func (m *template) undone(t *testing.T, s *server.Server) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "plugins", "witness", "points"))
	if err != nil {
		t.Fatal(err)
	}
	var all string
	if err := s.Database().QueryRow("SELECT COALESCE(GROUP_CONCAT(`uuid`), '') FROM `VmInstance`").Scan(&all); err != nil {
		t.Fatal(err)
	}
	last, ended := map[string]string{}, map[string]bool{}
	others := map[[2]string]string{} // by point and resource
	for line := range strings.Lines(string(text)) {
		var what, point, uuid string
		if _, err := fmt.Sscan(line, &what, &point, &uuid); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch {
		case point == "vm.start.nics-ready":
			last[uuid] = what
		case !strings.HasPrefix(point, "vm."):
			others[[2]string{point, uuid}] = what
		}
		ended[uuid] = ended[uuid] || strings.HasPrefix(point, "vm.stop.") || strings.HasPrefix(point, "vm.destroy.")
	}
	for uuid, what := range last {
		if !strings.Contains(all, uuid) && !ended[uuid] && what != "undo" {
			t.Errorf("guest %s was never there, and what the witness did for it is not undone", uuid)
		}
	}
	for at, what := range others {
		point, uuid := at[0], at[1]
		table, _, _ := strings.Cut(point, ".")
		if name, other := map[string]string{"image": "Image", "nic": "VmInstance"}[table]; other {
			table = name
		}
		var there int
		if err := s.Database().QueryRow("SELECT COUNT(*) FROM `"+table+"` WHERE `uuid` = ?", uuid).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there == 0 && strings.HasSuffix(point, ".create.begin") && others[[2]string{"Zone.delete.begin", m.cloud.Zone}] == "do" {
			continue // it went with the zone
		}
		want := "do"
		if (there == 1) == strings.HasSuffix(point, ".delete.begin") {
			want = "undo"
		}
		if what != want {
			t.Errorf("%s of %s, of which there is %d: the witness's last word is %s, want %s", point, uuid, there, what, want)
		}
	}
	if len(last)+len(others) == 0 {
		t.Error("the witness has done nothing")
	}
}
