package serve

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/schema"
	"github.com/kumo-cloud/kumo/pluginsdk"
)

// describer makes the schema of a kernel (api.Describer).
type describer struct {
	kernel  *kernel.Kernel
	version string
	actions atomic.Uint64 // how often the actions changed
}

func newDescriber(k *kernel.Kernel, version string) *describer {
	d := &describer{kernel: k, version: version}
	k.Actions.OnChange(func() { d.actions.Add(1) })
	return d
}

// Key tells the state of all that the schema is made from; settings are
// defined once, at the start.
func (d *describer) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d", d.kernel.Types.Version(), d.actions.Load())
	for _, p := range d.kernel.Plugins.Status() {
		fmt.Fprintf(&b, " %s=%s %t", p.Name, p.Version, off(p))
	}
	return b.String()
}

// off tells whether what a plugin declares does not answer until somebody wants it to.
func off(p plugin.Status) bool { return p.State == plugin.Disabled || p.State == plugin.NotGranted }

// Describe makes the schema.
func (d *describer) Describe() *schema.Document {
	doc, _ := schema.Build(d.input())
	return doc
}

func (d *describer) input() schema.Input {
	in := schema.Input{Server: schema.Server{Name: "Kumo", Version: d.version}, Types: d.kernel.Types, Actions: d.kernel.Actions,
		Plugins: map[string]schema.Plugin{}, Brings: map[string]string{}}
	dormant := map[string]bool{}
	for _, p := range d.kernel.Plugins.Status() {
		dormant[p.Name] = off(p)
	}
	for _, m := range d.kernel.Plugins.Manifests() {
		state := "enabled"
		if dormant[m.GetName()] {
			state = "disabled"
		}
		name := resource.Say(m.GetCaption().GetEn(), m.GetCaption().GetZh())
		if name.IsZero() {
			name = resource.Say(m.GetName(), m.GetName())
		}
		in.Plugins[m.GetName()] = schema.Plugin{Version: m.GetVersion(), Caption: name, State: state}
		for _, e := range pluginsdk.Extensions(m) {
			for _, brought := range []string{e.Add.GetSubtype(), e.Add.GetMessage(), e.Add.GetUpdateMessage()} {
				// Of several plugins with one message it is the first that answers.
				if by, told := in.Brings[brought]; brought != "" && (!told || dormant[by]) {
					in.Brings[brought] = m.GetName()
				}
			}
		}
	}
	for _, p := range d.kernel.Tags.Patterns() {
		if !p.Inherent && !p.AdminOnly {
			in.Tags = append(in.Tags, schema.TagPattern{Resource: p.Resource, Pattern: p.Pattern, Secret: p.Secret, Holds: p.Holds, Caption: p.Caption, CreateOnly: p.Take != nil})
		}
	}
	for _, s := range d.kernel.Config.Settings() {
		in.Settings = append(in.Settings, setting(&s))
	}
	return in
}

// setting describes a setting. A size is a number of bytes for clients as it is
// for the server.
func setting(s *config.Setting) schema.Setting {
	out := schema.Setting{Category: s.Category, Name: s.Name, Caption: s.Caption, Doc: resource.Say(s.Doc, s.Doc), Kind: s.Type, Default: s.Default, Secret: s.Secret,
		On: s.Resources, Values: s.Values, Captions: s.Captions}
	if s.Holds != "" {
		out.Holds = &s.Holds
	}
	if out.On == nil {
		out.On = []string{}
	}
	unit := s.Unit
	switch s.Type {
	case "size":
		out.Kind, unit = "long", "bytes"
	case "float":
		out.Kind = "double"
	}
	if unit != "" {
		out.Unit = &unit
	}
	if s.Min != 0 || s.Max != 0 {
		out.Min = &s.Min
		if s.Max != 0 {
			out.Max = &s.Max
		}
	}
	return out
}
