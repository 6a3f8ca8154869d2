package compute

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file ends guests, or frees them, when something that they depend on is
// deleted (cascade.Deleter). With Enforcing, a host that does not answer is no
// obstacle to its own delete: that is how an operator says that it will not come
// back. A guest that runs where it can be reached is one to every delete, and so is
// one on a silent host that stays: others would be given its addresses and its part
// of the host (cascade.Alive).

// deleteVM removes a guest for good when what it depends on is deleted.
func (s *Service) deleteVM(ctx context.Context, uuid string, m cascade.Mode) error {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if vm.State != Destroyed && vm.State != Expunging {
		err = s.destroyVM(ctx, nil, uuid)
	}
	if err == nil {
		err = s.expungeVM(ctx, nil, uuid)
	}
	if err == nil || m != cascade.Enforcing {
		return err
	}
	cause := err
	runs, err := s.mayRun(ctx, uuid, cause)
	if err != nil {
		return err
	}
	s.Log.Warn("guest forgotten", "vm", uuid, "error", cause)
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.forget(ctx, tx, uuid, runs, cause) })
}

// mayRun tells of a guest that could not be ended, because of cause, whether it may
// run on a host that is deleted and does not answer. It asks the host: cascade.Alive
// when the guest runs there, or may and the host stays.
func (s *Service) mayRun(ctx context.Context, uuid string, cause error) (bool, error) {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return false, nil
	}
	if err != nil || vm.HostUUID == "" {
		return false, err
	}
	alive := func(advice string) error {
		return cascade.Alive(errs.Wrap(errs.ClassOf(cause), "VM "+vm.Name, cause, "may still run on host %s", vm.HostUUID).WithAdvice("%s", advice))
	}
	asking, cancel := context.WithTimeout(ctx, syncTimeout)
	state, silent := s.actual(asking, vm.HostUUID, uuid)
	cancel()
	switch c := errs.ClassOf(silent); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case silent == nil && state == Stopped:
		return false, nil
	case silent == nil || c != errs.Unavailable && c != errs.Timeout && c != errs.Unsupported && c != errs.NotFound:
		return false, alive("that host answers: end the guest there, or switch the host off, and repeat it")
	}
	switch err := cascade.Intact(ctx, s.Store, cascade.Parent{Type: "Host", UUID: vm.HostUUID}); errs.ClassOf(err) {
	case "":
		return false, alive("repeat it when that host answers, or delete the host first when it will not come back")
	case errs.Refused:
		return true, nil
	case errs.NotFound:
		return false, nil
	default:
		return false, err
	}
}

// forget removes a guest's rows without touching the world, and notes what is
// left there because of cause; runs says that the guest itself may be.
func (s *Service) forget(ctx context.Context, tx *store.Tx, uuid string, runs bool, cause error) error {
	vm, g, err := s.load(ctx, tx, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if vm.HostUUID != "" {
		if err := s.hosts.Return(ctx, tx, vm.HostUUID, g.room(0)); err != nil {
			return err
		}
	}
	var own []*contract.VolumePlan
	for _, v := range g.Volumes {
		if v.Type == "Root" {
			own = append(own, v)
		} else if err := s.storage.Detach(ctx, tx, v.UUID); err != nil {
			return err
		}
	}
	if err := s.storage.Unplan(ctx, tx, own); err != nil {
		return err
	}
	if err := s.networks.Free(ctx, tx, uuid); err != nil {
		return err
	}
	r := remains{Guest: uuid, Name: vm.Name, Host: cmp.Or(vm.HostUUID, vm.LastHostUUID), NICs: g.NICs, Volumes: own, Gone: true}
	if err := s.leaveBehind(ctx, tx, r, runs, cause); err != nil {
		return err
	}
	return s.remove(ctx, tx, uuid)
}

// detachVM frees a guest from a host or cluster that is deleted: it is stopped, and
// forgets them. With Enforcing, one whose host does not answer is Unknown on no host
// afterwards, with all that it has, until it is stopped, by which its owner says that
// it is over, or its host is added again (lost.go).
func (s *Service) detachVM(ctx context.Context, uuid, column, _ string, m cascade.Mode) error {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if vm.HostUUID != "" {
		err := s.stopVM(ctx, nil, uuid, true)
		if err != nil && m == cascade.Enforcing {
			err = s.abandon(ctx, uuid, err)
		}
		if err != nil {
			return err
		}
	}
	if column != "clusterUuid" {
		return nil
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, VMType.Type, uuid, map[string]any{"clusterUuid": nil})
	})
}

// abandon takes a guest that could not be stopped, because of cause, from a host that
// is deleted by force.
func (s *Service) abandon(ctx context.Context, uuid string, cause error) error {
	runs, err := s.mayRun(ctx, uuid, cause)
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		vm, g, err := s.load(ctx, tx, uuid)
		if err != nil || vm.HostUUID == "" {
			return err
		}
		if !runs {
			return s.left(ctx, tx, uuid, "stopped", nil)
		}
		s.Log.Warn("guest may run on a host that is deleted", "vm", uuid, "host", vm.HostUUID, "error", cause)
		r := remains{Guest: uuid, Name: vm.Name, Host: vm.HostUUID, NICs: g.NICs}
		if err := s.leaveBehind(ctx, tx, r, true, cause); err != nil {
			return err
		}
		return s.left(ctx, tx, uuid, "unknown", nil)
	})
}

// Alive says of a guest that is not over why nothing that it uses can go
// (contract.Guests).
func (s *Service) Alive(ctx context.Context, q store.Querier, uuid string) error {
	vm, found, err := store.First(ctx, q, VMType, "`uuid` = ?", uuid)
	if err != nil || !found || vm.HostUUID == "" && slices.Contains([]string{Created, Stopped, Destroyed, Expunging}, vm.State) {
		return err
	}
	return cascade.Alive(refuse(vm, "uses it and is %s", vm.State).WithAdvice("stop it first"))
}
