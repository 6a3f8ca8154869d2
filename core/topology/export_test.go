package topology

import "context"

// Ping is one look at all hosts. The failures in a row are counted from the call
// of this on, not by the service's own looks.
func (s *Service) Ping() (round func(context.Context)) { return s.pings().Round }

// StartConnecting is startConnecting.
func (s *Service) StartConnecting(ctx context.Context) ([]string, error) {
	return s.startConnecting(ctx)
}

// SaveAges is saveAges.
func (s *Service) SaveAges(ctx context.Context) error { return s.saveAges(ctx) }

// AddSteps are the steps of adding a host.
func (s *Service) AddSteps() []string { return s.adding.Steps() }
