package action

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/access"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// registryOf is a registry over a database with a zone for all to read, a secret of
// the administrator's, and a disk of each of alice and bob, bob's shared with alice.
func registryOf(t *testing.T) (*Registry, *resource.Registry) {
	t.Helper()
	types := []*resource.Type{access.SharedType.Type}
	for _, decl := range []resource.Type{{Name: "Zone", Readable: resource.Global}, {Name: "Secret", Readable: resource.Admin}, {Name: "Disk", Owned: true}} {
		d, err := resource.Declare(decl)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, d)
	}
	st := storetest.Open(t, types...)
	put := func(name string, row map[string]any) {
		typ, _ := st.Registry().Get(name)
		if err := st.Update(t.Context(), func(tx *store.Tx) error { return store.InsertValues(t.Context(), tx, typ, row) }); err != nil {
			t.Fatal(err)
		}
	}
	put("Zone", map[string]any{"uuid": "z"})
	put("Secret", map[string]any{"uuid": "s"})
	for _, who := range []string{"alice", "bob", "carol"} {
		put("Disk", map[string]any{"uuid": who + "'s", "accountUuid": who})
	}
	put("SharedResource", map[string]any{"uuid": "share", "resourceUuid": "bob's", "resourceType": "Disk", "receiverAccountUuid": "alice"})
	r := NewRegistry(hclog.NewNullLogger())
	r.Wire(Ports{Lookup: NewLookup(st, st.Registry())})
	return r, st.Registry()
}

// Who may do what with a resource is found out with the resource, for many at once
// and in their order; the words of a refusal say why.
func TestAuthorize(t *testing.T) {
	r, _ := registryOf(t)
	alice, admin := Caller{AccountUUID: "alice"}, Caller{AccountUUID: "root", Admin: true}
	for _, x := range []struct {
		who   Caller
		of    Target
		write bool
		class errs.Class // "" is allowed
		word  string
	}{
		{alice, Target{"Disk", "alice's"}, true, "", ""},
		{alice, Target{"Disk", "bob's"}, false, "", ""},
		{alice, Target{"Disk", "bob's"}, true, errs.Refused, "may use it but not change it"},
		{alice, Target{"Disk", "carol's"}, false, errs.Refused, "not shared with yours"},
		{alice, Target{"Disk", "nobody's"}, false, errs.NotFound, "does not exist"},
		{alice, Target{"Zone", "z"}, false, "", ""},
		{alice, Target{"Zone", "z"}, true, errs.Denied, "only the admin account"},
		{alice, Target{"Secret", "s"}, false, errs.Refused, "not shared"},
		{admin, Target{"Disk", "carol's"}, true, "", ""},
		{admin, Target{"Secret", "s"}, true, "", ""},
		{admin, Target{"Disk", "nobody's"}, true, errs.NotFound, "does not exist"},
		{alice, Target{"Cat", "c"}, false, errs.Internal, "not declared"},
	} {
		err := r.Authorize(t.Context(), x.who, x.of, x.write)
		if errs.ClassOf(err) != x.class || x.class != "" && !strings.Contains(err.Error(), x.word) {
			t.Errorf("%s, %v, write %t: %v", x.who.AccountUUID, x.of, x.write, err)
		}
	}
	var targets []Target
	for i := range 3*lookups + 1 { // several statements
		targets = append(targets, Target{"Disk", []string{"alice's", "bob's", "carol's", fmt.Sprint("gone", i)}[i%4]})
	}
	found, err := r.ports.Lookup.Lookup(t.Context(), alice, targets)
	if err != nil || len(found) != len(targets) {
		t.Fatalf("%d of %d, %v", len(found), len(targets), err)
	}
	want := []Found{{Exists: true, Readable: true, Writable: true}, {Exists: true, Readable: true}, {Exists: true}, {}}
	for i, f := range found {
		if f != want[i%4] {
			t.Errorf("%d: %v is %+v", i, targets[i], f)
		}
	}
}

// An action that names a type which nobody declared, or a resource without its type,
// is found when everything is registered.
func TestCheckTypes(t *testing.T) {
	none := func(context.Context, *Call, *struct{}) (Empty, error) { return Empty{}, nil }
	type typed struct {
		Disk string   `api:"diskUuid,resource=Disk"`
		Any  string   `api:"resourceUuid,anytype"`
		Many []string `api:"zoneUuids,resource=Zone"`
	}
	type untyped struct {
		Disk string `api:"diskUuid"`
	}
	type unknown struct {
		Cat string `api:"catUuid,resource=Cat"`
	}
	a := Action{Message: "APIDoMsg", Method: "PUT", Path: "/do", Access: Normal, Doc: "Does."}
	for _, x := range []struct {
		register func(r *Registry)
		word     string // of the error, "" for none
	}{
		{func(r *Registry) {
			Register(r, a, func(context.Context, *Call, *typed) (Empty, error) { return Empty{}, nil })
		}, ""},
		{func(r *Registry) {
			Register(r, a, func(context.Context, *Call, *untyped) (Empty, error) { return Empty{}, nil })
		}, "parameter diskUuid does not say of which type"},
		{func(r *Registry) {
			Register(r, a, func(context.Context, *Call, *unknown) (Empty, error) { return Empty{}, nil })
		}, "resource type Cat"},
		{func(r *Registry) { b := a; b.Returns = "Cat"; Register(r, b, none) }, "resource type Cat"},
		{func(r *Registry) {
			if err := r.RegisterQuery("Cat", "/cats", Normal, ""); err != nil {
				t.Error(err)
			}
		}, "resource type Cat"},
	} {
		r, types := registryOf(t)
		x.register(r)
		err := r.CheckTypes(types)
		if (err == nil) != (x.word == "") || err != nil && !strings.Contains(err.Error(), x.word) {
			t.Errorf("want %q: %v", x.word, err)
		}
	}
}
