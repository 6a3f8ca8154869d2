package flow

import (
	"context"
	"sync/atomic"

	"github.com/kumo-cloud/kumo/core/store"
)

// counting counts transactions, and can let them fail.
type counting struct {
	*store.Store
	updates atomic.Int64
	broken  atomic.Pointer[error]
}

func (c *counting) Update(ctx context.Context, fn func(*store.Tx) error) error {
	c.updates.Add(1)
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return c.Store.Update(ctx, fn)
}

// Database is the engine's database as a test sees it.
type Database struct{ c *counting }

// Watch puts a counting database into an engine.
func Watch(e *Engine) Database {
	c := &counting{Store: e.store.(*store.Store)}
	e.store = c
	return Database{c}
}

// Updates returns how many transactions there were.
func (d Database) Updates() int { return int(d.c.updates.Load()) }

// Break lets all transactions fail with err; nil mends it.
func (d Database) Break(err error) {
	if err == nil {
		d.c.broken.Store(nil)
		return
	}
	d.c.broken.Store(&err)
}

// UndoDelay is undoDelay.
var UndoDelay = undoDelay

// SaveEvery is saveEvery.
const SaveEvery = saveEvery

// Prune is prune.
func Prune(e *Engine, b TraceBounds) error { return e.prune(context.Background(), b) }
