package config

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type cluster struct{ resource.Base }
type host struct {
	resource.Base
	ClusterUUID string `db:"clusterUuid" kumo:"size=32,null"`
}

var (
	clusterType = resource.Define[cluster](resource.Type{Name: "Cluster", Readable: resource.Global})
	hostType    = resource.Define[host](resource.Type{Name: "Host", Readable: resource.Global, Edges: []resource.Edge{{Name: "cluster", To: "Cluster", Column: "clusterUuid"}}})
)

const (
	host1    = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a01"
	cluster1 = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a02"
	nobody   = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a03"
)

var (
	admin = action.Caller{AccountUUID: "root", Admin: true}
	bob   = action.Caller{AccountUUID: "bob"}
)

func define(t *testing.T, s *Service) {
	t.Helper()
	for _, d := range []Setting{
		{Category: "host", Name: "ping.interval", Type: "int", Default: "60", Min: 1, Max: 3600, Doc: "Seconds."},
		{Category: "host", Name: "ratio", Type: "float", Default: "1.5", Max: 1000},
		{Category: "kvm", Name: "reservedMemory", Type: "size", Default: "1G", Resources: []string{"Host", "Cluster"}},
		{Category: "rest", Name: "checkTimeZone", Type: "bool", Default: "false"},
		{Category: "vm", Name: "policy", Type: "string", Default: "Delay", Values: []string{"Delay", "Direct"}},
	} {
		if err := s.Define(d); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, st *store.Store) (*Service, *action.Registry) {
	t.Helper()
	s := New(st, storetest.Logger(t))
	define(t, s)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := action.NewRegistry(hclog.NewNullLogger())
	r.Wire(action.Ports{Lookup: action.NewLookup(st, st.Registry())})
	s.Register(r)
	return s, r
}

func setup(t *testing.T) (*Service, *store.Store, *action.Registry) {
	t.Helper()
	st := storetest.Open(t, append(Types(), clusterType.Type, hostType.Type)...)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		c := &cluster{}
		c.UUID = cluster1
		h := &host{ClusterUUID: cluster1}
		h.UUID = host1
		if err := store.Insert(t.Context(), tx, clusterType, c); err != nil {
			return err
		}
		return store.Insert(t.Context(), tx, hostType, h)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, r := open(t, st)
	return s, st, r
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1024": 1024, "512m": 512 << 20, "1G": 1 << 30, " 2 TB ": 2 << 40, "5B": 5, "1KB": 1024,
		"": -1, "G": -1, "1X": -1, "-1": -1, "1GG": -1, "9999999P": -1, "1.5G": -1} {
		got, err := ParseSize(text)
		if (err != nil) != (want < 0) || (err == nil && got != want) {
			t.Errorf("%q: %d %v, want %d", text, got, err, want)
		}
	}
}

func TestValues(t *testing.T) {
	s, st, _ := setup(t)
	ctx := t.Context()
	if s.Int64(ctx, "host", "ping.interval", "") != 60 || s.Duration(ctx, "host", "ping.interval", "") != time.Minute ||
		s.Float(ctx, "host", "ratio", "") != 1.5 || s.Int64(ctx, "kvm", "reservedMemory", host1) != 1<<30 || s.Bool(ctx, "rest", "checkTimeZone", "") {
		t.Error("defaults are wrong")
	}
	for _, c := range []struct {
		cat, name, value string
		want             errs.Class
	}{
		{"host", "ping.interval", "0", errs.Invalid}, {"host", "ping.interval", "3601", errs.Invalid}, {"host", "ping.interval", "x", errs.Invalid},
		{"host", "ratio", "NaN", errs.Invalid}, {"kvm", "reservedMemory", "1X", errs.Invalid}, {"rest", "checkTimeZone", "yes", errs.Invalid},
		{"vm", "policy", "Never", errs.Invalid}, {"vm", "nothing", "1", errs.NotFound}, {"host", "ping.interval", "5", ""}, {"rest", "checkTimeZone", "TRUE", ""},
	} {
		if _, err := s.Set(ctx, c.cat, c.name, c.value); errs.ClassOf(err) != c.want {
			t.Errorf("%s/%s=%s: %v, want %q", c.cat, c.name, c.value, err, c.want)
		}
	}
	again, _ := open(t, st) // as after a restart
	for _, x := range []*Service{s, again} {
		if x.Int(ctx, "host", "ping.interval", "") != 5 || !x.Bool(ctx, "rest", "checkTimeZone", "") {
			t.Error("a set value was lost")
		}
	}
	if err := s.Reset(ctx); err != nil || s.Int(ctx, "host", "ping.interval", "") != 60 {
		t.Errorf("reset: %v", err)
	}
	n, err := store.Count(ctx, st, GlobalConfigType.Type, "")
	if err != nil || n != 5 {
		t.Errorf("%d rows %v", n, err)
	}
	if err := s.Define(Setting{Category: "a", Name: "b", Type: "int", Default: "x"}); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a wrong default: %v", err)
	}
}

func TestOverrides(t *testing.T) {
	s, st, r := setup(t)
	ctx := t.Context()
	get := func(s *Service, uuid string) int64 { return s.Int64(ctx, "kvm", "reservedMemory", uuid) >> 20 }
	do := func(c action.Caller, msg string, p map[string]any) (any, error) { return r.Do(ctx, c, msg, p) }
	set := func(c action.Caller, uuid, v string) error {
		_, err := do(c, "APIUpdateResourceConfigMsg", map[string]any{"category": "kvm", "name": "reservedMemory", "resourceUuid": uuid, "value": v})
		return err
	}
	if err := set(admin, cluster1, "2G"); err != nil || get(s, host1) != 2048 || get(s, cluster1) != 2048 || get(s, "") != 1024 {
		t.Fatalf("%v: host %d, cluster %d", err, get(s, host1), get(s, cluster1))
	}
	if err := set(admin, host1, "3G"); err != nil || get(s, host1) != 3072 || get(s, cluster1) != 2048 {
		t.Fatalf("%v: host %d", err, get(s, host1))
	}
	again, _ := open(t, st)
	if get(again, host1) != 3072 {
		t.Error("an override was lost")
	}
	res, err := do(admin, "APIGetResourceConfigMsg", map[string]any{"category": "kvm", "name": "reservedMemory", "resourceUuid": host1})
	reply, ok := res.(getReply)
	if err != nil || !ok || reply.Value != "3G" || len(reply.Effective) != 2 || reply.Effective[0].ResourceType != "HostVO" {
		t.Errorf("%+v %v", res, err)
	}
	for name, c := range map[string]struct {
		err  error
		want errs.Class
	}{
		"by a user":   {set(bob, host1, "1G"), errs.Denied},
		"no resource": {set(admin, nobody, "1G"), errs.NotFound},
		"bad value":   {set(admin, host1, "much"), errs.Invalid},
	} {
		if errs.ClassOf(c.err) != c.want {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
	}
	many := map[string]any{"resourceUuid": host1, "resourceConfigs": []map[string]string{{"category": "kvm", "name": "reservedMemory", "value": "4G"}, {"category": "host", "name": "ratio", "value": "1"}}}
	if _, err := do(admin, "APIUpdateResourceConfigsMsg", many); errs.ClassOf(err) != errs.Invalid || get(s, host1) != 3072 {
		t.Errorf("one wrong value must change nothing: %v %d", err, get(s, host1))
	}
	del := map[string]any{"category": "kvm", "name": "reservedMemory", "resourceUuid": host1}
	for range 2 {
		if _, err := do(admin, "APIDeleteResourceConfigMsg", del); err != nil || get(s, host1) != 2048 {
			t.Errorf("delete: %v %d", err, get(s, host1))
		}
	}
	err = st.Update(ctx, func(tx *store.Tx) error { return s.DeleteFor(ctx, tx, cluster1) })
	if n, _ := store.Count(ctx, st, ResourceConfigType.Type, ""); err != nil || n != 0 || get(s, host1) != 1024 {
		t.Errorf("DeleteFor: %v, %d rows, host %d", err, n, get(s, host1))
	}
}

func TestFailedWriteChangesNothing(t *testing.T) {
	s, st, _ := setup(t)
	ctx := t.Context()
	err := st.Update(ctx, func(tx *store.Tx) error {
		d, _ := s.lookup("kvm", "reservedMemory")
		v, _ := d.parse("9G")
		if _, err := s.setFor(ctx, tx, d, host1, v); err != nil {
			return err
		}
		return errs.New(errs.Internal, "test", "undo")
	})
	if err == nil || s.Int64(ctx, "kvm", "reservedMemory", host1) != 1<<30 {
		t.Errorf("%v %d", err, s.Int64(ctx, "kvm", "reservedMemory", host1))
	}
}

func TestEventsAndOptions(t *testing.T) {
	_, st, _ := setup(t)
	bus := event.New()
	st.Watch(bus)
	events, _ := bus.Read("")
	defer events.Close()
	s, r := open(t, st)
	if _, err := s.Set(t.Context(), "vm", "policy", "Direct"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	for told := false; !told; {
		got, _ := events.Next(ctx, make([]event.Event, 0, 8), 5*time.Second)
		if len(got) == 0 {
			t.Fatal("no event")
		}
		for _, e := range got {
			told = told || e.Type == "GlobalConfig" && e.Verb == store.Updated && slices.Contains(e.Fields, "value")
		}
	}
	res, err := r.Do(ctx, bob, "APIGetGlobalConfigOptionsMsg", map[string]any{"category": "host", "name": "ping.interval"})
	o, ok := res.(optionsReply)
	if err != nil || !ok || *o.Options.GreaterOrEq != 1 || *o.Options.LessOrEq != 3600 {
		t.Errorf("%+v %v", res, err)
	}
	if _, err := r.Do(ctx, bob, "APIUpdateGlobalConfigMsg", map[string]any{"category": "vm", "name": "policy", "value": "Delay"}); errs.ClassOf(err) != errs.Denied {
		t.Errorf("a user set a global setting: %v", err)
	}
	res, err = r.Do(ctx, bob, "APIGetResourceBindableConfigMsg", map[string]any{"category": "kvm"})
	b, ok := res.(bindableReply)
	if err != nil || !ok || len(b.Configs) != 1 || b.Configs[0].Types[0] != "HostVO" {
		t.Errorf("%+v %v", res, err)
	}
}

func BenchmarkRead(b *testing.B) {
	s := New(nil, nil)
	if err := s.Define(Setting{Category: "a", Name: "b", Type: "int", Default: "1"}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s.Int64(context.Background(), "a", "b", "x") != 1 {
			b.Fatal("wrong")
		}
	}
}
