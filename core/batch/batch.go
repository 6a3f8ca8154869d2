// Package batch has those who ask alike at the same moment share one reading: a
// commit wakes many, who then read alike. It must not import anything of core.
package batch

import (
	"context"
	"runtime"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// maxMembers bounds what one reading is asked for.
const maxMembers = 128

// Groups reads values of V for groups of callers. Its zero value is ready; it is
// safe for concurrent use.
type Groups[V any] struct {
	mu      sync.Mutex
	waiting map[string]*group[V]
	ready   func() // lets others run; nil is runtime.Gosched
}

// group is one reading. Who comes before it begins takes part, so that nobody
// gets a value that is older than the question.
type group[V any] struct {
	members []string
	done    chan struct{}
	value   V
	err     error
	cause   error // the end of the context under which it was read
}

// Do returns what read returns for a group: the callers with the same key who
// come before the first of them reads, which lets those who are ready to run do
// so before. read is told their members, each once, in no order. The value is
// shared, so that nobody changes it. The end of a caller's context ends that
// caller's wait only; when it is the reader's, the others read for themselves.
func (gs *Groups[V]) Do(ctx context.Context, key, member string, read func(members []string) (V, error)) (V, error) {
	gs.mu.Lock()
	g, first := gs.enter(key, member)
	gs.mu.Unlock()
	if !first {
		select {
		case <-g.done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
		if g.cause != nil {
			return read([]string{member})
		}
		return g.value, g.err
	}
	defer close(g.done)
	if gs.ready != nil {
		gs.ready()
	} else {
		runtime.Gosched()
	}
	gs.mu.Lock()
	if gs.waiting[key] == g {
		delete(gs.waiting, key)
	}
	gs.mu.Unlock()
	g.value, g.err = read(g.members)
	g.cause = ctx.Err()
	return g.value, g.err
}

// enter adds a member to the group that waits, or to a new one.
func (gs *Groups[V]) enter(key, member string) (g *group[V], first bool) {
	if g = gs.waiting[key]; g == nil || len(g.members) == maxMembers {
		if gs.waiting == nil {
			gs.waiting = map[string]*group[V]{}
		}
		g, first = &group[V]{done: make(chan struct{}), err: errs.New(errs.Internal, "reading of "+key, "it ended without an answer")}, true
		gs.waiting[key] = g
	}
	for _, m := range g.members {
		if m == member {
			return g, first
		}
	}
	g.members = append(g.members, member)
	return g, first
}
