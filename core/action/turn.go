package action

import (
	"context"
	"sync"

	"github.com/kumo-cloud/kumo/core/dispatch"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// ErrNotBegun is what Do and Turn return, wrapped, when the wait was given up
// before the turn came: nothing was done and nothing will be.
var ErrNotBegun = errs.New(errs.Unavailable, "request", "its turn has not come")

// held is a key that the work which ctx belongs to holds in dispatch.
type held struct {
	key string
	up  *held
}

type heldKey struct{}

func hold(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	up, _ := ctx.Value(heldKey{}).(*held)
	return context.WithValue(ctx, heldKey{}, &held{key, up})
}

// wouldWait refuses to wait for a key that the caller, or who waits for it,
// holds: that wait would never end.
func wouldWait(ctx context.Context, message, key string) error {
	h, _ := ctx.Value(heldKey{}).(*held)
	for ; h != nil && key != ""; h = h.up {
		if h.key == key {
			return errs.New(errs.Refused, message, "it would wait for %s, which its own caller is working on", key).
				WithAdvice("call it when that has ended")
		}
	}
	return nil
}

// maxInside bounds how many requests wait for one another.
const maxInside = 8

type insideKey struct{}

// Inside returns the context of a request that the work which ctx belongs to waits
// for (Serve): it knows what that work holds and nothing else of it, and does not end
// with it. errs.Refused when too many requests wait for one another already: each
// asks for the next.
func Inside(ctx context.Context) (context.Context, error) {
	depth, _ := ctx.Value(insideKey{}).(int)
	if depth++; depth > maxInside {
		return nil, errs.New(errs.Refused, "request", "%d requests wait for one another already", maxInside).
			WithAdvice("a plugin that makes calls when it is asked about calls must not ask about its own")
	}
	return detached(context.WithValue(ctx, insideKey{}, depth)), nil
}

// detached keeps of ctx what it says of those who wait for its work.
func detached(ctx context.Context) context.Context {
	out := context.Background()
	for _, key := range []any{heldKey{}, placeKey{}, insideKey{}} {
		if v := ctx.Value(key); v != nil {
			out = context.WithValue(out, key, v)
		}
	}
	return out
}

// place is the place for work that ctx's work has in dispatch, and those of who
// waits for it.
type place struct {
	of dispatch.Item
	up *place
}

type placeKey struct{}

func withPlace(ctx context.Context, it dispatch.Item) context.Context {
	up, _ := ctx.Value(placeKey{}).(*place)
	return context.WithValue(ctx, placeKey{}, &place{it, up})
}

// WaitsFor tells that the work which ctx belongs to, and whoever waits for it in
// this process, wait for a host from now on: should it hang, they lend others
// their places (dispatch.Item.WaitsFor).
func WaitsFor(ctx context.Context, hostUUID string) {
	p, _ := ctx.Value(placeKey{}).(*place)
	for ; p != nil; p = p.up {
		p.of.WaitsFor(hostUUID)
	}
}

// waiters are those in this process who wait for the end of what they queued.
type waiters struct {
	mu   sync.Mutex
	open map[string]*waiter
}

type waiter struct {
	ctx  context.Context
	done chan answer
}

type answer struct {
	result any
	err    error
}

func (w *waiters) add(ctx context.Context) (string, *waiter) {
	id, one := resource.NewUUID(), &waiter{ctx: ctx, done: make(chan answer, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[string]*waiter{}
	}
	w.open[id] = one
	return id, one
}

// begin takes a waiter: what it waits for begins, or it waits no more. nil when
// that has been decided already.
func (w *waiters) begin(id string) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.open[id]
	delete(w.open, id)
	return one
}

// wait waits for the answer. When ctx or stop ends before the turn has come, it
// never comes; once begun, the answer is waited for.
func (w *waiters) wait(ctx context.Context, stop <-chan struct{}, id string, one *waiter) (any, error) {
	why := ErrNotBegun
	select {
	case a := <-one.done:
		return a.result, a.err
	case <-ctx.Done():
	case <-stop:
	}
	if w.begin(id) != nil {
		if err := ctx.Err(); err != nil {
			return nil, errs.Wrap(errs.Timeout, "request", err, "its turn has not come")
		}
		return nil, why
	}
	a := <-one.done
	return a.result, a.err
}

// turn is the wait for a turn under a key. What is done then is done by who
// waits; the queue holds no more than this.
type turn struct{ name, key, waiter string }

// Name implements dispatch.Work.
func (t *turn) Name() string { return t.name }

// JobUUID implements dispatch.Work.
func (t *turn) JobUUID() string { return "" }

// Turn waits for a turn under a key, as work of a kind that people see by name,
// calls f while it lasts, and returns its error. f gets a ctx that knows of the
// turn. When ctx or stop (which may be nil) ends before the turn comes, f is
// never called. errs.Refused when the caller holds the key itself. It is for
// work that only its own process can do: what another node could do as well is
// a message.
func (r *Registry) Turn(ctx context.Context, stop <-chan struct{}, key, kind, name string, f func(context.Context) error) error {
	end, err := r.Ask(ctx, key, kind, name)
	if err != nil {
		return err
	}
	return end(stop, f)
}

// Ask is the first half of Turn: when it returns, the place in the queue is
// taken. The function that it returns is the other half, and must be called.
func (r *Registry) Ask(ctx context.Context, key, kind, name string) (func(stop <-chan struct{}, f func(context.Context) error) error, error) {
	if err := wouldWait(ctx, name, key); err != nil {
		return nil, err
	}
	if r.ports.Queue == nil {
		return nil, errs.New(errs.Internal, name, "no queue is wired")
	}
	over := make(chan struct{})
	id, one := r.waiters.add(context.WithValue(ctx, overKey{}, over))
	if err := r.ports.Queue.Submit(dispatch.Item{Key: key, Kind: kind, Work: &turn{name, key, id}}); err != nil {
		r.waiters.begin(id)
		return nil, err
	}
	return func(stop <-chan struct{}, f func(context.Context) error) error {
		it, err := r.waiters.wait(ctx, stop, id, one)
		if err != nil {
			return err
		}
		defer close(over)
		return f(withPlace(hold(ctx, key), it.(dispatch.Item)))
	}, nil
}

type overKey struct{}

// runTurn gives a waiter its turn and waits for its end.
func (r *Registry) runTurn(it dispatch.Item, t *turn) {
	w := r.waiters.begin(t.waiter)
	if w == nil {
		return
	}
	over := w.ctx.Value(overKey{}).(chan struct{})
	w.done <- answer{result: it}
	<-over
}
