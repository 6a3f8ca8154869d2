package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// starting is the state of the flow that starts a guest. Its host has been
// chosen.
type starting struct {
	guest
	seat
	Cluster string // of the host
}

// startParams are the parameters of APIStartVmInstanceMsg.
type startParams struct {
	UUID    string `api:"uuid,required,path,resource=VmInstance"`
	Cluster string `api:"clusterUuid,resource=Cluster"`
	Host    string `api:"hostUuid,resource=Host"`
}

func (s *Service) registerStart() {
	action.Register(s.Actions, s.vmAction("Start", "Starts a guest."), func(ctx context.Context, c *action.Call, p *startParams) (action.Ref, error) {
		if err := s.uninhibit(ctx, p.UUID); err != nil {
			return action.Ref{}, err
		}
		return refOf(p.UUID), s.startVM(ctx, c, p)
	})
}

// startVM starts a guest where there is room for it.
func (s *Service) startVM(ctx context.Context, c *action.Call, p *startParams) error {
	vm, g, err := s.ready(ctx, p.UUID, "start")
	if err != nil {
		return err
	}
	st := &starting{guest: *g}
	tags, err := s.Tags.Of(ctx, s.Store, p.UUID)
	if err != nil {
		return err
	}
	if st.MaxGuests, err = s.maxGuests(ctx, s.Store, vm, tags); err != nil {
		return err
	}
	if err := s.claimAgain(ctx, vm, tags, st); err != nil {
		return err
	}
	host, err := s.chooseHost(ctx, vm, st, p)
	if err != nil {
		return err
	}
	st.Host, st.Cluster = host.UUID, host.ClusterUUID
	return flow.Run(ctx, s.Flows, s.start, st, flowOf(c, p.UUID))
}

// chooseHost finds the host on which a stopped guest starts: the one its
// volumes are on, else its last one when it has room, else the best by its
// strategy that has its storage (spec section 1.6).
func (s *Service) chooseHost(ctx context.Context, vm *VMInstance, st *starting, p *startParams) (contract.HostCandidate, error) {
	var none contract.HostCandidate
	reachable, err := s.reachable(ctx, s.Store, l3sOf(&st.guest))
	if err != nil {
		return none, err
	}
	bound, primary := p.Host, ""
	for _, v := range st.Volumes {
		primary = v.PrimaryUUID
		if v.HostUUID == "" {
			continue
		}
		if p.Host != "" && p.Host != v.HostUUID {
			return none, refuse(vm, "its volume %s is on host %s; it cannot start on %s", v.Name, v.HostUUID, p.Host)
		}
		bound = v.HostUUID
	}
	hosts, err := s.hosts.Candidates(ctx, s.Store, contract.HostRequest{Room: st.room(st.MaxGuests), ZoneUUID: vm.ZoneUUID, ClusterUUID: p.Cluster, HostUUID: bound,
		HypervisorType: vm.HypervisorType, Architecture: vm.Architecture, Strategy: vm.AllocatorStrategy, LastHost: vm.LastHostUUID, Reachable: reachable})
	if err != nil {
		return none, err
	}
	if hosts, err = s.able(hosts, vm.Name, vm.Architecture, st.options); err != nil {
		return none, err
	}
	places, err := s.storage.Places(ctx, s.Store, contract.PlaceRequest{Hosts: hosts, PrimaryUUID: primary})
	if err != nil {
		return none, err
	}
	return places[0].Host, nil
}

func (s *Service) startFlow() *flow.Def[starting] {
	return flow.Define("start-vm",
		flow.Tx("reserve", func(ctx context.Context, tx *store.Tx, st *starting) error {
			return s.reserve(ctx, tx, &st.guest, &st.seat)
		}, func(ctx context.Context, tx *store.Tx, st *starting) error {
			return s.unreserve(ctx, tx, &st.guest, &st.seat)
		}),
		flow.Tx("starting", doTx[starting](s.setState("starting")), doTx[starting](s.restoreState)),
		flow.Do("prepare-network", do[starting](s.prepareNetwork), do[starting](s.releaseNetwork)),
		point[starting](s, "nics-ready", pointReady),
		flow.Do("start-on-host", do[starting](s.startOnHost), do[starting](s.unstartOnHost)),
		point[starting](s, "started", pointStarted),
		flow.Tx("running", func(ctx context.Context, tx *store.Tx, st *starting) error {
			return s.move(ctx, tx, st.UUID, "running", map[string]any{"hostUuid": st.Host, "clusterUuid": st.Cluster})
		}, nil),
	)
}

// unstartOnHost undoes startOnHost of a guest that was there before the flow. The
// host that it ran on last had something of it already, such as its firmware's
// boot entries: that stays.
func (s *Service) unstartOnHost(ctx context.Context, g *guest) error {
	if g.Host != g.LastHost {
		return s.destroyOnHost(ctx, g)
	}
	return s.cutPower(ctx, g)
}
