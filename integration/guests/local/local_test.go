// Package local proves the life of guests on the machine of the server itself.
package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

// soon is how long an event may take until the API shows it.
const soon = 10 * time.Second

// userData tells that it ran, on which guest, and what that is.
const userData = `#!/bin/sh
echo "guest: user data ran on $(hostname)"
echo "guest: known as $(wget -qO- http://169.254.169.254/latest/meta-data/local-hostname)"
echo "guest: host bridge $(cat /sys/bus/pci/devices/0000:00:00.0/device)"
grep -m1 ^flags /proc/cpuinfo | sed "s/^/guest: processor /"
`

func address(t *testing.T, device string) string {
	t.Helper()
	out, err := exec.Command("ip", "-o", "-4", "addr", "show", "dev", device).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestLocalLife takes guests through all that can happen to them on one cloud,
// which at the end leaves nothing: the steps build on each other.
func TestLocalLife(t *testing.T) {
	c := guests.Here(t)
	if a := address(t, guests.Uplink); a != "" {
		t.Errorf("the uplink still has %s", a)
	}
	if a := address(t, "br_"+guests.Uplink); !strings.Contains(a, guests.Gateway+"/24") {
		t.Errorf("the bridge has not taken the address over: %q", a)
	}
	empty := c.Free()
	var one, two *guests.Guest
	guests.Walk(t,
		guests.Step{Name: "boot", Run: func() { one, two = boot(t, c) }},
		guests.Step{Name: "reboot, with a second guest", Run: func() { reboot(t, c, one, two) }},
		guests.Step{Name: "restart of libvirtd", Run: func() { libvirtdRestart(t, c, one) }},
		guests.Step{Name: "server killed", Run: func() { coreKilled(t, c, one, two) }},
		guests.Step{Name: "stop and start", Run: func() { stopAndStart(t, c, one, two) }},
		guests.Step{Name: "power-off inside", Run: func() { powerOffInside(t, c, one) }},
		guests.Step{Name: "emulator killed", Run: func() { emulatorKilled(t, c, one, two) }},
		guests.Step{Name: "destroy, recover, expunge", Run: func() { endOfLife(t, c, one, two, empty) }},
		guests.Step{Name: "delete the zone", Run: func() { cascade(t, c, two) }},
	)
	c.End()
}

// boot creates two guests at once and looks at what the first one got.
func boot(t *testing.T, c *guests.Cloud) (one, two *guests.Guest) {
	begin := time.Now()
	one = c.Create(nil, c.Spec("one"), guests.Tags("web-1", userData)...)
	t.Logf("created in %s", time.Since(begin).Round(time.Millisecond))
	two = c.Create(nil, c.Spec("two"))
	if one.IP == two.IP || one.MAC == two.MAC {
		t.Fatalf("two guests with %s %s and %s %s", one.IP, one.MAC, two.IP, two.MAC)
	}
	console := one.WaitBoot(1)
	t.Logf("up after %s", time.Since(begin).Round(time.Millisecond))
	one.Wants(console,
		fmt.Sprintf("^guest: address eth0 %s/24 mac %s mtu 1500 ", one.IP, one.MAC),
		// To its network, the metadata service, the host route and all else.
		" search "+guests.Domain+" routes 4$",
		"^guest: disk /dev/vda boots 1$",
		"^guest: metadata instance-id "+one.UUID+" hostname web-1$",
		"^guest: user-data begin$", "^guest: user data ran on web-1$", "^guest: user-data exit 0$",
		"^guest: known as web-1\\."+guests.Domain+"$", "^guest: host bridge 0x29c0$") // Q35's
	for _, flag := range []string{"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"} { // of x86-64-v2
		one.Wants(console, "^guest: processor flags.* "+flag+"( |$)")
	}
	if !one.Pings() {
		t.Error("it does not answer a ping")
	}
	if got := one.Page(); got != "hello from web-1" {
		t.Errorf("its page says %q", got)
	}
	for _, name := range []string{"web-1", "web-1." + guests.Domain} {
		if got := c.Lookup(name); !slices.Equal(got, []string{one.IP}) {
			t.Errorf("%s has the addresses %v", name, got)
		}
	}
	return one, two
}

// reboot starts the first guest anew while the second one goes on.
func reboot(t *testing.T, c *guests.Cloud, one, two *guests.Guest) {
	console := two.WaitBoot(1)
	two.Wants(console, "^guest: address eth0 "+two.IP+"/24 ", "^guest: metadata instance-id "+two.UUID, "^guest: user-data none$")
	emulator := two.Emulator()
	c.Do(one.Path(), "rebootVmInstance", nil)
	console = one.WaitBoot(2)
	one.Wants(console, "^guest: disk /dev/vda boots 2$", "^guest: address eth0 "+one.IP+"/24 mac "+one.MAC)
	if two.Emulator() != emulator || !two.Pings() {
		t.Error("the other guest did not go on")
	}
	if got := two.Page(); got != "hello from two" {
		t.Errorf("the other guest's page says %q", got)
	}
}

// libvirtdRestart is an update of libvirt's package.
func libvirtdRestart(t *testing.T, c *guests.Cloud, one *guests.Guest) {
	emulator := one.Emulator()
	rig.RestartLibvirtd(t)
	if one.Emulator() != emulator || !one.Pings() {
		t.Error("the guest did not go on")
	}
	// What needs libvirt works again, at the latest with a new connection.
	begin := time.Now()
	for {
		_, err := c.Client.Act(t.Context(), one.Path(), "pauseVmInstance", nil)
		if err == nil {
			break
		}
		if time.Since(begin) > soon {
			t.Fatalf("libvirt is not used again after %s: %v", soon, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("libvirt is used again after %s", time.Since(begin).Round(time.Millisecond))
	c.Do(one.Path(), "resumeVmInstance", nil)
	c.WaitConnected()
	if got := one.State(); got != "Running" {
		t.Errorf("the guest is %s", got)
	}
}

// coreKilled ends the server without a warning while guests run. They must not
// notice, also when they renew their leases.
func coreKilled(t *testing.T, c *guests.Cloud, one, two *guests.Guest) {
	emulator := one.Emulator()
	c.Kill()
	if one.Emulator() != emulator || !one.Pings() {
		t.Error("the guest did not go on")
	}
	leases := strings.Count(one.Console(), "guest: address ")
	one.Type("udhcpc -n -q -i eth0 -s /etc/udhcpc.script -O staticroutes -O mtu")
	for begin := time.Now(); strings.Count(one.Console(), "guest: address ") == leases; time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > soon {
			t.Fatalf("without the server DHCP does not answer:\n%s", one.Console())
		}
	}
	c.Again()
	c.WaitConnected()
	for _, g := range []*guests.Guest{one, two} {
		g.WaitState("Running", soon)
	}
	if one.Emulator() != emulator {
		t.Error("the guest was started anew")
	}
}

// stopAndStart stops a guest by its power button, and by cutting its power.
func stopAndStart(t *testing.T, c *guests.Cloud, one, two *guests.Guest) {
	running := c.Free()
	boots := one.Boots()
	for i, kind := range []string{"grace", "cold"} {
		begin := time.Now()
		c.Do(one.Path(), "stopVmInstance", wire.Params{"type": kind})
		t.Logf("stop %s took %s", kind, time.Since(begin).Round(time.Millisecond))
		if asked := strings.Contains(one.Console()[strings.LastIndex(one.Console(), "GUEST-READY"):], "guest: power button"); asked != (kind == "grace") {
			t.Errorf("stop %s: the guest saw its power button pressed: %v", kind, asked)
		}
		if one.State() != "Stopped" || one.Domain() || one.Emulator() != 0 {
			t.Errorf("stop %s: state %s, domain %v, emulator %d", kind, one.State(), one.Domain(), one.Emulator())
		}
		now := c.Free()
		if now.CPU != running.CPU+1 || now.Memory != running.Memory+guests.Memory || now.Bytes != running.Bytes {
			t.Errorf("stop %s: free %+v, with the guest %+v", kind, now, running)
		}
		c.Do(one.Path(), "startVmInstance", nil)
		console := one.WaitBoot(boots + i + 1)
		one.Wants(console, fmt.Sprintf("^guest: disk /dev/vda boots %d$", boots+i+1),
			"^guest: address eth0 "+one.IP+"/24 mac "+one.MAC, "^guest: metadata instance-id "+one.UUID+" hostname web-1$")
		if now := c.Free(); now != running {
			t.Errorf("started again: free %+v, before %+v", now, running)
		}
	}
	if !two.Pings() {
		t.Error("the other guest did not go on")
	}
}

// powerOffInside is a guest that shuts down by itself.
func powerOffInside(t *testing.T, c *guests.Cloud, one *guests.Guest) {
	running := c.Free()
	one.Type("poweroff -f")
	t.Logf("noticed after %s", one.WaitState("Stopped", soon).Round(time.Millisecond))
	if now := c.Free(); now.CPU != running.CPU+1 || now.Memory != running.Memory+guests.Memory {
		t.Errorf("free %+v, with the guest %+v", now, running)
	}
	if one.Domain() {
		t.Error("its domain is still there")
	}
	boots := one.Boots()
	c.Do(one.Path(), "startVmInstance", nil)
	one.Wants(one.WaitBoot(boots+1), "^guest: address eth0 "+one.IP+"/24 ")
}

// emulatorKilled is a QEMU that crashes.
func emulatorKilled(t *testing.T, c *guests.Cloud, one, two *guests.Guest) {
	running := c.Free()
	if err := syscall.Kill(one.Emulator(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Logf("noticed after %s", one.WaitState("Stopped", soon).Round(time.Millisecond))
	if now := c.Free(); now.CPU != running.CPU+1 || now.Memory != running.Memory+guests.Memory {
		t.Errorf("free %+v, with the guest %+v", now, running)
	}
	if got := two.State(); got != "Running" || !two.Pings() {
		t.Errorf("the other guest is %s", got)
	}
}

// lease reports whether the agent's DHCP service has an entry for the guest.
func lease(t *testing.T, g *guests.Guest) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(guests.StateFolder, "dhcp", "*", "bindings", strings.ReplaceAll(g.MAC, ":", "")))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// endOfLife destroys, recovers and starts the first guest, and then destroys
// and expunges it.
func endOfLife(t *testing.T, c *guests.Cloud, one, two *guests.Guest, empty guests.Capacity) {
	c.Do(one.Path(), "startVmInstance", nil) // the crash left it stopped
	boots := one.Boots()
	one.WaitBoot(boots + 1)
	c.Remove(one.Path())
	if one.State() != "Destroyed" || one.Domain() || one.Emulator() != 0 || lease(t, one) {
		t.Errorf("destroyed: state %s, domain %v, emulator %d, lease %v", one.State(), one.Domain(), one.Emulator(), lease(t, one))
	}
	if _, err := os.Stat(one.Disk()); err != nil {
		t.Errorf("its disk was not kept: %v", err)
	}
	c.Do(one.Path(), "recoverVmInstance", nil)
	if got := one.State(); got != "Stopped" {
		t.Errorf("recovered: %s", got)
	}
	c.Do(one.Path(), "startVmInstance", nil)
	one.Wants(one.WaitBoot(boots+2),
		"^guest: address eth0 "+one.IP+"/24 ", "^guest: disk /dev/vda boots [6-9]$")
	c.Remove(one.Path())
	c.Do(one.Path(), "expungeVmInstance", nil)
	if one.State() != "" || one.Domain() || lease(t, one) {
		t.Errorf("expunged: state %q, domain %v, lease %v", one.State(), one.Domain(), lease(t, one))
	}
	if _, err := os.Stat(one.Disk()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its disk: %v", err)
	}
	if n, err := c.Client.Count(t.Context(), wire.L3Networks+"/ip-address", "ip="+one.IP); err == nil && n != 0 {
		t.Errorf("its address is still used")
	}
	now := c.Free()
	if now.CPU != empty.CPU-1 || now.Memory != empty.Memory-guests.Memory {
		t.Errorf("free %+v with one guest left, %+v without any", now, empty)
	}
	if !two.Pings() {
		t.Error("the other guest did not go on")
	}
}

// cascade deletes the zone with all that is in it, a running guest included.
func cascade(t *testing.T, c *guests.Cloud, two *guests.Guest) {
	begin := time.Now()
	c.Remove(wire.Zones + "/" + c.Zone)
	t.Logf("the zone went in %s", time.Since(begin).Round(time.Millisecond))
	for path, uuid := range map[string]string{wire.Zones: c.Zone, wire.Clusters: c.Cluster, wire.Hosts: c.Host, wire.PrimaryStorages: c.Primary,
		wire.L2Networks: c.L2, wire.L3Networks: c.L3, wire.VMs: two.UUID, wire.Volumes: two.RootVolume} {
		if n, err := c.Client.Count(t.Context(), path, "uuid="+uuid); err != nil || n != 0 {
			t.Errorf("%s/%s is left: %d, %v", path, uuid, n, err)
		}
	}
	c.Remove(wire.Images + "/" + c.Image)
	if _, err := c.Client.Act(t.Context(), wire.Images+"/"+c.Image, "expungeImage", wire.Params{"backupStorageUuids": []string{c.Backup}}); err != nil {
		t.Errorf("expunge the image: %v", err)
	}
	c.Remove(wire.BackupStorages + "/" + c.Backup)
	if a := address(t, guests.Uplink); !strings.Contains(a, guests.Gateway+"/24") {
		t.Errorf("the uplink has not got its address back: %q", a)
	}
}
