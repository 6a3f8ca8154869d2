package filter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// table is one of ours, by its family: both have the same name.
type table byte

const (
	bridgeTable table = iota
	inetTable
)

const tableName = "kumo_filter"

var tables = [...]*nftables.Table{
	bridgeTable: {Name: tableName, Family: nftables.TableFamilyBridge},
	inetTable:   {Name: tableName, Family: nftables.TableFamilyINet},
}

// kind is a kind of thing in a table, in the order in which they are made.
type kind byte

const (
	kindTable kind = iota
	kindCounter
	kindSet
	kindChain
	kindElement
	kindRules
)

// item names a thing: a chain by its name, an element by its set and its key, an
// interval by its set and both ends.
type item struct {
	kind  kind
	table table
	name  string
	key   string
}

// thing is an item with what it should be. Two things of an item with the same value
// are the same.
type thing struct {
	item
	// value is an element's data (or the chain that a verdict goes to), a sum of a
	// chain's rules, the hook of a base chain.
	value string
	chain *nftables.Chain
	set   *setSpec
	rules []*rule
}

// setSpec is what a set is made as.
type setSpec struct {
	key, data nftables.SetDatatype
	interval  bool
	verdicts  bool
	// ages is a set that we fill by the way: its elements are not compared.
	ages bool
}

func (s *setSpec) String() string {
	return fmt.Sprint(s.key.Bytes, s.data.Bytes, s.interval, s.isMap(), s.ages)
}

func (s *setSpec) isMap() bool { return s.data.Bytes > 0 || s.verdicts }

// rule is one rule of a chain, with the sets that live and end with it.
type rule struct {
	exprs  []expr.Any
	inline []*inlineSet
	tag    string
}

type inlineSet struct {
	lookup   *expr.Lookup
	key      nftables.SetDatatype
	elements []nftables.SetElement
}

// newRule gives a rule its tag, by which it is known again in the kernel: a sum of
// all that it says.
func newRule(t table, exprs ...expr.Any) *rule { return newRuleWith(t, nil, exprs...) }

func newRuleWith(t table, inline []*inlineSet, exprs ...expr.Any) *rule {
	sum := sha256.New()
	for _, e := range exprs {
		data, err := expr.Marshal(byte(tables[t].Family), e)
		if err != nil {
			panic("filter: an expression of ours cannot be written: " + err.Error())
		}
		sum.Write(data)
	}
	for _, s := range inline {
		for _, e := range s.elements {
			sum.Write(e.Key)
			if e.IntervalEnd {
				sum.Write([]byte{1})
			}
		}
	}
	return &rule{exprs: exprs, inline: inline, tag: hex.EncodeToString(sum.Sum(nil)[:12])}
}

func chainOf(t table, name string, rules ...*rule) []thing {
	return baseChain(t, &nftables.Chain{Name: name, Table: tables[t]}, rules...)
}

func baseChain(t table, c *nftables.Chain, rules ...*rule) []thing {
	tags := ""
	for _, r := range rules {
		tags += r.tag + " "
	}
	return []thing{
		{item: item{kind: kindChain, table: t, name: c.Name}, value: hookOf(c), chain: c},
		{item: item{kind: kindRules, table: t, name: c.Name}, value: tags, chain: c, rules: rules},
	}
}

func setOf(t table, name string, spec setSpec) thing {
	return thing{item: item{kind: kindSet, table: t, name: name}, value: spec.String(), set: &spec}
}

// element is one of a set.
func element(t table, set string, key []byte, value string) thing {
	return thing{item: item{kind: kindElement, table: t, name: set, key: string(key)}, value: value}
}

// interval is one of a set of intervals; end is what comes after its last, nil when
// that is the last of all. The kernel has two elements for it, which come and go
// together.
func interval(t table, set string, first, end []byte) thing {
	return thing{item: item{kind: kindElement, table: t, name: set, key: string(first) + string(end)}, value: fmt.Sprint("interval ", len(first))}
}

// short is a name for what has a long one.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:10])
}
