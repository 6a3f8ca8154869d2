package life

import (
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Unchanged refuses a manifest that declares other things than the one before; what
// a plugin says of itself, its settings, what it asks for and what it observes may
// differ. old is nil for a plugin that is new.
func Unchanged(old, next *pluginv1.Manifest) error {
	if proto.Equal(declarations(old), declarations(next)) {
		return nil
	}
	return errs.New(errs.Refused, "plugin "+next.GetName(), "what it declares is not what the running server knows of it").
		WithAdvice("restart the server: it takes up what plugins declare when it starts")
}

// declarations is what of a manifest the core registers.
func declarations(m *pluginv1.Manifest) *pluginv1.Manifest {
	if m == nil {
		return &pluginv1.Manifest{}
	}
	d := proto.CloneOf(m)
	d.Name, d.Version, d.Description, d.Permissions, d.Settings, d.Caption, d.Subscriptions = "", "", "", nil, nil, nil, nil
	return d
}
