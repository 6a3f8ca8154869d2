package suite

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// tests is both rigs' Main in one.
type tests struct{ *testing.M }

// Run keeps the MariaDB server until all tests have run.
func (m tests) Run() int { return mariadb.Main(m.M) }

func TestMain(m *testing.M) { os.Exit(server.Main(tests{m})) }

// Sizes of the lab's cloud.
const (
	hosts      = 2
	hostCPUs   = 8
	hostMemory = 8 << 30
	storage    = 100 << 30
	imageSize  = 1 << 30
	vmMemory   = 64 << 20
)

// lab is a server with a small cloud.
type lab struct {
	*testing.T
	s     *server.Server
	c     *wire.Client
	db    *sql.DB
	cloud *wire.Cloud
}

// each runs a test on every kind of database, with a cloud unless bare. The
// server has the simulator plugin, and others if they are named.
func each(t *testing.T, bare bool, test func(*lab), plugins ...string) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := server.Options{Plugins: append([]string{"simulator"}, plugins...)}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			s := server.Start(t, o)
			l := &lab{T: t, s: s, c: s.Client, db: s.Database()}
			if !bare {
				var err error
				l.cloud, err = wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: "lab", Hosts: hosts, HostCPUs: hostCPUs, HostMemory: hostMemory, Storage: storage})
				if err != nil {
					t.Fatal(err)
				}
			}
			test(l)
			s.Settle(l.db)
			s.Audit(l.db)
		})
	}
}

// object is an inventory.
type object map[string]any

func (o object) text(field string) string { s, _ := o[field].(string); return s }

func (o object) number(field string) int64 { n, _ := o[field].(float64); return int64(n) }

func (o object) list(field string) []object {
	var list []object
	items, _ := o[field].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		list = append(list, m)
	}
	return list
}

// create makes a resource and returns its inventory.
func (l *lab) create(path string, p wire.Params) object {
	l.Helper()
	return l.inventory(http.MethodPost, path, map[string]any{"params": p})
}

// act makes an action call and returns the inventory in its answer.
func (l *lab) act(path, action string, p wire.Params) object {
	l.Helper()
	if p == nil {
		p = wire.Params{}
	}
	return l.inventory(http.MethodPut, path+"/actions", map[string]any{action: p})
}

func (l *lab) inventory(method, path string, body any) object {
	l.Helper()
	answer, err := l.c.Call(l.Context(), method, path, body)
	if err != nil {
		l.Fatal(err)
	}
	var a struct{ Inventory object }
	if err := json.Unmarshal(answer, &a); err != nil {
		l.Fatal(err)
	}
	return a.Inventory
}

// set changes a setting.
func (l *lab) set(category, name, value string) {
	l.Helper()
	l.inventory(http.MethodPut, "/global-configurations/"+category+"/"+name+"/actions", map[string]any{"updateGlobalConfig": wire.Params{"value": value}})
}

func (l *lab) remove(path string) {
	l.Helper()
	if err := l.c.Delete(l.Context(), path); err != nil {
		l.Fatal(err)
	}
}

// refused fails the test unless a call fails with a code.
func (l *lab) refused(code, method, path string, body any) {
	l.Helper()
	answer, err := l.c.Call(l.Context(), method, path, body)
	if wire.Code(err) != code {
		l.Errorf("%s %s: %s, %v; want %s", method, path, answer, err, code)
	}
}

// get reads one resource by its UUID.
func (l *lab) get(path, uuid string) object {
	l.Helper()
	found := l.query(path, "uuid="+uuid)
	if len(found) != 1 {
		l.Fatalf("%s has %d of %s", path, len(found), uuid)
	}
	return found[0]
}

func (l *lab) query(path string, conditions ...string) []object {
	l.Helper()
	page, err := l.c.Query(l.Context(), path, conditions...)
	if err != nil {
		l.Fatal(err)
	}
	return l.objects(page)
}

func (l *lab) objects(page wire.Page) []object {
	l.Helper()
	list := make([]object, len(page.Inventories))
	for i, raw := range page.Inventories {
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			l.Fatal(err)
		}
	}
	return list
}

// queryWith queries with any parameters.
func (l *lab) queryWith(path string, v url.Values) ([]object, int64) {
	l.Helper()
	page, err := l.c.QueryWith(l.Context(), path, v)
	if err != nil {
		l.Fatal(err)
	}
	return l.objects(page), page.Total
}

// want compares one value.
func (l *lab) want(what string, got, want any) {
	l.Helper()
	if got != want {
		l.Errorf("%s is %v, want %v", what, got, want)
	}
}

// gone fails the test unless a resource is no more.
func (l *lab) gone(path, uuid string) {
	l.Helper()
	if found := l.query(path, "uuid="+uuid); len(found) != 0 {
		l.Errorf("%s still has %s: %v", path, uuid, found[0])
	}
}

// vm makes a guest.
func (l *lab) vm(name string, change wire.Params, system ...string) object {
	l.Helper()
	p := l.cloud.VM(name)
	for k, v := range change {
		p[k] = v
	}
	return l.inventory(http.MethodPost, wire.VMs, map[string]any{"params": p, "systemTags": system})
}

// capacity is what can still be promised to guests, in the cloud: what cached
// images hold is left out, for they come with the first guest.
type capacity struct{ cpus, memory, bytes int64 }

func (l *lab) capacity() capacity {
	l.Helper()
	var c capacity
	for _, h := range l.query(wire.Hosts) {
		c.cpus += h.number("availableCpuCapacity")
		c.memory += h.number("availableMemoryCapacity")
	}
	_, cached := l.cached(l.cloud.PrimaryStorage)
	c.bytes = l.get(wire.PrimaryStorages, l.cloud.PrimaryStorage).number("availableCapacity") + cached
	return c
}

// cached tells how many images a primary storage's cache has, and their bytes.
func (l *lab) cached(primary string) (images int, bytes int64) {
	l.Helper()
	if err := l.db.QueryRowContext(l.Context(), "SELECT COUNT(*), COALESCE(SUM(`size`), 0) FROM `ImageCache` WHERE `primaryStorageUuid` = ?", primary).Scan(&images, &bytes); err != nil {
		l.Fatal(err)
	}
	return images, bytes
}

// took fails the test unless just so much was taken since.
func (l *lab) took(what string, since capacity, cpus, memory, bytes int64) {
	l.Helper()
	now := l.capacity()
	if got := (capacity{since.cpus - now.cpus, since.memory - now.memory, since.bytes - now.bytes}); got != (capacity{cpus, memory, bytes}) {
		l.Errorf("%s holds %+v, want %+v", what, got, capacity{cpus, memory, bytes})
	}
}
