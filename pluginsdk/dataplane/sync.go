package dataplane

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Failure is a fragment that could not be made true, and why.
type Failure struct {
	Key string
	Err error
}

// Synced is what Sync did: how many fragments were new or different, how many
// were removed, and which are not as they should be.
type Synced struct {
	Changed, Removed int
	Failures         []Failure
}

// Sync makes fragments all that the owner has, beside those with a key in keep,
// which stay as they are with what belongs to them. It also repairs those that are
// the same, files and devices, so it is what a reconnect calls. One that cannot be made true costs
// the others nothing: it stays as it was, or away where it was not, with what
// belongs to it, and is among the failures. The state is at the revision afterwards,
// and at none when Sync fails or is given none. Errors: Invalid for what is not
// about a single fragment; Timeout and Cancelled when ctx ends, Unavailable when
// the engine is closed; then some may have been applied.
func (e *Engine) Sync(ctx context.Context, owner, revision string, fragments []*hostv1.Fragment, keep []string) (Synced, error) {
	if err := CheckOwner(owner); err != nil {
		return Synced{}, err
	}
	if err := checkRevision(revision); err != nil {
		return Synced{}, err
	}
	if err := e.take(ctx); err != nil {
		return Synced{}, err
	}
	defer e.release()
	old := e.store.set(owner)
	next, result, err := collect(old, fragments)
	if err != nil {
		return result, err
	}
	if err := e.store.setRevision(owner, ""); err != nil {
		return result, err
	}
	if err := e.store.look(owner); err != nil {
		return result, err
	}
	given := maps.Clone(next)
	for _, key := range keep {
		next.retain(old, key)
	}
	next.evict(given)
	result.Failures = fit(owner, old, next, e.store.sets, result.Failures)
	for key, f := range next {
		if !proto.Equal(old[key], f) {
			result.Changed++
		}
	}
	for key := range old {
		if next[key] == nil {
			result.Removed++
		}
	}
	for _, n := range e.networks {
		if n.owner == owner {
			n.written = nil // others may have changed its files
		}
	}
	if slices.ContainsFunc(fragments, filter.Is) {
		e.filter.Doubt() // as with the files
	}
	for _, step := range e.plan(owner, old, next, next) {
		if err := e.run(ctx, owner, next, step); err != nil {
			if ctx.Err() != nil {
				return result, errs.Wrap(errs.ClassOf(ctx.Err()), step.object, err, "there was no time left for it")
			}
			result.Failures = append(result.Failures, Failure{step.key, err})
		}
	}
	return result, e.store.setRevision(owner, revision)
}

// collect makes a set of the fragments that are right by themselves. In place of
// one that is not stands what the owner had before.
func collect(old set, fragments []*hostv1.Fragment) (set, Synced, error) {
	next, seen, result := set{}, map[string]bool{}, Synced{}
	for _, f := range fragments {
		if seen[f.GetKey()] {
			return nil, result, errs.New(errs.Invalid, "fragment "+f.GetKey(), "it is given twice")
		}
		seen[f.GetKey()] = true
		if err := CheckFragment(f); err != nil {
			result.Failures = append(result.Failures, Failure{f.GetKey(), err})
			f = old[f.GetKey()]
		}
		if f != nil {
			next[f.GetKey()] = f
		}
	}
	return next, result, nil
}

// retain adds the old fragment of a key and what belongs to it, but in place of
// none.
func (s set) retain(old set, key string) {
	for _, f := range append(old.of(key), old[key]) {
		if f == nil || s[f.GetKey()] != nil {
			continue
		}
		s[f.GetKey()] = f
		for _, need := range needs(f) {
			s.retain(old, need)
		}
	}
}

// fit makes next a set whose fragments fit together: those that do not go back
// to what they were, and where that does not fit either, away with what belongs
// to them. It returns the failures with those that it adds.
func fit(owner string, old, next set, all map[string]set, failures []Failure) []Failure {
	told := map[string]bool{}
	for _, f := range failures {
		told[f.Key] = true
	}
	for {
		bad := misfits(owner, next, all)
		if len(bad) == 0 {
			return failures
		}
		for _, f := range bad {
			// What lost its network goes with it: the network's failure tells of it.
			if !told[f.Key] && !told[networkKey(next[f.Key])] {
				failures = append(failures, f)
			}
			if before := old[f.Key]; before != nil && !told[f.Key] && !proto.Equal(before, next[f.Key]) {
				next[f.Key] = before
			} else if closed := shut(next[f.Key]); closed != nil && !proto.Equal(closed, next[f.Key]) {
				next[f.Key] = closed
			} else {
				delete(next, f.Key)
			}
			told[f.Key] = true
		}
	}
}
