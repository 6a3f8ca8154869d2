package filter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file ends open connections that the rules do not allow any more.
//
// The kernel forgets such a connection, so that its next packet is judged as a new
// one's. That is not enough for TCP: what the side that was called sends would be
// taken for a connection of its own, which it often may make, and then the caller's
// packets for replies. So the replies' addresses and ports are kept in a set, and
// packets that have them and open no connection are dropped. Connections that are
// still allowed are left alone.

// cutFor is how long replies of a connection that was cut are known: as long as the
// kernel keeps an idle connection (nf_conntrack_tcp_timeout_established).
const cutFor = 5 * 24 * time.Hour

func cutKey(v4 bool) nftables.SetDatatype {
	a := addrType(v4)
	return nftables.MustConcatSetType(nftables.TypeIFIndex, a, nftables.TypeInetService, a, nftables.TypeInetService)
}

// cutRule drops those replies. It stands after what accepts open connections.
func cutRule(v4 bool) *rule {
	offset, size, set := uint32(8), uint32(16), cut6
	if v4 {
		offset, size, set = 12, 4, cut4
	}
	n := size / 4
	return newRule(inetTable, join(ipVersion(v4), protocol(unix.IPPROTO_TCP), words{
		load(thBase, 13, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{2}, Xor: []byte{0}}, // SYN
		equal([]byte{0}),
		&expr.Meta{Key: expr.MetaKeyIIF, Register: reg4(0)},
		loadInto(reg4(1), nhBase, offset, size), loadInto(reg4(1+n), thBase, 0, 2),
		loadInto(reg4(2+n), nhBase, offset+size, size), loadInto(reg4(2+2*n), thBase, 2, 2),
		&expr.Lookup{SourceRegister: reg4(0), SetName: set},
	}, drop)...)
}

// judgeAnew ends the open connections of ports that their rules do not allow.
func (f *Filter) judgeAnew(all map[Name]*hostv1.Fragment, ports []Name) error {
	if len(ports) == 0 {
		return nil
	}
	c := &court{all: all, ports: map[netip.Addr][]Name{}}
	for _, n := range ports {
		for _, a := range addressesOf(all[n].GetFilterPort()) {
			c.ports[a] = append(c.ports[a], n)
		}
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if err := f.cut(c, family); err != nil {
			return fmt.Errorf("end connections that are not allowed any more: %w", err)
		}
	}
	return nil
}

func (f *Filter) cut(c *court, family netlink.InetFamily) error {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	set, v4 := cut6, family == unix.AF_INET
	if v4 {
		set = cut4
	}
	var replies []nftables.SetElement
	seen, found := map[string]bool{}, 0
	for _, flow := range flows {
		bridge, denied := c.denies(flow)
		if !denied {
			continue
		}
		found++
		if key := replyKey(bridge, flow.Reverse, v4); flow.Forward.Protocol == unix.IPPROTO_TCP && bridge != 0 && !seen[string(key)] {
			seen[string(key)] = true
			replies = append(replies, nftables.SetElement{Key: key})
		}
	}
	if found == 0 {
		return nil
	}
	if err := f.keepReplies(set, v4, replies); err != nil {
		return err
	}
	_, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, c)
	f.log.Info("ended connections that are not allowed any more", "count", found)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil // those that were missed are judged by their next packets' rules
	}
	return err
}

// keepReplies adds to a set whose elements have an end; one that is there stays.
func (f *Filter) keepReplies(name string, v4 bool, replies []nftables.SetElement) error {
	if len(replies) == 0 {
		return nil
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	f.mu.Lock()
	defer f.mu.Unlock()
	set := &nftables.Set{Table: tables[inetTable], Name: name, KeyType: cutKey(v4), HasTimeout: true}
	for start := 0; start < len(replies); start += perMessage {
		part := replies[start:min(start+perMessage, len(replies))]
		for i := range part {
			part[i].Timeout = cutFor
		}
		if err := conn.SetAddElements(set, part); err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	return f.done()
}

func replyKey(bridge int, t netlink.IPTuple, v4 bool) []byte {
	addr := func(ip net.IP) []byte {
		if v4 {
			return ip.To4()
		}
		return ip.To16()
	}
	key := native(uint32(bridge))
	key = append(key, addr(t.SrcIP)...)
	key = append(key, padded(big16(t.SrcPort))...)
	key = append(key, addr(t.DstIP)...)
	return append(key, padded(big16(t.DstPort))...)
}

// court judges connections.
type court struct {
	all   map[Name]*hostv1.Fragment
	ports map[netip.Addr][]Name
	// bridges has the bridge of each device, once it was asked for.
	bridges map[string]int
}

// MatchConntrackFlow is for the library that deletes what matches.
func (c *court) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	_, denied := c.denies(flow)
	return denied
}

// denies says whether one of our ports does not allow a connection, and the index of
// the port's bridge, 0 when it is on none.
func (c *court) denies(flow *netlink.ConntrackFlow) (bridge int, denied bool) {
	// The far end as the guest sees it: the host may translate addresses.
	for _, end := range []struct {
		in     bool
		own    net.IP
		source netlink.IPTuple
		dest   net.IP
		port   uint16
	}{
		{false, flow.Forward.SrcIP, flow.Forward, flow.Forward.DstIP, flow.Forward.DstPort},
		{true, flow.Reverse.SrcIP, flow.Forward, flow.Reverse.SrcIP, flow.Reverse.SrcPort},
	} {
		for _, n := range c.ports[addrOf(end.own)] {
			p := c.all[n].GetFilterPort()
			bridge := c.bridge(p.GetDevice())
			if bridge != 0 && flow.Zone != 0 && flow.Zone != uint16(bridge) {
				continue
			}
			if flow.Zone == 0 && end.in {
				continue // the host's own: it is not judged
			}
			k := packet{end.in, flow.Forward.Protocol, addrOf(end.source.SrcIP), addrOf(end.dest), end.source.SrcPort, end.port}
			if !judge(c.all, n.Owner, p, k) {
				return bridge, true
			}
		}
	}
	return 0, false
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func (c *court) bridge(device string) int {
	if c.bridges == nil {
		c.bridges = map[string]int{}
		links, err := netlink.LinkList()
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return 0
		}
		for _, l := range links {
			c.bridges[l.Attrs().Name] = l.Attrs().MasterIndex
		}
	}
	return c.bridges[device]
}
