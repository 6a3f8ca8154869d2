package driver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// withoutFirmware runs f while the machine has no UEFI firmware to choose from.
func withoutFirmware(t *testing.T, f func()) {
	t.Helper()
	const descriptors = "/usr/share/qemu/firmware"
	must(t, unix.Mount("tmpfs", descriptors, "tmpfs", 0, "mode=755"))
	defer func() { must(t, unix.Unmount(descriptors, 0)) }()
	f()
}

// idle is a guest with nothing on its disk.
func idle(t *testing.T, agent hostv1.HostAgentServiceClient) *pluginv1.VM {
	t.Helper()
	root := t.TempDir()
	disk := filepath.Join(root, "disk.qcow2")
	_, err := agent.CreateDisk(t.Context(), &hostv1.CreateDiskRequest{Path: disk, Format: "qcow2", SizeBytes: 1 << 20, Root: root})
	must(t, err)
	return &pluginv1.VM{Uuid: vmUUID, Name: "idle", CpuNum: 1, MemoryBytes: 64 << 20, Disks: []*pluginv1.Disk{{Uuid: volUUID, Source: disk, Format: "qcow2"}}}
}

// What UEFI firmware keeps is there from the first start to the guest's end, also
// while the guest does not run.
func TestUEFIKeepsItsVariables(t *testing.T) {
	d, host := testDriver(t)
	_, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	vm := idle(t, agentOf(t, d, host))
	start := func() error {
		_, err := d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
		return err
	}
	kept := func() os.FileInfo {
		t.Helper()
		info, err := os.Stat(domain.NVRAM(vmUUID))
		must(t, err)
		return info
	}
	destroy := func() {
		t.Helper()
		_, err := d.DestroyVM(t.Context(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
		if entries, err := os.ReadDir(domain.NVRAMFolder); err != nil || len(entries) > 0 {
			t.Errorf("the firmware's folder has %v: %v", entries, err)
		}
	}
	must(t, start()) // by a BIOS
	destroy()

	vm.Firmware = "uefi"
	withoutFirmware(t, func() {
		if err := start(); !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), "install the package ovmf") {
			t.Errorf("started without firmware: %v", err)
		}
	})
	destroy()
	must(t, start())
	first := kept()
	_, err = d.StopVM(t.Context(), &pluginv1.StopVMRequest{Host: host, VmUuid: vmUUID, Cold: true})
	must(t, err)
	if !os.SameFile(first, kept()) {
		t.Error("it is another file after a stop")
	}
	must(t, start())
	_, err = d.RebootVM(t.Context(), &pluginv1.RebootVMRequest{Host: host, Vm: vm})
	must(t, err)
	if !os.SameFile(first, kept()) {
		t.Error("it is another file after a start")
	}
	destroy()
	destroy() // gone is a success
}
