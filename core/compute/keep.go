package compute

import (
	"context"
	"errors"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file keeps guests running that shall never stop: whoever or whatever
// stopped them, they are started again, where there is room and their volumes
// can be reached. Guests of a lost host are Unknown and not Stopped, so they are
// left alone until the host tells what became of them: two of one guest would
// destroy its disks. When the host was deleted by force, its operator has said that it
// will not come back: its guests are started elsewhere.

const (
	// tagHA says how hard a guest is kept running.
	tagHA     = "ha::{haLevel}"
	neverStop = "ha::NeverStop"
	// tagInhibited is on a guest that was stopped for good in spite of its tagHA,
	// until somebody starts it.
	tagInhibited = "inhibitHA::{inhibitHA}"
	inhibited    = "inhibitHA::true"
	// catHA is the category of the setting, keepInterval its name.
	catHA        = "ha"
	keepInterval = "neverStopVm.scan.interval"
)

func (s *Service) registerKeep() error {
	return errors.Join(
		s.Tags.Define(tag.Pattern{Resource: VMType.Name, Pattern: tagHA, Single: true, Validate: func(t map[string]string) error {
			if tagged := "ha::" + t["haLevel"]; tagged != neverStop {
				return errs.New(errs.Invalid, "system tag ha", "the level %q is not offered", t["haLevel"]).WithAdvice("use NeverStop")
			}
			return nil
		}}),
		s.Tags.Define(tag.Pattern{Resource: VMType.Name, Pattern: tagInhibited, Inherent: true}),
		s.Config.Define(config.Setting{Category: catHA, Name: keepInterval, Type: "int", Default: "60", Min: 1, Max: 86400,
			Doc: "Seconds between two looks for stopped guests that shall never stop (system tag ha::NeverStop)."}),
	)
}

// keepRunning starts stopped guests that shall never stop until ctx ends.
func (s *Service) keepRunning(ctx context.Context) {
	for range s.Config.Every(ctx, catHA, keepInterval) {
		vms, err := s.toKeep(ctx, "")
		if err != nil {
			s.Log.Error("guests that shall never stop not listed", "error", err)
			continue
		}
		for _, vm := range vms {
			s.generic.Ask(ctx, vm.UUID, keepMessage, map[string]any{"uuid": vm.UUID}) // the next round tries again
		}
	}
}

// toKeep lists the guests that shall run and are stopped, or on no host, of all or
// only the one of a UUID.
func (s *Service) toKeep(ctx context.Context, uuid string) ([]*VMInstance, error) {
	const vm = "`VmInstance`.`uuid`"
	where := "(`state` = ? OR `state` = ? AND `hostUuid` IS NULL) AND " + tag.Carries(vm) + " AND NOT " + tag.Carries(vm)
	args := []any{Stopped, Unknown, neverStop, inhibited}
	if uuid != "" {
		where, args = where+" AND `uuid` = ?", append(args, uuid)
	}
	return store.Sound(ctx, s.Store, VMType, store.PassedOver(s.Log), where+" LIMIT 1000", args...)
}

// keep runs in the guest's queue, so it looks again: the guest may have been
// started, or stopped for good, while this waited.
func (s *Service) keep(ctx context.Context, uuid string) error {
	vms, err := s.toKeep(ctx, uuid)
	if err != nil || len(vms) == 0 {
		return err
	}
	if vms[0].State == Unknown {
		if err := s.stopVM(ctx, nil, uuid, true); err != nil {
			return err
		}
	}
	s.Log.Info("guest that shall never stop is started", "vm", uuid)
	return s.startVM(ctx, nil, &startParams{UUID: uuid})
}

// inhibit lets a guest that shall never stop be stopped for good.
func (s *Service) inhibit(ctx context.Context, uuid string) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		levels, err := s.Tags.Tokens(ctx, tx, uuid, tagHA)
		if err != nil || len(levels) == 0 {
			return err
		}
		return s.Tags.Create(ctx, tx, VMType.Name, uuid, []string{inhibited}, true)
	})
}

// uninhibit makes a guest never stop again, if it shall.
func (s *Service) uninhibit(ctx context.Context, uuid string) error {
	set, err := s.Tags.Tokens(ctx, s.Store, uuid, tagInhibited) // every start asks, few have to write
	if err != nil || len(set) == 0 {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		return s.Tags.DeletePattern(ctx, tx, uuid, tagInhibited)
	})
}
