package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// commentOf is a rule's tag where the kernel keeps it: as the comment that the nft
// program shows.
func commentOf(tag string) []byte { return userdata.AppendString(nil, userdata.TypeComment, tag) }

func tagOf(data []byte) string {
	tag, _ := userdata.GetString(data, userdata.TypeComment)
	return strings.TrimRight(tag, "\x00")
}

// errInterrupted is that somebody changed the tables while they were read.
var errInterrupted = errors.New("the packet filter was changed while it was read")

// maxReads bounds how often reading is begun.
const maxReads = 50

// read returns all that is in our tables, the same for one generation of the
// kernel's rules.
func read() (map[item]thing, error) {
	for range maxReads {
		have, err := readOnce()
		if !errors.Is(err, errInterrupted) && !errors.Is(err, unix.ENOENT) {
			return have, err
		}
	}
	return nil, fmt.Errorf("read the kernel's packet filter: %w", errInterrupted)
}

func readOnce() (map[item]thing, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	before, err := generation()
	if err != nil {
		return nil, err
	}
	have := map[item]thing{}
	for t := range tables {
		if err := readTable(conn, table(t), have); err != nil {
			return nil, fmt.Errorf("read the kernel's packet filter: %w", err)
		}
	}
	after, err := generation()
	if err == nil && after != before {
		err = errInterrupted
	}
	return have, err
}

func readTable(conn *nftables.Conn, t table, have map[item]thing) error {
	put := func(th thing) { th.table = t; have[th.item] = th }
	all, err := conn.ListTablesOfFamily(tables[t].Family)
	if err != nil {
		return err
	}
	there := false
	for _, one := range all {
		there = there || one.Name == tableName
	}
	if !there {
		return nil
	}
	put(thing{item: item{kind: kindTable}})
	chains, err := conn.ListChainsOfTableFamily(tables[t].Family)
	if err != nil {
		return err
	}
	for _, c := range chains {
		if c.Table.Name != tableName {
			continue
		}
		c.Table = tables[t]
		put(thing{item: item{kind: kindChain, name: c.Name}, value: hookOf(c), chain: c})
		rules, err := conn.GetRules(tables[t], c)
		if err != nil {
			return err
		}
		tags := ""
		for _, r := range rules {
			tags += tagOf(r.UserData) + " "
		}
		put(thing{item: item{kind: kindRules, name: c.Name}, value: tags, chain: c})
	}
	objects, err := conn.GetNamedObjects(tables[t])
	if err != nil {
		return err
	}
	for _, o := range objects {
		if n, is := o.(*nftables.NamedObj); is && n.Type == nftables.ObjTypeCounter {
			put(thing{item: item{kind: kindCounter, name: n.Name}})
		}
	}
	sets, err := conn.GetSets(tables[t])
	if err != nil {
		return err
	}
	for _, s := range sets {
		if s.Anonymous {
			continue // its rule's tag has it
		}
		if err := readSet(conn, s, put); err != nil {
			return err
		}
	}
	return nil
}

func readSet(conn *nftables.Conn, s *nftables.Set, put func(thing)) error {
	spec := setSpec{key: s.KeyType, data: s.DataType, interval: s.Interval, ages: s.HasTimeout}
	if spec.verdicts = s.IsMap && s.KeyType.Name == nftables.TypeVerdict.Name; spec.verdicts {
		spec.key, spec.data.Bytes = nftables.TypeMark, 0 // the library mixes them up
	}
	put(thing{item: item{kind: kindSet, name: s.Name}, value: spec.String(), set: &spec})
	if spec.ages {
		return nil
	}
	elements, err := conn.GetSetElements(s)
	if err != nil {
		return err
	}
	if spec.interval {
		readIntervals(s.Name, elements, put)
		return nil
	}
	for _, e := range elements {
		value := string(e.Val)
		if spec.verdicts {
			value = chainOfVerdict(e.Val)
		}
		put(element(0, s.Name, e.Key, value))
	}
	return nil
}

// readIntervals pairs the ends of intervals: where one begins at the end of another,
// the end is first.
func readIntervals(set string, elements []nftables.SetElement, put func(thing)) {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
			return c
		} else if a.IntervalEnd {
			return -1
		}
		return 1
	})
	for i, e := range elements {
		if e.IntervalEnd {
			continue
		}
		var end []byte
		if i+1 < len(elements) && elements[i+1].IntervalEnd {
			end = elements[i+1].Key
		}
		put(interval(0, set, e.Key, end))
	}
}

// chainOfVerdict reads the chain out of the attributes of a verdict.
func chainOfVerdict(data []byte) string {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return ""
	}
	ad.ByteOrder = binary.BigEndian
	chain := ""
	for ad.Next() {
		if ad.Type() == unix.NFTA_VERDICT_CHAIN {
			chain = ad.String()
		}
	}
	return chain
}

// generation is the number of the kernel's rules: it changes with each transaction,
// of anybody.
func generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("open the kernel's packet filter: %w", err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of the kernel's packet filter: %w", err)
	}
	for _, m := range answer {
		if g := generationOf(m); g != 0 {
			return g, nil
		}
	}
	return 0, errors.New("the kernel tells no generation of its packet filter")
}

// generationOf reads it from a message; 0 is none.
func generationOf(m netlink.Message) uint32 {
	if len(m.Data) < 4 {
		return 0
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return 0
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			return ad.Uint32()
		}
	}
	return 0
}
