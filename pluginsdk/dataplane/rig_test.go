package dataplane

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/kumo-cloud/kumo/integration/rig"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages("dnsmasq-base", "iproute2", "nftables"), rig.WithPackages(rig.Client...), rig.WithPackages(rig.OpenVSwitch...))
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// openEngine works in a folder that dnsmasq's user can read.
func openEngine(t *testing.T, folder string) *Engine {
	t.Helper()
	log := hclog.New(&hclog.LoggerOptions{Output: testLog{t}, Level: hclog.Debug})
	e, err := Open(Config{StateDir: folder, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	<-e.repaired
	return e
}

func stateFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/run", "state-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, e *Engine, fragments ...*hostv1.Fragment) {
	t.Helper()
	must(t, e.Apply(context.Background(), "flat", Revisions{}, fragments, nil))
}

// purge ends a test without remains, whatever it did.
func purge(t *testing.T, e *Engine) {
	t.Cleanup(func() {
		if err := e.Purge(context.Background()); err != nil {
			t.Error(err)
		}
		must(t, e.Close())
	})
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

// cable makes a veth pair whose far end is in a new namespace, as a wire to
// another machine or as a guest.
func cable(t *testing.T, near, far string) netns.NsHandle {
	t.Helper()
	name := "t-" + near
	ns, err := ensureNamespace(name)
	must(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far, PeerNamespace: netlink.NsFd(int(ns))}))
	must(t, netlink.LinkSetUp(link(t, near)))
	must(t, inNamespace(ns, func() error {
		l, err := netlink.LinkByName(far)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}))
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(near); err == nil {
			must(t, netlink.LinkDel(l))
		}
		must(t, ns.Close())
		must(t, removeNamespace(name))
	})
	return ns
}

// in runs a program in a namespace.
func in(t *testing.T, ns netns.NsHandle, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := inNamespace(ns, cmd.Start); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	return out.String(), err
}

func bridge(key, name, uplink string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: name, Uplink: uplink, Alias: "kumo:l2:" + key}}}
}

func dhcpNetwork(key, bridge string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_DhcpNetwork{DhcpNetwork: &hostv1.DHCPNetwork{
		Namespace: bridge + "_" + key, Bridge: bridge, Address: "10.40.0.2/24", NetworkCidr: "10.40.0.0/24",
		Gateway: "10.40.0.1", Domain: "cloud.test", Dns: []string{"10.40.0.2"}, Mtu: 1450,
		Routes:    []*hostv1.Route{{Prefix: "172.16.0.0/16", NextHop: "10.40.0.9"}},
		ServeDhcp: true, ServeDns: true, ServeMetadata: true,
	}}}
}

func bindingOf(key, network string, mac net.HardwareAddr, ip, hostname string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_DhcpBinding{DhcpBinding: &hostv1.DHCPBinding{
		NetworkKey: network, Mac: mac.String(), Ip: ip, Hostname: hostname, DefaultNetwork: true,
	}}}
}

func metadataOf(key, network, ip, instance string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: key, Kind: &hostv1.Fragment_Metadata{Metadata: &hostv1.Metadata{
		NetworkKey: network, Ip: ip, InstanceId: instance, Hostname: "web-1",
		UserData: []byte("#!/bin/sh\necho " + instance + "\n"), SshKeys: []string{"ssh-ed25519 AAAA one"},
	}}}
}

// leaseScript is what udhcpc runs: it takes the address as a guest would.
func leaseScript(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "udhcpc.sh")
	must(t, os.WriteFile(file, []byte(`#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/${mask:-24} dev $interface
set -- $staticroutes
while [ -n "$1" ]; do ip route replace $1 via $2 dev $interface; shift 2; done
env | grep -E '^(ip|router|dns|domain|search|hostname|mtu|staticroutes|serverid)=' | sort
`), 0o755))
	return file
}

// lease asks for an address as a guest does; "" when nobody answers.
func lease(t *testing.T, ns netns.NsHandle, dev string) string {
	t.Helper()
	out, err := in(t, ns, "busybox", "udhcpc", "-i", dev, "-s", leaseScript(t), "-n", "-q", "-f", "-t", "3", "-T", "1", "-O", "staticroutes", "-O", "mtu", "-O", "domain", "-O", "search")
	if err != nil {
		t.Logf("udhcpc: %s", out)
		return ""
	}
	return out
}
