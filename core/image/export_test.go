package image

import "context"

// Round returns the look at stores, without its interval, for tests that say when
// the time has come.
func (s *Service) Round() func(context.Context) { return s.watch().Round }

// AddSteps are the steps of adding an image.
func (s *Service) AddSteps() []string { return s.adding.Steps() }

// HideURLs is what the service does with images' URLs when it starts.
func (s *Service) HideURLs(ctx context.Context) error { return s.hideURLs(ctx) }
