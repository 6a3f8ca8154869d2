package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type common struct {
	Name        string  `api:"name,required,max=8"`
	Description *string `api:"description,max=2048"`
}

type everything struct {
	common
	Zone     string              `api:"zoneUuid,required,resource=Zone" doc:"where it goes"`
	Nets     []string            `api:"nets,nonempty,resource=L3Network"`
	CPU      int                 `api:"cpuNum,range=1:1024,default=1"`
	Size     *int64              `api:"size"`
	On       bool                `api:"on,default=true"`
	Maybe    *bool               `api:"maybe"`
	Strategy string              `api:"strategy,values=A|B,default=A"`
	Info     map[string]string   `api:"info"`
	Lists    map[string][]string `api:"lists"`
	Disks    []struct {
		Size int64 `json:"size"`
	} `api:"disks"`
	Password string `api:"password,secret,noempty,notrim"`
}

const (
	zone1 = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a01"
	net1  = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a02"
	gone1 = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a03"
)

// world is a small set of ports kept in memory.
type world struct {
	mu   sync.Mutex
	jobs map[string]Job
	done map[string]Outcome
	keys []string
	full bool
	rows map[Target]Found
}

func newWorld() *world {
	return &world{jobs: map[string]Job{}, done: map[string]Outcome{}, rows: map[Target]Found{
		{"Zone", zone1}:     {Exists: true, Readable: true},
		{"L3Network", net1}: {Exists: true}, /* alice's */
	}}
}

func (w *world) Authenticate(_ context.Context, c Credentials) (Caller, error) {
	switch c.SessionUUID {
	case "admin":
		return Caller{AccountUUID: "root", Admin: true}, nil
	case "alice", "bob":
		return Caller{AccountUUID: c.SessionUUID}, nil
	}
	return Caller{}, errs.New(errs.Unauthenticated, "session "+c.SessionUUID, "it is unknown or has expired")
}

func (w *world) Lookup(_ context.Context, caller Caller, ts []Target) ([]Found, error) {
	out := make([]Found, len(ts))
	for i, t := range ts {
		out[i] = w.rows[t]
		if mine := caller.Admin || t.UUID == net1 && caller.AccountUUID == "alice"; mine && out[i].Exists {
			out[i].Readable, out[i].Writable = true, true
		}
	}
	return out, nil
}

func (w *world) Accept(_ context.Context, j Job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.jobs[j.UUID]; ok {
		return errs.New(errs.Exists, "job "+j.UUID, "it exists")
	}
	w.jobs[j.UUID] = j
	return nil
}

func (w *world) Finish(_ context.Context, uuid string, o Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[uuid] = o
}

// queue runs at once what is submitted.
type queue struct {
	*world
	run func(dispatch.Item)
}

func (q queue) Submit(it dispatch.Item) error {
	if q.full {
		return errs.New(errs.Exhausted, "queue of "+it.Key, "it is full")
	}
	q.keys = append(q.keys, it.Key)
	q.run(it)
	return nil
}

func (w *world) Inventory(_ context.Context, typeName, uuid string) (json.RawMessage, map[string]string, error) {
	return json.RawMessage(`{"uuid":"` + uuid + `"}`), map[string]string{"": typeName, "nics[0]": "Nic"}, nil
}

func (w *world) Plan(_ context.Context, r Removal) (any, error) {
	return r, nil
}

func newTest(t *testing.T) (*Registry, *world) {
	t.Helper()
	w := newWorld()
	r := NewRegistry(hclog.NewNullLogger())
	r.Wire(Ports{Auth: w, Lookup: w, Render: w, Jobs: w, Queue: queue{w, r.Run}, Plan: w})
	return r, w
}

func body(s string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		panic(err)
	}
	return m
}

func register(r *Registry, h func(ctx context.Context, c *Call, p *everything) (Ref, error)) *Action {
	Register(r, Action{Message: "APICreateThingMsg", Method: "POST", Path: "/things", Async: true,
		Access: Normal, Create: true, Returns: "Thing"}, h)
	a, _ := r.Get("APICreateThingMsg")
	return a
}

func TestDecode(t *testing.T) {
	r, _ := newTest(t)
	a := register(r, nil)
	size, yes, desc := int64(5), true, ""
	full := everything{common: common{Name: "a", Description: &desc}, Zone: zone1, Nets: []string{net1, "x"}, CPU: 7, Size: &size, On: false, Maybe: &yes,
		Strategy: "B", Info: map[string]string{"k": "v"}, Lists: map[string][]string{"l": {"1", "2"}}, Password: " p "}
	min := everything{common: common{Name: "a"}, Zone: "z", CPU: 1, On: true, Strategy: "A"}
	for name, c := range map[string]struct {
		in   Input
		want everything
		err  string
	}{
		"body": {in: Input{Body: body(`{"name":" a ","description":"","zoneUuid":"` + zone1 + `","nets":["` + net1 + `"," x "],"cpuNum":"7","size":5.0,"on":"FALSE","maybe":true,
			"strategy":"B","info":{"k":"v"},"lists":{"l":[1,"2"]},"password":" p ","requestIp":"1.2.3.4"}`)}, want: full},
		"query": {in: Input{Query: url.Values{"name": {"a"}, "description": {""}, "zoneUuid": {zone1}, "nets.0": {net1}, "nets.1": {"x"}, "cpuNum": {"7"}, "size": {"5"},
			"on": {"false"}, "maybe": {"True"}, "strategy": {"B"}, "info.k": {"v"}, "lists.l": {"1", "2"}, "password": {" p "}}}, want: full},
		"defaults and null":      {in: Input{Body: body(`{"name":"a","zoneUuid":"z","size":null}`)}, want: min},
		"path wins":              {in: Input{Path: []string{"zoneUuid", "z"}, Body: body(`{"name":"a","zoneUuid":"y"}`)}, want: min},
		"scalar twice":           {in: Input{Query: url.Values{"name": {"a", "b"}}}, err: "parameter name: given 2 times"},
		"bad int":                {in: Input{Body: body(`{"cpuNum":"x"}`)}, err: `"x" is not a whole number`},
		"fraction":               {in: Input{Body: body(`{"cpuNum":1.5}`)}, err: `"1.5" is not a whole number`},
		"too big":                {in: Input{Body: body(`{"size":1e30}`)}, err: `not a whole number of 64 bits`},
		"bad bool":               {in: Input{Body: body(`{"on":1}`)}, err: `"1" is neither true nor false`},
		"object for text":        {in: Input{Body: body(`{"name":{}}`)}, err: "one value is wanted"},
		"text for list":          {in: Input{Body: body(`{"nets":"a"}`)}, err: "a list is wanted"},
		"struct of another kind": {in: Input{Body: body(`{"disks":[{"size":"x"}]}`)}, err: "the JSON does not fit"},
		"deleteMode":             {in: Input{Body: body(`{"systemTags":"x"}`)}, err: "parameter systemTags: a list is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := a.decode(&c.in)
			var he *HTTPError
			switch {
			case c.err != "":
				if !errors.As(err, &he) || he.Status != 400 || !strings.Contains(he.Text, c.err) {
					t.Fatalf("error %v, want HTTP 400 with %q", err, c.err)
				}
			case err != nil:
				t.Fatal(err)
			case !reflect.DeepEqual(*got.(*everything), c.want):
				t.Fatalf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestChecks(t *testing.T) {
	r, w := newTest(t)
	var ran int
	a := register(r, func(_ context.Context, c *Call, p *everything) (Ref, error) {
		ran++
		return Ref{"Thing", c.ResourceUUID}, nil
	})
	ok := `{"name":"a","zoneUuid":"` + zone1 + `"`
	for name, c := range map[string]struct {
		session, body string
		code, details string
	}{
		"good":            {session: "bob", body: ok + `}`},
		"missing":         {session: "bob", body: `{"zoneUuid":"z"}`, code: "SYS.1007", details: "parameter name of APICreateThingMsg: it is required"},
		"too long":        {session: "bob", body: `{"name":"123456789","zoneUuid":"z"}`, code: "SYS.1007", details: "at most 8"},
		"range":           {session: "bob", body: ok + `,"cpuNum":0}`, code: "SYS.1007", details: "0 is not between 1 and 1024"},
		"values":          {session: "bob", body: ok + `,"strategy":"C"}`, code: "SYS.1007", details: `"C" is none of`},
		"empty list":      {session: "bob", body: ok + `,"nets":[]}`, code: "SYS.1007", details: "must not be empty"},
		"no such zone":    {session: "bob", body: `{"name":"a","zoneUuid":"` + gone1 + `"}`, code: "SYS.1003", details: "Zone " + gone1},
		"bad uuid":        {session: "bob", body: ok + `,"resourceUuid":"x"}`, code: "SYS.1007", details: "not a UUID"},
		"bad session":     {session: "eve", body: ok + `}`, code: "ID.1001", details: "session eve"},
		"session first":   {session: "eve", body: `{"name":"a","zoneUuid":"` + gone1 + `"}`, code: "ID.1001", details: "session eve"},
		"another's":       {session: "bob", body: ok + `,"nets":["` + net1 + `"]}`, code: "SYS.1006", details: "belongs to another account"},
		"own":             {session: "alice", body: ok + `,"nets":["` + net1 + `"]}`},
		"admin may":       {session: "admin", body: ok + `,"nets":["` + net1 + `"]}`},
		"validation only": {session: "bob", body: ok + `,"systemTags":["validationOnly"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			ran = 0
			rep, err := r.Serve(t.Context(), &Request{Action: a, Input: Input{Body: body(c.body)}, Credentials: &Credentials{SessionUUID: c.session}})
			if err != nil {
				t.Fatal(err)
			}
			o := w.done[rep.Job]
			if c.code == "" {
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				if want := name != "validation only"; (ran == 1) != want || (o.Ref != nil) != want {
					t.Fatalf("handler ran %d times, outcome %+v", ran, o)
				}
				return
			}
			e := Wire(o.Err)
			if e == nil || e.Code != c.code || !strings.Contains(e.Details, c.details) || ran != 0 {
				t.Fatalf("error %+v (ran %d), want %s with %q", e, ran, c.code, c.details)
			}
		})
	}
}

func TestJobs(t *testing.T) {
	r, w := newTest(t)
	a := register(r, func(ctx context.Context, c *Call, p *everything) (Ref, error) {
		if FromContext(ctx) != c {
			t.Error("the context does not carry the call")
		}
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > 3*time.Second {
			t.Errorf("deadline %v %v", d, ok)
		}
		if p.Name == "panic" {
			panic("boom")
		}
		return Ref{"Thing", c.ResourceUUID}, nil
	})
	req := func(name string) *Request {
		return &Request{Action: a, JobUUID: gone1, Timeout: 2 * time.Second, WebHook: "http://hook", Credentials: &Credentials{SessionUUID: "bob"},
			Input: Input{Body: body(`{"name":"` + name + `","zoneUuid":"` + zone1 + `","resourceUuid":"` + net1 + `"}`)}}
	}
	rep, err := r.Serve(t.Context(), req("a"))
	if err != nil {
		t.Fatal(err)
	}
	want := Job{UUID: gone1, Message: "APICreateThingMsg", ResourceType: "Thing", ResourceUUID: net1, AccountUUID: "bob", WebHook: "http://hook", Timeout: 2 * time.Second}
	if rep.Job != gone1 || w.jobs[gone1] != want || w.keys[0] != net1 {
		t.Fatalf("job %+v keys %v", w.jobs[gone1], w.keys)
	}
	var he *HTTPError
	if _, err = r.Serve(t.Context(), req("a")); !errors.As(err, &he) || he.Status != 400 {
		t.Fatalf("second use of a job UUID: %v", err)
	}
	again := req("panic")
	again.JobUUID = ""
	rep, err = r.Serve(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	w.full = true
	full, err := r.Serve(t.Context(), again)
	if err != nil || errs.ClassOf(w.done[full.Job].Err) != errs.Exhausted {
		t.Fatalf("a full queue: %v %v", err, w.done)
	}
	if e := w.done[rep.Job].Err; errs.ClassOf(e) != errs.Internal || strings.Contains(e.Error(), "boom") {
		t.Fatalf("a panic became %v", e)
	}
}

type delParams struct {
	UUID string `api:"uuid,path,required,resource=Zone,missingok"`
}

func TestDelete(t *testing.T) {
	r, w := newTest(t)
	var mode, ahead string
	r.ports.Before = func(_ context.Context, q Asked) (Amended, error) { ahead = q.About.UUID; return Amended{}, nil }
	Register(r, Action{Message: "APIDeleteZoneMsg", Method: "DELETE", Path: "/zones/{uuid}", Access: Admin, Async: true},
		func(_ context.Context, c *Call, p *delParams) (Empty, error) {
			if mode = c.DeleteMode; ahead != p.UUID {
				t.Errorf("the call begins, and %q was told before", ahead)
			}
			return Empty{}, nil
		})
	a, _ := r.Get("APIDeleteZoneMsg")
	serve := func(uuid, q string, plan bool) (*Reply, error) {
		mode, ahead = "", ""
		v, _ := url.ParseQuery(q)
		return r.Serve(t.Context(), &Request{Action: a, Plan: plan, Credentials: &Credentials{SessionUUID: "admin"}, Input: Input{Query: v, Path: []string{"uuid", uuid}}})
	}
	for q, want := range map[string]string{"": "Permissive", "deleteMode=": "Permissive", "deleteMode=Enforcing": "Enforcing"} {
		if _, err := serve(zone1, q, false); err != nil || mode != want {
			t.Errorf("%q: mode %q, error %v", q, mode, err)
		}
	}
	rep, err := serve(zone1, "deleteMode=x", false)
	if err != nil || Wire(w.done[rep.Job].Err).Code != "SYS.1007" {
		t.Errorf("bad mode: %v", err)
	}
	rep, err = serve(gone1, "", false)
	if err != nil || w.done[rep.Job].Err != nil || mode != "" {
		t.Errorf("a missing zone must be a success without the handler: %v %v", err, w.done[rep.Job])
	}
	rep, err = serve("nonsense", "", false)
	if err != nil || Wire(w.done[rep.Job].Err).Code != "SYS.1003" || ahead != "" {
		t.Errorf("text that is no UUID: %v %v", err, w.done[rep.Job])
	}
	rep, err = serve(zone1, "", true)
	if err != nil || !strings.Contains(string(rep.Body), `"Subject":{"Type":"Zone","UUID":"`+zone1+`","Name":""},"Rows":[{"Type":"Zone","UUID":"`+zone1+`"`) || mode != "" || ahead != "" {
		t.Errorf("plan: %v %v, mode %q, told %q", rep, err, mode, ahead)
	}
}

func TestSyncRendersRefs(t *testing.T) {
	r, _ := newTest(t)
	Register(r, Action{Message: "APIGetThingsMsg", Method: "GET", Path: "/things/all", Access: Anonymous},
		func(context.Context, *Call, *struct{}) (Refs, error) { return Refs{{"A", "1"}, {"B", "2"}}, nil })
	a, _ := r.Get("APIGetThingsMsg")
	rep, err := r.Serve(t.Context(), &Request{Action: a})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(rep.Body), `{"inventories":[{"uuid":"1"},{"uuid":"2"}]}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	if rep.Schema["inventories[1]"] != "B" || rep.Schema["inventories[0].nics[0]"] != "Nic" {
		t.Errorf("schema %v", rep.Schema)
	}
}

func TestDynamic(t *testing.T) {
	r, w := newTest(t)
	var got map[string]any
	a := Action{Message: "APIAddFooMsg", Method: "POST", Path: "/foos/{zoneUuid}", Async: true, Access: Admin, Create: true, Returns: "Foo", Params: []Param{
		{Name: "zoneUuid", Type: "string", Required: true, Resource: "Zone"}, {Name: "size", Type: "long", Range: &[2]int64{1, 9}}, {Name: "n", Type: "int", Default: "4"}, {Name: "tags", Type: "[]string"}}}
	err := r.RegisterDynamic(a, func(_ context.Context, c *Call, p map[string]any) (Ref, error) {
		got = p
		return Ref{"Foo", c.ResourceUUID}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	reg, _ := r.Get("APIAddFooMsg")
	serve := func(b string) error {
		rep, err := r.Serve(t.Context(), &Request{Action: reg, Credentials: &Credentials{SessionUUID: "admin"}, Input: Input{Body: body(b), Path: []string{"zoneUuid", zone1}}})
		if err != nil {
			t.Fatal(err)
		}
		return w.done[rep.Job].Err
	}
	if err := serve(`{"size":"3","tags":["a"]}`); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"zoneUuid": zone1, "size": int64(3), "n": int64(4), "tags": []string{"a"}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if err := serve(`{"size":10}`); errs.ClassOf(err) != errs.Invalid {
		t.Fatalf("out of range: %v", err)
	}
	if err := r.RegisterDynamic(a, nil); errs.ClassOf(err) != errs.Exists {
		t.Fatalf("registered twice: %v", err)
	}
	a.Message, a.Params = "APIAddBarMsg", []Param{{Name: "x", Type: "matrix"}}
	if err := r.RegisterDynamic(a, nil); errs.ClassOf(err) != errs.Invalid {
		t.Fatalf("unknown type: %v", err)
	}
}

func TestDo(t *testing.T) {
	r, _ := newTest(t)
	register(r, func(_ context.Context, c *Call, p *everything) (Ref, error) { return Ref{"Thing", c.ResourceUUID}, nil })
	got, err := r.Do(t.Context(), System("root"), "APICreateThingMsg", map[string]any{"name": "a", "zoneUuid": zone1, "resourceUuid": net1})
	if err != nil || got != (Ref{"Thing", net1}) {
		t.Fatalf("%v %v", got, err)
	}
	if _, err := r.Do(t.Context(), System("root"), "APICreateThingMsg", map[string]any{"name": "a", "cpuNum": "x"}); errs.ClassOf(err) != errs.Invalid {
		t.Fatalf("bad number: %v", err)
	}
	if _, err := r.Do(t.Context(), System("root"), "APINoneMsg", nil); errs.ClassOf(err) != errs.NotFound {
		t.Fatalf("unknown message: %v", err)
	}
}

func TestDeclarations(t *testing.T) {
	for name, c := range map[string]struct {
		fn   func(r *Registry)
		want string
	}{
		"no access": {func(r *Registry) { addT[struct{}](r, Action{Message: "APIXMsg", Method: "GET", Path: "/x"}) }, "access class"},
		"no path param": {func(r *Registry) {
			addT[struct{}](r, Action{Message: "APIXMsg", Method: "GET", Path: "/x/{uuid}", Access: Admin})
		}, `path variable "uuid"`},
		"unknown option": {func(r *Registry) {
			addT[struct {
				A string `api:"a,requird"`
			}](r, Action{Message: "APIXMsg", Method: "GET", Path: "/x", Access: Admin})
		}, "requird"},
		"bad default": {func(r *Registry) {
			addT[struct {
				A int `api:"a,default=x"`
			}](r, Action{Message: "APIXMsg", Method: "GET", Path: "/x", Access: Admin})
		}, `default "x"`},
		"same route": {func(r *Registry) {
			addT[delParams](r, Action{Message: "APIXMsg", Method: "GET", Path: "/x/{uuid}", Access: Admin})
			addT[delParams](r, Action{Message: "APIYMsg", Method: "GET", Path: "//x/{uuid}/", Access: Admin})
		}, "served by APIXMsg already"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTest(t)
			defer func() {
				if p := recover(); p == nil || !strings.Contains(p.(string), c.want) {
					t.Fatalf("panic %v, want %q", p, c.want)
				}
			}()
			c.fn(r)
		})
	}
}

func addT[P any](r *Registry, a Action) {
	Register(r, a, func(context.Context, *Call, *P) (Empty, error) { return Empty{}, nil })
}

func TestWireErrors(t *testing.T) {
	inner := errs.New(errs.Unavailable, "host h", "no answer")
	e := Wire(errs.Wrap(errs.Refused, "vm v", inner, "start it"))
	if e.Code != "SYS.1006" || e.Cause == nil || e.Cause.Details != "host h: no answer" || e.Details != "vm v: start it: host h: no answer" {
		t.Errorf("%+v %+v", e, e.Cause)
	}
	if e := Wire(WithCode("ID.1000", errs.New(errs.Unauthenticated, "account a", "wrong password"))); e.Code != "ID.1000" {
		t.Errorf("%+v", e)
	}
	if e := Wire(WithCode("SYS.1000", errs.New(errs.Invalid, "query", "unknown field"))); e.Description != codes[errs.Internal].description {
		t.Errorf("%+v", e)
	}
	if e := Wire(errors.New(strings.Repeat("ü", 4096))); e.Code != "SYS.1000" || len(e.Details) != 4096 {
		t.Errorf("%s %d", e.Code, len(e.Details))
	}
	if e := Wire(errors.New("a" + strings.Repeat("ü", 4096))); len(e.Details) != 4095 {
		t.Errorf("cut inside a character: %d", len(e.Details))
	}
	if got := string(ErrorBody(&ErrorCodeError{Code: &ErrorCode{Code: "SYS.1003"}})); got != `{"error":{"code":"SYS.1003"}}` {
		t.Error(got)
	}
	kept := WithCode("ID.1003", errs.Wrap(errs.Exhausted, "quota", inner, "used up"))
	if got := DecodeError(EncodeError(kept)); string(ErrorBody(got)) != string(ErrorBody(kept)) {
		t.Errorf("%s became %s", ErrorBody(kept), ErrorBody(got))
	}
	if DecodeError(EncodeError(nil)) != nil || Wire(DecodeError("damaged")).Code != "SYS.1000" {
		t.Error("nil or damaged text")
	}
	for c, w := range codes {
		if w.description == "" || w.code == "" {
			t.Errorf("class %s has no wire form", c)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := NewRegistry(hclog.NewNullLogger())
	a := register(r, nil)
	f.Add([]byte(`{"name":" a ","nets":["x",null,3],"cpuNum":"7e1","info":{"k":1},"lists":{"l":[1]},"disks":[{"size":1}]}`), "a.0=1&info.k=v")
	f.Add([]byte(`{"resourceUuid":{},"systemTags":[[]],"deleteMode":5}`), "deleteMode=&systemTags.0=x&lists.a=1")
	f.Fuzz(func(t *testing.T, b []byte, q string) {
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil {
			m = nil
		}
		v, _ := url.ParseQuery(q)
		for _, in := range []Input{{Body: m}, {Query: v}} {
			p, base, err := a.decode(&in)
			if err != nil {
				var he *HTTPError
				if !errors.As(err, &he) {
					t.Fatalf("decode failed with %T: %v", err, err)
				}
				continue
			}
			if err := a.checkFields(p, &base); err != nil && errs.ClassOf(err) != errs.Invalid {
				t.Fatalf("check failed with %v", err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	r := NewRegistry(hclog.NewNullLogger())
	a := register(r, nil)
	in := Input{Body: body(`{"name":"a","zoneUuid":"` + zone1 + `","nets":["` + net1 + `"],"cpuNum":2,"systemTags":["a::b"]}`)}
	b.ReportAllocs()
	for b.Loop() {
		p, base, err := a.decode(&in)
		if err != nil {
			b.Fatal(err)
		}
		if err := a.checkFields(p, &base); err != nil {
			b.Fatal(err)
		}
	}
}

// A DELETE is planned by the resource at the end of its path, or says itself
// what it removes: never by another resource that its path happens to name.
func TestRemoval(t *testing.T) {
	type params struct {
		Zone string `api:"zoneUuid,resource=Zone"`
		DNS  string `api:"dns"`
	}
	type two struct {
		params
		Net string `api:"netUuid,resource=Net"`
	}
	register := func(a Action) (refused any) {
		defer func() { refused = recover() }()
		r, _ := newTest(t)
		a.Message, a.Method, a.Access = "APIRemoveThingMsg", "DELETE", Admin
		h := func(context.Context, *Call, *params) (Empty, error) { return Empty{}, nil }
		if strings.Contains(strings.Join(a.Paths(), ""), "netUuid") {
			Register(r, a, func(context.Context, *Call, *two) (Empty, error) { return Empty{}, nil })
		} else {
			Register(r, a, h)
		}
		return nil
	}
	for path, plain := range map[string]bool{
		"/zones/{zoneUuid}":               true,
		"/zones/{zoneUuid}/dns":           false,
		"/zones/{zoneUuid}/dns/{dns}":     false,
		"/dns/{dns}":                      false,
		"/zones/{zoneUuid}/net/{netUuid}": false,
		"/zones":                          false,
	} {
		refused := register(Action{Path: path})
		if plain != (refused == nil) || !plain && !strings.Contains(fmt.Sprint(refused), "must say what") {
			t.Errorf("%s without Removes: %v", path, refused)
		}
		own := func(context.Context, *Call, any) (Removal, error) { return Removal{}, nil }
		if refused := register(Action{Path: path, Removes: own}); refused != nil {
			t.Errorf("%s with Removes: %v", path, refused)
		}
	}
	if refused := register(Action{Path: "/zones/{zoneUuid}", Optional: []string{"/zones/{zoneUuid}/dns/{dns}"}}); refused == nil {
		t.Error("one path of two ends in the resource, and that was enough")
	}

	r, w := newTest(t)
	Register(r, Action{Message: "APIRemoveDnsMsg", Method: "DELETE", Path: "/zones/{zoneUuid}/dns", Access: Admin,
		Removes: Removes(func(_ context.Context, _ *Call, p *params) (Removal, error) {
			if p.DNS == "" {
				return Removal{}, errs.New(errs.Invalid, "dns", "is missing")
			}
			return Removal{Subject: Row{Type: "Zone", UUID: p.Zone}, Rows: []Row{{Type: "Dns", UUID: "d", Name: p.DNS}}}, nil
		})},
		func(context.Context, *Call, *params) (Empty, error) {
			t.Error("a plan ran the message")
			return Empty{}, nil
		})
	a, _ := r.Get("APIRemoveDnsMsg")
	plan := func(session, dns string) (*Reply, error) {
		in := Input{Path: []string{"zoneUuid", zone1}, Query: url.Values{"dns": {dns}}}
		return r.Serve(t.Context(), &Request{Action: a, Input: in, Plan: true, Credentials: &Credentials{SessionUUID: session}})
	}
	want := `{"plan":{"Subject":{"Type":"Zone","UUID":"` + zone1 + `","Name":""},"Rows":[{"Type":"Dns","UUID":"d","Name":"8.8.8.8"}],"Against":null}}`
	if rep, err := plan("admin", "8.8.8.8"); err != nil || string(rep.Body) != want {
		t.Errorf("got %s, %v\nwant %s", rep.Body, err, want)
	}
	if _, err := plan("admin", ""); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("what the message says against its parameters: %v", err)
	}
	if _, err := plan("bob", "8.8.8.8"); errs.ClassOf(err) != errs.Denied {
		t.Errorf("a plan for somebody who may not call the message: %v", err)
	}
	if len(w.done) != 0 {
		t.Errorf("a plan is no job: %v", w.done)
	}
}
