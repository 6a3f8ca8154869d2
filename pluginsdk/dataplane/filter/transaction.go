package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
)

const (
	// writeBuffer and readBuffer hold one transaction of a host with thousands of
	// ports, and the kernel's answers to it.
	writeBuffer = 64 << 20
	readBuffer  = 64 << 20
	// perMessage is how many elements fit into a message: an attribute has at most
	// 64 KiB, an element at most some 130 bytes.
	perMessage = 400
)

// change is one thing that is not as it should be: have is nil when it is not there,
// want when it should not be.
type change struct{ have, want *thing }

func (c change) item() item {
	if c.want != nil {
		return c.want.item
	}
	return c.have.item
}

func dial() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(
		func(c *netlink.Conn) error { return c.SetWriteBuffer(writeBuffer) },
		func(c *netlink.Conn) error { return c.SetReadBuffer(readBuffer) }))
	if err != nil {
		return nil, fmt.Errorf("open the kernel's packet filter: %w", err)
	}
	return conn, nil
}

// transaction gathers the messages of one change, which the kernel makes as a whole
// or not at all.
type transaction struct {
	conn *nftables.Conn
	sets map[item]*nftables.Set
}

// commit makes the changes in one transaction. anew are tables that are removed in
// the same, with all that they have, before what they should have is made.
func commit(changes []change, anew ...table) error {
	if len(changes) == 0 && len(anew) == 0 {
		return nil
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }() // with what was not sent
	tx := &transaction{conn, map[item]*nftables.Set{}}
	for _, t := range anew {
		conn.AddTable(tables[t]) // removing needs one that is there
		conn.DelTable(tables[t])
	}
	// By kind, and one order of all: what is made before what needs it.
	slices.SortFunc(changes, func(a, b change) int {
		x, y := a.item(), b.item()
		return cmpOr(int(x.kind)-int(y.kind), int(x.table)-int(y.table), strings.Compare(x.name, y.name), strings.Compare(x.key, y.key))
	})
	gone := map[table]bool{}
	for _, c := range changes {
		if c.item().kind == kindTable && c.want == nil {
			gone[c.item().table] = true
			conn.DelTable(tables[c.item().table])
		}
	}
	changes = slices.DeleteFunc(changes, func(c change) bool { return gone[c.item().table] })
	for _, c := range changes {
		if c.have != nil && c.have.kind == kindRules {
			conn.FlushChain(&nftables.Chain{Name: c.have.name, Table: tables[c.have.table]})
		}
	}
	if err := tx.elements(changes, false); err != nil {
		return err
	}
	for _, c := range changes {
		if c.want != nil {
			if err := tx.makeOne(c); err != nil {
				return err
			}
		}
	}
	if err := tx.elements(changes, true); err != nil {
		return err
	}
	for _, c := range changes {
		if c.want != nil && c.want.kind == kindRules {
			for _, r := range c.want.rules {
				if err := tx.rule(c.want, r); err != nil {
					return err
				}
			}
		}
	}
	for _, c := range slices.Backward(changes) {
		if c.want == nil {
			tx.remove(c.have)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("change the kernel's packet filter: %w", err)
	}
	return nil
}

func cmpOr(all ...int) int {
	for _, c := range all {
		if c != 0 {
			return c
		}
	}
	return 0
}

func (tx *transaction) makeOne(c change) error {
	w := c.want
	switch w.kind {
	case kindTable:
		tx.conn.AddTable(tables[w.table])
	case kindCounter:
		tx.conn.AddObj(&nftables.NamedObj{Table: tables[w.table], Name: w.name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	case kindChain:
		if c.have != nil {
			return c.another() // a base chain keeps its hook for life
		}
		tx.conn.AddChain(w.chain)
	case kindSet:
		if c.have != nil {
			return c.another()
		}
		return tx.conn.AddSet(tx.set(w.table, w.name, w.set), nil)
	}
	return nil
}

// another is that a table can be made right only by making it anew.
func (c change) another() error {
	return fmt.Errorf("%s is there in another way: %s, not %s", c.want.name, c.have.value, c.want.value)
}

func (tx *transaction) set(t table, name string, spec *setSpec) *nftables.Set {
	i := item{kind: kindSet, table: t, name: name}
	if s := tx.sets[i]; s != nil {
		return s
	}
	s := &nftables.Set{Table: tables[t], Name: name}
	if spec != nil {
		s.KeyType, s.Interval, s.IsMap, s.DataType = spec.key, spec.interval, spec.isMap(), spec.data
		s.HasTimeout = spec.ages
		if spec.verdicts {
			s.DataType = nftables.TypeVerdict
		}
	}
	tx.sets[i] = s
	return s
}

// elements removes, or adds, elements of sets that are there or were just made; those
// of a set that goes go with it.
func (tx *transaction) elements(changes []change, add bool) error {
	bySet := map[item][]nftables.SetElement{}
	var order []item
	for _, c := range changes {
		e := c.have
		if add {
			e = c.want
		}
		if e == nil || e.kind != kindElement {
			continue
		}
		set := item{kind: kindSet, table: e.table, name: e.name}
		if bySet[set] == nil {
			order = append(order, set)
		}
		bySet[set] = append(bySet[set], e.elements()...)
	}
	for _, set := range order {
		for part := range slices.Chunk(bySet[set], perMessage) {
			do := tx.conn.SetDeleteElements
			if add {
				do = tx.conn.SetAddElements
			}
			if err := do(tx.set(set.table, set.name, nil), part); err != nil {
				return err
			}
		}
	}
	return nil
}

// elements are what an element is for the kernel.
func (t *thing) elements() []nftables.SetElement {
	key := []byte(t.key)
	var size int
	switch n, _ := fmt.Sscanf(t.value, "interval %d", &size); {
	case n == 1 && size == len(key):
		return []nftables.SetElement{{Key: key}}
	case n == 1:
		return []nftables.SetElement{{Key: key[:size]}, {Key: key[size:], IntervalEnd: true}}
	case t.value == "":
		return []nftables.SetElement{{Key: key}}
	case t.table == inetTable: // only verdicts have values there
		return []nftables.SetElement{{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: t.value}}}
	}
	return []nftables.SetElement{{Key: key, Val: []byte(t.value)}}
}

func (tx *transaction) rule(t *thing, r *rule) error {
	for _, s := range r.inline {
		set := &nftables.Set{Table: tables[t.table], Anonymous: true, Constant: true, Interval: true, KeyType: s.key}
		if err := tx.conn.AddSet(set, s.elements); err != nil {
			return err
		}
		s.lookup.SetID, s.lookup.SetName = set.ID, set.Name
	}
	tx.conn.AddRule(&nftables.Rule{Table: tables[t.table], Chain: t.chain, Exprs: r.exprs, UserData: commentOf(r.tag)})
	return nil
}

func (tx *transaction) remove(t *thing) {
	switch t.kind {
	case kindCounter:
		tx.conn.DeleteObject(&nftables.NamedObj{Table: tables[t.table], Name: t.name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	case kindChain:
		tx.conn.DelChain(&nftables.Chain{Table: tables[t.table], Name: t.name})
	case kindSet:
		tx.conn.DelSet(&nftables.Set{Table: tables[t.table], Name: t.name})
	}
}
