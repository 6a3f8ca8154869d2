package cascade

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Mode is how much a delete puts up with.
type Mode int

const (
	// Permissive: every check is asked first and nothing is changed if one
	// objects; the first error stops the delete, which may then be repeated.
	Permissive Mode = iota
	// Enforcing: checks are skipped, what objects is detached, and a resource
	// goes although the outside world could not be cleaned; that is kept for
	// the garbage collector. What lives on there stops the delete (Alive).
	Enforcing
)

// String returns the API's name of the mode.
func (m Mode) String() string {
	if m == Enforcing {
		return "Enforcing"
	}
	return "Permissive"
}

// Alive is what Deleter.Delete and Detach return of a row that stands for something
// which goes on, and needs what the row has, or what it depends on: its addresses,
// its part of a machine. The row stays then, and all that it depends on, also with
// Enforcing. The error says how to end it, or that it has ended.
func Alive(err error) error { return alive{err} }

type alive struct{ error }

func (a alive) Unwrap() error { return a.error }

type outsideKey struct{}

// Outside is ctx for Engine.Delete: what the rows stand for outside is removed as well.
// Deleters ask IsOutside, also after a crash. Otherwise such rows are forgotten, and what
// they stand for goes on.
func Outside(ctx context.Context) context.Context {
	return context.WithValue(ctx, outsideKey{}, true)
}

// IsOutside tells whether a delete was begun with Outside.
func IsOutside(ctx context.Context) bool { return ctx.Value(outsideKey{}) != nil }

// ErrNothingLeft is what Deleter.Leave returns of a row of which there is nothing to
// clean up.
var ErrNothingLeft = errors.New("nothing is left of it")

// Deleter is what a service knows of deleting the rows of a type. All of it is
// optional: the default removes the row.
type Deleter struct {
	// Check objects to the deletion of a row. It only reads.
	Check func(ctx context.Context, tx *store.Tx, uuid string) error
	// Delete cleans the outside world, after everything that depends on the
	// row is gone, and may remove the row last; if it does not, the engine
	// does. It can be repeated, also when the row is gone.
	Delete func(ctx context.Context, uuid string, m Mode) error
	// Detach is called for a row of the type that stays, when the target of
	// its column is deleted; the engine clears the column afterwards if it
	// still names the target. It can be repeated.
	Detach func(ctx context.Context, uuid, column, target string, m Mode) error
	// AfterRow is called in the transaction that removes the row.
	AfterRow func(ctx context.Context, tx *store.Tx, uuid string) error
	// Parts are the types whose rows Delete removes together with its own,
	// although they have an edge of their own to it (a machine's NICs). They
	// are deleted on their own only when they are reached from elsewhere, and
	// then after their whole.
	Parts []string
	// Users are the types whose rows may use a row of this one without an edge
	// that leads to it, as a guest uses the attachment of its storage to its
	// cluster. Where rows of both are deleted, theirs go first.
	Users []string
	// Lives says that a row may stand for something that goes on (Alive). Rows that
	// live are deleted first, each after what must go before it: when one stays,
	// nothing else has changed.
	Lives bool
	// Key names the resource in whose turn a row is deleted, as a NIC is in that of
	// its guest: what runs on it has ended then. "" is the row itself.
	Key func(ctx context.Context, uuid string) (string, error)
	// Leave is asked, in the transaction that removes a row whose Delete
	// failed in mode Enforcing, or which goes without it, for what Collect needs to
	// clean up later; ErrNothingLeft when there is nothing to clean up.
	Leave func(ctx context.Context, tx *store.Tx, uuid string) (json.RawMessage, error)
	// Collect cleans up with what Leave returned, or the engine's Leave was
	// given. It can be repeated.
	Collect func(ctx context.Context, left json.RawMessage) error
}

// Times that bound the work on one row, and on all of a delete.
const (
	rowTime   = 30 * time.Minute
	wholeTime = 24 * time.Hour
)

// parallel is how many rows of one layer are deleted at once.
const parallel = 32

// Engine deletes resources. Its methods may be called from any goroutine.
type Engine struct {
	// Turn calls fn in order with all other work on a resource, and returns its
	// error; or, when ctx or stop ends before the turn has come, one of class
	// Timeout or Unavailable without having called it. It is set before the first
	// delete; nil calls fn directly. The kind of work it uses must not be one that
	// itself waits for a cascade. The root of a delete is not queued: whoever calls
	// Delete holds its key.
	Turn func(ctx context.Context, stop <-chan struct{}, key string, fn func(context.Context) error) error

	store  *store.Store
	reg    *resource.Registry
	flows  *flow.Engine
	log    hclog.Logger
	delete *flow.Def[deletion]
	hooks  *hook.Service            // Observe
	points atomic.Pointer[[]string] // of all types

	mu       sync.RWMutex
	deleters map[string]Deleter
	// collecting has the garbage that is being cleaned up.
	collecting sync.Map
	after      []func(ctx context.Context, tx *store.Tx, typeName, uuid string) error
}

// New makes an engine and registers its flow.
func New(s *store.Store, reg *resource.Registry, flows *flow.Engine, log hclog.Logger) *Engine {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	e := &Engine{store: s, reg: reg, flows: flows, log: log, deleters: map[string]Deleter{}}
	e.delete = e.define()
	flow.Register(flows, e.delete)
	return e
}

// Types returns the resource types of this package, for the registry.
func Types() []*resource.Type { return []*resource.Type{marks.Type, garbage.Type} }

// Register sets how rows of a root type (not of a subtype) are deleted.
func (e *Engine) Register(typeName string, d Deleter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deleters[typeName] = d
}

// AfterDelete adds f to what is called in every transaction that removes a row,
// whatever its type: for tags and other things that have no edge.
func (e *Engine) AfterDelete(f func(ctx context.Context, tx *store.Tx, typeName, uuid string) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.after = append(e.after, f)
}

func (e *Engine) deleter(typeName string) Deleter {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.deleters[typeName]
}

// graph returns the graph as q sees it.
func (e *Engine) graph(ctx context.Context, q store.Querier) *rows {
	return &rows{ctx: ctx, q: q, reg: e.reg, parts: func(t string) []string { return e.deleter(t).Parts },
		users: func(t string) []string { return e.deleter(t).Users }, lives: func(t string) bool { return e.deleter(t).Lives }}
}

// root returns the root type of a type's name.
func (e *Engine) root(typeName string) (*resource.Type, error) {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return nil, errs.New(errs.Internal, "resource type "+typeName, "it is not registered")
	}
	return e.reg.Root(t), nil
}

// Delete deletes a resource and what depends on it, as a flow with the options
// o; whoever calls it holds the resource's dispatch key. A resource that is
// gone already is success. Errors: errs.Refused when somebody objects; else
// that of the first row which could not be deleted (Permissive).
func (e *Engine) Delete(ctx context.Context, typeName, uuid string, m Mode, o flow.Options) error {
	t, err := e.root(typeName)
	if err != nil {
		return err
	}
	if o.ResourceType == "" && o.ResourceUUID == "" {
		o.ResourceType, o.ResourceUUID = t.Name, uuid
	}
	s := &deletion{Type: t.Name, UUID: uuid, Mode: m, Points: e.contributions(), Outside: IsOutside(ctx)}
	err = e.store.View(ctx, func(tx *store.Tx) error {
		tree, err := Plan(e.graph(ctx, tx), t.Name, uuid)
		s.Simple = err == nil && e.simple(s, tree)
		return err
	})
	if err != nil {
		return err
	}
	return flow.Run(ctx, e.flows, e.delete, s, o)
}

// PlanTree returns what Delete would do, and who objects, for ?plan=true. Its
// JSON is a tree. It changes nothing. errs.NotFound when the resource is gone.
func (e *Engine) PlanTree(ctx context.Context, typeName, uuid string) (any, error) {
	row := Named{Type: typeName, UUID: uuid}
	return e.PlanRemoval(ctx, Removal{Subject: row, Rows: []Named{row}})
}

// asked plans the delete of a row that exists, and asks who objects.
func (e *Engine) asked(ctx context.Context, tx *store.Tx, typeName, uuid string) (*Tree, error) {
	t, err := e.root(typeName)
	if err != nil {
		return nil, err
	}
	tree, err := e.plan(ctx, tx, t.Name, uuid)
	if err != nil {
		return nil, err
	}
	for _, i := range tree.Order {
		n := &tree.Nodes[i]
		if t, ok := e.reg.Get(n.Type); ok {
			f, _ := t.Field("uuid")
			n.secret = f != nil && f.Secret
		}
		check := e.deleter(n.Type).Check
		if check == nil {
			continue
		}
		if reason := check(ctx, tx, n.UUID); reason != nil {
			tree.Objections = append(tree.Objections, objection(n.Type, n.UUID, n.Name, reason))
		}
	}
	return tree, nil
}

// objection is what a check, and no row, has against a delete.
func objection(typeName, uuid, name string, reason error) Objection {
	return Objection{Type: typeName, UUID: uuid, Name: name, TargetType: typeName, Target: uuid, Reason: reason.Error()}
}

// plan plans the delete of a row that exists, with its name.
func (e *Engine) plan(ctx context.Context, q store.Querier, typeName, uuid string) (*Tree, error) {
	name, found, err := e.lookup(ctx, q, typeName, uuid)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errs.New(errs.NotFound, typeName+" "+uuid, "it does not exist")
	}
	tree, err := Plan(e.graph(ctx, q), typeName, uuid)
	if err == nil {
		tree.Nodes[0].Name = name
	}
	return tree, err
}

func (e *Engine) lookup(ctx context.Context, q store.Querier, typeName, uuid string) (name string, found bool, err error) {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return "", false, errs.New(errs.Internal, "resource type "+typeName, "it is not registered")
	}
	column := "uuid"
	if _, has := t.Field("name"); has {
		column = "name"
	}
	err = q.Each(ctx, "SELECT `"+column+"` FROM `"+typeName+"` WHERE `uuid` = ?", []any{uuid}, func(r *store.Row) error {
		if found = true; column == "name" {
			name = r.Text(0)
		}
		return nil
	})
	return name, found, err
}

// simpleNodes is how many rows one transaction deletes at most.
const simpleNodes = 200

// simple reports whether a plan touches nothing but the database, and is nobody's
// concern, so that one transaction does it all.
func (e *Engine) simple(s *deletion, t *Tree) bool {
	if len(t.Nodes)+len(t.Detached) > simpleNodes || len(s.observed(t)) > 0 {
		return false
	}
	return !slices.ContainsFunc(t.Nodes, func(n Node) bool { return e.deleter(n.Type).Delete != nil }) &&
		!slices.ContainsFunc(t.Detached, func(d Detach) bool { return e.deleter(d.Type).Detach != nil }) &&
		!slices.ContainsFunc(t.Objections, func(o Objection) bool { return e.deleter(o.Type).Detach != nil })
}

// removeRow removes a row in a transaction: its subtypes' parts, whatever hangs
// on it without an edge, and itself. A row that is gone is success.
func (e *Engine) removeRow(ctx context.Context, tx *store.Tx, typeName, uuid string) error {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return errs.New(errs.Internal, "resource type "+typeName, "it is not registered")
	}
	members := family(e.reg, t)
	for i := len(members) - 1; i >= 0; i-- {
		if err := store.Delete(ctx, tx, members[i], uuid); err != nil {
			return err
		}
	}
	e.mu.RLock()
	d, after := e.deleters[typeName], e.after
	e.mu.RUnlock()
	if d.AfterRow != nil {
		if err := d.AfterRow(ctx, tx, uuid); err != nil {
			return err
		}
	}
	for _, f := range after {
		if err := f(ctx, tx, typeName, uuid); err != nil {
			return err
		}
	}
	return nil
}

// clear clears a column of a row that stays, if it still names the target.
func (e *Engine) clear(ctx context.Context, tx *store.Tx, d Detach) error {
	t, ok := e.reg.Get(d.Table)
	if !ok {
		return errs.New(errs.Internal, "resource type "+d.Table, "it is not registered")
	}
	f, ok := t.Field(d.Column)
	if !ok {
		return errs.New(errs.Internal, "resource type "+d.Table, "it has no field %s", d.Column)
	}
	set := "NULL"
	if !f.Null {
		set = "''"
	}
	query, args := "UPDATE `"+t.Name+"` SET `"+f.Name+"` = "+set+" WHERE `uuid` = ?", []any{d.UUID}
	byUUID := func(edge resource.Edge) bool { return edge.Column == d.Column && edge.ToColumn == "uuid" }
	if slices.ContainsFunc(t.Edges, byUUID) {
		// Somebody may have pointed the row to another target meanwhile.
		query, args = query+" AND `"+f.Name+"` = ?", append(args, d.Target)
	}
	_, err := tx.Exec(ctx, query, args...)
	return err
}
