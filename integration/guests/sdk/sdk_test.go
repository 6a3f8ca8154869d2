// Package sdk has the public Go SDK of ZStack make a cloud of a real host, run a
// guest in it that boots, and remove it again.
package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/view"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/sdk"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

// bootTimeout is for an emulated guest on a busy machine.
const bootTimeout = 120 * time.Second

func TestRealCloud(t *testing.T) {
	c := guests.Alone(t)
	sdk.Walk(t, &sdk.Backend{
		Server: c.Server, Hypervisor: "KVM", Provider: guests.Provider,
		ImageURL: "file://" + filepath.Join(guests.SourceFolder, "guest.qcow2"),
		Uplink:   guests.Uplink,
		Range:    param.AddIpRangeDetailParam{Name: "r", StartIp: "172.31.0.10", EndIp: "172.31.0.99", Netmask: "255.255.255.0", Gateway: guests.Gateway},
		Hosts: func(t *testing.T, c *client.ZSClient, cluster string) {
			_, err := c.AddKVMHost(param.AddKVMHostParam{Params: param.AddKVMHostDetailParam{Name: "here", ClusterUuid: cluster,
				ManagementIp: "127.0.0.1", SshPort: 22, Username: "root", Password: "not-used"}})
			if err != nil {
				t.Fatal(err)
			}
		},
		Primary: func(t *testing.T, c *client.ZSClient, zone string) string {
			return sdk.Make(t, c, wire.PrimaryStorages+"/local-storage", wire.Params{"name": "local", "zoneUuid": zone, "url": guests.PrimaryFolder})
		},
		Backup: func(t *testing.T, c *client.ZSClient) string {
			store, err := c.AddImageStoreBackupStorage(param.AddImageStoreBackupStorageParam{Params: param.AddImageStoreBackupStorageDetailParam{
				Name: "images", Url: guests.ImageFolder, Hostname: "127.0.0.1", SshPort: 22, Username: "root", Password: "not-used"}})
			if err != nil {
				t.Fatal(err)
			}
			return store.UUID
		},
		Up: up, Down: down, Audit: func() { c.AuditRows(c.Database()) },
	})
	c.End()
}

// up waits until the guest has come up n times by its console, and then looks
// whether it is what the SDK was told.
func up(t *testing.T, vm *view.VmInstanceInventoryView, n int) {
	t.Helper()
	if !domain(t, vm.UUID) {
		t.Errorf("libvirt has no domain %s", vm.UUID)
	}
	begin := time.Now()
	text := console(t, vm.UUID)
	for ; strings.Count(text, "GUEST-READY") < n; text = console(t, vm.UUID) {
		if time.Since(begin) > bootTimeout {
			t.Fatalf("the guest is not up for the %d. time after %s; its console ends with:\n%s", n, bootTimeout, text[max(0, len(text)-1500):])
		}
		time.Sleep(50 * time.Millisecond) // a console is a file: nothing tells when it grows
	}
	t.Logf("up for the %d. time after %s", n, time.Since(begin).Round(time.Millisecond))
	last := strings.Split(text, "GUEST-READY")[n-1]
	nic := vm.VMNics[0]
	for _, want := range []string{"guest: address eth0 " + nic.IP + "/24 mac " + nic.Mac, "guest: metadata instance-id " + vm.UUID + " hostname " + sdk.Hostname} {
		if !strings.Contains(last, want) {
			t.Errorf("the guest does not tell %q; it told:\n%s", want, last)
		}
	}
	if out, err := exec.Command("ping", "-n", "-c", "1", "-W", "5", nic.IP).CombinedOutput(); err != nil {
		t.Errorf("the guest does not answer a ping: %v: %s", err, out)
	}
}

func down(t *testing.T, uuid string) {
	t.Helper()
	if domain(t, uuid) {
		t.Errorf("libvirt still has the domain %s", uuid)
	}
}

// console is all that the guest wrote to its serial console.
func console(t *testing.T, uuid string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/var/log/libvirt/qemu", uuid+"-console.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r", "")
}

// domain reports whether libvirt knows the guest.
func domain(t *testing.T, uuid string) bool {
	t.Helper()
	out, err := exec.Command("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--uuid").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(strings.ReplaceAll(string(out), "-", ""), uuid)
}
