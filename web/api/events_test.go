package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type guest struct {
	resource.Base
	resource.Owned
	State    string `db:"state" kumo:"size=32"`
	Password string `db:"password" kumo:"text,secret"`
}

var guests = resource.Define[guest](resource.Type{Name: "Guest", Path: "/guests"})

// live is a server with a stream of events about guests, by UUID to account.
type live struct {
	t      *testing.T
	bus    *event.Bus
	server *http.Server
	addr   string
	ended  atomic.Bool // alice's session

	mu     sync.Mutex
	guests map[string]string
	asked  []string
}

func newLive(t *testing.T) *live {
	l := &live{t: t, bus: event.New(), guests: map[string]string{}}
	types := resource.NewRegistry()
	if err := types.Add(guests.Type); err != nil {
		t.Fatal(err)
	}
	r := action.NewRegistry(hclog.NewNullLogger())
	for name, access := range map[string]action.Access{"Guest": action.Normal, "Secret": action.Admin} {
		if err := r.RegisterQuery(name, "/"+strings.ToLower(name)+"s", access, ""); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{Actions: r, Types: types}, hclog.NewNullLogger())
	s.ServeEvents(EventOptions{Bus: l.bus, Authenticate: l.authenticate, Query: l.query, HeartBeat: 50 * time.Millisecond,
		Alive: func(_ context.Context, c action.Caller) bool { return c.SessionUUID != "alice" || !l.ended.Load() }})
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.addr, l.server = n.Addr().String(), s.HTTPServer()
	go func() { _ = l.server.Serve(n) }() // ends with Close
	t.Cleanup(func() { _ = l.server.Close() })
	return l
}

func (l *live) authenticate(_ context.Context, c action.Credentials) (action.Caller, error) {
	if c.SessionUUID == "nobody" {
		return action.Caller{}, errs.New(errs.Unauthenticated, "session", "unknown")
	}
	return action.Caller{SessionUUID: c.SessionUUID, AccountUUID: c.SessionUUID, Admin: c.SessionUUID == "admin"}, nil
}

func (l *live) query(_ context.Context, typeName string, v url.Values, c action.Caller) (json.RawMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, typeName+" "+v.Get("fields"))
	res := &action.QueryResult{}
	for _, uuid := range strings.Split(strings.TrimPrefix(v.Get("q"), "uuid?="), ",") {
		if account, ok := l.guests[uuid]; ok && (c.Admin || account == c.AccountUUID) {
			res.Inventories = append(res.Inventories, json.RawMessage(fmt.Sprintf(`{"uuid":%q,"state":"Running","name":"n"}`, uuid)))
		}
	}
	return res.Body()
}

// client reads one stream.
type client struct {
	t    *testing.T
	res  *http.Response
	in   *bufio.Scanner
	last string // ID
}

func (l *live) open(session, query string, header ...string) *client {
	l.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+l.addr+"/zstack/v1/events?"+query, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "OAuth "+session)
	if len(header) > 0 {
		req.Header.Set("Last-Event-ID", header[0])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { res.Body.Close() })
	return &client{t: l.t, res: res, in: bufio.NewScanner(res.Body)}
}

// next returns the name and the data of the next event; "" at the end.
func (c *client) next() (name, data string) {
	for c.in.Scan() {
		line := c.in.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			c.last = line[4:]
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "" && name != "":
			return name, data
		}
	}
	return "", ""
}

// id reads the ID that ends a batch.
func (c *client) id() {
	c.t.Helper()
	for c.last = ""; c.last == "" && c.in.Scan(); {
		if id, ok := strings.CutPrefix(c.in.Text(), "id: "); ok {
			c.last = id
		}
	}
}

func (c *client) expect(name string, parts ...string) {
	c.t.Helper()
	got, data := c.next()
	if got != name || slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(data, p) }) {
		c.t.Fatalf("got %q %s, want %q with %q", got, data, name, parts)
	}
}

// change publishes what happened to a guest.
func (l *live) change(verb store.Verb, uuid, account string, fields ...string) {
	l.mu.Lock()
	if verb == store.Deleted {
		delete(l.guests, uuid)
	} else if verb == store.Created {
		l.guests[uuid] = account
	}
	l.mu.Unlock()
	e := event.Event{Topic: event.Resource, Type: "Guest", UUID: uuid, Verb: verb, Fields: fields, Job: "job1"}
	if verb != store.Updated {
		e.AccountUUID = account
	}
	l.bus.Publish(e)
}

// started waits until a stream reads.
func (l *live) started(n int) {
	for l.bus.Stats().Readers < n {
		time.Sleep(time.Millisecond)
	}
}

// TestEventsAreOnesOwn proves that a tenant hears of its own and nothing of
// others', and nobody of secrets.
func TestEventsAreOnesOwn(t *testing.T) {
	l := newLive(t)
	alice, admin := l.open("alice", ""), l.open("admin", "")
	if ct := alice.res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	l.started(2)
	l.change(store.Created, "b1", "bob")
	l.change(store.Created, "a1", "alice")
	alice.expect("resource", `"uuid":"a1"`, `"verb":"created"`, `"job":"job1"`)
	for range 2 {
		admin.expect("resource", `"verb":"created"`)
	}
	l.change(store.Updated, "b1", "bob", "state")
	l.change(store.Updated, "a1", "alice", "password", "state")
	alice.expect("resource", `"uuid":"a1"`, `"fields":["state"]`, `"values":{"state":"Running"}`)
	l.bus.Publish(event.Event{Topic: event.Job, UUID: "j1", AccountUUID: "bob", Body: json.RawMessage(`{"uuid":"j1"}`)},
		event.Event{Topic: event.Job, UUID: "j2", AccountUUID: "alice", Body: json.RawMessage(`{"uuid":"j2"}`)},
		event.Event{Topic: event.Resource, Type: "Secret", UUID: "s1", Verb: store.Deleted})
	alice.expect("job", `"j2"`)
	l.change(store.Updated, "a1", "alice", "password") // nothing that one may see
	l.change(store.Deleted, "b1", "bob")
	l.change(store.Deleted, "a1", "alice")
	alice.expect("resource", `"uuid":"a1"`, `"verb":"deleted"`)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, asked := range l.asked {
		if strings.Contains(asked, "password") {
			t.Errorf("asked for %s", asked)
		}
	}
}

// TestNotices proves that what plugins tell of a resource reaches those who may read it.
func TestNotices(t *testing.T) {
	l := newLive(t)
	alice, admin := l.open("alice", "topics=notice"), l.open("admin", "topics=notice&uuids=b1")
	l.started(2)
	l.change(store.Created, "b1", "bob")
	l.change(store.Created, "a1", "alice")
	for _, n := range [][3]string{{"Guest", "b1", "one"}, {"Guest", "gone", "two"}, {"Secret", "s1", "three"}, {"Guest", "a1", "four"}} {
		l.bus.Publish(event.Event{Topic: event.Notice, Type: n[0], UUID: n[1], Name: n[2], Plugin: "observer", Text: "line\n\ntwo"})
	}
	alice.expect("notice", `"uuid":"a1"`, `"name":"four"`, `"plugin":"observer"`, `"text":"line\n\ntwo"`)
	admin.expect("notice", `"uuid":"b1"`, `"name":"one"`)
}

func TestEventsFiltered(t *testing.T) {
	l := newLive(t)
	c := l.open("admin", "types=Guest&uuids=a1,a2&topics=resource")
	l.started(1)
	l.change(store.Created, "a3", "x")
	l.bus.Publish(event.Event{Topic: event.Job, Type: "Guest", UUID: "j", Subject: "a1", Body: json.RawMessage(`{}`)},
		event.Event{Topic: event.Resource, Type: "Other", UUID: "a1", Verb: store.Deleted}, event.Event{Topic: event.Schema})
	l.change(store.Created, "a2", "x")
	c.expect("resource", `"a2"`)
	for query, want := range map[string]int{"topics=nonsense": action.StatusAPIError, "uuids=" + strings.Repeat("a,b", 1): 200} {
		if got := l.open("admin", query).res.StatusCode; got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	if got := l.open("nobody", "").res.StatusCode; got == http.StatusOK {
		t.Error("a stranger reads events")
	}
}

// TestEventsResumed proves that a client that comes back gets what it missed, or
// is told that it is gone.
func TestEventsResumed(t *testing.T) {
	l := newLive(t)
	c := l.open("admin", "")
	l.started(1)
	l.change(store.Created, "a1", "x")
	c.expect("resource", `"a1"`)
	c.id()
	if err := c.res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	l.change(store.Created, "a2", "x")
	again := l.open("admin", "after="+c.last)
	again.expect("resource", `"a2"`)
	l.open("admin", "", c.last).expect("resource", `"a2"`)
	l.open("admin", "after=another-7").expect("lost")
}

// TestEventsPaced proves that a resource that changes all the time is told of
// four times a second, the last one too, and that a storm is told as one.
func TestEventsPaced(t *testing.T) {
	l := newLive(t)
	c := l.open("admin", "topics=resource,schema")
	l.started(1)
	l.change(store.Created, "a1", "x")
	c.expect("resource", `"created"`)
	begin := time.Now()
	for range 100 {
		l.change(store.Updated, "a1", "x", "state")
	}
	l.change(store.Updated, "a1", "x", "name")
	for told, last := 0, false; !last; {
		told++
		name, data := c.next()
		if last = strings.Contains(data, `"name"`); name != "resource" || time.Duration(told-2)*perResource > time.Since(begin) {
			t.Fatalf("%d events after %s: %s %s", told, time.Since(begin), name, data)
		}
	}
	for i := range 2 * perType {
		l.change(store.Created, fmt.Sprint("storm", i), "x")
	}
	l.bus.Publish(event.Event{Topic: event.Schema})
	told := 0
	for busy := false; ; {
		name, _ := c.next()
		switch name {
		case "resource":
			told++
			continue
		case "busy":
			busy = true
			continue
		case "schema":
		}
		if !busy || told > perType {
			t.Errorf("busy %t after %d, then %q", busy, told, name)
		}
		break
	}
}

// TestEventsEnd proves that a stream ends with its session and with the server,
// that it shows it is alive, and that an account cannot have any number.
func TestEventsEnd(t *testing.T) {
	l := newLive(t)
	alice := l.open("alice", "")
	for beats := 0; beats < 2 && alice.in.Scan(); {
		if strings.HasPrefix(alice.in.Text(), ": still") {
			beats++
		}
	}
	l.ended.Store(true)
	l.change(store.Created, "a1", "alice")
	if name, data := alice.next(); name != "" {
		t.Errorf("after the end of the session: %s %s", name, data)
	}
	var open []*client
	for range streamsOfAccount {
		open = append(open, l.open("admin", ""))
	}
	if got := l.open("admin", "").res.StatusCode; got == http.StatusOK {
		t.Error("one stream too many is served")
	}
	if got := l.open("bob", "").res.StatusCode; got != http.StatusOK {
		t.Errorf("another account's stream: %d", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		t.Errorf("streams hold up the end of the server: %v", err)
	}
	for _, c := range open {
		if name, _ := c.next(); name != "" {
			t.Errorf("event %s at the end", name)
		}
	}
}
