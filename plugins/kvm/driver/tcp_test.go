package driver

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// run runs a program that must succeed and returns what it says.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// clients are the numbers of the connections that libvirtd has. It fails the
// test when one of them is not TCP.
func clients(t *testing.T) []string {
	t.Helper()
	var all []string
	_, table, _ := strings.Cut(run(t, "virt-admin", "-c", "libvirtd:///system", "client-list", "libvirtd"), "---\n")
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if fields[1] != "tcp" {
			t.Errorf("libvirtd has a connection that is not TCP: %s", line)
		}
		all = append(all, fields[0])
	}
	return all
}

// overTCP connects a driver to a libvirtd that listens on TCP, the way an
// operator has both: the setting has no port.
func overTCP(t *testing.T) (d *Driver, host *pluginv1.Host, address string) {
	t.Helper()
	d, host = testDriver(t)
	address = "127.0.0.1:" + rig.LibvirtdTCP(t)
	var err error
	d.cfg.Links.Libvirt, err = hostlink.ParseLibvirt("qemu+tcp:///system")
	must(t, err)
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	t.Cleanup(func() {
		_, err := d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
	})
	if len(clients(t)) == 0 {
		t.Fatal("libvirt was not reached through TCP")
	}
	return d, host, address
}

func watch(t *testing.T, d *Driver, host *pluginv1.Host) (<-chan *pluginv1.VMStatus, <-chan error) {
	t.Helper()
	states, ended := make(chan *pluginv1.VMStatus, 100), make(chan error, 1)
	go func() {
		ended <- d.WatchHost(t.Context(), &pluginv1.WatchHostRequest{Host: host}, func(s *pluginv1.VMStatus) error { states <- s; return nil })
	}()
	return states, ended
}

// expectLoss waits until the watch has seen that the connection is lost: sooner
// than TCP's own probes would tell it.
func expectLoss(t *testing.T, ended <-chan error) {
	t.Helper()
	begin := time.Now()
	select {
	case err := <-ended:
		expectUnavailable(t, "WatchHost", err)
		t.Logf("loss seen in %s: %v", time.Since(begin), err)
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not see that the connection is lost")
	}
}

func expectListed(t *testing.T, d *Driver, host *pluginv1.Host, want ...string) {
	t.Helper()
	listed, err := d.ListVMs(t.Context(), &pluginv1.ListVMsRequest{Host: host})
	must(t, err)
	var got []string
	for _, vm := range listed.GetVms() {
		got = append(got, vm.GetUuid())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("listed %v, not %v", got, want)
	}
}

func expectUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "host "+hostUUID) {
		t.Fatalf("%s without libvirt: %v", what, err)
	}
}

// watchIdleGuest watches the host and starts a guest on it, which boots from an
// empty disk and so only waits. It returns when the watch has told of it.
func watchIdleGuest(t *testing.T, d *Driver, host *pluginv1.Host) (ended <-chan error) {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", disk, "1M")
	states, ended := watch(t, d, host)
	begin := time.Now()
	_, err := d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: &pluginv1.VM{Uuid: vmUUID, Name: "tcp", CpuNum: 1, MemoryBytes: 32 << 20,
		Disks: []*pluginv1.Disk{{Uuid: volUUID, Source: disk, Format: "qcow2"}}}})
	must(t, err)
	t.Logf("started in %s", time.Since(begin))
	t.Cleanup(func() {
		_, err := d.DestroyVM(context.Background(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
	})
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	expectListed(t, d, host, vmUUID)
	return ended
}

// silence loses all packets to the port until it is healed.
func silence(t *testing.T, port string) (heal func()) {
	t.Helper()
	run(t, "nft", "add", "table", "inet", "silence")
	heal = sync.OnceFunc(func() { run(t, "nft", "delete", "table", "inet", "silence") })
	t.Cleanup(heal)
	run(t, "nft", "add", "chain", "inet", "silence", "input", "{ type filter hook input priority 0; }")
	run(t, "nft", "add", "rule", "inet", "silence", "input", "tcp", "dport", port, "drop")
	return heal
}

func TestLibvirtOverTCP(t *testing.T) {
	d, host, address := overTCP(t)
	ended := watchIdleGuest(t, d, host)

	rig.StopLibvirtd(t)
	expectLoss(t, ended)
	_, err := d.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: host})
	expectUnavailable(t, "CheckHost", err)
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	expectUnavailable(t, "ConnectHost", err)
	if !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "libvirtd-tcp.socket") {
		t.Errorf("it does not tell address and advice: %v", err)
	}
	_, err = d.ListVMs(t.Context(), &pluginv1.ListVMsRequest{Host: host})
	expectUnavailable(t, "ListVMs", err)

	rig.StartLibvirtd(t)
	begin := time.Now()
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	t.Logf("connected again in %s, %d connections", time.Since(begin), len(clients(t)))
	expectListed(t, d, host, vmUUID)
	states, _ := watch(t, d, host)
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	pauseAndResume(t, d, host, states)
	_, err = d.DestroyVM(t.Context(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
	must(t, err)
	expectState(t, states, pluginv1.VMState_VM_STATE_STOPPED)
	expectListed(t, d, host)
}

// A host's connections stand or fall together: a watch that goes on beside a
// connection for work that is cut would call a host good that cannot work.
func TestLibvirtOverTCPIsCut(t *testing.T) {
	d, host, _ := overTCP(t)
	ended := watchIdleGuest(t, d, host)
	before := clients(t)
	run(t, "virt-admin", "-c", "libvirtd:///system", "client-disconnect", "libvirtd", before[len(before)-1])
	expectLoss(t, ended)

	_, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	after := clients(t)
	if len(after) != len(before) || slices.ContainsFunc(after, func(c string) bool { return slices.Contains(before, c) }) {
		t.Errorf("connections %v before the cut, %v after", before, after)
	}
	expectListed(t, d, host, vmUUID)
	states, _ := watch(t, d, host)
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
}

// Nobody says goodbye when a network fails: packets are lost, and connections
// look open at both ends.
func TestLibvirtOverTCPIsSilent(t *testing.T) {
	d, host, address := overTCP(t)
	ended := watchIdleGuest(t, d, host)
	_, port, _ := strings.Cut(address, ":")
	heal := silence(t, port)

	begin := time.Now()
	_, err := d.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: host})
	expectUnavailable(t, "CheckHost", err)
	if took := time.Since(begin); took > checkTimeout+time.Second {
		t.Errorf("CheckHost took %s", took)
	}
	expectLoss(t, ended)

	heal()
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	expectListed(t, d, host, vmUUID)
}
