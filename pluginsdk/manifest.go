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
	OptionalMigrate     = "migrate"
	OptionalConsole     = "console"
	OptionalHostGateway = "host-gateway"
	OptionalAttachNIC   = "attach-nic"
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
	c.foreign(p)
	for _, e := range Extensions(m) {
		c.fields(e.Fields)
	}
	c.l2Networks(m.L2Networks)
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
	c.strategy(HypervisorStrategy, types, p.Hypervisor != nil)
	c.optional(HypervisorStrategy, optional, map[string]bool{
		OptionalPause:       is[VMPauser](p.Hypervisor),
		OptionalMigrate:     is[VMMigrator](p.Hypervisor),
		OptionalConsole:     is[VMConsoler](p.Hypervisor),
		OptionalHostGateway: is[HostGateway](p.Hypervisor),
		OptionalAttachNIC:   is[NICAttacher](p.Hypervisor),
	})

	types, optional = nil, nil
	for _, d := range m.PrimaryStorages {
		types, optional = append(types, d.Type), append(optional, d.Optional...)
	}
	c.strategy(PrimaryStorageStrategy, types, p.PrimaryStorage != nil)
	c.optional(PrimaryStorageStrategy, optional, map[string]bool{
		OptionalResize: is[VolumeResizer](p.PrimaryStorage),
		OptionalList:   is[VolumeLister](p.PrimaryStorage),
	})

	c.strategy(BackupStorageStrategy, typesOf(m.BackupStorages), p.BackupStorage != nil)
	c.strategy(L2NetworkStrategy, typesOf(m.L2Networks), p.L2Network != nil)
	called := slices.DeleteFunc(slices.Clone(m.NetworkServices), (*pluginv1.NetworkServiceDecl).GetByPoints)
	c.strategy("network service", typesOf(called), p.NetworkService != nil)
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

// l2Networks checks that what L2 types say of fields is about fields of theirs.
func (c *manifestCheck) l2Networks(all []*pluginv1.L2NetworkDecl) {
	for _, d := range all {
		what := string(L2NetworkStrategy) + " " + d.Type
		i := slices.IndexFunc(d.Fields, func(f *pluginv1.Field) bool { return f.Name == d.Number })
		if d.Number != "" && (i < 0 || d.Fields[i].Kind != "int" || !d.Fields[i].Required) {
			c.fail(what + " has the number " + d.Number + ", which is no required field of kind int")
		}
		if d.Add == nil && (len(d.Fields) > 0 || len(d.Unique) > 0 || len(d.Refuses) > 0) {
			c.fail(what + " says what its networks are, and not by which message they are made")
		}
		for _, r := range d.Refuses {
			if r.Parameter == "" || r.Reason == "" {
				c.fail(what + " refuses a parameter without name or reason")
			}
		}
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

func (c *manifestCheck) strategy(of Strategy, types []string, implemented bool) {
	kind := string(of)
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

func (c *manifestCheck) optional(of Strategy, declared []string, implemented map[string]bool) {
	kind := string(of)
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
