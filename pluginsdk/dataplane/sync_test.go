package dataplane

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// failedKeys are those of the failures, each of which must say something.
func failedKeys(t *testing.T, s Synced) string {
	t.Helper()
	var keys []string
	for _, f := range s.Failures {
		if f.Err == nil || errs.ClassOf(f.Err) == errs.Internal {
			t.Errorf("%s: %v", f.Key, f.Err)
		}
		keys = append(keys, f.Key)
	}
	return strings.Join(keys, " ")
}

func changed(f *hostv1.Fragment, change func(*hostv1.DHCPNetwork)) *hostv1.Fragment {
	change(f.GetDhcpNetwork())
	return f
}

// A network, bridge or guest that cannot be made true costs the others nothing,
// and stays as it was itself where it was there.
func TestSyncGoesOnPastWhatIsNotPossible(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	apply(t, e, bridge("l2", "br_e", ""))
	mac, run, ask := guest(t, "g_e", "br_e")
	other := func() *hostv1.Fragment {
		return changed(dhcpNetwork("other", "br_e"), func(n *hostv1.DHCPNetwork) {
			n.Address, n.NetworkCidr, n.Gateway, n.Dns, n.Routes = "10.50.0.2/24", "10.50.0.0/24", "", nil, nil
		})
	}
	stranger := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}
	good := []*hostv1.Fragment{bridge("l2", "br_e", ""), dhcpNetwork("l3", "br_e"), bindingOf("nic1", "l3", mac, "10.40.0.11", "a")}
	all := func(more ...*hostv1.Fragment) []*hostv1.Fragment { return append(good[:len(good):len(good)], more...) }
	synced, err := e.Sync(t.Context(), "flat", "", all(other(), bindingOf("nic2", "other", stranger, "10.50.0.11", "b")), nil)
	if err != nil || len(synced.Failures) > 0 {
		t.Fatalf("%+v, %v", synced, err)
	}
	before := map[string]int{"br_e_l3": e.networks["br_e_l3"].dnsmasq.pid, "br_e_other": e.networks["br_e_other"].dnsmasq.pid}
	for _, tc := range []struct {
		name      string
		fragments []*hostv1.Fragment
		want      string
		kept      bool // the other network stays as it was
	}{
		{"an IPv6 name server", all(changed(other(), func(n *hostv1.DHCPNetwork) { n.Dns = []string{"2001:db8::53"} })), "other", true},
		{"an address outside of it", all(changed(other(), func(n *hostv1.DHCPNetwork) { n.Address = "10.51.0.2/24" })), "other", true},
		{"a bridge that is not there", all(changed(other(), func(n *hostv1.DHCPNetwork) { n.Bridge = "br_none" })), "other", true},
		{"more routes than an option holds", all(changed(other(), func(n *hostv1.DHCPNetwork) {
			for i := range 60 {
				n.Routes = append(n.Routes, &hostv1.Route{Prefix: fmt.Sprintf("172.20.%d.0/24", i), NextHop: "10.50.0.9"})
			}
		})), "other", true},
		{"a bridge over a device that is not there", all(other(), bridge("l2b", "br_f", "none0")), "l2b", true},
		{"two guests with one address", all(other(), bindingOf("nic2", "other", stranger, "10.50.0.11", "b"),
			bindingOf("nic3", "other", mac, "10.50.0.11", "c")), "nic3", true},
		{"a guest outside of its network", all(other(), bindingOf("nic2", "other", stranger, "10.40.0.12", "b")), "nic2", true},
		{"a guest without a network", all(other(), bindingOf("nic2", "none", stranger, "10.40.0.12", "b")), "nic2", true},
		{"a new network that is wrong, with a guest", all(changed(dhcpNetwork("new", "br_e"), func(n *hostv1.DHCPNetwork) { n.Gateway = "x" }),
			bindingOf("nic4", "new", stranger, "10.40.0.12", "b")), "new", false},
	} {
		synced, err := e.Sync(t.Context(), "flat", "", tc.fragments, nil)
		if err != nil || failedKeys(t, synced) != tc.want {
			t.Errorf("%s: failures %v, want %s; %v", tc.name, synced.Failures, tc.want, err)
		}
		for name, pid := range before {
			if n := e.networks[name]; n == nil && (tc.kept || name == "br_e_l3") || n != nil && n.dnsmasq.pid != pid {
				t.Errorf("%s: the dnsmasq of %s did not go on", tc.name, name)
			}
		}
		if n := e.store.sets["flat"]["other"].GetDhcpNetwork(); tc.kept && !proto.Equal(n, other().GetDhcpNetwork()) {
			t.Errorf("%s: kept is %v", tc.name, n)
		}
		if l := ask(); !strings.Contains(l, "ip=10.40.0.11") {
			t.Errorf("%s: the guest of the good network gets %q", tc.name, l)
		}
	}
	if out, err := run("busybox", "ping", "-c1", "-W2", "10.40.0.2"); err != nil {
		t.Errorf("ping: %s", out)
	}
	// What is kept stays with its guests, and gives way to what is wanted now.
	synced, err = e.Sync(t.Context(), "flat", "", all(other(), bindingOf("nic2", "other", stranger, "10.50.0.11", "b")), nil)
	if err != nil || len(synced.Failures) > 0 {
		t.Fatalf("%+v, %v", synced, err)
	}
	pid := e.networks["br_e_other"].dnsmasq.pid
	synced, err = e.Sync(t.Context(), "flat", "", good, []string{"other", "none"})
	if err != nil || len(synced.Failures) > 0 || synced.Removed != 0 || e.networks["br_e_other"].dnsmasq.pid != pid {
		t.Errorf("kept: %+v, %v", synced, err)
	}
	synced, err = e.Sync(t.Context(), "flat", "", all(other(), bindingOf("nic9", "other", stranger, "10.50.0.11", "b")), []string{"nic2"})
	if s := e.store.sets["flat"]; err != nil || len(synced.Failures) > 0 || s["nic2"] != nil || s["nic9"] == nil {
		t.Errorf("kept beside another guest with its address: %+v, %v", synced, err)
	}
	if _, err := e.Sync(t.Context(), "flat", "", all(other(), other()), nil); !errors.Is(err, errs.Invalid) {
		t.Errorf("a fragment that is given twice: %v", err)
	}
}
