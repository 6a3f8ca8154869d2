package domain

import (
	"cmp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// MaxNICs is how many network cards a guest has at most.
const MaxNICs = 32

// spareSlots are for devices that a guest gets while it runs.
const spareSlots = 8

func buildNIC(object string, n *pluginv1.NIC) (libvirtxml.DomainInterface, error) {
	var none libvirtxml.DomainInterface
	if err := checkNIC(object, n); err != nil {
		return none, err
	}
	model := cmp.Or(n.GetDriver(), nicModels[0])
	if !slices.Contains(nicModels, model) {
		return none, errs.New(errs.Invalid, object, "NIC model %q is not one of %s", model, strings.Join(nicModels, ", "))
	}
	x := libvirtxml.DomainInterface{
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.GetMac()},
		Source: &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: n.GetBridge()}},
		Model:  &libvirtxml.DomainInterfaceModel{Type: model},
	}
	if n.GetInternalName() != "" {
		x.Target = &libvirtxml.DomainInterfaceTarget{Dev: n.GetInternalName()}
	}
	if n.GetMtu() > 0 {
		x.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(n.GetMtu())}
	}
	if uuidPattern.MatchString(n.GetUuid()) {
		x.Alias = &libvirtxml.DomainAlias{Name: Alias(n.GetUuid())}
	}
	return x, nil
}

// Alias is what libvirt calls the device of a UUID.
func Alias(uuid string) string { return "ua-" + uuid }

// NIC writes the definition of a network card, as Build does, for a guest that runs.
// Errors: Invalid.
func NIC(vmUUID string, n *pluginv1.NIC) (string, error) {
	object := "VM " + vmUUID
	if !uuidPattern.MatchString(n.GetUuid()) {
		return "", errs.New(errs.Invalid, object, "the UUID %q of its NIC has not 32 lower-case hex digits", n.GetUuid())
	}
	x, err := buildNIC(object, n)
	if err != nil {
		return "", err
	}
	text, err := x.Marshal()
	if err != nil {
		return "", errs.Wrap(errs.Internal, object, err, "the definition of its NIC cannot be written")
	}
	return text, nil
}

// HasNIC tells of a running definition whether it has the network card of a UUID.
func HasNIC(text, uuid string) (bool, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return false, errs.Wrap(errs.Internal, "VM", err, "its definition cannot be read")
	}
	return d.Devices != nil && slices.ContainsFunc(d.Devices.Interfaces, func(i libvirtxml.DomainInterface) bool {
		return i.Alias != nil && i.Alias.Name == Alias(uuid)
	}), nil
}

// addSlots gives a machine with PCI Express a port for each device that it has, which
// libvirt would do by itself, and some more: there, a device can come while the guest
// runs where a port is free only. Other machines have a bus with slots, and so does
// one with a card that is none of PCI Express: it is left to libvirt, as the bridge to
// that bus would come after these ports, and the card be another one to its system.
func addSlots(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM) {
	old := func(i libvirtxml.DomainInterface) bool { return i.Model.Type != nicModels[0] }
	if !isQ35(vm) && !isARM(vm) || slices.ContainsFunc(d.Interfaces, old) {
		return
	}
	used := len(d.Interfaces) + len(d.RNGs) + len(d.Controllers)
	if d.MemBalloon != nil {
		used++
	}
	for _, disk := range d.Disks {
		if disk.Target != nil && disk.Target.Bus == "virtio" {
			used++
		}
	}
	if isARM(vm) {
		used += len(d.Videos)
	}
	for n := range used + spareSlots {
		index := uint(n + 1)
		d.Controllers = append(d.Controllers, libvirtxml.DomainController{Type: "pci", Index: &index, Model: "pcie-root-port"})
	}
}
