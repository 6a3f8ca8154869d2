package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages(rig.Hypervisor...), rig.WithPackages("openssh-server", "openssl"))
}

// TestConformance runs the kit on the plugin's process, with a real libvirtd
// and real, if idle, guests.
func TestConformance(t *testing.T) {
	rig.Libvirtd(t)
	bin := t.TempDir()
	rig.Build(t, "./plugins/kvm", filepath.Join(bin, "kumo-plugin-kvm"))
	rig.Build(t, "./plugins/kvm/cmd/kumo-hostd", filepath.Join(bin, "kumo-hostd"))
	state, err := os.MkdirTemp("/run", "k")
	if err != nil {
		t.Fatal(err)
	}
	conn := plugintest.Process(t, filepath.Join(bin, "kumo-plugin-kvm"), plugintest.WithSettings(map[string]string{"stateFolder": state}),
		plugintest.WithCore(&plugintest.Core{OnSign: plugintest.Authority(t)}))
	disks := t.TempDir()
	const here, there, password = "10.77.0.1", "10.77.0.2", "x"
	far := rig.NewMachine(t, "far")
	far.Plug("near0", here+"/24", "eth0", there+"/24")
	far.Libvirtd()
	far.SSH(there, password)
	host := func(address string) *pluginv1.Host {
		return &pluginv1.Host{Uuid: plugintest.NewUUID(), ManagementIp: address, HypervisorType: "KVM",
			Fields: map[string]string{"username": "root", "password": password, "sshPort": "22"}}
	}
	if out, err := exec.Command("ip", "link", "add", "br_conf", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	plugintest.Hypervisor(t, plugintest.HypervisorFixture{
		Conn: conn, Host: host(here), Target: host(there), Absent: host("127.0.0.1"), Parallel: 4,
		Idle: true, // driver.TestNICsComeAndGo has a guest that lets go
		NIC: func(n int, uuid string) *pluginv1.NIC {
			return &pluginv1.NIC{Uuid: uuid, Mac: fmt.Sprintf("fa:00:00:00:02:%02x", n), Bridge: "br_conf", InternalName: "conf" + uuid[:8]}
		},
		Plugged: func(_ context.Context, _ string, n *pluginv1.NIC) (bool, error) {
			_, err := netlink.LinkByName(n.GetInternalName())
			return err == nil, nil
		},
		VM: func(n int, uuid string) *pluginv1.VM {
			disk := filepath.Join(disks, strconv.Itoa(n)+".qcow2")
			if _, err := os.Stat(disk); err != nil {
				if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M").CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			return &pluginv1.VM{Uuid: uuid, Name: "guest " + strconv.Itoa(n), CpuNum: 1, MemoryBytes: 32 << 20,
				Disks: []*pluginv1.Disk{{Uuid: uuid, Source: disk, Format: "qcow2"}}}
		},
	})
}
