package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/nimbus"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// tests is both rigs' Main in one.
type tests struct{ *testing.M }

// Run keeps the MariaDB server until all tests have run.
func (m tests) Run() int { return mariadb.Main(m.M) }

func TestMain(m *testing.M) { os.Exit(server.Main(tests{m})) }

const (
	accounts  = "/nimbus-accounts"
	zones     = "/nimbus-zones"
	instances = "/nimbus-instances"
	syncs     = "/inventory-syncs"
	items     = "/inventory-syncs/items"
)

// object is an inventory.
type object map[string]any

func (o object) text(field string) string { s, _ := o[field].(string); return s }

// place is a server with the sample, and its cloud.
type place struct {
	*testing.T
	s     *server.Server
	c     *wire.Client
	cloud *nimbus.Cloud
	// account is the UUID of that of the cloud.
	account string
}

func newPlace(t *testing.T, o server.Options) *place {
	o.Plugins = []string{"nimbus"}
	s := server.Start(t, o)
	p := &place{T: t, s: s, c: s.Client, cloud: nimbus.Start(t)}
	p.account = p.do(http.MethodPost, accounts, params(wire.Params{"name": "a", "url": p.cloud.URL, "key": nimbus.Key, "secret": nimbus.Secret})).text("uuid")
	return p
}

func params(p wire.Params) map[string]any { return map[string]any{"params": p} }

// each runs a test on every kind of database.
func each(t *testing.T, test func(*place)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := server.Options{}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			p := newPlace(t, o)
			test(p)
			p.silent()
		})
	}
}

func (p *place) want(what string, got, want any) {
	p.Helper()
	if got != want {
		p.Errorf("%s is %v, want %v", what, got, want)
	}
}

// do makes a call that must succeed; its answer must have no secret.
func (p *place) do(method, path string, body any) object {
	p.Helper()
	text, err := p.c.Call(p.Context(), method, path, body)
	if err != nil {
		p.Fatal(err)
	}
	if bytes.Contains(text, []byte(nimbus.Secret)) {
		p.Errorf("%s %s answers with a secret", method, path)
	}
	var a struct {
		Inventory   object
		Inventories []object
	}
	if err := json.Unmarshal(text, &a); err != nil {
		p.Fatal(err)
	}
	if a.Inventory == nil && len(a.Inventories) == 1 {
		return a.Inventories[0]
	}
	if a.Inventory == nil {
		_ = json.Unmarshal(text, &a.Inventory) // it was read above
	}
	return a.Inventory
}

func (p *place) refused(method, path string, body any, words ...string) {
	p.Helper()
	_, err := p.c.Call(p.Context(), method, path, body)
	if err == nil {
		p.Fatalf("%s %s was not refused", method, path)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			p.Errorf("%s %s: %q does not say %q", method, path, err, w)
		}
	}
	if strings.Contains(err.Error(), nimbus.Secret) {
		p.Errorf("%s %s: the error has a secret", method, path)
	}
}

func (p *place) count(path string, conditions ...string) int64 {
	p.Helper()
	n, err := p.c.Count(p.Context(), path, conditions...)
	if err != nil {
		p.Fatal(err)
	}
	return n
}

func (p *place) sync() object {
	p.Helper()
	return p.do(http.MethodPost, syncs, params(wire.Params{"endpointUuid": p.account}))
}

// of is the row of something outside.
func (p *place) of(path, id string) object {
	p.Helper()
	p.want("rows of "+id, p.count(path, "origin.foreignId="+id), int64(1))
	return p.do(http.MethodGet, path+"?q=origin.foreignId="+id, nil)
}

// counts are those of a sync.
func (p *place) counts(what string, o object, state string, created, changed, removed float64) {
	p.Helper()
	p.want(what, fmt.Sprintln(o["state"], o["created"], o["changed"], o["removed"]), fmt.Sprintln(state, created, changed, removed))
}

// silent looks for the secret in the server's log.
func (p *place) silent() {
	p.Helper()
	text, err := os.ReadFile(filepath.Join(p.s.Dir, "kumo.log"))
	if err != nil || len(text) == 0 {
		p.Fatalf("the log has %d bytes: %v", len(text), err)
	}
	if bytes.Contains(text, []byte(nimbus.Secret)) {
		p.Error("the log has a secret")
	}
}

func TestSync(t *testing.T) {
	each(t, func(p *place) {
		p.cloud.Throttle(3)
		p.counts("the first sync", p.sync(), "Done", 6, 0, 0)
		i := p.of(instances, "i-1")
		o, _ := i["origin"].(map[string]any)
		p.want("the origin", fmt.Sprintln(o["plugin"], o["endpointUuid"] == p.account, o["foreignId"]), fmt.Sprintln("nimbus", true, "i-1"))
		p.want("instances of a zone by its foreign ID", p.count(instances, "zone.origin.foreignId=z-1"), int64(2))
		path := instances + "/" + i.text("uuid")
		p.do(http.MethodPut, path+"/actions", map[string]any{"updateNimbusInstance": wire.Params{"name": "mine"}})

		all := p.cloud.Things("instances")
		all[0].Name, all[0].Size = "theirs", 8
		p.cloud.Set("instances", all[:2]...)
		s := p.sync()
		p.counts("a sync after changes", s, "Waiting", 0, 1, 1)
		i = p.of(instances, "i-1")
		p.want("the instance", fmt.Sprintln(i["name"], i["size"]), fmt.Sprintln("mine", 8.0))
		p.want("items that wait", p.count(items, "syncUuid="+s.text("uuid"), "what=Removed", "state=Waiting"), int64(1))
		p.want("instances that are there until then", p.count(instances), int64(3))
		s = p.do(http.MethodPut, syncs+"/"+s.text("uuid")+"/actions", map[string]any{"applyInventorySync": wire.Params{}})
		p.want("the sync", s["state"], "Done")
		p.want("instances", p.count(instances), int64(2))

		p.do(http.MethodPut, accounts+"/"+p.account+"/actions", map[string]any{"updateNimbusAccount": wire.Params{"secret": "wrong-" + nimbus.Secret}})
		p.refused(http.MethodPost, syncs, params(wire.Params{"endpointUuid": p.account, "removals": "apply"}), "the signature is not that of")
		p.want("instances after a sync that failed", p.count(instances), int64(2))
		p.want("syncs that failed", p.count(syncs, "state=Failed"), int64(1))
	})
}

func TestInstances(t *testing.T) {
	each(t, func(p *place) {
		p.sync()
		zone := p.of(zones, "z-2").text("uuid")
		price := p.do(http.MethodGet, instances+"/price?size=4&nimbusAccountUuid="+p.account+"&zoneUuid="+zone, nil)
		p.want("the price", fmt.Sprintln(price["amount"], price["currency"], price["unit"], price["period"]), fmt.Sprintln("4.25", "EUR", "instance", "hour"))
		made := p.do(http.MethodPost, instances, params(wire.Params{"name": "new", "nimbusAccountUuid": p.account, "zoneUuid": zone, "size": 4}))
		p.want("the row of what was made", p.of(instances, "i-new-1").text("uuid"), made.text("uuid"))
		out := p.cloud.Things("instances")
		p.want("what is outside", fmt.Sprintln(out[3].In, out[3].Size), fmt.Sprintln("z-2", 4))
		p.counts("a sync after that", p.sync(), "Done", 0, 0, 0)
		if err := p.c.Delete(p.Context(), instances+"/"+p.of(instances, "i-1").text("uuid")+"?mode=local"); err != nil {
			p.Fatal(err)
		}
		p.want("outside, after a local delete", len(p.cloud.Things("instances")), 4)
		if err := p.c.Delete(p.Context(), instances+"/"+made.text("uuid")); err != nil {
			p.Fatal(err)
		}
		p.want("outside, after a remote delete", len(p.cloud.Things("instances")), 3)
		p.refused(http.MethodDelete, zones+"/"+zone+"?mode=remote", nil, "mode")
		p.counts("a sync brings back what was forgotten", p.sync(), "Done", 1, 0, 0)
		if err := p.c.Delete(p.Context(), accounts+"/"+p.account); err != nil {
			p.Fatal(err)
		}
		p.want("rows without the account", p.count(instances)+p.count(zones)+p.count(syncs)+p.count(items), int64(0))
		p.want("outside, without the account", len(p.cloud.Things("instances")), 3)
	})
}

// Two syncs of one endpoint come one after another.
func TestTwoAtOnce(t *testing.T) {
	each(t, func(p *place) {
		held, release := p.cloud.HoldPage(2)
		defer release()
		job := func(n int) string { return fmt.Sprintf("%032x", time.Now().UnixNano()+int64(n)) }
		first, second := job(1), job(2)
		body := params(wire.Params{"endpointUuid": p.account})
		p.s.Begin(first, http.MethodPost, syncs, body)
		<-held
		p.s.Begin(second, http.MethodPost, syncs, body)
		p.want("runs while one is at it", p.count(syncs), int64(1))
		release()
		for _, job := range []string{first, second} {
			if err := p.s.Outcome(job); err != nil {
				p.Error(err)
			}
		}
		p.want("runs", p.count(syncs, "state=Done"), int64(2))
		p.want("things", p.count(instances)+p.count(zones), int64(5))
		p.want("pages at once", p.cloud.Most(), 1)
	})
}

// The core is killed while a sync waits for a page: the run goes on from its cursor
// after the next start, and makes nothing twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	for page := 1; page <= 4; page++ {
		t.Run(fmt.Sprint("page ", page), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, server.Options{MayDie: true})
			held, release := p.cloud.HoldPage(page)
			defer release()
			job := fmt.Sprintf("%032x", time.Now().UnixNano())
			p.s.Begin(job, http.MethodPost, syncs, params(wire.Params{"endpointUuid": p.account}))
			<-held
			p.s.Kill()
			release()
			p.s = p.s.Again()
			p.c = p.s.Client
			if err := p.s.Outcome(job); err != nil {
				t.Errorf("the sync that was killed: %v", err)
			}
			run := p.do(http.MethodGet, syncs, nil)
			p.counts("the run", run, "Done", 6, 0, 0)
			p.want("things", p.count(instances)+p.count(zones), int64(5))
			p.counts("the next one", p.sync(), "Done", 0, 0, 0)
			p.silent()
		})
	}
}
