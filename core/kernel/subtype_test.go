package kernel

import (
	"reflect"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type disks struct {
	resource.Base
	Type  string `db:"type" kumo:"size=32"`
	Total int64  `db:"totalCapacity"`
}

var base = resource.Define[disks](resource.Type{Name: "Store", Readable: resource.Global, Discriminator: "type"})

var fields = []*pluginv1.Field{
	{Name: "totalCapacity", Kind: "long", Default: "7"},
	{Name: "sshPort", Kind: "int", Default: "22", Min: 1, Max: 65535},
	{Name: "password", Kind: "string", Required: true, Secret: true, MaxLength: 64},
	{Name: "fast", Kind: "bool"},
	{Name: "release", Kind: "string", Fact: true},
}

func TestSubtypeKeepsTheBaseTypesFields(t *testing.T) {
	sub, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{Subtype: "DiskStore", InventoryClass: "org.Disk"}, fields)
	if err != nil {
		t.Fatal(err)
	}
	reg := resource.NewRegistry()
	if err := reg.Add(base.Type, sub); err != nil {
		t.Fatal(err)
	}
	if err := reg.Check(); err != nil {
		t.Fatal(err)
	}
	if f, ok := sub.Field("password"); !ok || !f.Secret || f.Size != 64 {
		t.Errorf("password is declared as %+v", f)
	}
	given := map[string]any{"totalCapacity": int64(5), "password": "x", "release": "12"}
	row := SubtypeRow(sub, "u", given)
	if row["uuid"] != "u" || row["totalCapacity"] != nil || row[shadow+"totalCapacity"] != int64(5) {
		t.Errorf("row %v", row)
	}
	if f, _ := sub.Field(shadow + "totalCapacity"); f == nil || f.Visible() {
		t.Error("what was asked for hides what was measured")
	}
	want := map[string]string{"totalCapacity": "5", "password": "x", "release": "12"}
	if got := PluginFields(row); !reflect.DeepEqual(got, want) {
		t.Errorf("the plugin is told %v, want %v", got, want)
	}
}

func TestSubtypeRefusesWhatItCannotStore(t *testing.T) {
	if _, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{Subtype: "X"}, []*pluginv1.Field{{Name: "a", Kind: "matrix"}}); err == nil {
		t.Error("an unknown kind is accepted")
	}
	if _, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{}, fields); err == nil {
		t.Error("fields without a subtype are accepted")
	}
	if sub, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{}, nil); sub != nil || err != nil {
		t.Errorf("no fields give %v, %v", sub, err)
	}
}

func TestAddParams(t *testing.T) {
	params := AddParams([]action.Param{{Name: "name", Type: "string", Required: true}}, fields)
	got := map[string]action.Param{}
	for _, p := range params {
		got[p.Name] = p
	}
	if _, ok := got["release"]; ok {
		t.Error("a fact is a parameter")
	}
	if p := got["sshPort"]; p.Type != "int" || p.Range == nil || p.Range[1] != 65535 {
		t.Errorf("sshPort is %+v", p)
	}
	if p := got["password"]; !p.Required || !p.Secret {
		t.Errorf("password is %+v", p)
	}
}

func TestFieldValuesAndFacts(t *testing.T) {
	v, err := FieldValues(map[string]any{"password": "x", "fast": true, "other": 1}, fields)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"password": "x", "fast": true, "totalCapacity": int64(7), "sshPort": int64(22)}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("values %v, want %v", v, want)
	}
	f, err := Facts(map[string]string{"release": "12", "password": "y"}, fields)
	if err != nil || !reflect.DeepEqual(f, map[string]any{"release": "12"}) {
		t.Errorf("facts %v, %v", f, err)
	}
	if _, err := FieldValues(nil, []*pluginv1.Field{{Name: "n", Kind: "int", Default: "many"}}); err == nil {
		t.Error("a default of the wrong kind is accepted")
	}
}
