package compute

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// destroyParams are the parameters of APIDestroyVmInstanceMsg.
type destroyParams struct {
	UUID string `api:"uuid,required,path,resource=VmInstance,missingok"`
	Mode string `api:"deleteMode,default=Permissive"`
}

func (s *Service) registerDestroy() {
	action.Register(s.Actions, action.Action{
		Message: "APIDestroyVmInstanceMsg", Method: "DELETE", Path: "/vm-instances/{uuid}", Async: true, Access: action.Normal,
		Queue: "uuid", SuccessIfMissing: true, Kind: "vm", On: s.whichHost, View: inStates("destroy"),
		Doc: "Destroys a guest; by the deletion policy it can be recovered until it is expunged.",
	}, func(ctx context.Context, c *action.Call, p *destroyParams) (action.Empty, error) {
		return action.Empty{}, s.destroyByPolicy(ctx, c, p.UUID)
	})
	action.Register(s.Actions, s.vmAction("Recover", "Makes a destroyed guest a stopped one."), func(ctx context.Context, _ *action.Call, p *vmUUID) (action.Ref, error) {
		return refOf(p.UUID), s.Store.Update(ctx, func(tx *store.Tx) error { return s.recoverVM(ctx, tx, p.UUID) })
	})
}

// destroyByPolicy destroys a guest, and expunges it when its policy is Direct.
// One that is destroyed already is a success.
func (s *Service) destroyByPolicy(ctx context.Context, c *action.Call, uuid string) error {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	direct := s.Config.String(ctx, "vm", "deletionPolicy", uuid) == "Direct"
	if vm.State != Destroyed && vm.State != Expunging {
		first := c
		if direct {
			first = nil // the job ends with the second flow
		}
		if err := s.destroyVM(ctx, first, uuid); err != nil {
			return err
		}
	}
	if direct || vm.State == Expunging {
		return s.expungeVM(ctx, c, uuid)
	}
	return nil
}

// destroyVM destroys a guest.
func (s *Service) destroyVM(ctx context.Context, c *action.Call, uuid string) error {
	_, g, err := s.ready(ctx, uuid, "destroy")
	if err != nil {
		return err
	}
	return flow.Run(ctx, s.Flows, s.destroy, g, flowOf(c, uuid))
}

// recoverVM makes a destroyed guest, whose root volume is there, a stopped one. It
// is refused when another guest has the host name that its tag wishes (Exists).
func (s *Service) recoverVM(ctx context.Context, tx *store.Tx, uuid string) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err != nil {
		return err
	}
	if err := checkState(vm, "recover"); err != nil {
		return err
	}
	if err := s.storage.SetStatus(ctx, tx, vm.RootVolumeUUID, "Ready"); err != nil {
		return err
	}
	if err := s.move(ctx, tx, uuid, "stopped", map[string]any{"destroyDate": nil}); err != nil {
		return err
	}
	tags, err := s.Tags.Of(ctx, tx, uuid)
	if err != nil {
		return err
	}
	vm.State = Stopped
	return s.claim(ctx, tx, vm, tags)
}

// destroyFlow ends a guest and keeps what recovery needs: its root volume, NICs
// and addresses, but not its host name, and what its last host has of it, such as the variables of its
// firmware. Data volumes are freed and kept.
func (s *Service) destroyFlow() *flow.Def[guest] {
	return flow.Define("destroy-vm",
		flow.Tx("destroying", s.setState("destroying"), s.restoreState),
		point[guest](s, "begin", pointEnding),
		flow.Do("end-on-host", s.cutPower, nil),
		flow.Do("release-network", s.letGoOfNetwork, nil),
		point[guest](s, "done", pointEnded),
		flow.Tx("destroyed", s.destroyed, nil),
	)
}

// destroyed records that a guest has ended.
func (s *Service) destroyed(ctx context.Context, tx *store.Tx, g *guest) error {
	for _, v := range g.Volumes {
		var err error
		if v.Type == "Root" {
			err = s.storage.SetStatus(ctx, tx, v.UUID, "Deleted")
		} else {
			err = s.storage.Detach(ctx, tx, v.UUID)
		}
		if err != nil {
			return err
		}
	}
	return s.left(ctx, tx, g.UUID, "destroyed", map[string]any{"destroyDate": resource.Now(), "nameClaim": g.UUID})
}
