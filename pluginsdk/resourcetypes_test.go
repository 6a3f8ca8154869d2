package pluginsdk_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// kite is a declaration with nothing wrong.
func kite() *pluginv1.ResourceTypeDecl {
	caption := pluginsdk.Say("Kite", "风筝")
	return &pluginv1.ResourceTypeDecl{
		Name: "Kite", Path: "/kites", Caption: caption, Owned: true, Calls: true, Columns: []string{"name", "line"},
		Fields: []*pluginv1.Field{
			{Name: "line", Kind: "int", Min: 1, Max: 9, Default: "2", Caption: caption},
			{Name: "zoneUuid", Caption: caption},
			{Name: "height", Kind: "double", Fact: true, Caption: caption},
			{Name: "password", Secret: true, Caption: caption},
			{Name: "state", Caption: caption},
			{Name: "note", Hidden: true},
		},
		Edges: []*pluginv1.EdgeDecl{{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: "cascade"}},
		States: &pluginv1.StatesDecl{Column: "state", Creating: "Folded", Ready: "Flying", Change: &pluginv1.ResourceMessage{},
			Moves: []*pluginv1.StateMove{{Event: "land", From: "Flying", To: "Landed"}}},
		Create: &pluginv1.ResourceMessage{},
		Actions: []*pluginv1.ActionDecl{{Message: "APIPullKiteMsg", Caption: caption,
			Params: []*pluginv1.Field{{Name: "ways", Kind: "strings", Caption: caption}, {Name: "vmUuids", Kind: "strings", Ref: "VmInstance", Caption: caption}}}},
	}
}

// TestCheckResourceType breaks one rule at a time; the error names what is wrong.
func TestCheckResourceType(t *testing.T) {
	if err := pluginsdk.CheckResourceType(kite()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*pluginv1.ResourceTypeDecl){
		"its name":                                 func(d *pluginv1.ResourceTypeDecl) { d.Name = "kite" },
		`path "kites"`:                             func(d *pluginv1.ResourceTypeDecl) { d.Path = "kites" },
		"it has no caption":                        func(d *pluginv1.ResourceTypeDecl) { d.Caption = &pluginv1.Caption{En: "Kite"} },
		"owned by its zone as well":                func(d *pluginv1.ResourceTypeDecl) { d.OwnedBy = "zone" },
		"owned by meadow, which is no edge":        func(d *pluginv1.ResourceTypeDecl) { d.Owned, d.OwnedBy = false, "meadow" },
		"they have none":                           func(d *pluginv1.ResourceTypeDecl) { d.Owned, d.Readable = false, "owner" },
		`readable is "all"`:                        func(d *pluginv1.ResourceTypeDecl) { d.Readable = "all" },
		"column password":                          func(d *pluginv1.ResourceTypeDecl) { d.Columns = []string{"password"} },
		"field createDate":                         func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Name = "createDate" },
		"field Line: the name":                     func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Name = "Line" },
		"field zoneUuid is declared twice":         func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Name = "zoneUuid" },
		`field line: its kind is "number"`:         func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Kind = "number" },
		`field line: its kind is "strings"`:        func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Kind = "strings" },
		`field line: default "two"`:                func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Default = "two" },
		"field height: bounds":                     func(d *pluginv1.ResourceTypeDecl) { d.Fields[2].Max = 3 },
		"field height: values":                     func(d *pluginv1.ResourceTypeDecl) { d.Fields[2].Values = []string{"high"} },
		"field height: what the plugin fills in":   func(d *pluginv1.ResourceTypeDecl) { d.Fields[2].Required = true },
		"field height: the plugin fills it in, bu": func(d *pluginv1.ResourceTypeDecl) { d.Calls, d.Actions, d.States.Creating = false, nil, "" },
		"field password: a secret":                 func(d *pluginv1.ResourceTypeDecl) { d.Fields[3].Default = "x" },
		"field line has no caption":                func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Caption = nil },
		"field line holds key":                     func(d *pluginv1.ResourceTypeDecl) { d.Fields[0].Holds = "key" },
		"field zoneUuid: it does not say":          func(d *pluginv1.ResourceTypeDecl) { d.Edges = nil },
		`edge zone: its column "line"`:             func(d *pluginv1.ResourceTypeDecl) { d.Edges[0].Column = "line" },
		"edge zone: its column refers to Cluster":  func(d *pluginv1.ResourceTypeDecl) { d.Fields[1].Ref = "Cluster" },
		`edge zone: on_delete is "drop"`:           func(d *pluginv1.ResourceTypeDecl) { d.Edges[0].OnDelete = "drop" },
		"it cannot be detached":                    func(d *pluginv1.ResourceTypeDecl) { d.Edges[0].OnDelete, d.Fields[1].Required = "detach", true },
		"edge zone leads nowhere":                  func(d *pluginv1.ResourceTypeDecl) { d.Edges[0].To = "" },
		`states: the column "line"`:                func(d *pluginv1.ResourceTypeDecl) { d.States.Column = "line" },
		"creating needs ready":                     func(d *pluginv1.ResourceTypeDecl) { d.States.Ready = "" },
		"nothing is creating":                      func(d *pluginv1.ResourceTypeDecl) { d.Calls = false },
		"there is nothing to change to":            func(d *pluginv1.ResourceTypeDecl) { d.States.Moves = nil },
		"create message":                           func(d *pluginv1.ResourceTypeDecl) { d.Create.Message = "NewKite" },
		`create: access is "everybody"`:            func(d *pluginv1.ResourceTypeDecl) { d.Create.Access = "everybody" },
		"action PullKite is not named":             func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Message = "PullKite" },
		`APIPullKiteMsg: on is "few"`:              func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].On = "few" },
		`APIPullKiteMsg: method is "PATCH"`:        func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Method = "PATCH" },
		"APIPullKiteMsg: its path":                 func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Method = "POST" },
		"parameter uuid: the name":                 func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Params[0].Name = "uuid" },
		"parameter vmUuids: it does not say":       func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Params[1].Ref = "" },
		"what is asked for by GET returns something": func(d *pluginv1.ResourceTypeDecl) {
			d.Actions[0].Method, d.Actions[0].Path = "GET", "/ways"
		},
		"on many resources it returns those": func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].On, d.Actions[0].Returns = "many", "Zone" },
		"an index over one field":            func(d *pluginv1.ResourceTypeDecl) { d.Indexes = []*pluginv1.IndexDecl{{Columns: []string{"line"}}} },
		"password is no field that can be in": func(d *pluginv1.ResourceTypeDecl) {
			d.Indexes = []*pluginv1.IndexDecl{{Columns: []string{"line", "password"}}}
		},
		"embed line: it needs a name": func(d *pluginv1.ResourceTypeDecl) {
			d.Embeds = []*pluginv1.EmbedDecl{{Name: "line", Type: "Zone", Column: "uuid"}}
		},
		`it has words for "red"`:            func(d *pluginv1.ResourceTypeDecl) { d.Fields[4].Words = []*pluginv1.ValueWord{{Value: "red"}} },
		`its path "" is not`:                func(d *pluginv1.ResourceTypeDecl) { d.Path = "" },
		`query message "Kites"`:             func(d *pluginv1.ResourceTypeDecl) { d.QueryMessage = "Kites" },
		"parameter ways: fact":              func(d *pluginv1.ResourceTypeDecl) { d.Actions[0].Params[0].Fact = true },
		"tag line::{length} has no caption": func(d *pluginv1.ResourceTypeDecl) { d.Tags = []*pluginv1.TagDecl{{Pattern: "line::{length}"}} },
	} {
		d := kite()
		spoil(d)
		if err := pluginsdk.CheckResourceType(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A manifest's types need a provider when they call it, and only then.
func TestProviderIsThere(t *testing.T) {
	rows := kite()
	rows.Calls, rows.Actions, rows.States.Creating = false, nil, ""
	rows.Fields = rows.Fields[:2]
	rows.Fields = append(rows.Fields, kite().Fields[3:5]...)
	for want, types := range map[string][]*pluginv1.ResourceTypeDecl{"which is no resource provider": {kite()}, "": {rows}, "declared twice": {rows, rows}} {
		err := pluginsdk.CheckManifest(pluginsdk.Plugin{Manifest: &pluginv1.Manifest{Name: "p", Version: "1", ResourceTypes: types}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A value comes back as it was.
func TestValues(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, v := range []any{"text", int64(1) << 60, true, 2.5, now, []string{"a", "b"}} {
		value, err := pluginsdk.ValueOf(v)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := proto.Marshal(value)
		got := &pluginv1.Value{}
		if err == nil {
			err = proto.Unmarshal(sent, got)
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := pluginsdk.ValueOf(pluginsdk.Plain(got))
		if err != nil || !proto.Equal(value, again) {
			t.Errorf("%v came back as %v (%v)", v, pluginsdk.Plain(got), err)
		}
	}
	if _, err := pluginsdk.Values(map[string]any{"x": struct{}{}}); err == nil {
		t.Error("a struct is a value")
	}
	if pluginsdk.Plain(nil) != nil || pluginsdk.Plain(&pluginv1.Value{}) != nil {
		t.Error("no value is one")
	}
}
