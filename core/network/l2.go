package network

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// l2Attach is the state of the flow that attaches a network to a cluster.
type l2Attach struct{ RefUUID, L2UUID, ClusterUUID, ProviderType string }

// l2Cluster holds the parameters that name a network and a cluster.
type l2Cluster struct {
	L2UUID       string `api:"l2NetworkUuid,required,path,resource=L2Network"`
	ClusterUUID  string `api:"clusterUuid,required,path,resource=Cluster"`
	ProviderType string `api:"l2ProviderType"`
}

// l2Detach is l2Cluster without the provider.
type l2Detach struct {
	L2UUID      string `api:"l2NetworkUuid,required,path,resource=L2Network"`
	ClusterUUID string `api:"clusterUuid,required,path,resource=Cluster"`
}

func (s *Service) registerL2() error {
	s.registerL2Detach()
	return cmp.Or(
		s.generic.RegisterUpdate(L2NetworkType.Type, action.Normal, nil),
		s.generic.RegisterDelete(L2NetworkType.Type, action.Admin, s.l2Unused),
	)
}

// l2Unused refuses to delete a network with guests' NICs in its L3 networks.
func (s *Service) l2Unused(ctx context.Context, uuid string) error {
	nic, found, err := store.First(ctx, s.Store, VMNicType, "`vmInstanceUuid` IS NOT NULL AND `l3NetworkUuid` IN (SELECT `uuid` FROM `L3Network` WHERE `l2NetworkUuid` = ?)", uuid)
	if err != nil || !found {
		return err
	}
	return refused("L2Network "+uuid, "guest %s has a NIC in L3Network %s", nic.VMInstanceUUID, nic.L3NetworkUUID).
		WithAdvice("destroy and expunge the guests that use it first")
}

const l2ClusterPath = "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}"

// registerL2Attach registers the message that offers the switches which plugins have.
func (s *Service) registerL2Attach() {
	action.Register(s.Actions, action.Action{
		Message: "APIAttachL2NetworkToClusterMsg", Method: "POST", Path: l2ClusterPath, Key: "null", Async: true, Access: action.Admin,
		Queue: "l2NetworkUuid", Returns: "L2Network", Kind: "network", Doc: "Makes a layer 2 network exist on the hosts of a cluster.",
		Values: map[string][]resource.Value{"l2ProviderType": s.allSwitches()},
	}, func(ctx context.Context, c *action.Call, p *l2Cluster) (action.Ref, error) {
		ref := action.Ref{Type: "L2Network", UUID: p.L2UUID}
		if err := s.checkL2Attach(ctx, p); err != nil {
			return ref, err
		}
		st := &l2Attach{RefUUID: resource.NewUUID(), L2UUID: p.L2UUID, ClusterUUID: p.ClusterUUID, ProviderType: p.ProviderType}
		return ref, flow.Run(ctx, s.Flows, s.attaching, st, flow.Options{Job: c.Job, Key: p.L2UUID, ResourceType: ref.Type, ResourceUUID: ref.UUID})
	})
}

func (s *Service) registerL2Detach() {
	action.Register(s.Actions, action.Action{
		Message: "APIDetachL2NetworkFromClusterMsg", Method: "DELETE", Path: l2ClusterPath, Async: true, Access: action.Admin,
		Queue: "l2NetworkUuid", Returns: "L2Network", Kind: "network", Removes: action.Removes(s.goneFromCluster), Doc: "Takes a layer 2 network from the hosts of a cluster.",
	}, func(ctx context.Context, c *action.Call, p *l2Detach) (action.Ref, error) {
		ref := action.Ref{Type: "L2Network", UUID: p.L2UUID}
		row, found, err := store.First(ctx, s.Store, L2ClusterRefType, "`l2NetworkUuid` = ? AND `clusterUuid` = ?", p.L2UUID, p.ClusterUUID)
		if err != nil || !found {
			return ref, err
		}
		if err := s.unplugged(ctx, p); err != nil {
			return ref, err
		}
		return ref, s.generic.Delete(ctx, c, L2ClusterRefType.Name, row.UUID)
	})
}

// unplugged refuses to take a network from a cluster whose guests are plugged in.
func (s *Service) unplugged(ctx context.Context, p *l2Detach) error {
	vms, err := store.Texts(ctx, s.Store, "SELECT DISTINCT `vmInstanceUuid` FROM `VmNic` WHERE `vmInstanceUuid` IS NOT NULL AND "+
		"`l3NetworkUuid` IN (SELECT `uuid` FROM `L3Network` WHERE `l2NetworkUuid` = ?)", p.L2UUID)
	if err != nil {
		return err
	}
	busy := ""
	err = s.guests.Places(ctx, s.Store, vms, func(g contract.GuestPlace) {
		if g.ClusterUUID == p.ClusterUUID {
			busy = g.Name
		}
	})
	if err == nil && busy != "" {
		err = refused("L2Network "+p.L2UUID, "guest %s of the cluster is plugged in", busy).WithAdvice("stop the cluster's guests on this network first")
	}
	return err
}

// goneFromCluster is the plan of taking a network from a cluster.
func (s *Service) goneFromCluster(ctx context.Context, _ *action.Call, p *l2Detach) (action.Removal, error) {
	r := action.Removal{Subject: action.Row{Type: L2NetworkType.Name, UUID: p.L2UUID}}
	row, found, err := store.First(ctx, s.Store, L2ClusterRefType, "`l2NetworkUuid` = ? AND `clusterUuid` = ?", p.L2UUID, p.ClusterUUID)
	if err != nil || !found {
		return r, err
	}
	r.Rows = []action.Row{{Type: L2ClusterRefType.Name, UUID: row.UUID}}
	if err = s.unplugged(ctx, p); errs.ClassOf(err) == errs.Refused {
		r.Against, err = []error{err}, nil
	}
	return r, err
}

// checkL2Attach applies the rules of spec section 1: same zone, not twice, and not
// beside a network with which its type cannot share a cluster.
func (s *Service) checkL2Attach(ctx context.Context, p *l2Cluster) error {
	l2, err := store.Get(ctx, s.Store, L2NetworkType, p.L2UUID)
	if err != nil {
		return err
	}
	cluster, err := s.hosts.Cluster(ctx, s.Store, p.ClusterUUID)
	if err != nil {
		return err
	}
	if cluster.ZoneUUID != l2.ZoneUUID {
		return refused("L2Network "+l2.Name, "is in another zone than cluster %s", cluster.Name)
	}
	if _, err := s.Plugins.L2Network(l2.Type, cluster.HypervisorType); err != nil {
		return err
	}
	attached, err := store.Count(ctx, s.Store, L2ClusterRefType.Type, "`clusterUuid` = ? AND `l2NetworkUuid` = ?", p.ClusterUUID, p.L2UUID)
	if err != nil {
		return err
	}
	if attached > 0 {
		return refused("L2Network "+l2.Name, "is attached to cluster %s already", cluster.Name)
	}
	return s.checkL2Alone(ctx, l2, cluster)
}

func (s *Service) attachFlow() *flow.Def[l2Attach] {
	return flow.Define("attach-l2-network",
		flow.Tx("insert", func(ctx context.Context, tx *store.Tx, st *l2Attach) error {
			if err := cascade.GuardAll(ctx, tx, cascade.Parent{Type: "L2Network", UUID: st.L2UUID}, cascade.Parent{Type: "Cluster", UUID: st.ClusterUUID}); err != nil {
				return err
			}
			row := &L2NetworkClusterRef{ClusterUUID: st.ClusterUUID, L2NetworkUUID: st.L2UUID, L2ProviderType: st.ProviderType}
			row.UUID = st.RefUUID
			return store.Insert(ctx, tx, L2ClusterRefType, row)
		}, func(ctx context.Context, tx *store.Tx, st *l2Attach) error {
			return store.Delete(ctx, tx, L2ClusterRefType.Type, st.RefUUID)
		}),
		flow.Do("realize", func(ctx context.Context, st *l2Attach) error {
			l2, err := store.Get(ctx, s.Store, L2NetworkType, st.L2UUID)
			if err != nil {
				return err
			}
			return s.hosts.EachConnected(ctx, st.ClusterUUID, func(h *pluginv1.Host) error {
				s.tidy(ctx, h)
				return s.realize(ctx, l2, h)
			})
		}, func(ctx context.Context, st *l2Attach) error {
			return s.hosts.EachConnected(ctx, st.ClusterUUID, func(h *pluginv1.Host) error { return s.unrealize(ctx, st.L2UUID, h) })
		}),
	)
}

// deleteClusterRef takes a network from the cluster's hosts and removes the
// row. Hosts that are away, or with Enforcing fail, give it back later (tidy).
func (s *Service) deleteClusterRef(ctx context.Context, uuid string, m cascade.Mode) error {
	ref, err := store.Get(ctx, s.Store, L2ClusterRefType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.hosts.EachConnected(ctx, ref.ClusterUUID, func(h *pluginv1.Host) error {
		err := s.unrealize(ctx, ref.L2NetworkUUID, h)
		if err != nil && m == cascade.Enforcing {
			s.Log.Warn("network not taken from host yet", "host", h.GetUuid(), "l2Network", ref.L2NetworkUUID, "error", err)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, L2ClusterRefType.Type, uuid) })
}
