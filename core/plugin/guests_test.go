package plugin

import (
	"testing"

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
