package topology

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// reference places a guest in the most obvious way: it tries all hosts, and a
// host is right when no other that fits is better.
type reference struct {
	hosts []candidate
	r     contract.HostRequest
}

func (m reference) fits(h candidate) bool {
	r := m.r
	in := func(list []string, s string) bool {
		for _, x := range list {
			if x == s {
				return true
			}
		}
		return false
	}
	ok := h.State == "Enabled" && h.Status == "Connected" && h.ClusterState == "Enabled" && h.ZoneState == "Enabled"
	ok = ok && (r.ZoneUUID == "" || r.ZoneUUID == h.ZoneUUID) && (r.ClusterUUID == "" || r.ClusterUUID == h.ClusterUUID)
	ok = ok && (r.HostUUID == "" || r.HostUUID == h.UUID) && (r.Reachable == nil || in(r.Reachable, h.ClusterUUID))
	ok = ok && (r.HypervisorType == "" || r.HypervisorType == h.HypervisorType)
	ok = ok && (r.Architecture == "" || h.Architecture == "" || r.Architecture == h.Architecture)
	ok = ok && !in(r.Avoid, h.UUID) && (r.MaxGuests == 0 || h.Guests+1 <= r.MaxGuests)
	return ok && h.FreeCPU >= r.CPU && h.FreeMemory >= r.Memory+h.Reserved
}

// better tells whether a is clearly to be preferred.
func (m reference) better(a, b candidate) bool {
	if last := m.r.LastHost; last != "" && (a.UUID == last || b.UUID == last) {
		return a.UUID == last && b.UUID != last
	}
	switch m.r.Strategy {
	case "", contract.PlaceLeastVM, contract.PlaceMaxInstance:
		return a.Guests < b.Guests
	case contract.PlaceMinCPU:
		return (a.TotalCPU-a.FreeCPU)*b.TotalCPU < (b.TotalCPU-b.FreeCPU)*a.TotalCPU
	case contract.PlaceMinMemory:
		return (a.TotalMemory-a.FreeMemory)*b.TotalMemory < (b.TotalMemory-b.FreeMemory)*a.TotalMemory
	}
	return false
}

// randomHosts makes a snapshot in which every reason to refuse occurs.
func randomHosts(rnd *rand.Rand) []candidate {
	pick := func(common string, others ...string) string {
		if rnd.IntN(8) > 0 {
			return common
		}
		return others[rnd.IntN(len(others))]
	}
	clusters := map[string][2]string{} // its zone and state
	for _, c := range []string{"c1", "c2", "c3"} {
		clusters[c] = [2]string{pick("z1", "z2"), pick(Enabled, Disabled)}
	}
	zones := map[string]string{"z1": pick(Enabled, Disabled), "z2": Enabled}
	list := make([]candidate, rnd.IntN(12))
	for i := range list {
		h := &list[i]
		h.UUID, h.Name = fmt.Sprintf("h%02d", i), fmt.Sprintf("host-%02d", i)
		h.ClusterUUID = pick("c1", "c2", "c3")
		h.ZoneUUID, h.ClusterState, h.ClusterName = clusters[h.ClusterUUID][0], clusters[h.ClusterUUID][1], h.ClusterUUID
		h.ZoneState = zones[h.ZoneUUID]
		h.State, h.Status = pick(Enabled, Disabled, Maintenance), pick(Connected, Connecting, Disconnected)
		h.HypervisorType, h.Architecture = pick("A", "B"), pick("x86_64", "aarch64", "")
		h.TotalCPU, h.TotalMemory = int64(8<<rnd.IntN(3)), int64(16+rnd.IntN(4)*16)
		h.FreeCPU, h.FreeMemory = rnd.Int64N(h.TotalCPU+1), rnd.Int64N(h.TotalMemory+1)
		h.Reserved, h.Guests = rnd.Int64N(3), rnd.Int64N(5)
	}
	return list
}

func randomRequest(rnd *rand.Rand) contract.HostRequest {
	maybe := func(values ...string) string {
		if rnd.IntN(6) > 0 {
			return ""
		}
		return values[rnd.IntN(len(values))]
	}
	r := contract.HostRequest{Room: contract.Room{CPU: rnd.Int64N(6), Memory: rnd.Int64N(12), MaxGuests: max(0, rnd.Int64N(8)-3)},
		ZoneUUID: maybe("z1", "z2"), ClusterUUID: maybe("c1", "c2"), HostUUID: maybe("h00", "h03"), HypervisorType: maybe("A", "B"),
		Architecture: maybe("x86_64", "aarch64"), LastHost: maybe("h01", "h02", "h05"),
		Strategy: append([]string{""}, contract.Strategies...)[rnd.IntN(len(contract.Strategies)+1)]}
	if rnd.IntN(3) == 0 {
		r.Reachable = [][]string{{}, {"c1"}, {"c1", "c3"}}[rnd.IntN(3)]
	}
	if rnd.IntN(4) == 0 {
		r.Avoid = []string{"h00", "h04"}
	}
	return r
}

func TestChooseAgainstReference(t *testing.T) {
	for seed := range uint64(20000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := reference{randomHosts(rnd), randomRequest(rnd)}
		chosen, refused := choose(slices.Clone(m.hosts), m.r, rnd.Shuffle)
		m.compare(t, seed, chosen, refused)
		if t.Failed() {
			return
		}
	}
}

func (m reference) compare(t *testing.T, seed uint64, chosen []contract.HostCandidate, refused []errs.Considered) {
	t.Helper()
	at := map[string]int{}
	for i, h := range chosen {
		at[h.UUID] = i
	}
	why := map[string]string{}
	for _, h := range refused {
		why[h.UUID] = h.Why
	}
	for _, h := range m.hosts {
		i, taken := at[h.UUID]
		if taken != m.fits(h) || taken == (why[h.UUID] != "") {
			t.Errorf("seed %d: %+v for %+v: chosen %v, refused %q", seed, h, m.r, taken, why[h.UUID])
		}
		for _, other := range m.hosts {
			if j, ok := at[other.UUID]; taken && ok && m.better(h, other) && i > j {
				t.Errorf("seed %d: %s comes after %s for %+v\n%+v\n%+v", seed, h.Name, other.Name, m.r, h, other)
			}
		}
	}
}

// The order among equal hosts is drawn: each comes first about as often.
func TestChooseDrawsAmongEquals(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	hosts := make([]candidate, 4)
	for i := range hosts {
		hosts[i] = candidate{HostCandidate: contract.HostCandidate{UUID: fmt.Sprint(i)}, State: Enabled, Status: Connected,
			ClusterState: Enabled, ZoneState: Enabled, FreeCPU: 1, TotalCPU: 1}
	}
	for _, strategy := range contract.Strategies {
		firsts := map[string]int{}
		for range 4000 {
			chosen, _ := choose(hosts, contract.HostRequest{Strategy: strategy}, rnd.Shuffle)
			firsts[chosen[0].UUID]++
		}
		for uuid, n := range firsts {
			if n < 800 || n > 1200 {
				t.Errorf("%s: host %s was first %d times of 4000", strategy, uuid, n)
			}
		}
	}
}

// What the statement leaves to choose from is what choose finds in all rows: the
// fast way and the way that explains agree on each host, and on the best.
func TestCandidatesAreThoseOfChoose(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		ctx := t.Context()
		fill(t, s, rand.New(rand.NewPCG(3, 3)))
		all, err := s.snapshot(ctx, s.Store, contract.HostRequest{})
		if err != nil || len(all) < 20 {
			t.Fatalf("%d hosts, %v", len(all), err)
		}
		for seed := range uint64(300) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			r := randomRequest(rnd)
			r.Memory, r.Avoid = r.Memory*gib, nil
			chosen, refused := choose(slices.Clone(all), r, rnd.Shuffle)
			got, err := s.Candidates(ctx, s.Store, r)
			if len(chosen) == 0 {
				if errs.ClassOf(err) != errs.Exhausted || len(errs.ConsideredOf(err)) == 0 {
					t.Fatalf("seed %d: %+v: %d refused, but got %v, %v", seed, r, len(refused), got, err)
				}
				continue
			}
			if err != nil || len(got) == 0 {
				t.Fatalf("seed %d: %+v: %d chosen, but got %v, %v", seed, r, len(chosen), got, err)
			}
			m := reference{all, r}
			find := func(uuid string) candidate {
				return all[slices.IndexFunc(all, func(h candidate) bool { return h.UUID == uuid })]
			}
			if best := find(chosen[0].UUID); !m.fits(find(got[0].UUID)) || m.better(best, find(got[0].UUID)) {
				t.Fatalf("seed %d: %+v: got %+v, better is %+v", seed, r, find(got[0].UUID), best)
			}
		}
	})
}

// fill replaces the hosts of a cloud by random ones in clusters c1 to c3.
func fill(t *testing.T, s *Service, rnd *rand.Rand) {
	t.Helper()
	ctx := t.Context()
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `Host`"); err != nil {
			return err
		}
		for _, name := range []string{"z1", "z2"} {
			z := &Zone{State: Enabled}
			z.UUID, z.Name = name, name
			if err := store.Insert(ctx, tx, ZoneType, z); err != nil {
				return err
			}
		}
		for name, in := range map[string][2]string{"c1": {"z1", Enabled}, "c2": {"z2", Enabled}, "c3": {"z1", Disabled}} {
			c := &Cluster{ZoneUUID: in[0], State: in[1]}
			c.UUID, c.Name = name, name
			if err := store.Insert(ctx, tx, ClusterType, c); err != nil {
				return err
			}
		}
		for i := range 40 {
			h := &Host{ClusterUUID: []string{"c1", "c1", "c2", "c3"}[rnd.IntN(4)], State: Enabled, Status: Connected, Lot: rnd.Int64(),
				HypervisorType: []string{"A", "A", "B"}[rnd.IntN(3)], Architecture: []string{"x86_64", "aarch64", ""}[rnd.IntN(3)],
				TotalCPU: 16, TotalMemory: 64 * gib, AvailableCPU: rnd.Int64N(17), AvailableMemory: rnd.Int64N(65) * gib, Guests: rnd.Int64N(6)}
			h.ZoneUUID = map[string]string{"c1": "z1", "c2": "z2", "c3": "z1"}[h.ClusterUUID]
			h.UUID, h.Name, h.ManagementIP = resource.NewUUID(), fmt.Sprintf("host-%02d", i), fmt.Sprint("h", i)
			if i < 6 {
				h.UUID = fmt.Sprintf("h%02d", i)
			}
			if i%11 == 0 {
				h.Status = Disconnected
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
}

func TestNoHostSaysWhyOfEach(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		_, err := s.Candidates(t.Context(), s.Store, contract.HostRequest{ZoneUUID: "zone", Reachable: []string{"b", "c"},
			Room: contract.Room{CPU: 1, Memory: 4 * gib}})
		considered := errs.ConsideredOf(err)
		if len(considered) != 42 {
			t.Fatalf("%d of 42 hosts were considered: %v", len(considered), err)
		}
		reasons := map[string]int{}
		for _, h := range considered {
			reasons[h.Why]++
			if h.Type != "Host" || h.UUID == "" || h.Name == "" {
				t.Errorf("considered %+v", h)
			}
		}
		if reasons["2 GiB free, 4 GiB needed"] != 1 || reasons["in cluster b that is Disabled"] != 1 ||
			reasons["in cluster a that has not all networks of the guest"] != 40 {
			t.Errorf("reasons %v", reasons)
		}
		if !strings.Contains(err.Error(), "and 34 more") || len(err.Error()) > 2000 {
			t.Errorf("text %q", err)
		}
	})
}

func TestReserveKeepsTheLimitOfGuests(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		ctx := t.Context()
		hosts, err := s.Candidates(ctx, s.Store, contract.HostRequest{Reachable: []string{"c"}})
		if err != nil {
			t.Fatal(err)
		}
		room := contract.Room{CPU: 0, Memory: 1, MaxGuests: 2}
		reserve := func() error {
			return s.Store.Update(ctx, func(tx *store.Tx) error { return s.Reserve(ctx, tx, hosts[0].UUID, room) })
		}
		for range 2 {
			if err := reserve(); err != nil {
				t.Fatal(err)
			}
		}
		if err := reserve(); errs.ClassOf(err) != errs.Exhausted {
			t.Fatalf("a third guest: %v", err)
		}
		err = s.Store.Update(ctx, func(tx *store.Tx) error { return s.Return(ctx, tx, hosts[0].UUID, room) })
		if err != nil {
			t.Fatal(err)
		}
		if err := reserve(); err != nil {
			t.Fatalf("after one has left: %v", err)
		}
		h, err := store.Get(ctx, s.Store, HostType, hosts[0].UUID)
		if err != nil || h.Guests != 2 || h.AvailableMemory != 3*gib-2 {
			t.Fatalf("%+v %v", h, err)
		}
	})
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 GiB", 1 << 20: "1 MiB", 1 << 30: "1 GiB", 5 << 29: "2560 MiB", 16<<30 + 1<<29: "16.5 GiB", 7: "7 bytes"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
