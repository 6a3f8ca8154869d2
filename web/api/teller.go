package api

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// What one stream is told at most (console: live data): of one resource four
// events a second, the last one always; of one type 200 a second, above which it
// is told to read again every few seconds.
const (
	perResource = 250 * time.Millisecond
	perType     = 200
	busyFor     = 5 * time.Second
	gather      = 10 * time.Millisecond // so that what one transaction did is asked for at once
	maxPending  = 10000
)

// teller tells one client what happens. What a resource's fields hold is asked
// for when it is told, as the client sees it: whose rows and fields it may not
// read it learns nothing about.
type teller struct {
	*streams
	caller  action.Caller
	f       interest
	reader  *event.Reader
	out     []byte
	pending map[string]*untold
	sent    map[string]time.Time
	types   map[string]*pace
}

// untold is what is to be told of one resource or job.
type untold struct {
	event.Event
	due time.Time
}

// pace counts the events of one type.
type pace struct {
	since time.Time
	count int
	until time.Time // busy
	drops bool      // something was left out since "busy" was said
}

func newTeller(st *streams, c action.Caller, f interest, r *event.Reader) *teller {
	return &teller{streams: st, caller: c, f: f, reader: r, pending: map[string]*untold{}, sent: map[string]time.Time{}, types: map[string]*pace{}}
}

// run tells until ctx or the session ends, or the client does not read.
func (t *teller) run(ctx context.Context, write func([]byte) error) {
	buffer := make([]event.Event, 0, 256)
	last, begin := time.Now(), time.Now()
	for ctx.Err() == nil {
		events, lost := t.reader.Next(ctx, buffer, t.wait(last))
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		alive := t.caller.SessionUUID == "" && now.Sub(begin) < keyStream || t.caller.SessionUUID != "" && t.Alive(ctx, t.caller)
		if !alive {
			return
		}
		if lost > 0 {
			t.forget(lost)
		}
		for i := range events {
			t.take(&events[i], now)
		}
		t.tell(ctx, now)
		if len(t.out) > 0 {
			// After the whole batch: a client that gets a part of it gets it again.
			t.out = append(append(append(t.out, "id: "...), t.id()...), "\n\n"...)
		}
		if now.Sub(last) >= t.HeartBeat && len(t.out) == 0 {
			t.out = append(t.out, ": still here\n\n"...)
		}
		if len(t.out) == 0 {
			continue
		}
		if write(t.out) != nil {
			return
		}
		t.out, last = t.out[:0], time.Now()
	}
}

// wait is how long nothing is to be done.
func (t *teller) wait(last time.Time) time.Duration {
	until := last.Add(t.HeartBeat)
	for _, u := range t.pending {
		if u.due.Before(until) {
			until = u.due
		}
	}
	for _, p := range t.types {
		if p.drops && p.until.Before(until) {
			until = p.until
		}
	}
	return max(time.Until(until), time.Millisecond)
}

// forget says that events are gone; what waits is among what is read again.
func (t *teller) forget(n uint64) {
	clear(t.pending)
	t.message("lost", []byte(`{"events":`+strconv.FormatUint(n, 10)+`}`))
}

// take keeps an event until it may be told.
func (t *teller) take(e *event.Event, now time.Time) {
	if !t.f.wants(e) || !t.may(e) || t.busy(e, now) {
		return
	}
	key := string(e.Topic) + e.Type + e.UUID + e.Name
	if u := t.pending[key]; u != nil {
		u.merge(e)
		return
	}
	if len(t.pending) >= maxPending {
		t.forget(uint64(len(t.pending)))
	}
	due := now.Add(gather)
	if at, ok := t.sent[key]; ok && at.Add(perResource).After(due) {
		due = at.Add(perResource)
	}
	t.pending[key] = &untold{Event: *e, due: due}
}

// merge makes one event of two; the later one counts.
func (u *untold) merge(e *event.Event) {
	verb, fields := e.Verb, e.Fields
	if e.Verb == store.Updated {
		if verb = u.Verb; verb == store.Updated {
			fields = append(slices.Clone(u.Fields), fields...)
			slices.Sort(fields)
			fields = slices.Compact(fields)
		}
	}
	number := u.Number // nothing after it may be taken for told
	u.Event = *e
	u.Verb, u.Fields, u.Number = verb, fields, number
}

// may tells what can be said without asking the database. A resource that is
// gone can no longer be asked for: its owner is told, and everybody of what
// everybody may read.
func (t *teller) may(e *event.Event) bool {
	switch e.Topic {
	case event.Schema:
		return true
	case event.Job:
		return t.caller.Admin || e.AccountUUID != "" && e.AccountUUID == t.caller.AccountUUID
	}
	access, ok := t.server.access(e.Type)
	if !ok || access == action.Admin && !t.caller.Admin {
		return false
	}
	if e.Verb != store.Deleted || t.caller.Admin || e.AccountUUID == t.caller.AccountUUID {
		return true
	}
	return e.AccountUUID == "" && t.server.everybodys(e.Type)
}

// busy reports a type that has too many events to be told one by one.
func (t *teller) busy(e *event.Event, now time.Time) bool {
	if e.Topic != event.Resource && e.Topic != event.Notice {
		return false
	}
	p := t.types[e.Type]
	if p == nil {
		p = &pace{since: now}
		t.types[e.Type] = p
	}
	if now.Sub(p.since) >= time.Second {
		p.since, p.count = now, 0
	}
	p.count++
	if now.Before(p.until) {
		p.drops = true
		return true
	}
	if p.count <= perType {
		return false
	}
	p.until, p.drops = now.Add(busyFor), false
	for key, u := range t.pending {
		if (u.Topic == event.Resource || u.Topic == event.Notice) && u.Type == e.Type {
			delete(t.pending, key)
		}
	}
	t.sayBusy(e.Type)
	return true
}

func (t *teller) sayBusy(typeName string) {
	t.message("busy", []byte(`{"type":`+strconv.Quote(typeName)+`}`))
}

// id names the last event such that all until it were told.
func (t *teller) id() []byte {
	last := t.reader.Last()
	for _, u := range t.pending {
		last = min(last, u.Number-1)
	}
	return []byte(t.Bus.ID(last))
}

// tell appends what is due.
func (t *teller) tell(ctx context.Context, now time.Time) {
	for name, p := range t.types {
		if p.drops && !now.Before(p.until) {
			// What was left out last is told by this: the client reads again.
			p.drops = false
			if p.until = (time.Time{}); p.count > perType/2 {
				p.until = now.Add(busyFor)
			}
			t.sayBusy(name)
		}
	}
	rows := map[string][]*untold{}
	for key, u := range t.pending {
		if u.due.After(now) {
			continue
		}
		delete(t.pending, key)
		t.sent[key] = now
		switch {
		case u.Topic == event.Schema:
			t.message("schema", []byte(`{}`))
		case u.Topic == event.Job:
			t.message("job", u.Body)
		case u.Verb == store.Deleted:
			t.resource(u, nil)
		default:
			rows[u.Type] = append(rows[u.Type], u)
		}
	}
	for typeName, list := range rows {
		for len(list) > 0 {
			some := list[:min(len(list), perType)]
			list = list[len(some):]
			t.show(ctx, typeName, some)
		}
	}
	for key, at := range t.sent {
		if now.Sub(at) >= perResource {
			delete(t.sent, key)
		}
	}
}

// show asks for the rows as the caller sees them, and tells of those.
func (t *teller) show(ctx context.Context, typeName string, list []*untold) {
	fields, uuids := map[string]bool{"uuid": true}, make([]string, len(list))
	for i, u := range list {
		uuids[i] = u.UUID
		if u.Topic == event.Notice || u.Verb != store.Updated {
			continue
		}
		u.Fields = t.server.visible(typeName, u.Fields)
		for _, f := range u.Fields {
			fields[f] = true
		}
	}
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	shown, err := t.rows(ctx, typeName, url.Values{"q": {"uuid?=" + strings.Join(uuids, ",")}, "fields": {strings.Join(names, ",")},
		"limit": {strconv.Itoa(len(list))}})
	if err != nil {
		if ctx.Err() == nil {
			t.server.log.Warn("events not told", "type", typeName, "error", err)
			t.message("lost", []byte(`{}`))
		}
		return
	}
	for _, u := range list {
		if row, ok := shown[u.UUID]; ok && u.Topic == event.Notice {
			t.notice(u)
		} else if ok && (u.Verb != store.Updated || len(u.Fields) > 0) {
			t.resource(u, row)
		}
	}
}

// rows are what the subscriber sees of a query, by UUID.
func (t *teller) rows(ctx context.Context, typeName string, v url.Values) (map[string]map[string]json.RawMessage, error) {
	body, err := t.Query(ctx, typeName, v, t.caller)
	if err != nil {
		return nil, err
	}
	var answer struct{ Inventories []map[string]json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	rows := make(map[string]map[string]json.RawMessage, len(answer.Inventories))
	for _, row := range answer.Inventories {
		var uuid string
		if json.Unmarshal(row["uuid"], &uuid) == nil {
			rows[uuid] = row
		}
	}
	return rows, nil
}

// told is an event of a resource on the wire.
type told struct {
	Type   string                     `json:"type"`
	UUID   string                     `json:"uuid"`
	Verb   string                     `json:"verb"`
	Fields []string                   `json:"fields,omitempty"`
	Values map[string]json.RawMessage `json:"values,omitempty"`
	Job    string                     `json:"job,omitempty"`
	Time   string                     `json:"time"`
}

func (t *teller) resource(u *untold, row map[string]json.RawMessage) {
	e := told{Type: u.Type, UUID: u.UUID, Verb: string(u.Verb), Job: u.Job, Time: u.Time.UTC().Format(time.RFC3339Nano)}
	if u.Verb == store.Updated {
		e.Fields, e.Values = u.Fields, map[string]json.RawMessage{}
		for _, f := range u.Fields {
			if v, ok := row[f]; ok {
				e.Values[f] = v
			} else {
				e.Values[f] = json.RawMessage("null") // as inventories leave it out
			}
		}
	}
	body, err := json.Marshal(e)
	if err != nil { // of the database's own JSON
		t.server.log.Error("event not told", "type", u.Type, "resource", u.UUID, "error", err)
		return
	}
	t.message("resource", body)
}

// notice tells what a plugin has told of a resource.
func (t *teller) notice(u *untold) {
	body, err := json.Marshal(map[string]string{"type": u.Type, "uuid": u.UUID, "plugin": u.Plugin, "name": u.Name, "text": u.Text,
		"time": u.Time.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		t.server.log.Error("notice not told", "type", u.Type, "resource", u.UUID, "error", err)
		return
	}
	t.message("notice", body)
}

// visible returns those of a type's columns that clients may see.
func (s *Server) visible(typeName string, columns []string) []string {
	if s.opt.Types == nil {
		return nil
	}
	typ, ok := s.opt.Types.Get(typeName)
	if !ok {
		return nil
	}
	var list []string
	for _, c := range columns {
		if f, ok := typ.Field(c); ok && f.Visible() {
			list = append(list, c)
		}
	}
	return list
}

// everybodys reports whether all accounts may read every row of a type.
func (s *Server) everybodys(typeName string) bool {
	if s.opt.Types == nil {
		return false
	}
	typ, ok := s.opt.Types.Get(typeName)
	return ok && typ.Readable == resource.Global
}
