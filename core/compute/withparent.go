package compute

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file ends guests, or frees them, when something that they depend on is
// deleted (cascade.Deleter).

// deleteVM removes a guest for good when what it depends on is deleted. With
// Enforcing, a host or storage that cannot be reached is no obstacle, unless the
// guest may run on a host that stays (cascade.Alive): others would be given its
// addresses and its part of the host.
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
	if err := s.alive(ctx, uuid, err); err != nil {
		return err
	}
	s.Log.Warn("guest forgotten", "vm", uuid, "error", err)
	cause := err
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.forget(ctx, tx, uuid, cause) })
}

// alive is the error that a guest which could not be ended because of cause may
// still run on a host that stays; nil when it does not, or its host goes as well.
func (s *Service) alive(ctx context.Context, uuid string, cause error) error {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil || vm.HostUUID == "" {
		return err
	}
	switch err := cascade.Intact(ctx, s.Store, cascade.Parent{Type: "Host", UUID: vm.HostUUID}); errs.ClassOf(err) {
	case "":
		return cascade.Alive(errs.Wrap(errs.ClassOf(cause), "VM "+vm.Name, cause, "may still run on host %s", vm.HostUUID).
			WithAdvice("repeat it when that host answers, or delete the host first when it will not come back"))
	case errs.Refused, errs.NotFound:
		return nil
	default:
		return err
	}
}

// forget removes a guest's rows without touching the world, and notes what is
// left there because of cause.
func (s *Service) forget(ctx context.Context, tx *store.Tx, uuid string, cause error) error {
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
	if err := s.leaveTx(ctx, tx, r, cause); err != nil {
		return err
	}
	return s.remove(ctx, tx, uuid)
}

// detachVM frees a guest from a host or cluster that is deleted: it is
// stopped, and forgets them.
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
			err = s.Store.Update(ctx, func(tx *store.Tx) error { return s.left(ctx, tx, uuid, "stopped", nil) })
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
