package domain

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"libvirt.org/go/libvirtxml"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	uuid = "0123456789abcdef0123456789abcdef"
	vol  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	nic  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func sample() *pluginv1.VM {
	return &pluginv1.VM{
		Uuid: uuid, Name: "web <1> & \"co\"\n", CpuNum: 2, MemoryBytes: 1 << 30, Architecture: "x86_64", Platform: "Linux",
		ConsolePassword: "secret&", BootOrder: []string{"cdrom", "hd"},
		Disks: []*pluginv1.Disk{
			{Uuid: strings.Repeat("c", 32), Source: "/kumo/iso", Format: "raw", Cdrom: true},
			{Uuid: strings.Repeat("d", 32), Source: "/kumo/data's <disk>", Format: "raw", DeviceId: 2, Shareable: true},
			{Uuid: vol, Source: "/kumo/root.qcow2", Format: "qcow2"},
		},
		Nics: []*pluginv1.NIC{
			{Uuid: strings.Repeat("e", 32), Mac: "fa:00:00:00:00:02", DeviceId: 1, Bridge: "br_eth1", InternalName: "vnic7.1", Driver: "e1000"},
			{Uuid: nic, Mac: "fa:00:00:00:00:01", Bridge: "br_eth0", InternalName: "vnic7.0", Mtu: 1450},
		},
	}
}

func options() Options {
	return Options{VNCListen: netip.MustParseAddr("127.0.0.1"), DiskCache: "none"}
}

func TestBuild(t *testing.T) {
	arm := &pluginv1.VM{Uuid: uuid, Name: "arm", CpuNum: 1, MemoryBytes: 1 << 30, Architecture: "aarch64",
		Disks: []*pluginv1.Disk{{Source: "/kumo/root.qcow2", Format: "qcow2"}, {Cdrom: true}}}
	windows := &pluginv1.VM{Uuid: uuid, Name: "win", CpuNum: 1, MemoryBytes: 1 << 30, Platform: "Windows",
		Disks: []*pluginv1.Disk{{Source: "/kumo/root.qcow2", Format: "qcow2", Bus: "sata"}, {Cdrom: true}},
		Nics:  []*pluginv1.NIC{{Uuid: nic, Mac: "fa:00:00:00:00:01", Bridge: "br_eth0", InternalName: "vnic7.0", Driver: "e1000"}}}
	scsi := &pluginv1.VM{Uuid: uuid, Name: "scsi", CpuNum: 1, MemoryBytes: 1 << 30,
		Disks: []*pluginv1.Disk{{Source: "/kumo/root.qcow2", Format: "qcow2"}, {Source: "/kumo/data.qcow2", Format: "qcow2", DeviceId: 1, Bus: "scsi"}}}
	uefi := &pluginv1.VM{Uuid: uuid, Name: "uefi", CpuNum: 1, MemoryBytes: 1 << 30, Firmware: "uefi", BootOrder: []string{"cdrom", "hd"},
		Disks: []*pluginv1.Disk{{Source: "/kumo/root.qcow2", Format: "qcow2"}, {Source: "/kumo/iso", Format: "raw", Cdrom: true}}}
	q35 := sample()
	q35.Options = map[string]string{OptionMachine: machineQ35, OptionProcessor: processorNone}
	slots := proto.CloneOf(q35)
	slots.Nics = slots.Nics[1:]
	q35windows := proto.CloneOf(windows)
	q35windows.Options = map[string]string{OptionMachine: machineQ35, OptionProcessor: "Haswell"}
	kvm := options()
	kvm.KVM = true
	westmere := options()
	westmere.Emulated = "Westmere"
	for name, tc := range map[string]struct {
		vm *pluginv1.VM
		o  Options
	}{"tcg": {sample(), options()}, "kvm": {sample(), kvm}, "arm": {arm, options()}, "windows": {windows, kvm}, "scsi": {scsi, kvm}, "uefi": {uefi, kvm},
		"q35": {q35, westmere}, "slots": {slots, kvm}, "q35windows": {q35windows, kvm}} {
		t.Run(name, func(t *testing.T) {
			got, err := Build(tc.vm, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got+"\n" != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			var back libvirtxml.Domain
			if err := back.Unmarshal(got); err != nil || back.UUID != uuid {
				t.Errorf("it does not read back: %v", err)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pluginv1.VM)
		class  errs.Class
	}{
		"UUID":             {func(vm *pluginv1.VM) { vm.Uuid = "<x/>" }, errs.Invalid},
		"no processor":     {func(vm *pluginv1.VM) { vm.CpuNum = 0 }, errs.Invalid},
		"many processors":  {func(vm *pluginv1.VM) { vm.CpuNum = maxCPUs + 1 }, errs.Invalid},
		"no memory":        {func(vm *pluginv1.VM) { vm.MemoryBytes = 0 }, errs.Invalid},
		"architecture":     {func(vm *pluginv1.VM) { vm.Architecture = "vax" }, errs.Unsupported},
		"machine":          {func(vm *pluginv1.VM) { vm.Options = map[string]string{OptionMachine: "isapc"} }, errs.Invalid},
		"other's machine":  {func(vm *pluginv1.VM) { vm.Options = map[string]string{OptionMachine: machineVirt} }, errs.Unsupported},
		"processor":        {func(vm *pluginv1.VM) { vm.Options = map[string]string{OptionProcessor: "host"} }, errs.Invalid},
		"firmware":         {func(vm *pluginv1.VM) { vm.Firmware = "efi" }, errs.Invalid},
		"relative disk":    {func(vm *pluginv1.VM) { vm.Disks[0].Source = "disk" }, errs.Invalid},
		"disk by network":  {func(vm *pluginv1.VM) { vm.Disks[0].Source = "nbd://host/x" }, errs.Unsupported},
		"disk format":      {func(vm *pluginv1.VM) { vm.Disks[2].Format = "vmdk" }, errs.Invalid},
		"disk bus":         {func(vm *pluginv1.VM) { vm.Disks[2].Bus = "ide" }, errs.Invalid},
		"device twice":     {func(vm *pluginv1.VM) { vm.Disks[1].DeviceId = 0 }, errs.Invalid},
		"device negative":  {func(vm *pluginv1.VM) { vm.Disks[1].DeviceId = -1 }, errs.Invalid},
		"MAC":              {func(vm *pluginv1.VM) { vm.Nics[0].Mac = "x" }, errs.Invalid},
		"group MAC":        {func(vm *pluginv1.VM) { vm.Nics[0].Mac = "01:00:5e:00:00:01" }, errs.Invalid},
		"bridge":           {func(vm *pluginv1.VM) { vm.Nics[0].Bridge = "" }, errs.Invalid},
		"device name":      {func(vm *pluginv1.VM) { vm.Nics[0].InternalName = "a-name-of-16-byt" }, errs.Invalid},
		"NIC model":        {func(vm *pluginv1.VM) { vm.Nics[0].Driver = "ne2000" }, errs.Invalid},
		"long password":    {func(vm *pluginv1.VM) { vm.ConsolePassword = "123456789" }, errs.Invalid},
		"control password": {func(vm *pluginv1.VM) { vm.ConsolePassword = "a\x01" }, errs.Invalid},
	} {
		vm := sample()
		tc.change(vm)
		if _, err := Build(vm, options()); !errors.Is(err, tc.class) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := options()
	o.DiskCache = "unsafe"
	if _, err := Build(sample(), o); !errors.Is(err, errs.Invalid) {
		t.Errorf("cache mode: %v", err)
	}
}

func TestDeviceName(t *testing.T) {
	for n, want := range map[int]string{0: "vda", 25: "vdz", 26: "vdaa", 27: "vdab", 26 + 26*26 - 1: "vdzz"} {
		if got := deviceName("vd", n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestVNCPort(t *testing.T) {
	for text, want := range map[string]int32{
		`<domain><devices><graphics type='vnc' port='5903'/></devices></domain>`: 5903,
		`<domain><devices><graphics type='vnc' port='-1'/></devices></domain>`:   0,
		`<domain/>`: 0,
	} {
		if got, err := VNCPort(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	if _, err := VNCPort("<"); err == nil {
		t.Error("broken XML was read")
	}
}
