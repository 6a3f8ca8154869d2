package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// candidate is a host as the allocator sees it: a row of its snapshot.
type candidate struct {
	contract.HostCandidate
	Name, State, Status                  string
	ClusterName, ClusterState, ZoneState string
	TotalCPU, FreeCPU                    int64
	TotalMemory, FreeMemory              int64 // bytes, of which guests do not get Reserved
	Reserved, Guests                     int64
}

// choose decides where a guest can run: a function of the snapshot and of draw,
// which shuffles n hosts (rand.Shuffle) and so puts equal ones in random order.
// It returns the hosts that can take the guest, the best first, and why each of
// the others cannot: first of those that it may run on, which a person can mend.
func choose(hosts []candidate, r contract.HostRequest, draw func(n int, swap func(i, j int))) ([]contract.HostCandidate, []errs.Considered) {
	var fitting []*candidate
	var refused, outside []errs.Considered
	for i := range hosts {
		h := &hosts[i]
		looked := errs.Considered{Type: HostType.Name, UUID: h.UUID, Name: h.Name, Why: h.outside(r)}
		if looked.Why != "" {
			outside = append(outside, looked)
		} else if looked.Why = h.unfit(r); looked.Why != "" {
			refused = append(refused, looked)
		} else {
			fitting = append(fitting, h)
		}
	}
	refused = append(refused, outside...)
	draw(len(fitting), func(i, j int) { fitting[i], fitting[j] = fitting[j], fitting[i] })
	better := orders[cmp.Or(r.Strategy, contract.PlaceLeastVM)]
	slices.SortStableFunc(fitting, func(a, b *candidate) int {
		if last := r.LastHost; last != "" && (a.UUID == last) != (b.UUID == last) {
			if a.UUID == last {
				return -1
			}
			return 1
		}
		if better == nil {
			return 0
		}
		return better(a, b)
	})
	chosen := make([]contract.HostCandidate, len(fitting))
	for i, h := range fitting {
		chosen[i] = h.HostCandidate
	}
	return chosen, refused
}

// orders compares hosts by a strategy; one that is not here has no preference.
// Their SQL is orderings.
var orders = map[string]func(a, b *candidate) int{
	contract.PlaceLeastVM:     fewerGuests,
	contract.PlaceMaxInstance: fewerGuests,
	contract.PlaceMinCPU: func(a, b *candidate) int {
		return cmp.Compare(share(a.FreeCPU, a.TotalCPU), share(b.FreeCPU, b.TotalCPU))
	},
	contract.PlaceMinMemory: func(a, b *candidate) int {
		return cmp.Compare(share(a.FreeMemory, a.TotalMemory), share(b.FreeMemory, b.TotalMemory))
	},
}

func fewerGuests(a, b *candidate) int { return cmp.Compare(a.Guests, b.Guests) }

// share is how much of a total is used, from 0 to 1.
func share(free, total int64) float64 {
	if total <= 0 {
		return 1
	}
	return float64(total-free) / float64(total)
}

// outside says why a host is not among those that the guest may run on.
func (h *candidate) outside(r contract.HostRequest) string {
	switch {
	case r.ZoneUUID != "" && h.ZoneUUID != r.ZoneUUID:
		return "in another zone"
	case r.HostUUID != "" && h.UUID != r.HostUUID:
		return "not the host that was asked for"
	case r.ClusterUUID != "" && h.ClusterUUID != r.ClusterUUID:
		return "in cluster " + h.ClusterName + ", not in the one that was asked for"
	case r.HypervisorType != "" && h.HypervisorType != r.HypervisorType:
		return "of hypervisor type " + h.HypervisorType + ", not " + r.HypervisorType
	case r.Architecture != "" && h.Architecture != "" && h.Architecture != r.Architecture:
		return "its architecture is " + h.Architecture + ", not " + r.Architecture
	case r.Reachable != nil && !slices.Contains(r.Reachable, h.ClusterUUID):
		return "in cluster " + h.ClusterName + " that has not all networks of the guest"
	case slices.Contains(r.Avoid, h.UUID):
		return "to be avoided"
	}
	return ""
}

// unfit says why a host that the guest may run on cannot take it now.
func (h *candidate) unfit(r contract.HostRequest) string {
	switch {
	case h.ZoneState != Enabled:
		return "its zone is " + h.ZoneState
	case h.ClusterState != Enabled:
		return "in cluster " + h.ClusterName + " that is " + h.ClusterState
	case h.State != Enabled:
		return h.State
	case h.Status != Connected:
		return h.Status
	case r.MaxGuests > 0 && h.Guests >= r.MaxGuests:
		return fmt.Sprintf("%d guests, at most %d allowed", h.Guests, r.MaxGuests)
	case h.FreeCPU < r.CPU:
		return fmt.Sprintf("%d CPU free, %d needed", h.FreeCPU, r.CPU)
	case h.FreeMemory-h.Reserved < r.Memory:
		return fmt.Sprintf("%s free, %s needed", bytesText(max(h.FreeMemory-h.Reserved, 0)), bytesText(r.Memory))
	}
	return ""
}

// bytesText writes a size for people, in GiB and no more precise than 0.01 of it
// where that is exact.
func bytesText(n int64) string {
	const mib, gib = 1 << 20, 1 << 30
	switch {
	case n%mib != 0:
		return strconv.FormatInt(n, 10) + " bytes"
	case n%gib != 0 && n < 16*gib:
		return strconv.FormatInt(n/mib, 10) + " MiB"
	}
	return strconv.FormatFloat(float64(n)/gib, 'f', -1, 64) + " GiB"
}
