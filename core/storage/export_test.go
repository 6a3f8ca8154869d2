package storage

import "context"

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
	return s.cleanCaches(ctx, "`primaryStorageUuid` <> ?", "", false)
}
