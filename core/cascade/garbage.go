package cascade

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Garbage is what a delete left in the outside world.
type Garbage struct {
	UUID string `db:"uuid" kumo:"size=32,immutable"`
	// ResourceType and ResourceUUID name the resource that was deleted.
	ResourceType string `db:"resourceType" kumo:"size=100,immutable"`
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,immutable"`
	Name         string `db:"name" kumo:"size=255,null"`
	// Left is what Deleter.Leave returned; empty when nothing can be collected.
	Left string `db:"leftover" kumo:"text,null,secret"`
	// Error is why it could not be cleaned up; see Cause.
	Error      string        `db:"error" kumo:"text,null"`
	Attempts   int           `db:"attempts"`
	LastTry    resource.Time `db:"lastTry"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
}

// Cause returns why it could not be cleaned up.
func (g *Garbage) Cause() error { return errtext.Decode(g.Error) }

var garbage = resource.Define[Garbage](resource.Type{Name: "CascadeGarbage", Readable: resource.Admin, Internal: true})

// leave keeps what is needed to clean up after a row that is removed.
func (e *Engine) leave(ctx context.Context, tx *store.Tx, n Node, cause error) (err error) {
	var left json.RawMessage
	if f := e.deleter(n.Type).Leave; f != nil {
		if left, err = f(ctx, tx, n.UUID); err != nil && errs.ClassOf(err) != errs.NotFound {
			return err
		}
	}
	return e.Leave(ctx, tx, n, left, cause)
}

// Leave keeps left, of which Collect is told until it returns no error: what of
// a resource could not be cleaned up because of cause, and is no reason to stop.
func (e *Engine) Leave(ctx context.Context, tx *store.Tx, n Node, left json.RawMessage, cause error) error {
	e.log.Warn("the outside world could not be cleaned", "type", n.Type, "resource", n.UUID, "collectable", len(left) > 0, "error", cause)
	return store.Insert(ctx, tx, garbage, &Garbage{UUID: resource.NewUUID(), ResourceType: n.Type, ResourceUUID: n.UUID, Name: n.Name,
		Left: string(left), Error: errtext.Encode(cause), Attempts: 1, LastTry: resource.Now()})
}

// Garbage returns what deletes left, the oldest first, at most 1000.
func (e *Engine) Garbage(ctx context.Context) ([]*Garbage, error) {
	return store.Find(ctx, e.store, garbage, "ORDER BY `createDate`, `uuid` LIMIT 1000")
}

// Forget drops one piece of garbage that a person has dealt with.
func (e *Engine) Forget(ctx context.Context, uuid string) error {
	return e.store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, garbage.Type, uuid) })
}

// Collect tries to clean up what deletes left and is due: interval
// after it failed first, then after twice as long each time, up to an hour. It
// returns how much it got rid of. Garbage of types without a Collect stays for
// a person to see.
func (e *Engine) Collect(ctx context.Context, interval time.Duration) (collected int, err error) {
	list, err := store.Find(ctx, e.store, garbage, "`leftover` IS NOT NULL ORDER BY `lastTry` LIMIT 1000")
	if err != nil {
		return 0, err
	}
	for _, g := range list {
		collect := e.deleter(g.ResourceType).Collect
		if collect == nil || time.Since(g.LastTry.Time) < delay(g.Attempts, interval) {
			continue
		}
		if ctx.Err() != nil {
			return collected, ctx.Err()
		}
		cause := e.collect(ctx, g, collect)
		err := e.store.Update(ctx, func(tx *store.Tx) error {
			if cause == nil {
				return store.Delete(ctx, tx, garbage.Type, g.UUID)
			}
			return store.Set(ctx, tx, garbage.Type, g.UUID, map[string]any{
				"error": errtext.Encode(cause), "attempts": g.Attempts + 1, "lastTry": resource.Now(),
			})
		})
		switch {
		case err != nil:
			return collected, err
		case cause == nil:
			collected++
		default:
			e.log.Warn("garbage not collected", "type", g.ResourceType, "resource", g.ResourceUUID, "attempts", g.Attempts+1, "error", cause)
		}
	}
	return collected, nil
}

func (e *Engine) collect(ctx context.Context, g *Garbage, f func(context.Context, json.RawMessage) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, rowTime)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = errs.New(errs.Internal, g.ResourceType+" "+g.ResourceUUID, "panic: %v", v)
		}
	}()
	return f(ctx, json.RawMessage(g.Left))
}

// delay doubles with each attempt, up to an hour.
func delay(attempts int, interval time.Duration) time.Duration {
	for d, n := interval, attempts; ; d, n = d*2, n-1 {
		if n <= 1 || d >= time.Hour {
			return min(d, max(time.Hour, interval))
		}
	}
}

// CollectEvery calls Collect at each of the intervals, which end with ctx.
func (e *Engine) CollectEvery(ctx context.Context, intervals iter.Seq[time.Duration]) {
	for every := range intervals {
		if _, err := e.Collect(ctx, every); err != nil && ctx.Err() == nil {
			e.log.Warn("garbage not collected", "error", err)
		}
	}
}
