package query

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Engine runs queries. It is safe for use by several goroutines.
type Engine struct {
	store      *store.Store
	reg        *resource.Registry
	renderings sync.Map // renderingKey: *rendering
}

// Scope says whose query it is. Admins see everything; others what they may
// read (core/access), and nothing else has an influence on an answer of theirs:
// neither through a join nor a tag, a count, an order or a negation.
type Scope struct {
	Admin       bool
	AccountUUID string
	// May, if set, refuses types that the query must not touch, whether it is of them
	// or reaches into them by a condition, the order or a member. A grant for a type
	// is one for the types that refine it.
	May func(typeName string) error
}

// Result is the answer to a query.
type Result struct {
	// Inventories are JSON objects, in the order asked for; not nil unless
	// only the count was asked for.
	Inventories []json.RawMessage
	// Total is how many rows match, whatever the limit; valid with HasTotal.
	Total    int64
	HasTotal bool
	// Schema maps "inventories[0]", "inventories[0].vmNics[1]" to class names.
	Schema map[string]string
}

// New returns an engine for the types of a registry.
func New(s *store.Store, reg *resource.Registry) *Engine { return &Engine{store: s, reg: reg} }

// Run answers a query. An unknown type gives errs.NotFound; a condition that
// cannot be understood gives errs.Invalid, with ErrUnknownField in its chain
// when a field or an edge is unknown, hidden or secret.
//
// On SQLite all statements see one snapshot, on MySQL each its own (store.Read).
func (e *Engine) Run(ctx context.Context, typeName string, q Query, sc Scope) (res *Result, err error) {
	err = e.store.Read(ctx, func(db store.Querier) error {
		res, err = e.RunIn(ctx, db, typeName, q, sc)
		return err
	})
	return res, err
}

// RunIn is Run with what the caller reads by.
func (e *Engine) RunIn(ctx context.Context, db store.Querier, typeName string, q Query, sc Scope) (*Result, error) {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return nil, errs.New(errs.NotFound, "resource type "+typeName, "it is not declared")
	}
	st, err := e.build(t, q, sc)
	if err != nil {
		return nil, err
	}
	wanted, err := e.wanted(t, q.Fields, sc)
	if err != nil {
		return nil, err
	}
	return e.run(ctx, db, t, q, st, wanted)
}

func (e *Engine) run(ctx context.Context, db store.Querier, t *resource.Type, q Query, st statement, wanted members) (*Result, error) {
	res := &Result{Schema: map[string]string{}}
	if q.Count || q.ReplyWithCount {
		var err error
		if res.Total, err = count(ctx, db, st); err != nil {
			return nil, err
		}
		if res.HasTotal = true; q.Count {
			return res, nil
		}
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	if st.walk != "" {
		if err := chooseIndex(ctx, db, &st); err != nil {
			return nil, err
		}
	}
	found, err := e.page(ctx, db, t, st, min(q.Limit, MaxLimit), q.Start, wanted)
	if err != nil {
		return nil, err
	}
	res.Inventories = found.inventories
	for i, o := range found.objects {
		path := strconv.AppendInt(append(make([]byte, 0, 24), "inventories["...), int64(i), 10)
		o.describe(res.Schema, append(path, ']'))
	}
	return res, nil
}

// manyMatches is the number of matching rows from which on the first page in
// some order is found faster by walking the order's index than by collecting
// and sorting all matches. SQLite does not weigh a LIMIT against that.
const manyMatches = 4000

// chooseIndex makes a sorted query walk the index of its order when very many
// rows match. Counting them costs a millisecond at most where an index helps.
func chooseIndex(ctx context.Context, db store.Querier, st *statement) error {
	return db.Each(ctx, "SELECT count(*) FROM (SELECT 1"+st.from+" LIMIT ?)", append(st.args[:len(st.args):len(st.args)], manyMatches), func(r *store.Row) error {
		if r.Int(0) == manyMatches {
			st.from = st.walk
		}
		return nil
	})
}

func count(ctx context.Context, db store.Querier, st statement) (n int64, err error) {
	what := "count(*)"
	if st.many {
		what = "count(DISTINCT t0.`uuid`)"
	}
	err = db.Each(ctx, "SELECT "+what+st.from, st.args, func(r *store.Row) error {
		n = r.Int(0)
		return nil
	})
	return n, err
}

// Shown is a resource as an action's answer has it, and the schema with paths
// that begin with "inventory".
type Shown struct {
	Inventory json.RawMessage
	Schema    map[string]string
}

// Inventories renders the rows of a type with these uuids, by uuid; those that
// are missing are not in the answer.
func (e *Engine) Inventories(ctx context.Context, q store.Querier, typeName string, uuids []string) (map[string]Shown, error) {
	t, ok := e.reg.Get(typeName)
	if !ok {
		return nil, errs.New(errs.NotFound, "resource type "+typeName, "it is not declared")
	}
	found, err := e.some(ctx, q, t, uuids)
	if err != nil {
		return nil, err
	}
	shown := make(map[string]Shown, len(found.uuids))
	for i, uuid := range found.uuids {
		s := Shown{found.inventories[i], map[string]string{}}
		found.objects[i].describe(s.Schema, []byte("inventory"))
		shown[uuid] = s
	}
	return shown, nil
}
