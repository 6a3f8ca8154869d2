package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// owner of the fragments on hosts.
const owner = "securitygroup"

// tellTimeout bounds what a host may take for its part.
const tellTimeout = 30 * time.Second

// host is what one host was told, and what it is to have. Hosts are told side by side,
// each of them one thing after the other: what is newest.
type host struct {
	core pluginsdk.Core
	uuid string

	mu   sync.Mutex
	has  fragments // nil: not known
	want fragments
	// pass is the number of the one that want is from.
	pass    int64
	telling bool
	waits   []*outcome
}

// outcome is how it went to tell a host; err is there when done is closed.
type outcome struct {
	done chan struct{}
	err  error
}

// tell has the host have what it should, and returns how that goes; nil when it has it
// already. all tells everything even if nothing is different.
func (h *host) tell(want fragments, pass int64, all bool) *outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	if pass < h.pass {
		want = h.want // a later one has been here
	}
	h.want, h.pass = want, max(pass, h.pass)
	if all {
		h.has = nil
	}
	if !h.telling && h.has != nil && same(h.has, want) {
		return nil
	}
	o := &outcome{done: make(chan struct{})}
	h.waits = append(h.waits, o)
	if !h.telling {
		h.telling = true
		go h.loop()
	}
	return o
}

func (h *host) loop() {
	for {
		h.mu.Lock()
		waits, want, has := h.waits, h.want, h.has
		h.waits = nil
		if len(waits) == 0 {
			h.telling = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		err := h.send(has, want)
		if errs.ClassOf(err) == errs.Unsupported && len(want) == 0 {
			err = nil // it has no agent that filters, and nothing to filter
		}
		h.mu.Lock()
		h.has = want
		if err != nil {
			h.has = nil // it may have happened in part
		}
		h.mu.Unlock()
		for _, o := range waits {
			o.err = err
			close(o.done)
		}
	}
}

func same(a, b fragments) bool {
	return maps.EqualFunc(a, b, func(x, y *hostv1.Fragment) bool { return x == y || proto.Equal(x, y) })
}

// send tells the host what is different; all, when it is not known what it has.
func (h *host) send(has, want fragments) error {
	ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
	defer cancel()
	agent := h.core.Host(h.uuid)
	if has == nil {
		all := &hostv1.SyncRequest{Owner: owner}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			all.Fragments = append(all.Fragments, want[key])
		}
		r, err := agent.Sync(ctx, all)
		if err == nil && len(r.GetFailures()) > 0 {
			f := r.GetFailures()[0]
			err = errs.New(errs.Class(f.GetClass()), "host "+h.uuid, "%d filters are not as they should be; %s: %s", len(r.GetFailures()), f.GetKey(), f.GetText())
		}
		return err
	}
	change := &hostv1.ApplyRequest{Owner: owner}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if was := has[key]; was == nil || !proto.Equal(was, want[key]) {
			change.Upsert = append(change.Upsert, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(has)) {
		if want[key] == nil {
			change.Remove = append(change.Remove, key)
		}
	}
	if len(change.Upsert)+len(change.Remove) == 0 {
		return nil
	}
	_, err := agent.Apply(ctx, change)
	return err
}
