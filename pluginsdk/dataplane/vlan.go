package dataplane

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file gives a bridge a VLAN of its uplink: a device of ours that adds the tag
// to what leaves the bridge and takes it from what comes in. It is the bridge's only
// port on the wire, so that nobody else has to know of tags. Where the kernel has no
// IEEE 802.1Q, Open vSwitch does that (openvswitch.go).

const maxVLAN = 4094 // 4095 is reserved (IEEE 802.1Q, table 9-2)

// vlanAlias marks the devices of this file.
const vlanAlias = "kumo:vlan:"

// uplinkOf names what a bridge has of its uplink, for people.
func uplinkOf(b *hostv1.Bridge) string {
	if b.GetVlanId() == 0 {
		return b.GetUplink()
	}
	return b.GetUplink() + " VLAN " + strconv.Itoa(int(b.GetVlanId()))
}

// portOf is the device on the wire that is a port of the bridge: the uplink, or the
// device of its VLAN; "" for a bridge without an uplink.
func portOf(b *hostv1.Bridge) string {
	if b.GetVlanId() == 0 || b.GetUplink() == "" {
		return b.GetUplink()
	}
	return hashedName("kv", uplinkOf(b))
}

// ensureVLAN makes the device of a bridge's VLAN. A bridge without one needs nothing.
func ensureVLAN(b *hostv1.Bridge, undo *undoList) error {
	if b.GetVlanId() == 0 {
		return nil
	}
	object := "bridge " + b.GetName()
	uplink, err := findLink(b.GetUplink())
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look up uplink %s", b.GetUplink())
	}
	if uplink == nil {
		return noUplink(b)
	}
	if err := netlink.LinkSetUp(uplink); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot bring %s up", b.GetUplink())
	}
	tags, err := kernelTags()
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot find out whether the kernel has VLANs")
	}
	if !tags {
		return ensureOVSPort(b, uplink, undo)
	}
	if err := ensureVLANDevice(b, uplink, undo); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot make VLAN %d of %s", b.GetVlanId(), b.GetUplink())
	}
	return nil
}

// kernelTags reports whether the kernel makes VLAN devices. One without a device
// below it is refused in any case: what cannot make them says that it does not know
// such devices, whatever the hardware.
func kernelTags() (bool, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "kvprobe"
	err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 1, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case errors.Is(err, unix.EINVAL):
		return true, nil
	case err == nil:
		return true, errors.New("the kernel has made a VLAN of nothing")
	}
	return false, err
}

func ensureVLANDevice(b *hostv1.Bridge, uplink netlink.Link, undo *undoList) error {
	name, alias := portOf(b), vlanAlias+uplinkOf(b)
	link, err := findLink(name)
	if err != nil {
		return err
	}
	if link != nil {
		v, is := link.(*netlink.Vlan)
		if is && v.VlanId == int(b.GetVlanId()) && link.Attrs().ParentIndex == uplink.Attrs().Index && link.Attrs().Alias == alias {
			return nil
		}
		if err := removeVLAN(b); err != nil { // of a crash, or of a kernel without VLANs
			return err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, uplink.Attrs().Index
	v := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(b.GetVlanId()), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	undo.add(func() error { return removeVLAN(b) })
	// The kernel takes the mark only now; one without is made again.
	if link, err = netlink.LinkByName(name); err == nil {
		err = netlink.LinkSetAlias(link, alias)
	}
	return err
}

// removeVLAN removes the device of a bridge's VLAN; gone, and another's device of that
// name, are a success.
func removeVLAN(b *hostv1.Bridge) error {
	if b.GetVlanId() == 0 {
		return nil
	}
	link, err := findLink(portOf(b))
	if err != nil {
		return err
	}
	if link != nil && link.Type() == "vlan" {
		if alias := link.Attrs().Alias; alias != "" && alias != vlanAlias+uplinkOf(b) {
			return nil
		}
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove %s: %w", portOf(b), err)
		}
		return nil
	}
	tags, err := kernelTags()
	if err != nil || tags && link == nil {
		return err
	}
	return removeOVSPort(b, true)
}

func noUplink(b *hostv1.Bridge) error {
	return errs.New(errs.Invalid, "bridge "+b.GetName(), "the host has no device %s", b.GetUplink()).
		WithAdvice("give the name of a network device that every host of the cluster has")
}
