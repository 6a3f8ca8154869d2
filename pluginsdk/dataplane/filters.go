package dataplane

import (
	"context"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file has the packet filter of guests' ports follow the fragments. It is one
// thing for the whole machine, whoever its fragments are of.

// filterKey is the key of failures of the packet filter.
const filterKey = "filter"

// claimFilter makes sure that a device is filtered once, rules count by themselves,
// and what a fragment names is there.
func claimFilter(machine, owners claims, s set, f *hostv1.Fragment) error {
	object := "fragment " + f.GetKey()
	if p := f.GetFilterPort(); p != nil {
		for _, g := range p.GetGroups() {
			if s[g].GetFilterGroup() == nil {
				return errs.New(errs.NotFound, object, "its filter group %s does not exist", g).
					WithAdvice("apply the group in the same call or before, and remove it only with its ports")
			}
		}
		return machine.take("filtered device", p.GetDevice(), f.GetKey())
	}
	for _, r := range f.GetFilterGroup().GetRules() {
		if set := r.GetSetKey(); set != "" && s[set].GetFilterSet() == nil {
			return errs.New(errs.NotFound, object, "the filter set %s of rule %s does not exist", set, r.GetId()).
				WithAdvice("apply the set in the same call or before, and remove it only with its rules")
		}
		if err := owners.take("rule", r.GetId(), f.GetKey()); err != nil {
			return err
		}
	}
	return nil
}

// needs are the keys that a filter fragment names.
func needs(f *hostv1.Fragment) []string {
	keys := f.GetFilterPort().GetGroups()
	for _, r := range f.GetFilterGroup().GetRules() {
		if r.GetSetKey() != "" {
			keys = append(keys, r.GetSetKey())
		}
	}
	return keys
}

// shut is a port in place of one whose groups are missing: nothing passes that was
// not open before. A guest must not run unfiltered because of what its owner got wrong.
func shut(f *hostv1.Fragment) *hostv1.Fragment {
	p := f.GetFilterPort()
	if p == nil {
		return nil
	}
	return &hostv1.Fragment{Key: f.GetKey(), Kind: &hostv1.Fragment_FilterPort{FilterPort: &hostv1.FilterPort{
		Device: p.GetDevice(), Mac: p.GetMac(), Addresses: p.GetAddresses()}}}
}

// filterSteps is one step when there is anything to do, none otherwise.
func (e *Engine) filterSteps(owner string, old, next, touched set) []step {
	s := step{object: filter.Object, key: filterKey}
	some := false
	for key, f := range old {
		if filter.Is(f) && !proto.Equal(f, next[key]) {
			s.keys, some = append(s.keys, key), true
		}
	}
	for key, f := range next {
		if !filter.Is(f) {
			continue
		}
		if some = some || touched[key] != nil; old[key] == nil || !filter.Is(old[key]) {
			s.keys, some = append(s.keys, key), true
		}
	}
	if !some {
		return nil
	}
	s.do = func(context.Context) error { return e.convergeFilter(owner, next) }
	s.undo = func(context.Context) error { return e.convergeFilter(owner, old) }
	return []step{s}
}

func (e *Engine) convergeFilter(owner string, s set) error {
	_, err := e.filter.Converge(e.filterFragments(owner, s))
	return err
}

// filterFragments are those of the machine, with s in place of what the owner has.
func (e *Engine) filterFragments(owner string, s set) map[filter.Name]*hostv1.Fragment {
	all := map[filter.Name]*hostv1.Fragment{}
	sets := maps.Clone(e.store.sets)
	sets[owner] = s
	for name, fragments := range sets {
		for key, f := range fragments {
			if filter.Is(f) {
				all[filter.Name{Owner: name, Key: key}] = f
			}
		}
	}
	return all
}

// lookAtFilter compares the kernel's packet filter with what it should be, and mends
// it.
func (e *Engine) lookAtFilter(why error) error {
	if e.take(e.closed) != nil {
		return nil
	}
	defer e.release()
	all := e.filterFragments("", nil)
	if len(all) == 0 && !e.filter.Left() {
		e.lacks.note("", filterKey, nil)
		return nil
	}
	e.lacks.note("", filterKey, why)
	e.filter.Doubt()
	changed, err := e.filter.Converge(all)
	e.lacks.note("", filterKey, err)
	switch {
	case err != nil:
		e.log.Error("the packet filter is not as it should be", "error", err)
	case changed:
		e.log.Warn("the packet filter was not as it should be, it is again")
	}
	return err
}

// watchFilter looks after each change that somebody else makes, until the engine is
// closed.
func (e *Engine) watchFilter() {
	changed := make(chan struct{}, 1)
	go e.mendFilter(changed)
	for pause := reviveFirst; e.closed.Err() == nil; pause = min(2*pause, reviveLast) {
		begin := time.Now()
		err := e.filter.Watch(e.closed, func() {
			select {
			case changed <- struct{}{}:
			default: // a look is waiting
			}
		})
		if err != nil {
			e.log.Warn("changes of the packet filter are followed anew", "error", err)
		}
		if time.Since(begin) > reviveLast {
			pause = reviveFirst
		}
		select {
		case <-time.After(pause):
		case <-e.closed.Done():
		}
	}
}

// mendFilter looks when something was changed, and again when that could not be mended.
func (e *Engine) mendFilter(changed <-chan struct{}) {
	var again <-chan time.Time
	for pause := reviveFirst; ; {
		select {
		case <-changed:
		case <-again:
		case <-e.closed.Done():
			return
		}
		if again = nil; e.lookAtFilter(errTouched) == nil {
			pause = reviveFirst
			continue
		}
		again = time.After(pause)
		pause = min(2*pause, reviveLast)
	}
}

// errTouched is of a packet filter that somebody else has changed.
var errTouched = errs.New(errs.Unavailable, filter.Object, "somebody else has changed it, it is being mended")

// FilterCounters tells what the rules of an owner's filter groups have matched; nothing
// while the owner has no ports. Errors: Invalid for an owner that is none.
func (e *Engine) FilterCounters(owner string) ([]*hostv1.FilterCounter, error) {
	if err := CheckOwner(owner); err != nil {
		return nil, err
	}
	return filter.Counters(owner)
}
