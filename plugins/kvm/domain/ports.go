package domain

import (
	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Ports reads from a running definition which devices of the host the guest's
// NICs are, and which bridge each is to be plugged into.
func Ports(text string) ([]*hostv1.Port, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return nil, errs.Wrap(errs.Internal, "VM", err, "its definition cannot be read")
	}
	if d.Devices == nil {
		return nil, nil
	}
	var ports []*hostv1.Port
	for _, i := range d.Devices.Interfaces {
		if i.Source != nil && i.Source.Bridge != nil && i.Target != nil && i.Target.Dev != "" {
			ports = append(ports, &hostv1.Port{Device: i.Target.Dev, Bridge: i.Source.Bridge.Bridge})
		}
	}
	return ports, nil
}

// Files reads from a running definition which files of the host the guest writes.
func Files(text string) ([]string, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return nil, errs.Wrap(errs.Internal, "VM", err, "its definition cannot be read")
	}
	var files []string
	if d.Devices == nil {
		return nil, nil
	}
	for _, disk := range d.Devices.Disks {
		if disk.ReadOnly == nil && disk.Source != nil && disk.Source.File != nil && disk.Source.File.File != "" {
			files = append(files, disk.Source.File.File)
		}
	}
	return files, nil
}
