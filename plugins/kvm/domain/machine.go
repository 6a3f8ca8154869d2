package domain

import (
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Names of the guest options that VM.options may have.
const (
	OptionMachine   = "machine"
	OptionProcessor = "processor"
)

// Machines. Guests that were made before there was a choice have machinePC and are
// told no option: what a system has called its devices by must not change.
const (
	machinePC   = "pc"
	machineQ35  = "q35"
	machineVirt = "virt"
)

const (
	archX86 = "x86_64"
	archARM = "aarch64"
)

// Processors by what they are like and not by a model's name.
const (
	processorNone        = "none"
	processorHostModel   = "host-model"
	processorPassthrough = "host-passthrough"
	processorMax         = "max"
)

// models are the named processors, those of x86 that ZStack's wire has and libvirt
// knows (libvirt, cpu_map).
var models = []string{"Dhyana", "EPYC", "EPYC-IBPB", "Haswell", "Haswell-noTSX", "Broadwell", "Broadwell-noTSX", "SandyBridge", "IvyBridge",
	"Conroe", "Penryn", "Nehalem", "Westmere", "Opteron_G1", "Opteron_G2", "Opteron_G3", "Opteron_G4", "pentium", "pentium2", "pentium3"}

// Machines declares the choices of OptionMachine: new guests of x86 get Q35, whose
// PCI Express, AHCI and IOMMU today's systems are made for.
func Machines() []*pluginv1.GuestChoice {
	return []*pluginv1.GuestChoice{
		{Value: machineQ35, Architecture: archX86, Usual: true, Caption: pluginsdk.Say("Q35 (PCI Express)", "Q35（PCI Express）")},
		{Value: machinePC, Architecture: archX86, Caption: pluginsdk.Say("PC (i440FX)", "PC（i440FX）")},
		{Value: machineVirt, Architecture: archARM, Usual: true, Caption: pluginsdk.Say("virt", "virt")},
	}
}

// Processors declares the choices of OptionProcessor.
func Processors() []*pluginv1.GuestChoice {
	choices := []*pluginv1.GuestChoice{
		{Value: processorNone, Usual: true, Caption: pluginsdk.Say("What suits the host", "自动")},
		{Value: processorHostModel, Caption: pluginsdk.Say("Model of the host", "与物理机型号一致")},
		{Value: processorPassthrough, Caption: pluginsdk.Say("That of the host", "物理机CPU直通")},
		{Value: processorMax, Caption: pluginsdk.Say("All that is possible", "支持的最大特性集")},
	}
	for _, m := range models {
		choices = append(choices, &pluginv1.GuestChoice{Value: m, Architecture: archX86, Caption: pluginsdk.Say(m, m)})
	}
	return choices
}

// machine is the guest's machine type. Errors: Unsupported for one of another
// architecture, Invalid for an unknown one.
func machine(vm *pluginv1.VM) (string, error) {
	m, arch := vm.GetOptions()[OptionMachine], archX86
	if isARM(vm) {
		arch = archARM
	}
	switch {
	case m == "" && isARM(vm):
		return machineVirt, nil
	case m == "":
		return machinePC, nil
	}
	i := slices.IndexFunc(Machines(), func(c *pluginv1.GuestChoice) bool { return c.GetValue() == m })
	switch {
	case i < 0:
		return "", errs.New(errs.Invalid, "VM "+vm.GetUuid(), "machine %q is not %s, %s or %s", m, machineQ35, machinePC, machineVirt)
	case Machines()[i].GetArchitecture() != arch:
		return "", errs.New(errs.Unsupported, "VM "+vm.GetUuid(), "machine %s is none of %s", m, arch)
	}
	return m, nil
}

// IsX86 tells whether the guest's processor is one of x86.
func IsX86(vm *pluginv1.VM) bool { return !isARM(vm) }

// isQ35 tells whether the guest, which has been checked, has PCI Express and no IDE.
func isQ35(vm *pluginv1.VM) bool { return vm.GetOptions()[OptionMachine] == machineQ35 }

// cpu is the guest's processor. With KVM it is like the host's unless something else
// was chosen. Emulated it is all that the emulator can do: today's distributions are
// built for x86-64-v2 and v3 (x86-64 psABI), which QEMU's own default is not.
func cpu(vm *pluginv1.VM, o Options) (*libvirtxml.DomainCPU, error) {
	choice := vm.GetOptions()[OptionProcessor]
	named := func(model string) *libvirtxml.DomainCPU {
		return &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Model: &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: model}}
	}
	switch {
	case slices.Contains(models, choice) && isARM(vm):
		return nil, errs.New(errs.Unsupported, "VM "+vm.GetUuid(), "processor %s is none of aarch64", choice).
			WithAdvice("choose %s, %s, %s or %s", processorNone, processorHostModel, processorPassthrough, processorMax)
	case slices.Contains(models, choice):
		return named(choice), nil
	case !slices.Contains([]string{"", processorNone, processorHostModel, processorPassthrough, processorMax}, choice):
		return nil, errs.New(errs.Invalid, "VM "+vm.GetUuid(), "processor %q is not %s, %s, %s, %s or a model's name", choice,
			processorNone, processorHostModel, processorPassthrough, processorMax)
	case o.KVM && choice == processorPassthrough:
		return &libvirtxml.DomainCPU{Mode: "host-passthrough"}, nil
	case o.KVM && choice == processorMax:
		return &libvirtxml.DomainCPU{Mode: "maximum"}, nil
	case o.KVM:
		return &libvirtxml.DomainCPU{Mode: "host-model"}, nil
	case isARM(vm):
		return named("cortex-a57"), nil
	case o.Emulated != "":
		return named(o.Emulated), nil
	}
	return &libvirtxml.DomainCPU{Mode: "maximum"}, nil
}

// emulated are models for emulators without a maximum, the best first; all are
// x86-64-v2 at least.
var emulated = []string{"Haswell-noTSX", "Westmere", "Nehalem"}

// NearestProcessor reads from libvirt's domain capabilities for emulated guests of
// x86 which model Options.Emulated should name: "" when the emulator has a maximum.
// Errors: Internal for capabilities that cannot be read, Unsupported when no model
// that today's systems can use is there.
func NearestProcessor(capabilities string) (string, error) {
	var caps libvirtxml.DomainCaps
	if err := caps.Unmarshal(capabilities); err != nil {
		return "", errs.Wrap(errs.Internal, "hypervisor", err, "libvirt's domain capabilities cannot be read")
	}
	usable := map[string]bool{}
	if caps.CPU != nil {
		for _, mode := range caps.CPU.Modes {
			if mode.Name == "maximum" && mode.Supported == "yes" {
				return "", nil
			}
			for _, m := range mode.Models {
				usable[m.Name] = usable[m.Name] || mode.Name == "custom" && mode.Supported == "yes" && m.Usable != "no"
			}
		}
	}
	for _, m := range emulated {
		if usable[m] {
			return m, nil
		}
	}
	return "", errs.New(errs.Unsupported, "hypervisor", "its emulator has neither a maximum nor one of the processors %s", strings.Join(emulated, ", "))
}

// clock keeps a guest's time as libvirt advises: lost ticks of the RTC are caught up,
// those of the PIT delayed, and the HPET, whose emulation is slow, is off. With KVM
// the guest has its clock.
func clock(vm *pluginv1.VM, o Options) *libvirtxml.DomainClock {
	c := &libvirtxml.DomainClock{Offset: "utc"}
	if vm.GetPlatform() == "Windows" {
		c.Offset = "localtime" // which it takes the RTC for
	}
	if isARM(vm) {
		return c
	}
	c.Timer = []libvirtxml.DomainTimer{
		{Name: "rtc", TickPolicy: "catchup"}, {Name: "pit", TickPolicy: "delay"}, {Name: "hpet", Present: "no"},
	}
	if o.KVM {
		c.Timer = append(c.Timer, libvirtxml.DomainTimer{Name: "kvmclock", Present: "yes"})
	}
	return c
}

// addPanic lets the guest's kernel tell that it has ended (pvpanic), which libvirt
// then tells the core; without it such a guest counts as running. Guests with the
// older machine stay without a device that they do not know, and so does Windows,
// which has no driver for it.
func addPanic(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM) {
	if isQ35(vm) && vm.GetPlatform() != "Windows" {
		d.Panics = []libvirtxml.DomainPanic{{Model: "isa"}}
	}
}
