package image

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/watch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	catStore = "backupStorage"
	// pingTimeout and pingParallel bound the looks at stores (spec: section 6).
	pingTimeout  = 10 * time.Second
	pingParallel = 50
	// connectTimeout bounds one connect, which may sweep what a crash left.
	connectTimeout = time.Minute
)

func (s *Service) registerHealth() error {
	action.Register(s.Actions, action.Action{
		Message: "APIReconnectBackupStorageMsg", Method: "PUT", Path: "/backup-storage/{uuid}/actions", Async: true,
		Access: action.Admin, Queue: "uuid", Returns: "BackupStorage", Kind: "storage",
		Doc: "Connects a store again and reads its capacity. One that cannot be reached is Disconnected.",
	}, func(ctx context.Context, _ *action.Call, p *storeUUID) (action.Ref, error) {
		ref := action.Ref{Type: BackupStorageType.Name, UUID: p.UUID}
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		err := s.connect(ctx, p.UUID)
		if err != nil {
			s.lost(context.WithoutCancel(ctx), p.UUID, err)
		}
		return ref, err
	})
	for _, d := range []config.Setting{
		{Category: catStore, Name: "ping.interval", Type: "int", Default: "60", Min: 1, Max: 3600,
			Doc: "Seconds between two looks whether a backup storage is there and what it has free."},
		{Category: catStore, Name: "ping.maxFailure", Type: "int", Default: "3", Min: 1, Max: 100,
			Doc: "Failed looks in a row after which a backup storage is Disconnected."},
	} {
		if err := s.Config.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// storeUUID names a store.
type storeUUID struct {
	UUID string `api:"uuid,required,path,resource=BackupStorage"`
}

// watch is the look at all stores.
func (s *Service) watch() *watch.Loop {
	return &watch.Loop{Parallel: pingParallel, Timeout: pingTimeout, Owns: s.Node.Owns,
		Failures: func() int64 { return s.Config.Int64(context.Background(), catStore, "ping.maxFailure", "") },
		List: func(ctx context.Context) ([]watch.Target, error) {
			rows, err := store.Sound(ctx, s.Store, BackupStorageType, store.PassedOver(s.Log), "")
			var targets []watch.Target
			for _, r := range rows {
				targets = append(targets, watch.Target{Key: r.UUID, Connected: r.Status == Connected})
			}
			return targets, err
		},
		Check: s.check, Lost: s.lost,
		Broken: func(err error) { s.Log.Error("backup storages not listed", "error", err) },
	}
}

// check reads the capacity of a store that is connected, and connects one that
// is not. A store that is gone is a success.
func (s *Service) check(ctx context.Context, uuid string) error {
	row, found, err := store.First(ctx, s.Store, BackupStorageType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	if row.Status != Connected {
		return s.connect(ctx, uuid)
	}
	return s.measure(ctx, row)
}

// measure reads what a store has free, and records it in row too.
func (s *Service) measure(ctx context.Context, row *BackupStorage) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	target, plug, err := s.plugin(ctx, row.UUID)
	if err != nil {
		return err
	}
	r, err := plug.StoreCapacity(ctx, &pluginv1.StoreCapacityRequest{Store: target})
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "backup storage "+row.Name, err, "its free space cannot be read")
	}
	return s.saveCapacity(ctx, row, r.GetCapacity())
}

// connect connects a store that was connected before.
func (s *Service) connect(ctx context.Context, uuid string) error {
	target, plug, err := s.plugin(ctx, uuid)
	if err != nil {
		return err
	}
	r, err := plug.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: target, Known: true})
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "backup storage "+target.GetName(), err, "cannot be connected")
	}
	row, err := store.Get(ctx, s.Store, BackupStorageType, uuid)
	if err != nil {
		return err
	}
	return s.saveCapacity(ctx, row, r.GetCapacity())
}

// saveCapacity records what a store that answers has, if that is news.
func (s *Service) saveCapacity(ctx context.Context, row *BackupStorage, c *pluginv1.Capacity) error {
	total, free := bytesOf(c)
	if row.Status == Connected && row.TotalCapacity == total && row.AvailableCapacity == free {
		return nil
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, BackupStorageType.Type, row.UUID, map[string]any{
			"totalCapacity": total, "availableCapacity": free, "status": Connected})
	})
	if err != nil {
		return err
	}
	row.TotalCapacity, row.AvailableCapacity = total, free
	if row.Status != Connected {
		s.Log.Info("backup storage connected", "backupStorage", row.UUID)
	}
	row.Status = Connected
	return nil
}

// bytesOf returns a capacity that makes sense: nothing negative, and not more
// free than there is.
func bytesOf(c *pluginv1.Capacity) (total, free int64) {
	total = max(c.GetTotalBytes(), 0)
	return total, min(max(c.GetAvailableBytes(), 0), total)
}

// lost records that a store cannot be used; one that is gone is a success.
func (s *Service) lost(ctx context.Context, uuid string, cause error) {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Set(ctx, tx, BackupStorageType.Type, uuid, map[string]any{"status": Disconnected})
	})
	if errs.ClassOf(err) == errs.NotFound {
		return
	}
	if err != nil {
		s.Log.Error("status of backup storage not saved", "backupStorage", uuid, "error", err)
		return
	}
	s.Log.Warn("backup storage disconnected", "backupStorage", uuid, "error", cause)
}
