package hostlink

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// back is far more than an agent that was killed takes until it answers again, for
// a machine that does much else.
const back = 20 * time.Second

// pidIn waits for a process, other than the one before, in a file of the agent's.
func pidIn(t *testing.T, file string, before int) int {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(text))); pid > 1 && pid != before && syscall.Kill(pid, 0) == nil {
			return pid
		}
		if time.Since(begin) > back {
			t.Fatalf("no new process in %s after %s, after %d", file, back, before)
		}
	}
}

// running are the processes of the agent's program that have the state folder.
func running(t *testing.T, cfg Config) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(line), cfg.Hostd+"\x00") {
			continue // ended meanwhile, or another program
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func kill(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
}

func expectLost(t *testing.T, l *Link) {
	t.Helper()
	select {
	case <-l.Lost():
		if l.Reason() != "the connection to its agent was lost" {
			t.Errorf("lost, and the reason is: %s", l.Reason())
		}
	case <-time.After(back):
		t.Fatal("the link does not see that its agent has ended")
	}
}

// An agent that is killed is back by itself, however often, and also when who
// looks after it was killed before; its networks stay as they are meanwhile. The
// loss is seen at once by who is connected.
func TestAgentIsKept(t *testing.T) {
	rig.Libvirtd(t)
	cfg := testConfig(t)
	h := host("127.0.0.1", password)
	l, err := Connect(t.Context(), cfg, h)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	_, err = hostv1.NewHostAgentServiceClient(l.Agent()).Apply(t.Context(), &hostv1.ApplyRequest{Owner: "flat", Upsert: network()})
	must(t, err)
	dnsmasq := pidIn(t, cfg.StateDir+"/dhcp/kept-test/dnsmasq.pid", 0)
	agentFile, keeperFile := cfg.StateDir+"/hostd.pid", cfg.StateDir+"/keeper.pid"
	agent, keeper := pidIn(t, agentFile, 0), pidIn(t, keeperFile, 0)
	again := func(what string) {
		t.Helper()
		begin := time.Now()
		expectLost(t, l)
		seen := time.Since(begin)
		agent = pidIn(t, agentFile, agent)
		if l, err = Connect(t.Context(), cfg, h); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: seen after %s, connected after %s", what, seen, time.Since(begin))
		if time.Since(begin) > back {
			t.Errorf("%s: it took %s", what, time.Since(begin))
		}
	}
	for range 3 {
		kill(t, agent)
		again("agent killed")
	}
	if now := pidIn(t, keeperFile, 0); now != keeper {
		t.Errorf("keeper %d is %d now", keeper, now)
	}
	kill(t, keeper)
	keeper = pidIn(t, keeperFile, keeper)
	kill(t, agent)
	again("keeper killed, then the agent")
	select {
	case <-l.Lost():
		t.Errorf("a link that nothing happened to is lost: %s", l.Reason())
	default:
	}
	if now := pidIn(t, cfg.StateDir+"/dhcp/kept-test/dnsmasq.pid", 0); now != dnsmasq {
		t.Errorf("dnsmasq %d is %d now", dnsmasq, now)
	}
	// Whoever connects in the same moment does not meet the keeper's agent.
	for range 5 {
		kill(t, agent)
		expectLost(t, l)
		if l, err = Connect(t.Context(), cfg, h); err != nil {
			t.Fatal(err)
		}
		agent, keeper = pidIn(t, agentFile, agent), pidIn(t, keeperFile, 0)
	}
	kill(t, keeper, agent) // nobody is left but who connects
	expectLost(t, l)
	l, err = Connect(t.Context(), cfg, h)
	must(t, err)
	if n := len(running(t, cfg)); n != 2 {
		t.Errorf("%d processes run; want agent and keeper", n)
	}
	for range 2 {
		must(t, Disconnect(t.Context(), cfg, h))
	}
	expectLost(t, l)
	if left := running(t, cfg); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(cfg.StateDir); err == nil {
		t.Error("the state folder is left")
	}
}

func network() []*hostv1.Fragment {
	return []*hostv1.Fragment{
		{Key: "l2", Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br_kept", Alias: "test"}}},
		{Key: "l3", Kind: &hostv1.Fragment_DhcpNetwork{DhcpNetwork: &hostv1.DHCPNetwork{Namespace: "kept-test", Bridge: "br_kept",
			Address: "10.41.0.2/24", NetworkCidr: "10.41.0.0/24", Gateway: "10.41.0.1", ServeDhcp: true, ServeMetadata: true}}},
	}
}

// An agent that cannot start leaves nobody behind who tries for ever.
func TestAgentThatCannotStart(t *testing.T) {
	cfg := testConfig(t)
	err := runLocal(t.Context(), cfg, "host", "start", "--state", cfg.StateDir, "--listen", "127.0.0.1:1", "--cert", "/none")
	if err == nil || !strings.Contains(err.Error(), "it ended at once") {
		t.Fatalf("start without a certificate: %v", err)
	}
	if left := running(t, cfg); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	must(t, Disconnect(t.Context(), cfg, &pluginv1.Host{Uuid: uuid, ManagementIp: "127.0.0.1"}))
}
