package contract

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
)

// PluggedNetworks is the part of the service of networks for guests whose NICs come
// and go.
type PluggedNetworks interface {
	// GuestOf returns the guest that has a NIC, "" for a NIC that is gone.
	GuestOf(ctx context.Context, q store.Querier, nicUUID string) (vmUUID string, err error)
	// Leaves marks a NIC that is being taken from its guest, or takes that back: what
	// hosts are told meanwhile of all that they should have is without it. A NIC that
	// is gone is a success.
	Leaves(ctx context.Context, tx *store.Tx, nicUUID string, leaves bool) error
	// FreeNIC returns all that Allocate took for a NIC; nothing is a success.
	FreeNIC(ctx context.Context, tx *store.Tx, nicUUID string) error
	// Plugged returns by guest the UUIDs of those NICs that OfVM returns.
	Plugged(ctx context.Context, q store.Querier, vmUUIDs []string) (map[string][]string, error)
	// Attachable returns the networks in which a guest can get a NIC.
	Attachable(ctx context.Context, q store.Querier, r AttachableRequest) (l3UUIDs []string, err error)
}

// AttachableRequest asks for networks of a zone that a guest does not use yet.
type AttachableRequest struct {
	VMUUID, ZoneUUID string
	// Clusters are those of which one must have the network; nil means any.
	Clusters []string
	// Reader is the account that must be allowed to read it, "" for all.
	Reader string
}
