package inventory

import (
	"context"
	"time"

	"github.com/kumo-cloud/kumo/core/store"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Clock tells the time, and when some of it has passed.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type machine struct{}

func (machine) Now() time.Time                         { return time.Now() }
func (machine) After(d time.Duration) <-chan time.Time { return time.After(d) }

// look is how long the loop waits at most before it looks what is due: settings and
// endpoints may have changed.
const look = time.Minute

// Start has endpoints synced at the intervals that settings say, until ctx ends.
func (s *Service) Start(ctx context.Context) {
	go func() {
		for {
			next := s.Round(ctx)
			select {
			case <-s.Clock.After(next):
			case <-ctx.Done():
				return
			}
		}
	}()
}

// Round asks for the syncs that are due, and returns how long it is to the next look.
func (s *Service) Round(ctx context.Context) time.Duration {
	next := look
	for _, d := range *s.inventories.Load() {
		wait, err := s.due(ctx, d)
		if err != nil && ctx.Err() == nil {
			s.k.Log.Warn("it is not known which syncs are due", "type", d.GetEndpointType(), "error", err)
		}
		next = min(next, max(wait, time.Second))
	}
	return next
}

// newest finds the last run of each endpoint.
const newest = "NOT EXISTS (SELECT 1 FROM `InventorySync` n WHERE n.`endpointUuid` = `InventorySync`.`endpointUuid` AND n.`createDate` > `InventorySync`.`createDate`)"

// due asks for the syncs of endpoints of a type that are due.
func (s *Service) due(ctx context.Context, d *pluginv1.InventoryDecl) (time.Duration, error) {
	t, ok := s.k.Types.Get(d.GetEndpointType())
	if !ok || s.k.Plugins.Ready(t.Plugin) != nil {
		return look, nil
	}
	endpoints, err := store.Texts(ctx, s.k.Store, "SELECT `uuid` FROM `"+t.Name+"`")
	if err != nil {
		return look, err
	}
	runs, err := store.Find(ctx, s.k.Store, syncType, "`endpointType` = ? AND "+newest, t.Name)
	if err != nil {
		return look, err
	}
	lasts := map[string]*Sync{}
	for _, run := range runs {
		lasts[run.EndpointUUID] = run
	}
	next := look
	for _, uuid := range endpoints {
		every := s.k.Config.Duration(ctx, category, interval(t.Name), uuid)
		if every <= 0 {
			continue
		}
		last, began := lasts[uuid], s.asked[uuid]
		if last != nil && last.CreateDate.After(began) {
			began = last.CreateDate.Time
		}
		if left := began.Add(every).Sub(s.Clock.Now()); left > 0 {
			next = min(next, left)
			continue
		}
		if last == nil || last.State != Running {
			s.asked[uuid] = s.Clock.Now()
			s.k.Ask(ctx, uuid, syncMessage, map[string]any{"endpointUuid": uuid})
		}
		next = min(next, every)
	}
	return next, nil
}
