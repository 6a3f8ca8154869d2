package storage

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// stateParams are the parameters of APIChangePrimaryStorageStateMsg.
type stateParams struct {
	UUID  string `api:"uuid,required,path,resource=PrimaryStorage"`
	Event string `api:"stateEvent,required,values=enable|disable|maintain|deleting"`
}

// SetGuests tells which service keeps the guests that run on storages; called
// before Start.
func (s *Service) SetGuests(g contract.Guests) { s.guests = g }

func (s *Service) registerState() {
	action.Register(s.Actions, action.Action{
		Message: "APIChangePrimaryStorageStateMsg", Method: "PUT", Path: "/primary-storage/{uuid}/actions", Async: true,
		Access: action.Admin, Queue: "uuid", Returns: PrimaryStorageType.Name, Kind: "storage",
		Doc: "Enables or disables a storage, or puts it in maintenance: its guests are stopped, and neither start nor get new volumes on it.",
	}, func(ctx context.Context, _ *action.Call, p *stateParams) (action.Ref, error) {
		ref := action.Ref{Type: PrimaryStorageType.Name, UUID: p.UUID}
		if p.Event == "maintain" {
			return ref, s.maintain(ctx, p.UUID)
		}
		_, err := s.generic.ChangeState(ctx, PrimaryStorageType.Type, p.UUID, p.Event)
		return ref, err
	})
}

// maintain lets nothing new on a storage and stops the guests that run on it;
// it can be repeated. When they cannot all be stopped, the storage returns to its
// earlier state.
func (s *Service) maintain(ctx context.Context, uuid string) error {
	ps, err := store.Get(ctx, s.Store, PrimaryStorageType, uuid)
	if err != nil {
		return err
	}
	if _, err := s.generic.ChangeState(ctx, PrimaryStorageType.Type, uuid, "maintain"); err != nil {
		return err
	}
	if err = s.stopGuests(ctx, ps); err == nil {
		return nil
	}
	back := map[string]string{Enabled: "enable", Disabled: "disable", Deleting: "deleting", Maintenance: "maintain"}[ps.State]
	if _, e := s.generic.ChangeState(context.WithoutCancel(ctx), PrimaryStorageType.Type, uuid, back); e != nil {
		s.Log.Error("primary storage not returned to its state", "primaryStorage", uuid, "error", e)
	}
	return err
}

// stopGuests stops all guests that have volumes on a storage.
func (s *Service) stopGuests(ctx context.Context, ps *PrimaryStorage) error {
	vms, err := s.guestsOn(ctx, s.Store, ps.UUID)
	if err == nil {
		err = s.guests.StopGuests(ctx, vms)
	}
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "primary storage "+ps.Name, err, "not all its guests can be stopped")
	}
	running, err := s.firstRunning(ctx, s.Store, ps.UUID, "")
	if err == nil && running != "" {
		err = errs.New(errs.Refused, "primary storage "+ps.Name, "guest %s on it cannot be stopped now", running).
			WithAdvice("try again when what is being done with the guest has ended")
	}
	return err
}

// guestsOn returns the guests that have volumes on a storage.
func (s *Service) guestsOn(ctx context.Context, q store.Querier, uuid string) ([]string, error) {
	return store.Texts(ctx, q, "SELECT DISTINCT `vmInstanceUuid` FROM `Volume` WHERE `primaryStorageUuid` = ? AND `vmInstanceUuid` IS NOT NULL", uuid)
}

// firstRunning returns the name of a guest that has volumes on a storage and a
// host of the cluster, or of any cluster; "" when there is none.
func (s *Service) firstRunning(ctx context.Context, q store.Querier, uuid, clusterUUID string) (name string, err error) {
	vms, err := s.guestsOn(ctx, q, uuid)
	if err != nil {
		return "", err
	}
	return name, s.guests.Places(ctx, q, vms, func(g contract.GuestPlace) {
		if name == "" && (clusterUUID == "" || g.ClusterUUID == clusterUUID) {
			name = g.Name
		}
	})
}
