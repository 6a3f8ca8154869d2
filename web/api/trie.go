package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
)

// table finds the route of a path. net/http's and gin's own routers refuse the
// catalogue's patterns, because many overlap with neither more specific. A
// table is immutable once built.
type table struct{ root node }

type node struct {
	literal  map[string]*node
	variable *node
	route    *route
}

// route is one pattern of segments with all that answers it.
type route struct {
	pattern string
	entries []entry
	// single: exactly one API has this pattern, so the method matters less.
	single bool
	raw    map[string]http.HandlerFunc // by method
}

// entry is one action with its own names for the pattern's variables.
type entry struct {
	action *action.Action
	names  []string
	meter  *meter
}

// newTable builds the table of all actions and raw handlers.
func newTable(actions []*action.Action, raws []rawRoute, meterOf func(string) *meter) *table {
	t := &table{}
	for _, a := range actions {
		for _, p := range a.Paths() {
			r, names := t.insert(p)
			r.entries = append(r.entries, entry{action: a, names: names, meter: meterOf(a.Message)})
		}
	}
	for _, raw := range raws {
		r, _ := t.insert(raw.pattern)
		if r.raw == nil {
			r.raw = map[string]http.HandlerFunc{}
		}
		r.raw[raw.method] = raw.handler
	}
	t.root.finish()
	return t
}

func (t *table) insert(pattern string) (*route, []string) {
	n := &t.root
	var names []string
	for _, s := range split(pattern) {
		if strings.HasPrefix(s, "{") {
			names = append(names, strings.Trim(s, "{}"))
			if n.variable == nil {
				n.variable = &node{}
			}
			n = n.variable
			continue
		}
		next := n.literal[s]
		if next == nil {
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			next = &node{}
			n.literal[s] = next
		}
		n = next
	}
	if n.route == nil {
		n.route = &route{pattern: "/" + action.Shape(pattern)}
	}
	return n.route, names
}

func (n *node) finish() {
	if n.route != nil {
		n.route.single = len(n.route.entries) == 1 && n.route.raw == nil
	}
	for _, c := range n.literal {
		c.finish()
	}
	if n.variable != nil {
		n.variable.finish()
	}
}

// split cuts a path into its segments; empty ones are ignored, as clients send
// "/zones//UUID".
func split(path string) []string {
	out := make([]string, 0, 8)
	for path != "" {
		var s string
		s, path, _ = strings.Cut(path, "/")
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// maxSegments bounds a path; the longest pattern of the catalogue has ten.
const maxSegments = 24

// match finds the route of an escaped path and the values of its variables.
// Literal segments win over variables, segment by segment, and a wrong turn is
// taken back.
func (t *table) match(escaped string) (*route, []string) {
	segs := split(escaped)
	if len(segs) > maxSegments {
		return nil, nil
	}
	for i, s := range segs {
		if strings.IndexByte(s, '%') < 0 {
			continue
		}
		u, err := url.PathUnescape(s)
		if err != nil {
			return nil, nil
		}
		segs[i] = u
	}
	vars := make([]string, 0, 4)
	r := t.root.match(segs, &vars)
	return r, vars
}

func (n *node) match(segs []string, vars *[]string) *route {
	if len(segs) == 0 {
		return n.route
	}
	if next := n.literal[segs[0]]; next != nil {
		if r := next.match(segs[1:], vars); r != nil {
			return r
		}
	}
	if n.variable == nil {
		return nil
	}
	*vars = append(*vars, segs[0])
	if r := n.variable.match(segs[1:], vars); r != nil {
		return r
	}
	*vars = (*vars)[:len(*vars)-1]
	return nil
}

// vars pairs the entry's names with values.
func (e *entry) vars(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	out := make([]string, 0, 2*len(values))
	for i, v := range values {
		out = append(out, e.names[i], v)
	}
	return out
}

// choose picks the entry for a method. hasKey tells whether the body has an
// action's key.
//
// A path with one API ignores the method (clients send PUT where the API says
// POST), except that a GET never changes anything and only DELETE deletes.
func (r *route) choose(method string, hasKey func(key string) bool) (*entry, error) {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return nil, action.HTTPErrorf(http.StatusMethodNotAllowed, "method %s is not served here", method)
	}
	if r.single {
		e := &r.entries[0]
		if want := e.action.Method; want != method && (method == http.MethodGet || method == http.MethodDelete || want == http.MethodDelete) {
			return nil, action.HTTPErrorf(http.StatusMethodNotAllowed, "%s needs method %s", e.action.Message, want)
		}
		return e, nil
	}
	puts := make([]string, 0, 4)
	for i := range r.entries {
		e := &r.entries[i]
		if e.action.Method != method {
			continue
		}
		if method != http.MethodPut || hasKey(e.action.Key) {
			return e, nil
		}
		puts = append(puts, e.action.Key)
	}
	if len(puts) > 0 {
		slices.Sort(puts)
		return nil, action.HTTPErrorf(http.StatusBadRequest, "the body has none of the action keys %s", strings.Join(puts, ", "))
	}
	return nil, action.HTTPErrorf(http.StatusInternalServerError, "no API has method %s on path %s", method, r.pattern)
}
