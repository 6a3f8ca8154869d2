package action

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type handler func(ctx context.Context, c *Call, params any) (any, error)

// Registry holds the actions of a process. It is safe for concurrent use;
// plugins add theirs while it serves.
type Registry struct {
	log     hclog.Logger
	ports   Ports
	waiters waiters

	bringing sync.Mutex // held by Bring
	mu       sync.RWMutex
	offered  offer
	next     *offer // what Bring is putting together; nil else
	changed  []func()
}

// offer is a set of actions.
type offer struct {
	actions map[string]*Action
	routes  map[string]string // route key to message
}

// NewRegistry returns an empty registry.
func NewRegistry(log hclog.Logger) *Registry { return &Registry{log: log, offered: newOffer()} }

func newOffer() offer { return offer{actions: map[string]*Action{}, routes: map[string]string{}} }

func (o *offer) add(a *Action) error {
	if _, taken := o.actions[a.Message]; taken {
		return errs.New(errs.Exists, a.Message, "an action of this name is registered already")
	}
	for _, k := range a.routeKeys() {
		if by, taken := o.routes[k]; taken {
			return errs.New(errs.Exists, a.Message, "route %q is served by %s already", k, by)
		}
	}
	for _, k := range a.routeKeys() {
		o.routes[k] = a.Message
	}
	o.actions[a.Message] = a
	return nil
}

// Bring has f register actions in the place of those that the Bring before has
// registered: all of them are offered at once when f succeeds, and on an error nothing
// has changed. Nobody else may register meanwhile. Calls that have begun go on with the
// actions that were.
func (r *Registry) Bring(f func() error) error {
	r.bringing.Lock()
	defer r.bringing.Unlock()
	next := newOffer()
	r.mu.Lock()
	for message, a := range r.offered.actions {
		if !a.brought {
			next.actions[message] = a
		}
	}
	for key, message := range r.offered.routes {
		if next.actions[message] != nil {
			next.routes[key] = message
		}
	}
	r.next = &next
	r.mu.Unlock()
	err := f()
	r.mu.Lock()
	r.next = nil
	if err == nil {
		r.offered = next
	}
	fns := slices.Clone(r.changed)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	for _, fn := range fns {
		fn()
	}
	return nil
}

// Wire gives the registry what it needs of other parts. Call it once, before
// the first request.
func (r *Registry) Wire(p Ports) { r.ports = p }

// OnChange calls fn after each later registration (web rebuilds its routes).
func (r *Registry) OnChange(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = append(r.changed, fn)
}

// Register adds an action whose parameters are the struct P. Its fields say
// what they are in a tag:
//
//	Zone string `api:"zoneUuid,required,max=32,resource=Zone"`
//
// Options: required, path, nonempty, noempty, min=N, max=N, values=a|b,
// range=LOW:HIGH, default=TEXT, first (of Action.Values is the default), resource=TYPE, anytype, write, use, missingok, secret,
// notrim, and those of ParamView.option; a doc:"…" tag holds the description, a
// caption:"English|Chinese" tag the name, candidates:"…" and where:"…" tags what
// may be chosen (ParamView). Fields are string, int, int64,
// bool, float64, pointers to them (nil: not given), slices and maps of them, or
// any other type that encoding/json reads. Embedded structs are flattened.
// The result is Ref, Refs, Empty or a struct that is answered as JSON.
// Register panics on a wrong declaration, which is a programming error.
func Register[P, R any](r *Registry, a Action, h func(ctx context.Context, c *Call, p *P) (R, error)) {
	pt := reflect.TypeFor[P]()
	fields, err := fieldsOf(pt)
	if err != nil {
		panic(fmt.Sprintf("action %s: %v", a.Message, err))
	}
	for name := range a.Values {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.Name == name }) {
			panic(fmt.Sprintf("action %s: it has values for %s, which is no parameter", a.Message, name))
		}
	}
	a.fields = fields
	a.Params = make([]Param, len(fields))
	for i := range fields {
		fields[i].offer(a.Values[fields[i].Name])
		a.Params[i] = fields[i].Param
	}
	a.newP = func() reflect.Value { return reflect.ValueOf(new(P)) }
	a.result = reflect.TypeFor[R]()
	a.handler = func(ctx context.Context, c *Call, params any) (any, error) {
		return h(ctx, c, params.(*P))
	}
	if err := r.add(&a); err != nil {
		panic(err.Error())
	}
}

// RegisterDynamic adds an action whose parameters are known at run time only
// (a plugin declared them): a.Params with the types string, int, long, bool,
// double, []string, map<string>. The handler gets the given and default values as
// string, int64, bool, float64, []string, map[string]string. errs.Exists when
// the message or its route is taken.
func (r *Registry) RegisterDynamic(a Action, h func(ctx context.Context, c *Call, p map[string]any) (Ref, error)) error {
	return RegisterDynamicAs(r, a, h)
}

// RegisterDynamicAs is RegisterDynamic for any result that Register takes.
func RegisterDynamicAs[R any](r *Registry, a Action, h func(ctx context.Context, c *Call, p map[string]any) (R, error)) error {
	fields, err := dynamicFields(a.Params)
	if err != nil {
		return errs.Wrap(errs.Invalid, a.Message, err, "declaration")
	}
	a.fields = fields
	a.Params = make([]Param, len(fields))
	for i := range fields {
		fields[i].offer(a.Values[fields[i].Name])
		a.Params[i] = fields[i].Param
	}
	a.newP = func() reflect.Value { m := map[string]any{}; return reflect.ValueOf(&m) }
	a.result = reflect.TypeFor[R]()
	a.handler = func(ctx context.Context, c *Call, params any) (any, error) {
		return h(ctx, c, *params.(*map[string]any))
	}
	return r.add(&a)
}

// RegisterQuery adds the query of a resource type: GET path and path/{uuid}.
// message is its name; when it is empty, that is APIQuery<name>Msg.
func (r *Registry) RegisterQuery(typeName, path string, access Access, message string) error {
	if message == "" {
		message = "APIQuery" + typeName + "Msg"
	}
	return r.add(&Action{
		Message: message, Method: http.MethodGet, Path: path,
		Optional: []string{path + "/{uuid}"}, Access: access, Query: typeName, Key: "-",
		Doc: "Lists resources of type " + typeName + " that match conditions.",
	})
}

func (r *Registry) add(a *Action) error {
	if err := a.complete(); err != nil {
		return err
	}
	r.mu.Lock()
	if r.next != nil {
		a.brought = true
		defer r.mu.Unlock()
		return r.next.add(a)
	}
	if err := r.offered.add(a); err != nil {
		r.mu.Unlock()
		return err
	}
	fns := slices.Clone(r.changed)
	r.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
	return nil
}

// routeKeys names the routes that the action alone may answer: method, pattern
// and, for PUT, the body key.
func (a *Action) routeKeys() []string {
	out := a.Paths()
	for i, p := range out {
		out[i] = a.Method + " /" + Shape(p)
		if a.Method == http.MethodPut {
			out[i] += " " + a.Key
		}
	}
	return out
}

// Shape returns a path with its variables' names taken out: names do not matter
// for matching.
func Shape(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range parts {
		if strings.HasPrefix(s, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// complete fills what follows from other fields, and checks the declaration.
func (a *Action) complete() error {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "action "+a.Message, format, args...)
	}
	if a.Access == Internal {
		return a.completeInternal(bad)
	}
	if !strings.HasPrefix(a.Message, "API") || !strings.HasSuffix(a.Message, "Msg") {
		return bad("the message must be named API…Msg")
	}
	if a.Access < Anonymous || a.Access > Admin {
		return bad("the access class is not set")
	}
	switch a.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return bad("method %q is none of GET, POST, PUT, DELETE", a.Method)
	}
	if len(a.Paths()) == 0 {
		return bad("it has no path")
	}
	if a.Key == "" {
		switch a.Method {
		case http.MethodPost:
			a.Key = "params"
		case http.MethodPut:
			a.Key = ActionKey(a.Message)
		}
	}
	if a.Key == "-" {
		a.Key = ""
	}
	if err := a.completePaths(bad); err != nil {
		return err
	}
	if a.Method == http.MethodDelete && a.Removes == nil && a.deleted() == nil {
		return bad("it deletes something else than the resource at the end of its path, so it must say what (Removes)")
	}
	if a.Queue != "" {
		if _, ok := a.Param(a.Queue); !ok {
			return bad("the queue parameter %q is not declared", a.Queue)
		}
	}
	return nil
}

// completeInternal checks an action without a route.
func (a *Action) completeInternal(bad func(string, ...any) error) error {
	if strings.HasPrefix(a.Message, "API") || !strings.HasSuffix(a.Message, "Msg") {
		return bad("an internal message is named …Msg, without API")
	}
	if a.Method != "" || len(a.Paths()) > 0 {
		return bad("an internal message has no route")
	}
	if _, ok := a.Param(a.Queue); !ok || !a.Async {
		return bad("an internal message is asynchronous and names the parameter with its key")
	}
	return a.completePaths(bad)
}

// completePaths marks the parameters that the path holds.
func (a *Action) completePaths(bad func(string, ...any) error) error {
	seen := map[string]bool{}
	for i := range a.Params {
		if seen[a.Params[i].Name] {
			return bad("parameter %q is declared twice", a.Params[i].Name)
		}
		seen[a.Params[i].Name] = true
	}
	inPath := map[string]bool{}
	for _, p := range a.Paths() {
		for _, s := range strings.Split(p, "/") {
			if strings.HasPrefix(s, "{") {
				inPath[strings.Trim(s, "{}")] = true
			}
		}
	}
	for i, p := range a.Params {
		if inPath[p.Name] {
			a.Params[i].In = "path"
		} else if p.In == "path" {
			return bad("path parameter %q is in no path", p.Name)
		}
		a.fields[i].Param = a.Params[i]
	}
	if a.Query != "" {
		return nil
	}
	for name := range inPath {
		if !seen[name] {
			return bad("path variable %q is no parameter", name)
		}
	}
	return nil
}

// ActionKey returns the body key of an action: its message without API and
// Msg, the first letter in lower case.
func ActionKey(message string) string {
	s := strings.TrimSuffix(strings.TrimPrefix(message, "API"), "Msg")
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// Get returns the action of a message.
func (r *Registry) Get(message string) (*Action, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a, ok := r.offered.actions[message]
	return a, ok
}

// All returns the actions that clients can call, in the order of their messages.
func (r *Registry) All() []*Action {
	r.mu.RLock()
	out := make([]*Action, 0, len(r.offered.actions))
	for _, a := range r.offered.actions {
		if a.Access != Internal {
			out = append(out, a)
		}
	}
	r.mu.RUnlock()
	sort.Slice(out, func(i, j int) bool { return out[i].Message < out[j].Message })
	return out
}
