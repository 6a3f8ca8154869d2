package dataplane

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file tries what people reported of clouds and routers like this one.

// One entry that is wrong costs the others neither names nor addresses.
func TestReportedEntries(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_r", ""))
	mac, _, ask := guest(t, "g_r", "br_r")
	good := []*hostv1.Fragment{bridge("l2", "br_r", ""), dhcpNetwork("l3", "br_r"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a")}
	stranger := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}
	bad := func(change func(*hostv1.DHCPBinding)) *hostv1.Fragment {
		f := bindingOf("nic2", "l3", stranger, "10.40.0.12", "b")
		change(f.GetDhcpBinding())
		return f
	}
	for report, f := range map[string]*hostv1.Fragment{
		"https://github.com/openwrt/packages/issues/7280":                   bad(func(b *hostv1.DHCPBinding) { b.Ip = "10.40.0.11" }),
		"https://github.com/openwrt/openwrt/issues/17041":                   bad(func(b *hostv1.DHCPBinding) { b.Mac = strings.ToUpper(mac.String()) }),
		"https://github.com/f18m/ha-addon-dnsmasq-dhcp/issues/184":          bad(func(b *hostv1.DHCPBinding) { b.Mac = "map[description:blocked mac:aa:bb:cc:dd:ee:ff]" }),
		"https://github.com/openwrt/openwrt/issues/25277 (bad address)":     bad(func(b *hostv1.DHCPBinding) { b.Ip = "10.40.0.300" }),
		"https://github.com/OSU-Net/cyder/issues/806 (a name with a blank)": bad(func(b *hostv1.DHCPBinding) { b.Hostname = "s1 s2" }),
	} {
		synced, err := e.Sync(t.Context(), "flat", "", append(good[:3:3], f), nil)
		if err != nil || failedKeys(t, synced) != "nic2" {
			t.Errorf("%s: %v, %v", report, synced.Failures, err)
		}
		if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
			t.Errorf("%s: the other guest gets %q", report, l)
		}
	}
}

// What is taken away under a service that runs is there again after the host is
// connected anew, and what was in use goes on.
func TestReportedLosses(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_s", ""))
	mac, run, ask := guest(t, "g_s", "br_s")
	all := []*hostv1.Fragment{bridge("l2", "br_s", ""), dhcpNetwork("l3", "br_s"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a"), metadataOf("meta1", "l3", "10.40.0.11", "i-1")}
	sync := func(report string) {
		t.Helper()
		synced, err := e.Sync(t.Context(), "flat", "", all, nil)
		if err != nil || len(synced.Failures) > 0 {
			t.Errorf("%s: %v, %v", report, synced.Failures, err)
		}
		// Interface MTU is option 26: https://github.com/qemus/qemu/pull/1280
		if l := ask(); !strings.Contains(l, "ip=10.40.0.11") || !strings.Contains(l, "mtu=1450") {
			t.Errorf("%s: lease %q", report, l)
		}
		if out, err := run("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id"); err != nil || out != "i-1" {
			t.Errorf("%s: metadata %q, %v", report, out, err)
		}
	}
	sync("at first")
	inside := func(f func(netlink.Link) error) func() {
		return func() {
			ns, err := openNamespace("br_s_l3")
			must(t, err)
			defer func() { must(t, ns.Close()) }()
			must(t, inNamespace(ns, func() error {
				l, err := netlink.LinkByName(legName)
				if err != nil {
					return err
				}
				return f(l)
			}))
		}
	}
	for _, c := range []struct {
		report string
		harm   func()
	}{
		// An agent that starts again ends nothing that is in use.
		{"https://github.com/CiscoSystems/neutron/pull/32", func() {}},
		{"https://github.com/openwrt/openwrt/issues/9564", inside(func(l netlink.Link) error {
			addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
			for i := range addrs {
				if err == nil {
					err = netlink.AddrDel(l, &addrs[i])
				}
			}
			return err
		})},
		{"the same, its device down", inside(netlink.LinkSetDown)},
		{"https://github.com/sapcc/helm-charts/pull/5948", func() { must(t, unix.Unmount(namespacePath("br_s_l3"), unix.MNT_DETACH)) }},
	} {
		before := e.networks["br_s_l3"].dnsmasq.pid
		c.harm()
		sync(c.report)
		if pid := e.networks["br_s_l3"].dnsmasq.pid; pid != before && c.report != "https://github.com/sapcc/helm-charts/pull/5948" {
			t.Errorf("%s: its dnsmasq did not go on", c.report)
		}
	}
}

// Names are the same in all letters and with the domain twice there is none; what
// a name has not is said to be nothing and not to be an error.
func TestReportedQuestions(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_q", ""))
	mac, _, ask := guest(t, "g_q", "br_q")
	apply(t, e, dhcpNetwork("l3", "br_q"), bindingOf("nic1", "l3", mac, "10.40.0.11", "C1"))
	if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
		t.Fatalf("lease %q", l)
	}
	ns, err := openNamespace("t-g_q")
	must(t, err)
	defer func() { must(t, ns.Close()) }()
	for _, q := range []struct {
		report, name string
		kind         dnsmessage.Type
		code         dnsmessage.RCode
		said         string
	}{
		{"https://github.com/canonical/lxd/pull/10789", "c1.cloud.test.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.11"},
		{"https://github.com/canonical/lxd/pull/10789", "C1.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.11"},
		{"https://github.com/moby/moby/issues/28689", "c1.CLOUD.tEsT.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.40.0.11"},
		{"https://github.com/pi-hole/FTL/issues/3039", "C1.Cloud.Test.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"https://github.com/openziti/ziti/pull/3077", "c1.cloud.test.", dnsmessage.TypeSRV, dnsmessage.RCodeSuccess, ""},
		{"https://github.com/rancher/rancher/issues/5041", "c1.cloud.test.cloud.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"https://github.com/rancher/rancher/issues/5041", "c1.cloud.test.cloud.test.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, ""},
	} {
		if code, said := question(t, ns, "10.40.0.2", q.name, q.kind); code != q.code || said != q.said {
			t.Errorf("%s: %s %s: %s %q, not %s %q", q.report, q.kind, q.name, code, said, q.code, q.said)
		}
	}
}

// The metadata service answers as today's and yesterday's clients ask.
func TestReportedClients(t *testing.T) {
	h := &metadataHandler{tokens: newTokens()}
	h.guests.Store(&guests{netip.MustParseAddr("10.40.0.11"): {InstanceId: "i-1", Hostname: "web-1.cloud.test", SshKeys: []string{"ssh-ed25519 AAAA one"}}})
	const ttl, shown = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	ask := func(method, path string, headers map[string]string) (int, string, http.Header) {
		w := askMetadata(h, "10.40.0.11", method, path, headers)
		return w.Code, w.Body.String(), w.Header()
	}
	// https://github.com/Corymbia/eucalyptus/issues/196: a PUT for a token must not be 404.
	code, token, header := ask(http.MethodPut, "/latest/api/token", map[string]string{ttl: "21600"})
	if code != http.StatusOK || token == "" {
		t.Fatalf("%d %q", code, token)
	}
	// https://github.com/aws/amazon-ec2-metadata-mock/pull/50: the answer has its life.
	if got := header.Get(ttl); got != "21600" {
		t.Errorf("life %q", got)
	}
	// https://github.com/NixOS/nixpkgs/pull/104193: pages of version 1.0 with a token.
	for path, want := range map[string]string{"/1.0/meta-data/hostname": "web-1.cloud.test", "/1.0/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA one"} {
		if code, body, _ := ask(http.MethodGet, path, map[string]string{shown: token}); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	// A token that ended is 401, upon which clients ask for another:
	// https://github.com/JuliaCloud/AWS.jl/pull/736. It is so for pages that are not there.
	if code, _, _ := ask(http.MethodGet, "/latest/meta-data/iam/", map[string]string{shown: "ended"}); code != http.StatusUnauthorized {
		t.Errorf("a page that is not there, with a token that ended: %d", code)
	}
	// No user data is 404, which cloud-init takes for none.
	if code, _, _ := ask(http.MethodGet, "/latest/user-data", map[string]string{shown: token}); code != http.StatusNotFound {
		t.Errorf("no user data: %d", code)
	}
}
