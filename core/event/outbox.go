package event

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Row is an event that a durable subscriber has not acknowledged. Its uuid is a
// number that grows, so that their order is that of the changes of a resource.
type Row struct {
	UUID         string        `db:"uuid" kumo:"size=32,immutable"`
	Subscriber   string        `db:"subscriber" kumo:"size=64,immutable"`
	ResourceType string        `db:"resourceType" kumo:"size=100,immutable"`
	ResourceUUID string        `db:"resourceUuid" kumo:"size=32,immutable"`
	Verb         string        `db:"verb" kumo:"size=16,immutable"`
	Fields       string        `db:"fields" kumo:"text,null,immutable"`
	AccountUUID  string        `db:"accountUuid" kumo:"size=32,null,immutable"`
	Job          string        `db:"job" kumo:"size=32,null,immutable"`
	CreateDate   resource.Time `db:"createDate" kumo:"immutable"`
}

var outbox = resource.Define[Row](resource.Type{Name: "Outbox", Internal: true, Readable: resource.Admin,
	Indexes: []resource.Index{{Columns: []string{"subscriber", "uuid"}}}})

// Types returns the resource types of this package, for the registry.
func Types() []*resource.Type { return []*resource.Type{outbox.Type} }

// Missed is the verb of the event that a durable subscriber gets in the place of
// those that its full outbox could not take: it has to look at everything.
const Missed store.Verb = "missed"

// Want is one kind of change: a root type and what happened to it.
type Want struct {
	Type string
	Verb store.Verb
}

// Durable is a subscriber whose events are in the database until it has them.
type Durable struct {
	// Name is the subscriber's own for all times.
	Name string
	// Wants are the changes that are written for it.
	Wants []Want
	// Deliver takes one event; an error has it called again later, and nothing
	// else of that resource before. An event may come twice.
	Deliver func(ctx context.Context, e Event) error
	// Limit is how many events wait at most, 100,000 when it is zero.
	Limit int64

	waits atomic.Int64
	full  atomic.Bool
	wake  chan struct{}
	ended chan struct{}
}

// Ended is closed when the subscription is over, so that the name can be used anew.
// It comes after Subscribe.
func (d *Durable) Ended() <-chan struct{} { return d.ended }

func (d *Durable) wants(typeName string, verb store.Verb) bool {
	return slices.Contains(d.Wants, Want{typeName, verb})
}

// kept tells whether a durable subscriber wants something of a type.
func (b *Bus) kept(typeName string) bool {
	for _, d := range b.durables() {
		if slices.ContainsFunc(d.Wants, func(w Want) bool { return w.Type == typeName }) {
			return true
		}
	}
	return false
}

func (b *Bus) durables() []*Durable {
	if list := b.durable.Load(); list != nil {
		return *list
	}
	return nil
}

func (b *Bus) backlog() map[string]int64 {
	all := map[string]int64{}
	for _, d := range b.durables() {
		all[d.Name] = d.waits.Load()
	}
	return all
}

// outboxNumber makes the numbers of rows; it begins with the time, so that it
// goes on after a restart.
var outboxNumber struct {
	sync.Mutex
	last int64
}

// newNumber returns a text of 32 hex digits, greater than the last one.
func newNumber() string {
	outboxNumber.Lock()
	defer outboxNumber.Unlock()
	outboxNumber.last = max(outboxNumber.last+1, time.Now().UnixMicro())
	return padded(outboxNumber.last) + resource.NewUUID()[16:]
}

func padded(n int64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[len(b)-1-i] = digits[n>>(4*i)&15]
	}
	return string(b[:])
}

// Committing implements store.Watcher: it writes what durable subscribers want.
func (b *Bus) Committing(ctx context.Context, tx *store.Tx, changes []store.Change) error {
	for _, d := range b.durables() {
		var rows []*Row
		for _, c := range changes {
			if !d.wants(c.Type.Name, c.Verb) || d.full.Load() {
				continue // of a full outbox the last row says already that some are missing
			}
			r := rowOf(d, eventOf(c))
			if d.waits.Load() >= d.Limit {
				r.Verb = string(Missed)
				tx.OnCommit(func() { d.full.Store(true) })
			}
			rows = append(rows, r)
		}
		if len(rows) == 0 {
			continue
		}
		if err := store.Insert(ctx, tx, outbox, rows...); err != nil {
			return err
		}
		tx.OnCommit(func() {
			d.waits.Add(int64(len(rows)))
			d.rouse()
		})
	}
	return nil
}

func rowOf(d *Durable, e Event) *Row {
	return &Row{UUID: newNumber(), Subscriber: d.Name, ResourceType: e.Type, ResourceUUID: e.UUID, Verb: string(e.Verb),
		Fields: strings.Join(e.Fields, ","), AccountUUID: e.AccountUUID, Job: e.Job, CreateDate: resource.Now()}
}

// rouse has the outbox looked into.
func (d *Durable) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Subscribe delivers to a durable subscriber until ctx ends: first what waits
// for it since the last time. It is told of changes from this call on; what
// happens while it is not subscribed is not kept.
func (b *Bus) Subscribe(ctx context.Context, st *store.Store, d *Durable, log hclog.Logger) error {
	if d.Limit <= 0 {
		d.Limit = 100000
	}
	d.wake, d.ended = make(chan struct{}, 1), make(chan struct{})
	n, err := store.Count(ctx, st, outbox.Type, "`subscriber` = ?", d.Name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.durables())
	if slices.ContainsFunc(list, func(o *Durable) bool { return o.Name == d.Name }) {
		return errs.New(errs.Exists, "subscriber "+d.Name, "is subscribed already")
	}
	d.waits.Store(n)
	list = append(list, d)
	b.durable.Store(&list)
	d.rouse()
	go b.deliver(ctx, st, d, log)
	return nil
}

// Pauses between tries of what could not be delivered.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

func (b *Bus) deliver(ctx context.Context, st *store.Store, d *Durable, log hclog.Logger) {
	defer close(d.ended)
	defer b.unsubscribe(d)
	pause := firstPause
	for {
		all, err := d.round(ctx, st)
		if err != nil && ctx.Err() == nil {
			log.Warn("events not delivered, they are kept", "subscriber", d.Name, "waiting", d.waits.Load(), "error", err)
		}
		var again <-chan time.Time
		if all {
			pause = firstPause
		} else {
			again, pause = time.After(pause), min(2*pause, lastPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-again:
		}
	}
}

func (b *Bus) unsubscribe(d *Durable) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(b.durables()), func(o *Durable) bool { return o == d })
	b.durable.Store(&list)
}

// deliverAtOnce is how many events are read and acknowledged at once.
const deliverAtOnce = 200

// round delivers what waits; all is false when something is to be tried again.
func (d *Durable) round(ctx context.Context, st *store.Store) (all bool, err error) {
	stuck := map[string]bool{} // resources that wait for a try of theirs
	after := ""
	for {
		rows, rerr := store.Find(ctx, st, outbox, "`subscriber` = ? AND `uuid` > ? ORDER BY `uuid` LIMIT ?", d.Name, after, deliverAtOnce)
		if rerr != nil {
			return false, rerr
		}
		if len(rows) == 0 {
			return len(stuck) == 0, err
		}
		var done []string
		for _, r := range rows {
			after = r.UUID
			if stuck[r.ResourceUUID] {
				continue
			}
			if derr := d.Deliver(ctx, r.event()); derr != nil {
				stuck[r.ResourceUUID], err = true, derr
				continue
			}
			done = append(done, r.UUID)
		}
		if len(done) == 0 {
			continue
		}
		if uerr := st.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM `Outbox` WHERE `uuid` IN (?)", done)
			return err
		}); uerr != nil {
			return false, uerr
		}
		d.full.Store(d.waits.Add(-int64(len(done))) >= d.Limit)
	}
}

func (r *Row) event() Event {
	e := Event{Topic: Resource, Type: r.ResourceType, UUID: r.ResourceUUID, Verb: store.Verb(r.Verb), AccountUUID: r.AccountUUID,
		Job: r.Job, Time: r.CreateDate.Time}
	if r.Fields != "" {
		e.Fields = strings.Split(r.Fields, ",")
	}
	return e
}
