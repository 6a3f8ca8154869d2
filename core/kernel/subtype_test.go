package kernel

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
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
	params := AddParams([]action.Param{{Name: "name", Type: "string", Required: true}, {Name: "url"}}, &pluginv1.AddMessage{UrlHolds: "path"}, fields)
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
	if got["url"].Holds != "path" || got["name"].Holds != "" {
		t.Errorf("url is %+v, name %+v", got["url"], got["name"])
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

// A plugin's field is checked as a parameter of the core is, with the same errors,
// and the handler gets the one spelling.
func TestFieldsHoldKinds(t *testing.T) {
	own := []*pluginv1.Field{
		{Name: "gateway", Kind: "string", Holds: "addr4", Default: "10.0.0.1"},
		{Name: "pin", Kind: "string", Holds: "label", Secret: true},
		{Name: "retries", Kind: "int", Min: 1, Max: 3, Default: "2"},
		{Name: "mode", Kind: "string", Values: []string{"on", "off"}},
	}
	sub, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{Subtype: "DiskStore", InventoryClass: "org.Disk"}, own)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := sub.Field("gateway"); f.Holds != "addr4" {
		t.Errorf("the doctor does not know what gateway holds: %+v", f)
	}
	if f, _ := sub.Field("retries"); f.Range == nil || *f.Range != [2]int64{1, 3} {
		t.Errorf("retries is declared as %+v", f)
	}
	var got map[string]any
	r := action.NewRegistry(hclog.NewNullLogger())
	r.Wire(action.Ports{Lookup: action.NewLookup(nil, resource.NewRegistry())})
	err = r.RegisterDynamic(action.Action{Message: "APIAddDiskMsg", Method: "POST", Path: "/disks", Access: action.Admin, Params: AddParams(nil, nil, own)},
		func(_ context.Context, _ *action.Call, p map[string]any) (action.Ref, error) {
			got = p
			return action.Ref{}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	do := func(name string, v any) error {
		got = nil
		_, err := r.Do(t.Context(), action.Caller{AccountUUID: "a", Admin: true}, "APIAddDiskMsg", map[string]any{name: v})
		return err
	}
	if err := do("pin", " 7411 "); err != nil || got["pin"] != "7411" || got["gateway"] != "10.0.0.1" {
		t.Errorf("%v, %v", got, err)
	}
	for name, wrong := range map[string][2]any{
		"gateway": {"127.0.0.1", `"127.0.0.1" is not the IPv4 address of a machine in a network, but a loopback address (RFC 1122`},
		"pin":     {"s3 cret", "it is not a host name without a domain (RFC 1123"},
		"retries": {4, "4 is not between 1 and 3"},
		"mode":    {"half", `"half" is none of`},
	} {
		err := do(name, wrong[0])
		if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), fmt.Sprint(wrong[1])) || strings.Contains(err.Error(), "s3 cret") || got != nil {
			t.Errorf("%s %v: %v", name, wrong[0], err)
		}
	}
	for _, f := range []*pluginv1.Field{{Name: "a", Holds: "colour"}, {Name: "a", Kind: "int", Holds: "addr"}} {
		if _, err := Subtype(base.Type, "Disk", &pluginv1.AddMessage{Subtype: "X"}, []*pluginv1.Field{f}); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}
