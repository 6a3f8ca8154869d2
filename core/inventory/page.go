package inventory

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// page is one page that is being merged.
type page struct {
	s  *Service
	tx *store.Tx
	r  *run
	e  *contract.Endpoint
	// known has the origins of what the page tells of; claimed are the types of which
	// something is being made here just now.
	known   map[origin.Key]*origin.Origin
	claimed []string
	items   []*Item
}

func keyOf(row *pluginv1.ForeignRow) origin.Key {
	return origin.Key{Type: row.GetType(), ForeignID: row.GetForeignId()}
}

// merge takes a page into the rows, in one transaction with the cursor behind it.
func (s *Service) merge(ctx context.Context, r *run, e *contract.Endpoint, types []string, told *pluginv1.Page) error {
	if err := check(e, types, told); err != nil {
		return err
	}
	return s.k.Store.Update(ctx, func(tx *store.Tx) error {
		row, err := store.Get(ctx, tx, syncType, r.UUID)
		if err != nil {
			return err
		}
		p := &page{s: s, tx: tx, r: r, e: e}
		if err := p.load(ctx, told); err != nil {
			return err
		}
		for _, row := range told.GetRows() {
			if err := p.take(ctx, row); err != nil {
				return err
			}
		}
		if err := p.saw(ctx, told); err != nil {
			return err
		}
		if err := p.keep(ctx, row); err != nil {
			return err
		}
		row.Cursor, row.Complete, row.Pages = told.GetCursor(), told.GetLast(), row.Pages+1
		return store.Save(ctx, tx, syncType, row, "cursor", "complete", "pages", "created", "changed", "skipped")
	})
}

// check refuses a page that is not as the contract says.
func check(e *contract.Endpoint, types []string, told *pluginv1.Page) error {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Internal, "plugin "+e.Plugin, format, args...).WithAdvice("this is a defect of the plugin")
	}
	if n := len(told.GetRows()); n > pluginsdk.MaxPageRows {
		return bad("it sends a page of %d rows, at most %d are allowed", n, pluginsdk.MaxPageRows)
	}
	if n := len(told.GetCursor()); n > pluginsdk.MaxCursor {
		return bad("it sends a cursor of %d bytes, at most %d are allowed", n, pluginsdk.MaxCursor)
	}
	for _, row := range told.GetRows() {
		n := utf8.RuneCountInString(row.GetForeignId())
		if !slices.Contains(types, row.GetType()) || n == 0 || n > pluginsdk.MaxForeignID {
			return bad("it brings %q of type %q: that is no foreign ID, or no type that it says it brings", row.GetForeignId(), row.GetType())
		}
	}
	return nil
}

func (p *page) load(ctx context.Context, told *pluginv1.Page) (err error) {
	var keys []origin.Key
	for _, row := range told.GetRows() {
		keys = append(keys, keyOf(row))
		for _, ref := range row.GetRefs() {
			keys = append(keys, origin.Key{Type: ref.GetType(), ForeignID: ref.GetForeignId()})
		}
	}
	if p.known, err = origin.Find(ctx, p.tx, p.r.Endpoint, keys); err == nil {
		p.claimed, err = origin.Claimed(ctx, p.tx, p.r.Endpoint)
	}
	return err
}

// passable are the errors for which one thing is passed over, and the others not.
var passable = []errs.Class{errs.Invalid, errs.NotFound, errs.Refused, errs.Exists}

// take merges one thing.
func (p *page) take(ctx context.Context, row *pluginv1.ForeignRow) error {
	key := keyOf(row)
	o := p.known[key]
	if o == nil && slices.Contains(p.claimed, key.Type) {
		p.note(key, "", Skipped, "", "something of its type is being made here, which it may be: the next sync knows")
		return nil
	}
	refs, missing := p.refs(row)
	if missing != "" {
		p.note(key, "", Skipped, "", "it refers to "+missing+", which has no row")
		return nil
	}
	done, err := p.s.rows.Merge(ctx, p.tx, p.e, row, refs, o)
	switch {
	case slices.Contains(passable, errs.ClassOf(err)) && err != nil:
		p.note(key, "", Skipped, "", errtext.Short(scrub(p.e, err.Error())))
	case err != nil:
		return err
	case done.Created:
		p.note(key, done.UUID, Created, "", "")
		p.known[key] = &origin.Origin{ResourceUUID: done.UUID, ResourceType: key.Type, ForeignID: key.ForeignID}
	case len(done.Changed) > 0:
		p.note(key, done.UUID, Changed, strings.Join(done.Changed, ","), "")
	}
	return nil
}

// refs are the UUIDs of the rows that one refers to; missing names one that there is not.
func (p *page) refs(row *pluginv1.ForeignRow) (refs map[string]string, missing string) {
	refs = map[string]string{}
	for field, ref := range row.GetRefs() {
		refs[field] = ""
		if ref.GetForeignId() == "" {
			continue
		}
		of := p.known[origin.Key{Type: ref.GetType(), ForeignID: ref.GetForeignId()}]
		if of == nil {
			return nil, ref.GetType() + " " + ref.GetForeignId()
		}
		refs[field] = of.ResourceUUID
	}
	return refs, ""
}

func (p *page) note(k origin.Key, uuid, what, fields, reason string) {
	p.items = append(p.items, item(p.r, k, uuid, what, Done, fields, reason))
}

// item has a UUID that is the same when it is met again.
func item(r *run, k origin.Key, uuid, what, state, fields, reason string) *Item {
	i := &Item{SyncUUID: r.UUID, ResourceType: k.Type, ForeignID: k.ForeignID, ResourceUUID: uuid, What: what, State: state, Fields: fields, Reason: reason}
	i.UUID = pluginsdk.UUIDOf("item", r.UUID, what, k.Type, k.ForeignID)
	return i
}

// saw notes that all of the page that has rows was met.
func (p *page) saw(ctx context.Context, told *pluginv1.Page) error {
	var keys []origin.Key
	for _, row := range told.GetRows() {
		keys = append(keys, keyOf(row))
	}
	found, err := origin.Find(ctx, p.tx, p.r.Endpoint, keys)
	if err != nil {
		return err
	}
	var all []*origin.Origin
	for _, o := range found {
		all = append(all, o)
	}
	return origin.Saw(ctx, p.tx, p.r.UUID, all)
}

// keep writes the items that are new, and counts them.
func (p *page) keep(ctx context.Context, row *Sync) error {
	fresh, err := unknown(ctx, p.tx, p.items)
	if err != nil {
		return err
	}
	for _, i := range fresh {
		switch i.What {
		case Created:
			row.Created++
		case Changed:
			row.Changed++
		case Skipped:
			row.Skipped++
		}
	}
	return store.Insert(ctx, p.tx, itemType, fresh...)
}

// unknown are those of the items that are not kept yet, each once.
func unknown(ctx context.Context, tx *store.Tx, items []*Item) ([]*Item, error) {
	uuids := make([]string, len(items))
	for i := range items {
		uuids[i] = items[i].UUID
	}
	have, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `InventorySyncItem` WHERE `uuid` IN (?)", uuids)
	if err != nil {
		return nil, err
	}
	var fresh []*Item
	for _, i := range items {
		if !slices.Contains(have, i.UUID) {
			fresh, have = append(fresh, i), append(have, i.UUID)
		}
	}
	return fresh, nil
}
