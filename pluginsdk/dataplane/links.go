package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file mends what others do to our devices: a restart of the machine's
// network service removes a bridge, takes an uplink out of it or brings it down,
// and cuts off all guests on it. The kernel tells of each change of a device;
// then all are compared with what they should be, and guests' devices are
// plugged in where they were when that was looked at last.

const (
	// lookAfter gathers the changes of one moment.
	lookAfter = 200 * time.Millisecond
	// linkBuffer is for the events of a host that makes many devices at once.
	linkBuffer = 1 << 20
)

// wires is what was plugged in where, at the last look.
type wires struct {
	// ports has the bridge of each guest's device.
	ports map[string]string
	// own has the addresses and routes of each bridge with an uplink.
	own map[string]ownAddresses
}

type ownAddresses struct {
	index  int // of the device that had them
	addrs  []netlink.Addr
	routes []netlink.Route
}

// watchLinks looks at the devices after each change until the engine is closed.
func (e *Engine) watchLinks() {
	for pause := reviveFirst; e.closed.Err() == nil; pause = min(2*pause, reviveLast) {
		begin := time.Now()
		if err := e.followLinks(); err != nil && e.closed.Err() == nil {
			e.log.Warn("changes of devices are followed anew", "error", err)
		}
		if time.Since(begin) > reviveLast {
			pause = reviveFirst
		}
		select {
		case <-time.After(pause):
		case <-e.closed.Done():
		}
	}
}

// followLinks does that until the kernel's messages break off: more came than
// were read.
func (e *Engine) followLinks() error {
	done, failed := make(chan struct{}), make(chan error, 2)
	defer close(done)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	links, addrs := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: fail, ReceiveBufferSize: linkBuffer})
	if err == nil {
		err = netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: fail, ReceiveBufferSize: linkBuffer})
	}
	if err != nil {
		return fmt.Errorf("subscribe to changes of devices: %w", err)
	}
	look := time.NewTimer(0) // what happened before is seen, too
	waiting, pause := true, reviveFirst
	soon := func(d time.Duration) {
		if !waiting {
			waiting = true
			look.Reset(d)
		}
	}
	for {
		select {
		case <-e.closed.Done():
			return nil
		case err := <-failed:
			return err
		case _, open := <-links:
			if !open {
				return errors.New("the messages have ended")
			}
			soon(lookAfter)
		case _, open := <-addrs:
			if !open {
				return errors.New("the messages have ended")
			}
			soon(lookAfter)
		case <-look.C:
			waiting = false
			if err := e.look(); err != nil {
				e.log.Error("the devices are not as they should be", "error", err)
				soon(pause)
				pause = min(2*pause, reviveLast)
			} else {
				pause = reviveFirst
			}
		}
	}
}

// look compares the devices with what they should be and mends them.
func (e *Engine) look() error {
	if e.take(e.closed) != nil {
		return nil
	}
	defer e.release()
	all, err := listLinks()
	if err != nil {
		return err
	}
	var failed error
	lost := map[string]bool{}
	mended := false
	for _, owner := range e.store.owners() {
		have := e.store.set(owner)
		broken := all.broken(have, lost)
		for key := range broken {
			e.log.Warn("a device is not as it should be, making it again", "owner", owner, "key", key)
		}
		did, err := e.restore(owner, have, broken)
		mended, failed = mended || did, errors.Join(failed, err)
	}
	if mended {
		if all, err = listLinks(); err != nil {
			return errors.Join(failed, err)
		}
	}
	replugged, err := e.wires.plug(all)
	for _, name := range replugged {
		e.log.Warn("a guest's device was cut off and is plugged in again", "device", name, "bridge", e.wires.ports[name])
	}
	failed = errors.Join(failed, err)
	for name, own := range e.wires.own {
		// One that is another device now was made by somebody before this look, such as
		// by a reconnect.
		if link := all.byName[name]; lost[name] || link != nil && link.Attrs().Index != own.index {
			failed = errors.Join(failed, own.restore(all, name))
		}
	}
	if failed == nil {
		if len(replugged) > 0 {
			all, failed = listLinks()
		}
		e.wires = all.wires(e.store.sets)
	}
	return failed
}

// links are the machine's devices.
type links struct {
	byName  map[string]netlink.Link
	byIndex map[int]netlink.Link
}

func listLinks() (links, error) {
	all := links{map[string]netlink.Link{}, map[int]netlink.Link{}}
	list, err := whole(netlink.LinkList)
	if err != nil {
		return all, fmt.Errorf("list devices: %w", err)
	}
	for _, l := range list {
		all.byName[l.Attrs().Name], all.byIndex[l.Attrs().Index] = l, l
	}
	return all, nil
}

// in reports whether a device is a port of another.
func (l links) in(name, bridge string) bool {
	device, master := l.byName[name], l.byName[bridge]
	return device != nil && master != nil && device.Attrs().MasterIndex == master.Attrs().Index
}

// broken are the fragments whose devices are not as they should be. Names of
// bridges that are not there, or down, go into lost.
func (l links) broken(have set, lost map[string]bool) set {
	broken, switched := set{}, ovsSwitches{}
	for key, f := range have {
		if b := f.GetBridge(); b != nil {
			link := l.byName[b.GetName()]
			// An uplink that is away is no reason to try for ever.
			away := b.GetUplink() == "" || l.byName[b.GetUplink()] == nil
			if link == nil || link.Attrs().Flags&net.FlagUp == 0 {
				lost[b.GetName()] = true // with it, or its being up, went routes
				broken[key] = f
			} else if !away && !l.in(portOf(b), b.GetName()) {
				broken[key] = f
			} else if !away && b.GetVlanId() != 0 && l.byName[portOf(b)].Type() != "vlan" && !switched.has(b.GetUplink()) {
				broken[key] = f
			}
		}
		if n := f.GetDhcpNetwork(); n != nil && !l.in(hostLeg(n.GetNamespace()), n.GetBridge()) {
			broken[key] = f
		}
	}
	return broken
}

// wires is what is plugged in where now.
func (l links) wires(sets map[string]set) wires {
	w := wires{ports: map[string]string{}, own: map[string]ownAddresses{}}
	uplinks := map[string]string{} // by bridge
	for _, s := range sets {
		for _, f := range s {
			if b := f.GetBridge(); b != nil {
				uplinks[b.GetName()] = portOf(b)
			}
		}
	}
	for name, link := range l.byName {
		master := l.byIndex[link.Attrs().MasterIndex]
		if master == nil || strings.HasPrefix(link.Attrs().Alias, legAlias) {
			continue
		}
		if uplink, ours := uplinks[master.Attrs().Name]; ours && name != uplink {
			w.ports[name] = master.Attrs().Name
		}
	}
	for bridge, uplink := range uplinks {
		if link := l.byName[bridge]; link != nil && uplink != "" {
			w.own[bridge] = addressesOf(link)
		}
	}
	return w
}

// plug plugs devices in that were ports and are none now; one that has another
// master, or is gone, is somebody's wish.
func (w wires) plug(all links) (plugged []string, failed error) {
	for name, bridge := range w.ports {
		link, master := all.byName[name], all.byName[bridge]
		if link == nil || master == nil || link.Attrs().MasterIndex != 0 {
			continue
		}
		if err := netlink.LinkSetMaster(link, master); err != nil && !errors.Is(err, unix.ENODEV) {
			failed = errors.Join(failed, fmt.Errorf("plug %s into %s: %w", name, bridge, err))
			continue
		}
		plugged = append(plugged, name)
	}
	return plugged, failed
}

// addressesOf reads the addresses and routes that somebody gave a device for
// good; what cannot be read, or has an end, is not remembered.
func addressesOf(link netlink.Link) ownAddresses {
	own := ownAddresses{index: link.Attrs().Index}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return own
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_PERMANENT != 0 {
			own.addrs = append(own.addrs, netlink.Addr{IPNet: a.IPNet, Scope: a.Scope, Peer: a.Peer, Broadcast: a.Broadcast})
		}
	}
	routes, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return own
	}
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_KERNEL && r.Type == unix.RTN_UNICAST {
			own.routes = append(own.routes, r)
		}
	}
	return own
}

// restore gives a bridge that was made anew, or is up again, what it had before,
// unless somebody has given it other addresses meanwhile.
func (o ownAddresses) restore(all links, bridge string) error {
	link := all.byName[bridge]
	if link == nil || len(o.addrs) == 0 {
		return nil
	}
	present, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return err
	}
	has := func(a netlink.Addr) bool {
		return slices.ContainsFunc(present, func(p netlink.Addr) bool { return p.IPNet.String() == a.IPNet.String() })
	}
	if len(present) > 0 && !has(o.addrs[0]) {
		return nil
	}
	for _, a := range o.addrs {
		if has(a) {
			continue
		}
		if err := netlink.AddrReplace(link, &a); err != nil {
			return fmt.Errorf("give %s back to %s: %w", a.IPNet, bridge, err)
		}
	}
	for _, r := range o.routes {
		r.LinkIndex = link.Attrs().Index
		r.Flags &^= unix.RTNH_F_LINKDOWN | unix.RTNH_F_DEAD
		if err := netlink.RouteReplace(&r); err != nil {
			return fmt.Errorf("give the route to %s back to %s: %w", r.Dst, bridge, err)
		}
	}
	return nil
}

// Plug makes devices ports of bridges of ours, as a hypervisor says that they
// are; what is so already stays. It returns the keys (devices) that it could not
// plug in, and why.
func (e *Engine) Plug(ctx context.Context, ports []*hostv1.Port) ([]Failure, error) {
	if err := e.take(ctx); err != nil {
		return nil, err
	}
	defer e.release()
	all, err := listLinks()
	if err != nil {
		return nil, err
	}
	var failures []Failure
	for _, p := range ports {
		link, bridge := all.byName[p.GetDevice()], all.byName[p.GetBridge()]
		switch {
		case all.in(p.GetDevice(), p.GetBridge()):
			continue
		case link == nil:
			err = fmt.Errorf("the host has no device %s", p.GetDevice())
		case bridge == nil || bridge.Type() != "bridge":
			err = fmt.Errorf("the host has no bridge %s", p.GetBridge())
		default:
			if err = netlink.LinkSetMaster(link, bridge); err == nil {
				e.log.Warn("a guest's device was cut off and is plugged in again", "device", p.GetDevice(), "bridge", p.GetBridge())
				continue
			}
		}
		failures = append(failures, Failure{p.GetDevice(), err})
	}
	return failures, nil
}
