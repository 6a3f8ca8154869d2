package kernel

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Trash says how deleted rows of a type, which could be recovered so far, end by
// themselves.
type Trash struct {
	Type *resource.Type
	// Category has the settings expungeInterval and expungePeriod, in seconds,
	// and deletionPolicy, which keeps rows when it is Never.
	Category string
	// Deleted is the SQL condition, with Args, of rows that are deleted; Since is
	// the column that tells when that was.
	Deleted string
	Args    []any
	Since   string
	// Expunge is the message that removes one, Param its parameter with the uuid.
	Expunge, Param string
}

// trashBatch bounds how many rows one round removes.
const trashBatch = 1000

// EmptyTrash asks, as the platform, for the end of deleted rows whose time has
// come, until ctx ends. What fails is asked for again in the next round.
func (k *Kernel) EmptyTrash(ctx context.Context, t Trash) {
	for range k.Config.Every(ctx, t.Category, "expungeInterval") {
		period := time.Duration(k.Config.Int64(ctx, t.Category, "expungePeriod", "")) * time.Second
		args := append(t.Args[:len(t.Args):len(t.Args)], resource.Time{Time: time.Now().Add(-period)}, trashBatch)
		uuids, err := store.Texts(ctx, k.Store, "SELECT `uuid` FROM `"+t.Type.Name+"` WHERE "+t.Deleted+" AND `"+t.Since+"` < ? LIMIT ?", args...)
		if err != nil {
			k.Log.Error("deleted resources not listed", "type", t.Type.Name, "error", err)
			continue
		}
		for _, uuid := range uuids {
			if k.Config.String(ctx, t.Category, "deletionPolicy", uuid) == "Never" {
				continue
			}
			k.Ask(ctx, uuid, t.Expunge, map[string]any{t.Param: uuid})
		}
	}
}

// Ask has the platform ask for a message about a resource, if its key is this
// node's, and goes on: what cannot be queued is logged, and is asked for again by
// whoever found that it is needed.
func (k *Kernel) Ask(ctx context.Context, key, message string, params map[string]any) {
	if !k.Node.Owns(key) {
		return
	}
	if err := k.Actions.Submit(ctx, message, params); err != nil {
		k.Log.Warn("request of the platform not queued", "message", message, "resource", key, "error", err)
	}
}
