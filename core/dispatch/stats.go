package dispatch

// Stats is what the queues hold and have done.
type Stats struct {
	// Queued items wait, Running ones run; Keys is how many keys have either.
	Queued, Running, Keys int
	// Submitted, Done, Refused and Panics count since the start.
	Submitted, Done, Refused, Panics uint64
	// Kinds has each kind of work that was ever submitted.
	Kinds map[string]KindStats
}

// KindStats is the state of one kind of work. Lent of the Running items wait for
// hosts and have lent their places.
type KindStats struct{ Limit, Running, Lent, Queued int }

// Stats returns a snapshot. It costs a lock and a small map.
func (d *Queues) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{
		Queued: d.queued, Running: d.workers, Keys: len(d.keys),
		Submitted: d.submitted, Done: d.done, Refused: d.refused, Panics: d.panics,
		Kinds: make(map[string]KindStats, len(d.all.below)),
	}
	for name, k := range d.all.below {
		s.Kinds[name] = KindStats{Limit: k.limit, Running: k.running + k.lent, Lent: k.lent, Queued: k.waiting}
	}
	return s
}
