package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// attach is the state of the flow that attaches a storage to a cluster.
type attach struct{ RefUUID, ClusterUUID, PrimaryUUID string }

// attachParams name a cluster and a storage.
type attachParams struct {
	ClusterUUID string `api:"clusterUuid,required,path,resource=Cluster"`
	PrimaryUUID string `api:"primaryStorageUuid,required,path,resource=PrimaryStorage"`
}

func (s *Service) registerAttach() error {
	const path = "/clusters/{clusterUuid}/primary-storage/{primaryStorageUuid}"
	action.Register(s.Actions, action.Action{
		Message: "APIAttachPrimaryStorageToClusterMsg", Method: "POST", Path: path, Key: "params", Async: true,
		Access: action.Admin, Queue: "primaryStorageUuid", Returns: "PrimaryStorage", Kind: "storage",
		Doc: "Makes a storage usable on the hosts of a cluster.",
	}, func(ctx context.Context, c *action.Call, p *attachParams) (action.Ref, error) {
		st := &attach{RefUUID: resource.NewUUID(), ClusterUUID: p.ClusterUUID, PrimaryUUID: p.PrimaryUUID}
		ref := action.Ref{Type: "PrimaryStorage", UUID: p.PrimaryUUID}
		if err := s.checkAttach(ctx, p); err != nil {
			return ref, err
		}
		return ref, flow.Run(ctx, s.Flows, s.attaching, st, flow.Options{Job: c.Job, Key: p.PrimaryUUID,
			ResourceType: ref.Type, ResourceUUID: ref.UUID})
	})
	action.Register(s.Actions, action.Action{
		Message: "APIDetachPrimaryStorageFromClusterMsg", Method: "DELETE", Path: path, Async: true,
		Access: action.Admin, Queue: "primaryStorageUuid", Returns: "PrimaryStorage", Kind: "storage", Removes: action.Removes(s.goneFromCluster),
		Doc: "Takes a storage from the hosts of a cluster; guests that use it there must be stopped.",
	}, func(ctx context.Context, c *action.Call, p *attachParams) (action.Ref, error) {
		ref := action.Ref{Type: "PrimaryStorage", UUID: p.PrimaryUUID}
		row, found, err := store.First(ctx, s.Store, ClusterRefType, "`clusterUuid` = ? AND `primaryStorageUuid` = ?", p.ClusterUUID, p.PrimaryUUID)
		if err != nil || !found {
			return ref, err
		}
		if err := s.checkDetach(ctx, s.Store, p.ClusterUUID, p.PrimaryUUID); err != nil {
			return ref, err
		}
		return ref, s.generic.Delete(ctx, c, ClusterRefType.Name, row.UUID)
	})
	return nil
}

// checkAttach applies the rules of spec section 1: same zone, not twice, and a
// type that the cluster's hypervisor can use.
func (s *Service) checkAttach(ctx context.Context, p *attachParams) error {
	ps, err := store.Get(ctx, s.Store, PrimaryStorageType, p.PrimaryUUID)
	if err != nil {
		return err
	}
	if ps.State == Maintenance || ps.State == Deleting {
		return errs.New(errs.Refused, "primary storage "+ps.Name, "is in state %s", ps.State).WithAdvice("enable it first")
	}
	cluster, err := s.hosts.Cluster(ctx, s.Store, p.ClusterUUID)
	if err != nil {
		return err
	}
	if cluster.ZoneUUID != ps.ZoneUUID {
		return errs.New(errs.Refused, "primary storage "+ps.Name, "is in another zone than cluster %s", cluster.Name)
	}
	plug, err := s.Plugins.PrimaryStorage(ps.Type)
	if err != nil {
		return err
	}
	if !slices.Contains(plug.Decl.GetHypervisorTypes(), cluster.HypervisorType) {
		return errs.New(errs.Refused, "primary storage "+ps.Name, "of type %s cannot be used by hypervisor %s", ps.Type, cluster.HypervisorType)
	}
	_, found, err := store.First(ctx, s.Store, ClusterRefType, "`clusterUuid` = ? AND `primaryStorageUuid` = ?", p.ClusterUUID, p.PrimaryUUID)
	if err == nil && found {
		err = errs.New(errs.Refused, "primary storage "+ps.Name, "is attached to cluster %s already", cluster.Name)
	}
	return err
}

func (s *Service) attachFlow() *flow.Def[attach] {
	return flow.Define("attach-primary-storage",
		flow.Tx("insert", func(ctx context.Context, tx *store.Tx, st *attach) error {
			err := cascade.GuardAll(ctx, tx, cascade.Parent{Type: "Cluster", UUID: st.ClusterUUID},
				cascade.Parent{Type: PrimaryStorageType.Name, UUID: st.PrimaryUUID})
			if err != nil {
				return err
			}
			row := &PrimaryStorageClusterRef{ClusterUUID: st.ClusterUUID, PrimaryStorageUUID: st.PrimaryUUID}
			row.UUID = st.RefUUID
			return store.Insert(ctx, tx, ClusterRefType, row)
		}, func(ctx context.Context, tx *store.Tx, st *attach) error {
			return store.Delete(ctx, tx, ClusterRefType.Type, st.RefUUID)
		}),
		flow.Do("attach-hosts", func(ctx context.Context, st *attach) error {
			return s.hosts.EachConnected(ctx, st.ClusterUUID, func(h *pluginv1.Host) error { return s.attachHost(ctx, st.PrimaryUUID, h) })
		}, func(ctx context.Context, st *attach) error {
			return s.hosts.EachConnected(ctx, st.ClusterUUID, func(h *pluginv1.Host) error { return s.detachHost(ctx, st.PrimaryUUID, h) })
		}),
	)
}

// attachHost makes a storage usable on a host and saves its capacity there. What
// a host had before must still be there.
func (s *Service) attachHost(ctx context.Context, psUUID string, h *pluginv1.Host) error {
	ref, err := s.hostRef(ctx, psUUID, h.GetUuid())
	if err != nil {
		return err
	}
	return s.attachKnown(ctx, psUUID, h, ref != nil && !ref.Fresh)
}

func (s *Service) attachKnown(ctx context.Context, psUUID string, h *pluginv1.Host, known bool) error {
	st, plug, err := s.plugin(ctx, psUUID)
	if err != nil {
		return err
	}
	r, err := plug.AttachHost(ctx, &pluginv1.AttachHostRequest{Storage: st, Host: h, Known: known})
	if err != nil {
		return fmt.Errorf("attach primary storage %s to host %s: %w", st.GetName(), h.GetName(), err)
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return s.saveHostRef(ctx, tx, psUUID, h.GetUuid(), plug.Decl.GetHostLocal(), r.GetCapacity())
	})
	if err == nil {
		s.checked(ctx, psUUID, h.GetUuid(), s.tooFull(ctx, psUUID, r.GetCapacity()))
	}
	return err
}

// hostRef returns the link of a host to a storage, nil when there is none.
func (s *Service) hostRef(ctx context.Context, psUUID, hostUUID string) (*PrimaryStorageHostRef, error) {
	ref, found, err := store.First(ctx, s.Store, HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", psUUID, hostUUID)
	if err != nil || !found {
		return nil, err
	}
	return ref, nil
}

// attachOrLose is attachHost for a host of the storage's clusters, whether it has
// the storage or should have it: on failure its link is Disconnected, and attached
// with the first look that finds it possible.
func (s *Service) attachOrLose(ctx context.Context, psUUID string, h *pluginv1.Host) error {
	failed := s.attachHost(ctx, psUUID, h)
	if failed == nil || ctx.Err() != nil || errs.CheckOf(failed) != "" {
		return failed
	}
	ctx = context.WithoutCancel(ctx)
	ref, err := s.hostRef(ctx, psUUID, h.GetUuid())
	if err == nil && ref == nil {
		ref = &PrimaryStorageHostRef{PrimaryStorageUUID: psUUID, HostUUID: h.GetUuid(), Status: Disconnected, Fresh: true}
		ref.UUID = resource.NewUUID()
		err = s.Store.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, HostRefType, ref) })
	}
	if err != nil {
		return errors.Join(failed, err)
	}
	s.lostLink(ctx, ref.UUID, failed)
	return failed
}

func (s *Service) detachHost(ctx context.Context, psUUID string, h *pluginv1.Host) error {
	st, plug, err := s.plugin(ctx, psUUID)
	if err != nil {
		return err
	}
	if _, err := plug.DetachHost(ctx, &pluginv1.DetachHostRequest{Storage: st, Host: h}); err != nil {
		return fmt.Errorf("detach primary storage %s from host %s: %w", st.GetName(), h.GetName(), err)
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.removeHostRef(ctx, tx, psUUID, h.GetUuid()) })
}

// HostConnected attaches the cluster's storages to a host, and takes away what
// the cluster gave up while the host was gone
// (contract.HostConnected).
func (s *Service) HostConnected(ctx context.Context, h *pluginv1.Host) error {
	refs, err := store.Sound(ctx, s.Store, ClusterRefType, store.PassedOver(s.Log), "`clusterUuid` = ?", h.GetClusterUuid())
	if err != nil {
		return err
	}
	attached := map[string]bool{}
	for _, ref := range refs {
		attached[ref.PrimaryStorageUUID] = true
		// One storage that is lost is no reason to keep the host out.
		if err := s.attachOrLose(ctx, ref.PrimaryStorageUUID, h); errs.CheckOf(err) != "" || ctx.Err() != nil {
			return err
		}
	}
	links, err := store.Sound(ctx, s.Store, HostRefType, store.PassedOver(s.Log), "`hostUuid` = ?", h.GetUuid())
	if err != nil {
		return err
	}
	for _, l := range links {
		if attached[l.PrimaryStorageUUID] {
			continue
		}
		if err := s.detachHost(ctx, l.PrimaryStorageUUID, h); err != nil { // no reason to keep the host out
			s.Log.Warn("storage not taken from host", "host", h.GetUuid(), "primaryStorage", l.PrimaryStorageUUID, "error", err)
		}
	}
	return nil
}

// HostLost marks the host's links to storages (contract.HostLost).
func (s *Service) HostLost(ctx context.Context, hostUUID string) {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		links, err := store.Sound(ctx, tx, HostRefType, store.PassedOver(s.Log), "`hostUuid` = ? AND `status` <> ?", hostUUID, Disconnected)
		if err != nil || len(links) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE `PrimaryStorageHostRef` SET `status` = ? WHERE `hostUuid` = ?", Disconnected, hostUUID); err != nil {
			return err
		}
		for _, l := range links {
			if err := s.sumIfLocal(ctx, tx, l.PrimaryStorageUUID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Log.Error("storage links not marked", "host", hostUUID, "error", err)
	}
}

// HostChanged looks at the storages of a host, all at once (contract.HostChanged). Which
// of them is lost, the looks at an interval decide.
func (s *Service) HostChanged(ctx context.Context, hostUUID string) {
	refs, err := store.Sound(ctx, s.Store, HostRefType, store.PassedOver(s.Log), "`hostUuid` = ?", hostUUID)
	if err != nil {
		s.Log.Error("storages of a host that has changed not looked at", "host", hostUUID, "error", err)
	}
	var all sync.WaitGroup
	for _, ref := range refs {
		all.Go(func() {
			local, err := s.hostLocal(ctx, s.Store, ref.PrimaryStorageUUID)
			if err == nil && (local || ref.Status != Connected) {
				err = s.checkLink(ctx, ref.UUID)
			}
			if err == nil && !local {
				err = s.checkStorage(ctx, ref.PrimaryStorageUUID)
			}
			if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
				s.Log.Warn("storage of a host that has changed not looked at", "host", hostUUID, "primaryStorage", ref.PrimaryStorageUUID, "error", err)
			}
		})
	}
	all.Wait()
}

// HostLeaving detaches the storages from a host (contract.HostLeaving).
func (s *Service) HostLeaving(ctx context.Context, h *pluginv1.Host) error {
	refs, err := store.Find(ctx, s.Store, HostRefType, "`hostUuid` = ?", h.GetUuid())
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := s.detachHost(ctx, ref.PrimaryStorageUUID, h); err != nil {
			return err
		}
	}
	return nil
}

// checkDetach refuses while guests of the cluster run on the storage.
func (s *Service) checkDetach(ctx context.Context, q store.Querier, clusterUUID, psUUID string) error {
	running, err := s.firstRunning(ctx, q, psUUID, clusterUUID)
	if err != nil || running == "" {
		return err
	}
	return errs.New(errs.Refused, "primary storage "+psUUID, "guest %s of the cluster runs on it", running).
		WithAdvice("stop the cluster's guests on this storage first")
}

// goneFromCluster is the plan of taking a storage from a cluster.
func (s *Service) goneFromCluster(ctx context.Context, _ *action.Call, p *attachParams) (action.Removal, error) {
	r := action.Removal{Subject: action.Row{Type: PrimaryStorageType.Name, UUID: p.PrimaryUUID}}
	row, found, err := store.First(ctx, s.Store, ClusterRefType, "`clusterUuid` = ? AND `primaryStorageUuid` = ?", p.ClusterUUID, p.PrimaryUUID)
	if err != nil || !found {
		return r, err
	}
	r.Rows = []action.Row{{Type: ClusterRefType.Name, UUID: row.UUID}}
	if err = s.checkDetach(ctx, s.Store, p.ClusterUUID, p.PrimaryUUID); errs.ClassOf(err) == errs.Refused {
		r.Against, err = []error{err}, nil
	}
	return r, err
}

// deleteClusterRef detaches a storage from a cluster's hosts and removes the
// row.
func (s *Service) deleteClusterRef(ctx context.Context, uuid string, m cascade.Mode) error {
	ref, err := store.Get(ctx, s.Store, ClusterRefType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.hosts.EachConnected(ctx, ref.ClusterUUID, func(h *pluginv1.Host) error {
		err := s.detachHost(ctx, ref.PrimaryStorageUUID, h)
		if m == cascade.Enforcing && err != nil {
			s.Log.Warn("storage not detached", "host", h.GetUuid(), "error", err)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, ClusterRefType.Type, uuid) })
}
