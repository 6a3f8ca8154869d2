package storage

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// staleAfter is the age at which a placement does not trust what a storage
	// had free: the watch has missed it, or looks seldom.
	staleAfter = 90 * time.Second
	// staleWait is how long a placement waits for what is true now.
	staleWait = time.Second
)

// link is a storage, or what a host has of one that keeps its volumes on hosts.
type link struct{ primary, host string }

// capacityOf reads what a storage, or a host's part of it, has free, records it,
// and returns the free bytes of the medium. Those who ask for the same meanwhile
// share one call, which outlives each of them, for pingTimeout at most.
func (s *Service) capacityOf(ctx context.Context, l link) (free int64, err error) {
	done := s.reads.DoChan(l.primary+"/"+l.host, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
		defer cancel()
		return s.readCapacity(ctx, l)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return 0, r.Err
		}
		return r.Val.(int64), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (s *Service) readCapacity(ctx context.Context, l link) (int64, error) {
	st, plug, err := s.plugin(ctx, l.primary)
	if err != nil {
		return 0, err
	}
	r := &pluginv1.StorageCapacityRequest{Storage: st}
	if l.host != "" {
		if r.Host, err = s.hosts.PluginHost(ctx, s.Store, l.host); err != nil {
			return 0, err
		}
	}
	got, err := plug.StorageCapacity(ctx, r)
	if err != nil {
		return 0, err
	}
	total, free := bytesOf(got.GetCapacity())
	changed, err := s.isNews(ctx, l, total, free)
	if err == nil && changed {
		err = s.Store.Update(ctx, func(tx *store.Tx) error {
			if l.host == "" {
				return savePrimary(ctx, tx, l.primary, total, free)
			}
			ref, found, err := store.First(ctx, tx, HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", l.primary, l.host)
			if err != nil || !found || ref.Status != Connected {
				return err // it was taken from the host, or lost it, meanwhile
			}
			return s.saveHostRef(ctx, tx, l.primary, l.host, true, got.GetCapacity())
		})
	}
	if err != nil {
		return 0, err
	}
	s.wasRead(l)
	if l.host != "" {
		s.checked(ctx, l.primary, l.host, s.tooFull(ctx, l.primary, got.GetCapacity()))
	}
	return free, nil
}

// LookAt implements contract.Storage. A storage that cannot be read then is
// Disconnected at once: the guest is the second witness.
func (s *Service) LookAt(ctx context.Context, volumes []*contract.VolumePlan) {
	seen := map[link]bool{}
	for _, v := range volumes {
		l := link{v.PrimaryUUID, v.HostUUID}
		if v.PrimaryUUID == "" || seen[l] {
			continue
		}
		seen[l] = true
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
			defer cancel()
			s.lookAt(ctx, l)
		}()
	}
}

func (s *Service) lookAt(ctx context.Context, l link) {
	var err error
	if l.host == "" {
		err = s.checkStorage(ctx, l.primary)
	} else if ref, e := s.hostRef(ctx, l.primary, l.host); e != nil || ref == nil {
		err = e
	} else {
		err = s.checkLink(ctx, ref.UUID)
	}
	switch {
	case err == nil:
	case l.host == "" && errs.CheckOf(err) == "": // else it is the plugin that does not answer
		s.lostStorage(context.WithoutCancel(ctx), l.primary, err)
	default:
		s.Log.Warn("primary storage not looked at", "primaryStorage", l.primary, "host", l.host, "error", err)
	}
}

// isNews reports whether a reading differs from what is recorded.
func (s *Service) isNews(ctx context.Context, l link, total, free int64) (bool, error) {
	if l.host == "" {
		row, err := store.Get(ctx, s.Store, PrimaryStorageType, l.primary)
		return err == nil && (row.TotalPhysical != total || row.AvailablePhysical != free), err
	}
	ref, found, err := store.First(ctx, s.Store, HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", l.primary, l.host)
	return found && (ref.TotalPhysical != total || ref.AvailablePhysical != free), err
}

// bytesOf returns a capacity that makes sense: nothing negative, and not more
// free than there is.
func bytesOf(c *pluginv1.Capacity) (total, free int64) {
	total = max(c.GetTotalBytes(), 0)
	return total, min(max(c.GetAvailableBytes(), 0), total)
}

func (s *Service) wasRead(l link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[l] = time.Now()
}

// freeNow returns the free bytes of the medium: what is recorded while that is
// young, else what a look says that takes no longer than staleWait.
func (s *Service) freeNow(ctx context.Context, l link, recorded int64) int64 {
	s.mu.Lock()
	at, known := s.read[l]
	s.mu.Unlock()
	if known && time.Since(at) < staleAfter {
		return recorded
	}
	ctx, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	free, err := s.capacityOf(ctx, l)
	if err != nil {
		s.Log.Warn("free space of primary storage not known, the last reading counts", "primaryStorage", l.primary, "host", l.host, "error", err)
		return recorded
	}
	return free
}
