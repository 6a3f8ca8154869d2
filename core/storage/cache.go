package storage

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/compute/port"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// fetch is one running fill of a cache; done is closed when it has ended.
type fetch struct {
	done chan struct{}
	row  *ImageCache
	err  error
}

// cacheTimeout bounds the wait for an image's bytes; the data itself moves as
// long as it moves, the plugin detects a stall.
const cacheTimeout = 12 * time.Hour

// ensureImage returns the image's place in the storage's cache, filling it
// first when needed. Callers that ask for the same image meanwhile wait for
// the one that fetches it; when that one is cancelled, the next takes over.
func (s *Service) ensureImage(ctx context.Context, st *pluginv1.Storage, plug *plugin.PrimaryStorage, host *pluginv1.Host, v *port.VolumePlan) (*ImageCache, error) {
	hostUUID := ""
	if plug.Decl.GetHostLocal() {
		hostUUID = host.GetUuid()
	}
	where, args := "`imageUuid` = ? AND `primaryStorageUuid` = ? AND `hostUuid` IS NULL", []any{v.ImageUUID, st.GetUuid()}
	if hostUUID != "" {
		where, args = "`imageUuid` = ? AND `primaryStorageUuid` = ? AND `hostUuid` = ?", append(args, hostUUID)
	}
	key := st.GetUuid() + "/" + hostUUID + "/" + v.ImageUUID
	for {
		row, found, err := store.First(ctx, s.Store, ImageCacheType, where, args...)
		if err != nil || found {
			return row, err
		}
		s.mu.Lock()
		f, running := s.caching[key]
		if !running {
			f = &fetch{done: make(chan struct{})}
			s.caching[key] = f
		}
		s.mu.Unlock()
		if !running {
			f.row, f.err = s.fill(ctx, st, plug, host, hostUUID, v)
			s.mu.Lock()
			delete(s.caching, key)
			s.mu.Unlock()
			close(f.done)
			return f.row, f.err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if f.err == nil {
			return f.row, nil
		}
		if c := errs.ClassOf(f.err); c != errs.Cancelled && c != errs.Timeout {
			return nil, f.err
		}
	}
}

// deleteCached removes an image from a cache when its storage or host goes. The
// bits stay while a volume is based on them: a host that leaves alone keeps its
// volumes, which would be lost without.
func (s *Service) deleteCached(ctx context.Context, uuid string, _ cascade.Mode) error {
	row, err := store.Get(ctx, s.Store, ImageCacheType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	based, found, err := store.First(ctx, s.Store, VolumeType, "`primaryStorageUuid` = ? AND `rootImageUuid` = ? AND COALESCE(`hostUuid`, '') = ?",
		row.PrimaryStorageUUID, row.ImageUUID, row.HostUUID)
	if err != nil {
		return err
	}
	if found {
		s.Log.Info("cached image kept for its volumes", "image", row.ImageUUID, "host", row.HostUUID, "volume", based.UUID)
		return nil
	}
	st, plug, err := s.plugin(ctx, row.PrimaryStorageUUID)
	if err != nil {
		return err
	}
	host, err := s.hostFor(ctx, &Volume{PrimaryStorageUUID: row.PrimaryStorageUUID, HostUUID: row.HostUUID})
	if err != nil {
		return err
	}
	_, err = plug.DeleteCachedImage(ctx, &pluginv1.DeleteCachedImageRequest{Storage: st, Host: host, ImageUuid: row.ImageUUID, InstallPath: row.InstallURL})
	return err
}

func (s *Service) fill(ctx context.Context, st *pluginv1.Storage, plug *plugin.PrimaryStorage, host *pluginv1.Host, hostUUID string, v *port.VolumePlan) (*ImageCache, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	src, err := s.images.Source(ctx, v.ImageUUID, v.ImageStoreUUID, host.GetManagementIp())
	if err != nil {
		return nil, err
	}
	r, err := plug.EnsureImage(ctx, &pluginv1.EnsureImageRequest{Storage: st, Host: host, ImageUuid: v.ImageUUID, Source: src})
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "image "+v.ImageUUID, err, "cannot be cached on primary storage %s", st.GetName())
	}
	row := &ImageCache{PrimaryStorageUUID: st.GetUuid(), HostUUID: hostUUID, ImageUUID: v.ImageUUID,
		InstallURL: r.GetInstallPath(), Size: r.GetActualBytes(), State: "ready"}
	row.UUID = resource.NewUUID()
	err = s.Store.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, ImageCacheType, row) })
	return row, err
}
