package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	l2UUID = "00000000000000000000000000000002"
	l3UUID = "33333333333333333333333333333333"
)

func uuid(n int) string { return fmt.Sprintf("%032x", n) }

func testL2() *pluginv1.L2Network {
	return &pluginv1.L2Network{Uuid: l2UUID, Type: "L2NoVlanNetwork", PhysicalInterface: "up0", VswitchType: "LinuxBridge"}
}

func testL3() *pluginv1.L3Network {
	return &pluginv1.L3Network{
		Uuid: l3UUID, DnsDomain: "cloud.test", Dns: []string{"10.40.0.53"}, Mtu: 1450, Bridge: "br_up0", ServiceIp: "10.40.0.2",
		Ranges:     []*pluginv1.IPRange{{NetworkCidr: "10.40.0.0/24", Gateway: "10.40.0.1", Netmask: "255.255.255.0"}},
		HostRoutes: []*pluginv1.HostRoute{{Prefix: "172.16.0.0/16", NextHop: "10.40.0.9"}},
		Services:   []string{serviceDHCP, serviceDNS, serviceUserdata, serviceHostRoute},
	}
}

func testNIC(n int) *pluginv1.GuestNIC {
	return &pluginv1.GuestNIC{
		NicUuid: uuid(0x100 + n), VmUuid: uuid(0x200 + n), Mac: fmt.Sprintf("fa:16:3e:00:00:%02x", n),
		Ip: fmt.Sprintf("10.40.0.%d", 10+n), Hostname: fmt.Sprintf("web-%d", n), L3Uuid: l3UUID, DefaultNetwork: true,
		UserData: fmt.Appendf(nil, "#!/bin/sh\necho %d\n", n), SshKeys: []string{"ssh-ed25519 AAAA one"},
	}
}

func prepare(nics ...*pluginv1.GuestNIC) *rows {
	return &rows{Host: host, Networks: []*pluginv1.L3Network{testL3()}, Nics: nics}
}

func requireClass(t *testing.T, err error, want errs.Class) {
	t.Helper()
	if got := errs.ClassOf(err); got != want {
		t.Fatalf("class %q, want %q: %v", got, want, err)
	}
}

// The whole life of a network on a host, with real guests' DHCP and metadata.
func TestGuestsOnARealHost(t *testing.T) {
	ctx := t.Context()
	uplink(t, "up0")
	b := newBench(t, realAgent(t))
	for range 2 {
		got, err := b.l2.Realize(ctx, &pluginv1.RealizeRequest{Host: host, Network: testL2()})
		if err != nil || got.Bridge != "br_up0" {
			t.Fatalf("%v %v", got, err)
		}
	}
	one, two := testNIC(1), testNIC(2)
	two.DefaultNetwork, two.Hostname, two.UserData = false, "", nil
	for range 2 {
		if _, err := b.apply(ctx, prepare(one)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.apply(ctx, prepare(two)); err != nil {
		t.Fatal(err)
	}
	unplug1 := plugGuest(t, "g1", "br_up0", one.Mac)
	unplug2 := plugGuest(t, "g2", "br_up0", two.Mac)

	t.Run("lease of the default network", func(t *testing.T) {
		got := lease(t, "g1")
		for _, want := range []string{
			"ip=10.40.0.11\n", "router=10.40.0.1\n", "dns=10.40.0.53\n", "domain=cloud.test\n", "hostname=web-1\n", "mtu=1450\n",
			"172.16.0.0/16 10.40.0.9", "169.254.169.254/32 10.40.0.2", "serverid=10.40.0.2",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	})
	t.Run("lease of another network", func(t *testing.T) {
		got := lease(t, "g2")
		if !strings.Contains(got, "ip=10.40.0.12\n") || strings.Contains(got, "router=") || strings.Contains(got, "dns=") {
			t.Error(got)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		if got := read(t, "g1", "/latest/user-data"); got != "#!/bin/sh\necho 1\n" {
			t.Errorf("user data %q", got)
		}
		if got := read(t, "g1", "/latest/meta-data/instance-id"); strings.TrimSpace(got) != one.VmUuid {
			t.Errorf("instance %q", got)
		}
		for _, page := range []string{"hostname", "local-hostname", "local-hostname/"} {
			if got := read(t, "g1", "/latest/meta-data/"+page); strings.TrimSpace(got) != "web-1.cloud.test" {
				t.Errorf("%s %q", page, got)
			}
		}
	})
	t.Run("changes of the network without its NICs", func(t *testing.T) {
		l3 := testL3()
		tell := func() {
			t.Helper()
			if _, err := b.apply(ctx, &rows{Host: host, Networks: []*pluginv1.L3Network{l3}}); err != nil {
				t.Fatal(err)
			}
		}
		l3.Dns, l3.DnsDomain, l3.Mtu = []string{"10.40.0.54"}, "new.test", 1400
		l3.HostRoutes = []*pluginv1.HostRoute{{Prefix: "172.17.0.0/16", NextHop: "10.40.0.10"}}
		tell()
		got := lease(t, "g1")
		for _, want := range []string{"ip=10.40.0.11\n", "dns=10.40.0.54\n", "domain=new.test\n", "mtu=1400\n", "172.17.0.0/16 10.40.0.10"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		if strings.Contains(got, "172.16.0.0/16") {
			t.Errorf("the route that went is in\n%s", got)
		}
		l3.Services = []string{serviceUserdata}
		tell()
		if got := lease(t, "g1"); got != "" {
			t.Errorf("without DHCP it gets %s", got)
		}
		if got := read(t, "g1", "/latest/user-data"); got != "#!/bin/sh\necho 1\n" {
			t.Errorf("user data %q", got)
		}
		l3.Services = []string{serviceDHCP}
		tell()
		if got := lease(t, "g2"); !strings.Contains(got, "ip=10.40.0.12\n") || strings.Contains(got, "169.254.169.254") {
			t.Errorf("with DHCP again, without user data, it gets %s", got)
		}
		l3.Services = nil
		tell()
		if out, err := run(t, "ip", "netns", "list"); err != nil || strings.Contains(out, "kumo-") {
			t.Errorf("without services there are the namespaces %s %v", out, err)
		}
	})
	t.Run("sync keeps bridges and removes the others' leases", func(t *testing.T) {
		_, err := b.sync(ctx, &rows{
			Host: host, Networks: []*pluginv1.L3Network{testL3()}, Nics: []*pluginv1.GuestNIC{one},
		})
		if err != nil {
			t.Fatal(err)
		}
		mustRun(t, "ip link show br_up0")
		if lease(t, "g1") == "" {
			t.Error("the NIC that was kept gets no lease")
		}
		if got := lease(t, "g2"); got != "" {
			t.Errorf("the NIC that went gets %s", got)
		}
	})
	t.Run("release", func(t *testing.T) {
		for range 2 {
			if _, err := b.remove(ctx, pluginsdk.NetworkKeys{NICs: []string{one.NicUuid, two.NicUuid}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := lease(t, "g1"); got != "" {
			t.Errorf("a released NIC gets %s", got)
		}
		for range 2 {
			if _, err := b.remove(ctx, pluginsdk.NetworkKeys{Networks: []string{l3UUID}}); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := run(t, "ip", "netns", "list"); err != nil || strings.Contains(out, "kumo-") {
			t.Errorf("namespaces %s %v", out, err)
		}
		unplug1()
		unplug2()
		for range 2 {
			if _, err := b.l2.Unrealize(ctx, &pluginv1.UnrealizeRequest{Host: host, Network: testL2()}); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := run(t, "ip", "link", "show", "br_up0"); err == nil {
			t.Errorf("the bridge is left: %s", out)
		}
	})
}

// A host that was away when its network was deleted is told of the next network
// on the same interface before it is told that the old one has no services.
func TestNextNetworkOnAnInterface(t *testing.T) {
	ctx := t.Context()
	uplink(t, "up0")
	b := newBench(t, realAgent(t))
	realize := func(l2 *pluginv1.L2Network) error {
		_, err := b.l2.Realize(ctx, &pluginv1.RealizeRequest{Host: host, Network: l2})
		return err
	}
	unrealize := func(l2 *pluginv1.L2Network) error {
		_, err := b.l2.Unrealize(ctx, &pluginv1.UnrealizeRequest{Host: host, Network: l2})
		return err
	}
	next := testL2()
	next.Uuid = uuid(3)
	if err := realize(testL2()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.apply(ctx, prepare(testNIC(1))); err != nil {
		t.Fatal(err)
	}
	requireClass(t, realize(next), errs.Exists)
	if err := unrealize(testL2()); err != nil {
		t.Fatal(err)
	}
	if err := realize(next); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sync(ctx, &rows{Host: host}); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "ip", "netns", "list"); err != nil || strings.Contains(out, "kumo-") {
		t.Errorf("namespaces %s %v", out, err)
	}
	if out, err := run(t, "ip", "link", "show", "br_up0"); err != nil || !strings.Contains(out, next.Uuid) {
		t.Errorf("the bridge is not the next network's: %s %v", out, err)
	}
	if err := unrealize(next); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "ip", "link", "show", "br_up0"); err == nil {
		t.Errorf("the bridge is left: %s", out)
	}
}

func TestMissingInterface(t *testing.T) {
	b := newBench(t, realAgent(t))
	_, err := b.l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: testL2()})
	requireClass(t, err, errs.Invalid)
	if !strings.Contains(err.Error(), l2UUID) || !strings.Contains(err.Error(), "up0") {
		t.Error(err)
	}
}

func kindsOf(fragments []*hostv1.Fragment) (keys []string, network *hostv1.DHCPNetwork) {
	for _, f := range fragments {
		keys = append(keys, f.Key)
		if n := f.GetDhcpNetwork(); n != nil {
			network = n
		}
	}
	return keys, network
}

func TestOnlyAttachedServices(t *testing.T) {
	nic := testNIC(1)
	dhcp, meta := leaseKey(nic.NicUuid), metadataKey(nic.NicUuid)
	for name, c := range map[string]struct {
		services     []string
		upsert, gone []string
		serve        [3]bool // DHCP, DNS, metadata
		dns, routes  int
	}{
		"all":           {testL3().Services, []string{l3UUID, dhcp, meta}, nil, [3]bool{true, true, true}, 1, 1},
		"DHCP alone":    {[]string{serviceDHCP}, []string{l3UUID, dhcp}, []string{meta}, [3]bool{true, false, false}, 0, 0},
		"user data":     {[]string{serviceUserdata}, []string{l3UUID, meta}, []string{dhcp}, [3]bool{false, false, true}, 0, 0},
		"DNS alone":     {[]string{serviceDNS}, []string{l3UUID}, []string{dhcp, meta}, [3]bool{false, true, false}, 1, 0},
		"routes alone":  {[]string{serviceHostRoute}, nil, []string{dhcp, meta, l3UUID}, [3]bool{}, 0, 0},
		"none":          {nil, nil, []string{dhcp, meta, l3UUID}, [3]bool{}, 0, 0},
		"of another":    {[]string{"SNAT", "Eip"}, nil, []string{dhcp, meta, l3UUID}, [3]bool{}, 0, 0},
		"DHCP + routes": {[]string{serviceHostRoute, serviceDHCP}, []string{l3UUID, dhcp}, []string{meta}, [3]bool{true, false, false}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			agent := &recorder{}
			b := newBench(t, plugintest.Agent(t, agent))
			req := prepare(nic)
			req.Networks[0].Services = c.services
			if _, err := b.apply(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if len(agent.applied) != 1 || agent.applied[0].Owner != "flat" {
				t.Fatalf("applied %v", agent.applied)
			}
			got := agent.applied[0]
			keys, n := kindsOf(got.Upsert)
			if !slices.Equal(keys, c.upsert) || !slices.Equal(got.Remove, c.gone) {
				t.Errorf("upsert %v, remove %v", keys, got.Remove)
			}
			if serve := [3]bool{n.GetServeDhcp(), n.GetServeDns(), n.GetServeMetadata()}; serve != c.serve || len(n.GetDns()) != c.dns || len(n.GetRoutes()) != c.routes {
				t.Errorf("network %v", n)
			}
		})
	}
}

func TestSyncTellsEverythingOnce(t *testing.T) {
	agent := &recorder{}
	b := newBench(t, plugintest.Agent(t, agent))
	unused := testL3()
	unused.Uuid = uuid(9)
	var nics []*pluginv1.GuestNIC
	for n := range 200 {
		nics = append(nics, testNIC(n+1))
	}
	_, err := b.sync(t.Context(), &rows{Host: host, Networks: []*pluginv1.L3Network{unused, testL3()}, Nics: nics})
	if err != nil {
		t.Fatal(err)
	}
	if len(agent.synced) != 1 || agent.synced[0].Owner != "flat" || len(agent.synced[0].Fragments) != 401 || len(agent.applied) > 0 {
		t.Fatalf("%d syncs, %d fragments", len(agent.synced), len(agent.synced[0].Fragments))
	}
	if _, err := b.sync(t.Context(), &rows{Host: host}); err != nil || len(agent.synced) != 2 || len(agent.synced[1].Fragments) > 0 {
		t.Errorf("a host without NICs: %v %v", agent.synced, err)
	}
}

// A network that lost its ranges, as by an enforced delete, is no reason to
// serve none of the host's others.
func TestSyncWithoutARange(t *testing.T) {
	agent := &recorder{}
	b := newBench(t, plugintest.Agent(t, agent))
	lost, stray := testL3(), testNIC(2)
	lost.Uuid, lost.Ranges, lost.ServiceIp = uuid(9), nil, ""
	stray.L3Uuid = lost.Uuid
	got, err := b.sync(t.Context(), &rows{Host: host,
		Networks: []*pluginv1.L3Network{lost, testL3()}, Nics: []*pluginv1.GuestNIC{stray, testNIC(1)}})
	if err != nil || len(agent.synced) != 1 {
		t.Fatalf("%v, %d syncs", err, len(agent.synced))
	}
	var keys []string
	for _, f := range agent.synced[0].Fragments {
		keys = append(keys, f.Key)
	}
	one := testNIC(1).NicUuid
	if want := []string{l3UUID, leaseKey(one), metadataKey(one)}; !slices.Equal(keys, want) {
		t.Errorf("fragments %v; want %v", keys, want)
	}
	if p := got.Problems; !slices.Equal(agent.synced[0].Keep, []string{lost.Uuid}) || len(p) != 1 || p[0].L3Uuid != lost.Uuid || !strings.Contains(p[0].Reason, "no IP range") {
		t.Errorf("kept %v, told %v", agent.synced[0].Keep, p)
	}
}

func TestBadInputReachesNoHost(t *testing.T) {
	nic := testNIC(1)
	for name, c := range map[string]struct {
		change func(*rows)
		names  string
	}{
		"NIC's UUID":           {func(r *rows) { r.Nics[0].NicUuid = "x" }, "NIC x"},
		"unknown network":      {func(r *rows) { r.Nics[0].L3Uuid = uuid(7) }, nic.NicUuid},
		"no address":           {func(r *rows) { r.Nics[0].Ip = "" }, nic.NicUuid},
		"address elsewhere":    {func(r *rows) { r.Nics[0].Ip = "10.41.0.5" }, nic.NicUuid},
		"the network itself":   {func(r *rows) { r.Nics[0].Ip = "10.40.0.0" }, nic.NicUuid},
		"version 6 address":    {func(r *rows) { r.Nics[0].Ip = "2001:db8::5" }, nic.NicUuid},
		"service's address":    {func(r *rows) { r.Nics[0].Ip = "10.40.0.2" }, nic.NicUuid},
		"dnsmasq syntax as IP": {func(r *rows) { r.Nics[0].Ip = "10.40.0.5,set:x" }, nic.NicUuid},
		"MAC":                  {func(r *rows) { r.Nics[0].Mac = "fa:16:3e" }, nic.NicUuid},
		"group MAC":            {func(r *rows) { r.Nics[0].Mac = "01:00:5e:00:00:01" }, nic.NicUuid},
		"host name":            {func(r *rows) { r.Nics[0].Hostname = "a\nb" }, nic.NicUuid},
		"VM's UUID":            {func(r *rows) { r.Nics[0].VmUuid = "" }, "VM"},
		"no range":             {func(r *rows) { r.Networks[0].Ranges = nil }, l3UUID},
		"range":                {func(r *rows) { r.Networks[0].Ranges[0].NetworkCidr = "10.40.0.7/24" }, l3UUID},
		"no service address":   {func(r *rows) { r.Networks[0].ServiceIp = "" }, l3UUID},
		"gateway's address":    {func(r *rows) { r.Networks[0].ServiceIp = "10.40.0.1" }, l3UUID},
		"no bridge":            {func(r *rows) { r.Networks[0].Bridge = "" }, l3UUID},
		"no host":              {func(r *rows) { r.Host = nil }, nic.VmUuid},
		"address twice": {func(r *rows) {
			r.Nics = append(r.Nics, testNIC(2))
			r.Nics[1].Ip = r.Nics[0].Ip
		}, uuid(0x102)},
		"MAC twice": {func(r *rows) {
			r.Nics = append(r.Nics, testNIC(2))
			r.Nics[1].Mac = strings.ToUpper(r.Nics[0].Mac)
		}, uuid(0x102)},
		"ranges that differ": {func(r *rows) {
			r.Networks[0].Ranges = append(r.Networks[0].Ranges, &pluginv1.IPRange{NetworkCidr: "10.50.0.0/24", Gateway: "10.50.0.1"})
		}, l3UUID},
	} {
		t.Run(name, func(t *testing.T) {
			agent := &recorder{}
			b := newBench(t, plugintest.Agent(t, agent))
			r := prepare(testNIC(1))
			c.change(r)
			_, err := b.apply(t.Context(), r)
			requireClass(t, err, errs.Invalid)
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("the error does not name %s: %v", c.names, err)
			}
			if len(agent.applied) > 0 {
				t.Errorf("applied %v", agent.applied)
			}
		})
	}
}

func TestAgentsErrorsKeepTheirClass(t *testing.T) {
	agent := &recorder{fail: errs.New(errs.Refused, "bridge br_up0", "it is another's").WithAdvice("rename it")}
	b := newBench(t, plugintest.Agent(t, agent))
	_, realize := b.l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: testL2()})
	_, sync := b.sync(t.Context(), &rows{Host: host})
	_, release := b.remove(t.Context(), pluginsdk.NetworkKeys{Networks: []string{l3UUID}})
	for _, err := range []error{realize, sync, release} {
		if !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), hostUUID) || !strings.Contains(err.Error(), "rename it") {
			t.Error(err)
		}
	}
}

func TestBadL2(t *testing.T) {
	for name, change := range map[string]func(*pluginv1.L2Network){
		"UUID":       func(n *pluginv1.L2Network) { n.Uuid = "x" },
		"no device":  func(n *pluginv1.L2Network) { n.PhysicalInterface = "" },
		"path":       func(n *pluginv1.L2Network) { n.PhysicalInterface = "../eth0" },
		"too long":   func(n *pluginv1.L2Network) { n.PhysicalInterface = "interface0123456" },
		"vSwitch":    func(n *pluginv1.L2Network) { n.VswitchType = "OvsDpdk" },
		"whitespace": func(n *pluginv1.L2Network) { n.PhysicalInterface = "eth 0" },
	} {
		n := testL2()
		change(n)
		_, err := newBench(t, plugintest.Agent(t, &recorder{})).l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: n})
		if errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func strict(_, _ string, err error) error { return err }

// What this plugin accepts the agent must accept too, or a guest's start would
// fail on the host for what should have been refused before.
func FuzzFragments(f *testing.F) {
	f.Add("10.40.0.0/24", "10.40.0.1", "10.40.0.2", "10.40.0.9", "fa:16:3e:00:00:01", "web", "cloud.test", "10.0.0.53", "172.16.0.0/16", "br0")
	f.Add("0.0.0.0/0", "0.0.0.0", "224.0.0.1", "255.255.255.255", "00:00:00:00:00:00", "", "", "0.0.0.0", "0.0.0.0/0", "-")
	f.Add("10.0.0.0/32", "", "10.0.0.0", "10.0.0.0", "fe:00:00:00:00:00:00:01", "a.b", "a..b", "::1", "::/0", "..")
	f.Fuzz(func(t *testing.T, cidr, gateway, service, ip, mac, hostname, domain, dns, route, bridge string) {
		l3, nic := testL3(), testNIC(1)
		l3.Ranges[0].NetworkCidr, l3.Ranges[0].Gateway, l3.ServiceIp = cidr, gateway, service
		l3.DnsDomain, l3.Dns, l3.HostRoutes[0].Prefix, l3.Bridge = domain, []string{dns}, route, bridge
		nic.Ip, nic.Mac, nic.Hostname = ip, mac, hostname
		fragments, err := fragmentsOf([]*pluginv1.L3Network{l3}, []*pluginv1.GuestNIC{nic}, &problems{}, strict)
		if err != nil {
			requireClass(t, err, errs.Invalid)
			return
		}
		for _, fragment := range fragments {
			if err := dataplane.CheckFragment(fragment); err != nil {
				t.Fatalf("the agent refuses %v: %v", fragment, err)
			}
		}
		again, err := fragmentsOf([]*pluginv1.L3Network{l3}, []*pluginv1.GuestNIC{nic}, &problems{}, strict)
		if err != nil || !slices.EqualFunc(fragments, again, func(a, b *hostv1.Fragment) bool { return proto.Equal(a, b) }) {
			t.Fatalf("not the same twice: %v", err)
		}
	})
}

// flatProcess is the binary as the core starts it, with a real host reached
// over the broker.
func flatProcess(t *testing.T) *plugintest.Conn {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kumo-plugin-flat")
	rig.Build(t, "./plugins/flat", binary)
	return plugintest.Process(t, binary, plugintest.WithCore(core(realAgent(t))))
}

// Two networks that are made within one millisecond differ in the end of their
// UUIDs only.
func TestNamespacesOfNetworksMadeTogether(t *testing.T) {
	a, b := namespaceName("01a1fe2951884a168ddd72b31b6c4911"), namespaceName("01a1fe2951884bb181c2bbc96184e3aa")
	if a == b || len(a) > dataplane.MaxDeviceName {
		t.Errorf("namespaces %s and %s", a, b)
	}
}

func TestProcess(t *testing.T) {
	uplink(t, "up0")
	b := connect(flatProcess(t))
	if _, err := b.l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: testL2()}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.apply(t.Context(), prepare(testNIC(1))); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "netns", "list").CombinedOutput(); err != nil || !strings.Contains(string(out), namespaceName(l3UUID)) {
		t.Errorf("namespaces %s %v", out, err)
	}
	if _, err := b.sync(t.Context(), &rows{Host: host}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "netns", "list").CombinedOutput(); err != nil || strings.Contains(string(out), "kumo-") {
		t.Errorf("left after a sync with nothing: %s %v", out, err)
	}
}
