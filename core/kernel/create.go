package kernel

import (
	"context"
	"reflect"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Named are the parameters that every message has which makes something with a
// name; structs of parameters embed it.
type Named struct {
	Name        string `api:"name,required,max=255"`
	Description string `api:"description,max=2048"`
}

func (n *Named) given() *Named { return n }

// Creation is a message that makes a row and touches nothing but the database.
// What changes the world as well is a flow.
type Creation[R, P any] struct {
	Type *resource.Typed[R]
	// Message is APICreate<Type>Msg, and Path that of the type, when they are "".
	Message, Path string
	// Key is that of action.Action.
	Key    string
	Access action.Access
	Doc    string
	// Values is that of action.Action.
	Values map[string][]resource.Value
	// Row makes the row of the parameters, or refuses them by name. uuid, name,
	// description and account are set for it.
	Row func(c *action.Call, p *P) (*R, error)
	// Insert, which may be nil, is called in the transaction before the row is
	// written, for what only the database can tell.
	Insert func(ctx context.Context, tx *store.Tx, row *R) error
}

// RegisterCreate registers a creation. The row is written with the tags of the
// call, unless a resource on which it depends is gone or is being deleted. Plugins have
// a part in it at the point <Type>.create.begin.
func RegisterCreate[R, P any](g Generic, d Creation[R, P]) {
	k := g.whole()
	m := Maker[R]{Type: d.Type, Write: func(ctx context.Context, tx *store.Tx, c *action.Call, row *R) error {
		return Add(ctx, tx, g, c, d.Type, row, func() error {
			if d.Insert == nil {
				return nil
			}
			return d.Insert(ctx, tx, row)
		})
	}}
	AddMaker(g, m)
	a := action.Action{Message: d.Message, Method: "POST", Path: d.Path, Key: d.Key, Async: true, Create: true, Access: d.Access,
		Returns: d.Type.Name, Doc: d.Doc, Values: d.Values}
	if a.Message == "" {
		a.Message = "APICreate" + d.Type.Name + "Msg"
	}
	if a.Path == "" {
		a.Path = d.Type.Path
	}
	action.Register(k.Actions, a, func(ctx context.Context, c *action.Call, p *P) (action.Ref, error) {
		ref := action.Ref{Type: d.Type.Name, UUID: c.ResourceUUID}
		row, err := d.Row(c, p)
		if err != nil {
			return ref, err
		}
		identify(row, c, p)
		return ref, Make(ctx, g, m, c, row)
	})
}

// identify sets what every row has (resource.Base, resource.Owned).
func identify(row any, c *action.Call, params any) {
	n := &Named{}
	if p, ok := params.(interface{ given() *Named }); ok {
		n = p.given()
	}
	if r, ok := row.(resource.Identified); ok {
		r.Identify(c.ResourceUUID, n.Name, n.Description)
	}
	if r, ok := row.(resource.OfAccount); ok {
		r.SetAccount(c.Caller.AccountUUID)
	}
}

// Add writes a new row and the tags of the call that makes it, unless a resource
// on which the row depends is gone (errs.NotFound) or is being deleted
// (errs.Refused). check is called when the parents are held and before the row is
// written.
func Add[R any](ctx context.Context, tx *store.Tx, g Generic, c *action.Call, t *resource.Typed[R], row *R, check func() error) error {
	uuid, parents := dependsOn(t, row)
	if err := cascade.GuardAll(ctx, tx, parents...); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if err := store.Insert(ctx, tx, t, row); err != nil {
		return err
	}
	return g.whole().Tags.CreateFor(ctx, tx, t.Name, uuid, c)
}

// dependsOn reads a row's uuid, and the resources whose delete its declaration
// says would take it along, or be refused.
func dependsOn[R any](t *resource.Typed[R], row *R) (uuid string, parents []cascade.Parent) {
	rv := reflect.ValueOf(row).Elem()
	for _, col := range t.Columns() {
		f := rv.FieldByIndex(col.Path)
		if f.Kind() != reflect.String {
			continue
		}
		if col.Field.Name == "uuid" {
			uuid = f.String()
			continue
		}
		for _, e := range t.Edges {
			if e.Column == col.Field.Name && e.ToColumn == "uuid" && (e.OnDelete == resource.Cascade || e.OnDelete == resource.Restrict) {
				parents = append(parents, cascade.Parent{Type: e.To, UUID: f.String()})
			}
		}
	}
	return uuid, parents
}
