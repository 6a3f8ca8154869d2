package compute

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// destroyParams are the parameters of APIDestroyVmInstanceMsg.
type destroyParams struct {
	UUID string `api:"uuid,required,path,resource=VmInstance,missingok"`
	Mode string `api:"deleteMode,default=Permissive"`
}

func (s *Service) registerEnd() {
	action.Register(s.Actions, action.Action{
		Message: "APIDestroyVmInstanceMsg", Method: "DELETE", Path: "/vm-instances/{uuid}", Async: true, Access: action.Normal,
		Queue: "uuid", SuccessIfMissing: true, Kind: "vm", View: inStates("destroy"),
		Doc: "Destroys a guest; by the deletion policy it can be recovered until it is expunged.",
	}, func(ctx context.Context, c *action.Call, p *destroyParams) (action.Empty, error) {
		return action.Empty{}, s.destroyVM(ctx, c, p.UUID)
	})
	action.Register(s.Actions, vmAction("Recover", "Makes a destroyed guest a stopped one."), func(ctx context.Context, _ *action.Call, p *vmUUID) (action.Ref, error) {
		ref := action.Ref{Type: "VmInstance", UUID: p.UUID}
		return ref, s.Store.Update(ctx, func(tx *store.Tx) error {
			vm, err := store.Get(ctx, tx, VMType, p.UUID)
			if err != nil {
				return err
			}
			if err := checkState(vm, "recover"); err != nil {
				return err
			}
			if err := s.storage.SetStatus(ctx, tx, vm.RootVolumeUUID, "Ready"); err != nil {
				return err
			}
			return s.move(ctx, tx, p.UUID, "stopped", map[string]any{"destroyDate": nil})
		})
	})
	a := vmAction("Expunge", "Removes a destroyed guest with its root volume for good.")
	a.Returns = ""
	action.Register(s.Actions, a, func(ctx context.Context, c *action.Call, p *vmUUID) (action.Empty, error) {
		_, err := s.run(ctx, c, p.UUID, "expunge", s.expunge, nil)
		return action.Empty{}, err
	})
}

// destroyVM destroys a guest, and expunges it when its policy is Direct. One
// that is destroyed already is a success.
func (s *Service) destroyVM(ctx context.Context, c *action.Call, uuid string) error {
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
		if _, err := s.run(ctx, first, uuid, "destroy", s.destroy, nil); err != nil {
			return err
		}
	}
	if direct || vm.State == Expunging {
		_, err = s.run(ctx, c, uuid, "expunge", s.expunge, nil)
	}
	return err
}

// destroyFlow ends a guest and keeps what recovery needs: its root volume, NICs
// and addresses, and what its last host has of it, such as the variables of its
// firmware. Data volumes are freed and kept.
func (s *Service) destroyFlow() *flow.Def[work] {
	return flow.Define("destroy-vm",
		flow.Tx("destroying", s.setState("destroying"), s.restoreState),
		flow.Do("end-on-host", s.cutPower, nil),
		flow.Do("release-network", s.letGoOfNetwork, nil),
		flow.Tx("destroyed", func(ctx context.Context, tx *store.Tx, w *work) error {
			for _, v := range w.Volumes {
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
			return s.left(ctx, tx, w, "destroyed", map[string]any{"destroyDate": resource.Now()})
		}, nil),
	)
}

// expungeFlow removes what a destroyed guest still has.
func (s *Service) expungeFlow() *flow.Def[work] {
	return flow.Define("expunge-vm",
		flow.Tx("expunging", s.setState("expunging"), nil),
		flow.Do("remove-from-host", s.sweep, nil),
		flow.Do("delete-volumes", s.deleteVolumes, nil).Timeout(hour),
		flow.Tx("remove", func(ctx context.Context, tx *store.Tx, w *work) error {
			if err := s.storage.Unplan(ctx, tx, w.Volumes); err != nil {
				return err
			}
			if err := s.networks.Free(ctx, tx, w.UUID); err != nil {
				return err
			}
			return s.remove(ctx, tx, w)
		}, nil),
	)
}

func (s *Service) deleteVolumes(ctx context.Context, w *work) error {
	for _, v := range w.Volumes {
		if err := s.deleteBits(ctx, v, w.LastHost); err != nil {
			return err
		}
	}
	return nil
}

// deleteBits deletes a volume by its own host or, if it is on no particular one,
// by another that has its storage.
func (s *Service) deleteBits(ctx context.Context, v *contract.VolumePlan, otherHost string) error {
	h, err := s.hosts.PluginHost(ctx, s.Store, cmp.Or(v.HostUUID, otherHost))
	if v.HostLocal && errs.ClassOf(err) == errs.NotFound {
		return nil // the bits went with their host
	}
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		return err
	}
	return s.storage.Unmake(ctx, h, v)
}

// deleteVM removes a guest for good when what it depends on is deleted. With
// Enforcing, a host or storage that cannot be reached is no obstacle.
func (s *Service) deleteVM(ctx context.Context, uuid string, m cascade.Mode) error {
	vm, err := store.Get(ctx, s.Store, VMType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if vm.State != Destroyed && vm.State != Expunging {
		_, err = s.run(ctx, nil, uuid, "destroy", s.destroy, nil)
	}
	if err == nil {
		_, err = s.run(ctx, nil, uuid, "expunge", s.expunge, nil)
	}
	if err == nil || m != cascade.Enforcing {
		return err
	}
	s.Log.Warn("guest forgotten", "vm", uuid, "error", err)
	cause := err
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.forget(ctx, tx, uuid, cause) })
}

// forget removes a guest's rows without touching the world, and notes what is
// left there because of cause.
func (s *Service) forget(ctx context.Context, tx *store.Tx, uuid string, cause error) error {
	vm, w, err := s.load(ctx, tx, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if vm.HostUUID != "" {
		if err := s.hosts.Return(ctx, tx, vm.HostUUID, contract.Room{CPU: vm.CPUNum, Memory: vm.MemorySize}); err != nil {
			return err
		}
	}
	var own []*contract.VolumePlan
	for _, v := range w.Volumes {
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
	r := remains{Guest: uuid, Name: vm.Name, Host: cmp.Or(vm.HostUUID, vm.LastHostUUID), NICs: w.NICs, Volumes: own, Gone: true}
	if err := s.leaveTx(ctx, tx, r, cause); err != nil {
		return err
	}
	return s.remove(ctx, tx, w)
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
		_, err := s.run(ctx, nil, uuid, "stop", s.stop, func(_ *VMInstance, w *work) error { w.Cold = true; return nil })
		if err != nil && m != cascade.Enforcing {
			return err
		}
		if err != nil {
			err = s.Store.Update(ctx, func(tx *store.Tx) error {
				return s.left(ctx, tx, &work{UUID: uuid, Host: contract.HostCandidate{UUID: vm.HostUUID}}, "stopped", nil)
			})
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

// Start expunges guests whose time has come, and keeps those running that shall
// never stop, until ctx ends.
func (s *Service) Start(ctx context.Context) {
	go s.keepRunning(ctx)
	s.generic.EmptyTrash(ctx, kernel.Trash{Type: VMType.Type, Category: "vm", Deleted: "`state` IN (?)", Args: []any{[]string{Destroyed, Expunging}},
		Since: "destroyDate", Expunge: "APIExpungeVmInstanceMsg", Param: "uuid"})
}
