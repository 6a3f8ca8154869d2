package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// undoList undoes the steps of a function that fails, last first.
type undoList []func() error

func (u *undoList) add(f func() error) { *u = append(*u, f) }

func (u undoList) run(log hclog.Logger) {
	for _, f := range slices.Backward(u) {
		if err := f(); err != nil {
			log.Error("a step could not be undone", "error", err)
		}
	}
}

// ensureBridge makes the bridge as described. old is what it was before, nil
// when it is new. A step that fails undoes those before it, so that a host is
// never left without the addresses by which it is reached.
func ensureBridge(old, b *hostv1.Bridge, log hclog.Logger) (err error) {
	object := "bridge " + b.GetName()
	var undo undoList
	defer func() {
		if err != nil {
			undo.run(log)
		}
	}()
	if old.GetName() == b.GetName() && old.GetUplink() != "" && portOf(old) != portOf(b) {
		if err := releaseUplink(old); err != nil {
			return errs.Wrap(errs.ClassOf(err), object, err, "cannot give uplink %s back", uplinkOf(old))
		}
		undo.add(func() error { return takeUplink(old, &undoList{}) })
	}
	if err := makeBridge(b, &undo); err != nil {
		return err
	}
	if b.GetUplink() == "" {
		return nil
	}
	return takeUplink(b, &undo)
}

// makeBridge makes the bridge without its uplink, or checks that it is ours.
func makeBridge(b *hostv1.Bridge, undo *undoList) error {
	object := "bridge " + b.GetName()
	link, err := findLink(b.GetName())
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look it up")
	}
	if link == nil {
		if link, err = addBridge(b); err != nil {
			return errs.Wrap(errs.Internal, object, err, "cannot make it")
		}
		undo.add(func() error { return netlink.LinkDel(link) })
	}
	if link.Type() != "bridge" || link.Attrs().Alias != b.GetAlias() {
		return errs.New(errs.Refused, object, "a %s of that name exists that Kumo did not make", link.Type()).
			WithAdvice("rename or remove that device")
	}
	if mtu := int(b.GetMtu()); mtu != 0 && link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return errs.Wrap(errs.Internal, object, err, "cannot set MTU %d", mtu)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot bring it up")
	}
	return nil
}

// addBridge makes a marked bridge. The kernel takes the mark only after the
// device exists, so it is made under a name of ours first: what a crash leaves
// there is known as ours, and a bridge with the real name is always marked.
func addBridge(b *hostv1.Bridge) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = hashedName("kb", b.GetName()), int(b.GetMtu())
	if remains, err := findLink(attrs.Name); err != nil {
		return nil, err
	} else if remains != nil {
		if err := netlink.LinkDel(remains); err != nil {
			return nil, err
		}
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetAlias(link, b.GetAlias()); err != nil {
		return nil, errors.Join(err, netlink.LinkDel(link))
	}
	if err := netlink.LinkSetName(link, b.GetName()); err != nil {
		return nil, errors.Join(err, netlink.LinkDel(link))
	}
	return netlink.LinkByName(b.GetName())
}

// takeUplink makes the uplink a port of the bridge and moves its addresses and
// routes. The port is isolated: ports with that flag do not talk to each other,
// so the legs of DHCP services on this host and those of other hosts on the
// same wire never hear one another, though they may have the same address.
//
// Of a VLAN it is the device of the VLAN, which has no addresses.
func takeUplink(b *hostv1.Bridge, undo *undoList) error {
	object, port := "bridge "+b.GetName(), portOf(b)
	if err := ensureVLAN(b, undo); err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(b.GetName())
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot find it")
	}
	uplink, err := findLink(port)
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look up uplink %s", port)
	}
	if uplink == nil {
		return noUplink(b)
	}
	master := uplink.Attrs().MasterIndex
	if master != 0 && master != bridge.Attrs().Index {
		return errs.New(errs.Refused, object, "device %s is already a port of another device", port)
	}
	if master == 0 {
		undo.add(func() error { return releaseUplink(b) })
		// With the uplink's MAC, neighbours and DHCP servers see no change.
		if err := netlink.LinkSetHardwareAddr(bridge, uplink.Attrs().HardwareAddr); err != nil {
			return errs.Wrap(errs.Internal, object, err, "cannot take the MAC address of %s", port)
		}
		if err := netlink.LinkSetMaster(uplink, bridge); err != nil {
			return errs.Wrap(errs.Refused, object, err, "device %s cannot be a port of a bridge", port)
		}
	}
	if err := netlink.LinkSetIsolated(uplink, true); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot isolate port %s", port)
	}
	if err := netlink.LinkSetUp(uplink); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot bring %s up", port)
	}
	if err := moveAddresses(uplink, bridge); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot move the addresses of %s", port)
	}
	return nil
}

// releaseUplink gives the bridge's addresses and routes back to the uplink, or removes
// the device of its VLAN.
func releaseUplink(b *hostv1.Bridge) error {
	if b.GetVlanId() != 0 {
		return removeVLAN(b)
	}
	bridge, err := findLink(b.GetName())
	if err != nil || bridge == nil {
		return err
	}
	uplink, err := findLink(b.GetUplink())
	if err != nil || uplink == nil || uplink.Attrs().MasterIndex != bridge.Attrs().Index {
		return err
	}
	if err := netlink.LinkSetNoMaster(uplink); err != nil {
		return fmt.Errorf("take %s out of %s: %w", b.GetUplink(), b.GetName(), err)
	}
	return moveAddresses(bridge, uplink)
}

// removeBridge gives the uplink back and removes the bridge. A bridge that is
// gone, or whose name another's device has now, is a success. A bridge with
// guests on it is refused.
func removeBridge(b *hostv1.Bridge) error {
	object := "bridge " + b.GetName()
	bridge, err := findLink(b.GetName())
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look it up")
	}
	if bridge == nil || bridge.Type() != "bridge" || bridge.Attrs().Alias != b.GetAlias() {
		return removeVLAN(b)
	}
	ports, err := guestPorts(bridge, portOf(b))
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot list its ports")
	}
	if len(ports) > 0 {
		return errs.New(errs.Refused, object, "it still has ports %s", strings.Join(ports, ", ")).
			WithAdvice("stop the guests that use it first")
	}
	if b.GetUplink() != "" {
		if err := releaseUplink(b); err != nil {
			return errs.Wrap(errs.ClassOf(err), object, err, "cannot give uplink %s back", uplinkOf(b))
		}
	}
	if err := netlink.LinkDel(bridge); err != nil && !errors.Is(err, unix.ENODEV) {
		return errs.Wrap(errs.Internal, object, err, "cannot remove it")
	}
	return nil
}

func guestPorts(bridge netlink.Link, uplink string) ([]string, error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	var ports []string
	for _, l := range links {
		a := l.Attrs()
		if a.MasterIndex == bridge.Attrs().Index && a.Name != uplink && !strings.HasPrefix(a.Alias, legAlias) {
			ports = append(ports, a.Name)
		}
	}
	return ports, nil
}

// moveAddresses moves addresses, then routes, and only then takes the addresses
// off the old device: there is no moment without them. A repeat after a crash
// finishes the move.
func moveAddresses(from, to netlink.Link) error {
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(from, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", from.Attrs().Name, err)
	}
	routes, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL,
			&netlink.Route{LinkIndex: from.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes of %s: %w", from.Attrs().Name, err)
	}
	if err := netlink.LinkSetUp(to); err != nil {
		return fmt.Errorf("bring %s up: %w", to.Attrs().Name, err)
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil {
			continue // each device makes its own
		}
		moved := netlink.Addr{IPNet: a.IPNet, Scope: a.Scope, Peer: a.Peer, Broadcast: a.Broadcast, ValidLft: a.ValidLft, PreferedLft: a.PreferedLft}
		if a.IP.To4() == nil {
			moved.Flags = unix.IFA_F_NODAD // it is still ours on the old device
		}
		if err := netlink.AddrReplace(to, &moved); err != nil {
			return fmt.Errorf("give %s to %s: %w", a.IPNet, to.Attrs().Name, err)
		}
	}
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_KERNEL || r.Type != unix.RTN_UNICAST {
			continue // comes with the address
		}
		r.LinkIndex = to.Attrs().Index
		r.Flags = r.Flags &^ (unix.RTNH_F_LINKDOWN | unix.RTNH_F_DEAD)
		if err := netlink.RouteReplace(&r); err != nil {
			return fmt.Errorf("move route %s to %s: %w", r.Dst, to.Attrs().Name, err)
		}
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil {
			continue
		}
		if err := netlink.AddrDel(from, &netlink.Addr{IPNet: a.IPNet, Peer: a.Peer}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("take %s from %s: %w", a.IPNet, from.Attrs().Name, err)
		}
	}
	return nil
}

// findLink returns nil when there is no such device.
func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	return link, err
}
