package dataplane

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// step changes one object. keys are the fragments that it makes true: they are
// saved before do, so that a crash leaves no object that nobody knows, and
// taken back when do fails.
type step struct {
	object string
	// key is that of the bridge or network that it is about, or filterKey.
	key  string
	keys []string
	do   func(context.Context) error
	// undo follows a failed do; nil when do undoes itself.
	undo func(context.Context) error
}

// whose are the failures of the step: those of the filter are the machine's.
func (s step) whose(owner string) string {
	if s.key == filterKey {
		return ""
	}
	return owner
}

// plan orders the way from old to next. Things go before things come, so that
// an address or an uplink can move between fragments; networks come after the
// bridges that they plug into, and go before them.
func (e *Engine) plan(owner string, old, next, touched set) []step {
	var gone, bridgesGone, bridges, networks []step
	for _, key := range old.lacking(next) {
		if n := old[key].GetDhcpNetwork(); n != nil {
			gone = append(gone, e.removeNetworkStep(owner, old, key))
		}
		if b := old[key].GetBridge(); b != nil {
			bridgesGone = append(bridgesGone, step{object: "bridge " + b.GetName(), key: key, keys: []string{key},
				do: func(context.Context) error { return removeBridge(b) }})
		}
	}
	for _, key := range touched.sortedKeys() {
		if b := next[key].GetBridge(); b != nil {
			before := old[key].GetBridge()
			if before.GetName() != "" && before.GetName() != b.GetName() {
				bridgesGone = append(bridgesGone, step{object: "bridge " + before.GetName(), key: key,
					do: func(context.Context) error { return removeBridge(before) }})
			}
			bridges = append(bridges, step{object: "bridge " + b.GetName(), key: key, keys: []string{key},
				do: func(context.Context) error { return ensureBridge(before, b, e.log) }})
		}
	}
	for _, key := range touchedNetworks(old, next, touched) {
		before := fragmentOf(old, key)
		if before.GetNamespace() != "" && before.GetNamespace() != fragmentOf(next, key).GetNamespace() {
			s := e.removeNetworkStep(owner, old, key)
			s.keys = nil
			gone = append(gone, s)
		}
		networks = append(networks, e.networkStep(owner, old, next, touched, key))
	}
	// First the filter: it needs no device, and no guest is without it for a moment.
	return slices.Concat(e.filterSteps(owner, old, next, touched), gone, bridgesGone, bridges, networks)
}

// touchedNetworks are the networks that stay and have a fragment that came,
// changed or went.
func touchedNetworks(old, next, touched set) []string {
	networks := set{}
	mark := func(f *hostv1.Fragment) {
		if n := networkKey(f); n != "" && next[n] != nil {
			networks[n] = next[n]
		}
	}
	for key, f := range touched {
		if next[key] != nil {
			mark(f)
		}
	}
	for key, f := range old {
		if !same(next[key], f) {
			mark(f) // also a binding that moved to another network
		}
	}
	return networks.sortedKeys()
}

func keysOf(s set, network string) []string {
	var keys []string
	for _, f := range s.of(network) {
		keys = append(keys, f.GetKey())
	}
	return keys
}

// changedKeys are those of a network's fragments that came, changed, went or are
// touched, sorted.
func changedKeys(old, next, touched set, network string) []string {
	var keys []string
	for key, f := range next {
		if (touched[key] != nil || !same(old[key], f)) && networkKey(f) == network {
			keys = append(keys, key)
		}
	}
	for key, f := range old {
		if next[key] != f && networkKey(f) == network && (next[key] == nil || networkKey(next[key]) != network) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (e *Engine) removeNetworkStep(owner string, old set, key string) step {
	n := fragmentOf(old, key)
	return step{object: "DHCP network " + n.GetNamespace(), key: key, keys: keysOf(old, key), do: func(context.Context) error {
		runtime := e.network(owner, key, n.GetNamespace())
		delete(e.networks, n.GetNamespace())
		return runtime.remove()
	}}
}

func (e *Engine) networkStep(owner string, old, next, touched set, key string) step {
	name := fragmentOf(next, key).GetNamespace()
	s := step{object: "DHCP network " + name, key: key, keys: changedKeys(old, next, touched, key)}
	s.do = func(ctx context.Context) error {
		return e.convergeNetwork(ctx, owner, next, key, &difference{old, s.keys})
	}
	s.undo = func(ctx context.Context) error {
		if fragmentOf(old, key).GetNamespace() == name {
			return e.convergeNetwork(ctx, owner, old, key, nil)
		}
		runtime := e.network(owner, key, name)
		delete(e.networks, name)
		return runtime.remove()
	}
	return s
}

func (e *Engine) network(owner, key, namespace string) *network {
	n := e.networks[namespace]
	if n == nil {
		n = &network{folder: networkFolder(filepath.Join(e.cfg.StateDir, "dhcp", namespace)), log: e.log.With("network", namespace)}
		n.spec.namespace = namespace
		e.networks[namespace] = n
	}
	n.owner, n.key = owner, key
	return n
}

// convergeNetwork makes a network as a set says; d is in what the set differs from one
// that was made before, nil when that is not known.
func (e *Engine) convergeNetwork(ctx context.Context, owner string, s set, key string, d *difference) error {
	n := e.network(owner, key, fragmentOf(s, key).GetNamespace())
	st, err := n.stateOf(s, key, d)
	if err != nil {
		return err
	}
	before := n.dnsmasq
	if err := n.converge(ctx, st, e.cfg.Dnsmasq); err != nil {
		return err
	}
	if n.dnsmasq != nil && n.dnsmasq != before {
		go e.supervise(n, n.dnsmasq)
	}
	return nil
}

// run saves what the step makes true, does it, and takes it back when it fails.
// Removed fragments are forgotten only when they are gone.
func (e *Engine) run(ctx context.Context, owner string, next set, s step) error {
	before := map[string]*hostv1.Fragment{}
	for _, key := range s.keys {
		before[key] = e.store.sets[owner][key]
		if next[key] == nil {
			continue
		}
		if err := e.store.put(owner, key, next[key]); err != nil {
			return err
		}
	}
	err := s.do(ctx)
	if err == nil {
		for _, key := range s.keys {
			if next[key] == nil {
				err = errors.Join(err, e.store.put(owner, key, nil))
			}
		}
		e.lacks.note(s.whose(owner), s.key, err)
		return err
	}
	if s.undo != nil {
		// The caller's context may be what failed; the undo has its own.
		undoCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*startTimeout)
		defer cancel()
		if undoErr := s.undo(undoCtx); undoErr != nil {
			e.log.Error("a failed change could not be undone", "object", s.object, "error", undoErr)
		}
	}
	for key, f := range before {
		if putErr := e.store.put(owner, key, f); putErr != nil {
			e.log.Error("a failed change could not be forgotten", "object", s.object, "error", putErr)
		}
	}
	return err
}

// supervise waits for the end of a dnsmasq and starts another, with a growing
// pause, as long as this one is the network's.
func (e *Engine) supervise(n *network, p *process) {
	select {
	case <-p.ended:
	case <-e.closed.Done():
		return
	}
	for pause := reviveFirst; ; pause = min(2*pause, reviveLast) {
		if done := e.revive(n, p); done {
			return
		}
		select {
		case <-time.After(pause):
		case <-e.closed.Done():
			return
		}
	}
}

// revive reports whether there is nothing more to do for p.
func (e *Engine) revive(n *network, p *process) bool {
	if e.take(e.closed) != nil {
		return true
	}
	defer e.release()
	if n.dnsmasq != p || e.networks[n.spec.namespace] != n {
		return true // stopped or replaced on purpose
	}
	n.log.Warn("dnsmasq ended, starting it again", "pid", p.pid)
	// With dnsmasq cleared, the converged network has a new process, which
	// convergeNetwork supervises.
	n.dnsmasq = nil
	n.written = nil // its end may come from a damaged file
	err := e.convergeNetwork(e.closed, n.owner, e.store.set(n.owner), n.key, nil)
	e.lacks.note(n.owner, n.key, err)
	if err != nil {
		n.log.Error("dnsmasq cannot be started again", "error", err)
		n.dnsmasq = p
		return false
	}
	return true
}
