package action

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// capture is a queue that keeps what it is given.
type capture struct{ items []dispatch.Item }

func (c *capture) Submit(it dispatch.Item) error {
	c.items = append(c.items, it)
	return nil
}

type move struct {
	UUID string   `api:"uuid,required"`
	To   []string `api:"to"`
}

const internalMessage = "MoveThingMsg"

func internal(r *Registry, h func(ctx context.Context, c *Call, p *move) (Empty, error)) {
	Register(r, Action{Message: internalMessage, Access: Internal, Async: true, Queue: "uuid", Kind: "vm", Timeout: time.Minute}, h)
}

// An order that goes through JSON, as it would to another node, does there what
// it would have done here.
func TestOrderTravels(t *testing.T) {
	r, w := newTest(t)
	q := &capture{}
	r.Wire(Ports{Auth: w, Lookup: w, Render: w, Jobs: w, Queue: q})
	type seen struct {
		c Call
		p everything
	}
	var got []seen
	a := register(r, func(_ context.Context, c *Call, p *everything) (Ref, error) {
		got = append(got, seen{*c, *p})
		return Ref{"Thing", c.ResourceUUID}, nil
	})
	_, err := r.Serve(t.Context(), &Request{Action: a, Credentials: &Credentials{SessionUUID: "alice"}, Client: "192.0.2.1",
		Input: Input{Body: body(`{"name":"a","zoneUuid":"` + zone1 + `","cpuNum":"3","deep":{"k":["v"]}}`), UserTags: []string{"x"}}})
	if err != nil || len(q.items) != 1 || len(got) != 0 {
		t.Fatalf("%v, %d queued, %d ran", err, len(q.items), len(got))
	}
	it := q.items[0]
	if it.Owner != "alice" || it.Work.Name() != a.Message || it.Work.JobUUID() == "" {
		t.Errorf("queued %+v", it)
	}
	text, err := json.Marshal(it.Work)
	if err != nil {
		t.Fatal(err)
	}
	travelled := &Order{}
	if err := json.Unmarshal(text, travelled); err != nil {
		t.Fatal(err)
	}
	r.Run(it)
	r.Run(dispatch.Item{Key: it.Key, Work: travelled})
	if len(got) != 2 {
		t.Fatalf("ran %d times", len(got))
	}
	here, _ := json.Marshal(got[0].p)
	there, _ := json.Marshal(got[1].p)
	one, _ := json.Marshal(got[0].c)
	two, _ := json.Marshal(got[1].c)
	if string(here) != string(there) || string(one) != string(two) || got[1].c.ResourceUUID == "" || got[1].c.Client != "192.0.2.1" {
		t.Errorf("here  %s %s\nthere %s %s", here, one, there, two)
	}
	if o, ok := w.done[it.Work.JobUUID()]; !ok || o.Err != nil || o.Ref == nil {
		t.Errorf("the job ended with %+v", o)
	}
}

// Internal messages are refused by name to everybody but the platform, and are
// in no list from which routes and descriptions are made.
func TestInternal(t *testing.T) {
	r, w := newTest(t)
	ran := 0
	internal(r, func(_ context.Context, c *Call, p *move) (Empty, error) {
		if !c.Caller.System || c.Caller.AccountUUID != "root" || p.UUID != net1 || len(p.To) != 2 {
			t.Errorf("called as %+v with %+v", c.Caller, p)
		}
		ran++
		return Empty{}, nil
	})
	r.Wire(Ports{Auth: w, Lookup: w, Jobs: w, Queue: queue{w, r.Run}, SystemAccount: "root"})
	for _, a := range r.All() {
		if a.Message == internalMessage {
			t.Error("it is listed")
		}
	}
	params := map[string]any{"uuid": net1, "to": []string{"a", "b"}}
	if _, err := r.Do(t.Context(), Caller{AccountUUID: "root", Admin: true}, internalMessage, params); errs.ClassOf(err) != errs.Denied {
		t.Errorf("as administrator: %v", err)
	}
	a, _ := r.Get(internalMessage)
	req := &Request{Action: a, Credentials: &Credentials{SessionUUID: "admin"}, Input: Input{Body: body(`{"uuid":"` + net1 + `"}`)}}
	if reply, err := r.Serve(t.Context(), req); err == nil && w.done[reply.Job].Err == nil {
		t.Error("a client calls it")
	}
	if ran != 0 {
		t.Fatal("it ran for a client")
	}
	if err := r.Submit(t.Context(), internalMessage, params); err != nil || ran != 1 {
		t.Errorf("as the platform: %v, ran %d times", err, ran)
	}
	if _, err := r.DoSystem(t.Context(), internalMessage, params); err != nil || ran != 2 {
		t.Errorf("as the platform: %v, ran %d times", err, ran)
	}
	if err := r.Submit(t.Context(), internalMessage, map[string]any{"to": []string{}}); errs.ClassOf(err) != errs.Invalid || ran != 2 {
		t.Errorf("without its uuid: %v", err)
	}
	for _, bad := range []Action{
		{Message: "APIMoveMsg", Access: Internal, Async: true, Queue: "uuid"},
		{Message: "MoveMsg", Access: Internal, Async: true, Queue: "uuid", Method: http.MethodPut, Path: "/x/{uuid}"},
		{Message: "MoveMsg", Access: Internal, Async: true},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("accepted %+v", bad)
				}
			}()
			Register(NewRegistry(hclog.NewNullLogger()), bad, func(context.Context, *Call, *move) (Empty, error) { return Empty{}, nil })
		}()
	}
}

func queued(t *testing.T) (*Registry, *dispatch.Queues) { return queuedWith(t, dispatch.Limits{}) }

func queuedWith(t *testing.T, l dispatch.Limits) (*Registry, *dispatch.Queues) {
	t.Helper()
	r, w := newTest(t)
	q := dispatch.New(l, r.Run)
	r.Wire(Ports{Lookup: w, Jobs: w, Queue: q})
	return r, q
}

// Work that would wait for a key which it holds itself, or for which it is
// waited for, is refused at once.
func TestWaitForOneself(t *testing.T) {
	r, q := queued(t)
	errOf := map[string]error{}
	internal(r, func(ctx context.Context, _ *Call, p *move) (Empty, error) {
		if len(p.To) == 0 {
			return Empty{}, nil
		}
		_, err := r.DoSystem(ctx, internalMessage, map[string]any{"uuid": p.To[0], "to": p.To[1:]})
		errOf[p.UUID] = err
		return Empty{}, err
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(uuid string, to ...string) error {
		_, err := r.DoSystem(ctx, internalMessage, map[string]any{"uuid": uuid, "to": to})
		return err
	}
	if err := call("a", "b", "c"); err != nil {
		t.Errorf("three keys: %v", err)
	}
	for _, way := range [][]string{{"a"}, {"b", "a"}, {"b", "c", "b"}} {
		if err := call("a", way...); errs.ClassOf(err) != errs.Refused {
			t.Errorf("a, then %v: %v", way, err)
		}
	}
	err := r.Turn(ctx, nil, "a", "vm", "One", func(ctx context.Context) error {
		return r.Turn(ctx, nil, "a", "vm", "Two", func(context.Context) error { t.Error("it ran inside itself"); return nil })
	})
	if errs.ClassOf(err) != errs.Refused {
		t.Errorf("a turn in a turn: %v", err)
	}
	if err := q.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// Work that waits for a host is known before it runs where its message says so, tells
// of it while it runs, and so do those who wait for it.
func TestWorkOnHosts(t *testing.T) {
	r, w := newTest(t)
	q := &capture{}
	r.Wire(Ports{Lookup: w, Jobs: w, Queue: q, SystemAccount: "root"})
	Register(r, Action{Message: internalMessage, Access: Internal, Async: true, Queue: "uuid", On: func(_ context.Context, key string, params any) string {
		return key + " " + params.(*move).To[0]
	}}, func(context.Context, *Call, *move) (Empty, error) { return Empty{}, nil })
	if err := r.Submit(t.Context(), internalMessage, map[string]any{"uuid": net1, "to": []string{"A"}}); err != nil || q.items[0].On != net1+" A" {
		t.Errorf("queued %+v, %v", q.items, err)
	}

	r, queues := queuedWith(t, dispatch.Limits{Parallel: 4, Patience: time.Millisecond}) // lent at once
	hang, inner := make(chan struct{}), make(chan struct{})
	Register(r, Action{Message: internalMessage, Access: Internal, Async: true, Queue: "uuid", Kind: "inner"}, func(ctx context.Context, _ *Call, _ *move) (Empty, error) {
		WaitsFor(ctx, "A")
		close(inner)
		<-hang
		return Empty{}, nil
	})
	WaitsFor(t.Context(), "A") // nobody's work
	ended := make(chan error, 1)
	go func() {
		ended <- r.Turn(t.Context(), nil, "k", "outer", "Outer", func(ctx context.Context) error {
			_, err := r.DoSystem(ctx, internalMessage, map[string]any{"uuid": net1})
			return err
		})
	}()
	<-inner
	lent := func() bool { k := queues.Stats().Kinds; return k["inner"].Lent == 1 && k["outer"].Lent == 1 }
	for end := time.Now().Add(10 * time.Second); !lent(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("who waits for a host keeps its place: %+v", queues.Stats().Kinds)
		}
	}
	close(hang)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := queues.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who gives up before its turn has come is never called; who has begun is
// waited for.
func TestGiveUp(t *testing.T) {
	r, q := queued(t)
	hold, holds := make(chan struct{}), make(chan struct{})
	ran := false
	internal(r, func(context.Context, *Call, *move) (Empty, error) { ran = true; return Empty{}, nil })
	stop := make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- r.Turn(t.Context(), stop, "k", "", "Hold", func(context.Context) error { close(holds); <-hold; return errors.New("answer") })
	}()
	<-holds
	close(stop) // it has begun, so it is waited for
	if err := r.Turn(t.Context(), stop, "k", "", "Late", func(context.Context) error { ran = true; return nil }); !errors.Is(err, ErrNotBegun) {
		t.Errorf("stopped: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.DoSystem(ctx, internalMessage, map[string]any{"uuid": "k"}); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("cancelled: %v", err)
	}
	if c := q.Chains("k")["k"]; c.Running == nil || c.Running.Name != "Hold" || len(c.Waiting) != 2 || c.Waiting[1].Name != internalMessage {
		t.Errorf("the queue has %+v", c)
	}
	close(hold)
	if err := <-held; err == nil || err.Error() != "answer" {
		t.Errorf("the one that had begun: %v", err)
	}
	if err := q.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ran {
		t.Error("work ran that nobody waits for")
	}
	if n := len(r.waiters.open); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}

// What is done to a part runs in the queue of its whole, whose inventory is the answer
// when a flow ends the job; who cannot tell the whole does not get so far.
func TestUnder(t *testing.T) {
	r, w := newTest(t)
	q := &capture{}
	r.Wire(Ports{Auth: w, Lookup: w, Render: w, Jobs: w, Queue: q, Plan: w})
	whole, fails := "", error(nil)
	act := Action{Message: "APIMovePartMsg", Method: http.MethodPut, Path: "/parts/{uuid}/actions", Async: true, Access: Normal, Queue: "uuid", Returns: "Thing",
		Under: func(_ context.Context, part string) (string, error) {
			if part != net1 {
				t.Errorf("asked for the whole of %s", part)
			}
			return whole, fails
		}}
	Register(r, act, func(context.Context, *Call, *part) (Ref, error) { return Ref{}, nil })
	submit := func() error { return r.Submit(t.Context(), act.Message, map[string]any{"uuid": net1}) }
	for _, want := range []string{"whole", net1} { // the second time nobody knows
		if whole = want; want == net1 {
			whole = ""
		}
		if err := submit(); err != nil {
			t.Fatal(err)
		}
		if got := q.items[len(q.items)-1].Key; got != want {
			t.Errorf("it was queued under %s, want %s", got, want)
		}
	}
	a, _ := r.Get(act.Message)
	if got := a.shown(&Call{}, &part{UUID: net1}, "whole"); got != "whole" {
		t.Errorf("it answers %s", got)
	}
	fails = errors.New("the database is away")
	if err := submit(); !errors.Is(err, fails) || len(q.items) != 2 {
		t.Errorf("got %v, and %d are queued", err, len(q.items))
	}
}

type part struct {
	UUID string `api:"uuid,required,path"`
}
