package query_test

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

// BenchmarkQuery runs queries against KUMO_BENCH_VMS virtual machines (100000
// when unset), each with a NIC and an address, on 1000 hosts in 20 clusters in
// two zones, with 500 networks. It reports the 99th percentile. With
// KUMO_BENCH_DSN that database is filled, if it is empty, and kept.
func BenchmarkQuery(b *testing.B) {
	vms, err := strconv.Atoi(os.Getenv("KUMO_BENCH_VMS"))
	if err != nil {
		vms = 100000
	}
	if dsn := os.Getenv("KUMO_BENCH_DSN"); dsn != "" {
		b.Run("kept", func(b *testing.B) { benchmarkQueries(b, storetest.OpenDSN(b, dsn, sample()...), vms) })
		return
	}
	b.Run("sqlite", func(b *testing.B) { benchmarkQueries(b, storetest.Open(b, sample()...), vms) })
	b.Run("mariadb", func(b *testing.B) { benchmarkQueries(b, storetest.OpenDSN(b, mariadb.Start(b), sample()...), vms) })
}

func benchmarkQueries(b *testing.B, s *store.Store, vms int) {
	uuids, err := store.Texts(ctx, s, "SELECT uuid FROM VmInstance LIMIT ?", vms)
	if err != nil {
		b.Fatal(err)
	}
	if len(uuids) == 0 {
		uuids = fill(b, s, vms)
	}
	e := query.New(s, s.Registry())
	for _, c := range []struct{ name, q string }{
		{"one", "q=uuid=" + uuids[vms/2]},
		{"name", fmt.Sprintf("q=name=vm-%d", vms/3)},
		{"list-20", "q=state=Running&limit=20"},
		{"list-newest-20", "sort=-createDate&limit=20"},
		{"list-state-newest-20", "q=state=Running&sort=-createDate&limit=20"},
		{"list-1000", "limit=1000"},
		{"count-host", "q=hostUuid=" + hostUUID(7) + "&count=true"},
		{"nested-4-selective", "q=vmNics.l3Network.zone.name=zone-1&q=vmNics.l3Network.name=net-17&q=vmNics.eip.guestIp=10.9.9.9&limit=20"},
		{"nested-4-network", "q=vmNics.eip.vmNic.l3Network.name=net-17&limit=20"},
		{"nested-4-zone", "q=host.cluster.zone.name=zone-1&q=vmNics.l3Network.name=net-17&limit=20"},
		{"nested-4-wide", "q=vmNics.l3Network.zone.name~=zone%25&limit=100"},
		{"lists-of-lists", "q=host.cluster.host.cluster.host.managementIp~=%25x%25&limit=20"},
		{"nested-3-like", "q=host.cluster.zone.name=zone-1&q=name~=vm-99%25&limit=20"},
	} {
		v, err := url.ParseQuery(c.q)
		if err != nil {
			b.Fatal(err)
		}
		q, err := query.Parse(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				begin := time.Now()
				res, err := e.Run(ctx, "VmInstance", q, query.Scope{Admin: true})
				if err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(begin))
				if c.name == "one" && len(res.Inventories) != 1 {
					b.Fatalf("%d inventories", len(res.Inventories))
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
		})
	}
	b.Run("one-parallel", func(b *testing.B) {
		q := query.Query{Conditions: []query.Condition{{Name: "uuid", Op: query.Eq, Value: uuids[5]}}}
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := e.Run(ctx, "VmInstance", q, query.Scope{Admin: true}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func hostUUID(i int) string { return fmt.Sprintf("%032d", i) }

// fill stores the cloud and returns the uuids of the machines.
func fill(b *testing.B, s *store.Store, vms int) (uuids []string) {
	reg := s.Registry()
	put := func(tx *store.Tx, typ string, row map[string]any) error {
		t, _ := reg.Get(typ)
		if row["uuid"] == nil {
			row["uuid"] = resource.NewUUID()
		}
		return store.InsertValues(ctx, tx, t, row)
	}
	do := func(fn func(tx *store.Tx) error) {
		if err := s.Update(ctx, fn); err != nil {
			b.Fatal(err)
		}
	}
	do(func(tx *store.Tx) (err error) {
		for i := range 2 {
			err = first(err, put(tx, "Zone", map[string]any{"uuid": fmt.Sprint("z", i), "name": fmt.Sprint("zone-", i)}))
		}
		for i := range 20 {
			err = first(err, put(tx, "Cluster", map[string]any{"uuid": fmt.Sprint("c", i), "name": fmt.Sprint("cluster-", i), "zoneUuid": fmt.Sprint("z", i%2)}))
		}
		for i := range 1000 {
			err = first(err, put(tx, "Host", map[string]any{"uuid": hostUUID(i), "name": fmt.Sprint("host-", i), "clusterUuid": fmt.Sprint("c", i%20), "hypervisorType": "KVM"}))
		}
		for i := range 500 {
			err = first(err, put(tx, "L3Network", map[string]any{"uuid": fmt.Sprint("l", i), "name": fmt.Sprint("net-", i), "zoneUuid": fmt.Sprint("z", i%2)}))
		}
		return err
	})
	for from := 0; from < vms; from += 2000 {
		do(func(tx *store.Tx) (err error) {
			for i := from; i < min(vms, from+2000); i++ {
				vm, nic := resource.NewUUID(), resource.NewUUID()
				uuids = append(uuids, vm)
				state := "Running"
				if i%10 == 0 {
					state = "Stopped"
				}
				err = first(err, put(tx, "VmInstance", map[string]any{"uuid": vm, "name": fmt.Sprint("vm-", i), "state": state, "hostUuid": hostUUID(i % 1000), "type": "UserVm", "cpuNum": 2, "memorySize": 1 << 30}))
				err = first(err, put(tx, "VmNic", map[string]any{"uuid": nic, "vmInstanceUuid": vm, "l3NetworkUuid": fmt.Sprint("l", i%500), "ip": fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}))
				err = first(err, put(tx, "UsedIp", map[string]any{"vmNicUuid": nic, "ip": "10.0.0.1"}))
				err = first(err, put(tx, "Volume", map[string]any{"vmInstanceUuid": vm, "name": "root"}))
				if i%100 == 17 {
					err = first(err, put(tx, "Eip", map[string]any{"vmNicUuid": nic, "guestIp": "10.9.9.9"}))
				}
			}
			return err
		})
	}
	return uuids
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
