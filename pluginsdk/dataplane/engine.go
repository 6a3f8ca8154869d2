package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

const (
	reviveFirst = time.Second
	reviveLast  = time.Minute
)

// Config says where an Engine works.
type Config struct {
	// StateDir holds the fragments and dnsmasq's files. Its parents must be
	// readable for dnsmasq's user.
	StateDir string
	// Dnsmasq is the program's path; "dnsmasq" from PATH when empty.
	Dnsmasq string
	// Log may be nil.
	Log hclog.Logger
}

// Engine applies fragments to the network namespace of its process. Its calls
// run one after another; a caller that waits can give up by its context.
type Engine struct {
	cfg      Config
	log      hclog.Logger
	store    *store
	networks map[string]*network // by namespace
	wires    wires
	filter   *filter.Filter
	// turn holds one token; who has it may use store, networks, wires and filter.
	turn   chan struct{}
	closed context.Context
	close  context.CancelFunc
	// lacks is what is not as it should be; repaired is closed when all that an
	// earlier engine left has been looked at.
	lacks    lacks
	repaired chan struct{}
}

// Open reads the state that an earlier Engine left in the folder. The daemons that
// still run are taken over, and what is missing is repaired, after Open has
// returned, one bridge and network after another, with other calls between them:
// something that takes long keeps nothing else waiting. What cannot be repaired is
// among the Failures, and tried again by the next Apply or Sync that has it.
func Open(cfg Config) (*Engine, error) {
	e, err := load(cfg)
	if err != nil {
		return nil, err
	}
	left := e.left()
	for _, l := range left {
		e.lacks.note(l.owner, l.key, errWaits)
	}
	if len(e.filterFragments("", nil)) > 0 {
		e.lacks.note("", filterKey, errWaits)
	}
	e.turn <- struct{}{}
	go func() {
		_ = e.lookAtFilter(errWaits) // it is told, and watchFilter looks again
		e.repair(left)
		close(e.repaired)
		go e.watchFilter()
		e.watchLinks()
	}()
	return e, nil
}

// Remove takes all that an Engine with this folder made off the machine. No
// Engine may have it open.
func Remove(ctx context.Context, cfg Config) error {
	e, err := load(cfg)
	if err != nil {
		return err
	}
	e.turn <- struct{}{}
	return errors.Join(e.Purge(ctx), e.Close())
}

func load(cfg Config) (*Engine, error) {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Dnsmasq == "" {
		cfg.Dnsmasq = "dnsmasq"
	}
	// It goes into dnsmasq's configuration, where commas, spaces and newlines mean something.
	if err := kinds.Exact("plainpath", cfg.StateDir); err != nil {
		return nil, errs.Wrap(errs.Invalid, "state folder", err, "")
	}
	if err := os.MkdirAll(filepath.Join(cfg.StateDir, "dhcp"), 0o755); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	s, err := openStore(filepath.Join(cfg.StateDir, "fragments"), cfg.Log)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: cfg.Log, store: s, networks: map[string]*network{}, turn: make(chan struct{}, 1), repaired: make(chan struct{})}
	e.filter = filter.New(filepath.Join(cfg.StateDir, "filter"), cfg.Log)
	e.closed, e.close = context.WithCancel(context.Background())
	return e, nil
}

// Close ends supervision and the metadata service. DHCP and DNS keep running
// and are taken over by the next Open.
func (e *Engine) Close() error {
	e.close()
	<-e.turn // for ever: nothing may start after this
	var err error
	for _, n := range e.networks {
		err = errors.Join(err, n.leave())
	}
	return err
}

func (e *Engine) take(ctx context.Context) error {
	select {
	case <-e.turn:
		return nil
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), "network state", ctx.Err(), "an earlier change has not ended")
	case <-e.closed.Done():
		return errs.New(errs.Unavailable, "network state", "the agent is stopping")
	}
}

func (e *Engine) release() { e.turn <- struct{}{} }

// Apply adds or replaces the fragments in upsert and removes those whose keys
// are in remove, of one owner. Removing a network removes its bindings and
// metadata. A binding takes its address and MAC, and metadata its address, from
// an older fragment of the owner that still has them: two entries with one of
// them must never exist (specification of network services, section 3). Errors:
// ErrStale for a state at another revision, which is left alone. Wrong input changes
// nothing (Invalid, Exists, NotFound); a step that fails is undone, those before it
// stay, and a repeat of the call goes on.
func (e *Engine) Apply(ctx context.Context, owner string, at Revisions, upsert []*hostv1.Fragment, remove []string) error {
	if err := checkAll(owner, upsert); err != nil {
		return err
	}
	if err := checkRevision(at.Revision); err != nil {
		return err
	}
	if err := e.take(ctx); err != nil {
		return err
	}
	defer e.release()
	if !at.fit(e.store.revisions[owner]) {
		return ErrStale
	}
	next := e.store.set(owner)
	touched := set{}
	for _, f := range upsert {
		next[f.GetKey()], touched[f.GetKey()] = f, f
	}
	next = next.without(remove)
	next.evict(touched)
	if err := e.change(ctx, owner, next, touched); err != nil || at.Revision == "" {
		return err
	}
	return e.store.setRevision(owner, at.Revision)
}

// Purge removes all that the engine made on the machine, of all owners. It goes
// on after an error and returns them all.
func (e *Engine) Purge(ctx context.Context) error {
	if err := e.take(ctx); err != nil {
		return err
	}
	defer e.release()
	var all error
	for _, owner := range e.store.owners() {
		all = errors.Join(all, e.store.setRevision(owner, ""))
		for _, step := range e.plan(owner, e.store.set(owner), set{}, set{}) {
			all = errors.Join(all, e.run(ctx, owner, set{}, step))
		}
	}
	if e.filter.Left() { // by fragments that were lost
		e.filter.Doubt()
		_, err := e.filter.Converge(e.filterFragments("", nil))
		all = errors.Join(all, err)
	}
	return all
}

func checkAll(owner string, fragments []*hostv1.Fragment) error {
	if err := CheckOwner(owner); err != nil {
		return err
	}
	for _, f := range fragments {
		if err := CheckFragment(f); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) change(ctx context.Context, owner string, next, touched set) error {
	old := e.store.set(owner)
	if err := checkSet(owner, old, next, touched, e.store.sets); err != nil {
		return err
	}
	for _, step := range e.plan(owner, old, next, touched) {
		if err := e.run(ctx, owner, next, step); err != nil {
			return err
		}
	}
	return nil
}
