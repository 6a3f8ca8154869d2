package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type thing struct {
	resource.Base
	resource.Owned
	State    string `db:"state" kumo:"size=32,null"`
	Password string `db:"password" kumo:"text,null,secret"`
}

var things = resource.Define[thing](resource.Type{Name: "Thing", Path: "/things"})

const secret = "do-not-write-this"

type params struct {
	UUID     string `api:"uuid,path,resource=Thing"`
	State    string `api:"state"`
	Password string `api:"password,secret"`
}

// cloud is enough of a server to make calls.
type cloud struct {
	t     *testing.T
	store *store.Store
	audit *Service
	jobs  *job.Service
	calls *action.Registry
}

type jobs struct{ *job.Service }

func (j jobs) Accept(ctx context.Context, a action.Job) error {
	return j.Service.Accept(ctx, job.Job{UUID: a.UUID, Message: a.Message, ResourceType: a.ResourceType, ResourceUUID: a.ResourceUUID, AccountUUID: a.AccountUUID})
}

func (j jobs) Reject(ctx context.Context, a action.Job, err error) error {
	return j.Service.Reject(ctx, job.Job{UUID: a.UUID, Message: a.Message, AccountUUID: a.AccountUUID}, err)
}

func (j jobs) Finish(ctx context.Context, uuid string, o action.Outcome) {
	j.Service.Finish(ctx, uuid, job.Outcome{Err: o.Err})
}

// accounts are callers by session.
type accounts struct{}

func (accounts) Authenticate(_ context.Context, c action.Credentials) (action.Caller, error) {
	if c.SessionUUID == "unknown" {
		return action.Caller{}, errs.New(errs.Unauthenticated, "session", "is unknown")
	}
	return action.Caller{SessionUUID: c.SessionUUID, AccountUUID: "acc-" + c.SessionUUID, UserUUID: "user", Admin: c.SessionUUID == "root"}, nil
}

func newCloud(t *testing.T, dsn string) *cloud {
	types := append(append(append(Types(), job.Types()...), config.Types()...), things.Type)
	st := storetest.OpenDSN(t, dsn, types...)
	log := storetest.Logger(t)
	cfg := config.New(st, log)
	c := &cloud{t: t, store: st, audit: New(st, cfg, log), jobs: job.New(st, nil, log), calls: action.NewRegistry(log)}
	c.jobs.Configure(job.Settings{EncodeError: action.EncodeError, DecodeError: action.DecodeError})
	if err := c.audit.Register(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.calls.Wire(action.Ports{Auth: accounts{}, Jobs: jobs{c.jobs}, Queue: dispatch.New(dispatch.Limits{}, c.calls.Run), Audit: c.audit,
		Lookup: action.NewLookup(st, st.Registry())})
	change := func(ctx context.Context, call *action.Call, p *params) (action.Ref, error) {
		ref := action.Ref{Type: "Thing", UUID: p.UUID}
		if p.State == "bad" {
			return ref, errs.New(errs.Refused, "Thing", "cannot be %s with %s", p.State, p.Password)
		}
		return ref, st.Update(ctx, func(tx *store.Tx) error {
			return store.Set(ctx, tx, things.Type, p.UUID, map[string]any{"state": p.State, "password": p.Password})
		})
	}
	action.Register(c.calls, action.Action{Message: "APIChangeThingMsg", Method: "PUT", Path: "/things/{uuid}/actions", Async: true, Access: action.Normal, Returns: "Thing"}, change)
	action.Register(c.calls, action.Action{Message: "APISetThingMsg", Method: "PUT", Path: "/things/{uuid}", Access: action.Normal},
		func(ctx context.Context, call *action.Call, p *params) (action.Empty, error) {
			_, err := change(ctx, call, p)
			return action.Empty{}, err
		})
	action.Register(c.calls, action.Action{Message: "APIAdminThingMsg", Method: "PUT", Path: "/things/{uuid}/admin", Access: action.Admin, Async: true}, change)
	action.Register(c.calls, action.Action{Message: "APIGetThingMsg", Method: "GET", Path: "/things/{uuid}", Access: action.Normal}, change)
	return c
}

// call makes a call and waits for its end.
func (c *cloud) call(message, session, uuid string, values map[string]any) error {
	c.t.Helper()
	a, ok := c.calls.Get(message)
	if !ok {
		c.t.Fatal("no " + message)
	}
	in := action.Input{Path: []string{"uuid", uuid}, Body: map[string]json.RawMessage{}}
	for k, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		in.Body[k] = raw
	}
	r, err := c.calls.Serve(c.t.Context(), &action.Request{Action: a, Input: in, Credentials: &action.Credentials{SessionUUID: session}, Client: "192.0.2.7"})
	if err != nil || r.Job == "" {
		return err
	}
	st, err := c.jobs.Wait(c.t.Context(), r.Job, 20*time.Second)
	if err != nil || !st.Done {
		c.t.Fatalf("%s: done %t, %v", message, st.Done, err)
	}
	return st.Err
}

func (c *cloud) records() []*Row {
	c.t.Helper()
	rows, err := store.Find(c.t.Context(), c.store, Type, "ORDER BY `uuid`")
	if err != nil {
		c.t.Fatal(err)
	}
	return rows
}

func file(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "k.db") }

// TestRecords makes calls that end in every way, and compares what is kept.
func TestRecords(t *testing.T) {
	c := newCloud(t, file(t))
	x := &thing{Base: resource.Base{UUID: resource.NewUUID(), Name: "x"}, Owned: resource.Owned{AccountUUID: "acc-alice"}}
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error { return store.Insert(t.Context(), tx, things, x) }); err != nil {
		t.Fatal(err)
	}
	good, bad := map[string]any{"state": "on", "password": secret}, map[string]any{"state": "bad", "password": secret}
	missing := resource.NewUUID()
	for _, step := range []struct {
		message, session, uuid string
		values                 map[string]any
		want                   string // success, fields, resource
	}{
		{"APIChangeThingMsg", "alice", x.UUID, good, "true state " + x.UUID},
		{"APIChangeThingMsg", "alice", x.UUID, bad, "false  " + x.UUID},
		{"APISetThingMsg", "alice", x.UUID, good, "true state " + x.UUID},
		{"APISetThingMsg", "alice", x.UUID, bad, "false  " + x.UUID},
		{"APIAdminThingMsg", "alice", x.UUID, good, "false  " + x.UUID},
		{"APISetThingMsg", "alice", missing, good, "false  " + missing},
		{"APISetThingMsg", "unknown", x.UUID, good, "false  " + x.UUID},
		{"APIGetThingMsg", "alice", x.UUID, good, ""},
	} {
		before := len(c.records())
		err := c.call(step.message, step.session, step.uuid, step.values)
		all := c.records()
		if step.want == "" {
			if len(all) != before {
				t.Errorf("%s has a record", step.message)
			}
			continue
		}
		if len(all) != before+1 {
			t.Fatalf("%s as %s (%v): %d records more", step.message, step.session, err, len(all)-before)
		}
		r := all[before]
		code := ""
		if err != nil {
			code = action.Wire(err).Code
		}
		want := strings.Split(step.want, " ")
		if r.Success != (err == nil) || r.ErrorCode != code || r.Success != (want[0] == "true") || r.Fields != want[1] || r.ResourceUUID != want[2] ||
			r.ResourceType != "Thing" || r.Message != step.message || r.Client != "192.0.2.7" || r.CreateDate.IsZero() || r.Took < 0 {
			t.Errorf("%s (%v): %+v, want %q", step.message, err, r, want)
		}
		switch {
		case step.session == "unknown":
			if r.AccountUUID != "" {
				t.Errorf("a stranger is %s", r.AccountUUID)
			}
		case r.AccountUUID != "acc-alice" || r.UserUUID != "user" || len(r.Session) != 16 || strings.Contains(r.Session, "alice"):
			t.Errorf("who: %+v", r)
		}
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, secret) || strings.Contains(text, "password") {
			t.Errorf("a secret is kept: %s", text)
		}
	}
}

// TestWithTheEnd proves that a job has its record when, and only when, its end is
// committed, and that one of the last process has it too.
func TestWithTheEnd(t *testing.T) {
	dsn := file(t)
	c := newCloud(t, dsn)
	ctx, uuid := t.Context(), resource.NewUUID()
	if err := c.jobs.Accept(ctx, job.Job{UUID: uuid, Message: "APIChangeThingMsg", AccountUUID: "acc-bob", ResourceType: "Thing", ResourceUUID: uuid}); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Update(ctx, func(tx *store.Tx) error {
		if err := c.jobs.CompleteTx(ctx, tx, uuid, nil); err != nil {
			return err
		}
		return errors.New("rolled back")
	}); err == nil || len(c.records()) != 0 {
		t.Fatalf("%v, %d records", err, len(c.records()))
	}
	again := job.New(c.store, nil, hclog.NewNullLogger()) // as after a restart, where nobody knows the call
	if err := again.Start(ctx, nil); err != nil {
		t.Fatal(err)
	}
	all := c.records()
	if len(all) != 1 || all[0].Success || all[0].AccountUUID != "acc-bob" || all[0].JobUUID != uuid || all[0].ResourceUUID != uuid {
		t.Errorf("records %+v", all)
	}
}

// TestFlood proves that refused calls cannot fill the disk, and that one address
// does not silence another.
func TestFlood(t *testing.T) {
	c := newCloud(t, file(t))
	for range refusedBurst + 40 {
		if err := c.call("APISetThingMsg", "unknown", resource.NewUUID(), nil); err == nil {
			t.Fatal("no error")
		}
	}
	if n := len(c.records()); n < refusedBurst || n > refusedBurst+10 {
		t.Errorf("%d records of one address", n)
	}
	l, now := newLimiter(), time.Now()
	kept := 0
	for i := range 100 * refusedBurst {
		if l.allow(&action.Call{Client: fmt.Sprint(i % 1000)}, now) {
			kept++
		}
	}
	if kept != strangerBurst {
		t.Errorf("%d of all addresses together, not %d", kept, strangerBurst)
	}
	if !l.allow(&action.Call{Caller: action.Caller{AccountUUID: "a"}}, now) {
		t.Error("strangers silence an account")
	}
	if l.allow(&action.Call{Client: "1"}, now) || !l.allow(&action.Call{Client: "1"}, now.Add(refusedEvery)) {
		t.Error("it does not open again with time")
	}
}

func TestSweep(t *testing.T) {
	c := newCloud(t, file(t))
	ctx := t.Context()
	var rows []*Row
	for i := range 1500 {
		rows = append(rows, &Row{UUID: resource.NewUUID(), Message: "m", CreateDate: resource.Time{Time: time.Now().Add(-time.Duration(i%2) * 91 * 24 * time.Hour)}})
	}
	if err := c.store.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, Type, rows...) }); err != nil {
		t.Fatal(err)
	}
	if n, err := c.audit.Sweep(ctx); n != 750 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if n := len(c.records()); n != 750 {
		t.Errorf("%d are left", n)
	}
}
