package kernel_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	system    = pluginv1.Caller_CALLER_SYSTEM
	operation = pluginv1.Caller_CALLER_OPERATION
)

// asks is a plugin with grants, over the service that plugins are given. of has the
// operations that it works for, as the manager of plugins knows them.
type asks struct {
	*kerneltest.Cloud
	service pluginv1.CoreServiceServer
}

func asking(c *kerneltest.Cloud, permissions ...string) asks {
	m := &pluginv1.Manifest{Name: "p", Permissions: permissions}
	return asks{c, pluginsdk.NewCoreService(c.Handler, func() *pluginv1.Manifest { return m }, nil)}
}

// operationOf is the context of a call to the plugin, in an operation of an account.
func (a asks) operationOf(id, account string) context.Context {
	caller := action.Caller{AccountUUID: account, UserUUID: account, Admin: account == kerneltest.Admin}
	return pluginsdk.WithOperationID(action.WithCall(a.Context(), &action.Call{Caller: caller}), id)
}

// names asks for the names of what fits.
func (a asks) names(ctx context.Context, q *pluginv1.QueryRequest) string {
	r, err := a.service.Query(ctx, q)
	a.Ok(err)
	var all []string
	for _, text := range r.GetInventories() {
		var row kerneltest.Row
		a.Ok(json.Unmarshal(text, &row))
		all = append(all, row.Text("name"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func refused(t *testing.T, what string, err error, class errs.Class, words ...string) {
	t.Helper()
	if errs.ClassOf(err) != class {
		t.Errorf("%s: class %q, want %s: %v", what, errs.ClassOf(err), class, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

// A plugin reads the types that it is granted, as the platform or as the caller of
// its operation, and learns nothing of others: by no condition, order or tag.
func TestPluginQuery(t *testing.T) {
	c := boxes(t)
	alice, bob := c.Account(), c.Account()
	on := c.Create("APICreateShelfMsg", kerneltest.P{"name": "s"})
	for name, owner := range map[string]string{"a": alice, "b": bob} {
		c.As(owner).Create("APICreateBoxMsg", kerneltest.P{"name": name, "shelfUuid": on, "size": 3})
	}
	one, both := asking(c, "query:Box"), asking(c, "query:Box", "query:Shelf", "query:UserTag")
	ctx := one.operationOf("op", alice)
	all := func(as pluginv1.Caller, conditions ...string) *pluginv1.QueryRequest {
		return &pluginv1.QueryRequest{Type: "Box", Conditions: conditions, As: as}
	}
	c.Want("what the platform sees", one.names(ctx, all(system)), "a b")
	c.Want("what alice sees", one.names(ctx, all(operation)), "a")
	c.Want("what bob sees of alice's", one.names(one.operationOf("op", bob), all(operation, "name=a")), "")
	c.Want("what is on the shelf", both.names(ctx, all(system, "shelf.name=s", "__userTag__!=x")), "a b")
	page := all(system)
	page.Sort, page.Limit, page.Start, page.WithTotal, page.Fields = "-name", 1, 1, true, []string{"name"}
	r, err := one.service.Query(ctx, page)
	c.Ok(err)
	if len(r.GetInventories()) != 1 || string(r.GetInventories()[0]) != `{"name":"a"}` || r.GetTotal() != 2 {
		t.Errorf("a page is %s of %d", r.GetInventories(), r.GetTotal())
	}

	ask := func(a asks, ctx context.Context, q *pluginv1.QueryRequest) error {
		_, err := a.service.Query(ctx, q)
		return err
	}
	refused(t, "another type", ask(one, ctx, &pluginv1.QueryRequest{Type: "Account", As: system}), errs.Denied, "query:Account", "permissions")
	refused(t, "a join", ask(one, ctx, all(system, "shelf.name=s")), errs.Denied, "query:Shelf")
	refused(t, "a tag", ask(one, ctx, all(system, "__userTag__=x")), errs.Denied, "query:UserTag")
	refused(t, "a negated tag", ask(one, ctx, all(system, "__userTag__!=x")), errs.Denied, "query:UserTag")
	refused(t, "no caller named", ask(one, ctx, all(pluginv1.Caller_CALLER_UNSPECIFIED)), errs.Invalid, "in whose name")
	refused(t, "nobody's operation", ask(one, t.Context(), all(operation)), errs.Refused, "nobody asked")
	refused(t, "an unknown field", ask(one, ctx, all(system, "colour=red")), errs.Invalid, "colour")
	page.Limit = 1001
	refused(t, "too much", ask(one, ctx, page), errs.Invalid, "1001", "0..1000")
}

// Secrets are in no answer and in no condition, whatever is granted.
func TestPluginQuerySecrets(t *testing.T) {
	d := newDoors(t)
	d.make(kerneltest.P{"type": "plain"})
	a := asking(d.Cloud, "query")
	ask := func(q *pluginv1.QueryRequest) error { _, err := a.service.Query(t.Context(), q); return err }
	refused(t, "a secret's condition", ask(&pluginv1.QueryRequest{Type: "LockedDoor", Conditions: []string{"code=1"}, As: system}), errs.Invalid, "code")
	refused(t, "a secret", ask(&pluginv1.QueryRequest{Type: "LockedDoor", Fields: []string{"code"}, As: system}), errs.Invalid, "code")
	refused(t, "a secret's order", ask(&pluginv1.QueryRequest{Type: "Account", Sort: "password", As: system}), errs.Invalid, "password")
	r, err := a.service.Query(t.Context(), &pluginv1.QueryRequest{Type: "Account", As: system})
	d.Ok(err)
	if len(r.GetInventories()) == 0 || strings.Contains(string(r.GetInventories()[0]), "password") {
		t.Errorf("accounts are %s", r.GetInventories())
	}
}

func act(message, step string, as pluginv1.Caller, p kerneltest.P) *pluginv1.ActRequest {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return &pluginv1.ActRequest{Message: message, Step: step, Parameters: text, As: as}
}

func (a asks) act(ctx context.Context, r *pluginv1.ActRequest) (kerneltest.Row, error) {
	answer, err := a.service.Act(ctx, r)
	var row struct{ Inventory kerneltest.Row }
	if err == nil {
		a.Ok(json.Unmarshal(answer.GetResult(), &row))
	}
	return row.Inventory, err
}

// named shows of a resource what it is called by.
type named struct{}

func (named) Render(_ context.Context, _, uuid string) (json.RawMessage, map[string]string, error) {
	return json.RawMessage(`{"uuid":"` + uuid + `"}`), nil, nil
}

// A plugin's call passes the checks of every call, in the name that it gives, and
// is made once however often the operation is repeated.
func TestPluginAct(t *testing.T) {
	c := boxes(t)
	alice := c.Account()
	on := c.Create("APICreateShelfMsg", kerneltest.P{"name": "s"})
	p := asking(c, "act:APICreateBoxMsg", "act:APICreateShelfMsg")
	ctx := p.operationOf("flow.step", alice)
	create := act("APICreateBoxMsg", "box", operation, kerneltest.P{"name": "b", "shelfUuid": on})
	first, err := p.act(ctx, create)
	c.Ok(err)
	for range 2 {
		again, err := p.act(ctx, create)
		if err != nil || again.Text("uuid") != first.Text("uuid") {
			t.Errorf("the repeat made %v, %v; the first call %v", again, err, first)
		}
	}
	other, err := p.act(ctx, act("APICreateBoxMsg", "other", operation, kerneltest.P{"name": "c", "shelfUuid": on}))
	if err != nil || other.Text("uuid") == first.Text("uuid") {
		t.Errorf("another step is %v, %v", other, err)
	}
	if all := c.List("Box"); len(all) != 2 || all[0].Text("name")+all[1].Text("name") != "bc" && all[0].Text("name")+all[1].Text("name") != "cb" {
		t.Errorf("boxes are %v", all)
	}
	c.Want("what alice has", len(c.List("Job", "message=APICreateBoxMsg", "state=Done")), 2)

	// What a restart leaves of the jobs is their rows.
	jobs := job.New(c.Store, named{}, nil)
	jobs.Configure(job.Settings{ErrorBody: action.ErrorBody, EncodeError: action.EncodeError, DecodeError: action.DecodeError})
	before := c.Jobs
	c.Jobs = jobs
	again, err := p.act(ctx, create)
	if err != nil || again.Text("uuid") != first.Text("uuid") {
		t.Errorf("the repeat after a restart: %v, %v", again, err)
	}
	c.Jobs = before
	c.Want("boxes after a restart", len(c.List("Box")), 2)

	_, err = p.act(ctx, act("APICreateShelfMsg", "shelf", operation, kerneltest.P{"name": "t"}))
	refused(t, "the caller's rights", err, errs.Denied, "only the admin")
	_, err = p.act(ctx, act("APIDeleteShelfMsg", "s", system, kerneltest.P{"uuid": on}))
	refused(t, "not granted", err, errs.Denied, "act:APIDeleteShelfMsg", "permissions")
	_, err = p.act(ctx, act("APICreateBoxMsg", "", system, nil))
	refused(t, "no step", err, errs.Invalid, "step")
	_, err = p.act(ctx, act("APICreateBoxMsg", "bad", system, kerneltest.P{"size": "wide"}))
	refused(t, "a malformed call", err, errs.Invalid, "size")
	_, err = p.act(ctx, act("APICreateBoxMsg", "none", system, kerneltest.P{"name": "x", "shelfUuid": strings.Repeat("0", 32)}))
	refused(t, "what is not there", err, errs.NotFound, "Shelf")
}

// A call that fails as something is not available is tried again by a repeat; any
// other outcome stays.
func TestPluginActAgain(t *testing.T) {
	c := boxes(t)
	p := asking(c, "act")
	fails, calls := error(errs.New(errs.Unavailable, "box", "not now")), 0
	for _, m := range []struct {
		message string
		async   bool
	}{{"APIShakeBoxMsg", true}, {"APIWeighBoxMsg", false}} {
		action.Register(c.Actions, action.Action{Message: m.message, Method: "PUT", Path: "/boxes/" + m.message, Async: m.async, Access: action.Admin, Doc: "Does it."},
			func(context.Context, *action.Call, *struct{}) (map[string]int, error) {
				calls++
				return map[string]int{"calls": calls}, fails
			})
		ctx := p.operationOf("op."+m.message, kerneltest.Admin)
		fails, calls = errs.New(errs.Unavailable, "box", "not now"), 0
		for range 2 {
			_, err := p.act(ctx, act(m.message, "s", system, nil))
			refused(t, m.message+" meanwhile", err, errs.Unavailable, "not now")
		}
		fails = nil
		for range 2 {
			r, err := p.service.Act(ctx, act(m.message, "s", operation, nil))
			if err != nil || string(r.GetResult()) != `{"calls":3}` {
				t.Errorf("%s: %s, %v after %d calls", m.message, r.GetResult(), err, calls)
			}
		}
		fails = errs.New(errs.Refused, "box", "never")
		for range 2 {
			_, err := p.act(ctx, act(m.message, "t", system, nil))
			refused(t, m.message, err, errs.Refused, "never")
		}
		c.Want("calls of "+m.message, calls, 4)
	}
}

type oneBox struct {
	UUID string `api:"uuid,path,resource=Box"`
}

// A call that would wait for what its own operation works on, or for what waits for
// that, is refused at once, and others go on.
func TestPluginActOnItsOwn(t *testing.T) {
	c := boxes(t)
	p := asking(c, "act")
	on := c.Create("APICreateShelfMsg", kerneltest.P{"name": "s"})
	var uuid [2]string
	for i := range uuid {
		uuid[i] = c.Create("APICreateBoxMsg", kerneltest.P{"name": "b", "shelfUuid": on})
	}
	var inside []error
	action.Register(c.Actions, action.Action{Message: "APIOpenBoxMsg", Method: "PUT", Path: "/boxes/{uuid}/open", Async: true, Access: action.Normal, Doc: "Opens it."},
		func(ctx context.Context, call *action.Call, b *oneBox) (action.Empty, error) {
			ctx = pluginsdk.WithOperationID(ctx, "op"+call.Job)
			for _, next := range uuid { // the plugin's call
				_, err := p.act(ctx, act("APIOpenBoxMsg", "open"+next, operation, kerneltest.P{"uuid": next}))
				inside = append(inside, err)
			}
			return action.Empty{}, nil
		})
	c.Do("APIOpenBoxMsg", kerneltest.P{"uuid": uuid[0]})
	// Of the first box: itself is refused; in the second box's both are; that went well.
	if len(inside) != 4 || inside[3] != nil {
		t.Fatalf("calls ended with %v", inside)
	}
	for _, err := range inside[:3] {
		refused(t, "a call on its own", err, errs.Refused, "its own caller")
	}
}

// Calls that lead to one another end.
func TestPluginActsWithoutEnd(t *testing.T) {
	c := boxes(t)
	p := asking(c, "act")
	deepest := 0
	var last error
	action.Register(c.Actions, action.Action{Message: "APINestBoxMsg", Method: "PUT", Path: "/boxes/nest", Access: action.Admin, Doc: "Nests."},
		func(ctx context.Context, _ *action.Call, _ *struct{}) (action.Empty, error) {
			deepest++
			ctx = pluginsdk.WithOperationID(ctx, strings.Repeat("x", deepest))
			if _, err := p.act(ctx, act("APINestBoxMsg", "s", system, nil)); deepest > 0 && last == nil {
				last = err
			}
			return action.Empty{}, nil
		})
	c.Do("APINestBoxMsg", nil)
	refused(t, "the deepest call", last, errs.Refused, "wait for one another")
	c.Want("how deep", deepest, 9)
}
