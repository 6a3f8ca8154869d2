package kernel

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Generic is what services do alike with resources of their types. A service
// has it among the parts of the kernel that it names as its own; *Kernel is the
// only implementation.
type Generic interface {
	// RegisterUpdate, RegisterUpdateThen and RegisterPluginUpdate register a
	// type's update messages.
	RegisterUpdate(t *resource.Type, access action.Access, check ValueCheck, fields ...action.Param) error
	RegisterUpdateThen(t *resource.Type, access action.Access, check ValueCheck,
		after func(ctx context.Context, uuid string, values map[string]any) error, fields ...action.Param) error
	RegisterPluginUpdate(u PluginUpdate) error
	// Declared are the manifests of plugins, Brought has what they bring registered.
	Declared() []*pluginv1.Manifest
	Brought(b Bringer)
	// RegisterAddition registers the message by which a plugin has resources of a base
	// type made, InsertSubtype writes the plugin's part of one.
	RegisterAddition(d Addition) error
	InsertSubtype(ctx context.Context, tx *store.Tx, base *resource.Type, value, uuid string, own map[string]any) error
	// RegisterState registers a type's change of state, ChangeState makes one.
	RegisterState(t *resource.Type, access action.Access, after func(ctx context.Context, uuid, state string) error) error
	ChangeState(ctx context.Context, t *resource.Type, uuid, ev string) (string, error)
	// RegisterDelete registers a type's delete, Delete runs its cascade.
	RegisterDelete(t *resource.Type, access action.Access, before ...func(ctx context.Context, uuid string) error) error
	Delete(ctx context.Context, c *action.Call, typeName, uuid string) error
	// EmptyTrash ends deleted rows whose time has come.
	EmptyTrash(ctx context.Context, t Trash)
	// Ask has the platform ask for a message about a resource.
	Ask(ctx context.Context, key, message string, params map[string]any)
	// SubtypeOf and PluginFieldsOf tell what a plugin adds to a type.
	SubtypeOf(parent *resource.Type, value string) *resource.Type
	PluginFieldsOf(ctx context.Context, q store.Querier, parent *resource.Type, value, uuid string) (map[string]string, error)

	// whole is for RegisterCreate and Add: methods have no type parameters.
	whole() *Kernel
}

func (k *Kernel) whole() *Kernel { return k }

// uuidParam is the path variable of an action on one resource.
func uuidParam(t *resource.Type) action.Param {
	return action.Param{Name: "uuid", Type: "string", In: "path", Required: true, Resource: t.Name}
}

// RegisterState registers APIChange<Type>StateMsg (PUT <path>/{uuid}/actions),
// which moves the type's state by stateEvent. after, which may be nil, runs
// when the row has changed.
func (k *Kernel) RegisterState(t *resource.Type, access action.Access, after func(ctx context.Context, uuid, state string) error) error {
	var events []string
	for _, e := range []string{"enable", "disable", "maintain", "deleting"} {
		if _, ok := t.States.Moves[e]; ok {
			events = append(events, e)
		}
	}
	a := action.Action{
		Message: "APIChange" + t.Name + "StateMsg", Method: "PUT", Path: t.Path + "/{uuid}/actions",
		Key: "change" + t.Name + "State", Async: true, Access: access, Queue: "uuid", Returns: t.Name,
		Doc: "Changes the state of a " + t.Name + ".",
		Params: []action.Param{uuidParam(t),
			{Name: "stateEvent", Type: "string", Required: true, Values: events}},
	}
	return k.Actions.RegisterDynamic(a, func(ctx context.Context, _ *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		stateEvent, _ := p["stateEvent"].(string)
		state, err := k.ChangeState(ctx, t, uuid, stateEvent)
		if err == nil && after != nil {
			err = after(ctx, uuid, state)
		}
		return action.Ref{Type: t.Name, UUID: uuid}, err
	})
}

// ChangeState moves a row by an event of its state machine and returns the new
// state. Errors: NotFound; Refused when the event is illegal in this state.
func (k *Kernel) ChangeState(ctx context.Context, t *resource.Type, uuid, ev string) (string, error) {
	var next string
	err := k.Store.Update(ctx, func(tx *store.Tx) error {
		row, err := store.GetValues(ctx, tx, t, uuid)
		if err != nil {
			return err
		}
		from, _ := row[t.States.Column].(string)
		if next, err = t.States.Next(from, ev); err != nil {
			return errs.Wrap(errs.Refused, t.Name+" "+uuid, err, "cannot %s in state %s", ev, from)
		}
		return store.Set(ctx, tx, t, uuid, map[string]any{t.States.Column: next})
	})
	return next, err
}

// ValueCheck may refuse the values of an update before they are written.
type ValueCheck func(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error

// RegisterUpdate registers APIUpdate<Type>Msg (PUT <path>/{uuid}/actions),
// which sets the given fields; name and description are always among them.
// check, which may be nil, sees the values before they are written.
func (k *Kernel) RegisterUpdate(t *resource.Type, access action.Access, check ValueCheck, fields ...action.Param) error {
	return k.RegisterUpdateThen(t, access, check, nil, fields...)
}

// RegisterUpdateThen is RegisterUpdate with after, which may be nil: it gets the
// given values when they have been written, to tell the world.
func (k *Kernel) RegisterUpdateThen(t *resource.Type, access action.Access, check ValueCheck,
	after func(ctx context.Context, uuid string, values map[string]any) error, fields ...action.Param) error {
	params := append(updateParams(t), fields...)
	a := action.Action{
		Message: "APIUpdate" + t.Name + "Msg", Method: "PUT", Path: t.Path + "/{uuid}/actions", Key: "update" + t.Name,
		Async: true, Access: access, Queue: "uuid", Returns: t.Name, Params: params,
		Doc: "Changes the fields of a " + t.Name + " that are given.",
	}
	return k.Actions.RegisterDynamic(a, func(ctx context.Context, _ *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		values := Given(p, names(params[1:])...)
		err := k.Store.Update(ctx, func(tx *store.Tx) error { return setGiven(ctx, tx, t, uuid, values, check) })
		if err == nil && after != nil {
			err = after(ctx, uuid, values)
		}
		return action.Ref{Type: t.Name, UUID: uuid}, err
	})
}

// updateParams begins the parameters of every update message.
func updateParams(t *resource.Type) []action.Param {
	return []action.Param{uuidParam(t), {Name: "name", Type: "string", MaxLength: 255}, {Name: "description", Type: "string", MaxLength: 2048}}
}

func names(params []action.Param) []string {
	out := make([]string, len(params))
	for i, p := range params {
		out[i] = p.Name
	}
	return out
}

// setGiven writes the values of an update, none of which may be given.
func setGiven(ctx context.Context, tx *store.Tx, t *resource.Type, uuid string, values map[string]any, check ValueCheck) error {
	if check != nil {
		if err := check(ctx, tx, uuid, values); err != nil {
			return err
		}
	}
	if len(values) == 0 {
		return nil
	}
	return store.Set(ctx, tx, t, uuid, values)
}

// Given picks those of the named parameters of an update that were given. An
// empty name counts as not given: ZStack's newer Go client sends it with every
// update that leaves the name as it is.
func Given(p map[string]any, names ...string) map[string]any {
	values := map[string]any{}
	for _, name := range names {
		if v, ok := p[name]; ok && v != nil && (name != "name" || v != "") {
			values[name] = v
		}
	}
	return values
}

// forced says what every delete does by force.
const forced = "Enforcing leaves behind, and notes, what cannot be reached. Guests that run stay with all that they need; " +
	"those of a host that is deleted while it does not answer are Unknown, until they are stopped or the host is added again."

// RegisterDelete registers APIDelete<Type>Msg (DELETE <path>/{uuid}): the
// cascade with the rules of every type it reaches. A resource that is gone
// already is a success. before may veto the delete of this one resource; it is
// not asked when the resource goes with its parent.
func (k *Kernel) RegisterDelete(t *resource.Type, access action.Access, before ...func(ctx context.Context, uuid string) error) error {
	return k.RegisterDeletion(t, action.Action{Access: access}, before...)
}

// RegisterDeletion is RegisterDelete with an action that says of itself what is not
// usual: its Message, Doc and View, and Params beside the usual ones. With the parameter
// mode, among them, "remote" removes what rows stand for outside as well
// (cascade.Outside).
func (k *Kernel) RegisterDeletion(t *resource.Type, a action.Action, before ...func(ctx context.Context, uuid string) error) error {
	uuid := uuidParam(t)
	uuid.MissingOK = true
	a.Message = cmp.Or(a.Message, "APIDelete"+t.Name+"Msg")
	a.Doc = cmp.Or(a.Doc, "Deletes a "+t.Name+" and what depends on it.")
	a.Method, a.Path, a.Async, a.Queue, a.SuccessIfMissing = "DELETE", t.Path+"/{uuid}", true, "uuid", true
	a.Params = append([]action.Param{uuid, {Name: "deleteMode", Type: "string", Default: "Permissive", Doc: forced}}, a.Params...)
	a.Removes = func(ctx context.Context, _ *action.Call, params any) (action.Removal, error) {
		id, _ := (*params.(*map[string]any))["uuid"].(string)
		row := action.Row{Type: t.Name, UUID: id}
		r := action.Removal{Subject: row, Rows: []action.Row{row}}
		for _, veto := range before {
			if err := veto(ctx, id); err != nil {
				r.Against = append(r.Against, err)
			}
		}
		return r, nil
	}
	return action.RegisterDynamicAs(k.Actions, a, func(ctx context.Context, c *action.Call, p map[string]any) (deleted, error) {
		id, _ := p["uuid"].(string)
		for _, veto := range before {
			if err := veto(ctx, id); err != nil && c.DeleteMode != "Enforcing" {
				return deleted{}, err
			}
		}
		if p["mode"] == pluginsdk.DeleteRemote {
			ctx = cascade.Outside(ctx)
		}
		ctx, left := cascade.Noting(ctx)
		k.Jobs.Answers(c.Job, func() json.RawMessage { return deletedBut(left).body() })
		err := k.Delete(ctx, c, t.Name, id)
		return deletedBut(left), err
	})
}

// deleted is what a delete answers: {}, unless it had to leave something behind.
type deleted struct {
	// Left are resources of which something is left in the outside world, such as
	// guests that may still run on a host which does not answer; More is how many
	// there are beside them. They are looked after (GCJob).
	Left []cascade.Leftover `json:"leftovers,omitempty"`
	More int                `json:"moreLeftovers,omitempty"`
}

func deletedBut(left *cascade.Leftovers) (d deleted) {
	d.Left, d.More = left.List()
	return d
}

// body is the answer as JSON, nil for {}.
func (d deleted) body() json.RawMessage {
	if len(d.Left) == 0 {
		return nil
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil // there is no such value
	}
	return body
}

// Delete runs the cascade on one resource for a call.
func (k *Kernel) Delete(ctx context.Context, c *action.Call, typeName, uuid string) error {
	mode := cascade.Permissive
	if c.DeleteMode == "Enforcing" {
		mode = cascade.Enforcing
	}
	return k.Cascade.Delete(ctx, typeName, uuid, mode, flow.Options{Job: c.Job, Key: uuid})
}
