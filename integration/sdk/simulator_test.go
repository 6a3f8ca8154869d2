package sdk

import (
	"fmt"
	"os"
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/view"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { os.Exit(server.Main(tests{m})) }

// tests start a MariaDB when one needs it.
type tests struct{ *testing.M }

func (m tests) Run() int { return mariadb.Main(m.M) }

func TestSimulatedCloud(t *testing.T) {
	s := server.Start(t, server.Options{})
	size := int64(1 << 40)
	Walk(t, &Backend{
		Server: s, Hypervisor: "Simulator", Provider: "Simulator",
		ImageURL: "http://192.0.2.1/b.qcow2?virtual=2147483648&actual=1048576",
		Uplink:   "eth1",
		Range:    param.AddIpRangeDetailParam{Name: "r", StartIp: "10.9.0.10", EndIp: "10.9.0.20", Netmask: "255.255.255.0", Gateway: "10.9.0.1"},
		Hosts: func(t *testing.T, c *client.ZSClient, cluster string) {
			for i := range 2 {
				Make(t, c, wire.Hosts+"/simulators", wire.Params{"name": fmt.Sprintf("sdk-%d", i+1), "managementIp": fmt.Sprintf("198.18.0.%d", i+1),
					"clusterUuid": cluster, "cpuCapacity": 100, "memoryCapacity": size})
			}
		},
		Primary: func(t *testing.T, c *client.ZSClient, zone string) string {
			return Make(t, c, wire.PrimaryStorages+"/simulators", wire.Params{"name": "sdk", "zoneUuid": zone, "url": "/sdk",
				"totalCapacity": size, "availableCapacity": size, "totalPhysicalCapacity": size, "availablePhysicalCapacity": size})
		},
		Backup: func(t *testing.T, c *client.ZSClient) string {
			return Make(t, c, wire.BackupStorages+"/simulators", wire.Params{"name": "sdk", "url": "/sdk", "totalCapacity": size, "availableCapacity": size})
		},
		Up: func(t *testing.T, vm *view.VmInstanceInventoryView, _ int) {
			if guest := s.World().VMs[vm.UUID]; guest == nil || !guest.Active() {
				t.Errorf("the simulated guest is %+v", guest)
			}
		},
		Down: func(t *testing.T, uuid string) {
			if guest := s.World().VMs[uuid]; guest != nil && guest.Active() {
				t.Errorf("the simulated guest is %+v", guest)
			}
		},
		Audit: func() { s.Audit(s.Database()) },
	})
}
