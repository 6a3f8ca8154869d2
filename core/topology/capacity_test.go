package topology

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const gib = 1 << 30

// cloud is a service on clusters a (enabled, 40 hosts), b (disabled, 1 host)
// and c (enabled, 1 host with room for one CPU and 2 GiB).
func cloud(t *testing.T, dsn string) *Service {
	t.Helper()
	ctx := context.Background()
	types := append(Types(), config.Types()...)
	st := storetest.OpenDSN(t, dsn, types...)
	events := event.New()
	s := New(&kernel.Kernel{Store: st, Config: config.New(st, storetest.Logger(t)), Events: events, Hooks: hook.New(hook.Options{}), Log: storetest.Logger(t)})
	if err := s.registerSettings(); err != nil {
		t.Fatal(err)
	}
	err := st.Update(ctx, func(tx *store.Tx) error {
		z := &Zone{State: Enabled}
		z.UUID = "zone"
		if err := store.Insert(ctx, tx, ZoneType, z); err != nil {
			return err
		}
		for name, state := range map[string]string{"a": Enabled, "b": Disabled, "c": Enabled} {
			c := &Cluster{ZoneUUID: "zone", State: state}
			c.UUID, c.Name = name, name
			if err := store.Insert(ctx, tx, ClusterType, c); err != nil {
				return err
			}
		}
		for i := range 42 {
			h := &Host{ZoneUUID: "zone", ClusterUUID: "a", ManagementIP: fmt.Sprint("h", i), State: Enabled, Status: Connected,
				AvailableCPU: 10, AvailableMemory: 20 * gib, Lot: rand.Int64()}
			h.UUID, h.Name = resource.NewUUID(), h.ManagementIP
			switch i {
			case 40:
				h.ClusterUUID = "b"
			case 41:
				h.ClusterUUID, h.AvailableCPU, h.AvailableMemory = "c", 1, 3*gib
			}
			if err := store.Insert(ctx, tx, HostType, h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// both runs a test on both kinds of database.
func both(t *testing.T, f func(t *testing.T, s *Service)) {
	t.Run("sqlite", func(t *testing.T) { f(t, cloud(t, "sqlite:"+t.TempDir()+"/kumo.db")) })
	t.Run("mysql", func(t *testing.T) { f(t, cloud(t, mariadb.Start(t))) })
}

// TestCandidatesSpread draws hosts whose UUIDs begin with the same time: each
// must come first now and then.
func TestCandidatesSpread(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		firsts := map[string]int{}
		for range 1500 {
			hosts, err := s.Candidates(context.Background(), s.Store, contract.HostRequest{Strategy: contract.PlaceAnywhere, Reachable: []string{"a"}, Room: contract.Room{CPU: 1, Memory: gib}})
			if err != nil || len(hosts) != maxCandidates {
				t.Fatalf("%d candidates, %v; want %d", len(hosts), err, maxCandidates)
			}
			seen := map[string]bool{}
			for _, h := range hosts {
				if seen[h.UUID] || h.ClusterUUID != "a" || h.ZoneUUID != "zone" {
					t.Fatalf("candidate %+v among %v", h, seen)
				}
				seen[h.UUID] = true
			}
			firsts[hosts[0].UUID]++
		}
		if len(firsts) < 38 { // two of 40 may be very unlucky
			t.Errorf("only %d of 40 hosts were ever first", len(firsts))
		}
		for uuid, n := range firsts {
			if n > 300 {
				t.Errorf("host %s was first %d times of 1500", uuid, n)
			}
		}
	})
}

func TestCandidatesFit(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		for _, tt := range []struct {
			name    string
			request contract.HostRequest
			want    int
			refusal string
		}{
			{"everywhere", contract.HostRequest{Room: contract.Room{CPU: 1, Memory: gib}}, maxCandidates, ""},
			{"disabled cluster", contract.HostRequest{Reachable: []string{"b"}, Room: contract.Room{CPU: 1, Memory: gib}}, 0, "in cluster b that is Disabled"},
			{"several clusters", contract.HostRequest{Reachable: []string{"b", "c"}, Room: contract.Room{CPU: 1, Memory: 2 * gib}}, 1, ""},
			{"reserved memory", contract.HostRequest{Reachable: []string{"c"}, Room: contract.Room{CPU: 1, Memory: 2*gib + 1}}, 0, "2 GiB free, 2147483649 bytes needed"},
			{"CPU", contract.HostRequest{Reachable: []string{"c"}, Room: contract.Room{CPU: 2, Memory: gib}}, 0, "1 CPU free, 2 needed"},
			{"other zone", contract.HostRequest{ZoneUUID: "elsewhere", Room: contract.Room{CPU: 1, Memory: gib}}, 0, "there is none"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				hosts, err := s.Candidates(context.Background(), s.Store, tt.request)
				if len(hosts) != tt.want || (tt.want == 0) != (errs.ClassOf(err) == errs.Exhausted) {
					t.Fatalf("%d candidates, %v; want %d", len(hosts), err, tt.want)
				}
				if err != nil && !strings.Contains(err.Error(), tt.refusal) {
					t.Errorf("refused with %q; want %q", err, tt.refusal)
				}
			})
		}
	})
}
