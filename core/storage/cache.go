package storage

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// States of cached images.
const (
	cacheReady = "ready"
	// cacheDeleting is one whose bits are being deleted: nothing may be based
	// on it until it is filled again.
	cacheDeleting = "deleting"
)

// cachePlace is where an image is cached: on a host for host-local storage.
type cachePlace struct{ primary, host, image string }

// source is an image and the backup storage from which it comes.
type source struct{ image, store string }

// fetch is one running fill, or emptying, of a cache; done is closed when it
// has ended.
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
func (s *Service) ensureImage(ctx context.Context, st *pluginv1.Storage, plug *plugin.PrimaryStorage, host *pluginv1.Host, from source) (*ImageCache, error) {
	hostUUID := ""
	if plug.Decl.GetHostLocal() {
		hostUUID = host.GetUuid()
	}
	at := cachePlace{st.GetUuid(), hostUUID, from.image}
	for {
		row, found, err := s.cached(ctx, store.Cached(s.Store), at)
		if err != nil || found && row.State == cacheReady {
			return row, err
		}
		f, mine := s.claim(at)
		if mine {
			f.row, f.err = s.fill(ctx, st, plug, host, at, from.store)
			s.release(at, f)
			return f.row, f.err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if err := flow.Stopped(ctx); err != nil {
			return nil, err
		}
		if f.err == nil {
			continue // it is there now, or was emptied
		}
		if c := errs.ClassOf(f.err); c != errs.Cancelled && c != errs.Timeout {
			return nil, f.err
		}
	}
}

// deleteCached removes an image from a cache when its storage or host goes;
// volumes that are based on it have gone before.
func (s *Service) deleteCached(ctx context.Context, uuid string, _ cascade.Mode) error {
	row, err := store.Get(ctx, s.Store, ImageCacheType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return s.deleteCachedBits(ctx, row)
}

func (s *Service) deleteCachedBits(ctx context.Context, row *ImageCache) error {
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

// fill puts the image in the cache. What it takes there is no longer for
// volumes (spec section 7).
func (s *Service) fill(ctx context.Context, st *pluginv1.Storage, plug *plugin.PrimaryStorage, host *pluginv1.Host, at cachePlace, storeUUID string) (*ImageCache, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	bytes, stop := flow.UntilStop(ctx)
	defer stop()
	src, err := s.images.Source(ctx, at.image, storeUUID, host.GetManagementIp())
	if err != nil {
		return nil, err
	}
	r, err := plug.EnsureImage(bytes, &pluginv1.EnsureImageRequest{Storage: st, Host: host, ImageUuid: at.image, Source: src})
	if stopped := flow.Stopped(ctx); err != nil && stopped != nil {
		return nil, stopped // the next server goes on
	}
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "image "+at.image, err, "cannot be cached on primary storage %s", st.GetName())
	}
	row := &ImageCache{PrimaryStorageUUID: at.primary, HostUUID: at.host, ImageUUID: at.image,
		InstallURL: r.GetInstallPath(), Size: r.GetActualBytes(), State: cacheReady}
	row.UUID = resource.NewUUID()
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := s.dropCached(ctx, tx, at); err != nil { // one whose deletion was cut off
			return err
		}
		if err := s.use(ctx, tx, link{at.primary, at.host}, row.Size); err != nil {
			return err
		}
		return store.Insert(ctx, tx, ImageCacheType, row)
	})
	return row, err
}

// cached returns the row of a cached image.
func (s *Service) cached(ctx context.Context, q store.Querier, at cachePlace) (row *ImageCache, found bool, err error) {
	return store.First(ctx, q, ImageCacheType, "`imageUuid` = ? AND `primaryStorageUuid` = ? AND COALESCE(`hostUuid`, '') = ?", at.image, at.primary, at.host)
}

// dropCached removes the row of a cached image and gives its bytes back; gone
// is a success.
func (s *Service) dropCached(ctx context.Context, tx *store.Tx, at cachePlace) error {
	row, found, err := s.cached(ctx, tx, at)
	if err != nil || !found {
		return err
	}
	if err := s.use(ctx, tx, link{at.primary, at.host}, -row.Size); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DELETE FROM `ImageCache` WHERE `uuid` = ?", row.UUID)
	return err
}

// claim makes the caller the one who works on a cached image; when somebody
// else is, his work is returned. The owner calls release.
func (s *Service) claim(at cachePlace) (f *fetch, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.caching[at]; f != nil {
		return f, false
	}
	f = &fetch{done: make(chan struct{})}
	s.caching[at] = f
	return f, true
}

func (s *Service) release(at cachePlace, f *fetch) {
	s.mu.Lock()
	delete(s.caching, at)
	s.mu.Unlock()
	close(f.done)
}
