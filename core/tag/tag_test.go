package tag

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type vm struct {
	resource.Base
	resource.Owned
	Kind string `db:"kind" kumo:"size=16"`
}
type zone struct{ resource.Base }

var (
	vmType   = resource.Define[vm](resource.Type{Name: "VmInstance", Discriminator: "kind"})
	zoneType = resource.Define[zone](resource.Type{Name: "Zone", Readable: resource.Global})
)

const (
	vm1   = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a01"
	zone1 = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a02"
)

type fixture struct {
	*Service
	st *store.Store
	r  *action.Registry
}

func setup(t *testing.T) *fixture {
	t.Helper()
	types := append(Types(), vmType.Type, zoneType.Type)
	st := storetest.Open(t, types...)
	s := New(st, st.Registry())
	for _, p := range []Pattern{
		{Resource: "VmInstance", Pattern: "hostname::{hostname}", Validate: func(tokens map[string]string) error {
			if strings.Contains(tokens["hostname"], " ") {
				return errs.New(errs.Invalid, "hostname", "it has a blank")
			}
			return nil
		}},
		{Resource: "VmInstance", Pattern: "staticIp::{l3}::{ip}"},
		{Resource: "VmInstance", Pattern: "made::{by}", Inherent: true},
		{Resource: "VmInstance", Pattern: "priority", AdminOnly: true},
		{Resource: "Zone", Pattern: "site::{site}"},
	} {
		if err := s.Define(p); err != nil {
			t.Fatal(err)
		}
	}
	r := action.NewRegistry(hclog.NewNullLogger())
	r.Wire(action.Ports{Lookup: action.NewLookup(st, st.Registry()), Tags: s})
	s.Register(r)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		v := &vm{}
		v.UUID, v.Name, v.AccountUUID = vm1, "v", "alice"
		z := &zone{}
		z.UUID, z.Name = zone1, "z"
		if err := store.Insert(t.Context(), tx, vmType, v); err != nil {
			return err
		}
		return store.Insert(t.Context(), tx, zoneType, z)
	})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{s, st, r}
}

func (f *fixture) update(t *testing.T, fn func(ctx context.Context, tx *store.Tx) error) error {
	t.Helper()
	return f.st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) })
}

func (f *fixture) of(t *testing.T, uuid string) []string {
	t.Helper()
	tags, err := f.Of(t.Context(), f.st, uuid)
	if err != nil {
		t.Fatal(err)
	}
	return tags
}

func TestMatchAndFormat(t *testing.T) {
	for _, c := range []struct {
		pattern, tag string
		want         map[string]string
	}{
		{"hostname::{h}", "hostname::web", map[string]string{"h": "web"}},
		{"hostname::{h}", "hostname::", nil},
		{"hostname::{h}", "hostnames::web", nil},
		{"hostname::{h}", "hostname", nil},
		{"staticIp::{l3}::{ip}", "staticIp::n::fd00::1", map[string]string{"l3": "n", "ip": "fd00::1"}},
		{"staticIp::{l3}::{ip}", "staticIp::n", nil},
		{"flag", "flag", map[string]string{}},
		{"flag", "flag::x", nil},
		{"a::{b}::c", "a::1::c", map[string]string{"b": "1"}},
		{"a::{b}::c", "a::1::d", nil},
		{"bad::{", "bad::{", nil},
	} {
		got, ok := Match(c.pattern, c.tag)
		if ok != (c.want != nil) || (ok && !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%s with %s: %v %v, want %v", c.tag, c.pattern, got, ok, c.want)
		}
		if c.want != nil {
			if text, err := Format(c.pattern, c.want); err != nil || text != c.tag {
				t.Errorf("Format(%s): %q %v", c.pattern, text, err)
			}
		}
	}
	if _, err := Format("a::{b}::{c}", map[string]string{"b": "x::y", "c": "z"}); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a token with the separator: %v", err)
	}
	s := New(nil, resource.NewRegistry())
	for _, p := range []string{"", "a::", "{a}::{a}", "a{b}"} {
		if err := s.Define(Pattern{Resource: "X", Pattern: p}); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("pattern %q: %v", p, err)
		}
	}
}

func TestCheckCreate(t *testing.T) {
	f := setup(t)
	bob := action.WithCall(t.Context(), &action.Call{Caller: action.Caller{AccountUUID: "bob"}})
	for _, c := range []struct {
		typ, tag string
		want     errs.Class
	}{
		{"VmInstance", "hostname::web", ""},
		{"VmInstance", "hostname::a b", errs.Invalid},
		{"VmInstance", "unknown::x", errs.Invalid},
		{"VmInstance", "made::me", errs.Invalid},
		{"VmInstance", "priority", errs.Denied},
		{"VmInstance", "site::x", errs.Invalid},
		{"Zone", "site::x", ""},
	} {
		if err := f.CheckCreate(bob, c.typ, []string{c.tag}, nil); errs.ClassOf(err) != c.want {
			t.Errorf("%s on %s: %v, want %q", c.tag, c.typ, err, c.want)
		}
	}
	if err := f.CheckCreate(bob, "Zone", nil, []string{""}); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("empty user tag: %v", err)
	}
	err := f.CheckCreate(bob, "VmInstance", []string{"hostname::s3cret word"}, nil)
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error tells the tag's value: %v", err)
	}
}

func TestStoredTags(t *testing.T) {
	f := setup(t)
	err := f.update(t, func(ctx context.Context, tx *store.Tx) error {
		c := &action.Call{SystemTags: []string{"hostname::web", "validationOnly"}, UserTags: []string{"blue"}}
		if err := f.CreateFor(ctx, tx, "VmInstance", vm1, c); err != nil {
			return err
		}
		if err := f.Create(ctx, tx, "VmInstance", vm1, []string{"hostname::web"}, false); err != nil {
			return err
		}
		return f.CreateInherent(ctx, tx, "VmInstance", vm1, "made::{by}", map[string]string{"by": "us"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.of(t, vm1); !reflect.DeepEqual(got, []string{"hostname::web", "made::us"}) {
		if !reflect.DeepEqual(got, []string{"made::us", "hostname::web"}) { // same millisecond
			t.Fatalf("tags %q", got)
		}
	}
	tokens, err := f.Tokens(t.Context(), f.st, vm1, "made::{by}")
	if err != nil || len(tokens) != 1 || tokens[0]["by"] != "us" {
		t.Fatalf("%v %v", tokens, err)
	}
	rows, err := store.Find(t.Context(), f.st, SystemTagType, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.AccountUUID != "alice" || r.ResourceType != "VmInstanceVO" || r.Type != "System" || r.Inherent != (r.Tag == "made::us") {
			t.Errorf("%+v", r)
		}
	}
	also := 0
	f.Also(func(context.Context, *store.Tx, string) error { also++; return nil })
	for range 2 { // the second finds nothing
		err = f.update(t, func(ctx context.Context, tx *store.Tx) error {
			if err := f.DeletePattern(ctx, tx, vm1, "made::{by}"); err != nil {
				return err
			}
			return f.DeleteFor(ctx, tx, vm1)
		})
		if err != nil || len(f.of(t, vm1)) != 0 {
			t.Fatalf("%v %v", err, f.of(t, vm1))
		}
	}
	if also != 2 {
		t.Errorf("Also was called %d times", also)
	}
}

func TestAPI(t *testing.T) {
	f := setup(t)
	admin, alice, bob := action.Caller{AccountUUID: "root", Admin: true}, action.Caller{AccountUUID: "alice"}, action.Caller{AccountUUID: "bob"}
	do := func(c action.Caller, msg string, kv ...string) (action.Ref, error) {
		t.Helper()
		p := map[string]any{}
		for i := 0; i+1 < len(kv); i += 2 {
			p[kv[i]] = kv[i+1]
		}
		res, err := f.r.Do(t.Context(), c, msg, p)
		ref, _ := res.(action.Ref)
		return ref, err
	}
	ref, err := do(alice, "APICreateSystemTagMsg", "resourceType", "VmInstanceVO", "resourceUuid", vm1, "tag", "hostname::a")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err  error
		want errs.Class
	}{
		"another's":     {second(do(bob, "APICreateSystemTagMsg", "resourceType", "VmInstanceVO", "resourceUuid", vm1, "tag", "hostname::a")), errs.Refused},
		"zone by user":  {second(do(bob, "APICreateUserTagMsg", "resourceType", "ZoneVO", "resourceUuid", zone1, "tag", "x")), errs.Denied},
		"no type":       {second(do(admin, "APICreateUserTagMsg", "resourceType", "MoonVO", "resourceUuid", zone1, "tag", "x")), errs.Invalid},
		"no resource":   {second(do(admin, "APICreateUserTagMsg", "resourceType", "ZoneVO", "resourceUuid", vm1, "tag", "x")), errs.NotFound},
		"other pattern": {second(do(alice, "APIUpdateSystemTagMsg", "uuid", ref.UUID, "tag", "staticIp::l::1")), errs.Invalid},
		"same pattern":  {second(do(alice, "APIUpdateSystemTagMsg", "uuid", ref.UUID, "tag", "hostname::b")), ""},
		"delete bob":    {second(do(bob, "APIDeleteTagMsg", "uuid", ref.UUID)), errs.Refused},
		"delete gone":   {second(do(bob, "APIDeleteTagMsg", "uuid", vm1)), ""},
	} {
		if errs.ClassOf(c.err) != c.want {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
	}
	if got := f.of(t, vm1); !reflect.DeepEqual(got, []string{"hostname::b"}) {
		t.Errorf("tags %q", got)
	}
	if _, err := do(alice, "APIDeleteTagMsg", "uuid", ref.UUID); err != nil || len(f.of(t, vm1)) != 0 {
		t.Errorf("delete: %v", err)
	}
	a, err := do(admin, "APICreateUserTagMsg", "resourceType", "ZoneVO", "resourceUuid", zone1, "tag", "x")
	if err != nil {
		t.Fatal(err)
	}
	b, err := do(admin, "APICreateUserTagMsg", "resourceType", "ZoneVO", "resourceUuid", zone1, "tag", "x")
	if err != nil || a != b {
		t.Errorf("a repeated tag: %v %v %v", a, b, err)
	}
	err = f.update(t, func(ctx context.Context, tx *store.Tx) error {
		return f.CreateInherent(ctx, tx, "VmInstance", vm1, "made::{by}", map[string]string{"by": "us"})
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := store.Find(t.Context(), f.st, SystemTagType, "")
	if _, err := do(admin, "APIDeleteTagMsg", "uuid", rows[0].UUID); errs.ClassOf(err) != errs.Refused {
		t.Errorf("an inherent tag was deleted: %v", err)
	}
	many, err := f.r.Do(t.Context(), admin, "APICreateSystemTagsMsg", map[string]any{"resourceType": "VmInstanceVO", "resourceUuid": vm1, "tags": []string{"hostname::x", "priority"}})
	if refs, ok := many.(action.Refs); err != nil || !ok || len(refs) != 2 {
		t.Errorf("%v %v", many, err)
	}
	if _, err := json.Marshal(many); err != nil {
		t.Error(err)
	}
}

func second(_ action.Ref, err error) error { return err }

// TestSecretTag checks that clients never see a secret again, and the services
// do.
func TestSecretTag(t *testing.T) {
	f := setup(t)
	ctx := context.Background()
	if err := f.Define(Pattern{Resource: "VmInstance", Pattern: "consolePassword::{consolePassword}", Secret: "consolePassword"}); err != nil {
		t.Fatal(err)
	}
	insert := func(text string) {
		err := f.st.Update(ctx, func(tx *store.Tx) error {
			return f.Create(ctx, tx, "VmInstance", vm1, []string{text}, false)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	insert("consolePassword::s3cret")
	insert("consolePassword::s3cret") // it is there: nothing is added
	rows, err := store.Find(ctx, f.st, SystemTagType, "`resourceUuid` = ?", vm1)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Tag != "consolePassword::*****" {
		t.Fatalf("stored as %+v", rows)
	}
	if sealed, ok := SystemTagType.Field("sealed"); !ok || !sealed.Secret {
		t.Fatal("the sealed text is not a secret field")
	}
	tokens, err := f.Tokens(ctx, f.st, vm1, "consolePassword::{consolePassword}")
	if err != nil || len(tokens) != 1 || tokens[0]["consolePassword"] != "s3cret" {
		t.Fatalf("services read %v, %v", tokens, err)
	}
	texts, err := f.Of(ctx, f.st, vm1)
	if err != nil || len(texts) != 1 || texts[0] != "consolePassword::s3cret" {
		t.Fatalf("services read %v, %v", texts, err)
	}
}
