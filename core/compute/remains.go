package compute

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file removes from hosts what they keep of guests that do not run there
// any more. A host that cannot be reached, or fails, is no obstacle to the end
// of a guest: what is left is noted and removed later (cascade.Garbage).

// remains are what a host may still have of a guest.
type remains struct {
	Guest, Name, Host string
	// Address is that of a host which was deleted while it did not answer: the guest
	// may run there (lost.go).
	Address string `json:",omitempty"`
	// NICs are those whose network services were not released, Volumes those
	// whose bits were not deleted.
	NICs    []*contract.NICPlan    `json:",omitempty"`
	Volumes []*contract.VolumePlan `json:",omitempty"`
	// Gone is for a guest that is expunged, or has moved to another host: nothing of it
	// is to stay, neither a definition nor logs nor the variables of its firmware.
	Gone bool `json:",omitempty"`
}

// sweep removes what its last host has of a guest that is being expunged.
func (s *Service) sweep(ctx context.Context, g *guest) error {
	r := remains{Guest: g.UUID, Name: g.Name, Host: g.LastHost, Gone: true}
	if err := s.removeNow(ctx, r); err != nil {
		return s.leave(ctx, r, err)
	}
	return nil
}

// letGoOfNetwork is releaseNetwork for guests that stop: an error is no reason
// to keep the guest (spec: network services).
func (s *Service) letGoOfNetwork(ctx context.Context, g *guest) error {
	if err := s.releaseNetwork(ctx, g); err != nil {
		return s.leave(ctx, remains{Guest: g.UUID, Name: g.Name, Host: g.Host, NICs: g.NICs}, err)
	}
	return nil
}

// letGo is letGoOfNetwork for a guest of which no more may be known.
func (s *Service) letGo(ctx context.Context, h *pluginv1.Host, uuid string, nics []*contract.NICPlan) error {
	if err := s.networks.Release(ctx, h, uuid, nics); err != nil {
		return s.leave(ctx, remains{Guest: uuid, Name: uuid, Host: h.GetUuid(), NICs: nics}, err)
	}
	return nil
}

// leave notes what is to be removed later.
func (s *Service) leave(ctx context.Context, r remains, cause error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.leaveTx(ctx, tx, r, cause) })
}

func (s *Service) leaveTx(ctx context.Context, tx *store.Tx, r remains, cause error) error {
	left, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.Cascade.Leave(ctx, tx, cascade.Node{Type: VMType.Name, UUID: r.Guest, Name: r.Name}, left, cause)
}

// collect removes what was noted (cascade.Deleter). It waits in the guest's
// queue, and leaves alone a guest that runs on the host again.
func (s *Service) collect(ctx context.Context, left json.RawMessage) error {
	var r remains
	if err := json.Unmarshal(left, &r); err != nil {
		return errs.Wrap(errs.Internal, "remains of a guest", err, "cannot be read")
	}
	if !s.Node.Owns(r.Guest) {
		return errs.New(errs.Unavailable, "guest "+r.Guest, "another node looks after it")
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout) // the next round tries again
	defer cancel()
	_, err := s.Actions.DoSystem(ctx, sweepMessage, map[string]any{"uuid": r.Guest, "left": left})
	return err
}

// sweepLater removes what a host has of a guest, when it is there.
func (s *Service) sweepLater(ctx context.Context, r remains) error {
	host, err := s.where(ctx, r)
	if err != nil {
		return err
	}
	r.Host = host
	return s.sweepNow(ctx, r)
}

// sweepNow removes what a host has of a guest, unless that runs there again, or nobody
// knew yet whether it does. Of a guest that runs there, NICs are removed that it has no
// longer.
func (s *Service) sweepNow(ctx context.Context, r remains) error {
	vm, g, err := s.load(ctx, s.Store, r.Guest)
	switch {
	case errs.ClassOf(err) == errs.NotFound:
		return s.removeNow(ctx, r)
	case err != nil:
		return err
	case vm.HostUUID == r.Host:
		r.NICs = without(r.NICs, g.NICs)
		return s.releaseNetwork(ctx, &guest{UUID: r.Guest, Name: r.Name, Host: r.Host, NICs: r.NICs})
	case r.Address != "" && vm.HostUUID == "" && vm.State == Unknown:
		return s.reappeared(ctx, g, r.Host)
	case r.Gone && vm.HostUUID == "" && vm.LastHostUUID == r.Host:
		return nil // it moved away, and back, and stopped there: what the host has is its own again
	}
	return s.removeNow(ctx, r)
}

// removeNow removes it now. What is gone with its host or storage is a success.
func (s *Service) removeNow(ctx context.Context, r remains) error {
	g := &guest{UUID: r.Guest, Name: r.Name, Host: r.Host, NICs: r.NICs}
	end := s.destroyOnHost
	if !r.Gone {
		end = s.cutPower
	}
	if r.Gone || r.Address != "" {
		if err := end(ctx, g); err != nil {
			return err
		}
	}
	if len(r.NICs) > 0 {
		if err := s.releaseNetwork(ctx, g); err != nil {
			return err
		}
	}
	for _, v := range r.Volumes {
		if err := s.deleteBits(ctx, v, r.Host); err != nil && errs.ClassOf(err) != errs.NotFound {
			return err
		}
	}
	return nil
}

// without returns those NICs that are none of others.
func without(nics, others []*contract.NICPlan) []*contract.NICPlan {
	return slices.DeleteFunc(slices.Clone(nics), func(n *contract.NICPlan) bool {
		return slices.ContainsFunc(others, func(o *contract.NICPlan) bool { return o.UUID == n.UUID })
	})
}
