package config

import (
	"context"
	"iter"
	"time"
)

// Every yields each time that the seconds of a setting have passed, and how long
// that was, until ctx ends. A setting that changes counts at once, for the wait
// that is going on too; less than a second counts as one.
func (s *Service) Every(ctx context.Context, category, name string) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for {
			every, ok := s.wait(ctx, category, name)
			if !ok || !yield(every) {
				return
			}
		}
	}
}

func (s *Service) wait(ctx context.Context, category, name string) (every time.Duration, ok bool) {
	for begin := time.Now(); ; {
		changed := s.view.Load().changed
		every = max(time.Second, s.Duration(ctx, category, name, ""))
		timer := time.NewTimer(time.Until(begin.Add(every)))
		select {
		case <-timer.C:
			return every, true
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return 0, false
		}
	}
}
