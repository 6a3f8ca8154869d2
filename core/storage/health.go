package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/watch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	catPrimary = "primaryStorage"
	// pingTimeout, pingParallel and maxFailures bound the looks at storages
	// (spec: section 7).
	pingTimeout  = 10 * time.Second
	pingParallel = 50
	maxFailures  = 3
	// connectTimeout bounds one connect with all connected hosts.
	connectTimeout = 5 * time.Minute
)

// storageUUID names a storage.
type storageUUID struct {
	UUID string `api:"uuid,required,path,resource=PrimaryStorage"`
}

// syncParams are the parameters of APISyncPrimaryStorageCapacityMsg.
type syncParams struct {
	UUID string `api:"primaryStorageUuid,required,path,resource=PrimaryStorage"`
}

func (s *Service) registerHealth() error {
	a := action.Action{Method: "PUT", Async: true, Access: action.Admin, Returns: PrimaryStorageType.Name, Kind: "storage"}
	a.Message, a.Path, a.Queue = "APIReconnectPrimaryStorageMsg", "/primary-storage/{uuid}/actions", "uuid"
	a.Doc = "Connects a storage again, also on the connected hosts of its clusters. One that cannot be reached is Disconnected."
	action.Register(s.Actions, a, func(ctx context.Context, _ *action.Call, p *storageUUID) (action.Ref, error) {
		return action.Ref{Type: PrimaryStorageType.Name, UUID: p.UUID}, s.reconnect(ctx, p.UUID)
	})
	a.Message, a.Path, a.Queue = "APISyncPrimaryStorageCapacityMsg", "/primary-storage/{primaryStorageUuid}/actions", "primaryStorageUuid"
	a.Doc = "Reads now what a storage has free."
	action.Register(s.Actions, a, func(ctx context.Context, _ *action.Call, p *syncParams) (action.Ref, error) {
		return action.Ref{Type: PrimaryStorageType.Name, UUID: p.UUID}, s.syncCapacity(ctx, p.UUID)
	})
	return s.Config.Define(config.Setting{Category: catPrimary, Name: "ping.interval", Type: "int", Default: "60", Min: 1, Max: 3600,
		Doc: "Seconds between two looks whether a primary storage is there, on its hosts too, and what it has free."})
}

// watches are the looks at storages that hosts share, and at the links of hosts
// to storages.
func (s *Service) watches() (storages, links *watch.Loop) {
	loop := watch.Loop{Parallel: pingParallel, Timeout: pingTimeout, Owns: s.Node.Owns, Failures: func() int64 { return maxFailures },
		Broken: func(err error) { s.Log.Error("primary storages not listed", "error", err) }}
	storages, links = new(watch.Loop), new(watch.Loop)
	*storages, *links = loop, loop
	storages.List, storages.Check, storages.Lost = s.sharedStorages, s.checkStorage, s.lostStorage
	links.List, links.Check, links.Lost = s.hostLinks, s.checkLink, s.lostLink
	return storages, links
}

// sharedStorages are the targets of checkStorage. What keeps its volumes on hosts
// is where they are, and its status comes from its links.
func (s *Service) sharedStorages(ctx context.Context) ([]watch.Target, error) {
	rows, err := store.Sound(ctx, s.Store, PrimaryStorageType, store.PassedOver(s.Log), "")
	var targets []watch.Target
	for _, r := range rows {
		if plug, e := s.Plugins.PrimaryStorage(r.Type); e != nil || !plug.Decl.GetHostLocal() {
			targets = append(targets, watch.Target{Key: r.UUID, Connected: r.Status == Connected})
		}
	}
	return targets, err
}

// hostLinks are the targets of checkLink: links that are broken, and those by
// which a host has a capacity of its own.
func (s *Service) hostLinks(ctx context.Context) ([]watch.Target, error) {
	rows, err := store.Sound(ctx, s.Store, PrimaryStorageType, store.PassedOver(s.Log), "")
	if err != nil {
		return nil, err
	}
	local := map[string]bool{}
	for _, r := range rows {
		if plug, err := s.Plugins.PrimaryStorage(r.Type); err == nil {
			local[r.UUID] = plug.Decl.GetHostLocal()
		}
	}
	refs, err := store.Sound(ctx, s.Store, HostRefType, store.PassedOver(s.Log), "")
	var targets []watch.Target
	for _, r := range refs {
		if up := r.Status == Connected; !up || local[r.PrimaryStorageUUID] {
			targets = append(targets, watch.Target{Key: r.UUID, Of: r.PrimaryStorageUUID, Connected: up})
		}
	}
	return targets, err
}

// checkStorage looks at a storage that hosts share, and brings it back when it
// answers again. What is gone is a success.
func (s *Service) checkStorage(ctx context.Context, uuid string) error {
	row, found, err := store.First(ctx, s.Store, PrimaryStorageType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	if row.Status != Connected {
		if err := s.connect(ctx, uuid); err != nil {
			return err
		}
	}
	if _, err := s.capacityOf(ctx, link{primary: uuid}); err != nil || row.Status == Connected {
		return err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, PrimaryStorageType.Type, uuid, map[string]any{"status": Connected})
	})
	if err == nil {
		s.Log.Info("primary storage connected", "primaryStorage", uuid)
	}
	return err
}

func (s *Service) connect(ctx context.Context, uuid string) error {
	st, plug, err := s.plugin(ctx, uuid)
	if err != nil {
		return err
	}
	if _, err = plug.ConnectStorage(ctx, &pluginv1.ConnectStorageRequest{Storage: st}); err != nil {
		return errs.Wrap(errs.ClassOf(err), "primary storage "+st.GetName(), err, "cannot be connected")
	}
	return nil
}

// checkLink looks at what a host has of a storage, and brings a broken link
// back. What is gone is a success, and so is a host that is away: its connect
// attaches the storage.
func (s *Service) checkLink(ctx context.Context, uuid string) error {
	ref, found, err := store.First(ctx, s.Store, HostRefType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	if ref.Status == Connected {
		_, err := s.capacityOf(ctx, link{ref.PrimaryStorageUUID, ref.HostUUID})
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // shown with the first look, and lost when that stays so
			s.checked(context.WithoutCancel(ctx), ref.PrimaryStorageUUID, ref.HostUUID, err.Error())
		}
		return err
	}
	return s.hosts.OnConnected(ctx, ref.HostUUID, func(h *pluginv1.Host) error {
		// In the host's turn: it may have given the storage back meanwhile.
		_, wanted, err := store.First(ctx, s.Store, ClusterRefType, "`clusterUuid` = ? AND `primaryStorageUuid` = ?", h.GetClusterUuid(), ref.PrimaryStorageUUID)
		if err != nil || !wanted {
			return err
		}
		if err := s.attachHost(ctx, ref.PrimaryStorageUUID, h); err != nil {
			return err
		}
		s.Log.Info("primary storage is back on host", "primaryStorage", ref.PrimaryStorageUUID, "host", ref.HostUUID)
		return nil
	})
}

// lostStorage records that a storage cannot be used; one that is gone is a
// success.
func (s *Service) lostStorage(ctx context.Context, uuid string, cause error) {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, PrimaryStorageType.Type, uuid, map[string]any{"status": Disconnected})
	})
	s.tellLost(link{primary: uuid}, cause, err)
}

// lostLink is that for what a host has of a storage.
func (s *Service) lostLink(ctx context.Context, uuid string, cause error) {
	ref, found, err := store.First(ctx, s.Store, HostRefType, "`uuid` = ?", uuid)
	if err != nil || !found {
		s.tellLost(link{host: uuid}, cause, err)
		return
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE `PrimaryStorageHostRef` SET `status` = ? WHERE `uuid` = ?", Disconnected, uuid); err != nil {
			return err
		}
		return s.sumIfLocal(ctx, tx, ref.PrimaryStorageUUID)
	})
	s.checked(ctx, ref.PrimaryStorageUUID, ref.HostUUID, cause.Error())
	s.tellLost(link{ref.PrimaryStorageUUID, ref.HostUUID}, cause, err)
}

// checkName is what a storage is called among the checks of a host.
const checkName = "primary storage"

// checked shows on a host what was found of a storage there.
func (s *Service) checked(ctx context.Context, psUUID, hostUUID, reason string) {
	s.hosts.Checked(ctx, hostUUID, contract.HostCheck{Name: checkName, ResourceUUID: psUUID, Reason: reason})
}

// tooFull says why nothing new is placed on a medium; "" when there is room.
func (s *Service) tooFull(ctx context.Context, psUUID string, c *pluginv1.Capacity) string {
	total, free := bytesOf(c)
	reserved := s.Config.Int64(ctx, catPrimary, "reservedCapacity", psUUID)
	if free >= min(reserved, total) {
		return ""
	}
	return fmt.Sprintf("its medium has %d bytes free of %d, and %d are reserved: nothing new is placed there, and guests are paused when they cannot write; free space on it", free, total, reserved)
}

func (s *Service) tellLost(l link, cause, err error) {
	if errs.ClassOf(err) == errs.NotFound {
		return
	}
	if err != nil {
		s.Log.Error("status of primary storage not saved", "primaryStorage", l.primary, "host", l.host, "error", err)
		return
	}
	s.Log.Warn("primary storage disconnected", "primaryStorage", l.primary, "host", l.host, "error", cause)
}

// reconnect connects a storage, and attaches it to all connected hosts of its
// clusters. What fails is Disconnected, and all causes are returned.
func (s *Service) reconnect(ctx context.Context, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	local, err := s.hostLocal(ctx, s.Store, uuid)
	if err == nil {
		err = s.connect(ctx, uuid)
	}
	if err == nil && !local {
		err = s.checkStorage(ctx, uuid)
	}
	if err != nil {
		s.lostStorage(context.WithoutCancel(ctx), uuid, err)
		return err
	}
	refs, err := store.Find(ctx, s.Store, ClusterRefType, "`primaryStorageUuid` = ?", uuid)
	var mu sync.Mutex
	for _, ref := range refs {
		broken := s.hosts.EachConnected(ctx, ref.ClusterUUID, func(h *pluginv1.Host) error {
			if e := s.attachOrLose(ctx, uuid, h); e != nil {
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e) // the others are attached all the same
			}
			return nil
		})
		err = errors.Join(err, broken)
	}
	return err
}

// syncCapacity reads what a storage has free, everywhere.
func (s *Service) syncCapacity(ctx context.Context, uuid string) error {
	local, err := s.hostLocal(ctx, s.Store, uuid)
	if err != nil {
		return err
	}
	if !local {
		_, err := s.capacityOf(ctx, link{primary: uuid})
		return err
	}
	refs, err := store.Find(ctx, s.Store, HostRefType, "`primaryStorageUuid` = ? AND `status` = ?", uuid, Connected)
	for _, ref := range refs {
		_, e := s.capacityOf(ctx, link{uuid, ref.HostUUID})
		err = errors.Join(err, e)
	}
	return err
}
