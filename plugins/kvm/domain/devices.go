package domain

import (
	"regexp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	maxDisks = 64
	// maxPassword is what the VNC protocol uses of a password.
	maxPassword = 8
	// maxCDROMs is what an IDE controller has room for; on other buses the names of
	// as many come before those of disks.
	maxCDROMs = 4
	// maxSerial is what a virtio disk has room for.
	maxSerial = 20
)

var (
	// nicModels are those of network cards, the usual one first.
	nicModels       = []string{"virtio", "e1000", "rtl8139"}
	diskFormats     = []string{"qcow2", "raw"}
	cacheModes      = []string{"none", "writeback", "writethrough", "directsync"}
	passwordPattern = regexp.MustCompile(`^[ -~]*$`)
)

func addDevices(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM, o Options) error {
	if err := addDisks(d, vm, o); err != nil {
		return err
	}
	if err := addNICs(d, vm); err != nil {
		return err
	}
	addSerial(d, vm)
	addPanic(d, vm)
	if err := addScreen(d, vm, o); err != nil {
		return err
	}
	addSlots(d, vm)
	return nil
}

func addDisks(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM, o Options) error {
	object := "VM " + vm.GetUuid()
	if len(vm.GetDisks()) > maxDisks {
		return errs.New(errs.Invalid, object, "%d disks are more than %d", len(vm.GetDisks()), maxDisks)
	}
	if err := CheckCache(o.DiskCache); err != nil {
		return err
	}
	disks := slices.Clone(vm.GetDisks())
	slices.SortStableFunc(disks, func(a, b *pluginv1.Disk) int { return int(a.GetDeviceId()) - int(b.GetDeviceId()) })
	cdroms, used := 0, map[string]bool{}
	for _, disk := range disks {
		x, err := buildDisk(object, disk, o)
		if err != nil {
			return err
		}
		if disk.GetCdrom() {
			x.Target = &libvirtxml.DomainDiskTarget{Dev: deviceName("hd", cdroms), Bus: "ide"}
			switch {
			case isARM(vm), isQ35(vm) && vm.GetPlatform() == "Linux":
				// The kernels that distributions make for clouds know virtio, and not
				// always AHCI.
				x.Target = &libvirtxml.DomainDiskTarget{Dev: deviceName("sd", cdroms), Bus: "scsi"}
			case isQ35(vm):
				x.Target = &libvirtxml.DomainDiskTarget{Dev: deviceName("sd", cdroms), Bus: "sata"}
			}
			cdroms++
		} else {
			if disk.GetDeviceId() < 0 || disk.GetDeviceId() >= 26*27 {
				return errs.New(errs.Invalid, object, "disk %s has device number %d", disk.GetUuid(), disk.GetDeviceId())
			}
			if x.Target, err = diskTarget(disk, vm); err != nil {
				return errs.Wrap(errs.Invalid, object, err, "")
			}
		}
		if used[x.Target.Dev] {
			return errs.New(errs.Invalid, object, "two disks have device number %d", disk.GetDeviceId())
		}
		used[x.Target.Dev] = true
		d.Disks = append(d.Disks, x)
	}
	if cdroms > maxCDROMs {
		return errs.New(errs.Invalid, object, "%d CD-ROM drives are more than %d", cdroms, maxCDROMs)
	}
	index := uint(0)
	// The guest can get disks of either kind while it runs.
	d.Controllers = append(d.Controllers,
		libvirtxml.DomainController{Type: "scsi", Index: &index, Model: "virtio-scsi"},
		libvirtxml.DomainController{Type: "virtio-serial", Index: &index})
	return nil
}

// diskTarget puts a disk on a bus. Machines of ARM have no SATA, and their
// systems know virtio.
func diskTarget(disk *pluginv1.Disk, vm *pluginv1.VM) (*libvirtxml.DomainDiskTarget, error) {
	n := int(disk.GetDeviceId())
	switch bus := disk.GetBus(); {
	case bus == "" || bus == "virtio" || bus == "sata" && isARM(vm):
		return &libvirtxml.DomainDiskTarget{Dev: deviceName("vd", n), Bus: "virtio"}, nil
	case bus == "sata" && isQ35(vm):
		return &libvirtxml.DomainDiskTarget{Dev: deviceName("sd", maxCDROMs+n), Bus: "sata"}, nil
	case bus == "sata":
		return &libvirtxml.DomainDiskTarget{Dev: deviceName("sd", n), Bus: "sata"}, nil
	case bus == "scsi":
		// CD-ROMs of ARM machines come first on this bus; those of Q35 have names
		// of the same kind.
		return &libvirtxml.DomainDiskTarget{Dev: deviceName("sd", maxCDROMs+n), Bus: "scsi"}, nil
	}
	return nil, errs.New(errs.Invalid, "disk "+disk.GetUuid(), "bus %q is not virtio, scsi or sata", disk.GetBus())
}

// CheckCache refuses what is no cache mode of disks (errs.Invalid).
func CheckCache(mode string) error {
	if !slices.Contains(cacheModes, mode) {
		return errs.New(errs.Invalid, "setting diskCache", "%q is not one of %s", mode, strings.Join(cacheModes, ", "))
	}
	return nil
}

// deviceName counts a, b, … z, aa, ab, … as the kernel does.
func deviceName(prefix string, n int) string {
	name := string(rune('a' + n%26))
	for n = n/26 - 1; n >= 0; n = n/26 - 1 {
		name = string(rune('a'+n%26)) + name
	}
	return prefix + name
}

func buildDisk(object string, disk *pluginv1.Disk, o Options) (libvirtxml.DomainDisk, error) {
	var x libvirtxml.DomainDisk
	if disk.GetSource() == "" && disk.GetCdrom() {
		return libvirtxml.DomainDisk{Device: "cdrom", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
			ReadOnly: &libvirtxml.DomainDiskReadOnly{}}, nil // an empty drive
	}
	if strings.Contains(disk.GetSource(), "://") || strings.HasPrefix(disk.GetSource(), "rbd:") {
		return x, errs.New(errs.Unsupported, object, "disk %s is not a file of the host", disk.GetUuid())
	}
	if err := kinds.Exact("path", disk.GetSource()); err != nil {
		return x, errs.Wrap(errs.Invalid, object, err, "disk %s", disk.GetUuid())
	}
	if !slices.Contains(diskFormats, disk.GetFormat()) {
		return x, errs.New(errs.Invalid, object, "disk %s has format %q, not one of %s", disk.GetUuid(), disk.GetFormat(), strings.Join(diskFormats, ", "))
	}
	x = libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: disk.GetFormat(), Cache: o.DiskCache, Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: disk.GetSource()}},
	}
	if uuidPattern.MatchString(disk.GetUuid()) {
		x.Serial = disk.GetUuid()[:maxSerial]
		x.Alias = &libvirtxml.DomainAlias{Name: "ua-" + disk.GetUuid()}
	}
	if disk.GetCdrom() {
		x.Device, x.ReadOnly = "cdrom", &libvirtxml.DomainDiskReadOnly{}
		x.Driver.Cache, x.Driver.Discard = "", ""
	}
	if disk.GetShareable() {
		x.Shareable = &libvirtxml.DomainDiskShareable{}
	}
	return x, nil
}

func addNICs(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM) error {
	object := "VM " + vm.GetUuid()
	if len(vm.GetNics()) > MaxNICs {
		return errs.New(errs.Invalid, object, "%d NICs are more than %d", len(vm.GetNics()), MaxNICs)
	}
	nics := slices.Clone(vm.GetNics())
	slices.SortStableFunc(nics, func(a, b *pluginv1.NIC) int { return int(a.GetDeviceId()) - int(b.GetDeviceId()) })
	for _, n := range nics {
		x, err := buildNIC(object, n)
		if err != nil {
			return err
		}
		d.Interfaces = append(d.Interfaces, x)
	}
	return nil
}

// addSerial gives the guest a serial console, of which libvirt keeps a bounded
// log, and the channel of QEMU's guest agent.
func addSerial(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM) {
	port := uint(0)
	d.Serials = []libvirtxml.DomainSerial{{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainSerialTarget{Port: &port},
		Log:    &libvirtxml.DomainChardevLog{File: ConsoleLog(vm.GetUuid()), Append: "on"},
	}}
	d.Channels = []libvirtxml.DomainChannel{{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
		Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
	}}
}

func addScreen(d *libvirtxml.DomainDeviceList, vm *pluginv1.VM, o Options) error {
	object := "VM " + vm.GetUuid()
	password := vm.GetConsolePassword()
	if len(password) > maxPassword || !passwordPattern.MatchString(password) {
		return errs.New(errs.Invalid, object, "the console password must have at most %d printable ASCII characters", maxPassword)
	}
	if !o.VNCListen.IsValid() {
		return errs.New(errs.Internal, object, "no address for its screen")
	}
	d.Graphics = []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
		Port: -1, AutoPort: "yes", Passwd: password,
		Listeners: []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: o.VNCListen.String()}}},
	}}}
	d.Videos = []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "vga"}}}
	if isARM(vm) || isQ35(vm) {
		index := uint(0)
		d.Controllers = append(d.Controllers, libvirtxml.DomainController{Type: "usb", Index: &index, Model: "qemu-xhci"})
	}
	if isARM(vm) {
		d.Videos[0].Model.Type = "virtio"
		d.Inputs = append(d.Inputs, libvirtxml.DomainInput{Type: "keyboard", Bus: "usb"})
	}
	// A tablet, so that the pointer in the browser and the guest's agree.
	d.Inputs = append(d.Inputs, libvirtxml.DomainInput{Type: "tablet", Bus: "usb"})
	d.MemBalloon = &libvirtxml.DomainMemBalloon{Model: "virtio"}
	d.RNGs = []libvirtxml.DomainRNG{{Model: "virtio",
		Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}}}
	return nil
}
