// Package points tells crash tests at which points of the flows they can kill the
// server. It asks the server which flows there are, so that a new flow is covered,
// or missed, by itself. It must not import anything of the project but
// integration/wire.
package points

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// Variable is the environment variable that makes the server kill itself at
// the point that it names (core/flow, CrashVariable).
const Variable = "KUMO_CRASH_AT"

// Point is one place of a flow, as core/flow names it.
type Point struct{ Flow, Step, What string }

// String is the point's name, the value of Variable.
func (p Point) String() string { return p.Flow + "/" + p.Step + "/" + p.What }

// Undo reports whether only a flow that takes itself back passes the point.
func (p Point) Undo() bool { return strings.HasPrefix(p.What, "undo-") }

// Flow is what a flow is made of.
type Flow struct {
	Name  string
	Steps []Step
}

// Step is a step: World ones touch more than the database, and there may be
// something to undo.
type Step struct {
	Name        string
	World, Undo bool
}

// Flows asks a server for all its flows, as the administrator.
func Flows(ctx context.Context, c *wire.Client) ([]Flow, error) {
	body, err := c.Call(ctx, http.MethodGet, "/flows/definitions", nil)
	if err != nil {
		return nil, err
	}
	var reply struct{ Inventories []Flow }
	err = json.Unmarshal(body, &reply)
	return reply.Inventories, err
}

// Named returns the flow of that name; one without steps if there is none.
func Named(flows []Flow, name string) Flow {
	if i := slices.IndexFunc(flows, func(f Flow) bool { return f.Name == name }); i >= 0 {
		return flows[i]
	}
	return Flow{Name: name}
}

// Without returns the flow without steps that a run leaves out.
func (f Flow) Without(names ...string) Flow {
	f.Steps = slices.DeleteFunc(slices.Clone(f.Steps), func(s Step) bool { return slices.Contains(names, s.Name) })
	return f
}

// Unobserved returns the flow as it is where no plugin observes it: without the steps
// at points.
func (f Flow) Unobserved() Flow {
	f.Steps = slices.DeleteFunc(slices.Clone(f.Steps), func(s Step) bool { return strings.HasPrefix(s.Name, "point.") })
	return f
}

// Points returns the points that a run can pass, in their order, when the steps
// in fail are those that can be made to fail. The journal is written only before
// the first of several steps that touch the world; and it is written for the undo
// of such a step when that is the one that failed. Only what comes before a step
// that fails is undone.
func (f Flow) Points(fail map[string]bool) []Point {
	var list []Point
	add := func(step, what string) { list = append(list, Point{f.Name, step, what}) }
	last := -1
	for i, s := range f.Steps {
		if s.World && (i == 0 || !f.Steps[i-1].World) {
			add(s.Name, "journal")
		}
		add(s.Name, "before")
		add(s.Name, "after")
		if fail[s.Name] {
			last = i
		}
	}
	add("end", "journal")
	for i := last; i >= 0; i-- {
		s := f.Steps[i]
		if fail[s.Name] {
			add(s.Name, "undo-journal")
		}
		if s.Undo {
			add(s.Name, "undo-before")
			add(s.Name, "undo-after")
		}
	}
	if last >= 0 {
		add("end", "undo-journal")
	}
	return list
}

// Breaks returns the step that is to fail for a run to pass a point of the undo:
// the point's own for its journal, else the last of those that can fail.
func (f Flow) Breaks(p Point, fail map[string]bool) string {
	if p.What == "undo-journal" && p.Step != "end" {
		return p.Step
	}
	for i := len(f.Steps) - 1; i >= 0; i-- {
		if fail[f.Steps[i].Name] {
			return f.Steps[i].Name
		}
	}
	return ""
}
