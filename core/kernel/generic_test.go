package kernel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A door is open or closed; a plugin has doors that are locked by a code.
type door struct {
	resource.Base
	State string        `db:"state"`
	Type  string        `db:"type" kumo:"size=32"`
	Width int64         `db:"width"`
	Gone  resource.Time `db:"goneDate" kumo:"null"`
	Kept  bool          `db:"kept"`
}

var doorType = resource.Define[door](resource.Type{Name: "Door", Path: "/doors", Readable: resource.Global, Discriminator: "type",
	States: &resource.StateMachine{Column: "state", Moves: map[string]map[string]string{
		"enable": {"Disabled": "Enabled"}, "disable": {"Enabled": "Disabled"}, "burn": {"Enabled": "Burnt"}}}})

var codeFields = []*pluginv1.Field{{Name: "code", Kind: "string", Secret: true, MaxLength: 16, Required: true}, {Name: "bolts", Kind: "int", Default: "2"}}

type newDoor struct {
	kernel.Named
	Type  string `api:"type,default=plain"`
	Width int64  `api:"width"`
}

// doors is a service of doors, which writes down what it is told.
type doors struct {
	*kerneltest.Cloud
	told []string
}

func newDoors(t *testing.T) *doors {
	locked, err := kernel.Subtype(doorType.Type, "locked", &pluginv1.AddMessage{Subtype: "LockedDoor", InventoryClass: "org.LockedDoor"}, codeFields)
	if err != nil {
		t.Fatal(err)
	}
	d := &doors{Cloud: kerneltest.New(t, kerneltest.Options{Types: []*resource.Type{doorType.Type, locked}})}
	note := func(what string, args ...any) {
		d.told = append(d.told, strings.TrimSpace(fmt.Sprintln(append([]any{what}, args...)...)))
	}
	d.Register(func() error {
		kernel.RegisterCreate(d.Kernel, kernel.Creation[door, newDoor]{Type: doorType, Access: action.Normal, Doc: "Makes a door.",
			Row: func(_ *action.Call, p *newDoor) (*door, error) {
				return &door{State: "Disabled", Type: p.Type, Width: p.Width}, nil
			}})
		err := d.RegisterState(doorType.Type, action.Admin, func(_ context.Context, uuid, state string) error { note("state", state); return nil })
		if err != nil {
			return err
		}
		err = d.RegisterUpdateThen(doorType.Type, action.Admin,
			func(_ context.Context, _ *store.Tx, _ string, values map[string]any) error {
				if values["width"] == int64(13) {
					return errs.New(errs.Refused, "width", "13 is taken")
				}
				return nil
			},
			func(_ context.Context, _ string, values map[string]any) error {
				note("updated", len(values))
				return nil
			},
			action.Param{Name: "width", Type: "long?"})
		if err != nil {
			return err
		}
		err = d.RegisterPluginUpdate(kernel.PluginUpdate{Base: doorType.Type, Value: "locked", Fields: codeFields,
			Add: &pluginv1.AddMessage{Path: "/doors/locked", UpdateMessage: "APIUpdateLockedDoorMsg", Subtype: "LockedDoor"},
			Before: func(_ context.Context, _ string, own map[string]any) error {
				if own["bolts"] == int64(0) {
					return errs.New(errs.Invalid, "bolts", "a locked door has one")
				}
				return nil
			},
			After: func(_ context.Context, _ string, own map[string]any) error { note("locked anew", len(own)); return nil }})
		if err != nil {
			return err
		}
		return d.RegisterDelete(doorType.Type, action.Admin, func(ctx context.Context, uuid string) error {
			if row, err := store.Get(ctx, d.Store, doorType, uuid); err == nil && row.State == "Enabled" {
				return errs.New(errs.Refused, "door "+row.Name, "is in use")
			}
			return nil
		})
	})
	return d
}

func (d *doors) make(p kerneltest.P) string {
	p["name"] = "front"
	return d.Create("APICreateDoorMsg", p)
}

func TestRegisterState(t *testing.T) {
	d := newDoors(t)
	uuid := d.make(kerneltest.P{})
	change := func(ev string) kerneltest.P { return kerneltest.P{"uuid": uuid, "stateEvent": ev} }
	if got := d.Do("APIChangeDoorStateMsg", change("enable")).Text("state"); got != "Enabled" {
		t.Errorf("the state is %q", got)
	}
	d.Refused(errs.Refused, "APIChangeDoorStateMsg", change("enable"), "cannot enable", "Enabled")
	d.Refused(errs.Invalid, "APIChangeDoorStateMsg", change("burn"), "stateEvent") // the machine's, not a caller's
	d.As(d.Account()).Refused(errs.Denied, "APIChangeDoorStateMsg", change("disable"))
	if got := d.Get("Door", uuid).Text("state"); got != "Enabled" {
		t.Errorf("refused changes left the state %q", got)
	}
	if want := []string{"state Enabled"}; !slices.Equal(d.told, want) {
		t.Errorf("the service was told %v, want %v", d.told, want)
	}
	if _, err := d.ChangeState(d.Context(), doorType.Type, resource.NewUUID(), "enable"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("a door that is not there: %v", err)
	}
	if next, err := d.ChangeState(d.Context(), doorType.Type, uuid, "burn"); next != "Burnt" || err != nil {
		t.Errorf("the platform's own event: %q, %v", next, err)
	}
}

func TestRegisterUpdate(t *testing.T) {
	d := newDoors(t)
	uuid := d.make(kerneltest.P{"width": 90, "description": "oak"})
	row := d.Do("APIUpdateDoorMsg", kerneltest.P{"uuid": uuid, "width": 100})
	if row.Int("width") != 100 || row.Text("name") != "front" || row.Text("description") != "oak" {
		t.Errorf("the door is %v", row)
	}
	// An empty name is none; an empty description is one.
	row = d.Do("APIUpdateDoorMsg", kerneltest.P{"uuid": uuid, "name": "", "description": ""})
	if row.Text("name") != "front" || row.Text("description") != "" {
		t.Errorf("the door is %v", row)
	}
	d.Do("APIUpdateDoorMsg", kerneltest.P{"uuid": uuid})
	d.Refused(errs.Refused, "APIUpdateDoorMsg", kerneltest.P{"uuid": uuid, "width": 13, "name": "no"}, "13 is taken")
	if row := d.Get("Door", uuid); row.Int("width") != 100 || row.Text("name") != "front" {
		t.Errorf("a refused update left %v", row)
	}
	if want := []string{"updated 1", "updated 1", "updated 0"}; !slices.Equal(d.told, want) {
		t.Errorf("the service was told %v, want %v", d.told, want)
	}
}

func TestRegisterPluginUpdate(t *testing.T) {
	d := newDoors(t)
	plain, locked := d.make(kerneltest.P{}), d.make(kerneltest.P{"type": "locked"})
	sub := d.SubtypeOf(doorType.Type, "locked")
	if sub == nil || d.SubtypeOf(doorType.Type, "plain") != nil {
		t.Fatal("the subtype of locked doors is not found, or plain ones have one")
	}
	err := d.Store.Update(d.Context(), func(tx *store.Tx) error {
		return store.InsertValues(d.Context(), tx, sub, kernel.SubtypeRow(sub, locked, map[string]any{"code": "1234", "bolts": int64(2)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	const message = "APIUpdateLockedDoorMsg"
	if row := d.Do(message, kerneltest.P{"uuid": locked, "bolts": 3, "name": "back"}); row.Text("name") != "back" {
		t.Errorf("the door is %v", row)
	}
	told := func(uuid string) map[string]string {
		t.Helper()
		fields, err := d.PluginFieldsOf(d.Context(), d.Store, doorType.Type, "locked", uuid)
		if err != nil {
			t.Fatal(err)
		}
		return fields
	}
	if got := told(locked); got["code"] != "1234" || got["bolts"] != "3" {
		t.Errorf("the plugin is told %v: what was not given is to stay", got)
	}
	if got := told(plain); len(got) != 0 {
		t.Errorf("of a door without a row of its own the plugin is told %v", got)
	}
	if got, err := d.PluginFieldsOf(d.Context(), d.Store, doorType.Type, "plain", plain); len(got) != 0 || err != nil {
		t.Errorf("of a plain door: %v, %v", got, err)
	}
	d.Refused(errs.Refused, message, kerneltest.P{"uuid": plain, "bolts": 3}, "is of type plain, not locked", "its own type")
	d.Refused(errs.Invalid, message, kerneltest.P{"uuid": locked, "bolts": 0, "name": "no"}, "a locked door has one")
	if got := told(locked); got["bolts"] != "3" || d.Get("Door", locked).Text("name") != "back" {
		t.Errorf("a refused update left %v", got)
	}
	if want := []string{"locked anew 1"}; !slices.Equal(d.told, want) {
		t.Errorf("the plugin was told %v, want %v", d.told, want)
	}
}

func TestRegisterDelete(t *testing.T) {
	d := newDoors(t)
	uuid := d.make(kerneltest.P{})
	d.Do("APIChangeDoorStateMsg", kerneltest.P{"uuid": uuid, "stateEvent": "enable"})
	d.Refused(errs.Refused, "APIDeleteDoorMsg", kerneltest.P{"uuid": uuid}, "door front", "is in use")
	d.Do("APIDeleteDoorMsg", kerneltest.P{"uuid": uuid, "deleteMode": "Enforcing"})
	if got := d.List("Door"); len(got) != 0 {
		t.Errorf("doors are left: %v", got)
	}
	d.Do("APIDeleteDoorMsg", kerneltest.P{"uuid": uuid}) // it is gone already
}

// Rows end by themselves when their time has come, unless their policy keeps them.
func TestTrash(t *testing.T) {
	d := newDoors(t)
	for _, s := range []config.Setting{{Name: "expungeInterval", Type: "int", Default: "1", Min: 1, Max: 100}, {Name: "expungePeriod", Type: "int", Default: "3600", Max: 1e6},
		{Name: "deletionPolicy", Type: "string", Default: "Delay", Values: []string{"Delay", "Never"}, Resources: []string{"Door"}}} {
		s.Category, s.Doc = "door", "For doors."
		if err := d.Config.Define(s); err != nil {
			t.Fatal(err)
		}
	}
	type expunge struct {
		UUID string `api:"uuid,required"`
	}
	action.Register(d.Actions, action.Action{Message: "ExpungeDoorMsg", Access: action.Internal, Async: true, Queue: "uuid", Doc: "Ends a door."},
		func(ctx context.Context, _ *action.Call, p *expunge) (action.Empty, error) {
			return action.Empty{}, d.Store.Update(ctx, func(tx *store.Tx) error { return store.Delete(ctx, tx, doorType.Type, p.UUID) })
		})
	old, young, kept := d.make(kerneltest.P{"width": 1}), d.make(kerneltest.P{"width": 2}), d.make(kerneltest.P{"width": 3})
	stays := d.make(kerneltest.P{"width": 4})
	gone := func(uuid, when string) {
		t.Helper()
		err := d.Store.Update(d.Context(), func(tx *store.Tx) error {
			row, err := store.Get(d.Context(), tx, doorType, uuid)
			if err != nil {
				return err
			}
			row.Gone = resource.Now()
			if when == "long ago" {
				row.Gone.Time = row.Gone.AddDate(0, 0, -1)
			}
			return store.Set(d.Context(), tx, doorType.Type, uuid, map[string]any{"goneDate": row.Gone, "kept": uuid == kept})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	gone(old, "long ago")
	gone(young, "now")
	gone(kept, "long ago")
	go d.EmptyTrash(d.Context(), kernel.Trash{Type: doorType.Type, Category: "door", Deleted: "`goneDate` IS NOT NULL AND `kept` = ?", Args: []any{false},
		Since: "goneDate", Expunge: "ExpungeDoorMsg", Param: "uuid"})
	d.Until("the old door is gone", func() bool { return len(d.List("Door", "width=1")) == 0 })
	for _, uuid := range []string{young, kept, stays} {
		if got := d.List("Door", "uuid="+uuid); len(got) != 1 {
			t.Errorf("door %s went with the old one", uuid)
		}
	}
}

func TestGiven(t *testing.T) {
	p := map[string]any{"name": "", "description": "", "size": int64(0), "none": nil, "other": 1}
	got := kernel.Given(p, "name", "description", "size", "none", "absent")
	if len(got) != 2 || got["description"] != "" || got["size"] != int64(0) {
		t.Errorf("given are %v", got)
	}
}

// What a plugin asks before the core has its answers is to be asked again.
func TestPluginHandler(t *testing.T) {
	var h kernel.PluginHandler
	h.Progress("p", "op", 50, "half")
	if _, err := h.Setting(t.Context(), "vm", "x", ""); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("a setting while the core starts: %v", err)
	}
	emit := func([]byte) error { return nil }
	if err := h.HostCall(t.Context(), "h", "Info", nil, emit); errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("a call to a host while the core starts: %v", err)
	}
	h.OnHost = func(_ context.Context, host, method string, payload []byte, emit func([]byte) error) error {
		return emit([]byte(host + method + string(payload)))
	}
	var said string
	err := h.HostCall(t.Context(), "h", "Info", []byte("!"), func(b []byte) error { said = string(b); return nil })
	if said != "hInfo!" || err != nil {
		t.Errorf("the host says %q, %v", said, err)
	}
	d := newDoors(t)
	if v, err := d.Handler.Setting(d.Context(), "flow", "undo.interval", ""); v != "30" || err != nil {
		t.Errorf("the setting is %q, %v", v, err)
	}
}
