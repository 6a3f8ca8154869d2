package suite

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
)

// graph is what the registry says of types, by their names.
type graph map[string]*resource.Type

func graphOf() graph {
	g := graph{}
	for _, t := range assembly.Types() {
		g[t.Name] = t
	}
	return g
}

// thing is a row of a type.
type thing struct{ typeName, uuid string }

// needs lists what a guest needs, or has, directly or not: its own rows first, then,
// by the edges of the registry, all that these depend on. Where two of them are
// attached to each other by a row of a type that people do not see, the other end
// counts as well.
func (l *lab) needs(g graph, vm string) []thing {
	l.Helper()
	all := []thing{{"VmInstance", vm}}
	seen := map[thing]bool{all[0]: true}
	add := func(typeName, query string, args ...any) {
		for _, uuid := range l.uuids(query, args...) {
			if t := (thing{typeName, uuid}); !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	into := func(i int, internal bool) {
		for _, t := range assembly.Types() {
			for _, e := range t.Edges {
				if e.To == all[i].typeName && e.Column != "uuid" && e.ToColumn == "uuid" && (!internal || t.Internal) {
					add(t.Name, "SELECT `uuid` FROM `"+t.Name+"` WHERE `"+e.Column+"` = ?", all[i].uuid)
				}
			}
		}
	}
	for i := 0; i < len(all); i++ {
		into(i, false)
	}
	own := len(all)
	for i := 0; i < len(all); i++ {
		for _, e := range g[all[i].typeName].Edges {
			if e.Column != "uuid" && g[e.To] != nil {
				add(e.To, "SELECT `uuid` FROM `"+e.To+"` WHERE `"+e.ToColumn+"` IN (SELECT `"+e.Column+"` FROM `"+all[i].typeName+"` WHERE `uuid` = ?)", all[i].uuid)
			}
		}
		if i >= own {
			into(i, true)
		}
	}
	return all
}

func (l *lab) uuids(query string, args ...any) []string {
	l.Helper()
	rows, err := l.db.QueryContext(l.Context(), query, args...)
	if err != nil {
		l.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var uuid string
		if err := rows.Scan(&uuid); err != nil {
			l.Fatal(err)
		}
		list = append(list, uuid)
	}
	if err := rows.Err(); err != nil {
		l.Fatal(err)
	}
	return list
}

// kinds are the types, with a path, of what a guest needs.
func kinds(g graph, needs []thing) (names []string, of map[string]string) {
	of = map[string]string{}
	for _, t := range needs {
		if _, known := of[t.typeName]; !known && g[t.typeName].Path != "" {
			of[t.typeName] = t.uuid
			names = append(names, t.typeName)
		}
	}
	return names, of
}

// victim is a guest under which something is deleted.
type victim struct{ uuid, ip, nic, host string }

// cloudOfOne makes a cloud with a running guest.
func (l *lab) cloudOfOne(n int) victim {
	l.Helper()
	var err error
	l.cloud, err = wire.NewCloud(l.Context(), l.c, wire.Spec{Name: fmt.Sprintf("c%d", n), Hosts: 2, HostCPUs: hostCPUs, HostMemory: hostMemory, Storage: storage, TakenIPs: 2 * n})
	if err != nil {
		l.Fatal(err)
	}
	vm := l.vm("victim", wire.Params{"dataDiskSizes": []int64{1 << 20}})
	nic := vm.list("vmNics")[0]
	return victim{vm.text("uuid"), nic.text("ip"), nic.text("uuid"), vm.text("hostUuid")}
}

// whole fails the test unless a guest that runs has its record, its NIC with its
// address, and its part of its host, and no second guest is given the address. One
// whose host was deleted, which it may only be while that does not answer, is Unknown
// with all the rest, or noted.
func (l *lab) whole(when string, v victim, silent bool) {
	l.Helper()
	guest := l.s.World().VMs[v.uuid]
	found := l.query(wire.VMs, "uuid="+v.uuid)
	hosts := l.query(wire.Hosts, "uuid="+v.host)
	if !guest.Active() {
		return
	}
	plugged := slices.ContainsFunc(guest.NICs, func(n world.NIC) bool { return n.UUID == v.nic })
	switch {
	case len(hosts) == 0 && !silent:
		l.Errorf("%s: the guest runs, and the host that it runs on, and that answers, is gone", when)
	case len(found) == 0 && len(hosts) == 1:
		l.Errorf("%s: the guest runs, and has no record", when)
	case len(found) == 0:
		if len(l.uuids("SELECT `uuid` FROM `GCJob` WHERE `resourceUuid` = ? AND `leftover` IS NOT NULL", v.uuid)) == 0 {
			l.Errorf("%s: the guest may run, has no record, and nothing says so", when)
		}
		return
	case len(hosts) == 1:
		l.want(when+": host of the guest", found[0].text("hostUuid"), v.host)
	default:
		l.want(when+": state of the guest", found[0].text("state"), "Unknown")
	}
	nics := l.query(wire.VMNics, "uuid="+v.nic)
	if (len(nics) == 1) != plugged || plugged && nics[0].text("ip") != v.ip { // to delete a NIC is to pull it out
		l.Errorf("%s: the guest runs, and its NIC with %s (plugged in: %t) is %v", when, v.ip, plugged, nics)
	}
	if plugged && len(l.uuids("SELECT `uuid` FROM `UsedIp` WHERE `vmNicUuid` = ? AND `ip` = ?", v.nic, v.ip)) != 1 {
		l.Errorf("%s: the guest runs with %s, which is free", when, v.ip)
	}
	for _, column := range []string{"Cpu", "Memory"} {
		of := map[string]string{"Cpu": "cpuNum", "Memory": "memorySize"}[column]
		if wrong := l.uuids("SELECT h.`name` FROM `Host` h WHERE h.`available" + column + "Capacity` <> h.`total" + column + "Capacity` - " +
			"(SELECT COALESCE(SUM(v.`" + of + "`), 0) FROM `VmInstance` v WHERE v.`hostUuid` = h.`uuid`)"); len(wrong) > 0 {
			l.Errorf("%s: %s does not add up on hosts %v", when, of, wrong)
		}
	}
	if !plugged {
		return
	}
	p := l.cloud.VM("thief")
	tag := "staticIp::" + l.cloud.L3Network + "::" + v.ip
	if _, err := l.c.Call(l.Context(), http.MethodPost, wire.VMs, map[string]any{"params": p, "systemTags": []string{tag}}); err == nil {
		l.Errorf("%s: another guest was given %s", when, v.ip)
	}
}

// force deletes a row by force and returns its error.
func (l *lab) force(g graph, typeName, uuid string) error {
	return l.c.Delete(l.Context(), g[typeName].Path+"/"+uuid+"?deleteMode=Enforcing")
}

// clear deletes a whole cloud.
func (l *lab) clear(g graph) {
	l.Helper()
	c := l.cloud
	for _, t := range []thing{{"Zone", c.Zone}, {"Image", c.Image}, {"BackupStorage", c.BackupStorage}, {"InstanceOffering", c.Offering}} {
		if t.typeName == "BackupStorage" && len(l.query(wire.Images, "uuid="+c.Image)) == 1 {
			l.act(wire.Images+"/"+c.Image, "expungeImage", nil)
		}
		if err := l.force(g, t.typeName, t.uuid); err != nil {
			l.Errorf("%s is not deleted: %v", t.typeName, err)
		}
	}
}

// onBoth runs a test with a server on each kind of database, which may leave it as it
// likes.
func onBoth(t *testing.T, test func(*lab)) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := server.Options{}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			s := server.Start(t, o)
			test(&lab{T: t, s: s, c: s.Client, db: s.Database()})
		})
	}
}

// ends are the ways in which a host does, or does not, what ends a guest.
const (
	refuses = "StopVM:fail=unavailable;DestroyVM:fail=unavailable"
	hangs   = "StopVM:hang=100ms;DestroyVM:hang=100ms"
	silence = refuses + ";ListVMs:fail=unavailable"
)

// Whatever a running guest needs is deleted by force, while its host answers and
// cannot end it, and when it can: what runs keeps what it has, and in the end nothing
// is left of it anywhere.
func TestEnds(t *testing.T) {
	onBoth(t, func(l *lab) {
		g := graphOf()
		names, _ := kinds(g, l.needs(g, l.cloudOfOne(0).uuid))
		l.Logf("a guest needs %v", names)
		l.clear(g)
		kept, deleted := 0, 0
		for i, name := range names {
			for j, faults := range []string{refuses, hangs, ""} {
				v := l.cloudOfOne(1 + 3*i + j)
				_, of := kinds(g, l.needs(g, v.uuid))
				when := fmt.Sprintf("%s, %q", name, faults)
				l.s.Faults(faults)
				if err := l.force(g, name, of[name]); err == nil {
					deleted++
				}
				if l.s.World().VMs[v.uuid].Active() {
					kept++
				}
				l.whole(when, v, false)
				l.s.Faults("")
				l.s.Settle(l.db)
				l.clear(g)
			}
		}
		l.s.Settle(l.db)
		if kept < 2*len(names) || deleted < len(names) {
			l.Errorf("of %d types %d deletes left the guest running, %d worked: the test shows nothing", len(names), kept, deleted)
		}
		l.set("flow", "undo.interval", "1")
		l.s.Swept(l.db)
		l.s.AuditRows(l.db)
		// A store that is deleted keeps its images.
		if w := l.s.World(); len(w.Hosts)+len(w.VMs)+len(w.Volumes)+len(w.Bridges)+len(w.Bindings) != 0 {
			l.Errorf("left in the simulated world: %d hosts, %d guests, %d volumes, %d bridges, %d bindings",
				len(w.Hosts), len(w.VMs), len(w.Volumes), len(w.Bridges), len(w.Bindings))
		}
	})
}

// The same while the host does not answer: nobody knows whether the guest runs, so it
// keeps what it has, also when its host is deleted; or there is a note of it.
func TestEndsInSilence(t *testing.T) {
	onBoth(t, func(l *lab) {
		g := graphOf()
		names, _ := kinds(g, l.needs(g, l.cloudOfOne(0).uuid))
		lost := 0
		for i, name := range names {
			v := l.cloudOfOne(1 + i)
			_, of := kinds(g, l.needs(g, v.uuid))
			l.s.Faults(silence)
			_ = l.force(g, name, of[name]) // it may be refused
			if len(l.query(wire.Hosts, "uuid="+v.host)) == 0 {
				lost++
			}
			l.whole(name, v, true)
			l.s.Faults("")
			if found := l.query(wire.VMs, "uuid="+v.uuid); len(found) == 1 && found[0].text("hostUuid") == "" && found[0].text("state") == "Unknown" {
				// Its owner says that it is over, and it starts elsewhere, or is to.
				l.want("stopped", l.act(wire.VMs+"/"+v.uuid, "stopVmInstance", nil).text("state"), "Stopped")
			}
		}
		if lost < 3 { // the host's, the cluster's and the zone's
			l.Errorf("%d of the deletes took the host along: the test shows nothing", lost)
		}
	})
}
