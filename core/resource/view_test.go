package resource

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// house is a schema with every way in which a field can name a type.
func house(t *testing.T) *Registry {
	r := declare(t,
		Type{Name: "Zone", Readable: Global},
		Type{Name: "Shop", Owned: true, Discriminator: "kind", Fields: []Field{{Name: "kind"}, {Name: "zoneUuid"}, {Name: "lastZoneUuid", Null: true},
			{Name: "ownerUuid"}, {Name: "thing"}, {Name: "thingType"}, {Name: "secretZoneUuid", Kind: Text, Secret: true}},
			Edges:  []Edge{{Name: "zone", To: "Zone", Column: "zoneUuid"}, {Name: "owner", To: "Person", Column: "ownerUuid"}, {Name: "self", To: "Till", Column: "uuid", ToColumn: "shopUuid"}},
			Embeds: []Embed{{Name: "tills", Type: "Till", Column: "shopUuid"}}, Borrows: []Borrow{{Name: "size", Type: "Till", Column: "shopUuid", Field: "size"}},
			View: View{Label: "kind", Context: []string{"zone.name", "tills.size", "name"}, Columns: []string{"name", "-kind=Kind|种类", "tills.size", "size%size"},
				Sections: []Section{{Fields: []string{"zoneUuid"}}}, Search: []string{"name:ip"}}},
		Type{Name: "EShop", Parent: "Shop", DiscriminatorValue: "e", Fields: []Field{{Name: "url"}, {Name: "zoneUuids"}}},
		Type{Name: "Till", OwnedBy: "shop", Fields: []Field{{Name: "shopUuid"}, {Name: "size", Kind: Int}},
			Edges: []Edge{{Name: "shop", To: "Shop", Column: "shopUuid"}}},
		Type{Name: "Person", Readable: Admin, Fields: []Field{{Name: "name", Hidden: true}}})
	shop, _ := r.Get("Shop")
	if f, _ := shop.Field("thing"); f != nil {
		f.RefBy = "thingType"
	}
	return r
}

func get(t *testing.T, r *Registry, name string) *Type {
	t.Helper()
	typ, ok := r.Get(name)
	if !ok {
		t.Fatalf("no type %s", name)
	}
	return typ
}

// A field refers to what is declared, to what its edge points to, or to what its
// name ends in; a uuid of its own and a reference by another field to no type.
func TestRefOf(t *testing.T) {
	r := house(t)
	shop, eshop, till := get(t, r, "Shop"), get(t, r, "EShop"), get(t, r, "Till")
	for name, want := range map[string]string{"zoneUuid": "Zone", "lastZoneUuid": "Zone", "secretZoneUuid": "Zone", "ownerUuid": "Person", "uuid": "", "thing": "", "kind": "", "accountUuid": ""} {
		f, ok := shop.Field(name)
		if !ok || r.RefOf(shop, f) != want {
			t.Errorf("%s refers to %q, want %q", name, r.RefOf(shop, f), want)
		}
	}
	list, _ := eshop.Field("zoneUuids")
	if got := r.RefOf(eshop, list); got != "Zone" {
		t.Errorf("a list of uuids refers to %q", got)
	}
	own, _ := shop.Field("ownerUuid")
	if got := r.RefOf(eshop, own); got != "Person" {
		t.Errorf("seen from a subtype it refers to %q", got)
	}
	size, _ := till.Field("size")
	size.Ref = "Zone"
	if got := r.RefOf(till, size); got != "Zone" {
		t.Errorf("a declared reference is to %q", got)
	}
	for name, want := range map[string]string{"shopUuid": "Shop", "shopUuids": "Shop", "Uuid": "", "moonUuid": "", "shop": ""} {
		if got := r.Named(name); got != want {
			t.Errorf("%s names %q, want %q", name, got, want)
		}
	}
}

func TestLabelAndContext(t *testing.T) {
	r := house(t)
	for name, want := range map[string]string{"Zone": "name", "Shop": "kind", "EShop": "kind", "Till": "name", "Person": "uuid"} {
		if got := r.LabelOf(get(t, r, name)); got != want {
			t.Errorf("%s is named by %q, want %q", name, got, want)
		}
	}
	hidden := declare(t, Type{Name: "A", Fields: []Field{{Name: "uuid", Hidden: true, Size: 32}, {Name: "name", Hidden: true}, {Name: "a", Hidden: true}, {Name: "b"}}})
	if got := hidden.LabelOf(get(t, hidden, "A")); got != "description" {
		t.Errorf("without name and uuid it is named by %q", got)
	}
	// What lies across an edge is no member of the inventory, what is in a list is.
	if got := r.ContextOf(get(t, r, "EShop")); !reflect.DeepEqual(got, []string{"tills.size", "name"}) {
		t.Errorf("context %v", got)
	}
	if f, ok := r.FieldOf(get(t, r, "EShop"), "kind"); !ok || f.Name != "kind" {
		t.Error("a subtype has the fields of its parent")
	}
	if f, ok := r.FieldOf(get(t, r, "Shop"), "secretZoneUuid"); ok || f == nil {
		t.Error("a secret is a field, which nobody sees")
	}
	if _, ok := r.FieldOf(get(t, r, "Shop"), "url"); ok {
		t.Error("a parent has not the fields of its subtype")
	}
}

func TestViewsNameWhatIsThere(t *testing.T) {
	good := house(t)
	if err := good.Check(); err != nil && strings.Contains(err.Error(), "visible field") {
		t.Errorf("all of it is there: %v", err)
	}
	with := func(v View) Type {
		return Type{Name: "A", Readable: Global, Fields: []Field{{Name: "key", Kind: Text, Secret: true}, {Name: "bUuid", Null: true}}, View: v,
			Edges: []Edge{{Name: "b", To: "B", Column: "bUuid"}}}
	}
	for want, typ := range map[string]Type{
		"label: key is no visible field":         with(View{Label: "key"}),
		"label: b.key is no visible field":       with(View{Label: "b.key"}),
		"context: nowhere.name":                  with(View{Context: []string{"name", "nowhere.name"}}),
		"column: lost is no visible field":       with(View{Columns: []string{"-lost=Lost|丢失"}}),
		"column: total is no visible field":      with(View{Columns: []string{"name%total"}}),
		"section Size: weight":                   with(View{Sections: []Section{{Caption: Say("Size", ""), Fields: []string{"weight"}}}}),
		"search: ip is no visible field":         with(View{Search: []string{"ip:ip"}}),
		"enum: state is no visible field":        {Name: "A", Readable: Global, Enums: map[string]*Enum{"state": EnabledState}},
		"field x refers to C, which is not":      {Name: "A", Readable: Global, Fields: []Field{{Name: "x", Ref: "C"}}},
		"refby of field x: kind is no visible":   {Name: "A", Readable: Global, Fields: []Field{{Name: "x", RefBy: "kind"}}},
		"borrowed member x: y is no field of B":  {Name: "A", Readable: Global, Borrows: []Borrow{{Name: "x", Type: "B", Column: "uuid", Field: "y"}}},
		"embed x: y is no field of B":            {Name: "A", Readable: Global, Embeds: []Embed{{Name: "x", Type: "B", Column: "uuid", OrderBy: "-y"}}},
		"embed x: type C is not declared":        {Name: "A", Readable: Global, Embeds: []Embed{{Name: "x", Type: "C", Column: "uuid"}}},
		"alias y: B has no edge z":               {Name: "A", Readable: Global, Aliases: []Alias{{Name: "y", Path: "b.z"}}, Fields: []Field{{Name: "bUuid", Null: true}}, Edges: []Edge{{Name: "b", To: "B", Column: "bUuid"}}},
		"borrowed member name: another member":   {Name: "A", Readable: Global, Borrows: []Borrow{{Name: "name", Type: "B", Column: "uuid", Field: "name"}}},
		"embed xs: another member has this name": {Name: "A", Readable: Global, Embeds: []Embed{{Name: "xs", Type: "B", Column: "uuid"}, {Name: "xs", Type: "B", Column: "uuid"}}},
	} {
		err := declare(t, typ, Type{Name: "B", Readable: Global, Fields: []Field{{Name: "key", Hidden: true}}}).Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := declare(t, with(View{Label: "b.name", Columns: []string{"bUuid", "-b.name"}}), Type{Name: "B", Readable: Global}).Check(); err != nil {
		t.Errorf("fields across edges: %v", err)
	}
	if err := declare(t, with(View{Label: "b.name"}), Type{Name: "B", Readable: Global}, Type{Name: "Broken", Readable: Global, View: View{Label: "x"}}).Check(); err == nil ||
		strings.Contains(err.Error(), "type A") || !strings.Contains(err.Error(), "type Broken") {
		t.Errorf("the fault is said of another type: %v", err)
	}
}

func TestCaptions(t *testing.T) {
	for text, want := range map[string]Caption{"Zone|区域": {"Zone", "区域"}, "Zone": {"Zone", ""}, "": {}, "a|b|c": {"a", "b|c"}} {
		if got := ParseCaption(text); got != want || got.IsZero() != (want.En == "") {
			t.Errorf("%q: %+v", text, got)
		}
	}
	e := EnumOf("Size", "Small", "Large")
	if e.Name != "Size" || len(e.Values) != 2 || e.Values[1].Name != "Large" {
		t.Errorf("%+v", e)
	}
	m := &StateMachine{Moves: map[string]map[string]string{"a": {"X": "Y"}, "b": {"Y": "X", "Z": "W"}}}
	if got := m.States(); !reflect.DeepEqual(got, []string{"W", "X", "Y", "Z"}) {
		t.Errorf("states %v", got)
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{"none": None, "cascade": Cascade, "detach": Detach, "restrict": Restrict, "onDelete(9)": OnDelete(9),
		"global": Global, "owner": Owner, "admin": Admin, "string": String, "text": Text, "time": TimeKind, "kind(-1)": Kind(-1), "kind(7)": Kind(7)} {
		if got.String() != want {
			t.Errorf("%s is written %q", want, got)
		}
	}
	if readableUnset.String() != "admin" {
		t.Error("what nobody is said to read is open to more than the administrator")
	}
}
