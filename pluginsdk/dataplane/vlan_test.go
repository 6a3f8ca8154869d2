package dataplane

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// vlan is a bridge of a VLAN of an uplink.
func vlan(key, name, uplink string, id int32) *hostv1.Fragment {
	f := bridge(key, name, uplink)
	f.GetBridge().VlanId = id
	return f
}

// sides are two hosts' interfaces, up-a and up-b, on a switch that passes tags; the
// switch is a namespace, where each cable's end has the interface's name.
func sides(t *testing.T) (theSwitch netns.NsHandle) {
	t.Helper()
	theSwitch, err := ensureNamespace("t-switch")
	must(t, err)
	t.Cleanup(func() {
		must(t, theSwitch.Close())
		must(t, removeNamespace("t-switch"))
	})
	sw := func(args ...string) {
		t.Helper()
		if out, err := in(t, theSwitch, append([]string{"ip"}, args...)...); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	sw("link", "add", "sw", "type", "bridge")
	sw("link", "set", "sw", "up")
	for _, name := range []string{"up-a", "up-b"} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(int(theSwitch))}))
		t.Cleanup(func() {
			if l, err := netlink.LinkByName(name); err == nil {
				must(t, netlink.LinkDel(l))
			}
		})
		must(t, netlink.LinkSetUp(link(t, name)))
		sw("link", "set", name, "master", "sw", "up")
	}
	return theSwitch
}

// plugIn plugs a guest with an address into a bridge.
func plugIn(t *testing.T, name, bridge, address string) netns.NsHandle {
	t.Helper()
	ns := cable(t, name, "eth0")
	must(t, netlink.LinkSetMaster(link(t, name), link(t, bridge)))
	if out, err := in(t, ns, "ip", "addr", "add", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(out)
	}
	return ns
}

func reaches(t *testing.T, ns netns.NsHandle, address string) bool {
	t.Helper()
	_, err := in(t, ns, "busybox", "ping", "-c", "1", "-W", "3", address)
	return err == nil
}

func silentTo(t *testing.T, ns netns.NsHandle, address string) bool {
	t.Helper()
	_, err := in(t, ns, "busybox", "ping", "-c", "2", "-W", "1", address)
	return err != nil
}

// inSwitch is what Open vSwitch has of ours.
func inSwitch(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ovs-vsctl", "--timeout=10", "show").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Guests of one VLAN reach each other over a trunk and no others; what is on the wire
// is tagged; an untagged network has the same interfaces, whichever came first, and
// stays whole whichever goes first.
func TestVLANsOnAWire(t *testing.T) {
	rig.StartOpenVSwitch(t)
	for name, untaggedFirst := range map[string]bool{"untagged first": true, "untagged last": false} {
		t.Run(name, func(t *testing.T) {
			theSwitch := sides(t)
			e := openEngine(t, stateFolder(t))
			purge(t, e)
			plain := []*hostv1.Fragment{bridge("plain-a", "br_a", "up-a"), bridge("plain-b", "br_b", "up-b")}
			tagged := []*hostv1.Fragment{vlan("a100", "br_a_100", "up-a", 100), vlan("b100", "br_b_100", "up-b", 100), vlan("b200", "br_b_200", "up-b", 200)}
			if untaggedFirst {
				apply(t, e, plain...)
			}
			for range 2 {
				apply(t, e, tagged...)
			}
			if !untaggedFirst {
				apply(t, e, plain...)
			}
			a, b := plugIn(t, "g-a100", "br_a_100", "10.1.0.1"), plugIn(t, "g-b100", "br_b_100", "10.1.0.2")
			plugIn(t, "g-b200", "br_b_200", "10.1.0.3")
			pa, pb := plugIn(t, "g-a", "br_a", "10.1.0.4"), plugIn(t, "g-b", "br_b", "10.1.0.5")
			wire := listen(t, theSwitch, "up-a", "vlan 100 and icmp")
			if !reaches(t, a, "10.1.0.2") || !reaches(t, b, "10.1.0.1") {
				t.Error("guests of one VLAN do not reach each other: " + inSwitch(t))
			}
			if seen := <-wire; !strings.Contains(seen, "vlan 100") {
				t.Errorf("on the wire there is %q", seen)
			}
			if !reaches(t, pa, "10.1.0.5") {
				t.Error("guests of the untagged network do not reach each other")
			}
			for _, address := range []string{"10.1.0.3", "10.1.0.4", "10.1.0.5"} {
				if !silentTo(t, a, address) {
					t.Errorf("%s answers to a guest of VLAN 100", address)
				}
			}
			transfers(t, a, b, "10.1.0.2")

			unplug := func(names ...string) {
				for _, name := range names {
					must(t, netlink.LinkDel(link(t, name)))
				}
			}
			if untaggedFirst {
				unplug("g-a", "g-b")
				must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"plain-a", "plain-b"}))
				if !reaches(t, a, "10.1.0.2") {
					t.Error("without the untagged network the VLAN is broken")
				}
				return
			}
			unplug("g-a100", "g-b100", "g-b200")
			must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"a100", "b100", "b200"}))
			if !reaches(t, pb, "10.1.0.4") {
				t.Error("without the VLANs the untagged network is broken")
			}
			if left := inSwitch(t); strings.Contains(left, "Bridge") {
				t.Errorf("left in Open vSwitch: %s", left)
			}
		})
	}
}

// listen tells of the first frame on a device that fits the filter.
func listen(t *testing.T, ns netns.NsHandle, device, filter string) <-chan string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tcpdump", "-c", "1", "-nn", "-e", "-l", "--immediate-mode", "-i", device, filter)
	var out strings.Builder
	said, err := cmd.StderrPipe()
	must(t, err)
	cmd.Stdout = &out
	must(t, inNamespace(ns, cmd.Start))
	ready := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "listening on"); {
		n, err := said.Read(ready)
		must(t, err)
		text += string(ready[:n])
	}
	seen := make(chan string, 1)
	go func() {
		stop := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // the test then sees nothing
		_ = cmd.Wait()
		stop.Stop()
		seen <- out.String()
	}()
	return seen
}

// transfers sends some megabytes by TCP: with wrong checksums, or frames that were put
// together, it would come to nothing.
func transfers(t *testing.T, from, to netns.NsHandle, address string) {
	t.Helper()
	const size = 4 << 20
	server := exec.CommandContext(t.Context(), "busybox", "nc", "-l", "-p", "7000")
	var got strings.Builder
	server.Stdout = &got
	input, err := server.StdinPipe() // at its end the server would stop to listen
	must(t, err)
	defer func() { _ = input.Close() }() // Wait may have closed it
	must(t, inNamespace(to, server.Start))
	send := fmt.Sprintf("for i in 1 2 3 4 5 6 7 8 9 10; do head -c %d /dev/zero | busybox nc -w 5 %s 7000 && exit 0; sleep 0.1; done; exit 1", size, address)
	if out, err := in(t, from, "sh", "-c", send); err != nil {
		t.Errorf("TCP: %v: %s", err, out)
		_ = server.Process.Kill() // it waits for a client that does not come
	}
	_ = server.Wait()
	if got.Len() != size {
		t.Errorf("of %d bytes %d arrived", size, got.Len())
	}
}

// What others break of a VLAN is made again: its device, its place, the uplink's port.
func TestVLANIsRepaired(t *testing.T) {
	rig.StartOpenVSwitch(t)
	sides(t)
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, vlan("a7", "br_a_7", "up-a", 7), vlan("b7", "br_b_7", "up-b", 7))
	a := plugIn(t, "g-a7", "br_a_7", "10.1.0.1")
	plugIn(t, "g-b7", "br_b_7", "10.1.0.2")
	port := portOf(vlan("", "", "up-a", 7).GetBridge())
	run := func(args ...string) func() {
		return func() {
			t.Helper()
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
	}
	for name, harm := range map[string]func(){
		"port taken out of the bridge":   run("ip", "link", "set", port, "nomaster"),
		"port removed from the switch":   run("ovs-vsctl", "del-port", ovsBridge("up-a"), port),
		"uplink removed from the switch": run("ovs-vsctl", "del-port", ovsBridge("up-a"), "up-a"),
		"switch removed":                 run("ovs-vsctl", "del-br", ovsBridge("up-a")),
		"bridge removed":                 run("ip", "link", "del", "br_a_7"),
		"switch started again": func() {
			run("ovs-appctl", "-t", "ovs-vswitchd", "exit")()
			run("ovs-vswitchd", "--pidfile", "--detach", "--no-chdir", "--log-file=/run/openvswitch/vswitchd.log")()
		},
	} {
		within(t, "remembered", func() bool { return remembers(t, e, "g-a7", "br_a_7") })
		harm()
		within(t, name+": guests reach each other again", func() bool { return reaches(t, a, "10.1.0.2") })
	}
}

// Without anybody who can tag frames a VLAN is refused with advice and leaves nothing,
// and the next network on the interface is not in its way.
func TestVLANNeedsASwitch(t *testing.T) {
	sides(t)
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	want := func(word string) {
		t.Helper()
		err := e.Apply(t.Context(), "flat", Revisions{}, []*hostv1.Fragment{vlan("a7", "br_a_7", "up-a", 7)}, nil)
		if errs.ClassOf(err) != errs.Unavailable {
			t.Fatalf("class %s: %v", errs.ClassOf(err), err)
		}
		for _, part := range []string{"br_a_7", "8021q", word, "install openvswitch-switch"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %s", err, part)
			}
		}
		if l, err := netlink.LinkByName("br_a_7"); err == nil {
			t.Errorf("left: %v", l)
		}
	}
	want("Open vSwitch does not answer")
	t.Setenv("PATH", "/nowhere")
	want("Open vSwitch is not installed")
	apply(t, e, bridge("plain", "br_a", "up-a"))
}

// A VLAN and the interface are used once each; receive offload is given back.
func TestVLANsOfAnInterface(t *testing.T) {
	rig.StartOpenVSwitch(t)
	sides(t)
	must(t, mergeFrames("up-a", true))
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, vlan("a7", "br_a_7", "up-a", 7))
	err := e.Apply(t.Context(), "flat", Revisions{}, []*hostv1.Fragment{vlan("again", "br_again", "up-a", 7)}, nil)
	if errs.ClassOf(err) != errs.Exists || !strings.Contains(err.Error(), "uplink up-a VLAN 7 is already used") {
		t.Errorf("a VLAN twice: %v", err)
	}
	for _, bad := range []*hostv1.Fragment{vlan("x", "br_x", "up-a", -1), vlan("x", "br_x", "up-a", 4095), vlan("x", "br_x", "", 7)} {
		if err := CheckFragment(bad); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if on, err := mergesFrames("up-a"); err != nil || on {
		t.Errorf("receive offload is on: %v", err)
	}
	apply(t, e, vlan("a7", "br_a_7", "up-a", 8)) // another VLAN for the bridge
	if ports := inSwitch(t); strings.Contains(ports, "tag: 7") || !strings.Contains(ports, "tag: 8") {
		t.Errorf("after a change there is %s", ports)
	}
	must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"a7"}))
	if on, err := mergesFrames("up-a"); err != nil || !on {
		t.Errorf("receive offload is not given back: %v", err)
	}
	if left := inSwitch(t); strings.Contains(left, "Bridge") {
		t.Errorf("left in Open vSwitch: %s", left)
	}
}
