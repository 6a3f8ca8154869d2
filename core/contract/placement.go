package contract

import "slices"

// The strategies by which the host of a guest is chosen among those that have
// room for it, as on the wire (spec: compute and storage, section 1.6). In each,
// hosts that are equal come in random order.
const (
	// PlaceAnywhere takes any host.
	PlaceAnywhere = "DefaultHostAllocatorStrategy"
	// PlaceLeastVM takes the host with the fewest guests. It is the default.
	PlaceLeastVM = "LeastVmPreferredHostAllocatorStrategy"
	// PlaceMinCPU takes the host of whose processors the smallest share is used.
	PlaceMinCPU = "MinimumCPUUsageHostAllocatorStrategy"
	// PlaceMinMemory takes the host of whose memory the smallest share is used.
	PlaceMinMemory = "MinimumMemoryUsageHostAllocatorStrategy"
	// PlaceMaxInstance is PlaceLeastVM with a limit of guests on a host, which the
	// tag TagMaxInstance of the guest or its offering gives.
	PlaceMaxInstance = "MaxInstancePerHostHostAllocatorStrategy"
	// PlaceLastHost takes the host on which the guest ran last.
	PlaceLastHost = "LastHostPreferredAllocatorStrategy"
	// PlaceDesignated takes any host of the zone, cluster or host that the request
	// names; it must name one.
	PlaceDesignated = "DesignatedHostAllocatorStrategy"
)

// TagMaxInstance limits the guests on the host that takes the guest.
const TagMaxInstance = "maxInstancePerHost::{maxInstancePerHost}"

// Strategies are all strategies.
var Strategies = []string{PlaceAnywhere, PlaceLeastVM, PlaceMinCPU, PlaceMinMemory, PlaceMaxInstance, PlaceLastHost, PlaceDesignated}

// KnownStrategy reports whether a strategy is offered.
func KnownStrategy(name string) bool { return slices.Contains(Strategies, name) }

// Room is what one guest takes of a host.
type Room struct {
	CPU    int64 // virtual processors
	Memory int64 // bytes
	// MaxGuests bounds the guests on the host, this one included; 0 does not.
	MaxGuests int64
}

// HostRequest says what a guest needs of a host. Empty fields do not restrict.
type HostRequest struct {
	Room
	ZoneUUID, ClusterUUID, HostUUID string
	// Reachable are the clusters that have all the guest's networks; nil means
	// that it has none.
	Reachable                    []string
	HypervisorType, Architecture string
	Avoid                        []string
	// Strategy orders the hosts; empty means PlaceLeastVM.
	Strategy string
	// LastHost comes first when it can take the guest, whatever the strategy.
	LastHost string
}
