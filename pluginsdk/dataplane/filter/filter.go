package filter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables/binaryutil"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// maxMade bounds what is remembered for Watch.
const maxMade = 4096

// Object is what errors of this package name.
const Object = "packet filter"

// Filter makes the kernel's packet filter follow fragments. Its calls must come one
// after another, but for Counters and Watch, which anybody may call at any time.
type Filter struct {
	log     hclog.Logger
	folder  string
	units   map[Name]*unit
	refs    map[item]*ref
	numbers map[string]uint16 // of profiles, by key
	last    int               // of the numbers that were given
	// known is that the kernel has what refs says, as far as we know.
	known bool
	mu    sync.Mutex
	made  map[uint32]bool // generations of ours that Watch has not seen yet
}

// unit is what one fragment made.
type unit struct {
	fragment *hostv1.Fragment
	things   []thing
	profile  string // of a port
}

// ref is a thing with how many units want it.
type ref struct {
	thing
	count int
}

// New makes a Filter that keeps what the machine's settings were in the folder. It
// changes nothing. What an earlier one left in the kernel is taken over by the first
// Converge.
func New(folder string, log hclog.Logger) *Filter {
	return &Filter{log: log, folder: folder, units: map[Name]*unit{}, refs: map[item]*ref{}, numbers: map[string]uint16{}, made: map[uint32]bool{}}
}

// Is says whether a fragment is one of those that Converge takes.
func Is(f *hostv1.Fragment) bool {
	return f.GetFilterSet() != nil || f.GetFilterGroup() != nil || f.GetFilterPort() != nil
}

// Doubt makes the next Converge look at what the kernel has: somebody else may have
// changed it.
func (f *Filter) Doubt() { f.known = false }

// Left says whether an earlier Filter of the folder left something in the kernel.
func (f *Filter) Left() bool {
	_, err := os.Stat(filepath.Join(f.folder, savedSettings))
	return err == nil
}

// Converge makes the kernel have what all says, and nothing else in our tables, in one
// transaction of what is different, or in none, and says whether there was one. all
// must fit together: what a port or a rule names is there. Then open connections of
// ports whose rules have changed are judged anew. Errors: Refused when the kernel
// cannot do it, Exhausted when there are too many profiles; then nothing was changed.
func (f *Filter) Converge(all map[Name]*hostv1.Fragment) (changed bool, err error) {
	ports := false
	for _, fragment := range all {
		ports = ports || fragment.GetFilterPort() != nil
	}
	if !ports {
		all = nil // without ports, nothing is needed
	} else if err := f.ready(); err != nil {
		return false, err
	}
	var have map[item]thing
	broken := false
	if !f.known {
		if have, err = f.lookAt(); err != nil {
			f.log.Warn("the packet filter cannot be read, making it anew", "error", err)
			broken = true
		}
	}
	s, concerned, err := f.take(all, ports)
	if err == nil {
		changed, err = f.commit(have, s, broken)
	}
	if err != nil {
		f.restore(s)
		return false, err
	}
	f.known = true
	if !ports {
		return changed, f.leave()
	}
	return changed, f.judgeAnew(all, concerned)
}

// lookAt reads the kernel's tables, and takes over the numbers that profiles have
// there.
func (f *Filter) lookAt() (map[item]thing, error) {
	have, err := read()
	if err != nil {
		return nil, err
	}
	if len(f.units) > 0 {
		return have, nil
	}
	for i, t := range have {
		key, is := strings.CutPrefix(strings.TrimSuffix(t.value, way(false)), "profile-")
		if i.kind == kindElement && i.table == inetTable && i.name == egress && is {
			f.numbers[key] = uint16(binaryutil.NativeEndian.Uint32([]byte(i.key)) & markNumber)
		}
	}
	return have, nil
}

// snapshot is what restore needs when the kernel refuses.
type snapshot struct {
	units   map[Name]*unit // nil where there was none
	numbers map[string]uint16
	refs    map[item]*ref // those that were touched, as they were
}

func (f *Filter) snapshot() *snapshot {
	return &snapshot{units: map[Name]*unit{}, numbers: maps.Clone(f.numbers), refs: map[item]*ref{}}
}

func (f *Filter) restore(s *snapshot) {
	for n, u := range s.units {
		if f.units[n] = u; u == nil {
			delete(f.units, n)
		}
	}
	for i, r := range s.refs {
		if f.refs[i] = r; r == nil {
			delete(f.refs, i)
		}
	}
	f.numbers = s.numbers
}

// baseName is the unit of what is there for all ports.
var baseName = Name{}

// take makes the units follow the fragments. It returns what that touches, with what
// it was, and the ports of which connections may be judged otherwise now.
func (f *Filter) take(all map[Name]*hostv1.Fragment, ports bool) (s *snapshot, concerned []Name, err error) {
	s = f.snapshot()
	changed := map[Name]bool{}
	for n, u := range f.units {
		if n == baseName && ports {
			continue
		}
		if next := all[n]; next == nil || !proto.Equal(next, u.fragment) {
			changed[n] = true
			s.units[n] = u
			f.drop(u, s)
			delete(f.units, n)
		}
	}
	if _, there := f.units[baseName]; ports && !there {
		s.units[baseName] = nil
		f.add(baseName, &unit{things: base()}, s)
	}
	f.forgetProfiles(all)
	for n, fragment := range all {
		if _, there := f.units[n]; there {
			continue
		}
		if !changed[n] {
			changed[n], s.units[n] = true, nil
		}
		u, err := f.compile(n, fragment)
		if err != nil {
			return s, nil, err
		}
		f.add(n, u, s)
	}
	return s, concernedBy(changed, all), nil
}

// concernedBy are the ports that are new or changed, or whose groups or their sets
// are.
func concernedBy(changed map[Name]bool, all map[Name]*hostv1.Fragment) (ports []Name) {
	if len(changed) == 0 {
		return nil
	}
	groups := map[Name]bool{}
	for n, f := range all {
		if f.GetFilterGroup() == nil {
			continue
		}
		groups[n] = changed[n] || slices.ContainsFunc(f.GetFilterGroup().GetRules(), func(r *hostv1.FilterRule) bool {
			return r.GetSetKey() != "" && changed[Name{n.Owner, r.GetSetKey()}]
		})
	}
	for n, f := range all {
		p := f.GetFilterPort()
		if p != nil && (changed[n] || slices.ContainsFunc(p.GetGroups(), func(g string) bool { return groups[Name{n.Owner, g}] })) {
			ports = append(ports, n)
		}
	}
	return ports
}

func (f *Filter) compile(n Name, fragment *hostv1.Fragment) (*unit, error) {
	u := &unit{fragment: fragment}
	switch {
	case fragment.GetFilterSet() != nil:
		u.things = compileSet(n, fragment.GetFilterSet())
	case fragment.GetFilterGroup() != nil:
		u.things = compileGroup(n, fragment.GetFilterGroup())
	case fragment.GetFilterPort() != nil:
		p := fragment.GetFilterPort()
		u.profile = profileOf(n.Owner, p).key()
		number, err := f.number(u.profile)
		if err != nil {
			return u, err
		}
		u.things = compilePort(n, p, number)
	}
	return u, nil
}

// number is that of a profile, for as long as a port has it.
func (f *Filter) number(profile string) (uint16, error) {
	if n := f.numbers[profile]; n != 0 {
		return n, nil
	}
	taken := map[uint16]bool{}
	for _, n := range f.numbers {
		taken[n] = true
	}
	// One that was just freed may be on packets that are on their way.
	for range lastProfile {
		if f.last = f.last%lastProfile + 1; !taken[uint16(f.last)] {
			f.numbers[profile] = uint16(f.last)
			return uint16(f.last), nil
		}
	}
	return 0, errs.New(errs.Exhausted, Object, "the ports of this host have more than %d different lists of groups", lastProfile)
}

func (f *Filter) forgetProfiles(all map[Name]*hostv1.Fragment) {
	used := map[string]bool{}
	for _, u := range f.units {
		used[u.profile] = true
	}
	for n, fragment := range all {
		if p := fragment.GetFilterPort(); p != nil && f.units[n] == nil {
			used[profileOf(n.Owner, p).key()] = true
		}
	}
	maps.DeleteFunc(f.numbers, func(profile string, _ uint16) bool { return !used[profile] })
}

func (f *Filter) add(n Name, u *unit, s *snapshot) {
	f.units[n] = u
	for _, t := range u.things {
		s.keep(f, t.item)
		if r := f.refs[t.item]; r != nil {
			f.refs[t.item] = &ref{t, r.count + 1}
		} else {
			f.refs[t.item] = &ref{t, 1}
		}
	}
}

func (f *Filter) drop(u *unit, s *snapshot) {
	for _, t := range u.things {
		s.keep(f, t.item)
		if r := f.refs[t.item]; r.count > 1 {
			f.refs[t.item] = &ref{r.thing, r.count - 1}
		} else {
			delete(f.refs, t.item)
		}
	}
}

// keep remembers what a thing was before it was touched first.
func (s *snapshot) keep(f *Filter, i item) {
	if _, known := s.refs[i]; !known {
		s.refs[i] = f.refs[i]
	}
}

// commit brings the kernel from what it has to what it should have. have is what was
// read; nil is what it had before what was touched. broken is that all has to be made
// anew.
func (f *Filter) commit(have map[item]thing, touched *snapshot, broken bool) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if changes := f.changes(have, touched); broken {
		err = f.anew()
	} else if len(changes) == 0 {
		return false, nil
	} else if err = commit(changes); err != nil {
		f.log.Warn("the packet filter cannot be changed, making it anew", "error", err)
		if again := f.anew(); again != nil {
			err = errors.Join(err, again)
		} else {
			err = nil
		}
	}
	if err != nil {
		f.known = false
		return false, errs.Wrap(errs.Refused, Object, err, "").WithAdvice("look whether the kernel has nf_tables with what the agent's documentation names")
	}
	return true, f.done()
}

// done remembers that the last transaction was ours. When somebody else's came between,
// that one is remembered, and ours looked at as another's: nothing is missed.
func (f *Filter) done() error {
	g, err := generation()
	if len(f.made) > maxMade {
		clear(f.made) // nobody watches
	}
	f.made[g] = true
	return err
}

func (f *Filter) changes(have map[item]thing, touched *snapshot) []change {
	var changes []change
	compare := func(have, want *thing) {
		if have == nil && want == nil || have != nil && want != nil && have.value == want.value {
			return
		}
		changes = append(changes, change{have, want})
	}
	if have == nil {
		for i, r := range touched.refs {
			var was *thing
			if r != nil {
				was = &r.thing
			}
			compare(was, f.want(i))
		}
	} else {
		for i, t := range have {
			compare(&t, f.want(i))
		}
		for i, r := range f.refs {
			if _, there := have[i]; !there {
				compare(nil, &r.thing)
			}
		}
	}
	return changes
}

// anew makes all of our tables, in place of those that are there, in one transaction:
// the way out when somebody has made things of ours in another way.
func (f *Filter) anew() error {
	var changes []change
	for _, r := range f.refs {
		changes = append(changes, change{nil, &r.thing})
	}
	if err := commit(changes, bridgeTable, inetTable); err != nil {
		return fmt.Errorf("make the packet filter anew: %w", err)
	}
	return nil
}

func (f *Filter) want(i item) *thing {
	if r := f.refs[i]; r != nil {
		return &r.thing
	}
	return nil
}
