package resource

import (
	"fmt"
	"maps"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Registry is the graph's schema: all types by name. It is safe for use by
// several goroutines; a lookup takes no lock.
type Registry struct {
	mu   sync.Mutex // held by writers
	view atomic.Pointer[view]
}

// view is one immutable state of the registry with what is derived from it.
type view struct {
	types    map[string]*Type
	zql      map[string]*Type
	sorted   []*Type
	subtypes map[string][]*Type
	inbound  map[string][]InboundEdge
	inverse  map[string][]Edge
	aliases  map[string]map[string]string // type, alias: path
	version  uint64
}

// InboundEdge is an edge as seen from the type it points to.
type InboundEdge struct {
	From *Type
	Edge Edge
}

// NewRegistry returns a registry without types.
func NewRegistry() *Registry {
	r := &Registry{}
	r.view.Store(build(map[string]*Type{}, 0))
	return r
}

// Add puts types into the registry. Names are unique, also when compared
// without case, and so are paths; the same *Type twice is one. On an error
// nothing is added. Relations between types are checked by Check, when all
// are there.
func (r *Registry) Add(types ...*Type) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.view.Load().with(types)
	if err == nil {
		r.view.Store(next)
	}
	return err
}

// Swap takes types out of the registry and puts others in, at once, when the relations
// of all that are there then resolve (Check); on an error nothing has changed. Rows
// stay in the database.
func (r *Registry) Swap(gone, types []*Type) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.view.Load()
	kept := maps.Clone(old.types)
	for _, t := range gone {
		delete(kept, t.Name)
	}
	next, err := build(kept, old.version).with(types)
	if err != nil {
		return err
	}
	trial := &Registry{}
	trial.view.Store(next)
	if err := trial.Check(); err != nil {
		return err
	}
	r.view.Store(next)
	return nil
}

// with is the view with more types.
func (v *view) with(types []*Type) (*view, error) {
	next := maps.Clone(v.types)
	paths := map[string]string{}
	for _, t := range next {
		paths[t.Path] = t.Name
	}
	for _, t := range types {
		if t == nil || t.byName == nil {
			return nil, fmt.Errorf("resource type %v was not made by Define or Declare", t)
		}
		if reserved[strings.ToLower(t.Name)] || strings.HasPrefix(strings.ToLower(t.Name), "sqlite") {
			return nil, fmt.Errorf("resource type %s: the name is reserved", t.Name)
		}
		if have, ok := v.zql[t.ZQLName()]; ok && have != t {
			return nil, fmt.Errorf("resource type %s is declared twice", t.Name)
		}
		if have, ok := next[t.Name]; ok && have != t {
			return nil, fmt.Errorf("resource type %s is declared twice", t.Name)
		}
		if other, ok := paths[t.Path]; ok && t.Path != "" && other != t.Name {
			return nil, fmt.Errorf("resource types %s and %s have the same path %s", other, t.Name, t.Path)
		}
		next[t.Name], paths[t.Path] = t, t.Name
	}
	return build(next, v.version+1), nil
}

// reserved names would clash with tables or query names of the core.
var reserved = map[string]bool{"schemamigrations": true, "dual": true}

func build(types map[string]*Type, version uint64) *view {
	v := &view{types: types, zql: map[string]*Type{}, subtypes: map[string][]*Type{}, inbound: map[string][]InboundEdge{},
		inverse: map[string][]Edge{}, aliases: map[string]map[string]string{}, version: version}
	for _, t := range types {
		v.sorted = append(v.sorted, t)
	}
	sort.Slice(v.sorted, func(i, j int) bool { return v.sorted[i].Name < v.sorted[j].Name })
	for _, t := range v.sorted {
		v.zql[t.ZQLName()] = t
		if t.Parent != "" {
			v.subtypes[t.Parent] = append(v.subtypes[t.Parent], t)
		}
		for _, e := range t.Edges {
			v.inbound[e.To] = append(v.inbound[e.To], InboundEdge{From: t, Edge: e})
			if e.Inverse != "" {
				v.inverse[e.To] = append(v.inverse[e.To], Edge{Name: e.Inverse, To: t.Name, Column: e.ToColumn, ToColumn: e.Column, Hidden: e.Hidden})
			}
		}
		for _, a := range t.Aliases {
			on := a.On
			if on == "" {
				on = t.Name
			}
			if v.aliases[on] == nil {
				v.aliases[on] = map[string]string{}
			}
			v.aliases[on][a.Name] = a.Path
		}
	}
	return v
}

// Version changes whenever types are added or removed; caches of what is
// derived from the registry compare it.
func (r *Registry) Version() uint64 { return r.view.Load().version }

// Get returns the type of that name.
func (r *Registry) Get(name string) (*Type, bool) {
	t, ok := r.view.Load().types[name]
	return t, ok
}

// All returns all types, sorted by name.
func (r *Registry) All() []*Type { return append([]*Type(nil), r.view.Load().sorted...) }

// ByVO returns the type of the wire's stored name: ByVO("VmInstanceVO").
func (r *Registry) ByVO(name string) (*Type, bool) {
	base, ok := strings.CutSuffix(name, "VO")
	if !ok {
		return nil, false
	}
	return r.Get(base)
}

// ByZQLName returns the type of a ZQL name, in any case.
func (r *Registry) ByZQLName(name string) (*Type, bool) {
	t, ok := r.view.Load().zql[strings.ToLower(name)]
	return t, ok
}

// Subtypes returns the types that refine parent directly, sorted by name.
func (r *Registry) Subtypes(parent string) []*Type { return r.view.Load().subtypes[parent] }

// Inbound returns the edges that point to the type of that name, by the name
// of the type they come from.
func (r *Registry) Inbound(name string) []InboundEdge { return r.view.Load().inbound[name] }

// Edge resolves one step of a query path at a type: an edge of the type or of
// its parents, or the inverse of another type's edge.
func (r *Registry) Edge(t *Type, name string) (Edge, bool) {
	v := r.view.Load()
	for depth := 0; t != nil && depth < maxDepth; depth++ {
		for _, e := range t.Edges {
			if e.Name == name {
				return e, true
			}
		}
		for _, e := range v.inverse[t.Name] {
			if e.Name == name {
				return e, true
			}
		}
		t = v.types[t.Parent]
	}
	return Edge{}, false
}

// Alias returns the path that name stands for at a type or its parents.
func (r *Registry) Alias(t *Type, name string) (string, bool) {
	v := r.view.Load()
	for depth := 0; t != nil && depth < maxDepth; depth++ {
		if p, ok := v.aliases[t.Name][name]; ok {
			return p, true
		}
		t = v.types[t.Parent]
	}
	return "", false
}

// maxDepth bounds chains of parents; a cycle is an error of Check.
const maxDepth = 8

// Lineage returns the type and its parents, the root first.
func (r *Registry) Lineage(t *Type) []*Type {
	v := r.view.Load()
	var out []*Type
	for t != nil && len(out) < maxDepth {
		out = append([]*Type{t}, out...)
		t = v.types[t.Parent]
	}
	return out
}

// Root returns the type at the top of t's parents.
func (r *Registry) Root(t *Type) *Type { return r.Lineage(t)[0] }
