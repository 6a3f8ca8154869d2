package plugin

import (
	"slices"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// GuestOffers is what guests may be asked for, by names that hypervisors declare.
// The hypervisor of a guest may have less.
type GuestOffers struct {
	// Devices are the sets of devices, and Everywhere the first for which every
	// guest system has drivers, "" when there is none.
	Devices    []string
	Everywhere string
	BootModes  []string
	// RefusedBootModes has why modes that the API knows are not among them.
	RefusedBootModes map[string]string
	// ConsolePassword is how many characters the password of a console may have.
	ConsolePassword int
}

// GuestOffers gathers what the hypervisors of the enabled plugins offer.
func (m *Manager) GuestOffers() GuestOffers {
	o := GuestOffers{RefusedBootModes: map[string]string{}}
	add := func(list []string, name string) []string {
		if slices.Contains(list, name) {
			return list
		}
		return append(list, name)
	}
	for _, manifest := range m.Manifests() {
		for _, h := range manifest.GetHypervisors() {
			for _, d := range h.GetDevices() {
				o.Devices = add(o.Devices, d.GetName())
				if d.GetEverywhere() && o.Everywhere == "" {
					o.Everywhere = d.GetName()
				}
			}
			for _, b := range h.GetBootModes() {
				if b.GetRefused() == "" {
					o.BootModes = add(o.BootModes, b.GetName())
				} else {
					o.RefusedBootModes[b.GetName()] = b.GetRefused()
				}
			}
			o.ConsolePassword = max(o.ConsolePassword, int(h.GetConsolePasswordLength()))
		}
	}
	return o
}

// Devices returns the set of devices with a name; for "" and for a name that the
// hypervisor does not declare, the usual one, which says nothing when there is
// none.
func (h *Hypervisor) Devices(name string) *pluginv1.DeviceSet {
	for _, d := range h.Decl.GetDevices() {
		if d.GetName() == name {
			return d
		}
	}
	if usual := h.Decl.GetDevices(); len(usual) > 0 {
		return usual[0]
	}
	return &pluginv1.DeviceSet{}
}

// Firmware returns what a guest with a boot mode starts with; "", which leaves it
// to the hypervisor, for a mode that it does not declare.
func (h *Hypervisor) Firmware(mode string) string {
	for _, b := range h.Decl.GetBootModes() {
		if b.GetName() == mode {
			return b.GetFirmware()
		}
	}
	return ""
}
