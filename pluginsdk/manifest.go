package pluginsdk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Names of the optional services that manifests declare.
const (
	OptionalPause       = "pause"
	OptionalConsole     = "console"
	OptionalHostGateway = "host-gateway"
	OptionalResize      = "resize"
	OptionalList        = "list"
)

// CheckManifest compares a plugin's manifest with what it implements: each
// declared strategy, type and optional service must be there and each one
// there must be declared, for the core believes the manifest. It returns
// errs.Invalid naming all differences.
func CheckManifest(p Plugin) error {
	m := p.Manifest
	if m == nil {
		return errs.New(errs.Invalid, "plugin", "it has no manifest")
	}
	c := manifestCheck{}
	if m.Name == "" {
		c.fail("the manifest has no name")
	}
	if m.Version == "" {
		c.fail("the manifest has no version")
	}
	for _, perm := range m.Permissions {
		if err := CheckPermission(perm); err != nil {
			c.fail(err.Error())
		}
	}
	c.strategies(p)
	c.subscriptions(p)
	c.settings(m.Settings)
	c.resources(p)
	for _, d := range m.Hypervisors {
		c.fields(d.Fields)
	}
	for _, d := range m.PrimaryStorages {
		c.fields(d.Fields)
	}
	for _, d := range m.BackupStorages {
		c.fields(d.Fields)
	}
	slices.Sort(c.wrong)
	if len(c.wrong) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "plugin "+m.Name, "manifest and code differ: %s", strings.Join(c.wrong, "; ")).
		WithAdvice("declare exactly what the plugin implements")
}

type manifestCheck struct{ wrong []string }

func (c *manifestCheck) fail(text string) { c.wrong = append(c.wrong, text) }

func (c *manifestCheck) strategies(p Plugin) {
	m := p.Manifest
	var types, optional []string
	for _, d := range m.Hypervisors {
		types, optional = append(types, d.Type), append(optional, d.Optional...)
	}
	c.strategy("hypervisor", types, p.Hypervisor != nil)
	c.optional("hypervisor", optional, map[string]bool{
		OptionalPause:       is[VMPauser](p.Hypervisor),
		OptionalConsole:     is[VMConsoler](p.Hypervisor),
		OptionalHostGateway: is[HostGateway](p.Hypervisor),
	})

	types, optional = nil, nil
	for _, d := range m.PrimaryStorages {
		types, optional = append(types, d.Type), append(optional, d.Optional...)
	}
	c.strategy("primary storage", types, p.PrimaryStorage != nil)
	c.optional("primary storage", optional, map[string]bool{
		OptionalResize: is[VolumeResizer](p.PrimaryStorage),
		OptionalList:   is[VolumeLister](p.PrimaryStorage),
	})

	c.strategy("backup storage", typesOf(m.BackupStorages), p.BackupStorage != nil)
	c.strategy("L2 network", typesOf(m.L2Networks), p.L2Network != nil)
	c.strategy("network service", typesOf(m.NetworkServices), p.NetworkService != nil)
}

// settings checks that what settings say of themselves fits together.
func (c *manifestCheck) settings(all []*pluginv1.SettingDecl) {
	for _, d := range all {
		if spelling, err := ParseSetting(d, d.Default); err != nil || spelling != d.Default {
			c.fail(fmt.Sprintf("setting %s has the default %q, which is spelled %q, %v", d.Name, d.Default, spelling, err))
		}
		if d.Secret && d.Default != "" {
			c.fail("setting " + d.Name + " is a secret with a default")
		}
		c.holds("setting "+d.Name, d.Kind, d.Holds)
	}
}

func (c *manifestCheck) fields(all []*pluginv1.Field) {
	for _, f := range all {
		c.holds("field "+f.Name, f.Kind, f.Holds)
	}
}

func (c *manifestCheck) holds(what, kind, holds string) {
	if _, known := kinds.Of(holds); holds != "" && (!known || kind != "" && kind != "string" && kind != "text") {
		c.fail(what + " holds " + holds + ", which is no kind of text")
	}
}

func (c *manifestCheck) strategy(kind string, types []string, implemented bool) {
	if len(types) > 0 && !implemented {
		c.fail(kind + " " + strings.Join(types, ", ") + " is declared, not implemented")
	}
	if len(types) == 0 && implemented {
		c.fail(kind + " is implemented, not declared")
	}
	for i, t := range types {
		if t == "" {
			c.fail(kind + " without a type is declared")
		} else if slices.Contains(types[:i], t) {
			c.fail(kind + " " + t + " is declared twice")
		}
	}
}

func (c *manifestCheck) optional(kind string, declared []string, implemented map[string]bool) {
	for _, name := range declared {
		if !implemented[name] {
			c.fail(kind + " option " + name + " is declared, not implemented")
		}
	}
	for name, has := range implemented {
		if has && !slices.Contains(declared, name) {
			c.fail(kind + " option " + name + " is implemented, not declared")
		}
	}
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func typesOf[D interface{ GetType() string }](decls []D) []string {
	types := make([]string, len(decls))
	for i, d := range decls {
		types[i] = d.GetType()
	}
	return types
}
