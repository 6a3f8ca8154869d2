package identity

import (
	"container/list"
	"context"
	"net/netip"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// line gives out the slots in which passwords are hashed, by turns to the networks
// that wait, so that guessers delay themselves and not those elsewhere. Of one
// network accounts that exist and names that do not come by turns: whoever floods
// it with names can tell by the time which exist, but keeps nobody out. When the
// line is full a newcomer takes a place of the network that has the most, or of a
// name that does not exist.
type line struct {
	most int // who may wait

	mu      sync.Mutex
	free    int // slots
	waiting int
	sites   map[string]*site
	turns   list.List // of *site, the next one first
}

// place is where somebody waits.
type place struct {
	network string
	known   bool // the account exists
}

// site is the part of the line that a network has.
type site struct {
	network string
	waiting [2]list.List // of *waiter: names that do not exist, accounts that do
	known   int          // which of them has the next turn
	turn    *list.Element
}

type waiter struct {
	place
	turn chan bool // true: it has a slot; false: it lost its place
	at   *list.Element
}

func newLine(slots, most int) *line {
	return &line{most: most, free: slots, sites: map[string]*site{}}
}

// networkOf is what of a client's address is counted as one: an IPv4 address, or
// the 64 bits of an IPv6 address that its site has been given (RFC 6177).
func networkOf(client string) string {
	a, err := netip.ParseAddr(client)
	if err != nil {
		return client
	}
	if a = a.Unmap(); a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

func (s *site) size() int { return s.waiting[0].Len() + s.waiting[1].Len() }

func index(known bool) int {
	if known {
		return 1
	}
	return 0
}

// enter waits for a slot, which leave gives back. errs.Unavailable when too many
// wait, or ctx ends before.
func (l *line) enter(ctx context.Context, p place) error {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return nil
	}
	if l.waiting >= l.most && !l.makePlace(p) {
		l.mu.Unlock()
		return l.crowded()
	}
	w := l.add(p)
	l.mu.Unlock()
	got := false
	select {
	case got = <-w.turn:
	case <-ctx.Done():
		l.mu.Lock()
		if w.at != nil {
			l.remove(w)
			w.turn <- false
		}
		l.mu.Unlock()
		if <-w.turn { // it came at the same moment
			l.leave()
		}
	}
	if !got {
		return l.crowded()
	}
	return nil
}

func (l *line) crowded() error {
	return errs.New(errs.Unavailable, "log-in", "too many others wait already").WithAdvice("repeat the call in a few seconds")
}

// leave gives a slot to the next one; last: nobody waits.
func (l *line) leave() (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	front := l.turns.Front()
	if front == nil {
		l.free++
		return true
	}
	s := front.Value.(*site)
	l.turns.MoveToBack(front)
	if s.waiting[s.known].Len() == 0 {
		s.known = 1 - s.known
	}
	w := s.waiting[s.known].Front().Value.(*waiter)
	s.known = 1 - s.known
	l.remove(w)
	w.turn <- true
	return false
}

// add puts somebody at the end; mu is held.
func (l *line) add(p place) *waiter {
	s := l.sites[p.network]
	if s == nil {
		s = &site{network: p.network, known: 1}
		s.turn = l.turns.PushBack(s)
		l.sites[p.network] = s
	}
	w := &waiter{place: p, turn: make(chan bool, 1)}
	w.at = s.waiting[index(p.known)].PushBack(w)
	l.waiting++
	return w
}

// remove takes somebody out; mu is held.
func (l *line) remove(w *waiter) {
	s := l.sites[w.network]
	s.waiting[index(w.known)].Remove(w.at)
	w.at = nil
	l.waiting--
	if s.size() == 0 {
		l.turns.Remove(s.turn)
		delete(l.sites, w.network)
	}
}

// makePlace takes a place from a network that has more than the newcomer's would
// have, or else for an account that exists from a name that does not. It reports
// whether there was one; mu is held.
func (l *line) makePlace(p place) bool {
	var largest, strange *site
	for _, s := range l.sites {
		if largest == nil || s.size() > largest.size() {
			largest = s
		}
		if n := s.waiting[0].Len(); n > 0 && (strange == nil || n > strange.waiting[0].Len()) {
			strange = s
		}
	}
	own := 0
	if s := l.sites[p.network]; s != nil {
		own = s.size()
	}
	from := largest
	if largest == nil {
		return false
	}
	if largest.size() <= own+1 {
		if from = strange; strange == nil || !p.known {
			return false
		}
	}
	last := from.waiting[0].Back()
	if last == nil {
		last = from.waiting[1].Back()
	}
	w := last.Value.(*waiter)
	l.remove(w)
	w.turn <- false
	return true
}
