package topology

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Settings of this service (spec: compute and storage, sections 1.2 and 1.5).
const (
	catHost      = "host"
	catHostAlloc = "hostAllocator"
	// maxCandidates bounds how many hosts one allocation looks at in detail.
	maxCandidates = 8
)

func (s *Service) registerSettings() error {
	return cmp.Or(
		s.Config.Define(config.Setting{Category: catHost, Name: "cpu.overProvisioning.ratio", Type: "int", Default: "10", Min: 1, Max: 1000,
			Apply: applyRatio, Doc: "Virtual processors per processor of a host."}),
		s.Config.Define(config.Setting{Category: catHost, Name: "ping.interval", Type: "int", Default: "60", Min: 1, Max: 3600,
			Doc: "Seconds between two checks of a host."}),
		s.Config.Define(config.Setting{Category: catHost, Name: "ping.maxFailure", Type: "int", Default: "3", Min: 1, Max: 100,
			Doc: "Failed checks in a row after which a host is Disconnected."}),
		s.Config.Define(config.Setting{Category: "kvm", Name: "reservedMemory", Type: "size", Default: "1G",
			Resources: []string{"Host", "Cluster", "Zone"}, Doc: "Memory of a host that guests do not get."}),
	)
}

// applyRatio makes the capacity of every host that of another ratio. What guests
// hold stays held, so a host may have less than none available.
func applyRatio(ctx context.Context, tx *store.Tx, ratio string) error {
	n, err := strconv.ParseInt(ratio, 10, 64)
	if err != nil {
		return errs.Wrap(errs.Invalid, "setting host/cpu.overProvisioning.ratio", err, "")
	}
	// MySQL assigns in this order, and the first needs the old total.
	_, err = tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` + `cpuNum` * ? - `totalCpuCapacity`, "+
		"`totalCpuCapacity` = `cpuNum` * ? WHERE `totalCpuCapacity` > 0", n, n)
	return err
}

// reservedMemory is the memory that guests do not get, as SQL on a host's row:
// its own value, else that of its cluster, of its zone, or the global one.
func (s *Service) reservedMemory(ctx context.Context) (sql string, args []any) {
	own := s.Config.Overrides("kvm", "reservedMemory")
	if len(own) > 0 {
		var b strings.Builder
		for _, column := range []string{"uuid", "clusterUuid", "zoneUuid"} {
			b.WriteString("CASE `" + column + "`")
			for uuid, bytes := range own {
				b.WriteString(" WHEN ? THEN ?")
				args = append(args, uuid, bytes)
			}
			b.WriteString(" END, ")
		}
		sql = b.String()
	}
	return "COALESCE(" + sql + "?, 0)", append(args, s.Config.Int64(ctx, "kvm", "reservedMemory", ""))
}

// Candidates implements contract.Hosts: at most maxCandidates, read by an index,
// as this is part of every creation of a guest. The statement leaves out what
// could not take the guest, so that choose has only to order the others; when
// nothing is left, choose is asked about all hosts, and says why not.
func (s *Service) Candidates(ctx context.Context, q store.Querier, r contract.HostRequest) ([]contract.HostCandidate, error) {
	if r.Reachable != nil && len(r.Reachable) == 0 {
		return nil, s.noHost(ctx, q, r)
	}
	q = store.Cached(q) // many ask at the same moment
	where, args, err := s.fit(ctx, q, r)
	if err != nil {
		return nil, err
	}
	hosts, err := s.draw(ctx, q, r, where, args)
	if err == nil && r.LastHost != "" && r.HostUUID == "" && !slices.ContainsFunc(hosts, func(h candidate) bool { return h.UUID == r.LastHost }) {
		hosts, err = candidates(ctx, q, hosts, where+" AND `uuid` = ?", append(slices.Clip(args), r.LastHost), maxCandidates+1)
	}
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return nil, s.noHost(ctx, q, r)
	}
	chosen, _ := choose(hosts, r, rand.Shuffle)
	return chosen, nil
}

// orderings are the strategies' orders (see orders) as SQL.
var orderings = map[string]string{
	contract.PlaceLeastVM:     "`guests`, `lot`",
	contract.PlaceMaxInstance: "`guests`, `lot`",
	contract.PlaceMinCPU:      "`availableCpuCapacity` * 1.0 / `totalCpuCapacity` DESC, `lot`",
	contract.PlaceMinMemory:   "`availableMemoryCapacity` * 1.0 / `totalMemoryCapacity` DESC, `lot`",
}

// draw reads the first hosts by the strategy; without a preference it begins at
// a random place in the order of their lots.
func (s *Service) draw(ctx context.Context, q store.Querier, r contract.HostRequest, where string, args []any) ([]candidate, error) {
	if order, ok := orderings[cmp.Or(r.Strategy, contract.PlaceLeastVM)]; ok {
		return candidates(ctx, q, nil, where+" ORDER BY "+order, args, maxCandidates)
	}
	start := rand.Int64()
	hosts, err := candidates(ctx, q, nil, where+" AND `lot` >= ? ORDER BY `lot`", append(slices.Clip(args), start), maxCandidates)
	if err == nil && len(hosts) < maxCandidates {
		hosts, err = candidates(ctx, q, hosts, where+" AND `lot` < ? ORDER BY `lot`", append(slices.Clip(args), start), maxCandidates)
	}
	return hosts, err
}

// candidates appends hosts up to limit in all. They are known to fit, so only
// the columns are read that order them.
func candidates(ctx context.Context, q store.Querier, list []candidate, where string, args []any, limit int) ([]candidate, error) {
	err := q.Each(ctx, "SELECT `uuid`, `clusterUuid`, `zoneUuid`, `hypervisorType`, `architecture`, `cpuMHz`, `guests`, "+
		"`totalCpuCapacity`, `availableCpuCapacity`, `totalMemoryCapacity`, `availableMemoryCapacity` FROM `Host` WHERE "+where+
		" LIMIT ?", append(args, limit-len(list)), func(r *store.Row) error {
		list = append(list, candidate{HostCandidate: contract.HostCandidate{UUID: r.Text(0), ClusterUUID: r.Text(1), ZoneUUID: r.Text(2),
			HypervisorType: r.Text(3), Architecture: r.Text(4), CPUMHz: r.Int(5)}, Guests: r.Int(6),
			TotalCPU: r.Int(7), FreeCPU: r.Int(8), TotalMemory: r.Int(9), FreeMemory: r.Int(10),
			State: Enabled, Status: Connected, ClusterState: Enabled, ZoneState: Enabled})
		return nil
	})
	return list, err
}

// fit is candidate.outside and candidate.unfit as SQL: the hosts that they have
// nothing against.
func (s *Service) fit(ctx context.Context, q store.Querier, r contract.HostRequest) (string, []any, error) {
	var conds []string
	var args []any
	add := func(c string, a ...any) { conds, args = append(conds, c), append(args, a...) }
	if r.ZoneUUID != "" {
		add("`zoneUuid` = ?", r.ZoneUUID)
	}
	clusters := r.Reachable
	if r.ClusterUUID != "" {
		if clusters != nil && !slices.Contains(clusters, r.ClusterUUID) {
			add("1 = 0")
		}
		clusters = []string{r.ClusterUUID}
	}
	const enabled = "SELECT `uuid` FROM `Cluster` WHERE `state` = 'Enabled' AND `zoneUuid` IN (SELECT `uuid` FROM `Zone` WHERE `state` = 'Enabled')"
	if clusters != nil { // so that not all clusters of the cloud are listed
		open, err := store.Texts(ctx, q, enabled+" AND `uuid` IN (?)", clusters)
		if err != nil {
			return "", nil, err
		}
		add("`clusterUuid` IN (?)", open)
	} else {
		add("`clusterUuid` IN (" + enabled + ")")
	}
	if r.HostUUID != "" {
		add("`uuid` = ?", r.HostUUID)
	}
	if r.HypervisorType != "" {
		add("`hypervisorType` = ?", r.HypervisorType)
	}
	if r.Architecture != "" {
		add("COALESCE(`architecture`, '') IN ('', ?)", r.Architecture)
	}
	if len(r.Avoid) > 0 {
		add("`uuid` NOT IN (?)", r.Avoid)
	}
	if r.MaxGuests > 0 {
		add("`guests` < ?", r.MaxGuests)
	}
	reserved, reservedArgs := s.reservedMemory(ctx)
	add("`state` = ? AND `status` = ? AND `availableCpuCapacity` >= ?", Enabled, Connected, r.CPU)
	add("`availableMemoryCapacity` - "+reserved+" >= ?", append(reservedArgs, r.Memory)...)
	return strings.Join(conds, " AND "), args, nil
}

// Bounds of what an error tells: named in its text, listed beside it, looked at.
const (
	toldHosts   = 8
	listedHosts = 64
	seenHosts   = 500
)

// noHost says of each host why it cannot take the guest.
func (s *Service) noHost(ctx context.Context, q store.Querier, r contract.HostRequest) error {
	hosts, err := s.snapshot(ctx, q, r)
	if err != nil {
		return err
	}
	fail := errs.New(errs.Exhausted, "host allocation", "no host can take a guest of %d CPU and %s of memory", r.CPU, bytesText(r.Memory)).
		WithAdvice("free capacity, add a host, or choose a smaller offering")
	_, refused := choose(hosts, r, rand.Shuffle)
	if len(hosts) == 0 {
		fail.Message += ": there is none"
		return fail.WithAdvice("add a host")
	}
	if len(refused) == 0 {
		fail.Message += ": what there was has been taken meanwhile"
		return fail.WithAdvice("repeat the call")
	}
	why := make([]string, 0, toldHosts)
	for _, h := range refused[:min(len(refused), toldHosts)] {
		why = append(why, h.Name+": "+h.Why)
	}
	fail.Message += ": " + strings.Join(why, "; ")
	if more := len(refused) - toldHosts; more > 0 {
		fail.Message += fmt.Sprintf("; and %d more", more)
	}
	fail.Considered = refused[:min(len(refused), listedHosts)]
	return fail
}

// snapshot reads the hosts of the request's zone, or of the host or cluster that
// it asks for, with all that choose looks at.
func (s *Service) snapshot(ctx context.Context, q store.Querier, r contract.HostRequest) ([]candidate, error) {
	where, args := "1 = 1", []any{}
	for _, c := range []struct{ column, uuid string }{{"uuid", r.HostUUID}, {"clusterUuid", r.ClusterUUID}, {"zoneUuid", r.ZoneUUID}} {
		if c.uuid != "" {
			where, args = "h.`"+c.column+"` = ?", []any{c.uuid}
			break
		}
	}
	var list []candidate
	err := q.Each(ctx, "SELECT h.`uuid`, h.`clusterUuid`, h.`zoneUuid`, h.`hypervisorType`, h.`architecture`, h.`cpuMHz`, h.`guests`, "+
		"h.`totalCpuCapacity`, h.`availableCpuCapacity`, h.`totalMemoryCapacity`, h.`availableMemoryCapacity`, h.`name`, h.`state`, h.`status`, "+
		"c.`name`, c.`state`, z.`state` FROM `Host` h JOIN `Cluster` c ON c.`uuid` = h.`clusterUuid` JOIN `Zone` z ON z.`uuid` = h.`zoneUuid` WHERE "+
		where+" ORDER BY h.`name`, h.`uuid` LIMIT ?", append(args, seenHosts), func(r *store.Row) error {
		list = append(list, candidate{HostCandidate: contract.HostCandidate{UUID: r.Text(0), ClusterUUID: r.Text(1), ZoneUUID: r.Text(2),
			HypervisorType: r.Text(3), Architecture: r.Text(4), CPUMHz: r.Int(5)}, Guests: r.Int(6),
			TotalCPU: r.Int(7), FreeCPU: r.Int(8), TotalMemory: r.Int(9), FreeMemory: r.Int(10),
			Name: r.Text(11), State: r.Text(12), Status: r.Text(13), ClusterName: r.Text(14), ClusterState: r.Text(15), ZoneState: r.Text(16)})
		return nil
	})
	for i := range list {
		list[i].Reserved = s.Config.Int64(ctx, "kvm", "reservedMemory", list[i].UUID)
	}
	return list, err
}

// Reserve implements contract.Hosts.
func (s *Service) Reserve(ctx context.Context, tx *store.Tx, hostUUID string, r contract.Room) error {
	limit, args := "", []any{r.CPU, r.Memory, hostUUID, r.CPU, s.Config.Int64(ctx, "kvm", "reservedMemory", hostUUID), r.Memory}
	if r.MaxGuests > 0 {
		limit, args = " AND `guests` < ?", append(args, r.MaxGuests)
	}
	n, err := tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` - ?, `availableMemoryCapacity` = `availableMemoryCapacity` - ?, "+
		"`guests` = `guests` + 1 WHERE `uuid` = ? AND `state` = 'Enabled' AND `status` = 'Connected' AND `availableCpuCapacity` >= ? "+
		"AND `availableMemoryCapacity` - ? >= ?"+limit, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return errs.New(errs.Exhausted, "host "+hostUUID, "has no room for a guest of %d CPU and %s of memory", r.CPU, bytesText(r.Memory))
	}
	return nil
}

// Return implements contract.Hosts.
func (s *Service) Return(ctx context.Context, tx *store.Tx, hostUUID string, r contract.Room) error {
	_, err := tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` + ?, `availableMemoryCapacity` = `availableMemoryCapacity` + ?, "+
		"`guests` = `guests` - 1 WHERE `uuid` = ?", r.CPU, r.Memory, hostUUID)
	return err
}
