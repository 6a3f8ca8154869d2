package world

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Watch tells changes of a host's guests. A guest that changes several times
// before it is asked for is told once, with its last state, so that a slow
// watcher costs no more than the host has guests.
type Watch struct {
	l      *Live
	host   string
	signal chan struct{}

	// The lock of the world guards these.
	dirty map[string]bool
	ended bool
}

// Watch begins to watch a host; all its guests count as changed. End must
// follow. Errors: Unavailable for a host that is not connected.
func (l *Live) Watch(host string) (*Watch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connected(host); err != nil {
		return nil, err
	}
	w := &Watch{l: l, host: host, signal: make(chan struct{}, 1), dirty: map[string]bool{}}
	for uuid := range l.x.vmsOf[host] {
		w.dirty[uuid] = true
	}
	w.signal <- struct{}{}
	if l.watchers[host] == nil {
		l.watchers[host] = map[*Watch]struct{}{}
	}
	l.watchers[host][w] = struct{}{}
	return w, nil
}

// Next waits for changes and returns the guests as they are now, in no order;
// one that has left the host is told as stopped. Errors: Unavailable when the
// host was disconnected; those of ctx.
func (w *Watch) Next(ctx context.Context) ([]VM, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.signal:
		}
		changed, ended := w.take()
		if len(changed) > 0 {
			if ended {
				w.wake()
			}
			return changed, nil
		}
		if ended {
			return nil, errs.New(errs.Unavailable, "host "+w.host, "disconnected")
		}
	}
}

func (w *Watch) take() ([]VM, bool) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	changed := make([]VM, 0, len(w.dirty))
	for uuid := range w.dirty {
		if v := w.l.x.vmsOf[w.host][uuid]; v != nil {
			changed = append(changed, *v)
		} else {
			changed = append(changed, VM{UUID: uuid, Host: w.host, State: Stopped})
		}
	}
	clear(w.dirty)
	return changed, w.ended
}

func (w *Watch) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// End stops watching; a repeat does nothing.
func (w *Watch) End() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if delete(w.l.watchers[w.host], w); len(w.l.watchers[w.host]) == 0 {
		delete(w.l.watchers, w.host)
	}
}

// notify marks the guest of e as changed; it is called with the lock, before
// the world changes.
func (l *Live) notify(e entry) {
	var vm string
	switch {
	case e.VM != nil:
		vm = e.VM.UUID
		l.mark(e.VM.Host, vm)
	case e.Gone != nil && e.Gone.Kind == kindVM:
		vm = e.Gone.Key
	default:
		return
	}
	if old := l.w.VMs[vm]; old != nil && (e.VM == nil || old.Host != e.VM.Host) {
		l.mark(old.Host, vm)
	}
}

func (l *Live) mark(host, vm string) {
	for w := range l.watchers[host] {
		w.dirty[vm] = true
		w.wake()
	}
}

// endWatches lets the watches of a host end; it is called with the lock.
func (l *Live) endWatches(host string) {
	for w := range l.watchers[host] {
		w.ended = true
		w.wake()
	}
}
