package dataplane

import (
	"errors"
	"slices"
	"strings"
	"sync"
)

// This file repairs, after a start, what an earlier engine left, and keeps what is
// not as it should be, for those who ask.

// errWaits is of what an earlier engine left and nobody has looked at yet.
var errWaits = errors.New("it is looked at after the start of the agent")

// owned is a fragment's key, with whose it is.
type owned struct{ owner, key string }

// left are the bridges and then the networks that an earlier engine left.
func (e *Engine) left() []owned {
	var bridges, networks []owned
	for _, owner := range e.store.owners() {
		all := e.store.set(owner)
		for _, key := range all.sortedKeys() {
			switch f := all[key]; {
			case f.GetBridge() != nil:
				bridges = append(bridges, owned{owner, key})
			case f.GetDhcpNetwork() != nil:
				networks = append(networks, owned{owner, key})
			}
		}
	}
	return append(bridges, networks...)
}

// repair makes each of them as it should be by then, in a turn of its own.
func (e *Engine) repair(left []owned) {
	for _, l := range left {
		if e.take(e.closed) != nil {
			return
		}
		have := e.store.set(l.owner)
		if f := have[l.key]; f == nil {
			e.lacks.note(l.owner, l.key, nil) // it went meanwhile
		} else {
			e.restore(l.owner, have, set{l.key: f})
		}
		e.release()
	}
}

// restore does again what makes some fragments true. It reports whether there was
// anything to do.
func (e *Engine) restore(owner string, have, touched set) (did bool, failed error) {
	for _, step := range e.plan(owner, have, have, touched) {
		did = true
		err := step.do(e.closed)
		e.lacks.note(step.whose(owner), step.key, err)
		if err != nil {
			e.log.Error("network state could not be restored", "owner", owner, "object", step.object, "error", err)
			failed = errors.Join(failed, err)
		}
	}
	return did, failed
}

// Folder is where the engine keeps its state.
func (e *Engine) Folder() string { return e.cfg.StateDir }

// Failures returns what is not as it should be now, and why: what waits for its
// repair after a start, and what could not be repaired. It waits for nobody.
func (e *Engine) Failures() []Failure { return e.lacks.list() }

// lacks is what is not as it should be. Its zero value is ready.
type lacks struct {
	mu  sync.Mutex
	why map[owned]error
}

// note replaces what is said of a bridge or network; nil is that it is as it
// should be.
func (l *lacks) note(owner, key string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.why, owned{owner, key})
		return
	}
	if l.why == nil {
		l.why = map[owned]error{}
	}
	l.why[owned{owner, key}] = err
}

func (l *lacks) list() []Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Failure, 0, len(l.why))
	for o, err := range l.why {
		all = append(all, Failure{o.key, err})
	}
	slices.SortFunc(all, func(a, b Failure) int { return strings.Compare(a.Key, b.Key) })
	return all
}
