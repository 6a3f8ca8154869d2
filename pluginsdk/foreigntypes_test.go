package pluginsdk_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func foreignManifest() *pluginv1.Manifest {
	field := func() *pluginv1.Field {
		return &pluginv1.Field{Name: "skyUuid", Required: true, Immutable: true, Ref: "Sky", Caption: pluginsdk.Say("Sky", "天")}
	}
	isle := &pluginv1.ResourceTypeDecl{Name: "Isle", Path: "/isles", Owned: true, Caption: pluginsdk.Say("Isle", "岛"), Fields: []*pluginv1.Field{field()},
		Delete: &pluginv1.ResourceMessage{}, Foreign: &pluginv1.ForeignDecl{EndpointType: "Sky", Endpoint: "skyUuid", Delete: []string{"local"}}}
	ship := &pluginv1.ResourceTypeDecl{Name: "Ship", Path: "/ships", Owned: true, Calls: true, Priced: true, Caption: pluginsdk.Say("Ship", "船"),
		Fields: []*pluginv1.Field{field(), {Name: "isleUuid", Caption: pluginsdk.Say("Isle", "岛")}},
		Edges:  []*pluginv1.EdgeDecl{{Name: "isle", To: "Isle", Column: "isleUuid"}},
		Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
		Foreign: &pluginv1.ForeignDecl{EndpointType: "Sky", Endpoint: "skyUuid", Create: true, Update: true, Delete: []string{"remote", "local"}}}
	return &pluginv1.Manifest{Name: "sky", Version: "1",
		ResourceTypes: []*pluginv1.ResourceTypeDecl{{Name: "Sky", Path: "/skies", Owned: true, Caption: pluginsdk.Say("Sky", "天")}, isle, ship},
		Inventories:   []*pluginv1.InventoryDecl{{EndpointType: "Sky", Types: []string{"Isle", "Ship"}}}}
}

type outside struct {
	pluginsdk.ResourceProvider
	pluginsdk.InventorySync
	pluginsdk.HybridCloud
}

func foreignPlugin(m *pluginv1.Manifest) pluginsdk.Plugin {
	return pluginsdk.Plugin{Manifest: m, ResourceProvider: outside{}, InventorySync: outside{}, HybridCloud: outside{}}
}

// What a manifest says of things outside must fit together, and each fault is named.
func TestForeignManifest(t *testing.T) {
	if err := pluginsdk.CheckManifest(foreignPlugin(foreignManifest())); err != nil {
		t.Fatal(err)
	}
	for word, spoil := range map[string]func(m *pluginv1.Manifest, isle, ship *pluginv1.ResourceTypeDecl){
		"no field that is required and immutable": func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Fields[0].Immutable = false },
		"does not refer to a Sky":                 func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Fields[0].Ref = "Ship" },
		"the name origin":                         func(_ *pluginv1.Manifest, _, ship *pluginv1.ResourceTypeDecl) { ship.Edges[0].Name = "origin" },
		"it needs a create message":               func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Foreign.Create = true },
		"it needs an update message":              func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Foreign.Update = true },
		"to remove something outside": func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) {
			isle.Foreign.Delete = []string{"remote"}
		},
		"is there twice": func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) {
			isle.Foreign.Delete = []string{"local", "local"}
		},
		"not one of local, remote":      func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Foreign.Delete = []string{"both"} },
		"belong together":               func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Delete = nil },
		"no message that makes one":     func(_ *pluginv1.Manifest, isle, _ *pluginv1.ResourceTypeDecl) { isle.Priced = true },
		"which is none of the plugin's": func(m *pluginv1.Manifest, _, _ *pluginv1.ResourceTypeDecl) { m.ResourceTypes = m.ResourceTypes[1:] },
		"declared twice": func(m *pluginv1.Manifest, _, _ *pluginv1.ResourceTypeDecl) {
			m.Inventories = append(m.Inventories, m.Inventories[0])
		},
		"parents come first": func(m *pluginv1.Manifest, _, _ *pluginv1.ResourceTypeDecl) {
			m.Inventories[0].Types = []string{"Ship", "Isle"}
		},
		"brings Sky, which is no foreign type": func(m *pluginv1.Manifest, _, _ *pluginv1.ResourceTypeDecl) { m.Inventories[0].Types = []string{"Sky"} },
		"inventories are declared and not":     func(m *pluginv1.Manifest, _, _ *pluginv1.ResourceTypeDecl) { m.Inventories = nil },
		"prices are declared and not":          func(_ *pluginv1.Manifest, _, ship *pluginv1.ResourceTypeDecl) { ship.Priced = false },
	} {
		m := proto.Clone(foreignManifest()).(*pluginv1.Manifest)
		spoil(m, m.ResourceTypes[1], m.ResourceTypes[2])
		if err := pluginsdk.CheckManifest(foreignPlugin(m)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not said: %v", word, err)
		}
	}
}
