package image

import (
	"context"
	"maps"

	"github.com/kumo-cloud/kumo/core/kernel"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// registerStoreUpdate registers a plugin's own update message, when it has one.
// The plugin connects the store with what it is to be told from now on, so that
// it can refuse that, before anything is changed.
func (s *Service) registerStoreUpdate(d *pluginv1.BackupStorageDecl) error {
	return s.generic.RegisterPluginUpdate(kernel.PluginUpdate{
		Base: BackupStorageType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(), Kind: "storage",
		Before: func(ctx context.Context, uuid string, own map[string]any) error {
			st, plug, err := s.plugin(ctx, uuid)
			if err != nil || len(own) == 0 {
				return err
			}
			maps.Copy(st.Fields, kernel.PluginFields(own))
			_, err = plug.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: st, Known: true})
			return err
		},
	})
}
