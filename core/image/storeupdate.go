package image

import (
	"context"
	"maps"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// registerStoreUpdate registers a plugin's own update message, when it has one:
// it sets the fields of the base type and those of the plugin.
func (s *Service) registerStoreUpdate(d *pluginv1.BackupStorageDecl) error {
	message := d.GetAdd().GetUpdateMessage()
	if message == "" {
		return nil
	}
	params := []action.Param{{Name: "uuid", Type: "string", In: "path", Required: true, Resource: "BackupStorage"},
		{Name: "name", Type: "string", MaxLength: 255}, {Name: "description", Type: "string", MaxLength: 2048}}
	for _, p := range kernel.AddParams(nil, d.GetFields()) {
		p.Required, p.Default = false, ""
		params = append(params, p)
	}
	a := action.Action{Message: message, Method: "PUT", Path: d.GetAdd().GetPath() + "/{uuid}/actions", Key: action.ActionKey(message),
		Async: true, Access: action.Admin, Queue: "uuid", Returns: "BackupStorage", Kind: "storage", Params: params,
		Doc: "Changes the fields of a backup storage of type " + d.GetType() + " that are given."}
	return s.Actions.RegisterDynamic(a, func(ctx context.Context, _ *action.Call, p map[string]any) (action.Ref, error) {
		uuid, _ := p["uuid"].(string)
		return action.Ref{Type: "BackupStorage", UUID: uuid}, s.updateStore(ctx, d, uuid, p)
	})
}

// updateStore lets the plugin connect the store with what it is to be told from
// now on, so that it can refuse that, before anything is changed.
func (s *Service) updateStore(ctx context.Context, d *pluginv1.BackupStorageDecl, uuid string, p map[string]any) error {
	base, own := kernel.Given(p, "name", "description"), map[string]any{}
	for _, f := range d.GetFields() {
		if v, ok := p[f.GetName()]; ok && v != nil && !f.GetFact() {
			own[f.GetName()] = v
		}
	}
	st, plug, err := s.plugin(ctx, uuid)
	if err != nil {
		return err
	}
	if st.GetType() != d.GetType() {
		return errs.New(errs.Refused, "backup storage "+st.GetName(), "is of type %s, not %s", st.GetType(), d.GetType()).
			WithAdvice("use the update message of its own type")
	}
	if len(own) > 0 {
		maps.Copy(st.Fields, kernel.PluginFields(own))
		if _, err := plug.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: st}); err != nil {
			return err
		}
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if len(base) > 0 {
			if err := store.Set(ctx, tx, BackupStorageType.Type, uuid, base); err != nil {
				return err
			}
		}
		if sub := s.SubtypeOf(BackupStorageType.Type, d.GetType()); sub != nil && len(own) > 0 {
			return store.Set(ctx, tx, sub, uuid, kernel.SubtypeValues(sub, own))
		}
		return nil
	})
}
