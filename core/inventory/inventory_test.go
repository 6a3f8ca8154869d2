package inventory_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/flow/flowtest"
	"github.com/kumo-cloud/kumo/core/inventory"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type P = cloudtest.P

// fleet is what is outside at first: two isles, three ships.
func fleet() []thing {
	return []thing{{typ: "Isle", id: "i1", name: "one"}, {typ: "Isle", id: "i2", name: "two"},
		{"Ship", "s1", "first", "i1", 10}, {"Ship", "s2", "second", "i1", 20}, {"Ship", "S1", "third", "i2", 30}}
}

type world struct {
	*cloudtest.Cloud
	*testing.T
	sky     *sky
	account string
	uuid    string // of the endpoint
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, sky: &sky{things: fleet()}}
	w.Cloud = cloudtest.New(t, w.sky.plugin())
	w.account = w.Account()
	w.uuid = w.As(w.account).Create("APICreateSkyMsg", P{"name": "sky", "key": secret})
	return w
}

func (w *world) sync(more P) kerneltest.Row {
	w.Helper()
	p := P{"endpointUuid": w.uuid}
	for k, v := range more {
		p[k] = v
	}
	return w.As(w.account).Do("APISyncInventoryMsg", p)
}

func (w *world) counts(what string, r kerneltest.Row, state string, created, changed, removed, skipped int64) {
	w.Helper()
	w.Want(what, line(r.Text("state"), r.Int("created"), r.Int("changed"), r.Int("removed"), r.Int("skipped")), line(state, created, changed, removed, skipped))
}

// line has values with spaces between.
func line(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

// of is the row of something outside.
func (w *world) of(typ, id string) kerneltest.Row {
	w.Helper()
	rows := w.List(typ, "origin.foreignId="+id)
	rows = slices.DeleteFunc(rows, func(r kerneltest.Row) bool {
		o, _ := r["origin"].(map[string]any)
		return o["foreignId"] != id
	})
	if len(rows) != 1 {
		w.Fatalf("there are %d rows of %s %s", len(rows), typ, id)
	}
	return rows[0]
}

// What is outside becomes rows, changes them, and goes when that is applied; what a
// person has written stays.
func TestDifference(t *testing.T) {
	w := newWorld(t)
	first := w.sync(nil)
	w.counts("the first sync", first, "Done", 5, 0, 0, 0)
	ship := w.of("Ship", "s1")
	o, _ := ship["origin"].(map[string]any)
	w.Want("the origin", line(o["plugin"], o["endpointUuid"] == w.uuid, o["endpointType"]), "sky true Sky")
	w.Want("the ship", line(ship.Text("name"), ship.Int("size"), ship.Text("state"), ship.Text("isleUuid") == w.of("Isle", "i1").Text("uuid")), "first 10 Afloat true")
	w.Want("another ID that differs by letters", w.of("Ship", "S1").Text("name"), "third")
	if _, err := w.As(w.Account()).Call("APISyncInventoryMsg", P{"endpointUuid": w.uuid}); err == nil {
		t.Error("another account syncs it")
	}
	w.counts("a repeat", w.sync(nil), "Done", 0, 0, 0, 0)

	w.As(w.account).Do("APIUpdateShipMsg", P{"uuid": ship.Text("uuid"), "name": "mine"})
	w.Refused(errs.Refused, "APIUpdateShipMsg", P{"uuid": ship.Text("uuid"), "size": 11}, "size", "s1")
	w.Want("what the plugin was told", w.sky.has(), "")
	things := fleet()
	things[2].size, things[2].name, things[3].name = 12, "renamed", "named"
	w.sky.set(slices.Delete(things, 4, 5)...)
	r := w.sync(nil)
	w.counts("a sync after changes", r, "Waiting", 0, 2, 1, 0)
	w.Want("a ship that a person named", line(w.of("Ship", "s1").Text("name"), w.of("Ship", "s1").Int("size")), "mine 12")
	w.Want("one that nobody named here", w.of("Ship", "s2").Text("name"), "named")
	w.Want("one that is gone outside", w.of("Ship", "S1").Text("name"), "third")
	items := w.List("InventorySyncItem", "syncUuid="+r.Text("uuid"), "what=Removed", "state=Waiting", "foreignId=S1")
	w.Want("items that wait", len(items), 1)
	w.Want("fields of an item", w.List("InventorySyncItem", "syncUuid="+r.Text("uuid"), "what=Changed", "fields=size")[0].Text("foreignId"), "s1")
	w.Want("an applied sync", w.As(w.account).Do("APIApplyInventorySyncMsg", P{"uuid": r.Text("uuid")}).Text("state"), "Done")
	w.Want("ships after that", len(w.List("Ship")), 2)
	w.Want("calls of the plugin", w.sky.has(), "")
	w.Refused(errs.Refused, "APIApplyInventorySyncMsg", P{"uuid": w.superseded()}, "Superseded")
}

// superseded is a run with removals that another one has come after.
func (w *world) superseded() string {
	w.Helper()
	w.sky.set(fleet()[:3]...)
	r := w.sync(nil)
	w.sync(nil)
	return r.Text("uuid")
}

// With removals=apply what is gone goes at once; what others depend on stays, and is
// told; the plugin is not called for either.
func TestRemovals(t *testing.T) {
	w := newWorld(t)
	w.sync(nil)
	w.As(w.account).Do("APICreateCrewMsg", P{"name": "c", "shipUuid": w.of("Ship", "s2").Text("uuid")})
	w.sky.set(fleet()[:2]...)
	r := w.sync(P{"removals": "apply"})
	w.counts("the sync", r, "Done", 0, 0, 3, 0)
	w.Want("kept", r.Int("kept"), int64(1))
	w.Want("ships", len(w.List("Ship")), 1)
	w.Want("why one is kept", w.List("InventorySyncItem", "syncUuid="+r.Text("uuid"), "state=Kept")[0].Text("foreignId"), "s2")
	w.Want("calls", w.sky.has(), "")
	w.As(w.account).Do("APIDeleteSkyMsg", P{"uuid": w.uuid, "deleteMode": "Enforcing"})
	w.Want("what is left", len(w.List("Ship"))+len(w.List("Isle"))+len(w.List("InventorySync"))+len(w.List("InventorySyncItem")), 0)
	w.Want("origins", w.origins(), int64(0))
	w.Want("calls after the endpoint went", w.sky.has(), "")
}

func (w *world) origins() (n int64) {
	w.Helper()
	w.Ok(w.Store.Each(w.Cloud.Context(), "SELECT count(*) FROM `Origin`", nil, func(r *store.Row) error { n = r.Int(0); return nil }))
	return n
}

// A run that does not reach the last page takes nothing away, and its error has no
// secret; one whose stream breaks goes on.
func TestBroken(t *testing.T) {
	w := newWorld(t)
	w.sync(nil)
	w.sky.failed = "the key " + secret + " is not good"
	_, err := w.As(w.account).Call("APISyncInventoryMsg", P{"endpointUuid": w.uuid, "removals": "apply"})
	if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "is not good") {
		t.Fatalf("a sync that fails: %v", err)
	}
	failed := w.List("InventorySync", "state=Failed")
	if len(failed) != 1 || strings.Contains(failed[0].Text("error"), secret) || !strings.Contains(failed[0].Text("error"), "is not good") {
		t.Fatalf("runs that failed: %v", failed)
	}
	w.Want("ships", len(w.List("Ship")), 3)
	w.sky.failed, w.sky.breaks = "", 2
	w.counts("a sync that breaks twice", w.sync(nil), "Done", 0, 0, 0, 0)
	w.Want("breaks that are left", w.sky.breaks, 0)
	w.sky.set(append(fleet(), thing{"Ship", "s9", "lost", "i9", 1}, thing{"Ship", "s8", "odd", "i1", -0})...)
	w.counts("with a ship at no isle", w.sync(nil), "Done", 1, 0, 0, 1)
}

// A created ship has its origin with its row; deletes are remote or local; a sync that
// meets it while it is being made makes no second row.
func TestHybrid(t *testing.T) {
	w := newWorld(t)
	w.sync(nil)
	isle := w.of("Isle", "i1").Text("uuid")
	price := w.As(w.account).Do("APIGetShipPriceMsg", P{"skyUuid": w.uuid, "isleUuid": isle, "size": 3})
	w.Want("the price", line(price.Text("amount"), price.Text("currency"), price.Text("unit"), price.Text("period")), "3.50 EUR ship hour")
	lost := errs.New(errs.Unavailable, "sky", "lost")
	var during atomic.Pointer[kerneltest.Row]
	w.Calls.After("CreateResource", func(any) error {
		w.Calls.After("CreateResource", nil)
		r := w.sync(nil)
		during.Store(&r)
		return nil
	})
	ship := w.As(w.account).Do("APICreateShipMsg", P{"name": "new", "skyUuid": w.uuid, "isleUuid": isle, "size": 3})
	w.counts("a sync meanwhile", *during.Load(), "Done", 0, 0, 0, 1)
	made := w.of("Ship", "made-1")
	w.Want("the row", made.Text("uuid"), ship.Text("uuid"))
	w.counts("a sync afterwards", w.sync(nil), "Done", 0, 0, 0, 0)

	w.sky.has()
	w.Calls.After("CreateResource", func(any) error { return lost })
	if _, err := w.As(w.account).Call("APICreateShipMsg", P{"name": "x", "skyUuid": w.uuid, "isleUuid": isle}); err == nil {
		t.Error("a create whose answer is lost succeeds")
	}
	w.Calls.After("CreateResource", nil)
	w.Want("calls", w.sky.has(), "create made-2, delete")
	w.Want("origins", w.origins(), int64(6))
	w.counts("a sync after that", w.sync(nil), "Done", 0, 0, 0, 0)

	w.As(w.account).Do("APIDeleteShipMsg", P{"uuid": w.of("Ship", "s1").Text("uuid"), "mode": "local"})
	w.Want("calls of a local delete", w.sky.has(), "")
	w.Refused(errs.Invalid, "APIDeleteIsleMsg", P{"uuid": isle, "mode": "remote"}, "mode")
	w.As(w.account).Do("APIDeleteShipMsg", P{"uuid": made.Text("uuid")})
	w.Want("calls of a remote delete", w.sky.has(), "delete made-1")
	w.counts("a sync brings back what was forgotten", w.sync(nil), "Done", 1, 0, 0, 0)
}

// Syncs of one endpoint come one after another.
func TestOneAfterAnother(t *testing.T) {
	w := newWorld(t)
	var inside, most atomic.Int32
	w.sky.met = func() {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		time.Sleep(time.Millisecond) // gives another one the chance to be here as well
	}
	jobs := []string{w.As(w.account).Begin("APISyncInventoryMsg", P{"endpointUuid": w.uuid}), w.As(w.account).Begin("APISyncInventoryMsg", P{"endpointUuid": w.uuid})}
	created := int64(0)
	for _, job := range jobs {
		r, err := w.Wait(job)
		w.Ok(err)
		created += r.Int("created")
	}
	w.Want("made by both", created, int64(5))
	w.Want("at once", most.Load(), int32(1))
}

// clock is a clock that a test sets.
type clock struct {
	now  atomic.Int64
	tick chan time.Time
}

func (c *clock) Now() time.Time                       { return time.UnixMilli(c.now.Load()) }
func (c *clock) After(time.Duration) <-chan time.Time { return c.tick }

// At an interval a sync comes by itself when that has passed, by the setting or what the
// endpoint has in its place; few removals are applied, many are not.
func TestInterval(t *testing.T) {
	w := newWorld(t)
	s := inventory.New(w.Kernel, w.Provider)
	c := &clock{}
	s.Clock = c
	s.Declare("Sky", "Isle", "Ship")
	now := time.Now()
	runs := func(after time.Duration, want int) {
		w.Helper()
		c.now.Store(now.Add(after).UnixMilli())
		s.Round(w.Cloud.Context())
		w.Until(fmt.Sprintf("%d runs are over", want), func() bool {
			return len(w.List("InventorySync", "state!=Running")) == want
		})
		w.Idle(w.uuid)
		w.Want("runs", len(w.List("InventorySync")), want)
	}
	runs(0, 0)
	w.Do("APIUpdateResourceConfigMsg", P{"category": "inventory", "name": "Sky.interval", "resourceUuid": w.uuid, "value": "600"})
	runs(0, 1)
	runs(5*time.Minute, 1)
	w.sky.set(fleet()[:4]...)
	runs(20*time.Minute, 2)
	w.Want("ships when a fifth is gone", len(w.List("Ship")), 3)
	w.Do("APIUpdateGlobalConfigMsg", P{"category": "inventory", "name": "removal.share", "value": "20"})
	runs(40*time.Minute, 3)
	w.Want("ships when that is allowed", len(w.List("Ship")), 2)
}

// A run keeps the rules of flows: wherever it fails, is repeated or is killed.
func TestFlow(t *testing.T) {
	w := newWorld(t)
	world := func(t *testing.T) flowtest.World[inventory.Run] {
		w.sky.set(fleet()...)
		sky := w.As(w.account).Create("APICreateSkyMsg", P{"name": "sky", "key": secret})
		w.sync(P{"endpointUuid": sky})
		w.sky.set(append(fleet()[:4], thing{"Ship", "s4", "fourth", "i2", 4})...)
		run := inventory.Run{UUID: resource.NewUUID(), Endpoint: sky, Type: "Sky", Removals: "wait"}
		ships := func() int { return len(w.List("Ship", "skyUuid="+sky)) }
		return flowtest.World[inventory.Run]{
			Engine: func() *flow.Engine {
				e := flow.NewEngine(w.Store, w.Kernel.Log, w.Jobs)
				flow.Register(e, w.Inventory.Syncing())
				return e
			},
			State:   func() *inventory.Run { r := run; return &r },
			Options: flow.Options{Key: sky},
			Done: func() error {
				r := w.Get("InventorySync", run.UUID)
				got := line(r.Text("state"), r.Int("created"), r.Int("removed"), r.Int("pages"), ships(), len(w.List("InventorySyncItem", "syncUuid="+run.UUID)))
				if want := line("Waiting", 1, 1, 3, 4, 2); got != want {
					return fmt.Errorf("the run is %s, want %s", got, want)
				}
				return nil
			},
			Clean: func() error {
				if r := w.Get("InventorySync", run.UUID); r != nil && r.Text("state") != "Failed" || ships() < 3 {
					return fmt.Errorf("there are %d ships, and the run is %v", ships(), r)
				}
				return nil
			},
		}
	}
	flowtest.FailEachStep(t, w.Inventory.Syncing(), world)
	flowtest.CrashEachPoint(t, w.Inventory.Syncing(), world)
	t.Run("repeat", func(t *testing.T) {
		w.sky.set(fleet()...)
		w.sync(nil)
		w.sky.set(fleet()[:3]...)
		var r kerneltest.Row
		w.Ok(w.RepeatEachStep(func() (err error) {
			r, err = w.As(w.account).Call("APISyncInventoryMsg", P{"endpointUuid": w.uuid, "removals": "apply"})
			return err
		}))
		w.counts("it", r, "Done", 0, 0, 2, 0)
	})
}
