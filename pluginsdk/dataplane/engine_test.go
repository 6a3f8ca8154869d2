package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

func hasAddr(t *testing.T, dev, cidr string) bool {
	t.Helper()
	addrs, err := netlink.AddrList(link(t, dev), netlink.FAMILY_ALL)
	must(t, err)
	for _, a := range addrs {
		if a.IPNet.String() == cidr {
			return true
		}
	}
	return false
}

func defaultDevice(t *testing.T) string {
	t.Helper()
	routes, err := netlink.RouteGet(net.ParseIP("203.0.113.7"))
	must(t, err)
	l, err := netlink.LinkByIndex(routes[0].LinkIndex)
	must(t, err)
	return l.Attrs().Name
}

func TestBridgeMovesTheUplinksAddressesAndBack(t *testing.T) {
	ns := cable(t, "up0", "far0")
	uplink := link(t, "up0")
	must(t, netlink.AddrAdd(uplink, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 2).To4(), Mask: net.CIDRMask(24, 32)}}))
	must(t, netlink.AddrAdd(uplink, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("2001:db8::2"), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}))
	_, everything, err := net.ParseCIDR("0.0.0.0/0")
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: uplink.Attrs().Index, Dst: everything, Gw: net.IPv4(192, 0, 2, 1)}))
	_, err = in(t, ns, "ip", "addr", "add", "192.0.2.1/24", "dev", "far0")
	must(t, err)

	e := openEngine(t, stateFolder(t))
	purge(t, e)
	for range 2 { // a repeat changes nothing
		apply(t, e, bridge("l2", "br_up0", "up0"))
		if !hasAddr(t, "br_up0", "192.0.2.2/24") || hasAddr(t, "up0", "192.0.2.2/24") || !hasAddr(t, "br_up0", "2001:db8::2/64") {
			t.Fatal("the addresses did not move to the bridge")
		}
		if dev := defaultDevice(t); dev != "br_up0" {
			t.Fatalf("the default route is on %s", dev)
		}
		if out, err := in(t, ns, "busybox", "ping", "-c1", "-W2", "192.0.2.2"); err != nil {
			t.Fatalf("the host is not reachable through the bridge: %s", out)
		}
	}
	must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"l2"}))
	must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"l2"}))
	if l, err := findLink("br_up0"); l != nil || err != nil {
		t.Fatalf("the bridge is still there: %v %v", l, err)
	}
	if !hasAddr(t, "up0", "192.0.2.2/24") || !hasAddr(t, "up0", "2001:db8::2/64") || defaultDevice(t) != "up0" {
		t.Fatal("addresses and routes did not come back to the uplink")
	}
}

func TestBridgeOfAnotherIsLeftAlone(t *testing.T) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br_theirs"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	t.Cleanup(func() { must(t, netlink.LinkDel(link(t, "br_theirs"))) })
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	err := e.Apply(t.Context(), "flat", Revisions{}, []*hostv1.Fragment{bridge("l2", "br_theirs", "")}, nil)
	if !errors.Is(err, errs.Refused) {
		t.Fatalf("got %v", err)
	}
	if len(e.store.sets["flat"]) != 0 {
		t.Fatal("a refused fragment was kept")
	}
	must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{"l2"}))
	link(t, "br_theirs")
}

func TestBridgeWithMissingUplinkLeavesNothing(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	err := e.Apply(t.Context(), "flat", Revisions{}, []*hostv1.Fragment{bridge("l2", "br_none", "none0")}, nil)
	if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "none0") {
		t.Fatalf("got %v", err)
	}
	if l, _ := findLink("br_none"); l != nil {
		t.Fatal("the bridge was left behind")
	}
}

// guest is a machine on the bridge: a namespace with one device.
func guest(t *testing.T, near, bridgeName string) (mac net.HardwareAddr, run func(args ...string) (string, error), ask func() string) {
	t.Helper()
	ns := cable(t, near, "eth0")
	must(t, netlink.LinkSetMaster(link(t, near), link(t, bridgeName)))
	must(t, inNamespace(ns, func() error {
		l, err := netlink.LinkByName("eth0")
		if err == nil {
			mac = slices.Clone(l.Attrs().HardwareAddr)
			mac[0] = 0x52 // Linux draws some that no guest may have
			err = netlink.LinkSetHardwareAddr(l, mac)
		}
		return err
	}))
	return mac, func(args ...string) (string, error) { return in(t, ns, args...) }, func() string { return lease(t, ns, "eth0") }
}

func expect(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

func TestNetworkServesDHCPNamesAndMetadata(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	apply(t, e, bridge("l2", "br_a", ""))
	mac1, run1, ask1 := guest(t, "g1", "br_a")
	mac2, run2, ask2 := guest(t, "g2", "br_a")
	purge(t, e)
	t.Cleanup(func() {
		must(t, netlink.LinkSetNoMaster(link(t, "g1")))
		must(t, netlink.LinkSetNoMaster(link(t, "g2")))
	})
	apply(t, e, dhcpNetwork("l3", "br_a"), bindingOf("nic1", "l3", mac1, "10.40.0.11", "web-1"), metadataOf("vm1", "l3", "10.40.0.11", "i-1"))
	first := e.networks["br_a_l3"].dnsmasq.pid

	expect(t, ask1(), "ip=10.40.0.11", "router=10.40.0.1", "dns=10.40.0.2", "mtu=1450", "hostname=web-1", "domain=cloud.test",
		"staticroutes=169.254.169.254/32 10.40.0.2 172.16.0.0/16 10.40.0.9 0.0.0.0/0 10.40.0.1")
	if got := ask2(); got != "" {
		t.Fatalf("a guest without a binding got %s", got)
	}
	// A new binding and new metadata need no restart.
	apply(t, e, bindingOf("nic2", "l3", mac2, "10.40.0.12", "db-1"), metadataOf("vm2", "l3", "10.40.0.12", "i-2"))
	expect(t, ask2(), "ip=10.40.0.12")
	if pid := e.networks["br_a_l3"].dnsmasq.pid; pid != first {
		t.Error("dnsmasq was started again for a new binding")
	}
	out, _ := run1("busybox", "nslookup", "db-1.cloud.test", "10.40.0.2")
	expect(t, out, "10.40.0.12")
	for page, want := range map[string]string{
		"": "latest", "2009-04-04/": "meta-data/", "latest/meta-data/": "instance-id", "latest/meta-data/instance-id": "i-1",
		"latest/meta-data/local-hostname": "web-1", "latest/meta-data/public-keys/": "0=key-0",
		"latest/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA one", "latest/user-data": "echo i-1",
	} {
		out, err := run1("busybox", "wget", "-q", "-O-", "http://169.254.169.254/"+page)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("page %q: %v %q", page, err, out)
		}
	}
	// The same question from another address has another answer.
	out, _ = run2("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id")
	expect(t, out, "i-2")

	// An address that changes hands is leased to its new owner.
	must(t, e.Apply(t.Context(), "flat", Revisions{}, []*hostv1.Fragment{bindingOf("nic3", "l3", mac2, "10.40.0.11", "new")}, []string{"nic1", "nic2", "vm1"}))
	expect(t, ask2(), "ip=10.40.0.11")
	if got := ask1(); got != "" {
		t.Errorf("the guest whose binding went got %s", got)
	}
	if out, err := run2("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id"); err == nil {
		t.Errorf("metadata that was removed is served: %s", out)
	}
}

// An agent that missed a release still has the binding of a guest that is gone;
// the next owner of its address or MAC must get them.
func TestNewerBindingEvictsTheOlder(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	apply(t, e, bridge("l2", "br_g", ""))
	mac1, _, ask1 := guest(t, "g4", "br_g")
	mac2, run2, ask2 := guest(t, "g5", "br_g")
	apply(t, e, dhcpNetwork("l3", "br_g"), bindingOf("old", "l3", mac1, "10.40.0.11", "old"), metadataOf("old-meta", "l3", "10.40.0.11", "i-old"),
		bindingOf("stays", "l3", net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}, "10.40.0.19", "stays"))
	expect(t, ask1(), "ip=10.40.0.11")

	apply(t, e, bindingOf("new", "l3", mac2, "10.40.0.11", "new"), metadataOf("new-meta", "l3", "10.40.0.11", "i-new"))
	expect(t, ask2(), "ip=10.40.0.11")
	if got := ask1(); got != "" {
		t.Errorf("the guest that was evicted got %s", got)
	}
	out, _ := run2("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id")
	expect(t, out, "i-new")

	// The same MAC in another NIC, written in another way.
	moved := bindingOf("moved", "l3", mac2, "10.40.0.12", "moved")
	moved.GetDhcpBinding().Mac = strings.ToUpper(moved.GetDhcpBinding().GetMac())
	apply(t, e, moved)
	expect(t, ask2(), "ip=10.40.0.12")

	// What was evicted does not come back with a new agent.
	must(t, e.Close())
	e = openEngine(t, folder)
	purge(t, e)
	t.Cleanup(func() {
		must(t, netlink.LinkSetNoMaster(link(t, "g4")))
		must(t, netlink.LinkSetNoMaster(link(t, "g5")))
	})
	keys := strings.Join(e.store.set("flat").sortedKeys(), " ")
	if keys != "l2 l3 moved new-meta stays" {
		t.Errorf("the agent has %s", keys)
	}
}

func TestAgentThatStartsAgainTakesOver(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	apply(t, e, bridge("l2", "br_b", ""))
	mac, run, ask := guest(t, "g3", "br_b")
	apply(t, e, dhcpNetwork("l3", "br_b"), bindingOf("nic1", "l3", mac, "10.40.0.11", "web-1"), metadataOf("vm1", "l3", "10.40.0.11", "i-1"))
	pid := e.networks["br_b_l3"].dnsmasq.pid
	must(t, e.Close())
	expect(t, ask(), "ip=10.40.0.11") // DHCP goes on without an agent

	e = openEngine(t, folder)
	purge(t, e)
	t.Cleanup(func() { must(t, netlink.LinkSetNoMaster(link(t, "g3"))) })
	if got := e.networks["br_b_l3"].dnsmasq.pid; got != pid {
		t.Fatalf("dnsmasq %d was not taken over, %d runs", pid, got)
	}
	out, err := run("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id")
	if err != nil || out != "i-1" {
		t.Fatalf("metadata after the restart: %v %q", err, out)
	}
	// A dnsmasq that dies is started again.
	must(t, e.networks["br_b_l3"].dnsmasq.signal(unix.SIGKILL))
	deadline := time.Now().Add(10 * time.Second)
	for ask() == "" {
		if time.Now().After(deadline) {
			t.Fatal("dnsmasq was not started again")
		}
	}
}

func TestSyncRemovesWhatIsNotThere(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	purge(t, e)
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	apply(t, e, bridge("l2", "br_c", ""), dhcpNetwork("l3", "br_c"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a"))
	must(t, e.Apply(t.Context(), "other", Revisions{}, []*hostv1.Fragment{bridge("l2", "br_d", "")}, nil))
	pid := e.networks["br_c_l3"].dnsmasq.pid
	synced, err := e.Sync(t.Context(), "flat", "", []*hostv1.Fragment{bridge("l2", "br_c", "")}, nil)
	if err != nil || synced.Changed != 0 || synced.Removed != 2 || len(synced.Failures) != 0 {
		t.Fatalf("%+v, %v", synced, err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Error("dnsmasq still runs")
	}
	if _, err := openNamespace("br_c_l3"); err == nil {
		t.Error("the namespace is still there")
	}
	if _, err := os.Stat(folder + "/dhcp/br_c_l3"); err == nil {
		t.Error("the network's files are still there")
	}
	link(t, "br_c")
	link(t, "br_d") // another owner's
}

func TestUplinkAndServiceDoNotHearEachOther(t *testing.T) {
	ns := cable(t, "up1", "far1")
	_, err := in(t, ns, "ip", "addr", "add", "10.40.0.50/24", "dev", "far1")
	must(t, err)
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_e", "up1"), dhcpNetwork("l3", "br_e"))
	if out, err := in(t, ns, "busybox", "ping", "-c1", "-W1", "10.40.0.2"); err == nil {
		t.Errorf("another machine on the wire reaches this host's DHCP service: %s", out)
	}
	must(t, netlink.LinkSetIsolated(link(t, "up1"), false))
	if out, err := in(t, ns, "busybox", "ping", "-c1", "-W2", "10.40.0.2"); err != nil {
		t.Errorf("without the guard the service is out of reach too, so this test shows nothing: %s", out)
	}
}

func TestWrongInputChangesNothing(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	other := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2}
	good := []*hostv1.Fragment{bridge("l2", "br_f", ""), dhcpNetwork("l3", "br_f")}
	for name, tc := range map[string]struct {
		extra []*hostv1.Fragment
		class errs.Class
	}{
		"same address":    {[]*hostv1.Fragment{bindingOf("a", "l3", mac, "10.40.0.5", ""), bindingOf("b", "l3", other, "10.40.0.5", "")}, errs.Exists},
		"same MAC":        {[]*hostv1.Fragment{bindingOf("a", "l3", mac, "10.40.0.5", ""), bindingOf("b", "l3", mac, "10.40.0.6", "")}, errs.Exists},
		"no network":      {[]*hostv1.Fragment{bindingOf("a", "l9", mac, "10.40.0.5", "")}, errs.NotFound},
		"outside":         {[]*hostv1.Fragment{bindingOf("a", "l3", mac, "10.41.0.5", "")}, errs.Invalid},
		"service address": {[]*hostv1.Fragment{bindingOf("a", "l3", mac, "10.40.0.2", "")}, errs.Invalid},
		"two bridges":     {[]*hostv1.Fragment{bridge("l2b", "br_f", "")}, errs.Exists},
		"option injected": {[]*hostv1.Fragment{bindingOf("a", "l3", mac, "10.40.0.5", "x\ndhcp-script=/bin/sh")}, errs.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			err := e.Apply(context.Background(), "flat", Revisions{}, append(good, tc.extra...), nil)
			if !errors.Is(err, tc.class) {
				t.Fatalf("got %v", err)
			}
			if l, _ := findLink("br_f"); l != nil {
				t.Fatal("something was made")
			}
		})
	}
}
