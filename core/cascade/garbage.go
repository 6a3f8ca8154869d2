package cascade

import (
	"context"
	"encoding/json"
	"errors"
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
	// ResourceType and ResourceUUID name the resource that was deleted; Name is
	// what it was called.
	ResourceType string `db:"resourceType" kumo:"size=100,immutable"`
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,immutable"`
	Name         string `db:"name" kumo:"size=255,null"`
	// Runner is the wire's word for what cleans up: the service of this type.
	Runner string `db:"runnerClass" kumo:"size=255,immutable" caption:"Cleaner|清理者"`
	// Left is what Deleter.Leave returned; empty when nothing can be collected.
	Left string `db:"leftover" kumo:"text,null,secret" caption:"What is left|残留内容"`
	// Error is why it could not be cleaned up, see Cause; Why is its text.
	Error string `db:"error" kumo:"text,null,hidden"`
	Why   string `db:"context" kumo:"text,null" caption:"Why it failed|失败原因"`
	// Status is Processing while it is being cleaned up.
	Status string `db:"status" kumo:"size=32,values=Idle|Processing,default=Idle"`
	// Type is the wire's word for when: TimeBased, from time to time.
	Type       string        `db:"type" kumo:"size=32,values=TimeBased,default=TimeBased" caption:"Kind|方式"`
	Attempts   int           `db:"attempts" caption:"Attempts|尝试次数"`
	LastTry    resource.Time `db:"lastTry" caption:"Last attempt|最近尝试"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate resource.Time `db:"lastOpDate"`
	// OwnerUUID and Epoch are those of the management node that wrote it last.
	OwnerUUID string `db:"managementNodeUuid" kumo:"size=32,null"`
	Epoch     int64  `db:"epoch" caption:"Epoch|纪元"`
}

// The states of garbage.
const (
	idle       = "Idle"
	processing = "Processing"
)

// Cause returns why it could not be cleaned up.
func (g *Garbage) Cause() error { return errtext.Decode(g.Error) }

var garbage = resource.Define[Garbage](resource.Type{
	Name: "GCJob", Path: "/gc-jobs", Readable: resource.Admin, FQN: "org.zstack.core.gc.GarbageCollectorInventory",
	Enums: map[string]*resource.Enum{"status": {Name: "GCJobStatus", Values: []resource.Value{
		{Name: idle, Caption: resource.Say("Waiting", "等待中"), Tone: resource.Pending},
		{Name: processing, Caption: resource.Say("At work", "执行中"), Tone: resource.Progress, Transient: true},
	}}},
	View: resource.View{
		Caption: resource.Say("Leftover", "待清理残留"), Noun: "gc", Aliases: []string{"leftover", "gc-job"},
		Group: "operations", Order: 70, Icon: "task", Context: []string{"resourceType"},
		Doc:     resource.Say("What a delete has left behind and the cloud tries to clean up.", "删除后残留、由云定期重试清理的内容。"),
		Columns: []string{"name", "status", "resourceType", "resourceUuid", "context", "attempts", "lastTry", "createDate"},
	},
})

// leave keeps what is needed to clean up after a row that is removed.
func (e *Engine) leave(ctx context.Context, tx *store.Tx, n Node, cause error) (err error) {
	var left json.RawMessage
	if f := e.deleter(n.Type).Leave; f != nil {
		if left, err = f(ctx, tx, n.UUID); errors.Is(err, ErrNothingLeft) {
			return nil
		} else if err != nil && errs.ClassOf(err) != errs.NotFound {
			return err
		}
	}
	return e.Leave(ctx, tx, n, left, cause)
}

// Leave keeps left, of which Collect is told until it returns no error: what of
// a resource could not be cleaned up because of cause, and is no reason to stop. Who
// asked for it is told (Noting).
func (e *Engine) Leave(ctx context.Context, tx *store.Tx, n Node, left json.RawMessage, cause error) error {
	e.log.Warn("the outside world could not be cleaned", "type", n.Type, "resource", n.UUID, "collectable", len(left) > 0, "error", cause)
	tx.OnCommit(func() { told(ctx, Leftover{n.Type, n.UUID, n.Name, errtext.Short(cause.Error())}) })
	return store.Insert(ctx, tx, garbage, &Garbage{UUID: resource.NewUUID(), ResourceType: n.Type, ResourceUUID: n.UUID, Name: n.Name, Runner: n.Type,
		Left: string(left), Error: errtext.Encode(cause), Why: cause.Error(), Status: idle, Type: "TimeBased", Attempts: 1, LastTry: resource.Now(),
		OwnerUUID: e.flows.Owner.UUID, Epoch: e.flows.Owner.Epoch})
}

// Garbage returns what deletes left, the oldest first, at most 1000.
func (e *Engine) Garbage(ctx context.Context) ([]*Garbage, error) {
	return store.Find(ctx, e.store, garbage, "ORDER BY `createDate`, `uuid` LIMIT 1000")
}

// LeftOf returns what deletes left of a resource, the oldest first.
func (e *Engine) LeftOf(ctx context.Context, typeName, uuid string) ([]*Garbage, error) {
	return store.Find(ctx, e.store, garbage, "`resourceType` = ? AND `resourceUuid` = ? AND `leftover` IS NOT NULL ORDER BY `createDate`, `uuid` LIMIT 1000", typeName, uuid)
}

// LeftOfType returns what deletes left of resources of a type, at most 1000.
func (e *Engine) LeftOfType(ctx context.Context, typeName string) ([]*Garbage, error) {
	return store.Find(ctx, e.store, garbage, "`resourceType` = ? ORDER BY `createDate`, `uuid` LIMIT 1000", typeName)
}

// LeftAmong returns those of the resources of which deletes left something. There are
// at most 1000.
func (e *Engine) LeftAmong(ctx context.Context, typeName string, uuids []string) ([]string, error) {
	if len(uuids) == 0 {
		return nil, nil
	}
	return store.Texts(ctx, e.store, "SELECT DISTINCT `resourceUuid` FROM `GCJob` WHERE `resourceType` = ? AND `resourceUuid` IN (?) AND `leftover` IS NOT NULL", typeName, uuids)
}

// Left counts what deletes left.
func (e *Engine) Left(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return store.Count(ctx, e.store, garbage.Type, "")
}

// Forget drops one piece of garbage that a person has dealt with; that it is gone
// is a success.
func (e *Engine) Forget(ctx context.Context, uuid string) error {
	return e.store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, garbage.Type, uuid) })
}

// CollectOne cleans up one piece of garbage now, due or not; that it is gone is a
// success. Errors: errs.Refused while it is being cleaned up, errs.Unsupported
// when nothing knows how, and what was in the way.
func (e *Engine) CollectOne(ctx context.Context, uuid string) error {
	g, found, err := store.First(ctx, e.store, garbage, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	object := "what is left of " + g.ResourceType + " " + g.ResourceUUID
	if g.Left == "" || e.deleter(g.ResourceType).Collect == nil {
		return errs.Wrap(errs.Unsupported, object, g.Cause(), "it cannot be cleaned up by itself").
			WithAdvice("remove by hand what is left outside, then delete this record")
	}
	done, err := e.collectOne(ctx, g)
	if err == nil && !done {
		return errs.New(errs.Refused, object, "it is being cleaned up").WithAdvice("wait for the outcome")
	}
	return err
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
		if e.deleter(g.ResourceType).Collect == nil || !e.flows.Owner.Owns(g.ResourceUUID) || time.Since(g.LastTry.Time) < delay(g.Attempts, interval) {
			continue
		}
		if ctx.Err() != nil {
			return collected, ctx.Err()
		}
		switch done, err := e.collectOne(ctx, g); {
		case err != nil:
			e.log.Warn("garbage not collected", "type", g.ResourceType, "resource", g.ResourceUUID, "attempts", g.Attempts+1, "error", err)
		case done:
			collected++
		}
	}
	return collected, nil
}

// collectOne cleans up one piece and records how that went; done is false when
// somebody else is at it.
func (e *Engine) collectOne(ctx context.Context, g *Garbage) (done bool, err error) {
	if _, busy := e.collecting.LoadOrStore(g.UUID, true); busy {
		return false, nil
	}
	defer e.collecting.Delete(g.UUID)
	mine := map[string]any{"status": processing, "managementNodeUuid": e.flows.Owner.UUID, "epoch": e.flows.Owner.Epoch}
	if err := e.record(ctx, g, mine); err != nil {
		return false, err
	}
	cause := e.collect(ctx, g, e.deleter(g.ResourceType).Collect)
	if cause == nil {
		return true, e.record(ctx, g, nil)
	}
	err = e.record(ctx, g, map[string]any{
		"error": errtext.Encode(cause), "context": cause.Error(), "status": idle, "attempts": g.Attempts + 1, "lastTry": resource.Now(),
	})
	return true, errors.Join(cause, err)
}

// record writes what became of a piece: values, or with none that it is gone. One
// that somebody has forgotten meanwhile stays so.
func (e *Engine) record(ctx context.Context, g *Garbage, values map[string]any) error {
	err := e.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		if err := e.flows.Owner.Guard(ctx, tx); err != nil {
			return err
		}
		if values == nil {
			return store.Delete(ctx, tx, garbage.Type, g.UUID)
		}
		return store.Set(ctx, tx, garbage.Type, g.UUID, values)
	})
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	return err
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

// CollectEvery calls Collect at each of the intervals, which end with ctx. What
// the last process was cleaning up when it ended is idle again.
func (e *Engine) CollectEvery(ctx context.Context, intervals iter.Seq[time.Duration]) {
	err := e.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE `GCJob` SET `status` = ? WHERE `status` = ?", idle, processing)
		return err
	})
	if err != nil && ctx.Err() == nil {
		e.log.Warn("garbage of the last process not set idle", "error", err)
	}
	for every := range intervals {
		if _, err := e.Collect(ctx, every); err != nil && ctx.Err() == nil {
			e.log.Warn("garbage not collected", "error", err)
		}
	}
}
