package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages("iproute2"), rig.WithPackages(rig.Client...), rig.WithPackages(rig.OpenVSwitch...))
}

const hostUUID = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var host = &pluginv1.Host{Uuid: hostUUID, HypervisorType: "KVM"}

func core(agent hostv1.HostAgentServiceClient) plugintest.Option {
	return plugintest.WithCore(&plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{hostUUID: agent}})
}

// realAgent is a process of its own, as on a host.
func realAgent(t *testing.T) hostv1.HostAgentServiceClient {
	return plugintest.AgentAt(t, rig.HostAgent(t))
}

// process is the binary as the core starts it.
func process(t *testing.T, agent hostv1.HostAgentServiceClient) *plugintest.Conn {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kumo-plugin-vlan")
	rig.Build(t, "./plugins/vlan", binary)
	return plugintest.Process(t, binary, core(agent))
}

func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func network(uuid, device string, vlan any) *pluginv1.L2Network {
	return &pluginv1.L2Network{Uuid: uuid, Type: "L2VlanNetwork", PhysicalInterface: device, VswitchType: linuxBridge,
		Fields: map[string]string{vlanField: fmt.Sprint(vlan)}}
}

// uplink makes a physical interface, as far as the host can tell; it goes with the test.
func uplink(t *testing.T, name string) {
	t.Helper()
	run(t, "ip link add "+name+" type veth peer name "+name+"-far")
	run(t, "ip link set "+name+"-far up")
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "del", name).CombinedOutput(); err != nil {
			t.Errorf("remove %s: %v: %s", name, err, out)
		}
	})
}

func TestConformance(t *testing.T) {
	rig.StartOpenVSwitch(t)
	uplink(t, "up0")
	plugintest.L2Network(t, plugintest.L2NetworkFixture{
		Conn: process(t, realAgent(t)), Host: host,
		Network: func(n int, uuid string) *pluginv1.L2Network { return network(uuid, "up0", n+1) },
	})
	if out, err := exec.Command("ovs-vsctl", "list-br").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("left in Open vSwitch: %s %v", out, err)
	}
}

// Guests on two interfaces of one VLAN reach each other, for the plugin's networks are
// on one wire; those of another VLAN do not hear them.
func TestGuests(t *testing.T) {
	rig.StartOpenVSwitch(t)
	l2 := process(t, realAgent(t)).L2Network()
	run(t, "ip link add wire-a type veth peer name wire-b") // a cable between two ports
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "wire-a").Run() })
	uuid := func(n int) string { return fmt.Sprintf("%032x", n) }
	plug := func(n int, device string, vlan int, guest, address string) {
		t.Helper()
		r, err := l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: network(uuid(n), device, vlan)})
		if err != nil {
			t.Fatal(err)
		}
		run(t, "ip netns add "+guest)
		run(t, "ip link add tap-"+guest+" type veth peer name eth0 netns "+guest)
		run(t, "ip link set tap-"+guest+" master "+r.GetBridge()+" up")
		run(t, "ip -n "+guest+" addr add "+address+"/24 dev eth0")
		run(t, "ip -n "+guest+" link set eth0 up")
		t.Cleanup(func() {
			run := func(args ...string) {
				if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
					t.Errorf("%v: %v: %s", args, err, out)
				}
			}
			run("link", "del", "tap-"+guest)
			run("netns", "del", guest)
			if _, err := l2.Unrealize(context.Background(), &pluginv1.UnrealizeRequest{Host: host, Network: network(uuid(n), device, vlan)}); err != nil {
				t.Error(err)
			}
		})
	}
	plug(1, "wire-a", 100, "a100", "10.1.0.1")
	plug(2, "wire-b", 100, "b100", "10.1.0.2")
	plug(3, "wire-b", 4094, "b4094", "10.1.0.3")
	ping := func(address string) error {
		return exec.Command("ip", "netns", "exec", "a100", "busybox", "ping", "-c", "1", "-W", "2", address).Run()
	}
	if err := ping("10.1.0.2"); err != nil {
		t.Errorf("guests of one VLAN: %v", err)
	}
	if ping("10.1.0.3") == nil {
		t.Error("a guest of another VLAN answers")
	}
}

// recorder is an agent that keeps what it is told.
type recorder struct {
	hostv1.UnimplementedHostAgentServiceServer
	applied []*hostv1.ApplyRequest
	fail    error
}

func (r *recorder) Apply(_ context.Context, req *hostv1.ApplyRequest) (*hostv1.ApplyResponse, error) {
	r.applied = append(r.applied, req)
	return &hostv1.ApplyResponse{}, r.fail
}

// The agent is told a bridge over the VLAN, whose name no other network has.
func TestWhatTheAgentIsTold(t *testing.T) {
	seen := map[string]string{}
	for _, tc := range []struct {
		device string
		vlan   int
		name   string
	}{
		{"eth0", 1, "bv_eth0_1"}, {"eth0", 11, "bv_eth0_11"}, {"eth0_1", 1, "bv_eth0_1_1"}, {"enp3s0f1", 4094, ""}, {"enp3s0f1", 4093, ""}, {"enx0123456789ab", 7, ""},
	} {
		agent := &recorder{}
		l2 := plugintest.Loopback(t, newPlugin(), core(plugintest.Agent(t, agent))).L2Network()
		n := network(plugintest.NewUUID(), tc.device, tc.vlan)
		r, err := l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: n})
		if err != nil {
			t.Fatal(err)
		}
		if len(agent.applied) != 1 || agent.applied[0].Owner != owner || agent.applied[0].Upsert[0].Key != n.Uuid {
			t.Fatalf("told was %v", agent.applied)
		}
		b := agent.applied[0].Upsert[0].GetBridge()
		if b.GetName() != r.GetBridge() || b.GetUplink() != tc.device || int(b.GetVlanId()) != tc.vlan || tc.name != "" && b.GetName() != tc.name {
			t.Errorf("told was %v", b)
		}
		if len(b.GetName()) > dataplane.MaxDeviceName || seen[b.GetName()] != "" {
			t.Errorf("the bridge of VLAN %d of %s is called %s, as that of %s", tc.vlan, tc.device, b.GetName(), seen[b.GetName()])
		}
		seen[b.GetName()] = tc.device
	}
}

func TestRefusals(t *testing.T) {
	for name, change := range map[string]func(*pluginv1.L2Network){
		"VLAN 0":         func(n *pluginv1.L2Network) { n.Fields[vlanField] = "0" },
		"VLAN 4095":      func(n *pluginv1.L2Network) { n.Fields[vlanField] = "4095" },
		"VLAN of words":  func(n *pluginv1.L2Network) { n.Fields[vlanField] = "7; reboot" },
		"no VLAN":        func(n *pluginv1.L2Network) { n.Fields = nil },
		"no interface":   func(n *pluginv1.L2Network) { n.PhysicalInterface = "" },
		"another switch": func(n *pluginv1.L2Network) { n.VswitchType = "MacVlan" },
		"no UUID":        func(n *pluginv1.L2Network) { n.Uuid = "x" },
	} {
		n := network(plugintest.NewUUID(), "eth0", 7)
		change(n)
		agent := &recorder{}
		l2 := plugintest.Loopback(t, newPlugin(), core(plugintest.Agent(t, agent))).L2Network()
		if _, err := l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: n}); errs.ClassOf(err) != errs.Invalid || len(agent.applied) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	agent := &recorder{fail: errs.New(errs.Unavailable, "bridge x", "nobody tags")}
	l2 := plugintest.Loopback(t, newPlugin(), core(plugintest.Agent(t, agent))).L2Network()
	_, err := l2.Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: network(plugintest.NewUUID(), "eth0", 7)})
	if errs.ClassOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "nobody tags") {
		t.Errorf("of the agent's error is left: %v", err)
	}
}
