package world

import (
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A card comes once, on a bridge that there is, to a guest that is active; it is gone
// when it is pulled out, and what is not there is a success.
func TestNICsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	l := cloud(t, dir)
	host, guest := hostA, vm(1, hostA)
	if err := launch(l, host, 1); err != nil {
		t.Fatal(err)
	}
	had := len(guest.NICs)
	n := NIC{UUID: id("c", 77), MAC: "fa:00:00:00:00:77", Bridge: bridgeName(eth0)}
	want(t, "attach before it is prepared", l.AttachNIC(host, guest.UUID, n), errs.Invalid)
	want(t, "prepare", comes(l, host, []Network{{L3: l3, Bridge: bridgeName(eth0), Services: []string{"DHCP"}}},
		[]Binding{{NIC: n.UUID, VM: guest.UUID, L3: l3, MAC: n.MAC, IP: "10.9.9.9"}}), "")
	for range 2 {
		want(t, "attach", l.AttachNIC(host, guest.UUID, n), "")
	}
	if got := l.Snapshot().VMs[guest.UUID].NICs; len(got) != had+1 {
		t.Errorf("it has %v", got)
	}
	want(t, "no UUID", l.AttachNIC(host, guest.UUID, NIC{UUID: "x"}), errs.Invalid)
	want(t, "no bridge", l.AttachNIC(host, guest.UUID, NIC{UUID: id("c", 78), MAC: "fa:00:00:00:00:78", Bridge: "none"}), errs.Invalid)
	want(t, "no guest", l.AttachNIC(host, id("a", 99), n), errs.Refused)
	want(t, "no host", l.AttachNIC(id("h", 99), guest.UUID, n), errs.Unavailable)
	for range 2 {
		want(t, "detach", l.DetachNIC(host, guest.UUID, n.UUID), "")
	}
	want(t, "detach of a guest that is not there", l.DetachNIC(host, id("a", 99), n.UUID), "")
	if got := l.Snapshot().VMs[guest.UUID].NICs; len(got) != had || got[0].UUID == n.UUID {
		t.Errorf("it has %v", got)
	}
	want(t, "stop", l.StopVM(host, guest.UUID), "")
	want(t, "a stopped guest", l.AttachNIC(host, guest.UUID, n), errs.Refused)
	sound(t, l, dir)
}
