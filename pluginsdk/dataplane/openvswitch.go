package dataplane

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file has Open vSwitch tag frames where the kernel cannot. Each uplink has an
// Open vSwitch bridge of ours in userspace (datapath netdev), with the uplink as its
// trunk port and an internal port for each VLAN, which is the port of the Linux bridge
// of that VLAN. The userspace datapath reads and writes the uplink by a packet socket:
// it takes the uplink from nobody, so that it can be a port of a Linux bridge as well,
// whichever comes or goes first.

// ovsTimeout bounds a call of ovs-vsctl, which waits until the switch has done it.
const ovsTimeout = 10 * time.Second

// ovsMark is the key in external_ids that marks what is ours, with the uplink's name.
// ovsMerged tells that the uplink's receive offload was on before.
const (
	ovsMark   = "kumo-uplink"
	ovsMerged = "kumo-gro"
)

// ovsBridge names the Open vSwitch bridge of an uplink.
func ovsBridge(uplink string) string { return hashedName("ko", uplink) }

// ovs calls ovs-vsctl. Errors: Unavailable without a running Open vSwitch.
func ovs(object string, args ...string) (string, error) {
	program, err := exec.LookPath("ovs-vsctl")
	if err != nil {
		return "", noTags(object, "Open vSwitch is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), ovsTimeout+time.Second)
	defer cancel()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, append([]string{"--no-syslog", "--timeout=" + strconv.Itoa(int(ovsTimeout.Seconds()))}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	reason := strings.TrimSpace(said.String())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return strings.TrimSpace(out.String()), nil
	case strings.Contains(reason, "database connection failed"), errors.As(err, &exit) && exit.ExitCode() < 0:
		return "", noTags(object, "Open vSwitch does not answer: "+quote(reason))
	}
	return "", errs.Wrap(errs.Refused, object, err, "Open vSwitch refused it: %s", quote(reason))
}

// noTags says that nobody can tag frames, and what to do about it.
func noTags(object, why string) error {
	return errs.New(errs.Unavailable, object, "the kernel has no VLANs (module 8021q), and %s", why).
		WithAdvice("load the module 8021q on the host, or install openvswitch-switch there and start it; then reconnect the host")
}

// ensureOVSPort makes the port of a bridge's VLAN, and all that it needs. It can be
// repeated.
func ensureOVSPort(b *hostv1.Bridge, uplink netlink.Link, undo *undoList) error {
	object, bridge, port := "bridge "+b.GetName(), ovsBridge(b.GetUplink()), portOf(b)
	link, err := findLink(port)
	if err == nil && link != nil && link.Type() == "vlan" { // of a kernel that had VLANs
		err, link = removeVLAN(b), nil
	}
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look up %s", port)
	}
	if _, err := ovs(object, "list-br"); err != nil {
		return err
	}
	if link == nil {
		undo.add(func() error { return removeOVSPort(b, false) })
	}
	mark := "external_ids:" + ovsMark + "=" + b.GetUplink()
	if _, err := ovs(object,
		"--may-exist", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", mark,
		"--", "--may-exist", "add-port", bridge, b.GetUplink(),
		"--", "--may-exist", "add-port", bridge, port,
		"--", "set", "port", port, "tag="+strconv.Itoa(int(b.GetVlanId())),
		"--", "set", "interface", port, "type=internal", mark, "mtu_request="+strconv.Itoa(uplink.Attrs().MTU)); err != nil {
		return err
	}
	if link, err = findLink(port); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look up %s", port)
	}
	if link == nil {
		why, _ := ovs(object, "get", "interface", port, "error") // only to tell why
		return errs.New(errs.Unavailable, object, "Open vSwitch has not made %s: %s", port, quote(why)).WithAdvice("see the log of ovs-vswitchd on the host")
	}
	return ovsKeepFrames(object, bridge, b.GetUplink())
}

// ovsKeepFrames has the kernel hand over the uplink's frames as they came: what it puts
// together of several is too long for the switch. The switch notes that it was on.
func ovsKeepFrames(object, bridge, uplink string) error {
	on, err := mergesFrames(uplink)
	if err == nil && on {
		if _, err = ovs(object, "set", "bridge", bridge, "external_ids:"+ovsMerged+"=on"); err == nil {
			err = mergeFrames(uplink, false)
		}
	}
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), object, err, "cannot turn off receive offload of %s", uplink)
	}
	return nil
}

// ovsSwitches are uplinks, and whether they are in their switch: what one look at all
// devices has found out.
type ovsSwitches map[string]bool

// has tells whether an uplink is in its switch. What cannot be found out is taken for
// whole: another look would find out no more.
func (o ovsSwitches) has(uplink string) bool {
	if _, known := o[uplink]; !known {
		ports, err := ovs("uplink "+uplink, "list-ports", ovsBridge(uplink))
		o[uplink] = err != nil || slices.Contains(strings.Fields(ports), uplink)
	}
	return o[uplink]
}

// removeOVSPort removes the port of a bridge's VLAN and, with the last one, the Open
// vSwitch bridge. What is gone, or not ours, is a success. wait is for what the switch
// has made; without, it is enough that it will not be made.
func removeOVSPort(b *hostv1.Bridge, wait bool) error {
	object, bridge, port := "bridge "+b.GetName(), ovsBridge(b.GetUplink()), portOf(b)
	if _, err := exec.LookPath("ovs-vsctl"); err != nil {
		return nil // with it went what it had
	}
	change := func(args ...string) error {
		if !wait {
			args = append([]string{"--no-wait"}, args...)
		}
		_, err := ovs(object, args...)
		return err
	}
	bridges, err := ovs(object, "list-br")
	if err != nil || !slices.Contains(strings.Fields(bridges), bridge) {
		return err
	}
	if err := change("--if-exists", "del-port", bridge, port); err != nil {
		return err
	}
	ports, err := ovs(object, "list-ports", bridge)
	if err != nil || slices.ContainsFunc(strings.Fields(ports), func(name string) bool { return name != b.GetUplink() }) {
		return err
	}
	merged, err := ovs(object, "--if-exists", "get", "bridge", bridge, "external_ids:"+ovsMerged)
	if err == nil {
		err = change("--if-exists", "del-br", bridge)
	}
	if err != nil || strings.Trim(merged, `"`) != "on" {
		return err
	}
	if uplink, err := findLink(b.GetUplink()); err != nil || uplink == nil {
		return err
	}
	return mergeFrames(b.GetUplink(), true)
}
