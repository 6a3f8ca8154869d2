package dispatch

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Do runs fn under key as Submit does, waits for it, and returns its error. When
// ctx ends first, Do returns its error: fn is not called any more, or goes on
// when it has begun. It must not be called by work under the same key, which
// would wait for itself. Errors besides those of fn: those of Submit, and
// errs.Internal when fn panicked.
func (d *Queues) Do(ctx context.Context, key, kindName string, fn func() error) error {
	done := make(chan error, 1)
	err := d.Submit(key, kindName, func() {
		if ctx.Err() != nil {
			return // nobody waits any more
		}
		answer := error(errs.New(errs.Internal, "operation on "+key, "it ended unexpectedly"))
		defer func() { done <- answer }()
		answer = fn()
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
