package compute

import (
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file is about guests whose host was deleted by force while it did not answer.
// Nobody knows whether they run. Each is noted (cascade.Garbage) until the host is
// added again, as another one with the same address: a guest that is still Unknown
// then is what it is there, and every other one is ended there, as it may run
// elsewhere, or its addresses may be others'.

// leaveBehind notes remains; runs says that the guest may run on its host, which goes.
func (s *Service) leaveBehind(ctx context.Context, tx *store.Tx, r remains, runs bool, cause error) error {
	if runs {
		h, err := s.hosts.PluginHost(ctx, tx, r.Host)
		if err != nil {
			return err
		}
		r.Address = h.GetManagementIp()
		cause = errs.Wrap(errs.ClassOf(cause), "VM "+r.Name, cause, "may still run on host %s (%s), which was deleted", h.GetName(), r.Address)
	}
	return s.leaveTx(ctx, tx, r, cause)
}

// where is the host that has remains. Errors: Unavailable while it was deleted and is
// not added again.
func (s *Service) where(ctx context.Context, r remains) (string, error) {
	if r.Address == "" {
		return r.Host, nil
	}
	host, err := s.hosts.Again(ctx, s.Store, r.Host, r.Address)
	if errs.ClassOf(err) == errs.NotFound {
		err = errs.New(errs.Unavailable, "host "+r.Address, "was deleted; what it has of VM %s is removed when it is added again", r.Name).
			WithAdvice("delete this record when that machine will never be used again")
	}
	return host, err
}

// found looks after a guest that a host reports, and that is not to be there: what is
// noted of it is done on that host. It tells whether something was.
func (s *Service) found(ctx context.Context, uuid, hostUUID string) (bool, error) {
	notes, err := s.Cascade.LeftOf(ctx, VMType.Name, uuid)
	done := false
	for _, n := range notes {
		var r remains
		if err := json.Unmarshal([]byte(n.Left), &r); err != nil {
			return done, errs.Wrap(errs.Internal, "remains of a guest", err, "cannot be read")
		}
		if r.Address == "" {
			continue
		}
		at, err := s.hosts.Again(ctx, s.Store, r.Host, r.Address)
		if err != nil && errs.ClassOf(err) != errs.NotFound { // the machine may have another address now
			return done, err
		}
		if err == nil && at != hostUUID {
			continue
		}
		r.Host = hostUUID
		if err := s.sweepNow(ctx, r); err != nil {
			return done, err
		}
		if err := s.Cascade.Forget(ctx, n.UUID); err != nil {
			return done, err
		}
		done = true
	}
	return done, err
}

// reappeared makes an Unknown guest of no host what it is on a host that is there
// again. It runs in the guest's queue.
func (s *Service) reappeared(ctx context.Context, g *guest, hostUUID string) error {
	now, err := s.actual(ctx, hostUUID, g.UUID)
	if err != nil {
		return err
	}
	if now != Stopped {
		return s.adopt(ctx, g, hostUUID, now)
	}
	return flow.Run(ctx, s.Flows, s.stop, &stopping{guest: *g, Cold: true}, flowOf(nil, g.UUID))
}

// adopt makes a host that of a guest which is there in a state. A host that is being
// deleted gets none: it would stay the guest's host when it is gone.
func (s *Service) adopt(ctx context.Context, g *guest, hostUUID, now string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := cascade.Guard(ctx, tx, "Host", hostUUID); err != nil {
			return err
		}
		if err := s.hosts.Reserve(ctx, tx, hostUUID, g.room(0)); err != nil {
			return err
		}
		h, err := s.hosts.PluginHost(ctx, tx, hostUUID)
		if err != nil {
			return err
		}
		return s.move(ctx, tx, g.UUID, events[now], map[string]any{"hostUuid": hostUUID, "clusterUuid": h.GetClusterUuid()})
	})
}
