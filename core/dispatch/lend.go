package dispatch

import "time"

// This file keeps places for work that gets on. What waits for a host, which may
// hang, is done when its own time limit says so and not before; so after
// Limits.Patience it lends its place, and others of its owner and kind go on. It
// stays one of its owner's on that host (group.share). As many as Limits.Workers
// have lent their places at once, half as many of one owner and kind; the others
// keep theirs, and ask again.

// WaitsFor tells that the work waits for a host from now on, whatever Item.On said.
// It is for the work itself, while it runs; else, and when it is told again, it
// does nothing.
func (it Item) WaitsFor(host string) {
	if it.running != nil && host != "" {
		it.running.queues.waitsFor(it.running, host)
	}
}

func (d *Queues) waitsFor(it *item, host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it.over {
		return
	}
	if from := it.at; from.name != host {
		it.at = from.up.part(host)
		it.at.running++ // also above its limit: the work runs already
		from.running--
		from.wake()
		from.prune()
		d.schedule()
	}
	d.expect(it)
}

// expect has an item that waits for a host lend its place when it takes long.
func (d *Queues) expect(it *item) {
	if it.at.name != "" && it.timer == nil {
		it.timer = time.AfterFunc(d.limits.Patience, func() { d.lend(it) })
	}
}

// lend takes the place of an item that still waits.
func (d *Queues) lend(it *item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owner := it.at.up
	switch {
	case it.over:
		return
	case d.all.lent >= d.limits.Workers || owner.lent >= max(1, d.limits.Workers/2):
		it.timer.Reset(d.limits.Patience)
		return
	}
	it.lent = true
	for u := owner; u != nil; u = u.up {
		u.running--
		u.lent++
	}
	owner.wake()
	d.schedule()
}
