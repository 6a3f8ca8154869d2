package kernel

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Addition describes the message that a plugin has for making a resource of one
// type of a base type: an APIAddKVMHostMsg of hosts.
type Addition struct {
	Base   *resource.Type
	Value  string // of Base's discriminator: what the message makes
	Add    *pluginv1.AddMessage
	Fields []*pluginv1.Field
	// Params are those that all such messages of the base type have. One that is
	// called type may only repeat Value.
	Params []action.Param
	// Values and Kind are those of action.Action.
	Values map[string][]resource.Value
	Kind   string
	// Doc is what the message does, when the plugin does not say.
	Doc string
	// Make makes the resource. own are the plugin's fields, with defaults filled in.
	Make func(ctx context.Context, c *action.Call, p Params, own map[string]any) (action.Ref, error)
}

// Params are the values of a message's parameters, by name.
type Params map[string]any

// Text returns a string, "" when it is not given.
func (p Params) Text(name string) string { v, _ := p[name].(string); return v }

// True returns a bool, false when it is not given.
func (p Params) True(name string) bool { v, _ := p[name].(bool); return v }

// RegisterAddition registers the message.
func (k *Kernel) RegisterAddition(d Addition) error {
	a := action.Action{
		Message: d.Add.GetMessage(), Method: "POST", Path: d.Add.GetPath(), Key: "params", Async: true, Create: true,
		Access: action.Admin, Returns: d.Base.Name, Params: AddParams(d.Params, d.Add, d.Fields), Values: d.Values, Kind: d.Kind,
		Doc: cmp.Or(d.Add.GetMessageDoc(), d.Doc),
	}
	typed := slices.ContainsFunc(d.Params, func(p action.Param) bool { return p.Name == "type" })
	return k.Actions.RegisterDynamic(a, func(ctx context.Context, c *action.Call, given map[string]any) (action.Ref, error) {
		p := Params(given)
		if is := p.Text("type"); typed && is != "" && is != d.Value {
			return action.Ref{}, errs.New(errs.Invalid, "type", "is %s, and this message adds a %s", is, d.Value)
		}
		own, err := FieldValues(p, d.Fields)
		if err != nil {
			return action.Ref{}, err
		}
		return d.Make(ctx, c, p, own)
	})
}

// InsertSubtype writes the plugin's part of a new resource of a base type; a plugin
// that adds no fields has none.
func (k *Kernel) InsertSubtype(ctx context.Context, tx *store.Tx, base *resource.Type, value, uuid string, own map[string]any) error {
	sub := k.SubtypeOf(base, value)
	if sub == nil {
		return nil
	}
	return store.InsertValues(ctx, tx, sub, SubtypeRow(sub, uuid, own))
}
