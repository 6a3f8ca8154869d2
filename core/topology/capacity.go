package topology

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
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

// Candidates returns hosts that can take a guest of this size now, in random
// order and at most maxCandidates. When there is none, the error (Exhausted)
// names each host of the clusters with the reason why it was refused.
func (s *Service) Candidates(ctx context.Context, q store.Querier, r contract.HostRequest) ([]contract.HostCandidate, error) {
	where, args := hostFilter(r)
	reserved, reservedArgs := s.reservedMemory(ctx)
	fit := where + " AND `state` = ? AND `status` = ? AND `availableCpuCapacity` >= ? AND `availableMemoryCapacity` - " + reserved + " >= ?"
	fitArgs := append(append(make([]any, 0, len(args)+len(reservedArgs)+5), args...), Enabled, Connected, r.CPU)
	fitArgs = append(append(fitArgs, reservedArgs...), r.Memory)
	start := rand.Int64()
	hosts, err := candidates(ctx, q, nil, fit+" AND `lot` >= ?", append(fitArgs, start))
	if err == nil && len(hosts) < maxCandidates {
		hosts, err = candidates(ctx, q, hosts, fit+" AND `lot` < ?", append(fitArgs, start))
	}
	if err == nil && len(hosts) == 0 {
		err = s.refusals(ctx, q, r, where, args)
	}
	// A host far behind the one before it would often be drawn first.
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	return hosts, err
}

// candidates appends the first hosts in the order of their lots, up to
// maxCandidates in all. Only the columns that are needed are read: this is
// part of every creation of a guest.
func candidates(ctx context.Context, q store.Querier, list []contract.HostCandidate, where string, args []any) ([]contract.HostCandidate, error) {
	err := q.Each(ctx, "SELECT `uuid`, `clusterUuid`, `zoneUuid`, `hypervisorType`, `architecture`, `cpuMHz` FROM `Host` WHERE "+where+
		" ORDER BY `lot` LIMIT ?", append(args, maxCandidates-len(list)), func(r *store.Row) error {
		list = append(list, contract.HostCandidate{UUID: r.Text(0), ClusterUUID: r.Text(1), ZoneUUID: r.Text(2),
			HypervisorType: r.Text(3), Architecture: r.Text(4), CPUMHz: r.Int(5)})
		return nil
	})
	return list, err
}

func hostFilter(r contract.HostRequest) (string, []any) {
	var conds []string
	var args []any
	add := func(c string, a any) { conds, args = append(conds, c), append(args, a) }
	if r.ZoneUUID != "" {
		add("`zoneUuid` = ?", r.ZoneUUID)
	}
	if len(r.ClusterUUIDs) > 0 {
		add("`clusterUuid` IN (?)", r.ClusterUUIDs)
	}
	if r.HostUUID != "" {
		add("`uuid` = ?", r.HostUUID)
	}
	if r.HypervisorType != "" {
		add("`hypervisorType` = ?", r.HypervisorType)
	}
	if len(r.Avoid) > 0 {
		add("`uuid` NOT IN (?)", r.Avoid)
	}
	enabled := "`clusterUuid` IN (SELECT `uuid` FROM `Cluster` WHERE `state` = 'Enabled' AND `zoneUuid` IN (SELECT `uuid` FROM `Zone` WHERE `state` = 'Enabled')"
	if len(r.ClusterUUIDs) > 0 { // so that not all clusters of the cloud are listed
		add(enabled+" AND `uuid` IN (?))", r.ClusterUUIDs)
	} else {
		conds = append(conds, enabled+")")
	}
	return strings.Join(conds, " AND "), args
}

// refusals explains an empty answer: one reason a host, the most useful first
// (pains.md, section 2: "no valid host" must say which filter refused).
func (s *Service) refusals(ctx context.Context, q store.Querier, r contract.HostRequest, where string, args []any) error {
	const listed = 8
	hosts, err := store.Find(ctx, q, HostType, where+" LIMIT 9", args...)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return errs.New(errs.Exhausted, "host allocation", "no host is in an enabled zone and cluster that fit the request").
			WithAdvice("add a host, enable it, or attach the networks to its cluster")
	}
	var why []string
	for i, h := range hosts {
		if i == listed {
			why = append(why, "…")
			break
		}
		why = append(why, fmt.Sprintf("%s: %s", h.Name, refusal(h, r, s.Config.Int64(ctx, "kvm", "reservedMemory", h.UUID))))
	}
	return errs.New(errs.Exhausted, "host allocation", "no host can take a guest of %d CPU and %d bytes of memory: %s",
		r.CPU, r.Memory, strings.Join(why, "; ")).WithAdvice("free capacity, add a host, or choose a smaller offering")
}

func refusal(h *Host, r contract.HostRequest, reserved int64) string {
	switch {
	case h.State != Enabled:
		return "state is " + h.State
	case h.Status != Connected:
		return "status is " + h.Status
	case h.AvailableCPU < r.CPU:
		return fmt.Sprintf("%d CPU available", h.AvailableCPU)
	case h.AvailableMemory-reserved < r.Memory:
		return fmt.Sprintf("%d bytes of memory available, of which %d are reserved", h.AvailableMemory, reserved)
	}
	return "was taken meanwhile"
}

// Reserve takes CPU and memory of a host in the caller's transaction. Errors:
// Exhausted when the host has no longer enough, or may no longer be used.
func (s *Service) Reserve(ctx context.Context, tx *store.Tx, hostUUID string, cpu, memory int64) error {
	n, err := tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` - ?, `availableMemoryCapacity` = `availableMemoryCapacity` - ? "+
		"WHERE `uuid` = ? AND `state` = 'Enabled' AND `status` = 'Connected' AND `availableCpuCapacity` >= ? AND `availableMemoryCapacity` - ? >= ?",
		cpu, memory, hostUUID, cpu, s.Config.Int64(ctx, "kvm", "reservedMemory", hostUUID), memory)
	if err != nil {
		return err
	}
	if n == 0 {
		return errs.New(errs.Exhausted, "host "+hostUUID, "has no room for %d CPU and %d bytes of memory", cpu, memory)
	}
	return nil
}

// Return gives CPU and memory back; a host that is gone is a success. The
// caller makes sure to return what it reserved only once.
func (s *Service) Return(ctx context.Context, tx *store.Tx, hostUUID string, cpu, memory int64) error {
	_, err := tx.Exec(ctx, "UPDATE `Host` SET `availableCpuCapacity` = `availableCpuCapacity` + ?, `availableMemoryCapacity` = `availableMemoryCapacity` + ? WHERE `uuid` = ?",
		cpu, memory, hostUUID)
	return err
}
