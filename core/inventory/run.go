package inventory

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// run is the state of the flow of a run. What it has met is in the database.
type run struct {
	UUID, Endpoint, Type string
	ByInterval           bool   `json:",omitempty"`
	Removals             string `json:",omitempty"`
	// Apply: what is gone is taken away.
	Apply bool `json:",omitempty"`
}

// define makes the flows: of a run, and of taking away later what a run has found to be
// gone. There is nothing to undo of what has been met: it is so.
func (s *Service) define() (syncing, applying *flow.Def[run]) {
	apply := func(r *run) bool { return r.Apply }
	syncing = flow.Define("inventory-sync",
		flow.Tx("begin", s.begin, s.fail),
		flow.Do("pull", s.pull, nil).Timeout(longest),
		flow.Do("settle", s.settle, nil).Checkpoint(),
		flow.Do("remove", s.remove, nil).When(apply).Timeout(longest))
	return syncing, flow.Define("inventory-apply", flow.Do("remove", s.remove, nil).Timeout(longest))
}

// kept is how many runs of an endpoint are kept.
const kept = 20

// begin makes the row of the run. What the runs before have found is not to be applied
// any more.
func (s *Service) begin(ctx context.Context, tx *store.Tx, r *run) error {
	if err := cascade.Guard(ctx, tx, r.Type, r.Endpoint); err != nil {
		return err
	}
	if n, err := store.Count(ctx, tx, syncType.Type, "`uuid` = ?", r.UUID); err != nil || n > 0 {
		return err
	}
	before, err := store.Find(ctx, tx, syncType, "`endpointUuid` = ? ORDER BY `createDate` DESC, `uuid` DESC", r.Endpoint)
	if err != nil {
		return err
	}
	for i, row := range before {
		if i >= kept-1 {
			if err := drop(ctx, tx, []string{row.UUID}); err != nil {
				return err
			}
			continue
		}
		if row.State == Waiting {
			row.State, row.EndDate = Superseded, resource.Now()
			if err := store.Save(ctx, tx, syncType, row, "state", "endDate"); err != nil {
				return err
			}
		}
	}
	t, _ := s.k.Types.Get(r.Type)
	account, err := access.Owner(ctx, tx, s.k.Types, t, r.Endpoint)
	if err != nil {
		return err
	}
	row := &Sync{EndpointUUID: r.Endpoint, EndpointType: r.Type, State: Running, Removals: r.Removals, ByInterval: r.ByInterval}
	row.UUID, row.AccountUUID = r.UUID, account
	return store.Insert(ctx, tx, syncType, row)
}

// fail ends the run: it did not get to the end, so that nobody knows what is gone.
func (s *Service) fail(ctx context.Context, tx *store.Tx, r *run) error {
	row, err := store.Get(ctx, tx, syncType, r.UUID)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	row.State, row.EndDate = Failed, resource.Now()
	if row.Error == "" {
		row.Error = "it was stopped"
	}
	return store.Save(ctx, tx, syncType, row, "state", "endDate", "error")
}

// pull has the plugin tell what there is, from the cursor on, until the last page. When
// the stream breaks it goes on as long as it comes any further.
func (s *Service) pull(ctx context.Context, r *run) error {
	for {
		row, err := store.Get(ctx, s.k.Store, syncType, r.UUID)
		if err != nil || row.Complete {
			return err
		}
		e, err := s.rows.Endpoint(ctx, r.Type, r.Endpoint)
		if err != nil {
			return s.note(ctx, r, nil, err)
		}
		err = s.stream(ctx, r, e, row.Cursor)
		if stopped := flow.Stopped(ctx); stopped != nil {
			return stopped
		}
		now, getErr := store.Get(ctx, s.k.Store, syncType, r.UUID)
		switch class := errs.ClassOf(err); {
		case getErr != nil:
			return getErr
		case now.Complete:
			return nil
		case now.Pages > row.Pages && (class == errs.Unavailable || class == errs.Timeout):
			s.k.Log.Warn("a sync is broken, and goes on", "endpoint", r.Endpoint, "pages", now.Pages, "error", scrub(e, err.Error()))
		default:
			return s.note(ctx, r, e, err)
		}
	}
}

// stream takes the pages of one call.
func (s *Service) stream(ctx context.Context, r *run, e *contract.Endpoint, cursor string) error {
	p, err := s.k.Plugins.InventorySync(r.Type)
	if err != nil {
		return err
	}
	until, cancel := flow.UntilStop(ctx)
	defer cancel()
	last := false
	err = p.Sync(until, &pluginv1.SyncRequest{Endpoint: e.Told, Cursor: cursor}, func(page *pluginv1.Page) error {
		if last {
			return errs.New(errs.Internal, "plugin "+p.Plugin, "it sends a page after the last one")
		}
		last = page.GetLast()
		return s.merge(ctx, r, e, p.Decl.GetTypes(), page)
	})
	if err == nil && !last {
		err = errs.New(errs.Unavailable, "plugin "+p.Plugin, "what it tells of %s %s ends before the last page", r.Type, r.Endpoint)
	}
	return err
}

// note keeps on the run why it fails, and returns that without secrets.
func (s *Service) note(ctx context.Context, r *run, e *contract.Endpoint, err error) error {
	text := scrub(e, err.Error())
	if text != err.Error() {
		err = errs.New(errs.ClassOf(err), r.Type+" "+r.Endpoint, "%s", text)
	}
	failed := s.k.Store.Update(ctx, func(tx *store.Tx) error {
		row, err := store.Get(ctx, tx, syncType, r.UUID)
		if err != nil {
			return err
		}
		row.Error = errtext.Short(text)
		return store.Save(ctx, tx, syncType, row, "error")
	})
	if failed != nil {
		s.k.Log.Warn("why a sync failed is not kept on it", "sync", r.UUID, "error", failed)
	}
	return err
}

// scrub takes the secrets of an endpoint out of a text: a plugin may tell what a service
// has answered, which may repeat what it was sent.
func scrub(e *contract.Endpoint, text string) string {
	if e == nil {
		return text
	}
	for _, secret := range e.Secrets {
		text = strings.ReplaceAll(text, secret, "*****")
	}
	return text
}
