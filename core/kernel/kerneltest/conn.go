package kerneltest

import (
	"context"
	"path"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The calls of network services: Applies are changes by which something comes or is
// other than it was, Removes those by which something only goes, Syncs tell everything.
const (
	Applies = "ApplyNetworkState"
	Removes = "RemoveNetworkState"
	Syncs   = "SyncNetworkState"
)

// NetworkRows are the rows of a request of Applies or Syncs, on Host.
type NetworkRows struct {
	Host *pluginv1.Host
	pluginsdk.NetworkRows
}

// Told takes a request of Applies or Syncs apart; one of another call has no rows.
func Told(request any) (r NetworkRows) {
	var err error
	switch m := request.(type) {
	case *pluginv1.ApplyNetworkStateRequest:
		r.Host = m.GetTarget().GetHost()
		r.NetworkRows, err = pluginsdk.SplitRows(m.GetUpserts())
	case *pluginv1.SyncNetworkStateRequest:
		r.Host = m.GetTarget().GetHost()
		r.NetworkRows, err = pluginsdk.SplitRows(m.GetRows())
	}
	if err != nil {
		panic(err) // the core made it
	}
	return r
}

// Gone are the rows that a request of Applies or Removes takes away.
func Gone(request any) pluginsdk.NetworkKeys {
	m, _ := request.(*pluginv1.ApplyNetworkStateRequest)
	keys, err := pluginsdk.SplitKeys(m.GetRemoves())
	if err != nil {
		panic(err) // the core made it
	}
	return keys
}

// LastTold is Told of the newest request of a call; without one it has no rows.
func LastTold(c *Calls, method string) NetworkRows {
	all := c.Of(method)
	if len(all) == 0 {
		return NetworkRows{}
	}
	return Told(all[len(all)-1])
}

// Calls records the calls to plugins and lets them fail. Its methods may be
// called at any time from any goroutine.
type Calls struct {
	mu     sync.Mutex
	made   []Made
	faults map[string]func(request any) error
	after  map[string]func(request any) error
}

// Made is one call to a plugin: the RPC's name ("StartVM") and its request, a
// message of pluginv1. A stream has no request here. A change of network state is
// named Applies or Removes: a guest's stop is not its start.
type Made struct {
	Method  string
	Request any
}

func newCalls() *Calls {
	return &Calls{faults: map[string]func(any) error{}, after: map[string]func(any) error{}}
}

// On lets fn decide on every call of a method before the plugin gets it: an
// error is what the core gets in place of an answer. fn may wait. nil takes it
// away again.
func (c *Calls) On(method string, fn func(request any) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[method] = fn
}

// After is On for when the plugin has done what it was told: its answer is lost.
func (c *Calls) After(method string, fn func(request any) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after[method] = fn
}

// Fail lets every call of a method fail with err; nil ends that.
func (c *Calls) Fail(method string, err error) {
	if err == nil {
		c.On(method, nil)
		return
	}
	c.On(method, func(any) error { return err })
}

// Of returns the requests of a method's calls so far, in their order.
func (c *Calls) Of(method string) []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []any
	for _, m := range c.made {
		if m.Method == method {
			list = append(list, m.Request)
		}
	}
	return list
}

// Methods returns the names of the calls so far, in their order.
func (c *Calls) Methods() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, len(c.made))
	for i, m := range c.made {
		names[i] = m.Method
	}
	return names
}

// Forget empties the record.
func (c *Calls) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = nil
}

// Last returns the newest request of a method; false when there was none.
func Last[R any](c *Calls, method string) (r R, ok bool) {
	for _, v := range slices.Backward(c.Of(method)) {
		if r, ok = v.(R); ok {
			return r, true
		}
	}
	return r, false
}

func (c *Calls) around(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return recorder{conn, c}
}

// recorder stands between the core and a plugin.
type recorder struct {
	grpc.ClientConnInterface
	calls *Calls
}

func (r recorder) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	name := path.Base(method)
	if r, ok := args.(*pluginv1.ApplyNetworkStateRequest); ok && len(r.GetUpserts()) == 0 {
		name = Removes
	}
	before, after := r.calls.record(name, args)
	if before != nil {
		if err := before(args); err != nil {
			return err
		}
	}
	err := r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if err == nil && after != nil {
		return after(args)
	}
	return err
}

func (r recorder) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	before, _ := r.calls.record(path.Base(method), nil)
	if before != nil {
		if err := before(nil); err != nil {
			return nil, err
		}
	}
	return r.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}

func (c *Calls) record(name string, request any) (before, after func(any) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, Made{name, request})
	return c.faults[name], c.after[name]
}
