package cascade_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// row is enough for every type of the tests.
type row struct {
	resource.Base
	ZoneUUID     string `db:"zoneUuid" kumo:"null,index"`
	HostUUID     string `db:"hostUuid" kumo:"null,index"`
	VMUUID       string `db:"vmUuid" kumo:"null,index"`
	OfferingUUID string `db:"offeringUuid" kumo:"null,index"`
	Kind         string `db:"kind" kumo:"size=32"`
	// Address is unique in the hosts' table that the migrations make.
	Address string `db:"managementIp" kumo:"size=255"`
}

type extra struct {
	UUID     string `db:"uuid"`
	VMUUID   string `db:"vmUuid" kumo:"null,index"`
	Hardware string `db:"hardware" kumo:"size=32"`
}

type tag struct {
	UUID         string `db:"uuid"`
	ResourceUUID string `db:"resourceUuid" kumo:"index"`
}

var (
	zones = resource.Define[row](resource.Type{Name: "Zone"})
	hosts = resource.Define[row](resource.Type{Name: "Host", Discriminator: "kind",
		Edges: []resource.Edge{{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade}}})
	// A subtype with an edge of its own: the host that lives in a VM.
	nested = resource.Define[extra](resource.Type{Name: "NestedHost", Parent: "Host", DiscriminatorValue: "nested",
		Edges: []resource.Edge{{Name: "vm", To: "Vm", Column: "vmUuid", OnDelete: resource.Cascade}}})
	// An edge to a subtype.
	sensors = resource.Define[row](resource.Type{Name: "Sensor",
		Edges: []resource.Edge{{Name: "host", To: "NestedHost", Column: "hostUuid", OnDelete: resource.Cascade}}})
	vms = resource.Define[row](resource.Type{Name: "Vm", Edges: []resource.Edge{
		{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: resource.Cascade},
		{Name: "host", To: "Host", Column: "hostUuid", OnDelete: resource.Detach},
		{Name: "offering", To: "Offering", Column: "offeringUuid", OnDelete: resource.Restrict}}})
	nics      = resource.Define[row](resource.Type{Name: "Nic", Edges: []resource.Edge{{Name: "vm", To: "Vm", Column: "vmUuid", OnDelete: resource.Cascade}}})
	offerings = resource.Define[row](resource.Type{Name: "Offering"})
	tags      = resource.Define[tag](resource.Type{Name: "TestTag", Internal: true})
)

var everything = []*resource.Type{zones.Type, hosts.Type, nested.Type, sensors.Type, vms.Type, nics.Type, offerings.Type, tags.Type}

// open opens the database of a test; TestMariaDB replaces it.
var open = func(t testing.TB) *store.Store {
	return openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"))
}

func openStore(t testing.TB, dsn string) *store.Store {
	t.Helper()
	reg := resource.NewRegistry()
	for _, types := range [][]*resource.Type{flow.Types(), cascade.Types(), everything} {
		if err := reg.Add(types...); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(context.Background(), dsn, storetest.Seal(t), reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// cloud is a small world: zone z with hosts h1, h2 (nested in v1) and VMs v1,
// v2 on h1, each with two NICs; v3 in zone y on h1; offering o used by v3.
type cloud struct {
	t     testing.TB
	store *store.Store
	flows *flow.Engine
	*cascade.Engine

	mu    sync.Mutex
	calls []string
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{t: t, store: open(t)}
	c.restart()
	insert(c, zones, &row{Base: base("z")}, &row{Base: base("y")})
	insert(c, hosts, &row{Base: base("h1"), ZoneUUID: "z", Address: "1"}, &row{Base: base("h2"), ZoneUUID: "z", Kind: "nested", Address: "2"})
	insert(c, nested, &extra{UUID: "h2", VMUUID: "v1"})
	insert(c, sensors, &row{Base: base("s1"), HostUUID: "h2"})
	insert(c, vms, &row{Base: base("v1"), ZoneUUID: "z", HostUUID: "h1"}, &row{Base: base("v2"), ZoneUUID: "z", HostUUID: "h1"},
		&row{Base: base("v3"), ZoneUUID: "y", HostUUID: "h1", OfferingUUID: "o"})
	for _, vm := range []string{"v1", "v2", "v3"} {
		insert(c, nics, &row{Base: base("n1" + vm), VMUUID: vm}, &row{Base: base("n2" + vm), VMUUID: vm})
		insert(c, tags, &tag{UUID: "t" + vm, ResourceUUID: vm})
	}
	insert(c, offerings, &row{Base: base("o")})
	return c
}

// restart makes fresh engines on the same database.
func (c *cloud) restart() {
	log := hclog.NewNullLogger()
	c.flows = flow.NewEngine(c.store, log, nil)
	c.Engine = cascade.New(c.store, c.store.Registry(), c.flows, log)
	c.AfterDelete(func(ctx context.Context, tx *store.Tx, _, uuid string) error {
		_, err := tx.Exec(ctx, "DELETE FROM `TestTag` WHERE `resourceUuid` = ?", uuid)
		return err
	})
}

func base(uuid string) resource.Base { return resource.Base{UUID: uuid, Name: "name of " + uuid} }

func insert[T any](c *cloud, t *resource.Typed[T], list ...*T) {
	c.t.Helper()
	err := c.store.Update(context.Background(), func(tx *store.Tx) error { return store.Insert(context.Background(), tx, t, list...) })
	if err != nil {
		c.t.Fatal(err)
	}
}

// left returns the uuids of all rows of the cloud, sorted.
func (c *cloud) left() string {
	c.t.Helper()
	var all []string
	for _, t := range everything {
		list, err := store.Texts(context.Background(), c.store, "SELECT `uuid` FROM `"+t.Name+"`")
		if err != nil {
			c.t.Fatal(err)
		}
		for _, uuid := range list {
			if t == nested.Type {
				uuid += "+"
			}
			all = append(all, uuid)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// quiet checks that neither flows nor marks are left.
func (c *cloud) quiet() {
	c.t.Helper()
	for _, table := range []string{"Flow", "CascadeMark"} {
		list, err := store.Texts(context.Background(), c.store, "SELECT `uuid` FROM `"+table+"`")
		if err != nil || len(list) != 0 {
			c.t.Errorf("left in %s: %v %v", table, list, err)
		}
	}
}

func (c *cloud) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, s)
}

// act registers a deleter that notes its calls, fails for the uuids in bad,
// and leaves the row to the engine.
func (c *cloud) act(typeName string, bad *atomic.Pointer[string]) {
	c.Register(typeName, cascade.Deleter{
		Delete: func(_ context.Context, uuid string, m cascade.Mode) error {
			c.note("delete " + uuid)
			if b := bad.Load(); b != nil && *b == uuid {
				return errs.New(errs.Unavailable, typeName+" "+uuid, "no answer")
			}
			return nil
		},
		Detach: func(_ context.Context, uuid, column, target string, m cascade.Mode) error {
			c.note("detach " + uuid + "." + column + " from " + target)
			return nil
		},
	})
}

var ctx = context.Background()

const all = "h1 h2 h2+ n1v1 n1v2 n1v3 n2v1 n2v2 n2v3 o s1 tv1 tv2 tv3 v1 v2 v3 y z"

func TestRowsOnly(t *testing.T) {
	c := newCloud(t)
	for _, step := range []struct {
		typeName, uuid string
		mode           cascade.Mode
		class          errs.Class
		left           string
	}{
		{"Offering", "o", cascade.Permissive, errs.Refused, all},
		{"Offering", "unknown", cascade.Permissive, "", all},
		{"Nic", "n1v3", cascade.Permissive, "", "h1 h2 h2+ n1v1 n1v2 n2v1 n2v2 n2v3 o s1 tv1 tv2 tv3 v1 v2 v3 y z"},
		{"Vm", "v1", cascade.Permissive, "", "h1 n1v2 n2v2 n2v3 o tv2 tv3 v2 v3 y z"}, // with h2 that lives in it, and its sensor
		{"Host", "h1", cascade.Permissive, "", "n1v2 n2v2 n2v3 o tv2 tv3 v2 v3 y z"},  // the VMs stay
		{"Offering", "o", cascade.Enforcing, "", "n1v2 n2v2 n2v3 tv2 tv3 v2 v3 y z"},
		{"Zone", "z", cascade.Permissive, "", "n2v3 tv3 v3 y"},
		{"Zone", "z", cascade.Permissive, "", "n2v3 tv3 v3 y"},
	} {
		err := c.Delete(ctx, step.typeName, step.uuid, step.mode, flow.Options{})
		if errs.ClassOf(err) != step.class {
			t.Errorf("delete %s %s: %v", step.typeName, step.uuid, err)
		}
		if got := c.left(); got != step.left {
			t.Errorf("after delete of %s %s: %s, want %s", step.typeName, step.uuid, got, step.left)
		}
		c.quiet()
	}
	v3, err := store.Get(ctx, c.store, vms, "v3")
	if err != nil || v3.HostUUID != "" || v3.OfferingUUID != "" || v3.ZoneUUID != "y" {
		t.Errorf("v3 was not detached: %+v %v", v3, err)
	}
}

// TestWorld: with deleters, the order of the calls is that of the plan.
func TestWorld(t *testing.T) {
	c := newCloud(t)
	var bad atomic.Pointer[string]
	for _, typeName := range []string{"Host", "Vm", "Nic"} {
		c.act(typeName, &bad)
	}
	if err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := c.left(); got != "n1v3 n2v3 o tv3 v3 y" {
		t.Errorf("left %s", got)
	}
	c.quiet()
	at := map[string]int{}
	for i, call := range c.calls {
		if _, twice := at[call]; twice {
			t.Errorf("%s twice", call)
		}
		at[call] = i
	}
	// v3 is detached from h1 first; h2 lives in v1, so it goes before it.
	for _, pair := range [][2]string{{"detach v3.hostUuid from h1", "delete h1"}, {"delete n1v1", "delete v1"}, {"delete h2", "delete v1"}, {"delete n2v2", "delete v2"}} {
		a, okA := at[pair[0]]
		b, okB := at[pair[1]]
		if !okA || !okB || a >= b {
			t.Errorf("%s is not before %s: %q", pair[0], pair[1], c.calls)
		}
	}
}

// TestParts: a machine's NICs are left to its deleter, unless they are reached
// by themselves.
func TestParts(t *testing.T) {
	c := newCloud(t)
	var bad atomic.Pointer[string]
	c.act("Nic", &bad)
	c.Register("Vm", cascade.Deleter{Parts: []string{"Nic"}, Delete: func(ctx context.Context, uuid string, _ cascade.Mode) error {
		c.note("delete " + uuid)
		return c.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM `Nic` WHERE `vmUuid` = ?", uuid)
			return err
		})
	}})
	if err := c.Delete(ctx, "Vm", "v2", cascade.Permissive, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.calls, ", "); got != "delete v2" {
		t.Errorf("calls %s", got)
	}
	if got := c.left(); got != "h1 h2 h2+ n1v1 n1v3 n2v1 n2v3 o s1 tv1 tv3 v1 v3 y z" {
		t.Errorf("left %s", got)
	}
}

// TestChecks: one objection, anywhere, and nothing is changed; Enforcing does
// not ask.
func TestChecks(t *testing.T) {
	c := newCloud(t)
	c.Register("Nic", cascade.Deleter{Check: func(_ context.Context, _ *store.Tx, uuid string) error {
		if uuid == "n2v2" {
			return errs.New(errs.Refused, "Nic n2v2", "it carries the console")
		}
		return nil
	}, Delete: func(context.Context, string, cascade.Mode) error { c.note("delete"); return nil }})
	err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{})
	if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "Zone z: cannot be deleted because of Nic n2v2: Nic n2v2: it carries the console") {
		t.Errorf("got %v", err)
	}
	if c.left() != all || len(c.calls) != 0 {
		t.Errorf("left %s, calls %v", c.left(), c.calls)
	}
	c.quiet()
	plan, err := c.PlanTree(ctx, "Zone", "z")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plan)
	if err != nil || !strings.Contains(string(text), `"reason":"Nic n2v2: it carries the console"`) ||
		!strings.Contains(string(text), `"name":"name of z"`) || !strings.Contains(string(text), `"action":"detach"`) {
		t.Errorf("plan %s %v", text, err)
	}
	if _, err := c.PlanTree(ctx, "Zone", "unknown"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("plan of nothing: %v", err)
	}
	if c.left() != all {
		t.Error("a plan changed something")
	}
	if err := c.Delete(ctx, "Zone", "z", cascade.Enforcing, flow.Options{}); err != nil || c.left() != "n1v3 n2v3 o tv3 v3 y" {
		t.Errorf("Enforcing: %v, left %s", err, c.left())
	}
}

// A message that takes rows from a resource which stays has the plan of these
// rows, and nothing of what else depends on the resource.
func TestPlanRemoval(t *testing.T) {
	c := newCloud(t)
	c.Register("Nic", cascade.Deleter{Check: func(context.Context, *store.Tx, string) error {
		return errs.New(errs.Refused, "Nic", "it carries the console")
	}})
	host := cascade.Named{Type: "Host", UUID: "h1", Name: "not asked for"}
	for name, x := range map[string]struct {
		removal cascade.Removal
		want    string
	}{
		"nothing": {cascade.Removal{Subject: host}, `{"type":"Host","uuid":"h1","name":"name of h1","action":"keep","deleted":0,"detached":0}`},
		"one and its checks": {cascade.Removal{Subject: host, Rows: []cascade.Named{{Type: "Nic", UUID: "n1v1"}}, Against: []error{errors.New("it is noon")}},
			`{"type":"Host","uuid":"h1","name":"name of h1","action":"keep","children":[{"type":"Nic","uuid":"n1v1","name":"name of n1v1","action":"delete"}],` +
				`"deleted":1,"detached":0,"objections":[{"type":"Nic","uuid":"n1v1","name":"name of n1v1","targetType":"Nic","target":"n1v1","reason":"Nic: it carries the console"},` +
				`{"type":"Host","uuid":"h1","name":"name of h1","targetType":"Host","target":"h1","reason":"it is noon"}]}`},
		"two with what depends on them": {cascade.Removal{Subject: host, Rows: []cascade.Named{{Type: "Sensor", UUID: "s1"}, {Type: "Offering", UUID: "o"}}},
			`{"type":"Host","uuid":"h1","name":"name of h1","action":"keep","children":[{"type":"Sensor","uuid":"s1","name":"name of s1","action":"delete"},` +
				`{"type":"Offering","uuid":"o","name":"name of o","action":"delete"}],"deleted":2,"detached":0,` +
				`"objections":[{"type":"Vm","uuid":"v3","name":"name of v3","column":"offeringUuid","targetType":"Offering","target":"o"}]}`},
	} {
		plan, err := c.PlanRemoval(ctx, x.removal)
		if err != nil {
			t.Fatal(name, err)
		}
		if text, err := json.Marshal(plan); err != nil || string(text) != x.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, text, x.want)
		}
	}
	for _, r := range []cascade.Removal{{Subject: cascade.Named{Type: "Host", UUID: "unknown"}}, {Subject: host, Rows: []cascade.Named{{Type: "Nic", UUID: "unknown"}}}} {
		if _, err := c.PlanRemoval(ctx, r); errs.ClassOf(err) != errs.NotFound {
			t.Errorf("plan of what is gone: %v", err)
		}
	}
	if c.left() != all {
		t.Error("a plan changed something")
	}
}

// TestPermissiveStops: the first error ends the delete; repeated, it goes on.
func TestPermissiveStops(t *testing.T) {
	c := newCloud(t)
	var bad atomic.Pointer[string]
	for _, typeName := range []string{"Host", "Vm"} {
		c.act(typeName, &bad)
	}
	h2 := "h2"
	bad.Store(&h2)
	err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{})
	if errs.ClassOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "Host h2: cannot be deleted with Zone z: Host h2: no answer") {
		t.Errorf("got %v", err)
	}
	for _, uuid := range []string{"h2", "v1", "z"} {
		if !slices.Contains(strings.Fields(c.left()), uuid) {
			t.Errorf("%s is gone: %s", uuid, c.left())
		}
	}
	c.quiet() // children may be added again
	bad.Store(nil)
	if err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{}); err != nil || c.left() != "n1v3 n2v3 o tv3 v3 y" {
		t.Errorf("repeated: %v, left %s", err, c.left())
	}
	c.quiet()
}

// TestEnforcingLeavesGarbage: the rows go, and what could not be cleaned is
// collected when it can be.
func TestEnforcingLeavesGarbage(t *testing.T) {
	c := newCloud(t)
	var reachable atomic.Bool
	var collected []string
	c.Register("Vm", cascade.Deleter{
		Delete: func(_ context.Context, uuid string, _ cascade.Mode) error {
			return errs.New(errs.Unavailable, "host h1", "no answer")
		},
		Leave: func(ctx context.Context, tx *store.Tx, uuid string) (json.RawMessage, error) {
			vm, err := store.Get(ctx, tx, vms, uuid)
			if err != nil {
				return nil, err
			}
			return json.Marshal(map[string]string{"vm": uuid, "host": vm.HostUUID})
		},
		Collect: func(_ context.Context, left json.RawMessage) error {
			if !reachable.Load() {
				return errs.New(errs.Unavailable, "host h1", "still no answer")
			}
			collected = append(collected, string(left))
			return nil
		},
	})
	c.Register("Nic", cascade.Deleter{Delete: func(context.Context, string, cascade.Mode) error { panic("boom") }})
	if err := c.Delete(ctx, "Vm", "v2", cascade.Enforcing, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := c.left(); strings.Contains(got, "v2") {
		t.Errorf("left %s", got)
	}
	c.quiet()
	list, err := c.Garbage(ctx)
	if err != nil || len(list) != 3 {
		t.Fatalf("garbage %+v %v", list, err)
	}
	if n, err := c.Collect(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("collected before it was due: %d %v", n, err)
	}
	if n, err := c.Collect(ctx, 0); n != 0 || err != nil {
		t.Errorf("collected although it fails: %d %v", n, err)
	}
	reachable.Store(true)
	if n, err := c.Collect(ctx, 0); n != 1 || err != nil || len(collected) != 1 || collected[0] != `{"host":"h1","vm":"v2"}` {
		t.Errorf("collected %d %v %q", n, err, collected)
	}
	list, err = c.Garbage(ctx)
	if err != nil || len(list) != 2 || !strings.Contains(list[0].Cause().Error(), "boom") {
		t.Fatalf("garbage %+v %v", list, err)
	}
	for _, g := range list { // nobody can collect it; a person forgets it
		if err := c.Forget(ctx, g.UUID); err != nil {
			t.Error(err)
		}
	}
	if list, err = c.Garbage(ctx); err != nil || len(list) != 0 {
		t.Errorf("garbage %+v %v", list, err)
	}
}

// TestAlive: what lives on stays in every mode, with all that does not go before it,
// and says why; when it has ended all goes.
func TestAlive(t *testing.T) {
	for _, mode := range []cascade.Mode{cascade.Permissive, cascade.Enforcing} {
		c := newCloud(t)
		var alive atomic.Bool
		alive.Store(true)
		end := func(uuid string) error {
			if alive.Load() && uuid != "v1" {
				return cascade.Alive(errs.New(errs.Refused, "guest "+uuid, "it runs"))
			}
			return nil
		}
		var keys sync.Map
		c.Turn = func(ctx context.Context, _ <-chan struct{}, key string, fn func(context.Context) error) error {
			keys.Store(key, true)
			return fn(ctx)
		}
		c.Register("Vm", cascade.Deleter{Lives: true, Parts: []string{"Nic"},
			Delete: func(_ context.Context, uuid string, _ cascade.Mode) error { return end(uuid) },
			Detach: func(_ context.Context, uuid, _, _ string, _ cascade.Mode) error { return end(uuid) },
			Key: func(_ context.Context, uuid string) (string, error) {
				return map[string]string{"v2": "the owner of v2"}[uuid], nil
			},
		})
		before := c.left()
		err := c.Delete(ctx, "Host", "h1", mode, flow.Options{})
		if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "it runs") || !strings.Contains(err.Error(), "so does Host h1") {
			t.Errorf("%s delete of the host of guests that run: %v", mode, err)
		}
		if got := c.left(); got != before {
			t.Errorf("%s: left %s, want %s", mode, got, before)
		}
		c.quiet()
		insert(c, vms, &row{Base: base("v4"), ZoneUUID: "x"})
		insert(c, zones, &row{Base: base("x")})
		insert(c, hosts, &row{Base: base("h3"), ZoneUUID: "x", Address: "3"})
		before = c.left()
		if err := c.Delete(ctx, "Zone", "x", mode, flow.Options{}); errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "so does Zone x") {
			t.Errorf("%s delete of the zone of a guest that runs: %v", mode, err)
		}
		if got := c.left(); got != before {
			t.Errorf("%s: left %s, want %s", mode, got, before)
		}
		c.quiet()
		alive.Store(false)
		for _, gone := range []string{"x", "z"} {
			if err := c.Delete(ctx, "Zone", gone, mode, flow.Options{}); err != nil {
				t.Errorf("%s delete of zone %s: %v", mode, gone, err)
			}
		}
		if _, ok := keys.Load("the owner of v2"); !ok {
			t.Error("v2 was not deleted in the turn of its owner")
		}
	}
}

// TestCrash ends the delete at every point, starts fresh engines and lets them
// resume: all is gone, and no row's world was forgotten.
func TestCrash(t *testing.T) {
	points := []string{"begin/before", "begin/after", "mark/journal", "mark/before", "mark/after", "check/before", "check/after",
		"delete/before", "delete/after", "unmark/before", "unmark/after", "end/journal"}
	for _, point := range points {
		for _, row := range []string{"", "h2", "v1"} {
			if row != "" && point != "delete/before" {
				continue // a crash inside of the delete, as one row goes
			}
			t.Run(point+row, func(t *testing.T) {
				c := newCloud(t)
				var bad atomic.Pointer[string]
				c.act("Host", &bad)
				c.act("Vm", &bad)
				crashIn(c, "cascade-delete/"+point, row)
				func() {
					defer func() {
						if _, ok := recover().(flow.Abort); !ok && row == "" {
							t.Error("not crashed")
						}
					}()
					if err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{Key: "z"}); row == "" {
						t.Errorf("Delete returned %v", err)
					}
				}()
				early := strings.HasPrefix(point, "begin")
				c.restart()
				c.act("Host", &bad)
				c.act("Vm", &bad)
				if err := c.flows.Resume(ctx, func(_ string, run func(context.Context)) { run(ctx) }); err != nil {
					t.Fatal(err)
				}
				if early {
					if c.left() != all {
						t.Errorf("left %s", c.left())
					}
					return
				}
				if got := c.left(); got != "n1v3 n2v3 o tv3 v3 y" {
					t.Errorf("left %s", got)
				}
				c.quiet()
				for _, want := range []string{"delete h1", "delete h2", "delete v1", "delete v2", "detach v3.hostUuid from h1"} {
					if !slices.Contains(c.calls, want) {
						t.Errorf("no call %q in %q", want, c.calls)
					}
				}
			})
		}
	}
}

// crashIn ends the flow at a point, or, when a row is named, stops the engine
// as that row's delete is called.
func crashIn(c *cloud, point, row string) {
	if row == "" {
		flow.SetTestHooks(c.flows, flow.TestHooks{Probe: func(at string) {
			if at == point {
				panic(flow.Abort{})
			}
		}})
		return
	}
	stop := func(uuid string) {
		if uuid == row {
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := c.flows.Stop(short); err == nil {
				c.t.Error("the flow does not run")
			}
		}
	}
	for _, typeName := range []string{"Host", "Vm"} {
		c.Register(typeName, cascade.Deleter{Delete: func(_ context.Context, uuid string, _ cascade.Mode) error {
			c.note("delete " + uuid)
			stop(uuid)
			return nil
		}, Detach: func(_ context.Context, uuid, column, target string, _ cascade.Mode) error {
			c.note("detach " + uuid + "." + column + " from " + target)
			return nil
		}})
	}
}

// TestQueue: rows with a world are deleted in order with other work on them,
// and a queue that does not get on does not hold up a stop.
func TestQueue(t *testing.T) {
	c := newCloud(t)
	r := action.NewRegistry(hclog.NewNullLogger())
	q := dispatch.New(dispatch.Limits{}, r.Run)
	r.Wire(action.Ports{Queue: q})
	c.Turn = func(ctx context.Context, stop <-chan struct{}, key string, fn func(context.Context) error) error {
		return r.Turn(ctx, stop, key, "cascade", "DeleteWithParent", fn)
	}
	var bad atomic.Pointer[string]
	c.act("Vm", &bad)
	gate := make(chan struct{})
	turn, err := r.Ask(ctx, "v1", "vm", "OtherWork")
	if err != nil {
		t.Fatal(err)
	}
	other := make(chan error, 1)
	go func() {
		other <- turn(nil, func(context.Context) error { <-gate; c.note("other work on v1"); return nil })
	}()
	done := make(chan error)
	go func() { done <- c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{}) }()
	for range 1000 {
		c.mu.Lock()
		n := len(c.calls)
		c.mu.Unlock()
		if n >= 2 { // v3 is detached, v2 deleted
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.flows.Stop(stop); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := <-done; !flow.IsStopped(err) {
		t.Errorf("Delete: %v", err)
	}
	close(gate)
	if err := <-other; err != nil {
		t.Fatal(err)
	}
	if err := q.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(c.calls, "delete v1") {
		t.Errorf("a dropped call ran: %q", c.calls)
	}
	c.restart()
	c.act("Vm", &bad)
	if err := c.flows.Resume(ctx, func(_ string, run func(context.Context)) { run(ctx) }); err != nil {
		t.Fatal(err)
	}
	if got := c.left(); got != "n1v3 n2v3 o tv3 v3 y" {
		t.Errorf("left %s", got)
	}
	c.quiet()
}

func TestUnknownType(t *testing.T) {
	c := newCloud(t)
	if err := c.Delete(ctx, "Unknown", "x", cascade.Permissive, flow.Options{}); errs.ClassOf(err) != errs.Internal {
		t.Errorf("got %v", err)
	}
	if _, err := c.PlanTree(ctx, "Unknown", "x"); errs.ClassOf(err) != errs.Internal {
		t.Errorf("got %v", err)
	}
	// A subtype's name means its root type.
	if err := c.Delete(ctx, "NestedHost", "h2", cascade.Permissive, flow.Options{}); err != nil || strings.Contains(c.left(), "h2") {
		t.Errorf("delete of a subtype: %v, left %s", err, c.left())
	}
}

// TestManyChildren deletes a zone of 10,000 VMs with NICs, with and without a
// world, and says how long it takes.
func TestManyChildren(t *testing.T) {
	for name, world := range map[string]bool{"rows": false, "world": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			var deleted atomic.Int64
			if world {
				c.Register("Vm", cascade.Deleter{Delete: func(context.Context, string, cascade.Mode) error { deleted.Add(1); return nil }})
			}
			const n = 10_000
			var list, cards []*row
			for i := range n {
				uuid := fmt.Sprintf("many%05d", i)
				list = append(list, &row{Base: base(uuid), ZoneUUID: "z", HostUUID: "h1"})
				cards = append(cards, &row{Base: base("nic" + uuid), VMUUID: uuid})
			}
			insert(c, vms, list...)
			insert(c, nics, cards...)
			begin := time.Now()
			if _, err := c.PlanTree(ctx, "Zone", "z"); err != nil {
				t.Fatal(err)
			}
			planned := time.Since(begin)
			if err := c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{}); err != nil {
				t.Fatal(err)
			}
			t.Logf("planned in %s, deleted in %s", planned, time.Since(begin)-planned)
			if got := c.left(); got != "n1v3 n2v3 o tv3 v3 y" {
				t.Errorf("left %s", got)
			}
			if world && deleted.Load() != n+2 {
				t.Errorf("%d deleted", deleted.Load())
			}
			c.quiet()
		})
	}
}
