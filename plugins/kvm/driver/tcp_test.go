package driver

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// relay carries TCP connections to libvirtd's unix socket byte by byte. Without
// authentication libvirt's protocol is the same on both.
type relay struct {
	listener net.Listener
	socket   string
	work     sync.WaitGroup

	mu     sync.Mutex // guards what follows; not held during I/O
	open   []net.Conn
	taken  int
	closed bool
}

func startRelay(t *testing.T, address string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	must(t, err)
	r := &relay{listener: listener, socket: rig.Libvirtd(t)}
	t.Cleanup(r.close)
	r.work.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // closed
			}
			r.work.Go(func() { r.carry(near) })
		}
	})
	return r
}

func (r *relay) carry(near net.Conn) {
	far, err := net.Dial("unix", r.socket)
	if err != nil {
		_ = near.Close() // the driver sees a connection that ends
		return
	}
	if !r.keep(near, far) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either end may go first
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// keep remembers the connections for close; after it, it closes them.
func (r *relay) keep(near, far net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_, _ = near.Close(), far.Close() // nobody uses them
		return false
	}
	r.open = append(r.open, near, far)
	r.taken++
	return true
}

// close ends the listener and all connections, as a host that goes does.
func (r *relay) close() {
	_ = r.listener.Close() // closed before, the second time
	r.mu.Lock()
	open := r.open
	r.open, r.closed = nil, true
	r.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // its end may have come already
	}
	r.work.Wait()
}

// carried is how many connections have gone through.
func (r *relay) carried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

func watch(t *testing.T, d *Driver, host *pluginv1.Host) (<-chan *pluginv1.VMStatus, <-chan error) {
	t.Helper()
	states, ended := make(chan *pluginv1.VMStatus, 100), make(chan error, 1)
	go func() {
		ended <- d.WatchHost(t.Context(), &pluginv1.WatchHostRequest{Host: host}, func(s *pluginv1.VMStatus) error { states <- s; return nil })
	}()
	return states, ended
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

// idleGuest boots from an empty disk, so it only waits.
func idleGuest(t *testing.T) *pluginv1.VM {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &pluginv1.VM{Uuid: vmUUID, Name: "tcp", CpuNum: 1, MemoryBytes: 32 << 20,
		Disks: []*pluginv1.Disk{{Uuid: volUUID, Source: disk, Format: "qcow2"}}}
}

func TestLibvirtOverTCP(t *testing.T) {
	d, host := testDriver(t)
	tcp := startRelay(t, "127.0.0.1:0")
	address := tcp.listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	d.cfg.Links.Libvirt, err = hostlink.ParseLibvirt("qemu+tcp://:" + port + "/system")
	must(t, err)

	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	if tcp.carried() == 0 {
		t.Fatal("libvirt was not reached through TCP")
	}
	t.Cleanup(func() {
		_, err := d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
	})
	states, ended := watch(t, d, host)
	begin := time.Now()
	_, err = d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: idleGuest(t)})
	must(t, err)
	t.Logf("started in %s", time.Since(begin))
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	expectListed(t, d, host, vmUUID)

	begin = time.Now()
	tcp.close()
	select {
	case err := <-ended:
		expectUnavailable(t, "WatchHost", err)
		t.Logf("loss seen in %s: %v", time.Since(begin), err)
	case <-time.After(20 * time.Second):
		t.Fatal("the watch does not see that the connection is lost")
	}
	_, err = d.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: host})
	expectUnavailable(t, "CheckHost", err)
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	expectUnavailable(t, "ConnectHost", err)
	if !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "libvirtd-tcp.socket") {
		t.Errorf("it does not tell address and advice: %v", err)
	}
	_, err = d.ListVMs(t.Context(), &pluginv1.ListVMsRequest{Host: host})
	expectUnavailable(t, "ListVMs", err)

	tcp = startRelay(t, address)
	begin = time.Now()
	_, err = d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	t.Logf("connected again in %s, %d connections", time.Since(begin), tcp.carried())
	if tcp.carried() == 0 {
		t.Error("libvirt was not reached through TCP again")
	}
	expectListed(t, d, host, vmUUID)
	states, _ = watch(t, d, host)
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	_, err = d.DestroyVM(t.Context(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
	must(t, err)
	expectState(t, states, pluginv1.VMState_VM_STATE_STOPPED)
	expectListed(t, d, host)
}
