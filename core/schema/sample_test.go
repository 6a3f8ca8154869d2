package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// The sample: kites, which are flown over a meadow, and box kites, which a plugin
// brings. Their strings are a part of them.
type meadow struct {
	resource.Base
	resource.Owned
	State string `db:"state"`
	Acres int64  `db:"acreage" kumo:"" caption:"Acres|亩数"`
}

type kite struct {
	resource.Base
	resource.Owned
	Meadow  string `db:"meadowUuid" kumo:"size=32,null"`
	Shape   string `db:"shape" kumo:"size=32" caption:"Shape|形状"`
	Line    int64  `db:"lineSize" kumo:"" caption:"Line|线长"`
	Secret  string `db:"password" kumo:"text,null,secret"`
	Hidden  string `db:"ballast" kumo:"size=64,hidden"`
	Subject string `db:"resourceUuid" kumo:"size=32,null,refby=resourceType"`
	Of      string `db:"resourceType" kumo:"size=32,null"`
	State   string `db:"state"`
}

type cord struct {
	resource.Ident
	Kite string `db:"kiteUuid" kumo:"size=32"`
	Knot string `db:"knot" kumo:"size=32" caption:"Knot|绳结"`
}

var flying = &resource.StateMachine{Column: "state", Moves: map[string]map[string]string{"launch": {"Stopped": "Running"}, "land": {"Running": "Stopped"}}}

func types(t *testing.T) *resource.Registry {
	t.Helper()
	r := resource.NewRegistry()
	box, err := resource.Declare(resource.Type{Name: "BoxKite", Parent: "Kite", DiscriminatorValue: "box",
		Fields: []resource.Field{{Name: "boxes", Kind: resource.Int, Null: true, Caption: resource.Say("Boxes", "盒数")}}, View: resource.View{Caption: resource.Say("Box kite", "盒形风筝")}})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Add(
		resource.Define[meadow](resource.Type{Name: "Meadow", Path: "/meadows", Owned: true, States: resource.EnableDisable,
			Enums: map[string]*resource.Enum{"state": resource.EnabledState},
			View: resource.View{Caption: resource.Say("Meadow", "草地"), Group: "network", Order: 7, Icon: "grass", Columns: []string{"name", "-acreage=Size|面积"},
				Sections: []resource.Section{{Caption: resource.Say("Land", "土地"), Fields: []string{"acreage"}}}, Search: []string{"name", "acreage:count"}}}).Type,
		resource.Define[kite](resource.Type{Name: "Kite", Path: "/kites", Owned: true, States: flying, Discriminator: "shape",
			Edges:  []resource.Edge{{Name: "meadow", To: "Meadow", Column: "meadowUuid", OnDelete: resource.Detach, Inverse: "kites"}},
			Embeds: []resource.Embed{{Name: "cords", Type: "Cord", Column: "kiteUuid"}, {Name: "knots", Type: "Cord", Column: "kiteUuid", Scalar: "knot"}},
			View:   resource.View{Caption: resource.Say("Kite", "风筝"), Group: "compute", Aliases: []string{"flyer"}, Context: []string{"meadowUuid"}, Quotas: []string{"kite.num"}}}).Type,
		resource.Define[cord](resource.Type{Name: "Cord", Internal: true, OwnedBy: "kite",
			Edges: []resource.Edge{{Name: "kite", To: "Kite", Column: "kiteUuid", OnDelete: resource.Cascade}},
			View:  resource.View{Caption: resource.Say("Cord", "线"), Part: true}}).Type,
		box)
	if err == nil {
		err = r.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type kiteUUID struct {
	UUID string `api:"uuid,required,path,resource=Kite"`
}

type newKite struct {
	Name     string   `api:"name,required,max=255"`
	Meadow   string   `api:"meadowUuid,required,resource=Meadow,section=network" where:"state=Enabled"`
	Line     int64    `api:"lineSize,range=1:100,default=7"`
	Shape    string   `api:"shape,values=flat|box,advanced" candidates:"APIGetKiteShapesMsg of=$meadowUuid"`
	Boxes    int64    `api:"boxes,showif=shape:box" caption:"Boxes|盒数"`
	Tails    []tail   `api:"tails" caption:"Tails|尾巴"`
	Password string   `api:"password,secret"`
	Dates    []string `api:"names"`
}

type tail struct {
	Size   int64  `json:"size"`
	Meadow string `json:"meadowUuid" doc:"Where it lies."`
}

type editKite struct {
	UUID string  `api:"uuid,required,path,resource=Kite"`
	Name *string `api:"name"`
	Line *int64  `api:"lineSize"`
}

type tied struct {
	Kite   string `api:"kiteUuid,required,path,resource=Kite"`
	Meadow string `api:"meadowUuid,required,path,resource=Meadow"`
}

type meadowState struct {
	UUID  string `api:"uuid,required,path,resource=Meadow"`
	Event string `api:"stateEvent,required,values=enable|disable"`
}

func register[P any](r *action.Registry, a action.Action) {
	if a.Access == 0 {
		a.Access = action.Normal
	}
	a.Async = a.Method != "GET"
	action.Register(r, a, func(context.Context, *action.Call, *P) (action.Empty, error) { return action.Empty{}, nil })
}

func actions() *action.Registry {
	r := action.NewRegistry(hclog.NewNullLogger())
	register[newKite](r, action.Action{Message: "APICreateKiteMsg", Method: "POST", Path: "/kites", Create: true, Returns: "Kite", Doc: "Makes a kite."})
	register[newKite](r, action.Action{Message: "APIAddBoxKiteMsg", Method: "POST", Path: "/kites/box", Create: true, Returns: "Kite"})
	register[editKite](r, action.Action{Message: "APIUpdateKiteMsg", Method: "PUT", Path: "/kites/{uuid}/actions", Returns: "Kite"})
	register[kiteUUID](r, action.Action{Message: "APIDeleteKiteMsg", Method: "DELETE", Path: "/kites/{uuid}"})
	register[kiteUUID](r, action.Action{Message: "APIRecoverKiteMsg", Method: "PUT", Path: "/kites/{uuid}/actions", Returns: "Kite"})
	register[kiteUUID](r, action.Action{Message: "APIStartKiteMsg", Method: "PUT", Path: "/kites/{uuid}/actions", Returns: "Kite",
		View: action.View{When: []action.When{{Field: "state", In: []string{"Stopped"}}}}})
	register[kiteUUID](r, action.Action{Message: "APIStopKiteMsg", Method: "PUT", Path: "/kites/{uuid}/actions", Returns: "Kite",
		View: action.View{When: []action.When{{Field: "state", In: []string{"Running"}, Why: resource.Say("It lies", "已落地")}}, Order: 3, Group: "wind", Icon: "fan"}})
	tie := "/kites/{kiteUuid}/meadows/{meadowUuid}"
	register[tied](r, action.Action{Message: "APIAttachKiteToMeadowMsg", Method: "POST", Path: tie, Returns: "Kite"})
	register[tied](r, action.Action{Message: "APIDetachKiteFromMeadowMsg", Method: "DELETE", Path: tie, Returns: "Kite",
		Removes: action.Removes(func(context.Context, *action.Call, *tied) (action.Removal, error) { return action.Removal{}, nil })})
	register[meadowState](r, action.Action{Message: "APIChangeMeadowStateMsg", Method: "PUT", Path: "/meadows/{uuid}/actions", Returns: "Meadow", Access: action.Admin})
	register[struct{}](r, action.Action{Message: "APIGetKiteShapesMsg", Method: "GET", Path: "/kites/shapes", View: action.View{Caption: resource.Say("Shapes", "形状列表")}})
	return r
}

// build makes the sample's document.
func build(t *testing.T) (*Document, []string) {
	t.Helper()
	return Build(Input{Server: Server{Name: "S", Version: "1"}, Types: types(t), Actions: actions(),
		Settings: []Setting{{Category: "kite", Name: "wind", Caption: resource.Say("Wind", "风"), Kind: "string", Values: []string{"Never", "Direct"}, On: []string{"Kite"}},
			{Category: "air", Name: "ping.interval", Kind: "int", On: []string{}}},
		Tags:   []TagPattern{{Resource: "Kite", Pattern: "hostname::{hostname}"}, {Resource: "Kite", Pattern: "sail::{meadowUuid}::{mac}", CreateOnly: true, Secret: "mac"}},
		Brings: map[string]string{"BoxKite": "boxes", "APIAddBoxKiteMsg": "boxes"}})
}

// at reads a value of the document by a path of names and numbers, as JSON has it.
func at(t *testing.T, doc any, path string) string {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	for _, step := range strings.Split(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			v = named(x, step)
		default:
			t.Fatalf("%s: there is no %s", path, step)
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// named is a member of a list by its number or its name.
func named(list []any, step string) any {
	for i, m := range list {
		if fmt.Sprint(i) == step {
			return m
		}
		if o, ok := m.(map[string]any); ok && (o["name"] == step || o["field"] == step) {
			return m
		}
	}
	return nil
}

// expect compares values of the document by their paths.
func expect(t *testing.T, doc any, want map[string]string) {
	t.Helper()
	for path, w := range want {
		if got := at(t, doc, path); got != w {
			t.Errorf("%s is %s, want %s", path, got, w)
		}
	}
}

func caption(en, zh string) string { return fmt.Sprintf(`{"en":%q,"zh":%q}`, en, zh) }

func TestTypes(t *testing.T) {
	doc, _ := build(t)
	if got := slices.Sorted(maps(doc.Types)); !reflect.DeepEqual(got, []string{"BoxKite", "Cord", "Kite", "Meadow"}) {
		t.Fatalf("types %v", got)
	}
	expect(t, doc.Types, map[string]string{
		"Kite/noun": `"kite"`, "Kite/nounPlural": `"kites"`, "Kite/aliases": `["flyer"]`, "Kite/zql": `"kite"`, "Kite/path": `"/kites"`,
		"Kite/caption": caption("Kite", "风筝"), "Kite/captionPlural": caption("Kites", "风筝"), "Kite/subtypes": `["BoxKite"]`,
		"Kite/discriminator": `"shape"`, "BoxKite/parent": `"Kite"`, "BoxKite/discriminatorValue": `"box"`, "BoxKite/plugin": `"boxes"`, "Kite/plugin": `null`,
		"Kite/readable": `"owner"`, "Cord/ownedBy": `"kite"`, "Cord/part": `true`, "Kite/part": `false`, "Kite/label": `"name"`, "Kite/context": `["meadowUuid"]`,
		"Kite/quotas": `["kite.num"]`, "BoxKite/group": `"compute"`, "Meadow/order": `7`, "Meadow/icon": `"grass"`, "Meadow/group": `"network"`,
		"Meadow/search":   `[{"field":"name"},{"field":"acreage","shape":"count"}]`,
		"Kite/search":     `[{"field":"name"}]`,
		"Meadow/sections": `[{"caption":` + caption("Land", "土地") + `,"fields":["acreage"]}]`,
		"Meadow/columns":  `[{"field":"name"},{"caption":` + caption("Size", "面积") + `,"default":false,"field":"acreage"}]`,
		"Kite/columns":    `[{"field":"name"},{"field":"state"},{"field":"meadowUuid"},{"default":false,"field":"createDate"}]`,
		"Kite/create":     `["APIAddBoxKiteMsg","APICreateKiteMsg"]`, "Kite/update": `"APIUpdateKiteMsg"`, "Kite/delete": `"APIDeleteKiteMsg"`, "Kite/recover": `"APIRecoverKiteMsg"`,
	})
}

// maps are the keys of a map, for slices.Sorted.
func maps[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestFields(t *testing.T) {
	doc, _ := build(t)
	fields := map[string]any{"Kite": doc.Types["Kite"].Fields, "Meadow": doc.Types["Meadow"].Fields, "BoxKite": doc.Types["BoxKite"].Fields}
	expect(t, fields, map[string]string{
		"Kite/uuid/immutable": `true`, "Kite/uuid/format": `"uuid"`, "Kite/uuid/ops": `["=","!=","?=","!?="]`,
		"Kite/meadowUuid/ref": `"Meadow"`, "Kite/meadowUuid/format": `"uuid"`, "Kite/meadowUuid/caption": caption("Meadow", "草地"), "Kite/meadowUuid/null": `true`,
		"Kite/meadowUuid/required": `false`, "Kite/name/required": `true`, "Kite/name/caption": caption("Name", "名称"), "Kite/name/maxLength": `255`,
		"Kite/lineSize/kind": `"long"`, "Kite/lineSize/unit": `"bytes"`, "Kite/lineSize/caption": caption("Line", "线长"),
		"Kite/resourceUuid/refBy": `"resourceType"`, "Kite/resourceUuid/ref": `null`,
		"Kite/state/enum": `"Kite.state"`, "Meadow/state/enum": `"EnabledState"`, "Meadow/acreage/ref": `null`,
		"Kite/ballast": `null`, "Kite/password": `null`, "BoxKite/uuid": `null`, "BoxKite/boxes/kind": `"int"`, "BoxKite/boxes/caption": caption("Boxes", "盒数"),
		"Kite/createDate/kind": `"time"`, "Kite/createDate/sort": `true`,
	})
}

func TestEdgesAndLists(t *testing.T) {
	doc, _ := build(t)
	expect(t, doc.Types, map[string]string{
		"Kite/edges/meadow/to": `"Meadow"`, "Kite/edges/meadow/many": `false`, "Kite/edges/meadow/inverse": `"kites"`, "Kite/edges/meadow/onDelete": `"detach"`,
		"Meadow/edges/kites/to": `"Kite"`, "Meadow/edges/kites/many": `true`, "Meadow/edges/kites/inverse": `"meadow"`, "Meadow/edges/kites/column": `"uuid"`,
		"Meadow/edges/kites/toColumn": `"meadowUuid"`, "Meadow/edges/kites/caption": caption("Kites", "风筝"), "Cord/edges/kite/onDelete": `"cascade"`,
		"Kite/embeds/cords/type": `"Cord"`, "Kite/embeds/cords/scalar": `null`, "Kite/embeds/cords/caption": caption("Cords", "线"),
		"Kite/embeds/knots/scalar": `"knot"`, "Kite/embeds/knots/caption": caption("Knot", "绳结"),
		"Kite/states/0/field": `"state"`, "Kite/states/0/moves/launch": `{"Stopped":"Running"}`, "Meadow/states/0/enum": `"EnabledState"`,
	})
	expect(t, doc.Enums, map[string]string{
		"Kite.state/0/value": `"Running"`, "Kite.state/0/tone": `"success"`, "Kite.state/0/caption": caption("Running", "运行中"),
		"EnabledState/1/tone": `"stopped"`, "kite.wind/0/caption": caption("Keep", "永不删除"),
	})
}
