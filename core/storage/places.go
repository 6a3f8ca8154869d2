package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Places returns, for the hosts of the request in their order, the storages
// that can take its volumes; the one with the most free bytes first for each
// host. Errors: Exhausted, with the reason for each storage of the clusters.
func (s *Service) Places(ctx context.Context, q store.Querier, r contract.PlaceRequest) ([]contract.Place, error) {
	// A few places are enough: when all are taken before the flow gets there,
	// the cloud is full but for a moment.
	const enough = 3
	if r.Size < 0 || r.Size > contract.MaxVolumeSize*contract.MaxVolumes {
		return nil, errs.New(errs.Invalid, "size of the volumes", "is more than any storage has")
	}
	byCluster := map[string][]*attached{}
	var places []contract.Place
	var why []string
	for _, h := range r.Hosts {
		list, ok := byCluster[h.ClusterUUID]
		if !ok {
			var err error
			if list, err = s.attached(ctx, q, h.ClusterUUID, r); err != nil {
				return nil, err
			}
			byCluster[h.ClusterUUID] = list
		}
		for _, ps := range list {
			p, reason := s.place(ctx, h, ps, r)
			if reason != "" {
				why = append(why, ps.name+": "+reason)
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

// attached is a storage that is attached to a cluster.
type attached struct {
	uuid, name, typ, state, status string
	capacity
	// onHost has, by host of the request, what is free there; a host to
	// which the storage is not connected is missing.
	onHost map[string]capacity
}

// capacity is what volumes may still be promised, and what the medium has free.
type capacity struct{ available, physical int64 }

// attached reads the storages of a cluster, and how they are connected to the
// hosts of the request that are in it, in one statement: this is part of every
// creation of a guest.
func (s *Service) attached(ctx context.Context, q store.Querier, clusterUUID string, r contract.PlaceRequest) ([]*attached, error) {
	var hosts []string
	for _, h := range r.Hosts {
		if h.ClusterUUID == clusterUUID {
			hosts = append(hosts, h.UUID)
		}
	}
	slices.Sort(hosts) // so that those who ask at the same moment share the answer
	query := "SELECT p.`uuid`, p.`name`, p.`type`, p.`state`, p.`status`, p.`availableCapacity`, p.`availablePhysicalCapacity`, " +
		"h.`hostUuid`, h.`availableCapacity`, h.`availablePhysicalCapacity` " +
		"FROM `PrimaryStorageClusterRef` c JOIN `PrimaryStorage` p ON p.`uuid` = c.`primaryStorageUuid` " +
		"LEFT JOIN `PrimaryStorageHostRef` h ON h.`primaryStorageUuid` = p.`uuid` AND h.`status` = ? AND h.`hostUuid` IN (?) " +
		"WHERE c.`clusterUuid` = ?"
	args := []any{Connected, hosts, clusterUUID}
	if r.PrimaryUUID != "" {
		query, args = query+" AND p.`uuid` = ?", append(args, r.PrimaryUUID)
	}
	var list []*attached
	byUUID := map[string]*attached{}
	err := store.Cached(q).Each(ctx, query, args, func(r *store.Row) error {
		a := byUUID[r.Text(0)]
		if a == nil {
			a = &attached{uuid: r.Text(0), name: r.Text(1), typ: r.Text(2), state: r.Text(3), status: r.Text(4),
				capacity: capacity{r.Int(5), r.Int(6)}, onHost: map[string]capacity{}}
			byUUID[a.uuid], list = a, append(list, a)
		}
		if !r.Null(7) {
			a.onHost[r.Text(7)] = capacity{r.Int(8), r.Int(9)}
		}
		return nil
	})
	// Sorted here, as MariaDB would make a temporary table for it.
	slices.SortFunc(list, func(a, b *attached) int {
		return cmp.Or(cmp.Compare(b.available, a.available), strings.Compare(a.uuid, b.uuid))
	})
	return list, err
}

// place decides on one storage for one host; reason says why not.
func (s *Service) place(ctx context.Context, h contract.HostCandidate, ps *attached, r contract.PlaceRequest) (p contract.Place, reason string) {
	switch {
	case ps.state != Enabled && (r.Size > 0 || ps.state != Disabled): // a disabled one takes nothing new
		return p, "state is " + ps.state
	case ps.status != Connected:
		return p, "status is " + ps.status
	}
	plug, err := s.Plugins.PrimaryStorage(ps.typ)
	if err != nil {
		return p, err.Error()
	}
	if !slices.Contains(plug.Decl.GetHypervisorTypes(), h.HypervisorType) {
		return p, "its type cannot be used by " + h.HypervisorType
	}
	onHost, linked := ps.onHost[h.UUID]
	if !linked {
		return p, "is not connected to host " + h.UUID
	}
	free := ps.capacity
	if plug.Decl.GetHostLocal() {
		free = onHost
	}
	reserved := s.Config.Int64(ctx, catPrimary, "reservedCapacity", ps.uuid)
	if r.Size > 0 && free.available-reserved < r.Size {
		return p, fmt.Sprintf("%d bytes available, of which %d are reserved", free.available, reserved)
	}
	if r.Size > 0 {
		physical := s.freeNow(ctx, linkOf(ps.uuid, h.UUID, plug.Decl.GetHostLocal()), free.physical)
		if physical < reserved {
			return p, fmt.Sprintf("its medium has %d bytes free, and %d are reserved", physical, reserved)
		}
	}
	p = contract.Place{Host: h, PrimaryUUID: ps.uuid, PrimaryType: ps.typ, HostLocal: plug.Decl.GetHostLocal()}
	if r.Image == nil {
		return p, ""
	}
	if formats := plug.Decl.GetImageFormats(); len(formats) > 0 && !slices.Contains(formats, r.Image.Format) {
		return p, "cannot use images of format " + r.Image.Format
	}
	for _, st := range r.Image.Stores {
		bs, err := s.Plugins.BackupStorage(st.Type)
		if err != nil {
			continue // its plugin is off; another copy may do
		}
		if types := bs.Decl.GetPrimaryStorageTypes(); len(types) == 0 || slices.Contains(types, ps.typ) {
			p.ImageStoreUUID = st.UUID
			return p, ""
		}
	}
	return p, "cannot read from the backup storages that have image " + r.Image.Name
}
