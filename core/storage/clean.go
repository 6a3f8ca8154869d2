package storage

import (
	"context"
	"errors"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// cleanParams are the parameters of APICleanUpImageCacheOnPrimaryStorageMsg.
type cleanParams struct {
	UUID  string `api:"uuid,required,path,resource=PrimaryStorage"`
	Force bool   `api:"force"`
}

// AddImageUser adds a service that is asked before a cached image goes; called
// before Start.
func (s *Service) AddImageUser(u contract.ImageUser) { s.users = append(s.users, u) }

func (s *Service) registerClean() error {
	action.Register(s.Actions, action.Action{
		Message: "APICleanUpImageCacheOnPrimaryStorageMsg", Method: "PUT", Path: "/primary-storage/{uuid}/actions", Async: true,
		Access: action.Admin, Kind: "storage",
		Doc: "Deletes cached images that nothing uses and that were expunged; with force, also those whose image is still there.",
	}, func(ctx context.Context, _ *action.Call, p *cleanParams) (action.Empty, error) {
		rows, err := store.Find(ctx, s.Store, ImageCacheType, "`primaryStorageUuid` = ?", p.UUID)
		if err != nil {
			return action.Empty{}, err
		}
		return action.Empty{}, s.cleanCaches(ctx, rows, p.Force)
	})
	return nil
}

// cleanEvery deletes orphans from the caches until ctx ends.
func (s *Service) cleanEvery(ctx context.Context) {
	for range s.Config.Every(ctx, "primaryStorage", "imageCache.garbageCollector.interval") {
		if err := s.cleanOwn(ctx); err != nil {
			s.Log.Warn("image caches not cleaned", "error", err)
		}
	}
}

// cleanOwn deletes orphans from the caches of the storages that this node looks
// after.
func (s *Service) cleanOwn(ctx context.Context) error {
	rows, err := store.Sound(ctx, s.Store, ImageCacheType, store.PassedOver(s.Log), "")
	if err != nil {
		return err
	}
	return s.cleanCaches(ctx, slices.DeleteFunc(rows, func(r *ImageCache) bool { return !s.Node.Owns(r.PrimaryStorageUUID) }), false)
}

// cleanCaches deletes the cached images among the rows that nothing uses. It
// goes on after an error, and returns all.
func (s *Service) cleanCaches(ctx context.Context, rows []*ImageCache, force bool) error {
	if !force {
		var err error
		if rows, err = s.orphans(ctx, rows); err != nil {
			return err
		}
	}
	var all error
	for _, row := range rows {
		if err := s.cleanCached(ctx, row); err != nil {
			all = errors.Join(all, errs.Wrap(errs.ClassOf(err), "image "+row.ImageUUID, err, "is still cached on primary storage %s", row.PrimaryStorageUUID))
		}
	}
	return all
}

// orphans are the cached images that are there no more, or whose deletion from
// the cache was cut off.
func (s *Service) orphans(ctx context.Context, rows []*ImageCache) ([]*ImageCache, error) {
	uuids := make([]string, len(rows))
	for i, r := range rows {
		uuids[i] = r.ImageUUID
	}
	there, err := s.images.Existing(ctx, s.Store, uuids)
	if err != nil {
		return nil, err
	}
	kept := make(map[string]bool, len(there))
	for _, uuid := range there {
		kept[uuid] = true
	}
	return slices.DeleteFunc(rows, func(r *ImageCache) bool { return r.State != cacheDeleting && kept[r.ImageUUID] }), nil
}

// cleanCached deletes one cached image unless something uses it. A creation that
// comes meanwhile either has its volume's row before the image is marked, and
// keeps it, or waits and fills the cache again.
func (s *Service) cleanCached(ctx context.Context, row *ImageCache) error {
	at := cachePlace{row.PrimaryStorageUUID, row.HostUUID, row.ImageUUID}
	f, mine := s.claim(at)
	if !mine {
		return nil // it is being filled, so it is wanted
	}
	defer s.release(at, f)
	free, err := s.markUnused(ctx, row)
	if err != nil || !free {
		return err
	}
	if err := s.deleteCachedBits(ctx, row); err != nil {
		return err // it stays marked, and the next round tries again
	}
	s.Log.Info("cached image deleted, nothing used it", "image", row.ImageUUID, "primaryStorage", row.PrimaryStorageUUID, "bytes", row.Size)
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.dropCached(ctx, tx, at) })
}

// markUnused marks a cached image unless something uses it.
func (s *Service) markUnused(ctx context.Context, row *ImageCache) (free bool, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		free = false
		for _, u := range s.users {
			if used, err := u.UsesImage(ctx, tx, row.ImageUUID); err != nil || used {
				return err
			}
		}
		n, err := tx.Exec(ctx, "UPDATE `ImageCache` SET `state` = ? WHERE `uuid` = ? AND NOT EXISTS (SELECT 1 FROM `Volume` "+
			"WHERE `primaryStorageUuid` = ? AND `rootImageUuid` = ? AND COALESCE(`hostUuid`, '') = ?)",
			cacheDeleting, row.UUID, row.PrimaryStorageUUID, row.ImageUUID, row.HostUUID)
		free = n > 0
		return err
	})
	return free, err
}
