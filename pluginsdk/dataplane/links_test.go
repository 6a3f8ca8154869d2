package dataplane

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// within waits for what happens after an event of the kernel.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	begin := time.Now()
	for !done() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("not %s after %s", what, time.Since(begin))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%s after %s", what, time.Since(begin).Round(time.Millisecond))
}

// remembers tells whether the engine has seen a guest's device where it is: it looks
// lookAfter later, and what is broken before that is the hypervisor's to tell (Plug).
func remembers(t *testing.T, e *Engine, device, bridge string) bool {
	t.Helper()
	must(t, e.take(t.Context()))
	defer e.release()
	return e.wires.ports[device] == bridge
}

func isIn(device, bridge string) bool {
	all, err := listLinks()
	return err == nil && all.in(device, bridge)
}

// Whatever is done to a bridge, its guests have their packets, addresses and
// services again, and the machine its own address.
func TestLostBridgeIsMadeAgain(t *testing.T) {
	far := cable(t, "up1", "far1")
	must(t, netlink.AddrAdd(link(t, "up1"), &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 2).To4(), Mask: net.CIDRMask(24, 32)}}))
	_, network, err := net.ParseCIDR("198.51.100.0/24")
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link(t, "up1").Attrs().Index, Dst: network, Gw: net.IPv4(192, 0, 2, 1)}))
	if _, err := in(t, far, "ip", "addr", "add", "192.0.2.1/24", "dev", "far1"); err != nil {
		t.Fatal(err)
	}
	if _, err := in(t, far, "ip", "addr", "add", "10.40.0.1/24", "dev", "far1"); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_up1", "up1"))
	mac, run, ask := guest(t, "g_up1", "br_up1")
	rest := []*hostv1.Fragment{dhcpNetwork("l3", "br_up1"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a"), metadataOf("meta1", "l3", "10.40.0.11", "i-1")}
	apply(t, e, rest...)
	whole := func() bool {
		if !isIn("g_up1", "br_up1") || !isIn("up1", "br_up1") || !isIn(hostLeg("br_up1_l3"), "br_up1") || !hasAddr(t, "br_up1", "192.0.2.2/24") {
			return false
		}
		_, err := run("busybox", "ping", "-c1", "-W1", "10.40.0.1") // a machine on the wire
		return err == nil
	}
	if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
		t.Fatalf("lease %q", l)
	}
	within(t, "plugged in", whole)
	remembered := func() bool {
		if !remembers(t, e, "g_up1", "br_up1") {
			return false
		}
		must(t, e.take(t.Context()))
		defer e.release()
		return len(e.wires.own["br_up1"].addrs) == 1
	}
	for name, harm := range map[string]func(){
		"removed": func() { must(t, netlink.LinkDel(link(t, "br_up1"))) },
		"removed, and made by a reconnect": func() {
			must(t, netlink.LinkDel(link(t, "br_up1")))
			synced, err := e.Sync(t.Context(), "flat", "", append(rest, bridge("l2", "br_up1", "up1")), nil)
			must(t, err)
			if len(synced.Failures) > 0 {
				t.Errorf("failures %v", synced.Failures)
			}
		},
		"brought down":   func() { must(t, netlink.LinkSetDown(link(t, "br_up1"))) },
		"uplink removed": func() { must(t, netlink.LinkSetNoMaster(link(t, "up1"))) },
		"guest cut off":  func() { must(t, netlink.LinkSetNoMaster(link(t, "g_up1"))) },
		"leg removed":    func() { must(t, netlink.LinkDel(link(t, hostLeg("br_up1_l3")))) },
	} {
		within(t, "remembered", remembered)
		harm()
		within(t, name+" and whole again", whole)
		if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
			t.Errorf("%s: lease %q", name, l)
		}
		if out, err := run("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id"); err != nil || out != "i-1" {
			t.Errorf("%s: metadata %q, %v", name, out, err)
		}
		if !hasAddr(t, "br_up1", "192.0.2.2/24") {
			t.Errorf("%s: the machine's address is gone", name)
		}
		if routes, err := netlink.RouteGet(net.IPv4(198, 51, 100, 7)); err != nil || !routes[0].Gw.Equal(net.IPv4(192, 0, 2, 1)) {
			t.Errorf("%s: route %v, %v", name, routes, err)
		}
	}
	// A device that nobody remembers is plugged in by who knows.
	_ = cable(t, "g_lost", "eth0")
	failures, err := e.Plug(t.Context(), []*hostv1.Port{{Device: "g_up1", Bridge: "br_up1"}, {Device: "g_lost", Bridge: "br_up1"},
		{Device: "none", Bridge: "br_up1"}, {Device: "g_lost", Bridge: "none"}})
	if err != nil || len(failures) != 2 || failures[0].Key != "none" || failures[1].Key != "g_lost" || !isIn("g_lost", "br_up1") {
		t.Errorf("failures %v, %v", failures, err)
	}
	// Who took a device to another bridge meant it.
	apply(t, e, bridge("l2b", "br_other", ""))
	must(t, netlink.LinkSetMaster(link(t, "g_up1"), link(t, "br_other")))
	within(t, "remembered there", func() bool {
		must(t, e.take(t.Context()))
		defer e.release()
		return e.wires.ports["g_up1"] == "br_other"
	})
	if !isIn("g_up1", "br_other") {
		t.Error("it was taken back")
	}
}
