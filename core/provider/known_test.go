package provider

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func say(en string) *pluginv1.Caption { return pluginsdk.Say(en, en) }

func tent() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{Name: "Tent", Path: "/tents", Owned: true, Caption: say("Tent"), Create: &pluginv1.ResourceMessage{}, Fields: []*pluginv1.Field{
		{Name: "colour", MaxLength: 10, Values: []string{"red", "blue"}, Caption: say("Colour")}, {Name: "poles", Kind: "int", Required: true, Caption: say("Poles")}}}
}

// A new version may add, and is told of all else that it does.
func TestOnlyAdditions(t *testing.T) {
	for want, change := range map[string]func(*pluginv1.ResourceTypeDecl){
		"": func(d *pluginv1.ResourceTypeDecl) { d.Fields = append(d.Fields, &pluginv1.Field{Name: "pegs"}) },
		" ": func(d *pluginv1.ResourceTypeDecl) {
			d.Fields[0].MaxLength, d.Fields[0].Values = 20, []string{"red", "blue", "green"}
		},
		"  ":                           func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Kind = "text" },
		"field poles is gone":          func(d *pluginv1.ResourceTypeDecl) { d.Fields = d.Fields[:1] },
		"was of kind int":              func(d *pluginv1.ResourceTypeDecl) { d.Fields[1].Kind = "string" },
		"whether it is required":       func(d *pluginv1.ResourceTypeDecl) { d.Fields[1].Required = false },
		"whether it is unique":         func(d *pluginv1.ResourceTypeDecl) { d.Fields[1].Unique = true },
		"whether it is secret":         func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Secret = true },
		"up to 10 characters":          func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].MaxLength = 9 },
		`has the value "blue" no more`: func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Values = []string{"red"} },
		"   ": func(d *pluginv1.ResourceTypeDecl) {
			d.Fields = append(d.Fields, &pluginv1.Field{Name: "pegs"})
			d.Indexes = []*pluginv1.IndexDecl{{Columns: []string{"colour", "pegs"}, Unique: true}}
		},
		"the same colour and poles": func(d *pluginv1.ResourceTypeDecl) {
			d.Indexes = []*pluginv1.IndexDecl{{Columns: []string{"colour", "poles"}, Unique: true}}
		},
		"rows are owned": func(d *pluginv1.ResourceTypeDecl) { d.Owned = false },
	} {
		d := &declaration{ResourceTypeDecl: proto.Clone(tent()).(*pluginv1.ResourceTypeDecl), plugin: "camp"}
		change(d.ResourceTypeDecl)
		err := d.additive(tent())
		if want = strings.TrimSpace(want); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "camp")) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A plugin that was upgraded while the core ran may answer for fields that its new
// version has; nobody knows others.
func TestFactsOfANewVersion(t *testing.T) {
	was, is := tent(), tent()
	is.Fields = append(is.Fields, &pluginv1.Field{Name: "weight", Fact: true})
	told, err := pluginsdk.Values(map[string]any{"weight": "heavy"})
	if err != nil {
		t.Fatal(err)
	}
	d := &declaration{ResourceTypeDecl: was, plugin: "camp"}
	if facts, err := d.facts(told, is); err != nil || len(facts) != 0 {
		t.Errorf("a field of the new version: %v, %v", facts, err)
	}
	if _, err := d.facts(told, was); err == nil || !strings.Contains(err.Error(), "weight") || !strings.Contains(err.Error(), "camp") {
		t.Errorf("a field of no version: %v", err)
	}
}

// What a declaration refers to must be there; that of a plugin which is not enabled
// is left out when it is not.
func TestDeclare(t *testing.T) {
	c := kerneltest.New(t, kerneltest.Options{Types: Types()})
	enable := func(decls ...*pluginv1.ResourceTypeDecl) ([]*resource.Type, error) {
		var err error
		k := *c.Kernel
		connection := plugin.Connection{Manifest: &pluginv1.Manifest{Name: "camp", ResourceTypes: decls}}
		if k.Plugins, err = plugin.Connected(nil, connection); err != nil {
			t.Fatal(err)
		}
		return Declare(t.Context(), &k, k.Types)
	}
	zoned := tent()
	zoned.Fields = append(zoned.Fields, &pluginv1.Field{Name: "fieldUuid", Caption: say("Field")})
	zoned.Edges = []*pluginv1.EdgeDecl{{Name: "field", To: "Field", Column: "fieldUuid"}}
	taken := tent()
	taken.Name = "Account"
	for want, decl := range map[string]*pluginv1.ResourceTypeDecl{"there is no type Field": zoned, "there is a type of this name": taken, "no caption": {Name: "Tent", Path: "/tents"}} {
		if _, err := enable(decl); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "plugin camp") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	field := &pluginv1.ResourceTypeDecl{Name: "Field", Path: "/fields", Caption: say("Field")}
	if types, err := enable(zoned, field); err != nil || len(types) != 2 || types[1].Readable != resource.Admin || types[0].Readable != resource.Owner {
		t.Fatalf("two types that belong together: %v, %v", types, err)
	}

	save := func(name string, decl *pluginv1.ResourceTypeDecl) {
		t.Helper()
		s := New(c.Kernel)
		s.types.Store(&[]*served{{declaration: &declaration{ResourceTypeDecl: decl, plugin: name}}})
		for range 2 { // a repeat changes nothing
			if err := s.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	save("camp", zoned)
	types, err := enable()
	if err != nil || len(types) != 0 {
		t.Errorf("a dormant type without what it refers to: %v, %v", types, err)
	}
	save("farm", field)
	if types, err = enable(); err != nil || len(types) != 2 || !types[0].Dormant || types[0].Plugin != "farm" || types[1].Plugin != "camp" {
		t.Errorf("dormant types: %v, %v", types, err)
	}
	if _, err = enable(tent(), field); err == nil || !strings.Contains(err.Error(), "fieldUuid is gone") {
		t.Errorf("a version without a field: %v", err)
	}
	wider := proto.Clone(zoned).(*pluginv1.ResourceTypeDecl)
	wider.Fields = append(wider.Fields, &pluginv1.Field{Name: "pegs", Caption: say("Pegs")})
	save("camp", wider)
	for what, decl := range map[string]*pluginv1.ResourceTypeDecl{"the version before": zoned, "the new one": wider} {
		k := *c.Kernel
		k.Plugins, err = plugin.Connected(nil, plugin.Connection{Manifest: &pluginv1.Manifest{Name: "camp", ResourceTypes: []*pluginv1.ResourceTypeDecl{decl}}})
		if err == nil {
			_, err = Declare(t.Context(), &k, k.Types)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err = enable(zoned, field); err == nil || !strings.Contains(err.Error(), "it is a type of plugin farm") {
		t.Errorf("a type of another plugin: %v", err)
	}
	// A declaration that cannot be read costs the others nothing, and is written anew.
	err = c.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `PluginType` SET `declaration` = ? WHERE `name` = ?", "{", "Tent")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if types, err = enable(); err != nil || len(types) != 1 || types[0].Name != "Field" {
		t.Errorf("beside a declaration that cannot be read: %v, %v", types, err)
	}
	save("camp", zoned)
	if types, err = enable(); err != nil || len(types) != 2 {
		t.Errorf("written anew: %v, %v", types, err)
	}
}
