package driver

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages(rig.Hypervisor...), rig.WithPackages(rig.Client...), rig.WithPackages("openssh-server"), rig.WithGuestImage())
}

const (
	hostUUID = "11111111111111111111111111111111"
	vmUUID   = "22222222222222222222222222222222"
	nicUUID  = "33333333333333333333333333333333"
	volUUID  = "44444444444444444444444444444444"
	guestMAC = "fa:00:00:00:00:11"
	// bootTimeout is for an emulated guest on a machine that does much else.
	bootTimeout = 3 * time.Minute
)

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder is short, because a socket's path is, and readable for dnsmasq.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "k")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func testDriver(t *testing.T) (*Driver, *pluginv1.Host) {
	t.Helper()
	rig.Libvirtd(t)
	program := filepath.Join(t.TempDir(), "kumo-hostd")
	rig.Build(t, "./plugins/kvm/cmd/kumo-hostd", program)
	libvirt, err := hostlink.ParseLibvirt("")
	must(t, err)
	log := hclog.New(&hclog.LoggerOptions{Output: testLog{t}, Level: hclog.Info})
	d := New()
	must(t, d.Configure(Config{
		Links:     hostlink.Config{DataDir: t.TempDir(), Hostd: program, StateDir: folder(t), Port: 7171, Libvirt: libvirt},
		Emulation: Auto, DiskCache: "none", Log: log,
	}))
	t.Cleanup(func() { must(t, d.Close()) })
	return d, &pluginv1.Host{Uuid: hostUUID, ManagementIp: "127.0.0.1", Fields: map[string]string{"username": "root", "password": "x"}}
}

func agentOf(t *testing.T, d *Driver, host *pluginv1.Host) hostv1.HostAgentServiceClient {
	t.Helper()
	s, err := d.connect(t.Context(), host)
	must(t, err)
	return hostv1.NewHostAgentServiceClient(s.link.Agent())
}

// prepare makes the guest's bridge, DHCP network, metadata and disk.
func prepare(t *testing.T, agent hostv1.HostAgentServiceClient) *pluginv1.VM {
	t.Helper()
	return withUserData(t, agent, "#!/bin/sh\necho user-data-was-run\n")
}

func withUserData(t *testing.T, agent hostv1.HostAgentServiceClient, script string) *pluginv1.VM {
	t.Helper()
	root := t.TempDir()
	_, err := agent.Apply(t.Context(), &hostv1.ApplyRequest{Owner: "flat", Upsert: []*hostv1.Fragment{
		{Key: "l2", Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br_kvm", Alias: "test"}}},
		{Key: "l3", Kind: &hostv1.Fragment_DhcpNetwork{DhcpNetwork: &hostv1.DHCPNetwork{
			Namespace: "kvm-test", Bridge: "br_kvm", Address: "10.40.0.2/24", NetworkCidr: "10.40.0.0/24", Gateway: "10.40.0.1",
			ServeDhcp: true, ServeMetadata: true,
		}}},
		{Key: "nic", Kind: &hostv1.Fragment_DhcpBinding{DhcpBinding: &hostv1.DHCPBinding{NetworkKey: "l3", Mac: guestMAC, Ip: "10.40.0.11", Hostname: "web-1", DefaultNetwork: true}}},
		{Key: "meta", Kind: &hostv1.Fragment_Metadata{Metadata: &hostv1.Metadata{NetworkKey: "l3", Ip: "10.40.0.11", InstanceId: vmUUID, Hostname: "web-1",
			UserData: []byte(script)}}},
	}})
	must(t, err)
	image, disk := filepath.Join(root, "cache", "image.qcow2"), filepath.Join(root, "vol", "disk.qcow2")
	stream, err := agent.FetchFile(t.Context(), &hostv1.FetchFileRequest{Url: "file://" + rig.GuestImage(t).Disk, Path: image, Root: root})
	must(t, err)
	done := false
	for !done {
		answer, err := stream.Recv()
		must(t, err)
		done = answer.GetDone()
	}
	_, err = agent.CreateDisk(t.Context(), &hostv1.CreateDiskRequest{Path: disk, Format: "qcow2", BackingPath: image, BackingFormat: "qcow2", Root: root})
	must(t, err)
	return &pluginv1.VM{
		Uuid: vmUUID, Name: "a guest <&> \"web\"", CpuNum: 1, MemoryBytes: 160 << 20, ConsolePassword: "secret",
		Disks: []*pluginv1.Disk{{Uuid: volUUID, Source: disk, Format: "qcow2"}},
		Nics:  []*pluginv1.NIC{{Uuid: nicUUID, Mac: guestMAC, Bridge: "br_kvm", InternalName: "vnic1.0"}},
	}
}

// waitConsole waits for text on the guest's serial console.
func waitConsole(t *testing.T, uuid, text string) string {
	t.Helper()
	deadline := time.Now().Add(bootTimeout)
	for {
		log, err := os.ReadFile(domain.ConsoleLog(uuid))
		if err == nil && strings.Contains(string(log), text) {
			return string(log)
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q on the console: %v\n%s", text, err, log)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func TestLifeOfAGuest(t *testing.T) {
	d, host := testDriver(t)
	connected, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	facts := connected.GetFacts()
	t.Logf("facts: %v", facts)
	if facts.GetCpuNum() < 1 || facts.GetMemoryBytes() < 1<<30 || facts.GetFields()["osDistribution"] == "" {
		t.Errorf("facts are missing: %v", facts)
	}
	vm := prepare(t, agentOf(t, d, host))

	states := make(chan *pluginv1.VMStatus, 100)
	watching, stopWatching := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		watched <- d.WatchHost(watching, &pluginv1.WatchHostRequest{Host: host}, func(s *pluginv1.VMStatus) error { states <- s; return nil })
	}()

	begin := time.Now()
	started, err := d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
	must(t, err)
	t.Logf("started in %s: %v", time.Since(begin), started.GetStatus())
	t.Cleanup(func() {
		_, err := d.DestroyVM(context.Background(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
		_, err = d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
		if _, err := net.InterfaceByName("br_kvm"); err == nil {
			t.Error("the bridge is still there after DisconnectHost")
		}
	})
	again, err := d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
	must(t, err)
	if again.GetStatus().GetVncPort() != started.GetStatus().GetVncPort() {
		t.Errorf("a repeat gives %v, not %v", again.GetStatus(), started.GetStatus())
	}
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
	console := waitConsole(t, vmUUID, "GUEST-READY")
	t.Logf("ready after %s", time.Since(begin))
	for _, want := range []string{"address eth0 10.40.0.11/24", "instance-id " + vmUUID, "\nuser-data-was-run"} {
		if !strings.Contains(console, want) {
			t.Errorf("no %q on the console:\n%s", want, console)
		}
	}
	checkScreen(t, d, host)
	listed, err := d.ListVMs(t.Context(), &pluginv1.ListVMsRequest{Host: host})
	must(t, err)
	if len(listed.GetVms()) != 1 || listed.GetVms()[0].GetUuid() != vmUUID {
		t.Errorf("listed %v", listed)
	}
	pauseAndResume(t, d, host, states)

	begin = time.Now()
	_, err = d.StopVM(t.Context(), &pluginv1.StopVMRequest{Host: host, VmUuid: vmUUID, GraceSeconds: 120})
	must(t, err)
	t.Logf("shut down in %s", time.Since(begin))
	waitConsole(t, vmUUID, "power button")
	expectState(t, states, pluginv1.VMState_VM_STATE_STOPPED)
	_, err = d.StopVM(t.Context(), &pluginv1.StopVMRequest{Host: host, VmUuid: vmUUID, GraceSeconds: 120})
	must(t, err)
	listed, err = d.ListVMs(t.Context(), &pluginv1.ListVMsRequest{Host: host})
	must(t, err)
	if len(listed.GetVms()) != 0 {
		t.Errorf("a stopped guest is listed: %v", listed)
	}

	// A guest that does not listen loses its power after the grace.
	_, err = d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
	must(t, err)
	_, err = d.RebootVM(t.Context(), &pluginv1.RebootVMRequest{Host: host, Vm: vm, GraceSeconds: 1})
	must(t, err)
	_, err = d.StopVM(t.Context(), &pluginv1.StopVMRequest{Host: host, VmUuid: vmUUID, Cold: true})
	must(t, err)
	_, err = d.DestroyVM(t.Context(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
	must(t, err)
	for _, log := range domain.Logs(vmUUID) {
		if _, err := os.Stat(log); err == nil {
			t.Errorf("%s is left", log)
		}
	}
	stopWatching()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func expectState(t *testing.T, states <-chan *pluginv1.VMStatus, want pluginv1.VMState) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case s := <-states:
			if s.GetUuid() == vmUUID && s.GetState() == want {
				return
			}
		case <-late:
			t.Fatalf("no event %v", want)
		}
	}
}

func checkScreen(t *testing.T, d *Driver, host *pluginv1.Host) {
	t.Helper()
	c, err := d.Console(t.Context(), &pluginv1.ConsoleRequest{Host: host, VmUuid: vmUUID})
	must(t, err)
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(c.GetHost(), strconv.Itoa(int(c.GetPort()))), 5*time.Second)
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	hello := make([]byte, 3)
	if _, err := io.ReadFull(conn, hello); err != nil || string(hello) != "RFB" {
		t.Errorf("the screen says %q, %v", hello, err)
	}
}

func pauseAndResume(t *testing.T, d *Driver, host *pluginv1.Host, states <-chan *pluginv1.VMStatus) {
	t.Helper()
	for range 2 {
		_, err := d.PauseVM(t.Context(), &pluginv1.PauseVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
	}
	expectState(t, states, pluginv1.VMState_VM_STATE_PAUSED)
	for range 2 {
		_, err := d.ResumeVM(t.Context(), &pluginv1.ResumeVMRequest{Host: host, VmUuid: vmUUID})
		must(t, err)
	}
	expectState(t, states, pluginv1.VMState_VM_STATE_RUNNING)
}

func TestLocalAgentOutlivesItsDriver(t *testing.T) {
	d, host := testDriver(t)
	_, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	pid := readFile(t, d.cfg.Links.StateDir+"/hostd.pid")
	must(t, d.Close())
	other := New()
	must(t, other.Configure(d.cfg))
	t.Cleanup(func() { must(t, other.Close()) })
	_, err = other.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	if now := readFile(t, d.cfg.Links.StateDir+"/hostd.pid"); now != pid {
		t.Errorf("the agent was replaced: %s, then %s", pid, now)
	}
	// An agent that dies is seen at once, and is back for the next connection.
	slot, err := other.connect(t.Context(), host)
	must(t, err)
	number, err := strconv.Atoi(strings.TrimSpace(pid))
	must(t, err)
	process, err := os.FindProcess(number)
	must(t, err)
	must(t, process.Kill())
	select {
	case <-slot.link.Lost():
		if err := lost("host", slot.link); !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "connection to its agent") {
			t.Errorf("a dead agent: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody sees that the agent is dead")
	}
	_, err = other.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	if now := readFile(t, d.cfg.Links.StateDir+"/hostd.pid"); now == pid {
		t.Error("the agent was not started again")
	}
	if _, err := other.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: host}); err != nil {
		t.Error(err)
	}
	for range 2 {
		_, err = other.DisconnectHost(t.Context(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
		// One that was on its way.
		if _, err := other.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: host}); !errors.Is(err, errs.Unavailable) || errs.CheckOf(err) != hostlink.CheckAgent {
			t.Errorf("a check of a host that was disconnected: %v", err)
		}
	}
	if _, err := os.Stat(d.cfg.Links.StateDir + "/hostd.pid"); err == nil {
		t.Error("the agent was not stopped")
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}
