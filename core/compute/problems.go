package compute

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file keeps what of guests is not as it should be on their host, as the host
// tells it. It is shown on the guest, and costs it and others nothing.

// note records what a host tells of its guests: with complete of all that it has.
// What cannot be recorded is logged, and told again with the next ping.
func (s *Service) note(ctx context.Context, hostUUID string, vms []*pluginv1.VMStatus, complete bool) {
	var known, news map[string]string
	// Most hosts have nothing to tell, and tell it often.
	err := store.Cached(s.Store).Each(ctx, "SELECT `vmInstanceUuid`, `reason` FROM `VmInstanceProblem` WHERE `hostUuid` = ?", []any{hostUUID}, func(r *store.Row) error {
		if known == nil {
			known, news = map[string]string{}, map[string]string{}
		}
		known[r.Text(0)] = r.Text(1)
		if complete {
			news[r.Text(0)] = "" // unless it is told of below
		}
		return nil
	})
	for _, vm := range vms {
		uuid, text := vm.GetUuid(), errtext.Short(strings.Join(vm.GetProblems(), "; "))
		delete(news, uuid)
		if text == known[uuid] {
			continue
		}
		if news == nil {
			news = map[string]string{}
		}
		news[uuid] = text
	}
	for uuid, text := range news {
		if err == nil {
			err = s.noteOne(ctx, hostUUID, uuid, text)
		}
	}
	if err != nil {
		s.Log.Error("problems of guests not recorded", "host", hostUUID, "error", err)
	}
}

// noteOne replaces what is recorded of a guest on a host; "" is nothing.
func (s *Service) noteOne(ctx context.Context, hostUUID, uuid, text string) error {
	if text != "" {
		s.Log.Warn("guest is not as it should be", "vm", uuid, "host", hostUUID, "reason", text)
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `VmInstanceProblem` WHERE `vmInstanceUuid` = ? AND `hostUuid` = ?", uuid, hostUUID); err != nil || text == "" {
			return err
		}
		_, err := store.Get(ctx, tx, VMType, uuid)
		if errs.ClassOf(err) == errs.NotFound {
			return nil // it went meanwhile, or is not ours
		}
		if err != nil {
			return err
		}
		row := &VMProblem{VMInstanceUUID: uuid, HostUUID: hostUUID, Reason: text}
		row.UUID = resource.NewUUID()
		return store.Insert(ctx, tx, ProblemType, row)
	})
}

// forgetProblems is for guests that go, by column vmInstanceUuid, and hosts that
// leave, by hostUuid.
func forgetProblems(ctx context.Context, tx *store.Tx, column, uuid string) error {
	_, err := tx.Exec(ctx, "DELETE FROM `VmInstanceProblem` WHERE `"+column+"` = ?", uuid)
	return err
}
