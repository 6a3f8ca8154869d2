package flow

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxSteps is how many steps a flow may have, those of its parts included.
const maxSteps = 128

// Def is the definition of a flow: its name and its steps.
type Def[S any] struct {
	name  string
	steps []Step[S]
	index map[string]int
}

// goodName is what flows and steps are called: the names stand in the journal,
// in traces and in crash points.
var goodName = regexp.MustCompile(`^[a-z0-9]+([.-][a-z0-9]+)*$`)

// Define makes a flow. name is unique among all flows and, like the names of
// the steps, is kept in the journal: renaming either makes flows that a crash
// left behind unknown. A name is made of lower-case letters, digits, "-" and
// "."; "end" is no step's name. Define panics on a wrong definition: that is a
// programming error, found when the program starts.
func Define[S any](name string, steps ...Step[S]) *Def[S] {
	d := &Def[S]{name: name, index: map[string]int{}}
	if !goodName.MatchString(name) || len(name) > 100 {
		panic(fmt.Sprintf("flow %q: a name is made of a-z, 0-9, - and .", name))
	}
	for _, s := range steps {
		d.add(s)
	}
	if len(d.steps) == 0 || len(d.steps) > maxSteps {
		panic(fmt.Sprintf("flow %s has %d steps, not 1 to %d", name, len(d.steps), maxSteps))
	}
	return d
}

// add appends a step, or the steps that it stands for.
func (d *Def[S]) add(s Step[S]) {
	for _, part := range s.parts {
		if s.when != nil {
			part = part.When(s.when)
		}
		if s.timeout > 0 {
			part.timeout = s.timeout
		}
		d.add(part)
	}
	if s.parts != nil {
		return
	}
	switch _, twice := d.index[s.name]; {
	case !goodName.MatchString(s.name) || s.name == endStep || len(s.name) > 100:
		panic(fmt.Sprintf("flow %s: step %q: a name is made of a-z, 0-9, - and ., and is not %q", d.name, s.name, endStep))
	case twice:
		panic(fmt.Sprintf("flow %s: there are two steps %q", d.name, s.name))
	case s.answers && !s.isTx():
		panic(fmt.Sprintf("flow %s: step %q answers, and is no Tx", d.name, s.name))
	case s.do == nil && s.tx == nil:
		panic(fmt.Sprintf("flow %s: step %q does nothing", d.name, s.name))
	}
	if s.timeout <= 0 {
		s.timeout = DefaultTimeout
		if s.isTx() {
			s.timeout = txTimeout
		}
	}
	d.index[s.name] = len(d.steps)
	d.steps = append(d.steps, s)
}

// Name returns the flow's name.
func (d *Def[S]) Name() string { return d.name }

// Steps returns the names of the steps in order, those of parts included.
func (d *Def[S]) Steps() []string {
	names := make([]string, len(d.steps))
	for i := range d.steps {
		names[i] = d.steps[i].name
	}
	return names
}

// Definition tells people, and tests, what a flow is made of.
type Definition struct {
	Name  string           `json:"name"`
	Steps []StepDefinition `json:"steps"`
}

// StepDefinition is one step of a Definition.
type StepDefinition struct {
	Name string `json:"name"`
	// World steps touch more than the database. Undo says that there is
	// something to undo.
	World bool `json:"world"`
	Undo  bool `json:"undo"`
}

func (d *Def[S]) describe() Definition {
	def := Definition{Name: d.name, Steps: make([]StepDefinition, len(d.steps))}
	for i := range d.steps {
		s := &d.steps[i]
		def.Steps[i] = StepDefinition{Name: s.name, World: !s.isTx(), Undo: s.undo != nil || s.untx != nil}
	}
	return def
}

// Definitions returns the flows that are registered, by name.
func (e *Engine) Definitions() []Definition {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Definition, 0, len(e.defs))
	for _, name := range slices.Sorted(maps.Keys(e.defs)) {
		list = append(list, e.defs[name].describe())
	}
	return list
}

// Points returns every point of the flow at which a crash test can stop the
// process, in the order of a run: see CrashVariable.
func (d *Def[S]) Points() []string {
	var points []string
	add := func(step, what string) { points = append(points, pointName(d.name, step, what)) }
	for i := range d.steps {
		s := &d.steps[i]
		if !s.isTx() {
			add(s.name, atJournal)
		}
		add(s.name, atBefore)
		add(s.name, atAfter)
	}
	add(endStep, atJournal)
	for i := len(d.steps) - 1; i >= 0; i-- {
		s := &d.steps[i]
		add(s.name, atUndoJournal)
		if s.undo != nil || s.untx != nil {
			add(s.name, atUndoBefore)
			add(s.name, atUndoAfter)
		}
	}
	add(endStep, atUndoJournal)
	return points
}

// bits says of each step whether it was skipped.
type bits [maxSteps / 64]uint64

func (b *bits) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b *bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// skippedText names the steps whose bits are set, as the journal keeps them:
// numbers would mean other steps in another version of the program.
func (d *Def[S]) skippedText(b bits) string {
	if b == (bits{}) {
		return ""
	}
	var names []string
	for i := range d.steps {
		if b.has(i) {
			names = append(names, d.steps[i].name)
		}
	}
	return strings.Join(names, ",")
}

// skippedBits is the counterpart of skippedText. A step that is no more is
// left out: there is nothing to undo of it.
func (d *Def[S]) skippedBits(text string) (b bits) {
	for name := range strings.SplitSeq(text, ",") {
		if i, ok := d.index[name]; ok {
			b.set(i)
		}
	}
	return b
}
