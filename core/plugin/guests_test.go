package plugin

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestDevicesOfGuests proves what a guest gets for the names that hypervisors
// declare, and for others.
func TestDevicesOfGuests(t *testing.T) {
	rich := &Hypervisor{Decl: &pluginv1.HypervisorDecl{
		Devices:   []*pluginv1.DeviceSet{{Name: "fast", NicModel: "f"}, {Name: "old", NicModel: "o", VolumeBus: "b"}},
		BootModes: []*pluginv1.BootMode{{Name: "One", Firmware: "1"}, {Name: "Two", Firmware: "2"}, {Name: "Three", Refused: "too many"}},
	}}
	bare := &Hypervisor{Decl: &pluginv1.HypervisorDecl{}}
	for _, c := range []struct {
		of                     *Hypervisor
		name, model, bus, mode string
		firmware               string
	}{
		{rich, "", "f", "", "", ""},
		{rich, "fast", "f", "", "One", "1"},
		{rich, "old", "o", "b", "Two", "2"},
		{rich, "unknown", "f", "", "Three", ""},
		{bare, "old", "", "", "Two", ""},
	} {
		if d := c.of.Devices(c.name); d.GetNicModel() != c.model || d.GetVolumeBus() != c.bus {
			t.Errorf("devices %q are %v", c.name, d)
		}
		if got := c.of.Firmware(c.mode); got != c.firmware {
			t.Errorf("boot mode %q starts with %q", c.mode, got)
		}
	}
}

// A hypervisor offers what it declares, and tells what it lacks; nothing asked
// for is always offered.
func TestOffersOfAHypervisor(t *testing.T) {
	h := &Hypervisor{Decl: &pluginv1.HypervisorDecl{Type: "One",
		Devices:   []*pluginv1.DeviceSet{{Name: "fast"}, {Name: "old", Everywhere: true}, {Name: "older", Everywhere: true}},
		BootModes: []*pluginv1.BootMode{{Name: "UEFI"}, {Name: "Secure", Refused: "no keys"}},
	}}
	for _, c := range []struct{ devices, mode, lacks string }{
		{"", "", ""}, {"fast", "", ""}, {"old", "UEFI", ""},
		{"new", "", `no devices "new"`}, {"new", "UEFI", `no devices "new"`},
		{"fast", "Secure", `no boot mode "Secure"`}, {"", "Legacy", `no boot mode "Legacy"`},
	} {
		err := h.Offers(c.devices, c.mode)
		if (err == nil) != (c.lacks == "") || err != nil && (!strings.Contains(err.Error(), c.lacks) || errs.ClassOf(err) != errs.Refused) {
			t.Errorf("%q and %q: %v", c.devices, c.mode, err)
		}
	}
	if got := h.Everywhere(); got != "old" {
		t.Errorf("%q are known everywhere", got)
	}
	if got := (&Hypervisor{Decl: &pluginv1.HypervisorDecl{}}).Everywhere(); got != "" {
		t.Errorf("of nothing, %q are known everywhere", got)
	}
}

// An option has the choices of all hypervisors, of which a guest can have those of
// its own one and for its architecture.
func TestGuestOptions(t *testing.T) {
	choice := func(value, architecture string, usual bool) *pluginv1.GuestChoice {
		return &pluginv1.GuestChoice{Value: value, Architecture: architecture, Usual: usual}
	}
	one := []*pluginv1.GuestOption{{Name: "machine", Choices: []*pluginv1.GuestChoice{choice("a", "x", false), choice("b", "x", true), choice("c", "y", true)}}}
	two := []*pluginv1.GuestOption{{Name: "machine", Choices: []*pluginv1.GuestChoice{choice("b", "x", false), choice("d", "", true)}}, {Name: "colour"}}
	all := addOptions(addOptions(nil, one), two)
	if len(all) != 2 || strings.Join(ChoicesOf(all[0]), "") != "abcd" || len(ChoicesOf(all[1])) != 0 || len(one[0].GetChoices()) != 3 {
		t.Errorf("together they are %v, and the first is %v", all, one)
	}
	for architecture, want := range map[string]string{"x": "b", "y": "c", "": "b", "z": ""} {
		if got := Usual(one[0], architecture); got != want {
			t.Errorf("usual for %q is %q", architecture, got)
		}
	}
	h := &Hypervisor{Decl: &pluginv1.HypervisorDecl{Type: "One", GuestOptions: one}}
	for _, c := range []struct{ value, architecture, lacks string }{
		{"a", "x", ""}, {"c", "y", ""}, {"c", "", ""}, {"c", "x", `no machine "c" for guests of x`}, {"d", "x", `no machine "d"`},
	} {
		err := h.Chooses(map[string]string{"machine": c.value}, c.architecture)
		if (err == nil) != (c.lacks == "") || err != nil && (!strings.Contains(err.Error(), c.lacks) || errs.ClassOf(err) != errs.Refused) {
			t.Errorf("%s of %s: %v", c.value, c.architecture, err)
		}
	}
	if err := h.Chooses(nil, "x"); err != nil {
		t.Errorf("nothing: %v", err)
	}
}
