package kernel

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Maker is how a service makes a row of a type, with the tags of the call and what else
// comes with it.
type Maker[R any] struct {
	Type *resource.Typed[R]
	// Write is called in a transaction.
	Write func(ctx context.Context, tx *store.Tx, c *action.Call, row *R) error
	// Then, which may be nil, is called when the row is there, for what is not in the
	// database. It may come again.
	Then func(ctx context.Context, row *R) error
}

// making is the state of the flow that makes a row which plugins have a part in.
type making struct {
	Type, UUID           string
	Caller               action.Caller
	SystemTags, UserTags []string
	Row                  json.RawMessage // as its service has it
	Shown                json.RawMessage // as plugins are told of it
	Points               hook.Points
}

func pointMaking(typeName string) string { return typeName + ".create.begin" }

func (m *making) call() *action.Call {
	return &action.Call{Caller: m.Caller, ResourceUUID: m.UUID, SystemTags: m.SystemTags, UserTags: m.UserTags}
}

// makers write rows, by type; the rows are those of making.
type makers map[string]func(ctx context.Context, c *action.Call, row json.RawMessage) error

// AddMaker makes a maker known, and the point of its type at which plugins have a part.
// Of a type with secrets there is none: the journal would have them.
func AddMaker[R any](g Generic, m Maker[R]) {
	k := g.whole()
	if slices.ContainsFunc(m.Type.Columns(), func(c resource.Column) bool { return c.Field.Secret }) {
		return
	}
	k.Hooks.Declare(pointMaking(m.Type.Name), "A row of "+m.Type.Name+" is about to be made, and is not there yet; a failure keeps it from being made. "+
		"Subject: its type and uuid, account_uuid, row.")
	if k.makers == nil {
		k.makers = makers{}
	}
	k.makers[m.Type.Name] = func(ctx context.Context, c *action.Call, raw json.RawMessage) error {
		row := new(R)
		if err := json.Unmarshal(raw, row); err != nil {
			return errs.Wrap(errs.Internal, m.Type.Name+" "+c.ResourceUUID, err, "read the row that is to be made")
		}
		return m.insert(ctx, k.Store, c, row, true)
	}
}

// insert writes the row; again: it is a success when it is there.
func (m *Maker[R]) insert(ctx context.Context, st *store.Store, c *action.Call, row *R, again bool) error {
	err := st.Update(ctx, func(tx *store.Tx) error {
		if again {
			if n, err := store.Count(ctx, tx, m.Type.Type, "`uuid` = ?", c.ResourceUUID); err != nil || n > 0 {
				return err
			}
		}
		return m.Write(ctx, tx, c, row)
	})
	if err == nil && m.Then != nil {
		err = m.Then(ctx, row)
	}
	return err
}

// Make has a row made for a call: at once, or, when plugins have a part in it, by a flow,
// after theirs, which is undone when the row cannot be.
func Make[R any](ctx context.Context, g Generic, m Maker[R], c *action.Call, row *R) error {
	k := g.whole()
	points := k.Hooks.At(pointMaking(m.Type.Name))
	if len(points) == 0 {
		return m.insert(ctx, k.Store, c, row, false)
	}
	if n, err := store.Count(ctx, k.Store, m.Type.Type, "`uuid` = ?", c.ResourceUUID); err != nil || n > 0 {
		if err == nil {
			err = errs.New(errs.Exists, m.Type.Name+" "+c.ResourceUUID, "it exists already")
		}
		return err
	}
	st := &making{Type: m.Type.Name, UUID: c.ResourceUUID, Caller: c.Caller, SystemTags: c.SystemTags, UserTags: c.UserTags, Points: points}
	var err error
	if st.Row, err = json.Marshal(row); err == nil {
		st.Shown, err = shownRow(m.Type, row)
	}
	if err != nil {
		return errs.Wrap(errs.Internal, m.Type.Name+" "+c.ResourceUUID, err, "write down what is to be made")
	}
	return flow.Run(ctx, k.Flows, k.making, st, flow.Options{Job: c.Job, Key: st.UUID, ResourceType: st.Type, ResourceUUID: st.UUID})
}

// shownRow is a row by the names of its fields on the wire, without what is secret.
func shownRow[R any](t *resource.Typed[R], row *R) (json.RawMessage, error) {
	shown, rv := map[string]any{}, reflect.ValueOf(row).Elem()
	for _, col := range t.Columns() {
		if f := col.Field; f.Visible() {
			shown[f.Name] = rv.FieldByIndex(col.Path).Interface()
		}
	}
	return json.Marshal(shown)
}

// makingFlow has plugins do their part in a row, and then writes it.
func (k *Kernel) makingFlow() *flow.Def[making] {
	return flow.Define("create-row",
		hook.StepAt(k.Hooks, "begin", func(m *making) string { return pointMaking(m.Type) }, func(m *making) *hook.Points { return &m.Points },
			func(m *making) *pluginv1.PointSubject {
				return &pluginv1.PointSubject{Type: m.Type, Uuid: m.UUID, AccountUuid: m.Caller.AccountUUID, Row: m.Shown}
			}),
		flow.Do("insert", func(ctx context.Context, m *making) error {
			write := k.makers[m.Type]
			if write == nil {
				return errs.New(errs.Internal, m.Type+" "+m.UUID, "nobody makes rows of this type")
			}
			return write(ctx, m.call(), m.Row)
		}, nil))
}
