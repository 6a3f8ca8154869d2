package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// plugging is the state of the flow that gives a guest a NIC, which is the only one in
// the guest here, and is there when it has been allocated.
type plugging struct {
	guest
	home
	Wish           contract.NICWish
	Devices        []int64 // numbers that its other NICs have
	Driver         string
	HypervisorType string
	Tags           []string // that it is given with the NIC
}

// attachNICFlow gives a guest a NIC. The first NIC's network is the guest's default.
func (s *Service) attachNICFlow() *flow.Def[plugging] {
	runs := func(st *plugging) bool { return st.Host != "" }
	return flow.Define("attach-nic",
		flow.Tx("allocate-nic", s.allocateNIC, s.unallocateNIC),
		flow.Do("prepare-network", do[plugging](s.prepareNetwork), do[plugging](s.takeFromHost)).When(runs),
		point[plugging](s, "begin", pointPlugging),
		flow.Do("plug-on-host", do[plugging](s.plugOnHost), do[plugging](ifItRuns(s.unplugOnHost))).When(runs),
		point[plugging](s, "done", pointPlugged),
	)
}

// allocateNIC writes all rows; a repeat writes them anew.
func (s *Service) allocateNIC(ctx context.Context, tx *store.Tx, st *plugging) error {
	if err := s.unallocateNIC(ctx, tx, st); err != nil {
		return err
	}
	nics, err := s.networks.Allocate(ctx, tx, contract.NICRequest{VMUUID: st.UUID, AccountUUID: st.Account, HypervisorType: st.HypervisorType,
		Driver: st.Driver, Devices: st.Devices, NICs: []contract.NICWish{st.Wish}})
	if err != nil {
		return err
	}
	st.NICs, st.Is = nics, st.Was
	if st.Was == "" {
		st.Is = st.Wish.L3UUID
	}
	if err := s.moveHome(ctx, tx, st.UUID, st.Is, false); err != nil {
		return err
	}
	if err := s.Tags.Create(ctx, tx, VMType.Name, st.UUID, st.Tags, false); err != nil {
		return err
	}
	vm, err := store.Get(ctx, tx, VMType, st.UUID)
	if err != nil {
		return err
	}
	tags, err := s.Tags.Of(ctx, tx, st.UUID)
	if err != nil {
		return err
	}
	s.describe(&st.guest, tags, st.Is)
	st.nameNICs(hostnameOf(vm, tags))
	return cascade.Guard(ctx, tx, "L3Network", st.Wish.L3UUID)
}

// unallocateNIC removes them; what never was is a success.
func (s *Service) unallocateNIC(ctx context.Context, tx *store.Tx, st *plugging) error {
	for _, n := range st.NICs {
		if err := s.networks.FreeNIC(ctx, tx, n.UUID); err != nil {
			return err
		}
	}
	if err := s.untag(ctx, tx, st.UUID, st.Wish.L3UUID); err != nil {
		return err
	}
	return s.moveHome(ctx, tx, st.UUID, st.Was, true)
}

// takeFromHost undoes prepareNetwork of NICs that their guest does not get: a host
// that connects meanwhile is not told of them any more.
func (s *Service) takeFromHost(ctx context.Context, g *guest) error {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		for _, n := range g.NICs {
			if err := s.networks.Leaves(ctx, tx, n.UUID, true); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.releaseNetwork(ctx, g)
}
