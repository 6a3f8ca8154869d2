// Package points tells crash tests at which points of the flows on guests they
// can kill the server, and what must go wrong for a run to pass there. It must
// not import web or plugins.
package points

import (
	"strings"

	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/flow"
)

// Variable is the environment variable that makes the server kill itself at
// the point that it names.
const Variable = flow.CrashVariable

// Point is one place of a flow, as flow.Def.Points names it.
type Point struct{ Flow, Step, What string }

// String is the point's name, the value of Variable.
func (p Point) String() string { return p.Flow + "/" + p.Step + "/" + p.What }

// Undo reports whether only a flow that takes itself back passes the point.
func (p Point) Undo() bool { return strings.HasPrefix(p.What, "undo-") }

func parse(name string) Point {
	parts := strings.Split(name, "/")
	return Point{parts[0], parts[1], parts[2]}
}

// Of returns the points of a flow that a run can pass, in their order. A step
// that touches the world has a point "journal", but the journal is written only
// before the first of several such steps; and it is written for the undo of
// such a step when that is the one that failed. What release-network and
// remove-from-host meet when a guest ends is no failure of the flow.
func Of(name string) []Point {
	all := compute.Points()[name]
	world := map[string]bool{}
	for _, text := range all {
		if p := parse(text); p.What == "journal" && p.Step != "end" {
			world[p.Step] = true
		}
	}
	var list []Point
	before := ""
	for _, text := range all {
		p := parse(text)
		switch {
		case p.What == "journal" && p.Step != "end" && world[before]:
		case p.What == "undo-journal" && p.Step != "end" && !world[p.Step]:
		case p.What == "undo-journal" && (p.Step == "release-network" || p.Step == "remove-from-host"):
		default:
			list = append(list, p)
		}
		if p.What == "after" {
			before = p.Step
		}
	}
	return list
}
