package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages("dnsmasq-base", "iproute2"), rig.WithPackages(rig.Client...))
}

const hostUUID = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var host = &pluginv1.Host{Uuid: hostUUID, HypervisorType: "KVM"}

// bench is the plugin behind real gRPC with the real agent, whose host is the
// network namespace of the test.
type bench struct {
	l2      pluginsdk.L2Network
	service pluginsdk.NetworkService
}

func newBench(t testing.TB, agent hostv1.HostAgentServiceClient) *bench {
	t.Helper()
	return connect(plugintest.Loopback(t, newPlugin(), plugintest.WithCore(core(agent))))
}

// rows are what there should be, for calls at the one revision of these tests.
type rows struct {
	Host     *pluginv1.Host
	Networks []*pluginv1.L3Network
	Nics     []*pluginv1.GuestNIC
}

const revision = "1"

func (r *rows) join() []*pluginv1.NetworkRow {
	return pluginsdk.NetworkRows{Networks: r.Networks, NICs: r.Nics}.Join()
}

func (b *bench) apply(ctx context.Context, r *rows) (*pluginv1.ApplyNetworkStateResponse, error) {
	return b.service.ApplyNetworkState(ctx, &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(r.Host), Revision: revision, Upserts: r.join()})
}

func (b *bench) sync(ctx context.Context, r *rows) (*pluginv1.SyncNetworkStateResponse, error) {
	return b.service.SyncNetworkState(ctx, &pluginv1.SyncNetworkStateRequest{Target: pluginsdk.HostTarget(r.Host), Revision: revision, Rows: r.join()})
}

func (b *bench) remove(ctx context.Context, keys pluginsdk.NetworkKeys) (*pluginv1.ApplyNetworkStateResponse, error) {
	return b.service.ApplyNetworkState(ctx, &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(host), Revision: revision, Removes: keys.Join()})
}

func core(agent hostv1.HostAgentServiceClient) *plugintest.Core {
	return &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{hostUUID: agent}}
}

func connect(conn *plugintest.Conn) *bench {
	return &bench{conn.L2Network(), conn.NetworkService()}
}

// realAgent is a process of its own, as on a host.
func realAgent(t testing.TB) hostv1.HostAgentServiceClient {
	return plugintest.AgentAt(t, rig.HostAgent(t))
}

// recorder is an agent that keeps what it is told, for tests of what is told.
type recorder struct {
	hostv1.UnimplementedHostAgentServiceServer
	applied []*hostv1.ApplyRequest
	synced  []*hostv1.SyncRequest
	fail    error
	// failures are what a sync is answered.
	failures []*hostv1.SyncFailure
}

func (r *recorder) Apply(_ context.Context, req *hostv1.ApplyRequest) (*hostv1.ApplyResponse, error) {
	r.applied = append(r.applied, req)
	return &hostv1.ApplyResponse{}, r.fail
}

func (r *recorder) Sync(_ context.Context, req *hostv1.SyncRequest) (*hostv1.SyncResponse, error) {
	r.synced = append(r.synced, req)
	return &hostv1.SyncResponse{Failures: r.failures}, r.fail
}

// run runs a program and returns what it says.
func run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

func mustRun(t testing.TB, command string) {
	t.Helper()
	if out, err := run(t, strings.Fields(command)...); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// uplink makes a physical interface, as far as a bridge can tell.
func uplink(t testing.TB, name string) {
	t.Helper()
	mustRun(t, fmt.Sprintf("ip link add %s type veth peer name %s-far", name, name))
	for _, dev := range []string{name, name + "-far"} {
		mustRun(t, "ip link set "+dev+" up")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "del", name).CombinedOutput(); err != nil {
			t.Errorf("remove %s: %v: %s", name, err, out)
		}
	})
}

// plugGuest puts a machine with one NIC on a bridge: a namespace with eth0,
// until unplug or the end of the test.
func plugGuest(t *testing.T, name, bridge, mac string) (unplug func()) {
	t.Helper()
	mustRun(t, "ip netns add "+name)
	unplug = sync.OnceFunc(func() {
		for _, command := range []string{"link del tap-" + name, "netns del " + name} {
			if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Errorf("remove guest %s: %v: %s", name, err, out)
			}
		}
	})
	t.Cleanup(unplug)
	mustRun(t, fmt.Sprintf("ip link add tap-%s type veth peer name eth0 address %s netns %s", name, mac, name))
	mustRun(t, fmt.Sprintf("ip link set tap-%s master %s up", name, bridge))
	mustRun(t, fmt.Sprintf("ip -n %s link set eth0 up", name))
	return unplug
}

// lease asks for an address as a guest does, takes it, and returns what the
// server said; "" when nobody answers.
func lease(t *testing.T, guest string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "udhcpc.sh")
	err := os.WriteFile(script, []byte(`#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/${mask:-24} dev $interface
set -- $staticroutes
while [ -n "$1" ]; do ip route replace $1 via $2 dev $interface; shift 2; done
env | grep -E '^(ip|router|dns|domain|hostname|mtu|staticroutes|serverid)=' | sort
`), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "ip", "netns", "exec", guest, "busybox", "udhcpc", "-i", "eth0", "-s", script,
		"-n", "-q", "-f", "-t", "3", "-T", "1", "-O", "staticroutes", "-O", "mtu", "-O", "domain", "-O", "hostname")
	if err != nil {
		t.Logf("udhcpc in %s: %s", guest, out)
		return ""
	}
	return out
}

// read fetches a metadata path as a guest does; "" when there is none.
func read(t *testing.T, guest, path string) string {
	t.Helper()
	out, err := run(t, "ip", "netns", "exec", guest, "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254"+path)
	if err != nil {
		return ""
	}
	return out
}
