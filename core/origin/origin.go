// Package origin keeps where rows come from that stand for something outside: the
// plugin that reaches it, the endpoint where it is (the row of an account, or of a
// manager of other hosts), and what it is called there. A row has one at most, and a
// thing outside has one row. It must not import the services.
package origin

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Origin is where a row comes from.
type Origin struct {
	// UUID is made of endpoint, type and foreign ID: two rows cannot have the same.
	UUID string `db:"uuid" kumo:"size=32,immutable,hidden"`
	resource.Owned
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,immutable,unique,hidden"`
	ResourceType string `db:"resourceType" kumo:"size=100,immutable,hidden"`
	Plugin       string `db:"plugin" kumo:"size=64,immutable" caption:"Plugin|插件"`
	EndpointUUID string `db:"endpointUuid" kumo:"size=32,immutable,refby=endpointType" caption:"Endpoint|接入点"`
	EndpointType string `db:"endpointType" kumo:"size=100,immutable" caption:"Type of endpoint|接入点类型"`
	// ForeignID is empty while the thing is being made.
	ForeignID string `db:"foreignId" kumo:"size=255,null,immutable" caption:"Foreign ID|外部标识"`
	// Name and Description are what it was called outside when that was told last: a
	// row that is called otherwise was named by a person.
	Name        string `db:"name" kumo:"size=255,null,hidden"`
	Description string `db:"description" kumo:"size=2048,null,hidden"`
	// Seen is the last run of a sync that has met it.
	Seen       string        `db:"seen" kumo:"size=32,null,hidden"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable,hidden"`
	LastOpDate resource.Time `db:"lastOpDate" kumo:"hidden"`
}

var originType = resource.Define[Origin](resource.Type{
	Name: "Origin", Follows: "resourceUuid", Incidental: true, Internal: true,
	Indexes: []resource.Index{{Columns: []string{"endpointUuid", "resourceType"}}},
	View: resource.View{Caption: resource.Say("Origin", "来源"), Doc: resource.Say("Where a resource comes from that stands for something outside.", "代表外部事物的资源的来源。"),
		Part: true, Label: "foreignId"},
})

// Types returns the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{originType.Type} }

// Member is the member origin of the inventory of a type whose rows may have one; for
// queries it is a step as well: origin.foreignId=i-1.
func Member() resource.Embed {
	return resource.Embed{Name: "origin", Type: originType.Name, Column: "resourceUuid", One: true, Caption: originType.View.Caption}
}

// Key is what something is called at one endpoint.
type Key struct{ Type, ForeignID string }

func uuidOf(endpoint string, k Key) string {
	return pluginsdk.UUIDOf("origin", endpoint, k.Type, k.ForeignID)
}

// Claim notes that something is being made outside for a row that need not be there
// yet: o has all but the foreign ID. Until Set or Forget, what a sync meets there of
// this type and does not know may be it (Claimed). A repeat changes nothing.
func Claim(ctx context.Context, tx *store.Tx, o Origin) error {
	had, err := Get(ctx, tx, o.ResourceUUID)
	if err != nil || had != nil {
		return err
	}
	o.UUID, o.ForeignID = pluginsdk.UUIDOf("claim", o.ResourceUUID), ""
	return store.Insert(ctx, tx, originType, &o)
}

// Set gives a row its origin, in the place of a claim. The same one again is a
// success. Errors: Exists when another row stands for it, or the row for another thing.
func Set(ctx context.Context, tx *store.Tx, o Origin) error {
	had, err := Get(ctx, tx, o.ResourceUUID)
	if err != nil {
		return err
	}
	o.UUID = uuidOf(o.EndpointUUID, Key{o.ResourceType, o.ForeignID})
	switch {
	case had == nil:
	case had.UUID == o.UUID:
		return nil
	case had.ForeignID != "":
		return errs.New(errs.Exists, o.ResourceType+" "+o.ResourceUUID, "it stands for %q already, and not for %q", had.ForeignID, o.ForeignID)
	default:
		if err := store.Delete(ctx, tx, originType.Type, had.UUID); err != nil {
			return err
		}
	}
	err = store.Insert(ctx, tx, originType, &o)
	if errs.ClassOf(err) == errs.Exists {
		return errs.Wrap(errs.Exists, o.ResourceType+" "+o.ResourceUUID, err, "another row stands for %q at %s %s", o.ForeignID, o.EndpointType, o.EndpointUUID)
	}
	return err
}

// Get returns where a row comes from, or the claim of one that is being made; nil when
// it comes from nowhere.
func Get(ctx context.Context, q store.Querier, resourceUUID string) (*Origin, error) {
	o, _, err := store.First(ctx, q, originType, "`resourceUuid` = ?", resourceUUID)
	return o, err
}

// Find returns those of the things at an endpoint that rows stand for.
func Find(ctx context.Context, q store.Querier, endpoint string, keys []Key) (map[Key]*Origin, error) {
	const atOnce = 500
	found := map[Key]*Origin{}
	for some := range slices.Chunk(keys, atOnce) {
		uuids := make([]string, len(some))
		for i, k := range some {
			uuids[i] = uuidOf(endpoint, k)
		}
		rows, err := store.Find(ctx, q, originType, "`uuid` IN (?)", uuids)
		if err != nil {
			return nil, err
		}
		for _, o := range rows {
			found[Key{o.ResourceType, o.ForeignID}] = o
		}
	}
	return found, nil
}

// Claimed returns the types of which something is being made at an endpoint.
func Claimed(ctx context.Context, q store.Querier, endpoint string) ([]string, error) {
	return store.Texts(ctx, q, "SELECT DISTINCT `resourceType` FROM `Origin` WHERE `endpointUuid` = ? AND `foreignId` IS NULL", endpoint)
}

// Count returns how many things of some types at an endpoint have rows.
func Count(ctx context.Context, q store.Querier, endpoint string, types []string) (int64, error) {
	return store.Count(ctx, q, originType.Type, "`endpointUuid` = ? AND `resourceType` IN (?) AND `foreignId` IS NOT NULL", endpoint, types)
}

// Saw notes that a sync has met things that rows stand for.
func Saw(ctx context.Context, tx *store.Tx, sync string, origins []*Origin) error {
	const atOnce = 500
	for some := range slices.Chunk(origins, atOnce) {
		uuids := make([]string, len(some))
		for i, o := range some {
			uuids[i] = o.UUID
		}
		if _, err := tx.Exec(ctx, "UPDATE `Origin` SET `seen` = ? WHERE `uuid` IN (?)", sync, uuids); err != nil {
			return err
		}
	}
	return nil
}

// Unseen returns, in the order of their UUIDs, up to limit of the things at an endpoint
// that a sync has not met, with a UUID behind after: not those that have rows only since
// the sync began.
func Unseen(ctx context.Context, q store.Querier, endpoint string, types []string, sync string, began resource.Time, after string, limit int) ([]*Origin, error) {
	return store.Find(ctx, q, originType, "`endpointUuid` = ? AND `resourceType` IN (?) AND `foreignId` IS NOT NULL AND (`seen` IS NULL OR `seen` <> ?)"+
		" AND `createDate` < ? AND `uuid` > ? ORDER BY `uuid` LIMIT ?", endpoint, types, sync, began, after, limit)
}

// Tell notes what a thing is called outside now, and whose its row is.
func Tell(ctx context.Context, tx *store.Tx, o *Origin, name, description, account string) error {
	if o.Name == name && o.Description == description && o.AccountUUID == account {
		return nil
	}
	o.Name, o.Description, o.AccountUUID = name, description, account
	return store.Save(ctx, tx, originType, o, "name", "description", "accountUuid")
}

// Forget is called with the transaction that deletes a row; none is a success.
func Forget(ctx context.Context, tx *store.Tx, resourceUUID string) error {
	_, err := tx.Exec(ctx, "DELETE FROM `Origin` WHERE `resourceUuid` = ?", resourceUUID)
	return err
}
