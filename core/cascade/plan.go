package cascade

import (
	"fmt"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Edge is a relation that a delete follows: rows of Type whose Column equals
// ToColumn of a row of To.
type Edge struct {
	// Type is the type of the rows that have the column; if the column is that
	// of a subtype, Type is the root type and Table the subtype.
	Type, Table, Column string
	To, ToColumn        string
	OnDelete            resource.OnDelete
	// Part: the delete of the To row removes these rows itself, so they are
	// not planned on its account. If they are planned on another's, they come
	// after it.
	Part bool
}

// Ref is a row that points to another.
type Ref struct{ UUID, Name, Target string }

// Graph is what Plan walks on.
type Graph interface {
	// Inbound returns the edges that point to rows of a root type or of its
	// subtypes, without those whose OnDelete is None.
	Inbound(typeName string) []Edge
	// Referrers returns the rows that point to one of the targets by the edge.
	// There are at most pageSize targets.
	Referrers(e Edge, targets []string) ([]Ref, error)
}

const (
	// pageSize is how many targets one query asks for.
	pageSize = 500
	// maxNodes bounds a plan; each node takes about 150 bytes.
	maxNodes = 1_000_000
)

// Node is one row that is deleted.
type Node struct {
	Type, UUID, Name string
	// Column is the one by which it depends on the node number Parent, through
	// which it was found first; the root has Parent -1.
	Column string
	Parent int
	// Layer is 0 for rows on which nothing depends, and greater than that of
	// everything that must go before. Rows of one layer may go in any order.
	Layer int

	secret bool // the UUID is as good as a password, so it is not shown
}

// Detach is one column that is cleared.
type Detach struct {
	Type, UUID, Name string
	// Table has the Column; it is a subtype's, or Type.
	Table, Column string
	// TargetType and Target name the row that is deleted.
	TargetType, Target string
}

// Objection is a row, or a check, that forbids the delete.
type Objection struct {
	Type   string `json:"type"`
	UUID   string `json:"uuid"`
	Name   string `json:"name,omitempty"`
	Column string `json:"column,omitempty"`
	// TargetType and Target name what must not be deleted.
	TargetType string `json:"targetType"`
	Target     string `json:"target"`
	// Reason is what a check said; empty for a row that is in the way.
	Reason string `json:"reason,omitempty"`

	table string
}

// Tree is a plan.
type Tree struct {
	// Nodes are the rows to delete; the first is the root.
	Nodes []Node
	// Order has the numbers of all nodes, children before parents.
	Order []int
	// Detached columns belong to rows that stay.
	Detached []Detach
	// Objections are of rows that stay; a Permissive delete is refused.
	Objections []Objection
}

type key struct{ typeName, uuid string }

// pair says that first is deleted before then.
type pair struct{ first, then int32 }

type planner struct {
	g     Graph
	tree  *Tree
	index map[key]int32
	pairs []pair
	parts []part
}

// part is a row that goes after the node target, if it is planned at all.
type part struct {
	row    key
	target int32
}

// Plan walks the graph from one row and returns what its deletion means. It
// changes nothing and does not ask whether the row exists. A row that is
// reached twice is planned once; in a cycle of rows one is taken first. It asks
// one query per edge and level for each 500 rows. Errors are those of the
// graph, and errs.Refused when a plan would have more than a million rows.
func Plan(g Graph, typeName, uuid string) (*Tree, error) {
	p := &planner{g: g, tree: &Tree{}, index: map[key]int32{}}
	p.add(Node{Type: typeName, UUID: uuid, Parent: -1})
	level := []int32{0}
	for len(level) > 0 {
		var err error
		if level, err = p.expand(level); err != nil {
			return nil, err
		}
	}
	p.settle()
	p.order()
	return p.tree, nil
}

// add plans a row, unless it is planned already.
func (p *planner) add(n Node) (number int32, isNew bool) {
	k := key{n.Type, n.UUID}
	if i, ok := p.index[k]; ok {
		return i, false
	}
	i := int32(len(p.tree.Nodes))
	p.index[k] = i
	p.tree.Nodes = append(p.tree.Nodes, n)
	return i, true
}

// expand finds what depends on the nodes of one level and returns those nodes
// that were not known before.
func (p *planner) expand(level []int32) (next []int32, err error) {
	var types []string
	byType := map[string][]string{}
	for _, i := range level {
		n := &p.tree.Nodes[i]
		if byType[n.Type] == nil {
			types = append(types, n.Type)
		}
		byType[n.Type] = append(byType[n.Type], n.UUID)
	}
	for _, t := range types {
		for _, e := range p.g.Inbound(t) {
			for targets := byType[t]; len(targets) > 0; {
				page := targets[:min(len(targets), pageSize)]
				targets = targets[len(page):]
				refs, err := p.g.Referrers(e, page)
				if err != nil {
					return nil, fmt.Errorf("find %s by %s: %w", e.Table, e.Column, err)
				}
				next = p.follow(t, e, refs, next)
				if len(p.tree.Nodes) > maxNodes {
					return nil, errs.New(errs.Refused, p.tree.Nodes[0].Type+" "+p.tree.Nodes[0].UUID,
						"more than %d resources depend on it", maxNodes).WithAdvice("delete some of them first")
				}
			}
		}
	}
	return next, nil
}

// follow notes what the rows that an edge led to mean.
func (p *planner) follow(targetType string, e Edge, refs []Ref, next []int32) []int32 {
	for _, ref := range refs {
		target, ok := p.index[key{targetType, ref.Target}]
		if !ok {
			continue // a graph that answers more than it was asked
		}
		switch {
		case e.OnDelete == resource.Cascade && e.Part:
			p.parts = append(p.parts, part{key{e.Type, ref.UUID}, target})
		case e.OnDelete == resource.Cascade:
			i, isNew := p.add(Node{Type: e.Type, UUID: ref.UUID, Name: ref.Name, Column: e.Column, Parent: int(target)})
			if isNew {
				next = append(next, i)
			}
			if i != target {
				p.pairs = append(p.pairs, pair{first: i, then: target})
			}
		case e.OnDelete == resource.Detach:
			p.tree.Detached = append(p.tree.Detached, Detach{Type: e.Type, UUID: ref.UUID, Name: ref.Name,
				Table: e.Table, Column: e.Column, TargetType: targetType, Target: ref.Target})
		case e.OnDelete == resource.Restrict:
			p.tree.Objections = append(p.tree.Objections, Objection{Type: e.Type, UUID: ref.UUID, Name: ref.Name,
				Column: e.Column, TargetType: targetType, Target: ref.Target, table: e.Table})
		}
	}
	return next
}

// settle forgets detachments and objections of rows that are deleted anyway,
// and orders parts behind their wholes.
func (p *planner) settle() {
	detached := p.tree.Detached[:0]
	for _, d := range p.tree.Detached {
		if _, gone := p.index[key{d.Type, d.UUID}]; !gone {
			detached = append(detached, d)
		}
	}
	p.tree.Detached = detached
	objections := p.tree.Objections[:0]
	for _, o := range p.tree.Objections {
		if _, gone := p.index[key{o.Type, o.UUID}]; !gone {
			objections = append(objections, o)
		}
	}
	p.tree.Objections = objections
	for _, part := range p.parts {
		if i, planned := p.index[part.row]; planned && i != part.target {
			p.pairs = append(p.pairs, pair{first: part.target, then: i})
		}
	}
	p.usersFirst()
}

// usersFirst orders users before what they use, by type.
func (p *planner) usersFirst() {
	g, ok := p.g.(interface {
		Users(typeName string) []string
	})
	if !ok {
		return
	}
	byType := map[string][]int32{}
	for i := range p.tree.Nodes {
		t := p.tree.Nodes[i].Type
		byType[t] = append(byType[t], int32(i))
	}
	for t, used := range byType {
		for _, u := range g.Users(t) {
			for _, first := range byType[u] {
				for _, then := range used {
					p.pairs = append(p.pairs, pair{first: first, then: then})
				}
			}
		}
	}
}

// order fills Order and the layers: what may live on first, with what goes before
// it, then the rest.
func (p *planner) order() {
	n := len(p.tree.Nodes)
	w := &walk{tree: p.tree, state: make([]uint8, n), at: make([]int32, n)}
	w.before, w.start = p.lists()
	p.tree.Order = make([]int, 0, n)
	if g, ok := p.g.(interface{ Lives(typeName string) bool }); ok {
		for i, node := range p.tree.Nodes {
			if g.Lives(node.Type) {
				w.from(int32(i))
			}
		}
		for _, i := range p.tree.Order {
			w.floor = max(w.floor, p.tree.Nodes[i].Layer+1)
		}
	}
	for i := range n {
		w.from(int32(i))
	}
}

// walk is a depth-first walk along "goes before", where each node follows all that
// it meets. A pair that closes a cycle is ignored. It keeps its own stack, as
// chains may be long.
type walk struct {
	tree          *Tree
	before, start []int32
	state         []uint8 // 0 not met, 1 on the stack, 2 ordered
	at            []int32 // next neighbour of a node on the stack
	stack         []int32
	floor         int // the least layer that a node gets
}

// from orders a node and all that goes before it, unless that has been done.
func (w *walk) from(root int32) {
	if w.state[root] != 0 {
		return
	}
	w.stack = append(w.stack, root)
	for len(w.stack) > 0 {
		i := w.stack[len(w.stack)-1]
		if w.state[i] == 0 {
			w.state[i], w.at[i] = 1, w.start[i]
		}
		if w.at[i] < w.start[i+1] {
			j := w.before[w.at[i]]
			w.at[i]++
			if w.state[j] == 0 {
				w.stack = append(w.stack, j)
			}
			continue
		}
		w.stack = w.stack[:len(w.stack)-1]
		layer := w.floor
		for _, j := range w.before[w.start[i]:w.start[i+1]] {
			if w.state[j] == 2 {
				layer = max(layer, w.tree.Nodes[j].Layer+1)
			}
		}
		w.state[i] = 2
		w.tree.Nodes[i].Layer = layer
		w.tree.Order = append(w.tree.Order, int(i))
	}
}

// lists turns the pairs into one array of neighbours: those that go before
// node i are before[start[i]:start[i+1]].
func (p *planner) lists() (before, start []int32) {
	start = make([]int32, len(p.tree.Nodes)+1)
	for _, pr := range p.pairs {
		start[pr.then+1]++
	}
	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}
	before = make([]int32, len(p.pairs))
	fill := append([]int32(nil), start...)
	for _, pr := range p.pairs {
		before[fill[pr.then]] = pr.first
		fill[pr.then]++
	}
	return before, start
}

// Layers returns the numbers of the nodes layer by layer, the first to delete
// first.
func (t *Tree) Layers() [][]int {
	var layers [][]int
	for _, i := range t.Order {
		l := t.Nodes[i].Layer
		for len(layers) <= l {
			layers = append(layers, nil)
		}
		layers[l] = append(layers[l], i)
	}
	return layers
}

// named is how many objections an error names.
const named = 5

// Veto returns the error with which a Permissive delete is refused; nil when
// nobody objects.
func (t *Tree) Veto() error {
	if len(t.Objections) == 0 {
		return nil
	}
	text := ""
	for i, o := range t.Objections {
		if i == named {
			text += fmt.Sprintf(" and %d more", len(t.Objections)-named)
			break
		}
		if i > 0 {
			text += ", "
		}
		text += o.Type + " " + o.UUID
		if o.Name != "" {
			text += fmt.Sprintf(" (%s)", o.Name)
		}
	}
	root := t.Nodes[0]
	return errs.New(errs.Refused, root.Type+" "+root.UUID, "still needed by %s", text).
		WithAdvice("delete or detach them first")
}
