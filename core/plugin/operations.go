package plugin

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// operations are the calls to a plugin that have not ended, by their operation IDs:
// what the plugin asks of the core meanwhile is asked for them. A plugin finds its
// own only, so that none can speak for an operation that it was not given.
type operations struct {
	mu   sync.Mutex
	open map[string][]context.Context
}

// begin notes a call. The context that it returns has an operation ID; end must be
// called with it when the call has ended.
func (o *operations) begin(ctx context.Context) context.Context {
	id := pluginsdk.OperationID(ctx)
	if id == "" { // nobody repeats it beyond this call
		id = rand.Text()
	}
	ctx = pluginsdk.WithOperationID(ctx, id) // one of its own, for end
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[string][]context.Context{}
	}
	o.open[id] = append(o.open[id], ctx)
	return ctx
}

// end forgets a call; a repeat does nothing.
func (o *operations) end(ctx context.Context) {
	id := pluginsdk.OperationID(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.open[id]
	for i, one := range list {
		if one != ctx {
			continue
		}
		if len(list) == 1 {
			delete(o.open, id)
			return
		}
		o.open[id] = append(list[:i:i], list[i+1:]...)
		return
	}
}

// of returns the context of a call with an operation ID, nil when there is none. Of
// several it is the last one, which knows of all that the others wait for.
func (o *operations) of(id string) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	if list := o.open[id]; len(list) > 0 {
		return list[len(list)-1]
	}
	return nil
}

// within is what a plugin asks for an operation: it ends with the question, and
// knows what the operation's call knows (who its caller is, which keys it holds).
type within struct {
	context.Context
	operation context.Context
}

// Value implements context.Context.
func (w within) Value(key any) any {
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return w.operation.Value(key)
}

// asker is the handler as one plugin asks it.
type asker struct {
	CoreHandler
	open *operations
}

// Query is asked for the operation, if there is one.
func (a asker) Query(ctx context.Context, q *pluginv1.QueryRequest, may func(string) error) (*pluginv1.QueryResponse, error) {
	if op := a.open.of(pluginsdk.OperationID(ctx)); op != nil {
		ctx = within{ctx, op}
	}
	return a.CoreHandler.Query(ctx, q, may)
}

// Act is refused outside of an operation: it would be nobody's to repeat, and might
// wait for work that waits for the plugin.
func (a asker) Act(ctx context.Context, plugin string, r *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	id := pluginsdk.OperationID(ctx)
	op := a.open.of(id)
	if op == nil {
		return nil, errs.New(errs.Refused, r.GetMessage(), "plugin %s has no operation %q in progress", plugin, id).
			WithAdvice("make the call with the context of a call from the core, before that returns")
	}
	return a.CoreHandler.Act(within{ctx, op}, plugin, r)
}
