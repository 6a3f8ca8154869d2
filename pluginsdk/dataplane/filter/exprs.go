package filter

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// This file has the words of which rules are made. Each returns expressions that
// end the rule when the packet is another; registers are used by one word only,
// but for keys of several parts.

// firstRegister is the first of 16 registers of 4 bytes (NFT_REG32_00); reg4(n) is
// the one n*4 bytes after it.
const firstRegister = 8

func reg4(n uint32) uint32 { return firstRegister + n }

type words []expr.Any

func join(all ...words) (out words) {
	for _, w := range all {
		out = append(out, w...)
	}
	return out
}

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }
func big16(v uint16) []byte  { return binary.BigEndian.AppendUint16(nil, v) }

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func load(base expr.PayloadBase, offset, size uint32) expr.Any {
	return loadInto(1, base, offset, size)
}

func loadInto(register uint32, base expr.PayloadBase, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: size}
}

func verdict(k expr.VerdictKind, chain string) words {
	return words{&expr.Verdict{Kind: k, Chain: chain}}
}

var (
	accept = verdict(expr.VerdictAccept, "")
	drop   = verdict(expr.VerdictDrop, "")
)

// markIs compares the bits of the mark that mask names.
func markIs(mask, value uint32) words { return markCmp(expr.CmpOpEq, mask, value) }

func markCmp(op expr.CmpOp, mask, value uint32) words {
	return words{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(mask), Xor: native(0)},
		&expr.Cmp{Op: op, Register: 1, Data: native(value)},
	}
}

func setMark(value uint32) words {
	return words{
		&expr.Immediate{Register: 1, Data: native(value)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// orMark sets bits of the mark.
func orMark(bits uint32) words {
	return words{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(^bits), Xor: native(bits)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// markByName sets the mark to what a map has of the device's name.
func markByName(key expr.MetaKey, name string) words {
	return words{
		&expr.Meta{Key: key, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: name},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// etherType compares what the frame says, also where a VLAN tag was taken off it.
func etherType(t uint16) words {
	return words{load(expr.PayloadBaseLLHeader, 12, 2), equal(big16(t))}
}

func notEtherType(t uint16) words {
	return words{load(expr.PayloadBaseLLHeader, 12, 2), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: big16(t)}}
}

// inMember compares the name of the device that a packet came by, with a field of the
// packet, to the members of a set.
func inMember(set string, invert bool, field func(register uint32) expr.Any) words {
	return words{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg4(0)},
		field(reg4(4)),
		&expr.Lookup{SourceRegister: reg4(0), SetName: set, Invert: invert},
	}
}

func field(base expr.PayloadBase, offset, size uint32) func(uint32) expr.Any {
	return func(register uint32) expr.Any { return loadInto(register, base, offset, size) }
}

func ipVersion(v4 bool) words {
	proto := byte(unix.NFPROTO_IPV6)
	if v4 {
		proto = unix.NFPROTO_IPV4
	}
	return words{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{proto})}
}

func protocol(p byte) words {
	return words{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{p})}
}

// udp compares ports; 0 is any.
func udp(source, destination uint16) words {
	w := protocol(unix.IPPROTO_UDP)
	if source != 0 {
		w = append(w, load(expr.PayloadBaseTransportHeader, 0, 2), equal(big16(source)))
	}
	if destination != 0 {
		w = append(w, load(expr.PayloadBaseTransportHeader, 2, 2), equal(big16(destination)))
	}
	return w
}

func icmp6(kind byte) words {
	return append(protocol(unix.IPPROTO_ICMPV6), load(expr.PayloadBaseTransportHeader, 0, 1), equal([]byte{kind}))
}

// ctState is that the connection's state is one of these.
func ctState(states uint32) words {
	return words{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(states), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(0)},
	}
}

// within compares a field that is in register 1 with ranges: one by itself, more by
// a set that belongs to the rule. It returns that set, or nil.
func within(w words, key nftables.SetDatatype, ranges [][2][]byte) (words, *inlineSet) {
	if len(ranges) == 1 {
		first, last := ranges[0][0], ranges[0][1]
		if string(first) == string(last) {
			return append(w, equal(first)), nil
		}
		return append(w, &expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: first, ToData: last}), nil
	}
	set := &inlineSet{lookup: &expr.Lookup{SourceRegister: 1}, key: key}
	for i, r := range ranges {
		// Neighbours share an end, which a set that is made at once has once.
		if i == 0 || string(after(ranges[i-1][1])) != string(r[0]) {
			set.elements = append(set.elements, nftables.SetElement{Key: r[0]})
		} else {
			set.elements = set.elements[:len(set.elements)-1]
		}
		if end := after(r[1]); end != nil {
			set.elements = append(set.elements, nftables.SetElement{Key: end, IntervalEnd: true})
		}
	}
	return append(w, set.lookup), set
}

// after is the number that follows; nil when there is none.
func after(b []byte) []byte {
	out := append([]byte(nil), b...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out
		}
	}
	return nil
}

// otherSide loads the source or the destination address.
func otherSide(v4, destination bool) expr.Any {
	offset, size := uint32(8), uint32(16)
	if v4 {
		offset, size = 12, 4
	}
	if destination {
		offset += size
	}
	return load(expr.PayloadBaseNetworkHeader, offset, size)
}

func rangesOf(all []span) (out [][2][]byte) {
	for _, s := range all {
		out = append(out, [2][]byte{s.first.AsSlice(), s.last.AsSlice()})
	}
	return out
}

func deviceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// padded is a part of a key of several.
func padded(b []byte) []byte { return append(b[:len(b):len(b)], make([]byte, (4-len(b)%4)%4)...) }

func addrType(v4 bool) nftables.SetDatatype {
	if v4 {
		return nftables.TypeIPAddr
	}
	return nftables.TypeIP6Addr
}

// local is the link-local address that a machine with this MAC makes itself.
func local(mac []byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}
