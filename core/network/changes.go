package network

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file tells hosts of changes to a network that guests use already: its
// name servers, routes, domain, ranges and services. The rows are changed
// first. Then each host with a guest in the network is told, in its queue, to
// apply what the rows say; one that is away is told everything when it connects
// (Sync), and one that failed is told again with its next ping (HostVMs).

// SetGuests tells the service of the guests, before the first request.
func (s *Service) SetGuests(g contract.Guests) { s.guests = g }

// told bounds the hosts that are told of a change at once, and restless how
// often a network may change while a host is told of it.
const (
	told     = 32
	restless = 20
)

// changes counts the changes of networks. Who has read a network and then told
// a host of it looks afterwards whether the network has changed meanwhile: the
// host may have been told the old after the new. Its zero value is ready.
type changes struct {
	mu    sync.Mutex
	count map[string]uint64
	// late has by host the networks that it could not be told of, and whether the
	// guests in them are to be restored, too.
	late map[string]map[string]bool
	// unserved has by host the providers that could not do their part when it
	// connected, and are to be asked again.
	unserved map[string][]string
	// missing has by host why L2 networks could not be made when it connected.
	missing map[string]map[string]string
}

// connected says which L2 networks a host has not got, and why.
func (c *changes) connected(hostUUID string, missing map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing == nil {
		c.missing = map[string]map[string]string{}
	}
	delete(c.missing, hostUUID)
	if len(missing) > 0 {
		c.missing[hostUUID] = missing
	}
}

// unrealized returns why an L2 network was not made on a host, nothing if it was.
func (c *changes) unrealized(hostUUID, l2UUID string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason, is := c.missing[hostUUID][l2UUID]; is {
		return []string{reason}
	}
	return nil
}

func (c *changes) add(l3UUID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[string]uint64{}
	}
	c.count[l3UUID]++
}

// of is a number that is greater after each change of one of the networks.
func (c *changes) of(l3UUIDs ...string) (sum uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uuid := range l3UUIDs {
		sum += c.count[uuid]
	}
	return sum
}

func (c *changes) postpone(hostUUID, l3UUID string, restore bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late == nil {
		c.late = map[string]map[string]bool{}
	}
	if c.late[hostUUID] == nil {
		c.late[hostUUID] = map[string]bool{}
	}
	c.late[hostUUID][l3UUID] = c.late[hostUUID][l3UUID] || restore
}

// due returns, and forgets, the networks that a host has to be told of.
func (c *changes) due(hostUUID string) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := c.late[hostUUID]
	delete(c.late, hostUUID)
	return late
}

// unservedBy notes a provider that could not do its part on a host.
func (c *changes) unservedBy(hostUUID, provider string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unserved == nil {
		c.unserved = map[string][]string{}
	}
	c.unserved[hostUUID] = append(c.unserved[hostUUID], provider)
}

// served returns, and forgets, the providers of unservedBy.
func (c *changes) served(hostUUID string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.unserved[hostUUID]
	delete(c.unserved, hostUUID)
	return list
}

func (c *changes) waits(hostUUID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.late[hostUUID]) > 0 || len(c.missing[hostUUID]) > 0
}

// lacks lists the L2 networks that could not be made on a host.
func (c *changes) lacks(hostUUID string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.missing[hostUUID]))
}

// changed tells the hosts of a network's guests that its rows have changed, and
// returns when they have been told. With restore the guests' own bindings are
// made anew too, as for a service that they did not have before.
func (s *Service) changed(ctx context.Context, l3UUID string, restore bool) error {
	s.changes.add(l3UUID)
	guests, err := s.guestsByHost(ctx, l3UUID)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(told)
	for host, vms := range guests {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
			defer cancel()
			err := s.hosts.OnConnected(ctx, host, func(h *pluginv1.Host) error {
				return s.refreshAll(ctx, h, l3UUID, restore, vms)
			})
			if err != nil {
				s.changes.postpone(host, l3UUID, restore)
				s.Log.Warn("host not told of a changed network yet", "host", host, "l3Network", l3UUID, "error", err)
			}
			return nil
		})
	}
	return group.Wait()
}

// refreshAll is refresh, with restore for the guests' own bindings, too.
func (s *Service) refreshAll(ctx context.Context, h *pluginv1.Host, l3UUID string, restore bool, vms []string) error {
	if err := s.refresh(ctx, h, l3UUID); err != nil || !restore {
		return err
	}
	for _, vm := range vms {
		s.guests.RestoreNetwork(ctx, h, vm)
	}
	return nil
}

// guestsByHost returns the guests with a NIC in a network, by their host.
func (s *Service) guestsByHost(ctx context.Context, l3UUID string) (map[string][]string, error) {
	vms, err := store.Texts(ctx, s.Store, "SELECT DISTINCT `vmInstanceUuid` FROM `VmNic` WHERE `l3NetworkUuid` = ? AND `vmInstanceUuid` IS NOT NULL", l3UUID)
	if err != nil || s.guests == nil {
		return nil, err
	}
	byHost := map[string][]string{}
	err = s.guests.Places(ctx, s.Store, vms, func(p contract.GuestPlace) { byHost[p.HostUUID] = append(byHost[p.HostUUID], p.VMUUID) })
	return byHost, err
}

// refresh makes a host's providers apply what the rows say of a network: its
// facts where they have services on it, and nothing where they have none. The
// guests' bindings stay. A network that is gone, or that the host does not
// have, is a success.
func (s *Service) refresh(ctx context.Context, h *pluginv1.Host, l3UUID string) error {
	for range restless {
		seen := s.changes.of(l3UUID)
		v, err := s.view(ctx, h.GetUuid(), l3UUID)
		if err != nil || v == nil {
			return notFoundIsFine(err)
		}
		told := problems{l3UUID: nil}
		err = s.apply(ctx, h, l3UUID, v, told)
		if err != nil && !isHosts(ctx, err) {
			told.add(l3UUID, err.Error())
		}
		if err == nil || !isHosts(ctx, err) {
			s.problems.Note(ctx, h.GetUuid(), told.texts(), false)
		}
		if err != nil {
			return err
		}
		if s.changes.of(l3UUID) == seen {
			return nil
		}
	}
	return changesTooFast(l3UUID)
}

func changesTooFast(l3UUID string) error {
	return errs.New(errs.Unavailable, "L3Network "+l3UUID, "it is being changed faster than a host can be told").WithAdvice("try again")
}

// apply tells a host's providers of a network, and adds what they leave out. Who gives
// a service from now on is told before who gave it.
func (s *Service) apply(ctx context.Context, h *pluginv1.Host, l3UUID string, v *view, told problems) error {
	providers := s.called(h.GetHypervisorType())
	slices.SortStableFunc(providers, func(a, b *pluginv1.NetworkServiceDecl) int {
		gives := func(d *pluginv1.NetworkServiceDecl) int { return min(1, len(v.byProvider[d.GetType()].GetServices())) }
		return gives(b) - gives(a)
	})
	for _, d := range providers {
		var left []*pluginv1.NetworkProblem
		var err error
		if n := v.byProvider[d.GetType()]; n != nil {
			left, err = s.tell(ctx, h, d.GetType(), pluginsdk.NetworkRows{Networks: []*pluginv1.L3Network{n}})
		} else {
			err = s.takeAway(ctx, h, d.GetType(), pluginsdk.NetworkKeys{Networks: []string{l3UUID}})
		}
		if err != nil {
			return errs.Wrap(errs.ClassOf(err), "L3Network "+l3UUID, err, "cannot be changed on host %s", h.GetName())
		}
		told.addAll(left)
	}
	return nil
}
