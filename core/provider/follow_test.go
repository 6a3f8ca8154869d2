package provider_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A plugin's next manifest is taken up while the core runs: what it has more is there
// at once, and one that cannot be changes nothing.
func TestNextManifest(t *testing.T) {
	y := &yard{}
	p := y.plugin(boats(), moorings(), logs())
	c := cloudtest.New(t, p)
	boat := c.Create("APICreateBoatMsg", P{"name": "b", "sail": "1", "code": "c"})
	offers := func(message, param string) bool {
		a, ok := c.Actions.Get(message)
		if !ok {
			return false
		}
		_, has := a.Param(param)
		return has || param == ""
	}
	next := func(change func(m *pluginv1.Manifest, boat *pluginv1.ResourceTypeDecl)) error {
		m := proto.CloneOf(p.Manifest)
		m.Version = "2"
		change(m, m.ResourceTypes[0])
		return c.Follow(t.Context(), m)
	}
	if err := next(func(*pluginv1.Manifest, *pluginv1.ResourceTypeDecl) {}); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(m *pluginv1.Manifest, boat *pluginv1.ResourceTypeDecl){
		"field launched is gone": func(_ *pluginv1.Manifest, b *pluginv1.ResourceTypeDecl) {
			b.Fields = append(b.Fields[:4], b.Fields[5:]...)
		},
		"there is no type Pier": func(_ *pluginv1.Manifest, b *pluginv1.ResourceTypeDecl) {
			b.Fields = append(b.Fields, &pluginv1.Field{Name: "pierUuid", Caption: say("Pier")})
			b.Edges = append(b.Edges, &pluginv1.EdgeDecl{Name: "pier", To: "Pier", Column: "pierUuid", OnDelete: "detach"})
		},
		"is served by APICreateZoneMsg already": func(m *pluginv1.Manifest, _ *pluginv1.ResourceTypeDecl) {
			m.ResourceTypes = append(m.ResourceTypes, &pluginv1.ResourceTypeDecl{Name: "Dock", Path: "/zones/docks", Caption: say("Dock"),
				Actions: []*pluginv1.ActionDecl{{Message: "APIDigDockMsg", On: "type", Method: "POST", Route: "/zones", Caption: say("Dig")}}})
		},
		"which is none, or a kind of another": func(m *pluginv1.Manifest, b *pluginv1.ResourceTypeDecl) {
			b.Fields = append(b.Fields, &pluginv1.Field{Name: "mast", Caption: say("Mast")})
			m.Subscriptions = []*pluginv1.Subscription{{Phase: "after", Type: "Whale", Verb: "create"}}
		},
	} {
		if err := next(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if !offers("APICreateBoatMsg", "launched") || offers("APICreateBoatMsg", "mast") || offers("APIDigDockMsg", "") || hasField(c, "mast") {
			t.Errorf("after %q its actions have changed", want)
		}
	}
	c.Do("APIRefitBoatMsg", P{"uuid": boat, "crew": 3})

	err := next(func(m *pluginv1.Manifest, b *pluginv1.ResourceTypeDecl) {
		b.Fields = append(b.Fields, &pluginv1.Field{Name: "mast", MaxLength: 9, Caption: say("Mast")})
		b.Actions = b.Actions[1:]
		m.ResourceTypes = append(m.ResourceTypes, &pluginv1.ResourceTypeDecl{Name: "Dock", Path: "/docks", Caption: say("Dock"), Create: &pluginv1.ResourceMessage{}})
		m.Subscriptions = []*pluginv1.Subscription{{Phase: "after", Type: "Dock", Verb: "create"}, {Phase: "point", Point: "Dock.delete.begin"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if offers("APIPaintBoatMsg", "") || !offers("APICreateDockMsg", "name") || !offers("APIRefitBoatMsg", "mast") {
		t.Error("the actions are not those of the new manifest")
	}
	c.Do("APIRefitBoatMsg", P{"uuid": boat, "mast": "pine"})
	c.Want("the new field that the plugin knows", y.of(boat, "mast"), "pine")
	c.Want("boats by it", len(c.List("Boat", "mast=pine")), 1)
	dock := c.Create("APICreateDockMsg", P{"name": "d"})
	c.Want("the row of the new type", c.Get("Dock", dock).Text("name"), "d")
}

func hasField(c *cloudtest.Cloud, name string) bool {
	typ, ok := c.Types.Get("Boat")
	if !ok {
		return false
	}
	_, has := typ.Field(name)
	return has
}
