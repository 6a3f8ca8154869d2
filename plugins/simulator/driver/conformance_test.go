package driver

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestConformance holds the simulator to what every plugin promises, so that
// what is tried on it holds for the others.
func TestConformance(t *testing.T) {
	newHost := func() *pluginv1.Host {
		return &pluginv1.Host{Uuid: plugintest.NewUUID(), HypervisorType: hypervisorType, Fields: map[string]string{
			"cpuCapacity": "1000000", "memoryCapacity": fmt.Sprint(1000 * gib)}}
	}
	size := fmt.Sprint(1000 * tib)
	storage := &pluginv1.Storage{Uuid: plugintest.NewUUID(), Type: primaryType, Fields: map[string]string{
		"totalCapacity": size, "availableCapacity": size, "totalPhysicalCapacity": size, "availablePhysicalCapacity": size}}
	shop := &pluginv1.Storage{Uuid: plugintest.NewUUID(), Type: backupType, Fields: map[string]string{
		"totalCapacity": size, "availableCapacity": size}}
	wrong := func(s *pluginv1.Storage, field string) *pluginv1.Storage {
		return &pluginv1.Storage{Uuid: plugintest.NewUUID(), Type: s.Type, Fields: map[string]string{field: "much"}}
	}
	dir := t.TempDir()
	conn := plugintest.Loopback(t, New("test"), plugintest.WithDataDir(dir))
	host := newHost()
	_, err := conn.Hypervisor().ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	_, err = conn.BackupStorage().ConnectStore(t.Context(), &pluginv1.ConnectStoreRequest{Store: shop})
	must(t, err)
	l2 := &pluginv1.L2Network{Uuid: plugintest.NewUUID(), Type: l2Type, PhysicalInterface: "eth0"}
	bridge, err := conn.L2Network().Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: l2})
	must(t, err)

	t.Run("hypervisor", func(t *testing.T) {
		host := newHost()
		plugintest.Hypervisor(t, plugintest.HypervisorFixture{Conn: conn, Host: host, Target: newHost(), Absent: newHost(),
			NIC: func(n int, uuid string) *pluginv1.NIC {
				bridge, err := conn.L2Network().Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: l2})
				must(t, err)
				return &pluginv1.NIC{Uuid: uuid, Mac: fmt.Sprintf("fa:00:00:00:01:%02x", n), Bridge: bridge.GetBridge()}
			},
			Plugged: func(_ context.Context, vm string, n *pluginv1.NIC) (bool, error) {
				w, err := world.Load(dir)
				return err == nil && slices.ContainsFunc(w.VMs[vm].NICs, func(has world.NIC) bool { return has.UUID == n.GetUuid() }), err
			},
			VM: func(n int, uuid string) *pluginv1.VM {
				return &pluginv1.VM{Uuid: uuid, Name: fmt.Sprintf("vm-%d", n), CpuNum: 1, MemoryBytes: gib}
			}})
	})
	t.Run("primary storage", func(t *testing.T) {
		plugintest.PrimaryStorage(t, plugintest.PrimaryStorageFixture{Conn: conn, Storage: storage, Host: host, Invalid: wrong(storage, "totalPhysicalCapacity"),
			SourceOf: func(t *testing.T, image string) *pluginv1.ImageSource {
				_, err := conn.BackupStorage().AddImage(t.Context(), &pluginv1.AddImageRequest{Store: shop, ImageUuid: image,
					Url: "http://192.0.2.1/i.qcow2?virtual=1048576&actual=65536", Format: "qcow2"})
				if err != nil { // the kit also asks for an image that cannot be
					return &pluginv1.ImageSource{}
				}
				r, err := conn.BackupStorage().ExportImage(t.Context(), &pluginv1.ExportImageRequest{Store: shop, ImageUuid: image})
				must(t, err)
				return r.GetSource()
			}})
	})
	t.Run("backup storage", func(t *testing.T) {
		plugintest.BackupStorage(t, plugintest.BackupStorageFixture{Conn: conn, Store: shop, Invalid: wrong(shop, "totalCapacity"),
			ImageURL: "http://192.0.2.1/i.qcow2?virtual=1048576&actual=65536", NoBytes: true})
	})
	t.Run("L2 network", func(t *testing.T) {
		plugintest.L2Network(t, plugintest.L2NetworkFixture{Conn: conn, Host: host, Network: func(n int, uuid string) *pluginv1.L2Network {
			return &pluginv1.L2Network{Uuid: uuid, Type: l2Type, PhysicalInterface: fmt.Sprintf("eth%d", n+1)}
		}})
	})
	t.Run("network service", func(t *testing.T) {
		network := plugintest.NewUUID()
		plugintest.NetworkService(t, plugintest.NetworkServiceFixture{Conn: conn, Host: host,
			Network: &pluginv1.L3Network{Uuid: network, Bridge: bridge.GetBridge(), Services: []string{"DHCP"},
				Ranges: []*pluginv1.IPRange{{NetworkCidr: "10.0.0.0/16", Gateway: "10.0.0.1", Netmask: "255.255.0.0"}}},
			NIC: func(n int, uuid string) *pluginv1.GuestNIC {
				return &pluginv1.GuestNIC{NicUuid: uuid, L3Uuid: network, VmUuid: plugintest.NewUUID(), Mac: fmt.Sprintf("fa:00:00:00:%02x:%02x", n>>8&255, n&255),
					Ip: fmt.Sprintf("10.0.%d.%d", 1+n>>8&255, n&255), Netmask: "255.255.0.0", Gateway: "10.0.0.1"}
			}})
	})
}
