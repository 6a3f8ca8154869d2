package network

import (
	"context"
	"errors"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file tells providers which rows a host should have. A host is told all rows
// when it connects, and of changes from then on, each on the base of that telling: its
// revision, which is in a row of NetworkServiceHostRef and which the host keeps with
// the rows. A host that has lost them, or was told by somebody else, has another
// revision, and is told all again before the change.
//
// What goes is taken away whatever a host has: it is right to be without it.
//
// Changes do not move the revision. They are about a guest's NICs or a network's own
// row, made in the queue of the guest, or told again when the network has changed
// meanwhile (changes): those of different rows can come in any order, from several
// nodes at once, and one whose outcome is unknown is repeated. A revision that moved
// with each would have all of them wait for each other, and a lost answer cost a
// telling of everything. It is in a row, as in memory each node would have one of its
// own and take those of the others for lost; and it is written after the host has it:
// who is killed between the two leaves a host with another revision, which costs one
// more telling.

// hostState is the identity of a provider's row for a host.
func hostState(hostUUID, provider string) string {
	return pluginsdk.UUIDOf("network services", provider, hostUUID)
}

// revision is the one that a host was told all rows of a provider at, "" for one that
// was not yet.
func (s *Service) revision(ctx context.Context, q store.Querier, hostUUID, provider string) (string, error) {
	found, err := store.Texts(ctx, q, "SELECT `revision` FROM `NetworkServiceHostRef` WHERE `uuid` = ?", hostState(hostUUID, provider))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

func (s *Service) saveRevision(ctx context.Context, hostUUID, provider, revision string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		row := &NetworkServiceHostRef{HostUUID: hostUUID, Provider: provider, Revision: revision}
		row.UUID = hostState(hostUUID, provider)
		had, found, err := store.First(ctx, tx, ServiceHostRefType, "`uuid` = ?", row.UUID)
		switch {
		case err != nil:
			return err
		case !found:
			return store.Insert(ctx, tx, ServiceHostRefType, row)
		}
		had.Revision = revision
		return store.Save(ctx, tx, ServiceHostRefType, had, "revision")
	})
}

// tell makes a host have rows of a provider, on the base of all that it was told
// before; it returns what of networks was left out. A repeat changes nothing.
func (s *Service) tell(ctx context.Context, h *pluginv1.Host, provider string, rows pluginsdk.NetworkRows) ([]*pluginv1.NetworkProblem, error) {
	plug, err := s.Plugins.NetworkService(provider)
	if err != nil {
		return nil, err
	}
	q := store.Cached(s.Store)
	for range restless {
		base, err := s.revision(ctx, q, h.GetUuid(), provider)
		if err != nil {
			return nil, err
		}
		if base != "" {
			r, err := plug.ApplyNetworkState(ctx, &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(h), Provider: provider,
				Base: base, Revision: base, Upserts: rows.Join()})
			if err != nil || !r.GetResync() {
				return r.GetProblems(), err
			}
		}
		if err := s.resync(ctx, h, provider, base); err != nil {
			return nil, err
		}
		q = s.Store // what is in memory may be older
	}
	return nil, errs.New(errs.Unavailable, "network services of "+provider, "host %s is told all of them again and again", h.GetName()).WithAdvice("try again")
}

// takeAway makes a host not have rows of a provider; those that it does not have are a
// success.
func (s *Service) takeAway(ctx context.Context, h *pluginv1.Host, provider string, gone pluginsdk.NetworkKeys) error {
	plug, err := s.Plugins.NetworkService(provider)
	if err != nil {
		return err
	}
	_, err = plug.ApplyNetworkState(ctx, &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(h), Provider: provider, Removes: gone.Join()})
	return err
}

// resync tells a host all rows again that is not at a base, unless somebody has done
// so meanwhile; those who find that at once share it.
func (s *Service) resync(ctx context.Context, h *pluginv1.Host, provider, base string) error {
	told := s.resyncs.DoChan(hostState(h.GetUuid(), provider), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		now, err := s.revision(ctx, s.Store, h.GetUuid(), provider)
		if err != nil || now != base {
			return nil, err
		}
		s.Log.Info("host has lost its network services, telling it all", "host", h.GetUuid(), "provider", provider)
		return nil, s.guests.RestoreNetworks(ctx, h)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-told:
		if r.Err != nil {
			return r.Err
		}
	}
	now, err := s.revision(ctx, s.Store, h.GetUuid(), provider)
	if err == nil && now == base {
		err = errs.New(errs.Unavailable, "network services of "+provider, "they cannot be restored on host %s", h.GetName()).
			WithAdvice("see the host's checks, and reconnect it")
	}
	return err
}

// tellAll makes rows all that a host has of a provider, and notes at which revision.
func (s *Service) tellAll(ctx context.Context, h *pluginv1.Host, provider string, rows pluginsdk.NetworkRows) ([]*pluginv1.NetworkProblem, error) {
	plug, err := s.Plugins.NetworkService(provider)
	if err != nil {
		return nil, err
	}
	revision := resource.NewUUID()
	r, err := plug.SyncNetworkState(ctx, &pluginv1.SyncNetworkStateRequest{Target: pluginsdk.HostTarget(h), Provider: provider, Revision: revision, Rows: rows.Join()})
	if err != nil {
		return nil, err
	}
	err = s.saveRevision(ctx, h.GetUuid(), provider, revision)
	if errors.Is(err, errs.Exists) { // another node has told the host at the same time
		err = s.saveRevision(ctx, h.GetUuid(), provider, revision)
	}
	return r.GetProblems(), err
}

// serves tells whether hosts of a hypervisor are told of a provider's services. One
// whose plugin is gone would be: its absence is an error, not silence.
func (s *Service) serves(provider, hypervisorType string) bool {
	d, ok := s.decl(provider)
	return !ok || contains(d.GetHypervisorTypes(), hypervisorType)
}
