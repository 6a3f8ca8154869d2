package network

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
)

// This file is for guests whose NICs come and go (contract.PluggedNetworks).

// GuestOf returns the guest that has a NIC, "" for a NIC that is gone.
func (s *Service) GuestOf(ctx context.Context, q store.Querier, nicUUID string) (string, error) {
	nic, found, err := store.First(ctx, q, VMNicType, "`uuid` = ?", nicUUID)
	if err != nil || !found {
		return "", err
	}
	return nic.VMInstanceUUID, nil
}

// Leaves marks a NIC that is being taken from its guest, or takes that back.
func (s *Service) Leaves(ctx context.Context, tx *store.Tx, nicUUID string, leaves bool) error {
	_, err := tx.Exec(ctx, "UPDATE `VmNic` SET `leaving` = ? WHERE `uuid` = ?", leaves, nicUUID)
	return err
}

// FreeNIC returns all that Allocate took for a NIC; nothing is a success.
func (s *Service) FreeNIC(ctx context.Context, tx *store.Tx, nicUUID string) error {
	return s.free(ctx, tx, nicUUID)
}

// Plugged returns by guest the UUIDs of those NICs that OfVM returns.
func (s *Service) Plugged(ctx context.Context, q store.Querier, vmUUIDs []string) (map[string][]string, error) {
	const page = 500
	all := map[string][]string{}
	for some := range slices.Chunk(vmUUIDs, page) {
		err := q.Each(ctx, "SELECT `vmInstanceUuid`, `uuid` FROM `VmNic` WHERE `vmInstanceUuid` IN (?) AND `leaving` = ? ORDER BY `deviceId`", []any{some, false},
			func(r *store.Row) error {
				all[r.Text(0)] = append(all[r.Text(0)], r.Text(1))
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Attachable returns the networks in which a guest can get a NIC, by name: they are
// enabled, for guests, and have addresses.
func (s *Service) Attachable(ctx context.Context, q store.Querier, r contract.AttachableRequest) ([]string, error) {
	where, args := "t.`zoneUuid` = ? AND t.`state` = 'Enabled' AND t.`system` = ?", []any{r.ZoneUUID, false}
	also := func(condition string, more ...any) { where, args = where+" AND "+condition, append(args, more...) }
	also("t.`uuid` IN (SELECT `l3NetworkUuid` FROM `IpRange` WHERE `ipVersion` = 4 AND `ipRangeType` = 'Normal')")
	also("t.`uuid` NOT IN (SELECT `l3NetworkUuid` FROM `VmNic` WHERE `vmInstanceUuid` = ? AND `l3NetworkUuid` IS NOT NULL)", r.VMUUID)
	if r.Clusters == nil {
		also("t.`l2NetworkUuid` IN (SELECT `l2NetworkUuid` FROM `L2NetworkClusterRef`)")
	} else {
		also("t.`l2NetworkUuid` IN (SELECT `l2NetworkUuid` FROM `L2NetworkClusterRef` WHERE `clusterUuid` IN (?))", r.Clusters)
	}
	if r.Reader != "" {
		if may, with := access.Read(s.Types, L3NetworkType.Type, "t", r.Reader); may != "" {
			also("("+may+")", with...)
		}
	}
	return store.Texts(ctx, q, "SELECT t.`uuid` FROM `L3Network` t WHERE "+where+" ORDER BY t.`name`, t.`uuid`", args...)
}
