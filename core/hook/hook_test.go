package hook_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

func before(typ, verb string, more ...string) *pluginv1.Subscription {
	return &pluginv1.Subscription{Phase: pluginsdk.PhaseBefore, Type: typ, Verb: verb, Amends: more}
}

func after(typ, verb string) *pluginv1.Subscription {
	return &pluginv1.Subscription{Phase: pluginsdk.PhaseAfter, Type: typ, Verb: verb}
}

func onFire() error { return errs.New(errs.Unavailable, "plugin", "on fire") }

// A plugin sees a call as it was made, by whom, and without its secrets.
func TestBeforeIsShownTheCall(t *testing.T) {
	c := cloudtest.NewObserved(t, before("Zone", pluginsdk.VerbCreate), before("Zone", pluginsdk.VerbUpdate), before("Zone", pluginsdk.VerbDelete))
	zone := c.Create("APICreateZoneMsg", P{"name": "z", "description": "d"})
	c.Do("APIUpdateZoneMsg", P{"uuid": zone, "name": "y"})
	c.Do("APIChangeZoneStateMsg", P{"uuid": zone, "stateEvent": "disable"})
	c.Do("APIDeleteZoneMsg", P{"uuid": zone})
	var got []string
	for _, m := range c.Calls.Of("Before") {
		r := m.(*pluginv1.BeforeRequest)
		got = append(got, r.GetVerb()+" "+r.GetMessage()+" "+string(r.GetParameters()))
		c.Want("zone", r.GetUuid(), zone)
		c.Want("type", r.GetType(), "Zone")
		c.Want("account", r.GetAccountUuid(), kerneltest.Admin)
		c.Want("admin", r.GetAdmin(), true)
	}
	want := []string{
		`create APICreateZoneMsg {"description":"d","name":"z"}`,
		`update APIUpdateZoneMsg {"name":"y","uuid":"` + zone + `"}`,
		`update APIChangeZoneStateMsg {"stateEvent":"disable","uuid":"` + zone + `"}`,
		`delete APIDeleteZoneMsg {"uuid":"` + zone + `"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is secret of a call is not shown: passwords in tags, sources of images. Other texts
// are shown as they are.
func TestBeforeIsShownNoSecrets(t *testing.T) {
	c := cloudtest.NewObserved(t, before("VmInstance", pluginsdk.VerbCreate), before("Image", pluginsdk.VerbCreate))
	s := c.Site()
	c.Calls.Forget()
	c.VM(s, P{"name": "a?b", "description": "mail me@example.org", "systemTags": []string{"consolePassword::secret", "hostname::web"}})
	c.Create("APIAddImageMsg", P{"name": "image", "url": "http://user:secret@127.0.0.1/image?key=secret", "mediaType": "RootVolumeTemplate", "format": "raw",
		"platform": "Linux", "architecture": "x86_64", "backupStorageUuids": []string{s.Backup}})
	asked := c.Calls.Of("Before")
	c.Want("asked", len(asked), 2)
	vm, image := asked[0].(*pluginv1.BeforeRequest), asked[1].(*pluginv1.BeforeRequest)
	c.Want("tags", strings.Join(vm.GetSystemTags(), " "), "consolePassword::***** hostname::web")
	for _, want := range []string{`"name":"a?b"`, `"description":"mail me@example.org"`} {
		if !strings.Contains(string(vm.GetParameters()), want) {
			t.Errorf("shown is %s, without %s", vm.GetParameters(), want)
		}
	}
	if text := string(vm.GetParameters()) + string(image.GetParameters()); strings.Contains(text, "secret") {
		t.Errorf("shown is %s", text)
	}
}

// A denial refuses the call with its reason and advice, and changes nothing.
func TestBeforeDenies(t *testing.T) {
	c := cloudtest.NewObserved(t, before("Zone", pluginsdk.VerbCreate))
	c.World.SetBefore(func(r *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
		var p struct{ Name string }
		if err := json.Unmarshal(r.GetParameters(), &p); err != nil {
			return nil, err
		}
		if p.Name == "bad" {
			return pluginsdk.Deny("zones are not called bad", "call it good"), nil
		}
		return pluginsdk.Allow(), nil
	})
	c.Refused(errs.Refused, "APICreateZoneMsg", P{"name": "bad"}, "zones are not called bad", "plugin fake")
	c.Want("zones", len(c.List("Zone")), 0)
	c.Create("APICreateZoneMsg", P{"name": "good"})
}

// What a plugin amends passes the checks of the call, and is what happens; what its
// subscription does not name is its failure.
func TestBeforeAmends(t *testing.T) {
	c := cloudtest.NewObserved(t, before("Zone", pluginsdk.VerbCreate, "description"))
	answer := func(parameters map[string]any) {
		c.World.SetBefore(func(*pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) { return pluginsdk.Amend(parameters) })
	}
	answer(map[string]any{"description": "by a plugin"})
	c.Want("description", c.Do("APICreateZoneMsg", P{"name": "z"}).Text("description"), "by a plugin")
	answer(map[string]any{"description": strings.Repeat("x", 5000)})
	c.Refused(errs.Invalid, "APICreateZoneMsg", P{"name": "z"}, "description")
	answer(map[string]any{"name": "mine"})
	c.Refused(errs.Unavailable, "APICreateZoneMsg", P{"name": "z"}, "it amends name")
	c.Want("zones", len(c.List("Zone")), 1)
}

// A plugin that does not answer, or answers with an error, refuses calls or lets them
// pass, as its subscription says, and within its time.
func TestBeforeFails(t *testing.T) {
	for policy, class := range map[string]errs.Class{"": errs.Unavailable, pluginsdk.FailureDeny: errs.Unavailable, pluginsdk.FailureIgnore: ""} {
		t.Run("policy "+policy, func(t *testing.T) {
			s := before("Zone", pluginsdk.VerbCreate)
			s.OnFailure, s.TimeoutMs = policy, 50
			c := cloudtest.NewObserved(t, s)
			hangs := make(chan struct{})
			for name, fault := range map[string]func(any) error{
				"fails": func(any) error { return onFire() },
				"hangs": func(any) error { <-hangs; return onFire() },
			} {
				c.Calls.On("Before", fault)
				if name == "hangs" {
					time.AfterFunc(time.Second, func() { close(hangs) }) // long after the plugin's time
				}
				if class != "" {
					c.Refused(class, "APICreateZoneMsg", P{"name": "z"}, "plugin fake must be asked")
				} else {
					c.Create("APICreateZoneMsg", P{"name": "z"})
				}
			}
		})
	}
}

// Changes are told in the order of a resource, with what it is then, and again until
// they are taken.
func TestAfter(t *testing.T) {
	c := cloudtest.NewObserved(t, after("Zone", pluginsdk.VerbCreate), after("Zone", pluginsdk.VerbUpdate), after("Zone", pluginsdk.VerbDelete))
	failures, last := 2, make(chan struct{})
	c.Calls.On("After", func(any) error {
		if failures--; failures >= 0 {
			return onFire()
		}
		return nil
	})
	c.Calls.After("After", func(r any) error {
		if r.(*pluginv1.AfterRequest).GetVerb() == pluginsdk.VerbDelete {
			close(last)
		}
		return nil
	})
	zone := c.Create("APICreateZoneMsg", P{"name": "z"})
	c.Do("APIUpdateZoneMsg", P{"uuid": zone, "name": "y"})
	c.Do("APIDeleteZoneMsg", P{"uuid": zone})
	<-last
	var told []string
	for _, m := range c.Calls.Of("After") {
		if r := m.(*pluginv1.AfterRequest); r.GetUuid() == zone {
			told = append(told, r.GetVerb())
		}
	}
	if got := slices.Compact(told); !slices.Equal(got, []string{"create", "update", "delete"}) || len(told) != 5 {
		t.Errorf("told %v", told)
	}
}

// A manifest that observes what there is not is refused, with what there is.
func TestUnknownSubscriptions(t *testing.T) {
	c := cloudtest.New(t)
	for want, s := range map[string]*pluginv1.Subscription{
		"type Moon":    after("Moon", pluginsdk.VerbCreate),
		"vm.start.now": {Phase: pluginsdk.PhasePoint, Point: "vm.start.now"},
		"phase":        {Phase: "during", Type: "Zone", Verb: "create"},
		"verb":         after("Zone", "moved"),
		"denied":       {Phase: pluginsdk.PhaseAfter, Type: "Zone", Verb: "create", OnFailure: "deny"},
	} {
		err := c.Hooks.Check([]*pluginv1.Manifest{{Name: "odd", Subscriptions: []*pluginv1.Subscription{s}}})
		if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", s, err)
		}
	}
}

// A host is told of at its points.
func TestPointsOfAHost(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("host.connected", "host.lost", "host.leaving")...)
	s := c.Site()
	c.Do("APIReconnectHostMsg", P{"uuid": s.Host})
	c.Calls.Fail("DoPoint", onFire())
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": s.Host}, "host.connected")
	c.Calls.Fail("DoPoint", nil)
	c.Do("APIReconnectHostMsg", P{"uuid": s.Host})
	c.Do("APIDeleteHostMsg", P{"uuid": s.Host})
	var got []string
	for _, m := range c.Calls.Of("DoPoint") {
		r := m.(*pluginv1.DoPointRequest)
		c.Want("host", r.GetSubject().GetHostUuid(), s.Host)
		got = append(got, r.GetPoint())
	}
	for _, p := range []string{"host.connected", "host.lost", "host.leaving"} {
		if !slices.Contains(got, p) {
			t.Errorf("%s was not told: %v", p, got)
		}
	}
}

// A plugin has a part in rows that are made: it is shown what a row will be, can refuse
// it, and is told when it cannot be made after all.
func TestPointsOfNewRows(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("L3Network.create.begin", "IpRange.create.begin")...)
	s := c.Site()
	last := func() *pluginv1.DoPointRequest {
		t.Helper()
		r, ok := kerneltest.Last[*pluginv1.DoPointRequest](c.Calls, "DoPoint")
		c.Want("told", ok, true)
		c.Calls.Forget()
		return r
	}
	var row map[string]any
	shown := func(field string) any {
		t.Helper()
		if err := json.Unmarshal(last().GetSubject().GetRow(), &row); err != nil {
			t.Fatal(err)
		}
		return row[field]
	}
	c.Calls.Forget()
	l3 := c.Do("APICreateL3NetworkMsg", P{"name": "n", "l2NetworkUuid": s.L2, "dnsDomain": "example.com", "systemTags": []string{}}).Text("uuid")
	c.Want("domain", shown("dnsDomain"), "example.com")
	c.Want("row", c.Get("L3Network", l3).Text("dnsDomain"), "example.com")
	network := P{"l3NetworkUuid": l3, "name": "r", "startIp": "10.9.0.2", "endIp": "10.9.0.9", "netmask": "255.255.255.0", "gateway": "10.9.0.1"}
	c.Do("APIAddIpRangeMsg", network)
	c.Want("start", shown("startIp"), "10.9.0.2")

	c.Refused(errs.Invalid, "APIAddIpRangeMsg", network, "overlaps")
	undone, ok := kerneltest.Last[*pluginv1.UndoPointRequest](c.Calls, "UndoPoint")
	c.Want("undone", ok, true)
	c.Want("by its state", string(undone.GetState()), "IpRange.create.begin")
	c.Want("of the row", undone.GetSubject().GetUuid(), last().GetSubject().GetUuid())

	c.Calls.Fail("DoPoint", onFire())
	c.Refused(errs.Unavailable, "APICreateL3NetworkMsg", P{"name": "n", "l2NetworkUuid": s.L2}, "L3Network.create.begin")
	c.Want("networks", len(c.List("L3Network", "name=n")), 1)
	c.Calls.Fail("DoPoint", nil)
	c.Refused(errs.Exists, "APICreateL3NetworkMsg", P{"name": "n", "l2NetworkUuid": s.L2, "resourceUuid": l3})
}

// The core's own parts are told of a call when its plugins have been asked, and not of
// one that they deny.
func TestAsked(t *testing.T) {
	c := cloudtest.NewObserved(t, before("Zone", pluginsdk.VerbUpdate, "description"))
	uuid := c.Create("APICreateZoneMsg", P{"name": "z"})
	var told []string
	hook.On(c.Hooks, hook.Asked("APIUpdateZoneMsg"), func(_ context.Context, q action.Asked) error {
		told = append(told, string(q.Parameters()["description"]))
		return onFire() // which is no reason to refuse it
	})
	c.World.SetBefore(func(r *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
		if strings.Contains(string(r.GetParameters()), "denied") {
			return pluginsdk.Deny("no", "do not"), nil
		}
		return &pluginv1.BeforeResponse{Amend: []byte(`{"description":"amended"}`)}, nil
	})
	c.Do("APIUpdateZoneMsg", P{"uuid": uuid, "description": "given"})
	c.Refused(errs.Refused, "APIUpdateZoneMsg", P{"uuid": uuid, "description": "denied"}, "no")
	c.Want("told", strings.Join(told, ", "), `"amended"`)
}

func BenchmarkBeforeUnobserved(b *testing.B) { benchmarkBefore(b) }

func BenchmarkBefore(b *testing.B) { benchmarkBefore(b, before("Zone", pluginsdk.VerbUpdate)) }

// benchmarkBefore asks whoever observes a call, over gRPC on a socket in memory.
func benchmarkBefore(b *testing.B, s ...*pluginv1.Subscription) {
	c := cloudtest.NewObserved(b, s...)
	a, _ := c.Actions.Get("APIUpdateZoneMsg")
	q := action.Asked{Action: a, Call: &action.Call{}, About: action.Target{Type: "Zone", UUID: strings.Repeat("a", 32)},
		Parameters: func() map[string]json.RawMessage { return map[string]json.RawMessage{"name": json.RawMessage(`"z"`)} }}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Hooks.Before(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}

// A plugin contributes to flows while there is a row of a type that it names.
func TestPointsWhileThereIsAny(t *testing.T) {
	y := &pluginv1.ResourceTypeDecl{Name: "Charm", Path: "/charms", Owned: true, Caption: pluginsdk.Say("Charm", "护符"),
		Create: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{}}
	sub := kerneltest.AtPoints("vm.start.nics-ready")
	sub[0].WhileAny = []string{y.Name}
	o := &charmer{}
	c := cloudtest.New(t, pluginsdk.Plugin{Manifest: &pluginv1.Manifest{Name: "charmer", Version: "1", ResourceTypes: []*pluginv1.ResourceTypeDecl{y}, Subscriptions: sub}, Observer: o})
	s := c.Site()
	steps := func(want int) {
		t.Helper()
		c.VM(s, nil)
		c.Want("steps", int(o.steps.Load()), want)
	}
	steps(0)
	charm := c.Create("APICreateCharmMsg", P{"name": "c"})
	steps(1)
	c.Do("APIDeleteCharmMsg", P{"uuid": charm})
	steps(1)
	for what, types := range map[string][]string{"a type of the core": {"Zone"}, "no type": {"Nothing"}} {
		m := &pluginv1.Manifest{Name: "charmer", Subscriptions: []*pluginv1.Subscription{{Phase: pluginsdk.PhasePoint, Point: "vm.start.nics-ready", WhileAny: types}}}
		if err := c.Hooks.Check([]*pluginv1.Manifest{m}); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// charmer counts its steps.
type charmer struct {
	pluginsdk.Observer
	steps atomic.Int32
}

func (o *charmer) DoPoint(context.Context, *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	o.steps.Add(1)
	return &pluginv1.DoPointResponse{}, nil
}
