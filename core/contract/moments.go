package contract

import (
	"github.com/kumo-cloud/kumo/core/hook"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The moments of hosts' lives. Those of one host come one after another, but for
// HostChanged, and can be repeated.
var (
	// HostConnected: a host has been connected or reconnected, before it takes guests:
	// storages are attached, networks realized. An error leaves the host Disconnected.
	HostConnected = hook.Moment[*pluginv1.Host]{Name: "host.connected", About: aboutHost,
		Doc: "A host has been connected, or connected again, and has its storages and networks: before it takes guests. " +
			"Subject: Host, host_uuid. A failure leaves it Disconnected; it comes again with each try."}
	// HostLeaving: a host is about to be deleted, to undo HostConnected.
	HostLeaving = hook.Moment[*pluginv1.Host]{Name: "host.leaving", About: aboutHost,
		Doc: "A host is about to be deleted, and what it has is to be taken from it. Subject: Host, host_uuid. A failure keeps the host."}
	// HostEmptying: the host of this UUID is to be maintained, and what runs on it must
	// leave it. An error keeps it in its state.
	HostEmptying = hook.Moment[string]{Name: "host.emptying"}
	// HostLost: the host of this UUID is judged Disconnected.
	HostLost = hook.Moment[string]{Name: "host.lost", About: func(uuid string) *pluginv1.PointSubject { return aboutHost(&pluginv1.Host{Uuid: uuid}) },
		Doc: "A host is judged Disconnected. Subject: Host, host_uuid. A failure is of no consequence."}
	// HostReported: its hypervisor has told of guests.
	HostReported = hook.Moment[HostReport]{Name: "host.reported"}
	// HostChanged: the hypervisor says that something of the host of this UUID has
	// changed that is no guest, such as the room on its disks, for the services to look
	// at what they have there. HostReported may come meanwhile. The context ends after 10 s.
	HostChanged = hook.Moment[string]{Name: "host.changed"}
)

// HostReport is what a hypervisor tells of guests on a host.
type HostReport struct {
	HostUUID string
	Guests   []*pluginv1.VMStatus
	// Complete: these are all that it has there, as after a connect and with each ping;
	// otherwise they are single changes.
	Complete bool
}

func aboutHost(h *pluginv1.Host) *pluginv1.PointSubject {
	return &pluginv1.PointSubject{Type: "Host", Uuid: h.GetUuid(), HostUuid: h.GetUuid()}
}
