package dataplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// legAlias marks the host side of a network's veth pair.
const legAlias = "kumo:dhcp:"

// hostLeg names the veth's end on the bridge.
func hostLeg(namespace string) string { return hashedName("kd", namespace) }

// hashedName makes a device name of ours from a name that may be longer than a
// device's.
func hashedName(prefix, name string) string {
	sum := sha256.Sum256([]byte(name))
	return prefix + hex.EncodeToString(sum[:6])
}

// legAddress is the MAC of a network's services, the same on each host: a guest that has
// moved goes on asking the one that it knows, and the host where it is now answers. They
// never meet, as the leg is isolated from the uplink.
func legAddress(namespace string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("services of " + namespace))
	return append(net.HardwareAddr{0x0a}, sum[:5]...) // locally administered, of one device
}

// ensureLeg plugs the namespace into the bridge, and tells whether its device was
// made for that: what was bound to an earlier one hears nothing on it.
func ensureLeg(ns netns.NsHandle, s networkSpec) (made bool, err error) {
	object := "DHCP network " + s.namespace
	bridge, err := findLink(s.bridge)
	if err != nil {
		return made, errs.Wrap(errs.Internal, object, err, "cannot look up bridge %s", s.bridge)
	}
	if bridge == nil || bridge.Type() != "bridge" {
		return made, errs.New(errs.Refused, object, "the host has no bridge %s", s.bridge).
			WithAdvice("attach the L2 network to the host's cluster, or reconnect the host")
	}
	leg, made, err := ensurePair(ns, s)
	if err != nil {
		return made, errs.Wrap(errs.Internal, object, err, "cannot plug it into bridge %s", s.bridge)
	}
	if leg.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := netlink.LinkSetMaster(leg, bridge); err != nil {
			return made, errs.Wrap(errs.Internal, object, err, "cannot plug it into bridge %s", s.bridge)
		}
	}
	// Isolated from the uplink and other legs: see takeUplink.
	if err := netlink.LinkSetIsolated(leg, true); err != nil {
		return made, errs.Wrap(errs.Internal, object, err, "cannot isolate its port")
	}
	if err := netlink.LinkSetUp(leg); err != nil {
		return made, errs.Wrap(errs.Internal, object, err, "cannot bring its port up")
	}
	if err := inNamespace(ns, func() error { return addressLeg(s) }); err != nil {
		return made, errs.Wrap(errs.Internal, object, err, "cannot set its address")
	}
	return made, nil
}

// ensurePair returns the host side of the veth pair, and whether it was made. A
// half without its other half in this namespace is from an earlier life and is
// replaced.
func ensurePair(ns netns.NsHandle, s networkSpec) (leg netlink.Link, made bool, err error) {
	name := hostLeg(s.namespace)
	if leg, err = findLink(name); err != nil {
		return nil, false, err
	}
	if leg != nil {
		mark := leg.Attrs().Alias
		if mark != "" && mark != legAlias+s.namespace {
			return nil, false, fmt.Errorf("device %s exists and is not ours", name)
		}
		inside := false
		err := inNamespace(ns, func() error {
			l, err := findLink(legName)
			inside = l != nil
			return err
		})
		if err != nil || inside && mark != "" {
			return leg, false, err
		}
		if err := netlink.LinkDel(leg); err != nil {
			return nil, false, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: legName, PeerNamespace: netlink.NsFd(int(ns)), PeerHardwareAddr: legAddress(s.namespace)}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, false, err
	}
	if leg, err = netlink.LinkByName(name); err != nil {
		return nil, false, err
	}
	// The kernel takes the mark only now; a leg without one is made again.
	if err := netlink.LinkSetAlias(leg, legAlias+s.namespace); err != nil {
		return nil, false, err
	}
	return leg, true, nil
}

// addressLeg runs in the namespace.
func addressLeg(s networkSpec) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	leg, err := netlink.LinkByName(legName)
	if err != nil {
		return err
	}
	if s.mtu != 0 && leg.Attrs().MTU != s.mtu {
		if err := netlink.LinkSetMTU(leg, s.mtu); err != nil {
			return fmt.Errorf("set MTU %d: %w", s.mtu, err)
		}
	}
	wanted := []netip.Prefix{s.address}
	if s.metadata {
		wanted = append(wanted, netip.PrefixFrom(metadataAddress, 32))
	}
	if err := setAddresses(leg, wanted); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(leg); err != nil {
		return err
	}
	return setGateway(leg, s.gateway)
}

// setAddresses makes wanted the device's only IPv4 addresses.
func setAddresses(leg netlink.Link, wanted []netip.Prefix) error {
	present, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(leg, netlink.FAMILY_V4) })
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, p := range wanted {
		keep[p.String()] = true
		if err := netlink.AddrReplace(leg, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("add %s: %w", p, err)
		}
	}
	for _, a := range present {
		if !keep[a.IPNet.String()] {
			if err := netlink.AddrDel(leg, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove %s: %w", a.IPNet, err)
			}
		}
	}
	return nil
}

// setGateway lets dnsmasq ask DNS servers outside of the network.
func setGateway(leg netlink.Link, gateway netip.Addr) error {
	if !gateway.IsValid() {
		return nil
	}
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: leg.Attrs().Index, Dst: all, Gw: gateway.AsSlice()})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// removeLeg unplugs the namespace; the other half goes with it.
func removeLeg(namespace string) error {
	leg, err := findLink(hostLeg(namespace))
	if err != nil || leg == nil {
		return err
	}
	if mark := leg.Attrs().Alias; mark != "" && mark != legAlias+namespace {
		return nil
	}
	if err := netlink.LinkDel(leg); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}
