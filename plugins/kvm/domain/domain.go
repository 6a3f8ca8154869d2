package domain

import (
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Namespace marks guests as ours in libvirt's metadata.
const Namespace = "https://kumo-cloud.github.io/xmlns/guest/1"

// LogFolder is where libvirt lets a guest's QEMU write.
const LogFolder = "/var/log/libvirt/qemu"

const (
	// tbCacheMiB bounds the translation cache of software emulation, which
	// otherwise takes 1 GiB for each guest; 64 MiB costs a small guest nothing.
	tbCacheMiB = 64
	maxCPUs    = 1024
	maxTitle   = 255
)

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Options are the choices that are the host's and not the guest's.
type Options struct {
	// KVM runs the guest on the processor; otherwise it is emulated.
	KVM bool
	// VNCListen is the address of the guest's screen.
	VNCListen netip.Addr
	// DiskCache is a cache mode of QEMU: none, writeback, writethrough.
	DiskCache string
	// Emulated names the processor of emulated guests of x86 (NearestProcessor); ""
	// is all that the emulator can do.
	Emulated string
}

// CheckUUID refuses what is not a UUID of 32 lower-case hex digits (Invalid).
func CheckUUID(uuid string) error {
	if !uuidPattern.MatchString(uuid) {
		return errs.New(errs.Invalid, "VM", "its UUID %q has not 32 lower-case hex digits", uuid)
	}
	return nil
}

// ParseUUID gives the bytes that libvirt's calls want.
func ParseUUID(uuid string) (out [16]byte, err error) {
	if err := CheckUUID(uuid); err != nil {
		return out, err
	}
	_, err = hex.Decode(out[:], []byte(uuid))
	return out, err
}

// ConsoleLog is the file with what the guest writes to its serial console.
func ConsoleLog(uuid string) string { return path.Join(LogFolder, uuid+"-console.log") }

// Logs lists all files that libvirt and QEMU write for the guest.
func Logs(uuid string) []string {
	return []string{ConsoleLog(uuid), path.Join(LogFolder, uuid+".log")}
}

// Build writes the guest's definition. Errors: Invalid for a value that is
// wrong, Unsupported for a disk or device that this hypervisor has not.
func Build(vm *pluginv1.VM, o Options) (string, error) {
	if err := check(vm); err != nil {
		return "", err
	}
	metadata, err := metadata(vm)
	if err != nil {
		return "", err
	}
	os, err := system(vm)
	if err != nil {
		return "", err
	}
	processor, err := cpu(vm, o)
	if err != nil {
		return "", err
	}
	d := &libvirtxml.Domain{
		Type: "qemu", Name: vm.GetUuid(), UUID: vm.GetUuid(), Title: title(vm.GetName()),
		Metadata: &libvirtxml.DomainMetadata{XML: metadata},
		Memory:   &libvirtxml.DomainMemory{Value: uint(vm.GetMemoryBytes() >> 10), Unit: "KiB"},
		VCPU:     &libvirtxml.DomainVCPU{Placement: "static", Value: uint(vm.GetCpuNum())},
		OS:       os,
		SysInfo:  sysInfo(vm),
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		CPU:      processor,
		Clock:    clock(vm, o),
		// The guest's own reboot stays on the host; all else ends it, and the
		// core decides what comes next.
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: &libvirtxml.DomainDeviceList{},
	}
	if isARM(vm) {
		d.Features.APIC = nil
	}
	if o.KVM {
		d.Type = "kvm"
	} else {
		d.Features.TCG = &libvirtxml.DomainFeatureTCG{TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB", Size: tbCacheMiB}}
	}
	if err := addDevices(d.Devices, vm, o); err != nil {
		return "", err
	}
	text, err := d.Marshal()
	if err != nil {
		return "", errs.Wrap(errs.Internal, "VM "+vm.GetUuid(), err, "its definition cannot be written")
	}
	return text, nil
}

func check(vm *pluginv1.VM) error {
	if err := CheckUUID(vm.GetUuid()); err != nil {
		return err
	}
	object := "VM " + vm.GetUuid()
	switch {
	case vm.GetCpuNum() < 1 || vm.GetCpuNum() > maxCPUs:
		return errs.New(errs.Invalid, object, "%d processors are not between 1 and %d", vm.GetCpuNum(), maxCPUs)
	case vm.GetMemoryBytes() < 16<<20:
		return errs.New(errs.Invalid, object, "%d bytes of memory are less than 16 MiB", vm.GetMemoryBytes())
	case !slices.Contains([]string{"", archX86, archARM}, vm.GetArchitecture()):
		return errs.New(errs.Unsupported, object, "architecture %q is neither x86_64 nor aarch64", vm.GetArchitecture())
	case !slices.Contains([]string{"", firmwareBIOS, firmwareUEFI}, vm.GetFirmware()):
		return errs.New(errs.Invalid, object, "firmware %q is neither %s nor %s", vm.GetFirmware(), firmwareBIOS, firmwareUEFI)
	}
	return nil
}

func isARM(vm *pluginv1.VM) bool { return vm.GetArchitecture() == archARM }

// title shows the guest's name in virsh; XML allows no control characters.
func title(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if runes := []rune(clean); len(runes) > maxTitle {
		clean = string(runes[:maxTitle])
	}
	return clean
}

func metadata(vm *pluginv1.VM) (string, error) {
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"kumo:guest"`
		NS      string   `xml:"xmlns:kumo,attr"`
		UUID    string   `xml:"kumo:uuid"`
	}{NS: Namespace, UUID: vm.GetUuid()})
	if err != nil {
		return "", errs.Wrap(errs.Internal, "VM "+vm.GetUuid(), err, "its metadata cannot be written")
	}
	return string(text), nil
}

func system(vm *pluginv1.VM) (*libvirtxml.DomainOS, error) {
	m, err := machine(vm)
	if err != nil {
		return nil, err
	}
	os := &libvirtxml.DomainOS{
		Type:   &libvirtxml.DomainOSType{Arch: archX86, Machine: m, Type: "hvm"},
		SMBios: &libvirtxml.DomainSMBios{Mode: "sysinfo"},
	}
	if isARM(vm) {
		os.Type.Arch = archARM
	}
	if UEFI(vm) {
		addUEFI(os, vm)
	}
	for _, boot := range vm.GetBootOrder() {
		switch boot {
		case "hd", "cdrom", "network":
			os.BootDevices = append(os.BootDevices, libvirtxml.DomainBootDevice{Dev: boot})
		}
	}
	if len(os.BootDevices) == 0 {
		os.BootDevices = []libvirtxml.DomainBootDevice{{Dev: "hd"}}
	}
	return os, nil
}

// sysInfo lets cloud-init find the metadata service: it asks it on machines
// whose chassis tag ends in ".zstack.io" (cloud-init, DataSourceEc2).
func sysInfo(vm *pluginv1.VM) []libvirtxml.DomainSysInfo {
	return []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{
		System: &libvirtxml.DomainSysInfoSystem{Entry: []libvirtxml.DomainSysInfoEntry{
			{Name: "manufacturer", Value: "Kumo"}, {Name: "product", Value: "Kumo Guest"}, {Name: "uuid", Value: dashed(vm.GetUuid())},
		}},
		Chassis: &libvirtxml.DomainSysInfoChassis{Entry: []libvirtxml.DomainSysInfoEntry{{Name: "asset", Value: "kumo.zstack.io"}}},
	}}}
}

// dashed is the form that libvirt compares with the guest's own UUID.
func dashed(uuid string) string {
	return fmt.Sprintf("%s-%s-%s-%s-%s", uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])
}

// VNCPort reads the port of the guest's screen from a running definition, 0
// when it has none.
func VNCPort(text string) (int32, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return 0, errs.Wrap(errs.Internal, "VM", err, "its definition cannot be read")
	}
	if d.Devices == nil {
		return 0, nil
	}
	for _, g := range d.Devices.Graphics {
		if g.VNC != nil && g.VNC.Port > 0 {
			return int32(g.VNC.Port), nil
		}
	}
	return 0, nil
}

func checkNIC(object string, n *pluginv1.NIC) error {
	if _, err := kinds.Parse("mac", n.GetMac()); err != nil {
		return errs.Wrap(errs.Invalid, object, err, "")
	}
	if err := dataplane.CheckDevice(object, n.GetBridge()); err != nil {
		return err
	}
	if n.GetInternalName() != "" {
		return dataplane.CheckDevice(object, n.GetInternalName())
	}
	return nil
}
