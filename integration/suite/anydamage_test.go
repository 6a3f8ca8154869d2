//go:build storm

package suite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// harm is a value in a column of a row that cannot be read there.
type harm struct {
	table, uuid, column string
	before, value       any
}

func (h harm) String() string {
	return fmt.Sprintf("%s %s.%s = %q", h.table, h.uuid, h.column, h.value)
}

// damageTime is usual for TestDamage.
const damageTime = 30 * time.Second

// TestDamage writes, into one row of each type that a cloud has, a value that a random
// column cannot hold: the server starts with all of them, another cloud works as if
// nothing had happened, and the doctor names each that is there still. SQLite keeps whatever somebody
// writes into a column.
func TestDamage(t *testing.T) {
	length, seed := server.Storm(t, damageTime)
	r := rand.New(rand.NewPCG(seed, 0))
	s := server.Start(t, server.Options{Plugins: []string{"simulator"}})
	l := &lab{T: t, s: s, c: s.Client, db: s.Database()}
	made := func(name string, taken int) (cloud *wire.Cloud, vm string) {
		var err error
		l.cloud, err = wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: name, Hosts: 1, TakenIPs: taken})
		if err != nil {
			t.Fatal(err)
		}
		return l.cloud, l.vm(name, wire.Params{"dataDiskSizes": []int64{1 << 30}}, "userdata::YQ==", "hostname::"+name).text("uuid")
	}
	good, spared := made("good", 0)
	before := l.rowsNow()
	bad, hit := made("bad", 1)
	s.Settle(l.db)
	after := l.rowsNow()
	binary, _ := server.Build(t, "simulator")
	again := func(change func()) {
		t.Helper()
		s.Stop()
		change()
		s = s.Again()
		l.s, l.c, l.db = s, s.Client, s.Database()
	}
	works := func(cloud *wire.Cloud, vm string) {
		t.Helper()
		l.cloud = cloud
		wait(t, "its host connects", func() bool { return l.get(wire.Hosts, cloud.Hosts[0]).text("status") == "Connected" })
		wait(t, "its guest is known", func() bool { return l.get(wire.VMs, vm).text("state") == "Running" })
		l.act(wire.Hosts+"/"+cloud.Hosts[0], "reconnectHost", nil)
		l.act(wire.VMs+"/"+vm, "stopVmInstance", nil)
		l.act(wire.VMs+"/"+vm, "startVmInstance", nil)
		fresh := wire.VMs + "/" + l.vm("fresh", nil).text("uuid")
		l.remove(fresh)
		l.act(fresh, "expungeVmInstance", nil)
	}
	for begin := time.Now(); time.Since(begin) < length; {
		var all []harm
		for _, table := range slices.Sorted(maps.Keys(after)) {
			fresh := slices.DeleteFunc(slices.Clone(after[table]), func(uuid string) bool { return slices.Contains(before[table], uuid) })
			if h, ok := l.harm(r, table, fresh); ok {
				all = append(all, h)
			}
		}
		again(func() {
			for _, h := range all {
				t.Log(h)
				s.Write("UPDATE `"+h.table+"` SET `"+h.column+"` = ? WHERE `uuid` = ?", h.value, h.uuid)
			}
		})
		works(good, spared)
		text, err := exec.CommandContext(t.Context(), binary, "doctor", "--data-dir", s.Dir, "-o", "json").Output()
		if err != nil {
			t.Fatalf("the doctor: %v: %s", err, text)
		}
		var found []struct{ Type, UUID, Field string }
		if err := json.Unmarshal(text, &found); err != nil {
			t.Fatalf("the doctor: %v: %s", err, text)
		}
		for _, h := range all {
			var now any
			query := "SELECT `" + h.column + "` FROM `" + h.table + "` WHERE `uuid` = ?"
			if err := l.db.QueryRowContext(t.Context(), query, h.uuid).Scan(&now); err != nil || !reflect.DeepEqual(now, h.value) {
				continue // the server has written it anew, or removed the row
			}
			if !slices.Contains(found, struct{ Type, UUID, Field string }{h.table, h.uuid, h.column}) {
				t.Errorf("the doctor says nothing of %v", h)
			}
		}
		again(func() {
			for _, h := range all {
				s.Write("UPDATE `"+h.table+"` SET `"+h.column+"` = ? WHERE `uuid` = ?", h.before, h.uuid)
			}
		})
		works(good, spared)
		works(bad, hit)
	}
	s.Settle(l.db)
}

// rowsNow are the UUIDs of the rows of each table that has such.
func (l *lab) rowsNow() map[string][]string {
	l.Helper()
	all := map[string][]string{}
	for _, table := range l.uuids("SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'uuid' WHERE m.type = 'table'") {
		all[table] = l.uuids("SELECT `uuid` FROM `" + table + "` ORDER BY 1")
	}
	return all
}

// harm thinks of a value for one of the rows of a table that one of its columns cannot
// hold; false when there is none. Columns that are empty, and those of secrets, which
// are bytes, can hold all that it thinks of.
func (l *lab) harm(r *rand.Rand, table string, rows []string) (harm, bool) {
	l.Helper()
	columns := l.uuids("SELECT name || ' ' || type FROM pragma_table_info(?) WHERE name <> 'uuid'", table)
	if len(rows) == 0 {
		return harm{}, false
	}
	h := harm{table: table, uuid: rows[r.IntN(len(rows))]}
	for _, i := range r.Perm(len(columns)) {
		column, kind, _ := strings.Cut(columns[i], " ")
		query := "SELECT `" + column + "` FROM `" + table + "` WHERE `uuid` = ?"
		err := l.db.QueryRowContext(l.Context(), query, h.uuid).Scan(&h.before)
		if errors.Is(err, sql.ErrNoRows) { // some rows are not kept for long
			return h, false
		}
		if err != nil {
			l.Fatal(err)
		}
		if _, secret := h.before.([]byte); secret || h.before == nil {
			continue
		}
		bytes := []byte{0, 0xff, byte(r.IntN(256))}
		h.column, h.value = column, bytes
		if strings.Contains(strings.ToUpper(kind), "INT") {
			h.value = []any{"many", "{", "ü", "", bytes}[r.IntN(5)]
		}
		return h, true
	}
	return h, false
}
