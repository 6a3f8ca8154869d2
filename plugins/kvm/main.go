// Command kumo-plugin-kvm runs guests under KVM, or QEMU's emulation, by
// libvirt, and puts the agent kumo-hostd on every host. It must not import
// anything of core or web.
package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/driver"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(newPlugin()) }

// newPlugin declares the host type: message, path and parameters are those of
// the wire catalogue (APIAddKVMHostMsg, APIUpdateKVMHostMsg).
func newPlugin() pluginsdk.Plugin {
	d := driver.New()
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "kvm", Version: version,
			Caption:     pluginsdk.Say("KVM", "KVM"),
			Description: "Runs guests under KVM by libvirt.",
			Hypervisors: []*pluginv1.HypervisorDecl{{
				Type: "KVM",
				Add: &pluginv1.AddMessage{
					Message: "APIAddKVMHostMsg", Path: "/hosts/kvm",
					InventoryClass: "org.zstack.kvm.KVMHostInventory", Subtype: "KVMHost",
					UpdateMessage: "APIUpdateKVMHostMsg",
					Caption:       pluginsdk.Say("KVM host", "KVM物理机"),
					Doc:           pluginsdk.Say("A Linux machine that runs guests under KVM.", "以 KVM 运行云主机的 Linux 物理机。"),
				},
				Fields: fields(), VolumeFormat: "qcow2",
				VolumeBuses: []*pluginv1.VolumeBus{{Tag: "capability::virtio-scsi", Bus: "scsi"}},
				Devices: []*pluginv1.DeviceSet{
					{Name: "virtio", NicModel: "virtio"},
					{Name: "emulated", VolumeBus: "sata", NicModel: "e1000", Everywhere: true},
				},
				BootModes: []*pluginv1.BootMode{
					{Name: "Legacy", Firmware: "bios"}, {Name: "UEFI", Firmware: "uefi"},
					{Name: "UEFI_WITH_CSM", Refused: "UEFI firmware (edk2) has no compatibility support module any more"},
				},
				GuestOptions: guestOptions(),
				// VNC's authentication looks at eight (RFC 6143, section 7.2.2).
				ConsolePasswordLength: 8,
				Checks:                driver.Checks(),
				Optional: []string{pluginsdk.OptionalPause, pluginsdk.OptionalConsole, pluginsdk.OptionalHostGateway, pluginsdk.OptionalAttachNIC,
					pluginsdk.OptionalMigrate},
				MaxNics: domain.MaxNICs,
			}},
			Settings:    settings(),
			Permissions: []string{pluginsdk.PermissionSign + ":" + hostlink.Authority},
		},
		Configure:  func(_ context.Context, env pluginsdk.Env) error { return configure(d, env) },
		Close:      d.Close,
		Hypervisor: d,
	}
}

// guestOptions have the names of the wire: the tag of machine types and the setting
// of processors.
func guestOptions() []*pluginv1.GuestOption {
	return []*pluginv1.GuestOption{
		{Name: domain.OptionMachine, Tag: "vmMachineType::{vmMachineType}", Choices: domain.Machines(),
			Caption: pluginsdk.Say("Machine type", "机器类型")},
		{Name: domain.OptionProcessor, SettingCategory: "kvm", SettingName: "vm.cpuMode", Choices: domain.Processors(),
			Caption: pluginsdk.Say("Processor of VMs", "云主机的CPU模式"),
			Doc: "The processor that guests see from their next start: none is the host's model with KVM and all that the emulator can do without, " +
				"max is all that is possible in either case, host-model and host-passthrough count with KVM, others are models of libvirt."},
	}
}

func fields() []*pluginv1.Field {
	return []*pluginv1.Field{
		{Name: "username", Kind: "string", Required: true, MaxLength: 255, Doc: "The SSH user; root, or one who may use sudo without a password."},
		{Name: "password", Kind: "string", Required: true, Secret: true, MaxLength: 255, Doc: "The SSH user's password."},
		{Name: "sshPort", Kind: "int", Default: "22", Min: 1, Max: 65535, Doc: "The port of the host's SSH server."},
		{Name: "osDistribution", Kind: "string", Fact: true, MaxLength: 64, Caption: pluginsdk.Say("Distribution", "发行版"), Doc: "The distribution's ID, such as debian."},
		{Name: "osRelease", Kind: "string", Fact: true, MaxLength: 64, Caption: pluginsdk.Say("Release", "发行代号"), Doc: "The distribution's code name."},
		{Name: "osVersion", Kind: "string", Fact: true, MaxLength: 64, Caption: pluginsdk.Say("OS version", "系统版本"), Doc: "The distribution's version."},
	}
}

func settings() []*pluginv1.SettingDecl {
	return []*pluginv1.SettingDecl{
		{Name: "libvirtURI", Default: "", Doc: "How libvirt is reached on hosts: empty for its unix socket (through SSH on other machines), qemu+unix:///system?socket=PATH, or qemu+tcp://:PORT/system (16509 without a port) for TCP on their management addresses, without password and encryption."},
		{Name: "hostdPort", Default: "7171", Kind: "int", Min: 1, Max: 65535, Doc: "The TCP port of the agent on hosts other than this machine."},
		{Name: "stateFolder", Default: "/var/lib/kumo/hostd", Holds: "plainpath", Doc: "The agent's folder on each host."},
		{Name: "emulation", Default: string(driver.Auto), Doc: "auto, kvm or tcg: whether guests run by KVM, or emulated where it does not work."},
		{Name: "diskCache", Default: "none", Doc: "QEMU's cache mode for disks: none, writeback, writethrough or directsync."},
	}
}

// configure makes the driver's configuration of the plugin's settings.
func configure(d *driver.Driver, env pluginsdk.Env) error {
	self, err := os.Executable()
	if err != nil {
		return errs.Wrap(errs.Internal, "plugin kvm", err, "its own program cannot be found")
	}
	port, err := strconv.Atoi(env.Settings["hostdPort"])
	if err != nil {
		return errs.New(errs.Invalid, "setting hostdPort", "%q is no port", env.Settings["hostdPort"])
	}
	libvirt, err := hostlink.ParseLibvirt(env.Settings["libvirtURI"])
	if err != nil {
		return err
	}
	return d.Configure(driver.Config{
		Links: hostlink.Config{
			DataDir: env.DataDir, Hostd: filepath.Join(filepath.Dir(self), "kumo-hostd"),
			StateDir: env.Settings["stateFolder"], Port: port, Libvirt: libvirt, Sign: env.Core.Sign,
		},
		Emulation: driver.Emulation(env.Settings["emulation"]), DiskCache: env.Settings["diskCache"], Progress: env.Core.Progress, Log: env.Log,
	})
}
