package hook

import (
	"context"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Points of hosts.
const (
	hostConnected = "host.connected"
	hostLost      = "host.lost"
	hostLeaving   = "host.leaving"
)

// Hosts is the interest of plugins in hosts (topology.HostObserver): the points
// host.connected, host.lost and host.leaving.
type Hosts struct{ s *Service }

// Hosts declares the points of hosts.
func (s *Service) Hosts() Hosts {
	s.Declare(hostConnected, "A host has been connected, or connected again, and has its storages and networks: before it takes guests. "+
		"Subject: Host, host_uuid. A failure leaves it Disconnected; it comes again with each try.")
	s.Declare(hostLost, "A host is judged Disconnected. Subject: Host, host_uuid. A failure is of no consequence.")
	s.Declare(hostLeaving, "A host is about to be deleted, and what it has is to be taken from it. Subject: Host, host_uuid. A failure keeps the host.")
	return Hosts{s}
}

func aboutHost(uuid string) *pluginv1.PointSubject {
	return &pluginv1.PointSubject{Type: "Host", Uuid: uuid, HostUuid: uuid}
}

// HostConnected tells plugins of a host that can be used.
func (h Hosts) HostConnected(ctx context.Context, host *pluginv1.Host) error {
	return h.s.Tell(ctx, hostConnected, aboutHost(host.GetUuid()))
}

// HostLost tells plugins of a host that cannot be reached.
func (h Hosts) HostLost(ctx context.Context, hostUUID string) {
	if err := h.s.Tell(ctx, hostLost, aboutHost(hostUUID)); err != nil {
		h.s.Log.Warn("plugin not told that a host is lost", "host", hostUUID, "error", err)
	}
}

// HostChanged is of no interest here.
func (h Hosts) HostChanged(context.Context, string) {}

// HostVMs is of no interest here.
func (h Hosts) HostVMs(context.Context, string, []*pluginv1.VMStatus, bool) {}

// HostLeaving has plugins take from a host what is theirs.
func (h Hosts) HostLeaving(ctx context.Context, host *pluginv1.Host) error {
	return h.s.Tell(ctx, hostLeaving, aboutHost(host.GetUuid()))
}
