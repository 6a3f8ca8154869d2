package domain

import (
	"net/netip"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Moved makes of the definition of a running guest that for another host: with the files
// and bridges that vm has there, and with the address of its screen. What the guest sees
// stays as it is. Errors: Invalid for a disk or card that vm does not have.
func Moved(text string, vm *pluginv1.VM, listen netip.Addr) (string, error) {
	object := "VM " + vm.GetUuid()
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return "", errs.Wrap(errs.Internal, object, err, "its definition cannot be read")
	}
	files, bridges := map[string]string{}, map[string]string{}
	for _, disk := range vm.GetDisks() {
		files["ua-"+disk.GetUuid()] = disk.GetSource()
	}
	for _, nic := range vm.GetNics() {
		bridges["ua-"+nic.GetUuid()] = nic.GetBridge()
	}
	for i := range d.Devices.Disks {
		disk := &d.Devices.Disks[i]
		if disk.Source == nil || disk.Source.File == nil {
			continue // an empty drive
		}
		file, known := files[alias(disk.Alias)]
		if !known {
			return "", errs.New(errs.Invalid, object, "it has a disk %s that it should not have", disk.Source.File.File)
		}
		// What the other host's file is based on libvirt finds out there.
		disk.Source, disk.BackingStore = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: file}}, nil
	}
	for i := range d.Devices.Interfaces {
		card := &d.Devices.Interfaces[i]
		bridge, known := bridges[alias(card.Alias)]
		if !known || card.Source == nil || card.Source.Bridge == nil {
			return "", errs.New(errs.Invalid, object, "it has a network card %s that it should not have", card.MAC.Address)
		}
		card.Source.Bridge.Bridge = bridge
	}
	for _, screen := range d.Devices.Graphics {
		if screen.VNC != nil {
			screen.VNC.Listen = listen.String()
			screen.VNC.Listeners = []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: listen.String()}}}
		}
	}
	moved, err := d.Marshal()
	if err != nil {
		return "", errs.Wrap(errs.Internal, object, err, "its definition cannot be written")
	}
	return moved, nil
}

func alias(a *libvirtxml.DomainAlias) string {
	if a == nil {
		return ""
	}
	return a.Name
}
