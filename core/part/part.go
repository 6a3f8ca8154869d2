// Package part orders the parts that a server is made of by what each says it
// needs: they register, are prepared and start in that order, and stop in the
// reverse one. It must not import anything of core.
package part

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Part is one of the parts. Functions that are nil have nothing to do.
type Part struct {
	Name string
	// Needs are the names of the parts that come before this one.
	Needs []string
	// Register adds what the part brings: actions, flows, tags, settings.
	Register func() error
	// Prepare writes what must stand in the database before anything goes on.
	Prepare func(ctx context.Context) error
	// Start begins the background work, which ends with ctx.
	Start func(ctx context.Context) error
	// Stop waits for the end of the background work, whose context has ended, and
	// gives back what the part holds. It is called for a part that never started,
	// too. ctx bounds it.
	Stop func(ctx context.Context) error
}

// Parts are in an order in which none comes before one that it needs.
type Parts []Part

// Order puts parts in order; those that may come at once stay as they are given.
// It fails when one needs what nobody brings, when some need each other, and when
// two have one name.
func Order(given ...Part) (Parts, error) {
	known := map[string]bool{}
	for _, p := range given {
		if known[p.Name] {
			return nil, fmt.Errorf("two parts are called %q", p.Name)
		}
		known[p.Name] = true
	}
	for _, p := range given {
		for _, need := range p.Needs {
			if !known[need] {
				return nil, fmt.Errorf("part %q needs %q, which nobody brings", p.Name, need)
			}
		}
	}
	var ordered Parts
	placed := map[string]bool{}
	waits := func(p Part) bool {
		return slices.ContainsFunc(p.Needs, func(need string) bool { return !placed[need] })
	}
	for rest := slices.Clone(given); len(rest) > 0; {
		i := slices.IndexFunc(rest, func(p Part) bool { return !waits(p) })
		if i < 0 {
			return nil, fmt.Errorf("parts need each other: %s", circle(rest, placed))
		}
		ordered = append(ordered, rest[i])
		placed[rest[i].Name] = true
		rest = slices.Delete(rest, i, i+1)
	}
	return ordered, nil
}

// circle tells of parts that wait for each other: each of rest has a need which
// is not placed, so that who follows the needs comes back to where it was.
func circle(rest []Part, placed map[string]bool) string {
	next := map[string]string{}
	for _, p := range rest {
		for _, need := range p.Needs {
			if !placed[need] {
				next[p.Name] = need
			}
		}
	}
	var way []string
	at := rest[0].Name
	for !slices.Contains(way, at) {
		way = append(way, at)
		at = next[at]
	}
	way = append(way[slices.Index(way, at):], at)
	for i, name := range way {
		way[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(way, " needs ")
}

// Names are the names of parts, for one that needs them all.
func Names(parts ...Part) []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.Name
	}
	return names
}

// Register lets every part register what it brings, until one cannot. Its error is
// returned as it is: it names its object.
func (p Parts) Register() error {
	for _, part := range p {
		if part.Register == nil {
			continue
		}
		if err := part.Register(); err != nil {
			return err
		}
	}
	return nil
}

// Prepare prepares every part, until one cannot.
func (p Parts) Prepare(ctx context.Context) error {
	for _, part := range p {
		if part.Prepare == nil {
			continue
		}
		if err := part.Prepare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Start begins the work of every part; all have been prepared before. After an
// error ctx is to end, and Stop waits for those that have begun.
func (p Parts) Start(ctx context.Context) error {
	for _, part := range p {
		if part.Start == nil {
			continue
		}
		if err := part.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop stops all parts, the last one first; one that fails keeps no other one
// from stopping.
func (p Parts) Stop(ctx context.Context) error {
	var failed []error
	for _, part := range slices.Backward(p) {
		if part.Stop == nil {
			continue
		}
		if err := part.Stop(ctx); err != nil {
			failed = append(failed, fmt.Errorf("stop %s: %w", part.Name, err))
		}
	}
	return errors.Join(failed...)
}
