package cascade

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// memory is a graph in maps.
type memory struct {
	t     *testing.T
	edges []Edge
	refs  map[Edge][]Ref
	lives string // the type whose rows may live on
	asked int
}

func (g *memory) Lives(typeName string) bool { return typeName == g.lives }

func graphOf(t *testing.T) *memory { return &memory{t: t, refs: map[Edge][]Ref{}} }

func (g *memory) Inbound(typeName string) []Edge {
	var list []Edge
	for _, e := range g.edges {
		if e.To == typeName {
			list = append(list, e)
		}
	}
	return list
}

func (g *memory) Referrers(e Edge, targets []string) ([]Ref, error) {
	g.asked++
	if len(targets) > pageSize {
		g.t.Errorf("%d targets in one query", len(targets))
	}
	want := map[string]bool{}
	for _, t := range targets {
		want[t] = true
	}
	var list []Ref
	for _, r := range g.refs[e] {
		if want[r.Target] {
			list = append(list, r)
		}
	}
	return list, nil
}

// edge declares a rule: child.column -> parent.
func (g *memory) edge(child, column, parent string, rule resource.OnDelete) Edge {
	e := Edge{Type: child, Table: child, Column: column, To: parent, ToColumn: "uuid", OnDelete: rule}
	if !slices.Contains(g.edges, e) {
		g.edges = append(g.edges, e)
	}
	return e
}

// point makes rows: "vm1>host1" in the edge.
func (g *memory) point(e Edge, refs ...string) {
	for _, r := range refs {
		from, to, _ := strings.Cut(r, ">")
		g.refs[e] = append(g.refs[e], Ref{UUID: from, Name: "name of " + from, Target: to})
	}
}

// order returns the plan as "type uuid" in the order of deletion.
func order(t *Tree) string {
	var list []string
	for _, i := range t.Order {
		list = append(list, t.Nodes[i].UUID)
	}
	return strings.Join(list, " ")
}

// What may live on goes first, after what must go before it, and in layers of its own.
func TestPlanOfWhatLives(t *testing.T) {
	g := graphOf(t)
	g.point(g.edge("Route", "net", "Net", resource.Cascade), "r>n")
	g.point(g.edge("Nic", "net", "Net", resource.Cascade), "k>n")
	g.point(g.edge("Lease", "nic", "Nic", resource.Cascade), "l>k")
	for lives, want := range map[string]string{"": "[[r l] [k] [n]]", "Nic": "[[l] [k] [r] [n]]", "Net": "[[r l] [k] [n]]", "Other": "[[r l] [k] [n]]"} {
		g.lives = lives
		tree, err := Plan(g, "Net", "n")
		if err != nil {
			t.Fatal(err)
		}
		var layers [][]string
		for _, layer := range tree.Layers() {
			var uuids []string
			for _, i := range layer {
				uuids = append(uuids, tree.Nodes[i].UUID)
			}
			layers = append(layers, uuids)
		}
		if got := fmt.Sprint(layers); got != want {
			t.Errorf("with %q that lives: %s, want %s", lives, got, want)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *memory)
		root  string // type and uuid
		// want is the order; detached and objections as "uuid.column>target".
		want, detached, objections string
	}{
		{name: "alone", build: func(g *memory) {}, root: "Zone z", want: "z"},
		{name: "chain", build: func(g *memory) {
			g.point(g.edge("Cluster", "zone", "Zone", resource.Cascade), "c1>z", "c2>other")
			g.point(g.edge("Host", "cluster", "Cluster", resource.Cascade), "h1>c1", "h2>c2")
		}, root: "Zone z", want: "h1 c1 z"},
		{name: "reached twice", build: func(g *memory) {
			g.point(g.edge("Cluster", "zone", "Zone", resource.Cascade), "c1>z")
			g.point(g.edge("Vm", "zone", "Zone", resource.Cascade), "v1>z")
			g.point(g.edge("Host", "cluster", "Cluster", resource.Cascade), "h1>c1")
			g.point(g.edge("Vm", "host", "Host", resource.Cascade), "v1>h1")
		}, root: "Zone z", want: "v1 h1 c1 z"},
		{name: "detach", build: func(g *memory) {
			g.point(g.edge("Vm", "host", "Host", resource.Detach), "v1>h1", "v2>h2")
		}, root: "Host h1", want: "h1", detached: "v1.host>h1"},
		{name: "detach of what goes anyway", build: func(g *memory) {
			g.point(g.edge("Host", "zone", "Zone", resource.Cascade), "h1>z")
			g.point(g.edge("Vm", "host", "Host", resource.Detach), "v1>h1", "v2>h1")
			g.point(g.edge("Vm", "zone", "Zone", resource.Cascade), "v1>z")
		}, root: "Zone z", want: "h1 v1 z", detached: "v2.host>h1"},
		{name: "restrict", build: func(g *memory) {
			g.point(g.edge("Vm", "offering", "Offering", resource.Restrict), "v1>o", "v2>o")
		}, root: "Offering o", want: "o", objections: "v1.offering>o v2.offering>o"},
		{name: "restrict by what goes anyway", build: func(g *memory) {
			g.point(g.edge("Offering", "zone", "Zone", resource.Cascade), "o>z")
			g.point(g.edge("Vm", "zone", "Zone", resource.Cascade), "v1>z")
			g.point(g.edge("Vm", "offering", "Offering", resource.Restrict), "v1>o")
		}, root: "Zone z", want: "o v1 z"},
		{name: "cycle", build: func(g *memory) {
			g.point(g.edge("A", "b", "B", resource.Cascade), "a1>b1")
			g.point(g.edge("B", "a", "A", resource.Cascade), "b1>a1")
			g.point(g.edge("C", "b", "B", resource.Cascade), "c1>b1")
		}, root: "A a1", want: "c1 b1 a1"},
		{name: "self", build: func(g *memory) {
			g.point(g.edge("Dir", "parent", "Dir", resource.Cascade), "d1>d1", "d2>d1", "d3>d2")
		}, root: "Dir d1", want: "d3 d2 d1"},
		{name: "two edges of one row", build: func(g *memory) {
			g.point(g.edge("Peer", "left", "Net", resource.Cascade), "p>n")
			g.point(g.edge("Peer", "right", "Net", resource.Cascade), "p>n")
		}, root: "Net n", want: "p n"},
		{name: "same uuid in two types", build: func(g *memory) {
			g.point(g.edge("Capacity", "uuid", "Host", resource.Cascade), "h>h")
		}, root: "Host h", want: "h h"},
		{name: "parts go after their whole", build: func(g *memory) {
			e := g.edge("Nic", "vm", "Vm", resource.Cascade)
			g.edges[0].Part = true
			e.Part = true
			g.point(e, "n1>v1", "n2>v1")
			g.point(g.edge("Nic", "net", "Net", resource.Cascade), "n1>net")
			g.point(g.edge("Vm", "zone", "Zone", resource.Cascade), "v1>z")
			g.point(g.edge("Net", "zone", "Zone", resource.Cascade), "net>z")
		}, root: "Zone z", want: "v1 n1 net z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graphOf(t)
			c.build(g)
			typeName, uuid, _ := strings.Cut(c.root, " ")
			tree, err := Plan(g, typeName, uuid)
			if err != nil {
				t.Fatal(err)
			}
			if got := order(tree); got != c.want {
				t.Errorf("order %q, want %q", got, c.want)
			}
			var detached, objections []string
			for _, d := range tree.Detached {
				detached = append(detached, d.UUID+"."+d.Column+">"+d.Target)
			}
			for _, o := range tree.Objections {
				objections = append(objections, o.UUID+"."+o.Column+">"+o.Target)
			}
			if got := strings.Join(detached, " "); got != c.detached {
				t.Errorf("detached %q, want %q", got, c.detached)
			}
			if got := strings.Join(objections, " "); got != c.objections {
				t.Errorf("objections %q, want %q", got, c.objections)
			}
			if err := tree.Veto(); (err != nil) != (c.objections != "") || err != nil && errs.ClassOf(err) != errs.Refused {
				t.Errorf("veto %v", err)
			}
		})
	}
}

// TestPlanRandom compares plans of random graphs with what follows from the
// words: exactly what can be reached goes, once, children before parents
// unless they are in one cycle, layer by layer.
func TestPlanRandom(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := graphOf(t)
		types, perType := 1+r.IntN(6), 1+r.IntN(30)
		row := func(ty, i int) string { return fmt.Sprintf("t%dr%d", ty, i) }
		children := map[string][]string{} // what depends on a row, by cascade
		stays := map[string][2]string{}   // a restrict or detach edge's row
		acyclic := seed%2 == 0
		for n := range r.IntN(8) {
			child, parent := r.IntN(types), r.IntN(types)
			rule := []resource.OnDelete{resource.Cascade, resource.Cascade, resource.Detach, resource.Restrict}[r.IntN(4)]
			e := g.edge(fmt.Sprint("T", child), fmt.Sprint("col", n), fmt.Sprint("T", parent), rule)
			for i := range perType {
				target := r.IntN(perType)
				if r.IntN(3) == 0 || acyclic && (child < parent || child == parent && i <= target) {
					continue
				}
				g.point(e, row(child, i)+">"+row(parent, target))
				if rule == resource.Cascade {
					children[row(parent, target)] = append(children[row(parent, target)], row(child, i))
				} else {
					stays[fmt.Sprint(row(child, i), n)] = [2]string{row(child, i), row(parent, target)}
				}
			}
		}
		tree, err := Plan(g, "T0", row(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		reach := map[string]map[string]bool{}
		want := reachable(children, row(0, 0), reach)
		at := map[string]int{}
		for pos, i := range tree.Order {
			n := tree.Nodes[i]
			if _, twice := at[n.UUID]; twice || !want[n.UUID] {
				t.Fatalf("seed %d: %s is planned twice or is outside", seed, n.UUID)
			}
			at[n.UUID] = pos
		}
		if len(at) != len(want) {
			t.Fatalf("seed %d: %d planned, %d are to go", seed, len(at), len(want))
		}
		layer := map[string]int{}
		for _, n := range tree.Nodes {
			layer[n.UUID] = n.Layer
		}
		for parent := range want {
			for _, child := range children[parent] {
				if reachable(children, child, reach)[parent] {
					continue // one cycle
				}
				if at[child] >= at[parent] || layer[child] >= layer[parent] {
					t.Fatalf("seed %d: %s is not before %s", seed, child, parent)
				}
			}
		}
		touched := 0
		for _, s := range stays {
			if !want[s[0]] && want[s[1]] {
				touched++
			}
		}
		if got := len(tree.Detached) + len(tree.Objections); got != touched {
			t.Fatalf("seed %d: %d detached or objecting, want %d", seed, got, touched)
		}
		if _, err := json.Marshal(tree); err != nil {
			t.Fatal(err)
		}
	}
}

func reachable(children map[string][]string, from string, memo map[string]map[string]bool) map[string]bool {
	if have, ok := memo[from]; ok {
		return have
	}
	seen := map[string]bool{from: true}
	todo := []string{from}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		for _, c := range children[at] {
			if !seen[c] {
				seen[c] = true
				todo = append(todo, c)
			}
		}
	}
	memo[from] = seen
	return seen
}

// TestPlanAsksLittle: one query per edge and level for each 500 rows.
func TestPlanAsksLittle(t *testing.T) {
	g := graphOf(t)
	host, vm := g.edge("Host", "zone", "Zone", resource.Cascade), g.edge("Vm", "host", "Host", resource.Cascade)
	for i := range 20 {
		g.point(host, fmt.Sprintf("h%d>z", i))
		for j := range 500 {
			g.point(vm, fmt.Sprintf("v%d-%d>h%d", i, j, i))
		}
	}
	tree, err := Plan(g, "Zone", "z")
	if err != nil || len(tree.Nodes) != 1+20+10_000 {
		t.Fatalf("%d nodes, %v", len(tree.Nodes), err)
	}
	if g.asked != 2 {
		t.Errorf("%d queries, want 2", g.asked)
	}
	if layers := tree.Layers(); len(layers) != 3 || len(layers[0]) != 10_000 || len(layers[2]) != 1 {
		t.Errorf("%d layers", len(layers))
	}
}

type broken struct{ memory }

func (*broken) Referrers(Edge, []string) ([]Ref, error) { return nil, errors.New("no database") }

func TestPlanReportsErrors(t *testing.T) {
	g := &broken{}
	g.edge("Vm", "host", "Host", resource.Cascade)
	if _, err := Plan(g, "Host", "h"); err == nil || !strings.Contains(err.Error(), "find Vm by host: no database") {
		t.Errorf("got %v", err)
	}
}

func TestVetoNamesFew(t *testing.T) {
	g := graphOf(t)
	e := g.edge("Vm", "offering", "Offering", resource.Restrict)
	for i := range 8 {
		g.point(e, fmt.Sprintf("v%d>o", i))
	}
	tree, err := Plan(g, "Offering", "o")
	if err != nil {
		t.Fatal(err)
	}
	want := "Offering o: still needed by Vm v0 (name of v0), Vm v1 (name of v1), Vm v2 (name of v2), Vm v3 (name of v3), Vm v4 (name of v4) and 3 more (delete or detach them first)"
	if got := tree.Veto().Error(); got != want {
		t.Errorf("got %q", got)
	}
}

func TestTreeJSON(t *testing.T) {
	g := graphOf(t)
	g.point(g.edge("Host", "zone", "Zone", resource.Cascade), "h1>z")
	g.point(g.edge("Vm", "host", "Host", resource.Detach), "v1>h1")
	g.point(g.edge("Lease", "zone", "Zone", resource.Restrict), "l1>z")
	tree, err := Plan(g, "Zone", "z")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"Zone","uuid":"z","action":"delete","children":[` +
		`{"type":"Host","uuid":"h1","name":"name of h1","action":"delete","column":"zone","children":[` +
		`{"type":"Vm","uuid":"v1","name":"name of v1","action":"detach","column":"host"}]}],` +
		`"deleted":2,"detached":1,"objections":[{"type":"Lease","uuid":"l1","name":"name of l1","column":"zone","targetType":"Zone","target":"z"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// BenchmarkPlan plans a delete of 100,000 rows in memory.
func BenchmarkPlan(b *testing.B) {
	g := graphOf(nil)
	host, vm := g.edge("Host", "zone", "Zone", resource.Cascade), g.edge("Vm", "host", "Host", resource.Cascade)
	for i := range 100 {
		g.point(host, fmt.Sprintf("h%d>z", i))
		for j := range 1000 {
			g.point(vm, fmt.Sprintf("v%d-%d>h%d", i, j, i))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Plan(g, "Zone", "z"); err != nil {
			b.Fatal(err)
		}
	}
}
