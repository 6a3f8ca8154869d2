package storage

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
)

// Rounds returns the looks at storages and at links, without their interval, for
// tests that say when the time has come.
func (s *Service) Rounds() (storages, links func(context.Context)) {
	a, b := s.watches()
	return a.Round, b.Round
}

// Age makes all that is known of free space old.
func (s *Service) Age() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.read)
}

// CleanCaches is one round of the cleaning of image caches.
func (s *Service) CleanCaches(ctx context.Context) error {
	return s.cleanOwn(ctx)
}

// AttachSteps are the steps of attaching a storage to a cluster.
func (s *Service) AttachSteps() []string { return s.attaching.Steps() }

// Use is use, which counts what is on a storage without asking for room.
func (s *Service) Use(ctx context.Context, tx *store.Tx, ps, host string, size int64) error {
	return s.use(ctx, tx, link{ps, host}, size)
}
