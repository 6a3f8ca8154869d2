package storage

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/watch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// volumeUUID names a volume.
type volumeUUID struct {
	UUID string `api:"uuid,required,path,resource=Volume"`
}

// goneVolume names a volume that may be gone already.
type goneVolume struct {
	UUID string `api:"uuid,required,path,resource=Volume,missingok"`
}

// deleteVolumeParams are the parameters of APIDeleteDataVolumeMsg.
type deleteVolumeParams struct {
	UUID string `api:"uuid,required,path,resource=Volume,missingok"`
	Mode string `api:"deleteMode,default=Permissive"`
}

// registerVolumes registers what can be done with a data volume that no guest
// has: delete by policy, recover, expunge (spec section 3).
func (s *Service) registerVolumes() error {
	for _, d := range []config.Setting{
		{Category: "volume", Name: "deletionPolicy", Type: "string", Default: "Delay", Values: []string{"Direct", "Delay", "Never"},
			Resources: []string{"Volume"}, Doc: "Direct expunges a deleted data volume at once, Delay after expungePeriod, Never not by itself."},
		{Category: "volume", Name: "expungePeriod", Type: "int", Default: "259200", Min: 1, Max: 1 << 40, Doc: "Seconds that a deleted data volume is kept."},
		{Category: "volume", Name: "expungeInterval", Type: "int", Default: "3600", Min: 1, Max: 1 << 40, Doc: "Seconds between two looks for volumes to expunge."},
	} {
		if err := s.Config.Define(d); err != nil {
			return err
		}
	}
	action.Register(s.Actions, action.Action{
		Message: "APIDeleteDataVolumeMsg", Method: "DELETE", Path: "/volumes/{uuid}", Async: true, Access: action.Normal, Queue: "uuid",
		SuccessIfMissing: true, Kind: "storage", View: action.View{When: []action.When{{Field: "type", In: []string{DataVolume},
			Why: resource.Say("A root volume goes with its VM", "系统盘随云主机删除")}}}, Doc: "Deletes a data volume; by the deletion policy it can be recovered until it is expunged.",
	}, func(ctx context.Context, _ *action.Call, p *deleteVolumeParams) (action.Empty, error) {
		return action.Empty{}, s.deleteData(ctx, p.UUID)
	})
	a := action.Action{Method: "PUT", Path: "/volumes/{uuid}/actions", Async: true, Access: action.Normal, Queue: "uuid", Kind: "storage",
		View: action.View{When: []action.When{{Field: "status", In: []string{VolumeDeleted}}}}}
	a.Message, a.SuccessIfMissing, a.Doc = "APIExpungeDataVolumeMsg", true, "Removes a deleted data volume for good."
	action.Register(s.Actions, a, func(ctx context.Context, _ *action.Call, p *goneVolume) (action.Empty, error) {
		return action.Empty{}, s.expungeData(ctx, p.UUID)
	})
	a.Message, a.SuccessIfMissing, a.Returns, a.Doc = "APIRecoverDataVolumeMsg", false, "Volume", "Makes a deleted data volume usable again."
	action.Register(s.Actions, a, func(ctx context.Context, _ *action.Call, p *volumeUUID) (action.Ref, error) {
		return action.Ref{Type: "Volume", UUID: p.UUID}, s.Store.Update(ctx, func(tx *store.Tx) error {
			v, err := dataVolume(ctx, tx, p.UUID)
			switch {
			case err != nil:
			case v.Status != VolumeDeleted:
				err = errs.New(errs.Refused, "volume "+v.Name, "is not deleted; its status is %s", v.Status)
			case v.Expunging:
				err = errs.New(errs.Refused, "volume "+v.Name, "is being expunged, and its data may be gone").WithAdvice("expunge it again")
			}
			if err != nil {
				return err
			}
			return store.Set(ctx, tx, VolumeType.Type, p.UUID, map[string]any{"status": VolumeReady})
		})
	})
	if err := s.generic.RegisterUpdate(VolumeType.Type, action.Normal, nil); err != nil {
		return err
	}
	return s.generic.RegisterState(VolumeType.Type, action.Normal, nil)
}

// dataVolume returns a data volume that no guest has.
func dataVolume(ctx context.Context, q store.Querier, uuid string) (*Volume, error) {
	v, err := store.Get(ctx, q, VolumeType, uuid)
	switch {
	case err != nil:
		return nil, err
	case v.Type != DataVolume:
		return nil, errs.New(errs.Refused, "volume "+v.Name, "is the root volume of a guest and goes with it").WithAdvice("destroy and expunge the guest")
	case v.VMInstanceUUID != "":
		return nil, errs.New(errs.Refused, "volume "+v.Name, "guest %s has it", v.VMInstanceUUID).WithAdvice("destroy the guest first; it leaves its data volumes")
	}
	return v, nil
}

func (s *Service) deleteData(ctx context.Context, uuid string) error {
	if _, err := dataVolume(ctx, s.Store, uuid); err != nil {
		return err
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, VolumeType.Type, uuid, map[string]any{"status": VolumeDeleted})
	})
	if err == nil && s.Config.String(ctx, "volume", "deletionPolicy", uuid) == "Direct" {
		err = s.expungeData(ctx, uuid)
	}
	return err
}

// expungeData removes the bits, the row and the reservation of a deleted data
// volume. It can be repeated.
func (s *Service) expungeData(ctx context.Context, uuid string) error {
	v, err := dataVolume(ctx, s.Store, uuid)
	if err != nil {
		return err
	}
	if v.Status != VolumeDeleted {
		return errs.New(errs.Refused, "volume "+v.Name, "is not deleted; its status is %s", v.Status).WithAdvice("delete it first")
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, VolumeType.Type, uuid, map[string]any{"expunging": true})
	})
	if err != nil {
		return err
	}
	return s.deleteVolume(ctx, uuid, cascade.Permissive)
}

// Start begins what this service does by itself until ctx ends.
func (s *Service) Start(ctx context.Context) {
	go s.expungeEvery(ctx)
	go s.cleanEvery(ctx)
	storages, links := s.watches()
	for _, l := range []*watch.Loop{storages, links} {
		s.looking.Go(func() { l.Run(ctx, s.Config.Every(ctx, catPrimary, "ping.interval")) })
	}
}

// Stop waits for the looks at storages that Start began; the context that it
// was given has ended before.
func (s *Service) Stop() { s.looking.Wait() }

// expungeEvery expunges data volumes whose time has come until ctx ends.
func (s *Service) expungeEvery(ctx context.Context) {
	s.generic.EmptyTrash(ctx, kernel.Trash{Type: VolumeType.Type, Category: "volume", Deleted: "`type` = ? AND `status` = ? AND `vmInstanceUuid` IS NULL",
		Args: []any{DataVolume, VolumeDeleted}, Since: "lastOpDate", Expunge: "APIExpungeDataVolumeMsg", Param: "uuid"})
}
