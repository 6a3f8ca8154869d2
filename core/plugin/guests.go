package plugin

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// GuestOffers is what guests may be asked for, by names that hypervisors declare.
// The hypervisor of a guest may have less.
type GuestOffers struct {
	Devices   []string // sets of devices
	BootModes []string
	// RefusedBootModes has why modes that the API knows are not among them.
	RefusedBootModes map[string]string
	// ConsolePassword is how many characters the password of a console may have.
	ConsolePassword int
	// Options are all guest options; one of several hypervisors has the choices of
	// them all.
	Options []*pluginv1.GuestOption
}

// Offers gathers what the hypervisors of plugins offer.
func Offers(manifests []*pluginv1.Manifest) GuestOffers {
	o := GuestOffers{RefusedBootModes: map[string]string{}}
	add := func(list []string, name string) []string {
		if slices.Contains(list, name) {
			return list
		}
		return append(list, name)
	}
	for _, manifest := range manifests {
		for _, h := range manifest.GetHypervisors() {
			for _, d := range h.GetDevices() {
				o.Devices = add(o.Devices, d.GetName())
			}
			for _, b := range h.GetBootModes() {
				if b.GetRefused() == "" {
					o.BootModes = add(o.BootModes, b.GetName())
				} else {
					o.RefusedBootModes[b.GetName()] = b.GetRefused()
				}
			}
			o.ConsolePassword = max(o.ConsolePassword, int(h.GetConsolePasswordLength()))
			o.Options = addOptions(o.Options, h.GetGuestOptions())
		}
	}
	return o
}

// addOptions adds a hypervisor's options to those of others, which stay as they are.
func addOptions(all, more []*pluginv1.GuestOption) []*pluginv1.GuestOption {
	for _, o := range more {
		same := func(other *pluginv1.GuestOption) bool { return other.GetName() == o.GetName() }
		i := slices.IndexFunc(all, same)
		if i < 0 {
			all = append(all, o)
			continue
		}
		joined := proto.CloneOf(all[i])
		for _, c := range o.GetChoices() {
			if !slices.Contains(ChoicesOf(joined), c.GetValue()) {
				joined.Choices = append(joined.Choices, c)
			}
		}
		all[i] = joined
	}
	return all
}

// ChoicesOf lists the values of an option.
func ChoicesOf(o *pluginv1.GuestOption) []string {
	var values []string
	for _, c := range o.GetChoices() {
		values = append(values, c.GetValue())
	}
	return values
}

// Usual returns an option's value for guests of an architecture that ask for none,
// "" for none; without an architecture every choice is possible.
func Usual(o *pluginv1.GuestOption, architecture string) string {
	for _, c := range o.GetChoices() {
		if c.GetUsual() && fits(c, architecture) {
			return c.GetValue()
		}
	}
	return ""
}

func fits(c *pluginv1.GuestChoice, architecture string) bool {
	return architecture == "" || c.GetArchitecture() == "" || c.GetArchitecture() == architecture
}

// Chooses tells, as errs.Refused, which of the options, by their names, the
// hypervisor does not declare with that value for guests of an architecture.
func (h *Hypervisor) Chooses(options map[string]string, architecture string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		choice := func(c *pluginv1.GuestChoice) bool { return c.GetValue() == options[name] && fits(c, architecture) }
		declared := func(o *pluginv1.GuestOption) bool {
			return o.GetName() == name && slices.ContainsFunc(o.GetChoices(), choice)
		}
		if !slices.ContainsFunc(h.Decl.GetGuestOptions(), declared) {
			return errs.New(errs.Refused, "hypervisor "+h.Decl.GetType(), "it has no %s %q for guests of %s", name, options[name], cmp.Or(architecture, "any architecture"))
		}
	}
	return nil
}

// Offers tells, as errs.Refused, which of the devices and boot modes that a guest
// asks for the hypervisor does not declare. "" asks for nothing.
func (h *Hypervisor) Offers(devices, bootMode string) error {
	declared := func(d *pluginv1.DeviceSet) bool { return d.GetName() == devices }
	if devices != "" && !slices.ContainsFunc(h.Decl.GetDevices(), declared) {
		return errs.New(errs.Refused, "hypervisor "+h.Decl.GetType(), "it has no devices %q", devices)
	}
	mode := func(b *pluginv1.BootMode) bool { return b.GetName() == bootMode && b.GetRefused() == "" }
	if bootMode != "" && !slices.ContainsFunc(h.Decl.GetBootModes(), mode) {
		return errs.New(errs.Refused, "hypervisor "+h.Decl.GetType(), "it has no boot mode %q", bootMode)
	}
	return nil
}

// Everywhere names the first set of devices for which every guest system has
// drivers; "" when the hypervisor declares none.
func (h *Hypervisor) Everywhere() string {
	for _, d := range h.Decl.GetDevices() {
		if d.GetEverywhere() {
			return d.GetName()
		}
	}
	return ""
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
