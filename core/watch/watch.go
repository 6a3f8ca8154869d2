// Package watch finds out, at an interval, which things outside can no longer
// be used. It must not import any service.
package watch

import (
	"cmp"
	"context"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Target is one thing that is checked.
type Target struct {
	// Key names it.
	Key string
	// Of is the resource whose node looks at it; empty when Key is one.
	Of string
	// Connected says what is thought of it now.
	Connected bool
}

// Loop checks targets. All exported fields must be set.
type Loop struct {
	// List tells what there is, of all nodes.
	List func(ctx context.Context) ([]Target, error)
	// Owns tells whether this node looks after a resource; it is asked before each
	// check, and before something is called lost.
	Owns func(uuid string) bool
	// Check looks at one target, and records what it found; it is cut off after
	// Timeout.
	Check func(ctx context.Context, key string) error
	// Failures says how many failed checks in a row make a target that is
	// Connected a lost one; then Lost is called with the last error.
	Failures func() int64
	Lost     func(ctx context.Context, key string, cause error)
	// Broken is told when List fails.
	Broken func(error)
	// Parallel bounds the checks at one time.
	Parallel int
	Timeout  time.Duration

	failures map[string]int64 // in a row, by key
}

// Run checks at once, and whenever every yields, which ends with ctx.
func (l *Loop) Run(ctx context.Context, every iter.Seq[time.Duration]) {
	l.Round(ctx)
	for range every {
		l.Round(ctx)
	}
}

// Round checks every target once. Rounds must not overlap, so no target is
// checked twice at once.
func (l *Loop) Round(ctx context.Context) {
	targets, err := l.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.Broken(err)
		}
		return
	}
	limit := l.Failures()
	var mu sync.Mutex
	still := make(map[string]int64, len(l.failures))
	var g errgroup.Group
	g.SetLimit(l.Parallel)
	for _, t := range targets {
		g.Go(func() error {
			of := cmp.Or(t.Of, t.Key)
			if !l.Owns(of) {
				return nil
			}
			bounded, cancel := context.WithTimeout(ctx, l.Timeout)
			defer cancel()
			err := l.Check(bounded, t.Key)
			if err == nil || ctx.Err() != nil || !l.Owns(of) {
				return nil
			}
			mu.Lock()
			n := l.failures[t.Key] + 1
			still[t.Key] = n
			mu.Unlock()
			if n >= limit && t.Connected {
				l.Lost(ctx, t.Key, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
	l.failures = still
}
