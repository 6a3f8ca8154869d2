package dispatch

import "time"

// Task is one piece of work in a queue.
type Task struct {
	// Kind is the kind of work; Name and Job say what it is and which job it is of.
	Kind, Name, Job string
	// Waited is how long it has waited, or did before it began; Ran how long it
	// has run, 0 while it waits.
	Waited, Ran time.Duration
}

// Chain is what there is under one key: what runs, and what waits behind it in
// this order.
type Chain struct {
	Running *Task
	Waiting []Task
}

// Bounds of what Chains answers.
const (
	maxChains  = 1000
	maxWaiting = 1000 // of one key
)

// Chains returns the queues of some keys; a key without work is not in it.
// Without keys it returns every queue. At most 1000 queues of at most 1000 waiting
// tasks are shown.
func (d *Queues) Chains(keys ...string) map[string]Chain {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	chains := make(map[string]Chain)
	if len(keys) == 0 {
		for key, q := range d.keys {
			if len(chains) == maxChains {
				break
			}
			chains[key] = q.chain(now)
		}
		return chains
	}
	for _, key := range keys[:min(len(keys), maxChains)] {
		if q := d.keys[key]; q != nil {
			chains[key] = q.chain(now)
		}
	}
	return chains
}

func (q *queue) chain(now time.Time) (c Chain) {
	it := q.first
	if q.running {
		t := it.task(now)
		t.Waited, t.Ran = q.began.Sub(it.since), max(now.Sub(q.began), 1)
		c.Running = &t
		it = it.next
	}
	for ; it != nil && len(c.Waiting) < maxWaiting; it = it.next {
		c.Waiting = append(c.Waiting, it.task(now))
	}
	return c
}

func (it *item) task(now time.Time) Task {
	return Task{Kind: it.kind.name, Name: it.Work.Name(), Job: it.Work.JobUUID(), Waited: now.Sub(it.since)}
}
