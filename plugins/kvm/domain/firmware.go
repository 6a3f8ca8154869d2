package domain

import (
	"path"

	"libvirt.org/go/libvirtxml"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// NVRAMFolder is where libvirt lets guests keep what their UEFI firmware stores.
const NVRAMFolder = "/var/lib/libvirt/qemu/nvram"

// Firmwares of a guest; the contract has no others.
const (
	firmwareBIOS = "bios"
	firmwareUEFI = "uefi"
)

// NVRAM is the file with the variables of the guest's UEFI firmware, such as the
// boot entries that its system has set. libvirt makes it at the first start from
// a template and never removes it for a guest without a definition. The name is
// libvirt's own choice, but is written down, as it differs between versions.
func NVRAM(uuid string) string { return path.Join(NVRAMFolder, uuid+"_VARS.fd") }

// UEFI reports whether the guest starts by UEFI. Machines of ARM know no BIOS.
func UEFI(vm *pluginv1.VM) bool { return vm.GetFirmware() == firmwareUEFI || isARM(vm) }

// FirmwarePackage is the package of Debian with the guest's UEFI firmware.
func FirmwarePackage(vm *pluginv1.VM) string {
	if isARM(vm) {
		return "qemu-efi-aarch64"
	}
	return "ovmf"
}

// addUEFI has libvirt choose among the host's UEFI firmwares one that starts any
// system. Those with Secure Boot, which libvirt would prefer for ARM, start only
// what Microsoft has signed.
func addUEFI(os *libvirtxml.DomainOS, vm *pluginv1.VM) {
	os.Firmware = "efi"
	os.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{
		Features: []libvirtxml.DomainOSFirmwareFeature{{Name: "secure-boot", Enabled: "no"}},
	}
	os.NVRam = &libvirtxml.DomainNVRam{NVRam: NVRAM(vm.GetUuid())}
}
