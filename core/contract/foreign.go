package contract

import (
	"context"

	"github.com/kumo-cloud/kumo/core/origin"
	"github.com/kumo-cloud/kumo/core/store"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Endpoint is a place outside from which rows come.
type Endpoint struct {
	// Plugin reaches it; Type and UUID are those of the row that says where it is.
	Plugin, Type, UUID string
	// Told is that row as the plugin is told, with Secrets.
	Told    *pluginv1.Resource
	Secrets []string
}

// Merged is what became of a thing outside.
type Merged struct {
	UUID    string
	Created bool
	// Changed are the fields that have changed of a row that was there.
	Changed []string
}

// ForeignRows is who keeps rows that stand for something outside.
type ForeignRows interface {
	// Endpoint reads an endpoint. Errors: NotFound; Unavailable while its plugin is not
	// enabled.
	Endpoint(ctx context.Context, typeName, uuid string) (*Endpoint, error)
	// Merge makes the row of a thing outside, with its origin, or changes what comes
	// from there of the row whose origin is o, which is nil for a new one. refs are the
	// UUIDs of fields that refer to other rows. It does not change a name or
	// description that a person has given. A repeat changes nothing. Errors, with which
	// the transaction can go on: Invalid for values that do not fit, NotFound and Refused
	// for what the row refers to, Exists for a value that another row has.
	Merge(ctx context.Context, tx *store.Tx, e *Endpoint, row *pluginv1.ForeignRow, refs map[string]string, o *origin.Origin) (Merged, error)
}
