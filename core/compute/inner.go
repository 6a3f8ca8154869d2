package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
)

// The messages by which this service asks itself for work on a guest, in the
// guest's queue.
const (
	keepMessage    = "KeepVmInstanceRunningMsg"
	emptyMessage   = "StopVmInstanceForMaintenanceMsg"
	settleMessage  = "SettleVmInstanceStateMsg"
	restoreMessage = "RestoreVmInstanceNetworkMsg"
	sweepMessage   = "RemoveRemainsOfVmInstanceMsg"
)

// innerParams name the guest, which may be gone.
type innerParams struct {
	UUID string `api:"uuid,required"`
}

// settleParams name the host that reported the guest.
type settleParams struct {
	innerParams
	Host string `api:"hostUuid,required"`
}

// restoreParams have the NICs that the guest was given back, for one that may be
// gone by then.
type restoreParams struct {
	settleParams
	NICs []*contract.NICPlan `api:"nics"`
}

type sweepParams struct {
	innerParams
	Left remains `api:"left,required"`
}

// inner is an internal message about one guest.
func (s *Service) inner(message, doc string) action.Action {
	return action.Action{Message: message, Access: action.Internal, Async: true, Queue: "uuid", Kind: "vm", On: s.whichHost, Timeout: syncTimeout, Doc: doc}
}

func (s *Service) registerInner() {
	none := action.Empty{}
	keep := s.inner(keepMessage, "Starts a guest that shall never stop, if it is stopped.")
	keep.Timeout = hour
	action.Register(s.Actions, keep, func(ctx context.Context, _ *action.Call, p *innerParams) (action.Empty, error) {
		return none, s.keep(ctx, p.UUID)
	})
	empty := s.inner(emptyMessage, "Stops a guest whose host or storage is put in maintenance, if it is on a host.")
	empty.Timeout = hour
	action.Register(s.Actions, empty, func(ctx context.Context, _ *action.Call, p *innerParams) (action.Empty, error) {
		placed, err := store.Count(ctx, s.Store, VMType.Type, "`uuid` = ? AND `hostUuid` IS NOT NULL", p.UUID)
		if err != nil || placed == 0 {
			return none, err
		}
		return none, s.stopVM(ctx, nil, p.UUID, false)
	})
	settle := s.inner(settleMessage, "Asks a host for the state of a guest and makes the database agree.")
	settle.TakesUp = true
	action.Register(s.Actions, settle, func(ctx context.Context, _ *action.Call, p *settleParams) (action.Empty, error) {
		return none, s.settle(ctx, p.Host, p.UUID)
	})
	restore := s.inner(restoreMessage, "Makes the network services on a host fit a guest.")
	restore.TakesUp = true
	action.Register(s.Actions, restore, func(ctx context.Context, _ *action.Call, p *restoreParams) (action.Empty, error) {
		return none, s.restore(ctx, p)
	})
	action.Register(s.Actions, s.inner(sweepMessage, "Removes what a host still has of a guest that is not there any more."),
		func(ctx context.Context, _ *action.Call, p *sweepParams) (action.Empty, error) {
			return none, s.sweepLater(ctx, p.Left)
		})
}
