package flow

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Finish brings to their end the flows under a dispatch key that were left
// open: their undo failed, or they could not go on. Whatever works on a
// resource next calls it before it looks at the resource, because what an open
// flow holds, such as a host's capacity, is not in the resource's row. The
// caller must hold the key. With nothing open, which is nearly always so, it
// costs a look into a map.
//
// When one cannot be ended, Finish returns errs.Unavailable with the reason.
// With force, an undo that fails is passed over instead, and what it leaves in
// the world is left there: for deletes that nothing may stop.
func (e *Engine) Finish(ctx context.Context, key string, force bool) error {
	for _, uuid := range e.opened(key) {
		var err error
		if p, waits := e.unpark(uuid); waits {
			err = p.going(ctx)
		} else {
			err = e.resume(ctx, uuid, key, force)
		}
		if slices.Contains(e.opened(key), uuid) {
			return e.unfinished(ctx, key, uuid, err)
		}
	}
	return nil
}

// unfinished says which earlier operation is in the way, and why.
func (e *Engine) unfinished(ctx context.Context, key, uuid string, reason error) error {
	object, name := "resource "+key, uuid
	row, found, err := store.First(ctx, e.store, journals, "uuid = ?", uuid)
	if found {
		object, name = cmp.Or(row.ResourceType, "resource")+" "+cmp.Or(row.ResourceUUID, key), row.Name
		reason = cmp.Or(row.UndoCause(), reason)
	}
	return &openError{uuid, errs.Wrap(errs.Unavailable, object, errors.Join(reason, err),
		"an earlier operation on it (%s) has failed and cannot be undone yet", name).
		WithAdvice("remove the cause and repeat the call; the undo is also repeated by itself")}
}

// openError says that a flow is open. Two about the same flow are the same to
// errors.Is, so that it is told once.
type openError struct {
	uuid string
	error
}

func (e *openError) Unwrap() error { return e.error }

func (e *openError) Is(target error) bool {
	other, ok := target.(*openError)
	return ok && other.uuid == e.uuid
}

// clear refuses a flow whose key has another one open.
func (e *Engine) clear(ctx context.Context, name, key string) error {
	open := e.opened(key)
	if len(open) == 0 {
		return nil
	}
	return e.unfinished(ctx, key, open[0], errs.New(errs.Unavailable, "flow "+name, "it must wait for flow %s", open[0]))
}

// opened lists the open flows under a key in the order in which they began.
func (e *Engine) opened(key string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open[key]) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(e.open[key])) // UUIDs begin with their time
}

// Undoing reports whether a flow under a key is open that has failed: some of
// what it did is undone, and the rest will be.
func (e *Engine) Undoing(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, undo := range e.open[key] {
		if undo {
			return true
		}
	}
	return false
}

// opens notes that a flow is left open.
func (e *Engine) opens(uuid, key string, undo bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaveOpen(uuid, key, undo)
}

func (e *Engine) leaveOpen(uuid, key string, undo bool) {
	if key == "" {
		return
	}
	if e.open[key] == nil {
		e.open[key] = map[string]bool{}
	}
	e.open[key][uuid] = undo
}

// closes notes that an open flow goes on, or has ended. It reports whether the
// flow was open.
func (e *Engine) closes(uuid, key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, was := e.open[key][uuid]
	delete(e.open[key], uuid)
	if len(e.open[key]) == 0 {
		delete(e.open, key)
	}
	return was
}
