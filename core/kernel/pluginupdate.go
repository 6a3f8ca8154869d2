package kernel

import (
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// PluginUpdate describes the update message that a plugin has of its own for
// what it adds to a base type: a KVM host beside the host.
type PluginUpdate struct {
	Base   *resource.Type
	Value  string // of Base's discriminator: what the message is for
	Add    *pluginv1.AddMessage
	Fields []*pluginv1.Field
	// Params are those of the base type, beside uuid, name and description.
	Params []action.Param
	Kind   string // as in action.Action
	// Before, which may be nil, may refuse while nothing has changed. own are the
	// plugin's fields that were given.
	Before func(ctx context.Context, uuid string, own map[string]any) error
	// Check, which may be nil, sees the base type's values before they are written.
	Check ValueCheck
	// After, which may be nil, runs when the rows have changed.
	After func(ctx context.Context, uuid string, own map[string]any) error
}

// RegisterPluginUpdate registers the message, when the plugin has one: it sets
// the fields that are given, those of the base type and the plugin's own. It is
// Refused for a resource of another kind.
func (k *Kernel) RegisterPluginUpdate(u PluginUpdate) error {
	message := u.Add.GetUpdateMessage()
	if message == "" {
		return nil
	}
	base := append(updateParams(u.Base), u.Params...)
	params := AddParams(base, u.Add, slices.DeleteFunc(slices.Clone(u.Fields), (*pluginv1.Field).GetImmutable))
	for i := range params[len(base):] {
		p := &params[len(base)+i]
		p.Required, p.Default = false, ""
	}
	a := action.Action{
		Message: message, Method: "PUT", Path: u.Add.GetPath() + "/{uuid}/actions", Key: action.ActionKey(message),
		Async: true, Access: action.Admin, Queue: "uuid", Returns: u.Base.Name, Kind: u.Kind, Params: params,
		Doc: "Changes the fields of a " + u.Base.Name + " of type " + u.Value + " that are given.",
	}
	return k.Actions.RegisterDynamic(a, func(ctx context.Context, _ *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		return action.Ref{Type: u.Base.Name, UUID: uuid}, k.pluginUpdate(ctx, u, uuid, Given(p, names(base[1:])...), Given(p, names(params[len(base):])...))
	})
}

func (k *Kernel) pluginUpdate(ctx context.Context, u PluginUpdate, uuid string, base, own map[string]any) error {
	row, err := store.GetValues(ctx, k.Store, u.Base, uuid)
	if err != nil {
		return err
	}
	if is := row[u.Base.Discriminator]; is != u.Value {
		return errs.New(errs.Refused, u.Base.Name+" "+uuid, "is of type %v, not %s", is, u.Value).
			WithAdvice("use the update message of its own type")
	}
	if u.Before != nil {
		if err := u.Before(ctx, uuid, own); err != nil {
			return err
		}
	}
	err = k.Store.Update(ctx, func(tx *store.Tx) error {
		if err := setGiven(ctx, tx, u.Base, uuid, base, u.Check); err != nil {
			return err
		}
		if sub := k.SubtypeOf(u.Base, u.Value); sub != nil && len(own) > 0 {
			return store.Set(ctx, tx, sub, uuid, SubtypeValues(sub, own))
		}
		return nil
	})
	if err != nil || u.After == nil {
		return err
	}
	return u.After(ctx, uuid, own)
}
