package dispatch

// level is how far a group is from all work.
type level int

const (
	everything level = iota
	ofKind
	ofOwner // of one kind
	ofHost  // of one owner and kind
)

// group is all work, a kind of it, what an owner has of a kind, or what of that is
// for one host. It bounds what runs of it. The groups below it take turns; those
// of the last level have queues in their place. Kinds stay, the others are dropped
// when they have nothing.
type group struct {
	name    string
	level   level
	up      *group
	below   map[string]*group
	limit   int
	running int // items that have a place
	lent    int // items that run without one, as they have lent it
	waiting int // of a kind: items that do not run yet

	ready  list[group] // those below that could run something
	queues list[queue] // whose first item could run
	listed bool        // in up.ready
	place  node[group]
}

// part returns the group of a name below g.
func (g *group) part(name string) *group {
	p := g.below[name]
	if p == nil {
		p = &group{name: name, level: g.level + 1, up: g, limit: g.share(name)}
		if g.below == nil {
			g.below = map[string]*group{}
		}
		g.below[name] = p
	}
	return p
}

// share is how many places of g the group of a name below may have. Of a kind, a
// quarter is kept for other owners, and of an owner's places a third for other
// hosts, so that what waits for a host that hangs waits for it alone. Of 256
// places an owner has 192 at most, and 128 for one host.
func (g *group) share(name string) int {
	switch {
	case name == "":
	case g.level == ofKind:
		return max(1, g.limit-g.limit/4)
	case g.level == ofOwner:
		return max(1, g.limit-g.limit/3)
	}
	return g.limit
}

// bound changes the limit of g, and so of those below.
func (g *group) bound(n int) {
	g.limit = n
	for name, b := range g.below {
		b.bound(g.share(name))
	}
	g.offer()
}

// offer lists g in the group above when it could run something.
func (g *group) offer() {
	if g.listed || g.up == nil || g.running >= g.limit || g.ready.empty() && g.queues.empty() {
		return
	}
	g.listed = true
	g.up.ready.push(g, &g.place)
}

// wake offers g, and those above it.
func (g *group) wake() {
	for ; g != nil; g = g.up {
		g.offer()
	}
}

// take gives a place to the queue whose turn it is; nil when none may run.
func (g *group) take() *queue {
	if g.running >= g.limit {
		return nil
	}
	q := g.queues.pop()
	for q == nil {
		b := g.ready.pop()
		if b == nil {
			return nil
		}
		b.listed = false
		q = b.take() // nil when its limit was lowered while it stood in the list
		b.offer()
	}
	g.running++
	return q
}

// give takes back the place of an item of g that has run.
func (g *group) give(lent bool) {
	g.running--
	for u := g.up; u != nil; u = u.up {
		if lent {
			u.lent--
		} else {
			u.running--
		}
	}
	g.wake()
	g.prune()
}

// prune drops g, and those above it, that have nothing.
func (g *group) prune() {
	for g.level > ofKind && g.running == 0 && len(g.below) == 0 && g.queues.empty() {
		delete(g.up.below, g.name)
		g = g.up
	}
}

// drop forgets what waits.
func (g *group) drop() {
	g.ready, g.queues, g.listed, g.waiting = list[group]{}, list[queue]{}, false, 0
	for name, b := range g.below {
		b.drop()
		if b.level > ofKind && b.running == 0 && len(b.below) == 0 {
			delete(g.below, name)
		}
	}
}
