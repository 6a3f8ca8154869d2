package flow

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// saveEvery is how often a running Each step saves how far it is. Shorter
// lists than this takes cost no write at all; after a crash, that much work is
// repeated.
const saveEvery = 2 * time.Second

// Each makes a Do step that handles every item of a list, parallel of them at
// once (at least one). list must give the same items in the same order each
// time it is asked, so it is computed from the state. do and undo obey the
// rules of steps, item by item. The first error stops the list; undo goes
// through all items in reverse order, also those that were never begun.
//
// Progress is saved as one number, at most every two seconds. When the server
// stops, the items that run are finished and the rest is done after the next
// start.
func Each[S, T any](name string, parallel int, list func(*S) []T, do, undo func(ctx context.Context, s *S, item T) error) Step[S] {
	st := Step[S]{name: name, each: true}
	st.do = func(ctx context.Context, s *S) error {
		return forEach(ctx, list(s), max(parallel, 1), func(ctx context.Context, item T) error { return do(ctx, s, item) })
	}
	if undo != nil {
		st.undo = func(ctx context.Context, s *S) error {
			items := list(s)
			backward := make([]T, len(items))
			for i, item := range items {
				backward[len(items)-1-i] = item
			}
			return forEach(ctx, backward, max(parallel, 1), func(ctx context.Context, item T) error { return undo(ctx, s, item) })
		}
	}
	return st
}

// forEach handles items in rounds of at most saveEvery, so that everything up
// to the saved number is surely done.
func forEach[T any](ctx context.Context, items []T, parallel int, f func(context.Context, T) error) error {
	c := current(ctx)
	for next := int(c.flow.progress()); next < len(items); {
		if err := c.flow.stopped(); err != nil {
			return err
		}
		round := time.Now()
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		first := next
		for ; next < len(items); next++ {
			if gctx.Err() != nil || next > first && (time.Since(round) >= saveEvery || c.flow.stopped() != nil) {
				break
			}
			item := items[next]
			g.Go(func() error { return c.item(ctx, func(ctx context.Context) error { return f(ctx, item) }) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if next < len(items) {
			if err := c.flow.saveProgress(ctx, int64(next)); err != nil {
				return err
			}
		}
	}
	return nil
}

// item calls f for one item, with the step's time-out; a panic becomes an
// error, since it happens on a goroutine of its own.
func (c *stepContext) item(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = c.flow.panicked(c.step, v)
		}
	}()
	err = f(ctx)
	return outOfTime(ctx, err, fmt.Sprintf("an item of step %s of %s", c.step, c.flow.name()), c.timeout)
}
