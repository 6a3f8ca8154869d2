package kinds

import (
	"net"
	"net/netip"
	"strings"
	"unicode"
)

// parseAddr takes IPv4 and IPv6 addresses, and IPv4 addresses in IPv6's clothes.
func parseAddr(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return "", errNot
	}
	a = a.Unmap()
	return a.String(), unicast(a)
}

// unicast refuses what no machine has, or means something on one machine only.
func unicast(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return but("has a zone, which means something on one machine only: RFC 4007, section 11")
	case a.IsUnspecified():
		return but("the unspecified address")
	case a.IsMulticast():
		return but("a multicast address")
	case a.Is4() && a.As4()[0] == 0:
		return but("an address of \"this network\", 0.0.0.0/8")
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return but("the broadcast address")
	case a.Is4() && a.As4()[0] >= 240:
		return but("an address of the reserved class E, 240.0.0.0/4")
	}
	return nil
}

// parseAddr4 takes what others in a network can reach.
func parseAddr4(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return "", errNot
	case !a.Is4():
		return "", but("an IPv6 address")
	case a.IsLoopback():
		return "", but("a loopback address")
	case a.IsLinkLocalUnicast():
		return "", but("a link-local address, 169.254.0.0/16")
	}
	return a.String(), unicast(a)
}

// parseCIDR4 drops the bits of a host.
func parseCIDR4(text string) (string, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "", errNot
	case !p.Addr().Is4():
		return "", but("an IPv6 network")
	}
	p = p.Masked()
	switch {
	case p.Addr().IsLoopback():
		return "", but("a part of 127.0.0.0/8, which never leaves a machine")
	case p.Addr().IsUnspecified() && p.Bits() > 0:
		return "", but("a part of 0.0.0.0/8, which no machine is in")
	case p.Addr().As4()[0] >= 240:
		return "", but("a part of the reserved class E, 240.0.0.0/4")
	}
	return p.String(), nil
}

func parseNetmask4(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return "", errNot
	}
	b := a.As4()
	if ones, bits := net.IPMask(b[:]).Size(); bits == 0 || ones == 0 {
		return "", but("its bits are not ones followed by zeros")
	}
	return a.String(), nil
}

// parseMAC takes the usual spellings of EUI-48.
func parseMAC(text string) (string, error) {
	hw, err := net.ParseMAC(text)
	switch {
	case err != nil || len(hw) != 6:
		return "", errNot
	case hw[0]&1 == 1:
		return "", but("a multicast address")
	case strings.Trim(hw.String(), "0:") == "":
		return "", but("all zero")
	case hw[0] == 0xfe:
		// A tap device has its guest's address with this first byte, so that the
		// bridge takes no guest's for its own (libvirt, virNetDevTapCreateInBridgePort).
		return "", but("begins with fe:, as hosts' ends of guests' devices do")
	}
	return hw.String(), nil
}

func parseHost(text string) (string, error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return parseAddr(text)
	}
	return parseDomain(text)
}

// parseEndpoint takes where a service listens: any address of the machine, or all.
func parseEndpoint(text string) (string, error) {
	a, err := netip.ParseAddrPort(text)
	switch {
	case err != nil:
		return "", errNot
	case a.Addr().Zone() != "":
		return "", but("has a zone, which means something on one machine only: RFC 4007, section 11")
	}
	return a.String(), nil
}

// parseNetworks takes what somebody allows or forbids, so all of them that there
// are; an address is the network that has it alone. Networks reads the spelling.
func parseNetworks(text string) (string, error) {
	var words []string
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		n, err := parseNetwork(word)
		if err != nil {
			return "", but("%.80q in it is no network, and no address", Shown(word))
		}
		if n.IsSingleIP() {
			words = append(words, n.Addr().String())
		} else {
			words = append(words, n.String())
		}
	}
	if len(words) == 0 {
		return "", errNot
	}
	return strings.Join(words, ","), nil
}

// parseNetwork takes one network or address. IPv4 in IPv6's clothes is IPv4, as
// addresses that are compared with it are.
func parseNetwork(text string) (netip.Prefix, error) {
	n, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return n, errNot
		}
		n = netip.PrefixFrom(a, a.BitLen())
	}
	if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	return n.Masked(), nil
}

// Networks returns the networks of a text of the kind networks; an empty one has
// none.
func Networks(text string) ([]netip.Prefix, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	k, _ := Of("networks")
	spelling, err := k.Parse(text)
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for word := range strings.SplitSeq(spelling, ",") {
		n, err := parseNetwork(word)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}
