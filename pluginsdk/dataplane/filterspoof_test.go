package dataplane

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire sends and hears frames as they are.
type wire struct {
	t  *testing.T
	fd int
	to unix.SockaddrLinklayer
}

func (m *machine) wire() *wire {
	m.t.Helper()
	w := &wire{t: m.t}
	must(m.t, inNamespace(m.ns, func() (err error) {
		index, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		w.to = unix.SockaddrLinklayer{Protocol: all, Ifindex: index.Index}
		return unix.Bind(w.fd, &w.to)
	}))
	m.t.Cleanup(func() { must(m.t, unix.Close(w.fd)) })
	return w
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	must(w.t, unix.Sendto(w.fd, frame, 0, &w.to))
}

// all are the frames that come before the last.
func (w *wire) all(last []byte) map[string]bool {
	w.t.Helper()
	must(w.t, unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(answers / time.Second)}))
	heard := map[string]bool{}
	for b := make([]byte, 2048); ; {
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil {
			w.t.Fatalf("the last frame does not come: %v", err)
		}
		if string(b[:n]) == string(last) {
			return heard
		}
		heard[string(b[:n])] = true
	}
}

func ether(from, to string, kind uint16, payload []byte) []byte {
	dst, _ := net.ParseMAC(to)
	src, _ := net.ParseMAC(from)
	return append(binary.BigEndian.AppendUint16(append(dst, src...), kind), payload...)
}

func arp(op byte, mac, ip, target string) []byte {
	m, _ := net.ParseMAC(mac)
	p := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, m...)
	p = append(p, netip.MustParseAddr(ip).AsSlice()...)
	p = append(p, make([]byte, 6)...)
	return append(p, netip.MustParseAddr(target).AsSlice()...)
}

func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func ipv4(from, to string, protocol byte, payload []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	h = append(append(h, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, payload...)
}

func ipv6(from, to string, protocol byte, payload []byte) []byte {
	h := []byte{0x60, 0, 0, 0, 0, byte(len(payload)), protocol, 255}
	h = append(append(h, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	if protocol == unix.IPPROTO_ICMPV6 {
		binary.BigEndian.PutUint16(payload[2:], sum(h[8:40], []byte{0, 0, 0, byte(len(payload)), 0, 0, 0, protocol}, payload))
	}
	return append(h, payload...)
}

// datagram has no sum, which IPv4 allows; nobody looks at it in IPv6 on the way.
func datagram(from, to uint16) []byte {
	return []byte{byte(from >> 8), byte(from), byte(to >> 8), byte(to), 0, 10, 0, 0, 'h', 'i'}
}

func icmpv6(kind byte, size int) []byte { return append([]byte{kind, 0, 0, 0}, make([]byte, size)...) }

// A guest sends as itself only, and serves no DHCP and no routes; DHCP and neighbour
// discovery pass though all else is shut.
func TestFilterSpoofing(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, free := plug(t, "fa", "br_f", 1), plug(t, "fc", "br_f", 3)
	e.apply(filterPort(a)) // may send all that it wants, as itself
	from, to := a.wire(), free.wire()
	const stranger, local = "52:54:00:00:00:99", "fe80::5054:ff:fe00:1"
	tcp := make([]byte, 20)
	last := ether(a.mac, free.mac, unix.ETH_P_IP, ipv4(a.v4, free.v4, unix.IPPROTO_UDP, datagram(99, 53)))
	frame := func(kind uint16, payload []byte) []byte { return ether(a.mac, free.mac, kind, payload) }
	for name, c := range map[string]struct {
		frame []byte
		pass  bool
	}{
		"its own IPv4":               {frame(unix.ETH_P_IP, ipv4(a.v4, free.v4, 6, tcp)), true},
		"another's MAC":              {ether(stranger, free.mac, unix.ETH_P_IP, ipv4(a.v4, free.v4, 6, tcp)), false},
		"another's IPv4":             {frame(unix.ETH_P_IP, ipv4("10.50.0.77", free.v4, 6, tcp)), false},
		"no IPv4":                    {frame(unix.ETH_P_IP, ipv4("0.0.0.0", free.v4, 6, tcp)), false},
		"asking for a lease":         {frame(unix.ETH_P_IP, ipv4("0.0.0.0", "255.255.255.255", 17, datagram(68, 67))), true},
		"giving a lease":             {frame(unix.ETH_P_IP, ipv4(a.v4, "255.255.255.255", 17, datagram(67, 68))), false},
		"its own IPv6":               {frame(unix.ETH_P_IPV6, ipv6(a.v6, free.v6, 6, tcp)), true},
		"its own link-local":         {frame(unix.ETH_P_IPV6, ipv6(local, free.v6, 6, tcp)), true},
		"another's IPv6":             {frame(unix.ETH_P_IPV6, ipv6("fd00::77", free.v6, 6, tcp)), false},
		"another's link-local":       {frame(unix.ETH_P_IPV6, ipv6("fe80::77", free.v6, 6, tcp)), false},
		"no IPv6":                    {frame(unix.ETH_P_IPV6, ipv6("::", free.v6, 6, tcp)), false},
		"is the address free":        {frame(unix.ETH_P_IPV6, ipv6("::", "ff02::1:ff00:1", 58, icmpv6(135, 20))), true},
		"soliciting":                 {frame(unix.ETH_P_IPV6, ipv6(local, "ff02::2", 58, icmpv6(133, 4))), true},
		"advertising itself":         {frame(unix.ETH_P_IPV6, ipv6(a.v6, free.v6, 58, icmpv6(136, 20))), true},
		"advertising routes":         {frame(unix.ETH_P_IPV6, ipv6(local, "ff02::1", 58, icmpv6(134, 12))), false},
		"a redirect":                 {frame(unix.ETH_P_IPV6, ipv6(local, free.v6, 58, icmpv6(137, 36))), false},
		"giving a lease of IPv6":     {frame(unix.ETH_P_IPV6, ipv6(local, "fe80::1", 17, datagram(547, 546))), false},
		"asking for a lease of IPv6": {frame(unix.ETH_P_IPV6, ipv6(local, "ff02::1:2", 17, datagram(546, 547))), true},
		"its own ARP":                {frame(unix.ETH_P_ARP, arp(1, a.mac, a.v4, free.v4)), true},
		"asking whether it is free":  {frame(unix.ETH_P_ARP, arp(1, a.mac, "0.0.0.0", a.v4)), true},
		"another's address in ARP":   {frame(unix.ETH_P_ARP, arp(2, a.mac, "10.50.0.77", free.v4)), false},
		"another's MAC in ARP":       {frame(unix.ETH_P_ARP, arp(2, stranger, a.v4, free.v4)), false},
		"in a VLAN":                  {frame(unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ipv4(a.v4, free.v4, 6, tcp)...)), false},
		"another protocol":           {frame(0x88b5, make([]byte, 46)), false},
	} {
		from.send(c.frame)
		from.send(last)
		if got := to.all(last)[string(c.frame)]; got != c.pass {
			t.Errorf("%s: passes %v", name, got)
		}
	}
	// To the guest, which lets nothing in, only what it needs passes.
	back := func(kind uint16, payload []byte) []byte { return ether(free.mac, a.mac, kind, payload) }
	last = back(unix.ETH_P_ARP, arp(2, free.mac, free.v4, a.v4))
	for name, c := range map[string]struct {
		frame []byte
		pass  bool
	}{
		"a packet":           {back(unix.ETH_P_IP, ipv4(free.v4, a.v4, 6, tcp)), false},
		"a lease":            {back(unix.ETH_P_IP, ipv4(free.v4, a.v4, 17, datagram(67, 68))), true},
		"a lease of IPv6":    {back(unix.ETH_P_IPV6, ipv6("fe80::1", local, 17, datagram(547, 546))), true},
		"a route":            {back(unix.ETH_P_IPV6, ipv6("fe80::1", local, 58, icmpv6(134, 12))), true},
		"a neighbour":        {back(unix.ETH_P_IPV6, ipv6(free.v6, a.v6, 58, icmpv6(135, 20))), true},
		"an answer unasked":  {back(unix.ETH_P_IP, ipv4(free.v4, a.v4, 17, datagram(53, 5353))), false},
		"a frame of a VLAN":  {back(unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ipv4(free.v4, a.v4, 6, tcp)...)), false},
		"a ping":             {back(unix.ETH_P_IPV6, ipv6(free.v6, a.v6, 58, icmpv6(128, 4))), false},
		"another's protocol": {back(0x88b5, make([]byte, 46)), false},
	} {
		to.send(c.frame)
		to.send(last)
		if got := from.all(last)[string(c.frame)]; got != c.pass {
			t.Errorf("to the guest, %s: passes %v", name, got)
		}
	}
}
