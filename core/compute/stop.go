package compute

import (
	"context"
	"errors"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
)

// stopping is the state of the flow that stops a guest.
type stopping struct {
	guest
	Cold  bool  // cut its power at once
	Grace int32 // seconds that it has to shut down, unless Cold
}

// stopParams are the parameters of APIStopVmInstanceMsg.
type stopParams struct {
	UUID   string `api:"uuid,required,path,resource=VmInstance"`
	Type   string `api:"type,default=grace,values=grace|cold"`
	StopHA string `api:"stopHA,values=true"`
}

func (s *Service) registerStop() {
	action.Register(s.Actions, s.vmAction("Stop", "Stops a guest: grace asks it to shut down first, cold cuts its power."),
		func(ctx context.Context, c *action.Call, p *stopParams) (action.Ref, error) {
			stop := func() error { return s.stopOnce(ctx, c, p) }
			if p.StopHA == "" {
				return refOf(p.UUID), stop()
			}
			if err := s.inhibit(ctx, p.UUID); err != nil {
				return action.Ref{}, err
			}
			err := stop()
			if err == nil {
				return refOf(p.UUID), nil
			}
			if failed := s.uninhibit(ctx, p.UUID); failed != nil {
				err = errors.Join(err, failed)
			}
			return refOf(p.UUID), err
		})
}

// stopOnce stops a guest; one that is stopped already is a success.
func (s *Service) stopOnce(ctx context.Context, c *action.Call, p *stopParams) error {
	vm, err := store.Get(ctx, s.Store, VMType, p.UUID)
	if err != nil || vm.State == Stopped {
		return err
	}
	return s.stopVM(ctx, c, p.UUID, p.Type == "cold")
}

// stopVM stops a guest.
func (s *Service) stopVM(ctx context.Context, c *action.Call, uuid string, cold bool) error {
	_, g, err := s.ready(ctx, uuid, "stop")
	if err != nil {
		return err
	}
	return flow.Run(ctx, s.Flows, s.stop, &stopping{*g, cold, s.grace(ctx, uuid)}, flowOf(c, uuid))
}

// grace is how many seconds a guest has to shut down.
func (s *Service) grace(ctx context.Context, uuid string) int32 {
	return int32(min(s.Config.Int64(ctx, "vm", "stopGracePeriod", uuid), 3600))
}

func (s *Service) stopFlow() *flow.Def[stopping] {
	return flow.Define("stop-vm",
		flow.Tx("stopping", doTx[stopping](s.setState("stopping")), doTx[stopping](s.restoreState)),
		point[stopping](s, "begin", pointStopping),
		flow.Do("stop-on-host", func(ctx context.Context, st *stopping) error {
			return s.stopOnHost(ctx, &st.guest, st.Cold, st.Grace)
		}, nil).Timeout(2*hour),
		flow.Do("release-network", do[stopping](s.letGoOfNetwork), nil),
		point[stopping](s, "done", pointStopped),
		flow.Tx("stopped", func(ctx context.Context, tx *store.Tx, st *stopping) error {
			return s.left(ctx, tx, st.UUID, "stopped", nil)
		}, nil),
	)
}
