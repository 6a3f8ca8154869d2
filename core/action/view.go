package action

import (
	"net/http"

	"github.com/kumo-cloud/kumo/core/resource"
)

// View is how people see an action: what the schema publishes of it. What is
// left out is derived from the message, method, path and parameters.
type View struct {
	// Caption is what a button says, Doc a sentence more (default: Action.Doc).
	Caption, Doc resource.Caption
	// Type is the resource type that the action belongs to; Subject is the
	// parameter that names the one it acts on, "-" for none.
	Type, Subject string
	// Also names further types that it works on, as the delete of tags does.
	Also []string
	// Verb is its word on the command line, Variant tells several creates of a
	// type apart.
	Verb, Variant string
	// Effect is create, update, state, power, attach, detach, delete, read or
	// other; Danger is none, confirm or plan.
	Effect, Danger string
	// Icon, Group and Order place it in the menu of actions.
	Icon, Group string
	Order       int
	// When are the conditions on the subject under which it makes sense.
	When []When
	// Undo is the message that takes it back.
	Undo string
	// Cancel, Progress: its job can be cancelled, tells its percentage.
	Cancel, Progress, LongJob bool
}

// When is a condition on a field of the subject: it has one of In, or, without
// those, it is Is ("null" or "not null"). Why tells what to do otherwise.
type When struct {
	Field string
	In    []string
	Is    string
	Why   resource.Caption
}

// ParamView is how people see a parameter.
type ParamView struct {
	Caption resource.Caption
	// Unit and Format as of resource.Field.
	Unit, Format string
	// Section of the form; Advanced ones are folded away.
	Section  string
	Advanced bool
	// ShowIf is "param:a|b": only then it is asked for.
	ShowIf string
	// From is the field of the subject that it starts with.
	From string
	// Candidates is "message param=$subject other=$param": the call that lists
	// what may be chosen. Where are query conditions on the type it refers to.
	Candidates string
	Where      []string
	Widget     string
}

// option reads the options of an api tag that are about people: unit=, format=,
// section=, advanced, showif=PARAM:a|b, from=, widget=.
func (v *ParamView) option(key, val string) bool {
	switch key {
	case "unit":
		v.Unit = val
	case "format":
		v.Format = val
	case "section":
		v.Section = val
	case "advanced":
		v.Advanced = true
	case "showif":
		v.ShowIf = val
	case "from":
		v.From = val
	case "widget":
		v.Widget = val
	default:
		return false
	}
	return true
}

// HasPlan reports whether the action answers ?plan=true.
func (a *Action) HasPlan() bool {
	return a.Method == http.MethodDelete && (a.Removes != nil || a.deleted() != nil)
}
