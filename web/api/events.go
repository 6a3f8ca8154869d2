package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// EventOptions are what the stream of events needs.
type EventOptions struct {
	Bus *event.Bus
	// Authenticate tells who sent credentials; Alive whether a session that was
	// good at the beginning still is, without making it live longer.
	Authenticate func(ctx context.Context, c action.Credentials) (action.Caller, error)
	Alive        func(ctx context.Context, c action.Caller) bool
	// Query answers a query as the caller sees it: what it does not show is not
	// told.
	Query func(ctx context.Context, typeName string, v url.Values, c action.Caller) (json.RawMessage, error)

	// HeartBeat is the time after which a stream without events has a comment,
	// 15 s when it is zero.
	HeartBeat time.Duration
}

// Bounds of streams.
const (
	streamsInAll     = 512
	streamsOfAccount = 16
	// keyStream is how long a stream lasts that has no session to end with: a
	// client with an access key connects again and proves itself again.
	keyStream = time.Hour
	// eventWrite bounds the writing of one batch to a slow client.
	eventWrite = 10 * time.Second
	// maxInterest bounds the types and the UUIDs of one stream.
	maxInterest = 1000
)

// streams counts the open streams and ends them with the server.
type streams struct {
	EventOptions
	server *Server
	ending chan struct{}
	once   sync.Once

	mu        sync.Mutex
	open      int
	byAccount map[string]int
}

// ServeEvents adds GET /events: server-sent events of what happens to resources
// and jobs that the caller may read.
//
//	?types=VmInstance,Volume  only these types (default: all)
//	?uuids=…,…                only these resources, or jobs about them
//	?topics=resource,job      of resource, job, schema, notice (default: all)
//	?after=ID                 goes on after that event; the header Last-Event-ID
//	                          says the same
//
// An event "lost" says that events are gone, "busy" that a type has too many to
// tell: what is shown is to be read again. A comment comes every 15 s. The
// stream ends with the session.
func (s *Server) ServeEvents(o EventOptions) {
	if o.HeartBeat <= 0 {
		o.HeartBeat = 15 * time.Second
	}
	st := &streams{EventOptions: o, server: s, ending: make(chan struct{}), byAccount: map[string]int{}}
	s.mu.Lock()
	s.streams = st
	s.mu.Unlock()
	s.Handle(http.MethodGet, "/events", st.serve)
	s.opt.Actions.OnChange(func() { o.Bus.Publish(event.Event{Topic: event.Schema}) })
}

// endStreams ends all streams, since a server that shuts down waits for its
// connections.
func (s *Server) endStreams() {
	s.mu.Lock()
	st := s.streams
	s.mu.Unlock()
	if st != nil {
		st.once.Do(func() { close(st.ending) })
	}
}

func (st *streams) serve(w http.ResponseWriter, req *http.Request) {
	f, err := parseInterest(req.URL.Query())
	if err == nil {
		err = st.stream(w, req, f)
	}
	if err != nil {
		st.server.WriteError(w, req, err)
	}
}

// stream serves until the client, the session or the server ends. An error is
// one from before the answer began.
func (st *streams) stream(w http.ResponseWriter, req *http.Request, f interest) error {
	cred, err := st.server.Credentials(req)
	if err != nil {
		return err
	}
	caller, err := st.Authenticate(req.Context(), *cred)
	if err != nil {
		return err
	}
	if err := st.enter(caller.AccountUUID); err != nil {
		return err
	}
	defer st.leave(caller.AccountUUID)
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	go func() {
		select {
		case <-st.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	after := req.Header.Get("Last-Event-ID")
	if after == "" {
		after = req.URL.Query().Get("after")
	}
	reader, lost := st.Bus.Read(after)
	defer reader.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not gather events
	w.WriteHeader(http.StatusOK)
	t := newTeller(st, caller, f, reader)
	if lost {
		t.message("lost", []byte(`{}`))
	} else {
		t.out = append(t.out, ": kumo\n\n"...)
	}
	t.run(ctx, func(b []byte) error {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(eventWrite)) // only servers of tests have none
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	})
	return nil
}

func (st *streams) enter(account string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.open >= streamsInAll || st.byAccount[account] >= streamsOfAccount {
		return errs.New(errs.Exhausted, "event streams", "%d are open, %d of this account; at most %d and %d may be",
			st.open, st.byAccount[account], streamsInAll, streamsOfAccount).WithAdvice("close one of them")
	}
	st.open++
	st.byAccount[account]++
	return nil
}

func (st *streams) leave(account string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.open--
	if st.byAccount[account]--; st.byAccount[account] == 0 {
		delete(st.byAccount, account)
	}
}

// interest is what a stream is about; nil maps are everything.
type interest struct{ types, uuids, topics map[string]bool }

func parseInterest(v url.Values) (f interest, err error) {
	set := func(name string) map[string]bool {
		var m map[string]bool
		for _, part := range strings.Split(strings.Join(v[name], ","), ",") {
			if part = strings.TrimSpace(part); part != "" {
				if m == nil {
					m = map[string]bool{}
				}
				m[part] = true
			}
		}
		if len(m) > maxInterest && err == nil {
			err = errs.New(errs.Invalid, "parameter "+name, "%d values are more than %d", len(m), maxInterest)
		}
		return m
	}
	f = interest{types: set("types"), uuids: set("uuids"), topics: set("topics")}
	for topic := range f.topics {
		if !slices.Contains([]event.Topic{event.Resource, event.Job, event.Schema, event.Notice}, event.Topic(topic)) {
			return f, errs.New(errs.Invalid, "parameter topics", "%q is not one of resource, job, schema, notice", topic)
		}
	}
	return f, err
}

func (f *interest) wants(e *event.Event) bool {
	if f.topics != nil && !f.topics[string(e.Topic)] {
		return false
	}
	if e.Topic == event.Schema {
		return true
	}
	return (f.types == nil || f.types[e.Type]) && (f.uuids == nil || f.uuids[e.UUID] || e.Subject != "" && f.uuids[e.Subject])
}

// access returns who may query a type, and whether it can be queried at all.
func (s *Server) access(typeName string) (action.Access, bool) {
	table := s.queries.Load()
	if table == nil {
		m := map[string]action.Access{}
		for _, a := range s.opt.Actions.All() {
			if a.Query != "" {
				m[a.Query] = a.Access
			}
		}
		table = &m
		s.queries.Store(table)
	}
	a, ok := (*table)[typeName]
	return a, ok
}

// message appends one event to what is to be written.
func (t *teller) message(name string, data []byte) {
	t.out = fmt.Appendf(t.out, "event: %s\ndata: %s\n\n", name, data)
}
