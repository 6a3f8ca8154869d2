package domain

import (
	"errors"
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
