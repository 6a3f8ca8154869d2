package network

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// work is what one provider has to do on a host.
type work struct {
	networks map[string]*pluginv1.L3Network
	nics     []*pluginv1.GuestNIC
}

// rows are what the host should have for it.
func (w *work) rows() pluginsdk.NetworkRows {
	r := pluginsdk.NetworkRows{NICs: w.nics}
	for _, uuid := range slices.Sorted(maps.Keys(w.networks)) {
		r.Networks = append(r.Networks, w.networks[uuid])
	}
	return r
}

// nicKeys name the NICs.
func (w *work) nicKeys() (k pluginsdk.NetworkKeys) {
	for _, n := range w.nics {
		k.NICs = append(k.NICs, n.GetNicUuid())
	}
	return k
}

// share divides guests' NICs among the providers of their networks.
func share(views map[string]*view, guests []contract.GuestNICs) map[string]*work {
	shares := map[string]*work{}
	for _, g := range guests {
		for _, n := range g.NICs {
			v := views[n.L3UUID]
			if v == nil {
				continue // it is not on the host
			}
			for provider, l3 := range v.byProvider {
				w := shares[provider]
				if w == nil {
					w = &work{networks: map[string]*pluginv1.L3Network{}}
					shares[provider] = w
				}
				w.networks[n.L3UUID] = l3
				w.nics = append(w.nics, guestNIC(g.Guest, n))
			}
		}
	}
	return shares
}

func guestNIC(g contract.Guest, n *contract.NICPlan) *pluginv1.GuestNIC {
	return &pluginv1.GuestNIC{NicUuid: n.UUID, VmUuid: g.VMUUID, VmName: g.Name, Mac: n.MAC, Ip: n.IP, Netmask: n.Netmask,
		Gateway: n.Gateway, Hostname: g.Hostnames[n.L3UUID], L3Uuid: n.L3UUID, DefaultNetwork: n.L3UUID == g.DefaultL3UUID,
		UserData: g.UserData, SshKeys: g.SSHKeys, InternalName: n.InternalName}
}

func l3sOf(guests []contract.GuestNICs) []string {
	var l []string
	for _, g := range guests {
		for _, n := range g.NICs {
			l = append(l, n.L3UUID)
		}
	}
	return l
}

// Prepare makes the networks' services work for a guest on a host before it
// starts, and fills in each NIC's bridge and MTU. A repeat replaces what was
// there.
func (s *Service) Prepare(ctx context.Context, host *pluginv1.Host, g contract.Guest, nics []*contract.NICPlan) error {
	guests := []contract.GuestNICs{{Guest: g, NICs: nics}}
	l3s := l3sOf(guests)
	for range restless {
		seen := s.changes.of(l3s...)
		if err := s.prepare(ctx, host, guests); err != nil {
			return err
		}
		if s.changes.of(l3s...) == seen {
			return s.notLeaving(ctx, host, g, nics)
		}
		for _, l3 := range l3s { // also for providers that are no longer asked
			if err := s.refresh(ctx, host, l3); err != nil {
				return err
			}
		}
	}
	return changesTooFast(l3s[0])
}

func (s *Service) prepare(ctx context.Context, host *pluginv1.Host, guests []contract.GuestNICs) error {
	views, err := s.views(ctx, host.GetUuid(), l3sOf(guests))
	if err != nil {
		return err
	}
	g, nics := guests[0].Guest, guests[0].NICs
	for _, n := range nics {
		n.Bridge, n.MTU = views[n.L3UUID].device, views[n.L3UUID].mtu
	}
	told := problems{}
	for provider, w := range share(views, guests) {
		if !s.serves(provider, host.GetHypervisorType()) {
			continue
		}
		left, err := s.tell(ctx, host, provider, w.rows())
		if err != nil {
			return errs.Wrap(errs.ClassOf(err), "network services of "+provider, err, "cannot be prepared for guest %s", g.Name)
		}
		told.addAll(left)
	}
	if len(told) > 0 { // what was told of other guests stays
		s.problems.Note(ctx, host.GetUuid(), told.texts(), false)
	}
	return nil
}

// notLeaving takes back what was prepared in a network whose deletion has begun
// meanwhile: the host may have forgotten the network just before it was told
// of the NIC, and nobody would tell it to forget that too.
func (s *Service) notLeaving(ctx context.Context, host *pluginv1.Host, g contract.Guest, nics []*contract.NICPlan) error {
	l3s := make([]cascade.Parent, len(nics))
	for i, n := range nics {
		l3s[i] = cascade.Parent{Type: L3NetworkType.Name, UUID: n.L3UUID}
	}
	err := cascade.Intact(ctx, s.Store, l3s...)
	if c := errs.ClassOf(err); c == errs.NotFound || c == errs.Refused {
		err = errs.Wrap(c, "guest "+g.Name, errors.Join(err, s.Release(ctx, host, g.VMUUID, nics)), "cannot be plugged in")
	}
	return err
}

// Sync replaces what the providers have on a host by these guests; called when
// the host has connected, or has lost what it was told. What is not possible of a
// network is shown on it and costs the others nothing; errors are about the host.
func (s *Service) Sync(ctx context.Context, host *pluginv1.Host, guests []contract.GuestNICs) error {
	told, views := problems{}, map[string]*view{}
	for _, l3 := range l3sOf(guests) {
		if _, seen := told[l3]; seen {
			continue
		}
		v, err := s.view(ctx, host.GetUuid(), l3)
		switch {
		case errs.ClassOf(err) == errs.NotFound:
			continue // it was deleted meanwhile
		case errors.Is(err, store.ErrDamaged):
			told.add(l3, err.Error())
		case err != nil:
			return err
		case v == nil:
			told.add(l3, notThere(l3, host.GetUuid()).Error())
		default:
			told.add(l3, s.changes.unrealized(host.GetUuid(), v.l2UUID)...)
			views[l3] = v
		}
	}
	shares := share(views, guests)
	for _, d := range s.called(host.GetHypervisorType()) {
		w := shares[d.GetType()]
		if w == nil {
			w = &work{}
		}
		if err := s.syncProvider(ctx, host, d.GetType(), w, told); err != nil {
			return err
		}
	}
	s.problems.Note(ctx, host.GetUuid(), told.texts(), true)
	return nil
}

// syncProvider lets one provider do its part. When it cannot do any of it, that
// is told of each of its networks.
func (s *Service) syncProvider(ctx context.Context, host *pluginv1.Host, provider string, w *work, told problems) error {
	left, err := s.tellAll(ctx, host, provider, w.rows())
	if err == nil {
		told.addAll(left)
		s.checkedService(ctx, host.GetUuid(), provider, "")
		return nil
	}
	err = errs.Wrap(errs.ClassOf(err), "network services of "+provider, err, "cannot be restored on host %s", host.GetName())
	if isHosts(ctx, err) {
		return err
	}
	s.Log.Error("network services not restored", "host", host.GetUuid(), "error", err)
	if len(w.networks) == 0 { // it only has nothing to take away yet
		return nil
	}
	s.checkedService(ctx, host.GetUuid(), provider, err.Error())
	again := errs.Retryable(err) // with the next ping
	if again {
		s.changes.unservedBy(host.GetUuid(), provider)
	}
	for l3 := range w.networks {
		told.add(l3, err.Error())
		if again {
			s.changes.postpone(host.GetUuid(), l3, true)
		}
	}
	return nil
}

// Release undoes Prepare. A network that is gone is forgotten on the host as a
// whole; one that the host does not have, and providers that are gone, have
// nothing left to release.
func (s *Service) Release(ctx context.Context, host *pluginv1.Host, vmUUID string, nics []*contract.NICPlan) error {
	views := map[string]*view{}
	var there []*contract.NICPlan
	for _, n := range nics {
		v, err := s.view(ctx, host.GetUuid(), n.L3UUID)
		switch {
		case errs.ClassOf(err) == errs.NotFound:
			if err := s.releaseL3(ctx, n.L3UUID, host); err != nil {
				return err
			}
		case err != nil:
			return err
		case v != nil:
			views[n.L3UUID], there = v, append(there, n)
		}
	}
	guests := []contract.GuestNICs{{Guest: contract.Guest{VMUUID: vmUUID}, NICs: there}}
	for provider, w := range share(views, guests) {
		if !s.serves(provider, host.GetHypervisorType()) {
			continue
		}
		if err := s.takeAway(ctx, host, provider, w.nicKeys()); err != nil {
			return errs.Wrap(errs.ClassOf(err), "network services of "+provider, err, "cannot be released for guest %s", vmUUID)
		}
	}
	return nil
}
