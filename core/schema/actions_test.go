package schema

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
)

func TestActions(t *testing.T) {
	doc, _ := build(t)
	expect(t, doc.Actions, map[string]string{
		"APICreateKiteMsg/type": `"Kite"`, "APICreateKiteMsg/scope": `"type"`, "APICreateKiteMsg/effect": `"create"`, "APICreateKiteMsg/verb": `"create"`,
		"APICreateKiteMsg/subject": `null`, "APICreateKiteMsg/doc": caption("Makes a kite.", "Makes a kite."), "APICreateKiteMsg/variant": `null`,
		"APIAddBoxKiteMsg/variant": `"box"`, "APIAddBoxKiteMsg/plugin": `"boxes"`, "APIAddBoxKiteMsg/verb": `"add"`, "APIAddBoxKiteMsg/doc": `null`,
		"APIUpdateKiteMsg/effect": `"update"`, "APIUpdateKiteMsg/subject": `"uuid"`, "APIUpdateKiteMsg/scope": `"one"`, "APIUpdateKiteMsg/bulk": `false`,
		"APIDeleteKiteMsg/effect": `"delete"`, "APIDeleteKiteMsg/danger": `"plan"`, "APIDeleteKiteMsg/plan": `true`, "APIDeleteKiteMsg/bulk": `true`,
		"APIDeleteKiteMsg/undo": `"APIRecoverKiteMsg"`, "APIDeleteKiteMsg/type": `"Kite"`, "APIDeleteKiteMsg/caption": caption("Delete", "删除"),
		"APIStopKiteMsg/danger": `"confirm"`, "APIStartKiteMsg/danger": `"none"`, "APIStopKiteMsg/undo": `"APIStartKiteMsg"`, "APIStartKiteMsg/bulk": `true`,
		"APIAttachKiteToMeadowMsg/undo": `"APIDetachKiteFromMeadowMsg"`, "APIDetachKiteFromMeadowMsg/undo": `"APIAttachKiteToMeadowMsg"`,
		"APIAttachKiteToMeadowMsg/effect": `"attach"`, "APIAttachKiteToMeadowMsg/subject": `"kiteUuid"`, "APIAttachKiteToMeadowMsg/bulk": `false`,
		"APIDetachKiteFromMeadowMsg/danger": `"plan"`, "APIChangeMeadowStateMsg/effect": `"state"`, "APIChangeMeadowStateMsg/bulk": `true`,
		"APIChangeMeadowStateMsg/access": `"admin"`, "APIGetKiteShapesMsg/effect": `"read"`, "APIGetKiteShapesMsg/async": `false`, "APIGetKiteShapesMsg/type": `"Kite"`,
	})
}

func TestWhenAndMenu(t *testing.T) {
	doc, _ := build(t)
	expect(t, doc.Actions, map[string]string{
		"APIStartKiteMsg/when":  `[{"field":"state","in":["Stopped"],"why":` + caption("Only while the state is Stopped", "仅当启用状态为已停止时可用") + `}]`,
		"APIStopKiteMsg/when":   `[{"field":"state","in":["Running"],"why":` + caption("It lies", "已落地") + `}]`,
		"APIUpdateKiteMsg/when": `[]`, "APIStartKiteMsg/group": `"power"`, "APIStartKiteMsg/order": `20`, "APIStartKiteMsg/icon": `"play"`,
		"APIStopKiteMsg/group": `"wind"`, "APIStopKiteMsg/order": `3`, "APIStopKiteMsg/icon": `"fan"`,
		"APIGetKiteShapesMsg/group": `null`, "APIGetKiteShapesMsg/icon": `null`, "APIChangeMeadowStateMsg/icon": `"edit"`,
	})
	order := func(message string) int { return doc.Actions[message].Order }
	if !slices.IsSorted([]int{order("APIStartKiteMsg"), order("APIUpdateKiteMsg"), order("APIAttachKiteToMeadowMsg"), order("APIDeleteKiteMsg"), order("APIGetKiteShapesMsg")}) {
		t.Error("a delete comes before what is asked for more often")
	}
}

func TestParams(t *testing.T) {
	doc, _ := build(t)
	expect(t, doc.Actions, map[string]string{
		"APICreateKiteMsg/params/name/required": `true`, "APICreateKiteMsg/params/name/in": `"body"`, "APICreateKiteMsg/params/name/maxLength": `255`,
		"APICreateKiteMsg/params/meadowUuid/ref": `"Meadow"`, "APICreateKiteMsg/params/meadowUuid/refWhere": `["state=Enabled"]`,
		"APICreateKiteMsg/params/meadowUuid/section": caption("Network", "网络"), "APICreateKiteMsg/params/meadowUuid/caption": caption("Meadow", "草地"),
		"APICreateKiteMsg/params/lineSize/default": `7`, "APICreateKiteMsg/params/lineSize/min": `1`, "APICreateKiteMsg/params/lineSize/max": `100`,
		"APICreateKiteMsg/params/lineSize/unit": `"bytes"`, "APICreateKiteMsg/params/lineSize/caption": caption("Line", "线长"),
		"APICreateKiteMsg/params/shape/advanced": `true`, "APICreateKiteMsg/params/shape/enum": `"Kite.shape"`,
		"APICreateKiteMsg/params/shape/candidates": `{"message":"APIGetKiteShapesMsg","params":{"of":"$meadowUuid"}}`,
		"APICreateKiteMsg/params/boxes/showIf":     `{"in":["box"],"param":"shape"}`, "APICreateKiteMsg/params/password/secret": `true`,
		"APICreateKiteMsg/params/tails/kind": `"list"`, "APICreateKiteMsg/params/tails/item/kind": `"object"`,
		"APICreateKiteMsg/params/tails/item/fields/size/unit": `"bytes"`, "APICreateKiteMsg/params/tails/item/fields/meadowUuid/ref": `"Meadow"`,
		"APICreateKiteMsg/params/tails/item/fields/meadowUuid/doc": caption("Where it lies.", "Where it lies."),
		"APICreateKiteMsg/params/names/item/kind":                  `"string"`,
		"APIUpdateKiteMsg/params/lineSize/from":                    `"lineSize"`, "APIUpdateKiteMsg/params/uuid/from": `null`, "APIUpdateKiteMsg/params/uuid/in": `"path"`,
		"APIUpdateKiteMsg/params/uuid/caption": caption("Kite", "风筝"), "APICreateKiteMsg/params/lineSize/from": `null`,
		"APIChangeMeadowStateMsg/params/stateEvent/enum": `"Meadow.stateEvent"`,
	})
}

func TestTagsAndSettings(t *testing.T) {
	doc, _ := build(t)
	expect(t, doc.Types, map[string]string{
		"Kite/tags/0/pattern": `"hostname::{hostname}"`, "Kite/tags/0/when": `"any"`, "Kite/tags/0/caption": caption("Host name", "主机名"),
		"Kite/tags/1/when": `"create"`, "Kite/tags/1/params/meadowUuid/ref": `"Meadow"`, "Kite/tags/1/params/mac/secret": `true`, "Kite/tags/1/params/mac/format": `"mac"`,
		"Meadow/tags": `[]`,
	})
	expect(t, doc, map[string]string{
		"settings/0/category": `"air"`, "settings/0/caption": caption("Time between checks", "检测间隔"), "settings/0/enum": `null`,
		"settings/1/enum": `"kite.wind"`, "settings/1/on": `["Kite"]`, "settings/1/caption": caption("Wind", "风"), "version": `1`, "plugins": `{}`,
	})
}

// What has no caption in both languages is named, and shown by its name.
func TestFallenCaptions(t *testing.T) {
	doc, fell := build(t)
	want := []string{"tag Kite sail::{meadowUuid}::{mac}"}
	var others []string
	for _, f := range fell {
		if !slices.Contains(want, f) && !strings.HasPrefix(f, "enum Kite.") {
			others = append(others, f)
		}
	}
	if len(others) > 0 {
		t.Errorf("fell back: %v", others)
	}
	if !slices.Contains(fell, want[0]) {
		t.Errorf("%q is not among %v", want[0], fell)
	}
	expect(t, doc.Types, map[string]string{"Kite/tags/1/caption": caption("Sail", "Sail")})
}

// The revision tells of every change, and of nothing else.
func TestRevision(t *testing.T) {
	revision := func(change func(*Document)) string {
		doc, _ := build(t)
		if change != nil {
			change(doc)
		}
		text, revision, err := doc.Encode()
		if err != nil || !strings.Contains(string(text), `"revision":"`+revision+`"`) {
			t.Fatalf("%v: the text has not the revision %s", err, revision)
		}
		return revision
	}
	first := revision(nil)
	if again := revision(nil); again != first {
		t.Errorf("the same document has the revisions %s and %s", first, again)
	}
	for what, change := range map[string]func(*Document){
		"a caption":  func(d *Document) { d.Types["Kite"].Caption.Zh = "鸢" },
		"an action":  func(d *Document) { delete(d.Actions, "APIStopKiteMsg") },
		"a version":  func(d *Document) { d.Server.Version = "2" },
		"a plugin":   func(d *Document) { d.Plugins["boxes"] = Plugin{State: "enabled"} },
		"a setting":  func(d *Document) { d.Settings[0].Default = "5" },
		"an ordinal": func(d *Document) { d.Actions["APIStopKiteMsg"].Order++ },
	} {
		if revision(change) == first {
			t.Errorf("%s changes nothing of the revision", what)
		}
	}
}

func TestEffects(t *testing.T) {
	for _, c := range []struct {
		message, method string
		create          bool
		want            string
	}{
		{"APICreateKiteMsg", "POST", true, "create"}, {"APIAddDnsMsg", "POST", false, "create"}, {"APIAddDnsMsg", "PUT", false, "update"},
		{"APIRemoveDnsMsg", "PUT", false, "update"}, {"APIRemoveDnsMsg", "DELETE", false, "delete"}, {"APIGetKiteMsg", "PUT", false, "read"},
		{"APICloneKiteMsg", "POST", true, "create"}, {"APICloneKiteMsg", "POST", false, "other"}, {"APIRebootKiteMsg", "PUT", false, "power"},
		{"APIListKitesMsg", "GET", false, "read"}, {"APIUnbindKiteMsg", "PUT", false, "detach"},
	} {
		if got := effectOf(&action.Action{Message: c.message, Method: c.method, Create: c.create}); got != c.want {
			t.Errorf("%s %s is %q, want %q", c.method, c.message, got, c.want)
		}
	}
}
