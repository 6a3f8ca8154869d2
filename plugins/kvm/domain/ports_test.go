package domain

import (
	"errors"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestPorts(t *testing.T) {
	ports, err := Ports(`<domain><devices>
		<interface type='bridge'><source bridge='br_eth0'/><target dev='vnic1.0'/></interface>
		<interface type='bridge'><source bridge='br_eth1'/></interface>
		<interface type='network'><source network='default'/><target dev='vnet3'/></interface>
		<interface type='bridge'><source bridge='br_eth1'/><target dev='vnic1.1'/></interface>
	</devices></domain>`)
	if err != nil || len(ports) != 2 || ports[0].GetDevice() != "vnic1.0" || ports[0].GetBridge() != "br_eth0" ||
		ports[1].GetDevice() != "vnic1.1" || ports[1].GetBridge() != "br_eth1" {
		t.Errorf("%v, %v", ports, err)
	}
	if ports, err := Ports("<domain/>"); err != nil || len(ports) > 0 {
		t.Errorf("no devices: %v, %v", ports, err)
	}
	if _, err := Ports("<domain"); !errors.Is(err, errs.Internal) {
		t.Errorf("no definition: %v", err)
	}
}

func TestFiles(t *testing.T) {
	files, err := Files(`<domain><devices>
		<disk type='file' device='disk'><source file='/ps/a.qcow2'/><target dev='vda'/></disk>
		<disk type='file' device='cdrom'><source file='/ps/cd.iso'/><target dev='sda'/><readonly/></disk>
		<disk type='file' device='cdrom'><target dev='sdb'/></disk>
		<disk type='block' device='disk'><source dev='/dev/sdx'/><target dev='vdb'/></disk>
		<disk type='file' device='disk'><source file='/ps/b.qcow2'/><target dev='vdc'/></disk>
	</devices></domain>`)
	if err != nil || !slices.Equal(files, []string{"/ps/a.qcow2", "/ps/b.qcow2"}) {
		t.Errorf("%v, %v", files, err)
	}
	if files, err := Files("<domain/>"); err != nil || len(files) > 0 {
		t.Errorf("no devices: %v, %v", files, err)
	}
	if _, err := Files("<domain"); !errors.Is(err, errs.Internal) {
		t.Errorf("no definition: %v", err)
	}
}
