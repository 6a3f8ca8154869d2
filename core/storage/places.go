package storage

import (
	"context"
	"fmt"
	"strings"

	"github.com/kumo-cloud/kumo/core/compute/port"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Places returns, for the hosts of the request in their order, the storages
// that can take its volumes; the one with the most free bytes first for each
// host. Errors: Exhausted, with the reason for each storage of the clusters.
func (s *Service) Places(ctx context.Context, q store.Querier, r port.PlaceRequest) ([]port.Place, error) {
	// A few places are enough: when all are taken before the flow gets there,
	// the cloud is full but for a moment.
	const enough = 3
	byCluster := map[string][]*PrimaryStorage{}
	var places []port.Place
	var why []string
	for _, h := range r.Hosts {
		list, ok := byCluster[h.ClusterUUID]
		if !ok {
			var err error
			if list, err = s.attached(ctx, q, h.ClusterUUID, r.PrimaryUUID); err != nil {
				return nil, err
			}
			byCluster[h.ClusterUUID] = list
		}
		for _, ps := range list {
			p, reason, err := s.place(ctx, q, h, ps, r)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				why = append(why, ps.Name+": "+reason)
				continue
			}
			places = append(places, p)
			break
		}
		if len(places) == enough {
			break
		}
	}
	if len(places) == 0 {
		if len(why) == 0 {
			why = []string{"no storage is attached to the clusters of the hosts"}
		}
		if len(why) > 8 {
			why = append(why[:8], "…")
		}
		return nil, errs.New(errs.Exhausted, "primary storage allocation", "no storage can take %d bytes: %s", r.Size, strings.Join(why, "; ")).
			WithAdvice("attach a storage to the cluster, or free space")
	}
	return places, nil
}

func (s *Service) attached(ctx context.Context, q store.Querier, clusterUUID, only string) ([]*PrimaryStorage, error) {
	where, args := "`uuid` IN (SELECT `primaryStorageUuid` FROM `PrimaryStorageClusterRef` WHERE `clusterUuid` = ?)", []any{clusterUUID}
	if only != "" {
		where, args = where+" AND `uuid` = ?", append(args, only)
	}
	return store.Find(ctx, q, PrimaryStorageType, where+" ORDER BY `availableCapacity` DESC", args...)
}

// place decides on one storage for one host; reason says why not.
func (s *Service) place(ctx context.Context, q store.Querier, h port.HostCandidate, ps *PrimaryStorage, r port.PlaceRequest) (p port.Place, reason string, err error) {
	switch {
	case ps.State != Enabled:
		return p, "state is " + ps.State, nil
	case ps.Status != Connected:
		return p, "status is " + ps.Status, nil
	}
	plug, err := s.Plugins.PrimaryStorage(ps.Type)
	if err != nil {
		return p, err.Error(), nil
	}
	if !contains(plug.Decl.GetHypervisorTypes(), h.HypervisorType) {
		return p, "its type cannot be used by " + h.HypervisorType, nil
	}
	ref, linked, err := store.First(ctx, q, HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", ps.UUID, h.UUID)
	if err != nil {
		return p, "", err
	}
	if !linked || ref.Status != Connected {
		return p, "is not connected to host " + h.UUID, nil
	}
	free := ps.AvailableCapacity
	if plug.Decl.GetHostLocal() {
		free = ref.AvailableCapacity
	}
	if reserved := s.Config.Int64(ctx, "primaryStorage", "reservedCapacity", ps.UUID); free-reserved < r.Size {
		return p, fmt.Sprintf("%d bytes available, of which %d are reserved", free, reserved), nil
	}
	p = port.Place{Host: h, PrimaryUUID: ps.UUID, PrimaryType: ps.Type, HostLocal: plug.Decl.GetHostLocal()}
	if r.Image == nil {
		return p, "", nil
	}
	for _, st := range r.Image.Stores {
		bs, err := s.Plugins.BackupStorage(st.Type)
		if err != nil {
			continue // its plugin is off; another copy may do
		}
		if types := bs.Decl.GetPrimaryStorageTypes(); len(types) == 0 || contains(types, ps.Type) {
			p.ImageStoreUUID = st.UUID
			return p, "", nil
		}
	}
	return p, "cannot read from the backup storages that have image " + r.Image.Name, nil
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
