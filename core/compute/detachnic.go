package compute

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// unplugging is the state of the flow that takes a NIC from a guest: the only one in
// the guest here. Rest are those that stay.
type unplugging struct {
	guest
	home
	Rest []*contract.NICPlan
}

func (s *Service) apiDetachNIC(ctx context.Context, c *action.Call, p *detachNIC) (action.Ref, error) {
	uuid, err := s.networks.GuestOf(ctx, s.Store, p.NIC)
	if err != nil || uuid == "" {
		return action.Ref{}, err
	}
	vm, g, err := s.ready(ctx, uuid, "detach-nic")
	if err != nil {
		return action.Ref{}, err
	}
	i := slices.IndexFunc(g.NICs, func(n *contract.NICPlan) bool { return n.UUID == p.NIC })
	if i < 0 {
		return action.Ref{}, refuse(vm, "NIC %s is being taken from it already", p.NIC)
	}
	st := &unplugging{guest: *g, Rest: slices.Concat(g.NICs[:i], g.NICs[i+1:]), home: home{Was: vm.DefaultL3NetworkUUID, Is: vm.DefaultL3NetworkUUID}}
	st.NICs = []*contract.NICPlan{g.NICs[i]}
	if st.Was == g.NICs[i].L3UUID {
		st.Is = ""
		if len(st.Rest) > 0 {
			st.Is = st.Rest[0].L3UUID
		}
	}
	if vm.HostUUID != "" {
		if _, err := s.pluggable(vm, &guest{}, ""); err != nil {
			return action.Ref{}, err
		}
	}
	return refOf(uuid), flow.Run(ctx, s.Flows, s.detachNIC, st, flowOf(c, uuid))
}

// detachNICFlow takes a NIC from a guest. When it was in the guest's default network,
// that is the network of the first NIC that stays from then on (ZStack does so).
func (s *Service) detachNICFlow() *flow.Def[unplugging] {
	runs := func(st *unplugging) bool { return st.Host != "" }
	return flow.Define("detach-nic",
		flow.Tx("leave", func(ctx context.Context, tx *store.Tx, st *unplugging) error {
			if err := s.networks.Leaves(ctx, tx, st.NICs[0].UUID, true); err != nil {
				return err
			}
			return s.moveHome(ctx, tx, st.UUID, st.Is, false)
		}, func(ctx context.Context, tx *store.Tx, st *unplugging) error {
			if err := s.networks.Leaves(ctx, tx, st.NICs[0].UUID, false); err != nil {
				return err
			}
			return s.moveHome(ctx, tx, st.UUID, st.Was, true)
		}),
		point[unplugging](s, "begin", pointUnplugging),
		flow.Do("unplug-on-host", do[unplugging](s.unplugOnHost), do[unplugging](ifItRuns(s.plugBack))).When(runs),
		flow.Do("release-network", s.releaseNIC, s.prepareRest(func(st *unplugging) string { return st.Was })).When(runs),
		point[unplugging](s, "done", pointUnplugged),
		flow.Tx("detached", func(ctx context.Context, tx *store.Tx, st *unplugging) error {
			if err := s.networks.FreeNIC(ctx, tx, st.NICs[0].UUID); err != nil {
				return err
			}
			return s.untag(ctx, tx, st.UUID, st.NICs[0].L3UUID)
		}, nil),
	)
}

// plugBack undoes unplugOnHost. Where the NIC is to be plugged in, its network tells.
func (s *Service) plugBack(ctx context.Context, g *guest) error {
	if err := s.prepareNetwork(ctx, g); err != nil {
		return err
	}
	return s.plugOnHost(ctx, g)
}

// releaseNIC has the host let go of the NIC's services, and tells the others of the
// guest's new default network.
func (s *Service) releaseNIC(ctx context.Context, st *unplugging) error {
	if err := s.letGoOfNetwork(ctx, &st.guest); err != nil {
		return err
	}
	return s.prepareRest(func(st *unplugging) string { return st.Is })(ctx, st)
}

// prepareRest tells the services of the NICs that stay which network is the guest's
// default, when that moves.
func (s *Service) prepareRest(l3 func(*unplugging) string) func(context.Context, *unplugging) error {
	return func(ctx context.Context, st *unplugging) error {
		if st.Is == st.Was || len(st.Rest) == 0 {
			return nil
		}
		vm, err := store.Get(ctx, s.Store, VMType, st.UUID)
		if err != nil {
			return err
		}
		tags, err := s.Tags.Of(ctx, s.Store, st.UUID)
		if err != nil {
			return err
		}
		rest := st.guest
		rest.NICs = st.Rest
		s.describe(&rest, tags, l3(st))
		rest.nameNICs(hostnameOf(vm, tags))
		return s.prepareNetwork(ctx, &rest)
	}
}
