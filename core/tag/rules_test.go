package tag

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// define adds patterns of guests.
func (f *fixture) define(t *testing.T, patterns ...Pattern) {
	t.Helper()
	for _, p := range patterns {
		if p.Resource == "" {
			p.Resource = "VmInstance"
		}
		if err := f.Define(p); err != nil {
			t.Fatal(err)
		}
	}
}

// create stores tags as a client's.
func (f *fixture) create(t *testing.T, tags ...string) error {
	t.Helper()
	return f.update(t, func(ctx context.Context, tx *store.Tx) error {
		return f.Create(ctx, tx, "VmInstance", vm1, tags, false)
	})
}

// A resource has one tag of a single pattern; the same one again is no second.
func TestSingle(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "limit::{n}", Single: true})
	for _, again := range []string{"limit::1", "limit::1", "staticIp::a::1", "staticIp::b::2"} {
		if err := f.create(t, again); err != nil {
			t.Fatal(err)
		}
	}
	err := f.create(t, "limit::2")
	if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "has one already: limit::1") {
		t.Errorf("a second: %v", err)
	}
	if err := f.update(t, func(ctx context.Context, tx *store.Tx) error { return f.DeletePattern(ctx, tx, vm1, "limit::{n}") }); err != nil {
		t.Fatal(err)
	}
	if err := f.create(t, "limit::3", "limit::4"); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("two at once: %v", err)
	}
	if got := f.of(t, vm1); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "limit") }) || len(got) != 2 {
		t.Errorf("after a refusal: %q", got)
	}
}

// Two of a single pattern are refused with the message that makes a resource, too,
// and by what a pattern has one for each of; what was stored before is found.
func TestSingleAtCreation(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "pass::{p}", Single: true, Secret: "p"}, Pattern{Pattern: "ip::{net}::{ip}", Single: true, Each: []string{"net"}},
		Pattern{Pattern: "set::{name}::{v}", Single: true, Each: []string{"name"}, Take: func(context.Context, *store.Tx, string, map[string]string) error { return nil }})
	for _, x := range []struct {
		tags []string
		want string // "" is accepted
	}{
		{[]string{"pass::a", "pass::a", "ip::x::1", "ip::y::1", "set::a::1", "set::b::1", "hostname::a", "hostname::b"}, ""},
		{[]string{"pass::a", "pass::b"}, "two are given, pass::*****"},
		{[]string{"ip::x::1", "ip::y::1", "ip::x::2"}, "two are given, ip::x::1 and another one: ip::x::2"},
		{[]string{"set::a::1", "set::a::2"}, "two are given"},
	} {
		err := f.CheckCreate(t.Context(), "VmInstance", slices.Clone(x.tags), nil)
		if x.want == "" && err != nil || x.want != "" && (errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%q: %v", x.tags, err)
		}
	}
	if err := f.create(t, "ip::x::1", "ip::y::1"); err != nil {
		t.Fatal(err)
	}
	if err := f.create(t, "ip::x::2"); errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "has one already: ip::x::1") {
		t.Errorf("a second of one network: %v", err)
	}
	err := f.update(t, func(ctx context.Context, tx *store.Tx) error {
		old := &SystemTag{ResourceUUID: vm1, ResourceType: "VmInstanceVO", Type: "System", Tag: "ip::x::0"}
		old.UUID, old.CreateDate = "0", resource.UnixMilli(1)
		return store.Insert(ctx, tx, SystemTagType, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	err = f.Look(t.Context(), f.st, func(uuid, tag, why string) error { found = append(found, uuid+" "+tag+": "+why); return nil })
	if err != nil || len(found) != 1 || found[0] != "0 ip::x::0: its resource has a newer one of this pattern, which counts" {
		t.Errorf("found %q, %v", found, err)
	}
	for _, bad := range []Pattern{{Pattern: "a::{b}", Each: []string{"b"}}, {Pattern: "a::{b}", Single: true, Each: []string{"c"}}} {
		if err := f.Define(bad); errs.ClassOf(err) != errs.Internal {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// What a tag says is done in the transaction that makes the resource; such a tag
// is not kept, and cannot be given later.
func TestTake(t *testing.T) {
	f := setup(t)
	var taken []string
	broken := errors.New("no such key")
	f.define(t, Pattern{Pattern: "sshkey::{key}", Take: func(_ context.Context, tx *store.Tx, uuid string, tokens map[string]string) error {
		if tokens["key"] == "bad" {
			return broken
		}
		taken = append(taken, uuid+" "+tokens["key"])
		return nil
	}})
	if err := f.create(t, "sshkey::ssh-rsa AAA", "hostname::a"); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(taken, []string{vm1 + " ssh-rsa AAA"}) || !reflect.DeepEqual(f.of(t, vm1), []string{"hostname::a"}) {
		t.Errorf("taken %q, kept %q", taken, f.of(t, vm1))
	}
	if err := f.create(t, "staticIp::a::1", "sshkey::bad"); !errors.Is(err, broken) || len(f.of(t, vm1)) != 1 {
		t.Errorf("%v, kept %q", err, f.of(t, vm1))
	}
	_, err := f.r.Do(t.Context(), action.Caller{AccountUUID: "alice"}, "APICreateSystemTagMsg",
		map[string]any{"resourceType": "VmInstanceVO", "resourceUuid": vm1, "tag": "sshkey::x"})
	if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "message that makes the resource") || len(taken) != 1 {
		t.Errorf("given later: %v", err)
	}
}

// The tags of one resource go with it, those of others stay; a pattern's tags are
// told from others whose names look like it.
func TestWhatIsDeleted(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "a_b::{x}"}, Pattern{Pattern: "aXb::{x}"}, Pattern{Pattern: "a%::{x}"}, Pattern{Pattern: "{any}::of::{x}"}, Pattern{Pattern: "a_b"})
	if err := f.create(t, "a_b::1", "a_b::2", "aXb::3", "a%::4", "a_b", "q::of::5"); err != nil {
		t.Fatal(err)
	}
	err := f.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := f.CreateAll(ctx, tx, "Zone", zone1, []string{"site::x"}, []string{"red", "blue"}); err != nil {
			return err
		}
		return f.CreateAll(ctx, tx, "VmInstance", vm1, nil, []string{"green"})
	})
	if err != nil {
		t.Fatal(err)
	}
	drop := func(pattern string, want ...string) {
		t.Helper()
		if err := f.update(t, func(ctx context.Context, tx *store.Tx) error { return f.DeletePattern(ctx, tx, vm1, pattern) }); err != nil {
			t.Fatal(err)
		}
		got := f.of(t, vm1)
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("after %s: %q, want %q", pattern, got, want)
		}
	}
	drop("a_b::{x}", "aXb::3", "a%::4", "a_b", "q::of::5")
	drop("a_b", "aXb::3", "a%::4", "q::of::5")
	drop("a%::{x}", "aXb::3", "q::of::5")
	drop("{any}::of::{x}", "aXb::3")
	if err := f.update(t, func(ctx context.Context, tx *store.Tx) error { return f.DeleteRow(ctx, tx, vmType.Type, vm1) }); err != nil {
		t.Fatal(err)
	}
	for typ, want := range map[string]int{"SystemTag": 1, "UserTag": 2} {
		for _, tt := range Types() {
			if n, err := store.Count(t.Context(), f.st, tt, ""); tt.Name == typ && (err != nil || n != int64(want)) {
				t.Errorf("%d rows of %s are left, %v; want %d", n, typ, err, want)
			}
		}
	}
	if n, err := store.Count(t.Context(), f.st, vmType.Type, ""); n != 0 || err != nil {
		t.Errorf("the row is still there: %d, %v", n, err)
	}
	if _, err := f.Tokens(t.Context(), f.st, zone1, "{"); errs.ClassOf(err) != errs.Internal {
		t.Errorf("a pattern that is none: %v", err)
	}
}

func TestCarrying(t *testing.T) {
	f := setup(t)
	if err := f.create(t, "hostname::a"); err != nil {
		t.Fatal(err)
	}
	uuids := []string{zone1}
	for i := range 2500 { // more than a statement takes
		uuids = append(uuids, fmt.Sprintf("%032d", i))
	}
	uuids = append(uuids, vm1)
	got, err := f.Carrying(t.Context(), f.st, "hostname::a", uuids)
	if err != nil || !slices.Equal(got, []string{vm1}) {
		t.Errorf("%v, %v", got, err)
	}
	for tag, want := range map[string]int{"hostname::a": 1, "hostname::b": 0} {
		rows, err := store.Find(t.Context(), f.st, vmType, Carries("`VmInstance`.`uuid`"), tag)
		if err != nil || len(rows) != want {
			t.Errorf("%d guests carry %s, %v", len(rows), tag, err)
		}
	}
}

// The limits of tags, and what an error tells of one.
func TestLimits(t *testing.T) {
	f := setup(t)
	huge := "hostname::" + strings.Repeat("x", maxTag)
	if err := f.create(t, huge); errs.ClassOf(err) != errs.Invalid || len(err.Error()) > 500 {
		t.Errorf("a huge tag: %.200v", err)
	}
	if err := f.create(t, strings.Repeat("n", 1000)+"::x"); err == nil || len(err.Error()) > 500 {
		t.Errorf("a huge name: %.200v", err)
	}
	if err := f.create(t, "hostname::"+strings.Repeat("x", maxTag-10)); err != nil {
		t.Errorf("the largest tag: %.200v", err)
	}
	for text, want := range map[string]errs.Class{"": errs.Invalid, strings.Repeat("x", 2049): errs.Invalid, strings.Repeat("x", 2048): ""} {
		if err := f.CheckCreate(t.Context(), "VmInstance", nil, []string{text}); errs.ClassOf(err) != want {
			t.Errorf("a label of %d bytes: %v", len(text), err)
		}
	}
	err := f.create(t, "nonsense")
	if err == nil || !strings.Contains(err.Error(), "hostname::{hostname}, priority, staticIp::{l3}::{ip}") || strings.Contains(err.Error(), "made::") {
		t.Errorf("what is known: %v", err)
	}
	if err := f.CheckCreate(t.Context(), "Nothing", []string{"a"}, nil); err == nil || !strings.Contains(err.Error(), "resources of this type have none") {
		t.Errorf("a type without tags: %v", err)
	}
	if err := f.CheckCreate(t.Context(), "VmInstance", []string{"priority"}, nil); err != nil { // nobody calls: it is the system
		t.Errorf("the system's own call: %v", err)
	}
}

// Tags have no characters that terminals obey, whichever message brings them; a
// secret, which nobody sees, may have any, and is in no error.
func TestHarmful(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "password::{word}", Secret: "word"}, Pattern{Pattern: "pin::{pin}", Secret: "pin", Holds: map[string]string{"pin": "label"}})
	do := func(msg, tag string) error {
		_, err := f.r.Do(t.Context(), action.Caller{AccountUUID: "alice"}, msg, map[string]any{"resourceType": "VmInstanceVO", "resourceUuid": vm1, "tag": tag})
		return err
	}
	for _, bad := range []string{"a\x1b[2Jb", "a\u202eb", "a\x00", "a\u2066b"} {
		for msg, tag := range map[string]string{"APICreateSystemTagMsg": "staticIp::l3::" + bad, "APICreateUserTagMsg": bad} {
			if err := do(msg, tag); errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "which is not allowed") {
				t.Errorf("%s %q: %v", msg, tag, err)
			}
		}
	}
	for tag, want := range map[string]bool{"password::a\x1b[2Jb": true, "pin::7411": true, "pin::s3 cret": false} {
		if err := do("APICreateSystemTagMsg", tag); (err == nil) != want || err != nil && strings.Contains(err.Error(), "s3 cret") {
			t.Errorf("%q: %v", tag, err)
		}
	}
	if err := do("APICreateUserTagMsg", "two\nlines"); err != nil {
		t.Error(err)
	}
}

// A pattern that is defined again replaces the first, in its place.
func TestDefineAgain(t *testing.T) {
	f := setup(t)
	before := f.Patterns()
	f.define(t, Pattern{Pattern: "staticIp::{l3}::{ip}", AdminOnly: true})
	after := f.Patterns()
	if len(after) != len(before) || after[1].Pattern != before[1].Pattern || !after[1].AdminOnly || before[1].AdminOnly {
		t.Errorf("patterns %+v", after)
	}
	if !slices.IsSortedFunc(after, func(a, b Pattern) int { return strings.Compare(a.Resource, b.Resource) }) {
		t.Error("they are not in the order of their types")
	}
	bob := action.WithCall(t.Context(), &action.Call{Caller: action.Caller{AccountUUID: "bob"}})
	if err := f.CheckCreate(bob, "VmInstance", []string{"staticIp::a::1"}, nil); errs.ClassOf(err) != errs.Denied {
		t.Errorf("what counts is the second: %v", err)
	}
}

// A secret stays one when its tag is changed, and an update keeps to who may set
// what.
func TestUpdate(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "password::{user}::{word}", Secret: "word"})
	if err := f.create(t, "password::root::one", "priority"); err != nil {
		t.Fatal(err)
	}
	rows, err := store.Find(t.Context(), f.st, SystemTagType, "ORDER BY `tag`")
	if err != nil || rows[0].Tag != "password::root::*****" {
		t.Fatalf("%+v, %v", rows, err)
	}
	update := func(uuid, tag string, admin bool) error {
		_, err := f.r.Do(t.Context(), action.Caller{AccountUUID: "alice", Admin: admin}, "APIUpdateSystemTagMsg", map[string]any{"uuid": uuid, "tag": tag})
		return err
	}
	if err := update(rows[0].UUID, "password::root::two::three", false); err != nil {
		t.Fatal(err)
	}
	row, err := store.Get(t.Context(), f.st, SystemTagType, rows[0].UUID)
	if err != nil || row.Tag != "password::root::*****" || row.Sealed != "password::root::two::three" {
		t.Errorf("stored %+v, %v", row, err)
	}
	if err := update(rows[1].UUID, "priority", false); errs.ClassOf(err) != errs.Denied {
		t.Errorf("the administrator's tag: %v", err)
	}
	if err := update(rows[1].UUID, "priority", true); err != nil {
		t.Error(err)
	}
	err = f.update(t, func(ctx context.Context, tx *store.Tx) error {
		return f.CreateInherent(ctx, tx, "VmInstance", vm1, "made::{by}", map[string]string{"by": "us"})
	})
	if err != nil {
		t.Fatal(err)
	}
	made, _, _ := store.First(t.Context(), f.st, SystemTagType, "`inherent` = ?", true)
	if err := update(made.UUID, "made::me", true); errs.ClassOf(err) != errs.Refused {
		t.Errorf("the system's tag: %v", err)
	}
	err = f.update(t, func(ctx context.Context, tx *store.Tx) error {
		return f.CreateInherent(ctx, tx, "VmInstance", vm1, "made::{by}", map[string]string{})
	})
	if errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a token without a value: %v", err)
	}
}

// Tags of before there was a rule are found, without their secrets; all others are
// not.
func TestLook(t *testing.T) {
	f := setup(t)
	f.define(t, Pattern{Pattern: "nic::{mac}"}, Pattern{Pattern: "pin::{pin}", Secret: "pin"}, Pattern{Pattern: "level::{n}"}, Pattern{Pattern: "note::{text}"}, Pattern{Pattern: "gone::{x}"})
	long := "level::" + strings.Repeat("9", 5000)
	if err := f.create(t, "nic::FA:00:00:00:00:01", "nic::x", "nic::fa:00:00:00:00:02", "pin::s3 cret", "pin::7411", "level::1", long, "note::x", "gone::x"); err != nil {
		t.Fatal(err)
	}
	later := &fixture{Service: New(f.st, f.types)}
	later.define(t, Pattern{Pattern: "nic::{mac}", Holds: map[string]string{"mac": "mac"}}, Pattern{Pattern: "pin::{pin}", Secret: "pin", Holds: map[string]string{"pin": "label"}},
		Pattern{Pattern: "level::{n}", Validate: func(tokens map[string]string) error {
			if len(tokens["n"]) > 1 {
				return errors.New("it is no level")
			}
			return nil
		}}, Pattern{Pattern: "note::{text}"})
	var got []string
	if err := later.Look(t.Context(), f.st, func(_, tag, why string) error {
		got = append(got, tag+" "+why)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{long[:255] + "… it is no level", `nic::FA:00:00:00:00:01 "nic::FA:00:00:00:00:01" is spelled "nic::fa:00:00:00:00:01" today`, `nic::x mac: "x" is not the MAC address`, "pin::***** pin: it is not a host name"}
	if len(got) != len(want) || strings.Contains(strings.Join(got, " "), "s3 cret") {
		t.Fatalf("found %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("found %q, want %q", got[i], want[i])
		}
	}
	enough := errors.New("enough")
	if err := later.Look(t.Context(), f.st, func(string, string, string) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("it went on: %v", err)
	}
}
