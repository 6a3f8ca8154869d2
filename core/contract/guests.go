package contract

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// GuestPlace is where a guest is.
type GuestPlace struct{ VMUUID, Name, ClusterUUID, HostUUID string }

// Guests is the service of guests, for those that guests depend on.
type Guests interface {
	// Places calls f for those of the guests that have a host.
	Places(ctx context.Context, q store.Querier, vmUUIDs []string, f func(GuestPlace)) error
	// Alive says of a guest that runs, or may, why nothing that it uses can go
	// (cascade.Alive); nil of one that does not, or is gone. What runs in the queue
	// of the guest can rely on it.
	Alive(ctx context.Context, q store.Querier, vmUUID string) error
	// RestoreNetwork makes the network services on a host fit a guest, after
	// what waits in the guest's queue, and does not wait for that.
	RestoreNetwork(ctx context.Context, h *pluginv1.Host, vmUUID string)
	// RestoreNetworks makes the network services on a host those of its guests
	// (Networks.Sync).
	RestoreNetworks(ctx context.Context, h *pluginv1.Host) error
	// StopGuests stops those of the guests that run, or are about to, and returns when
	// they have stopped, or with the first error. What runs in the queue of a
	// guest must not call it.
	StopGuests(ctx context.Context, vmUUIDs []string) error
}
