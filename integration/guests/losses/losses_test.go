// Package losses takes away from a host, under a running guest, what guests
// need, and counts the guest's packets meanwhile.
package losses

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

const (
	// healed is how long a loss may last, and back what the agent may take, on a
	// machine that does much else: there are 10 and 3 seconds on one that has time.
	healed = 40 * time.Second
	back   = 20 * time.Second
)

// host is a host with a guest on it.
type host struct {
	*guests.Cloud
	t     *testing.T
	guest *guests.Guest
}

// TestLosses goes through them on one cloud: after each all is as before.
func TestLosses(t *testing.T) {
	h := &host{Cloud: guests.Here(t), t: t}
	h.guest = h.Create(nil, h.Spec("one"), guests.Tags("web-1", "")...)
	h.guest.WaitBoot(1)
	guests.Walk(t,
		guests.Step{Name: "kumo-hostd killed", Run: h.agentKilled},
		guests.Step{Name: "libvirtd killed", Run: h.libvirtdKilled},
		guests.Step{Name: "dnsmasq killed and its files damaged", Run: h.dnsmasqDamaged},
		guests.Step{Name: "bridge deleted", Run: h.bridgeDeleted},
		guests.Step{Name: "bridge deleted without an agent", Run: h.bridgeDeletedUnseen},
		guests.Step{Name: "bridge that cannot be made again", Run: h.bridgeBlocked},
		guests.Step{Name: "rows that cannot be realised", Run: h.badRows},
	)
	h.Remove(wire.Zones + "/" + h.Zone)
	h.Remove(wire.Images + "/" + h.Image)
	if _, err := h.Client.Act(t.Context(), wire.Images+"/"+h.Image, "expungeImage", wire.Params{"backupStorageUuids": []string{h.Backup}}); err != nil {
		t.Error(err)
	}
	h.Remove(wire.BackupStorages + "/" + h.Backup)
	h.End()
}

// until waits for what has no event here, and returns how long it took.
func (h *host) until(limit time.Duration, what string, done func() bool) time.Duration {
	h.t.Helper()
	begin := time.Now()
	for !done() {
		if time.Since(begin) > limit {
			h.t.Fatalf("not %s after %s", what, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(begin)
}

// heard keeps what ping says, and tells of its first answer.
type heard struct {
	strings.Builder
	first chan struct{}
	once  sync.Once
}

func (o *heard) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "bytes from") {
		o.once.Do(func() { close(o.first) })
	}
	return o.Builder.Write(p)
}

var pinged = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// pings counts the packets of the guest that are lost while f runs, beyond a tenth:
// a machine that does much else loses one now and then, and those at the end are
// on their way when ping ends.
func (h *host) pings(f func()) (lost int) {
	h.t.Helper()
	ping := exec.Command("ping", "-n", "-i", "0.1", "-W", "5", h.guest.IP)
	out := heard{first: make(chan struct{})}
	ping.Stdout = &out
	if err := ping.Start(); err != nil {
		h.t.Fatal(err)
	}
	select {
	case <-out.first: // before that, what f takes away ping may never have seen
	case <-time.After(healed):
		h.t.Errorf("%s does not answer", h.guest.IP)
	}
	f()
	time.Sleep(time.Second) // for answers on their way
	if err := ping.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatal(err)
	}
	_ = ping.Wait() // it fails when nothing was received
	n := pinged.FindStringSubmatch(out.String())
	if n == nil {
		h.t.Fatalf("ping says %q", out.String())
	}
	sent, err := strconv.Atoi(n[1])
	received, err2 := strconv.Atoi(n[2])
	if err != nil || err2 != nil || sent < 10 {
		h.t.Fatalf("ping says %q", out.String())
	}
	h.t.Logf("%d of %d packets came back", received, sent)
	return max(0, sent-received-max(1, sent/10))
}

// served checks that the guest has all services of its network.
func (h *host) served() {
	h.t.Helper()
	if got := h.Lookup("web-1." + guests.Domain); !slices.Equal(got, []string{h.guest.IP}) {
		h.t.Errorf("the guest's name has the addresses %v", got)
	}
	const leased = "guest: address eth0 "
	leases := strings.Count(h.guest.Console(), leased)
	h.guest.Type("udhcpc -n -q -i eth0 -s /etc/udhcpc.script -O staticroutes -O mtu")
	h.until(healed, "a lease", func() bool { return strings.Count(h.guest.Console(), leased) > leases })
	if got := h.guest.Ask("wget -qO- 169.254.169.254/latest/meta-data/instance-id"); got != h.guest.UUID {
		h.t.Errorf("the metadata service says %q", got)
	}
}

// another makes a guest and removes it again: all that a host must be able to.
func (h *host) another() {
	h.t.Helper()
	g := h.Create(nil, h.Spec("another"))
	h.Remove(g.Path())
	h.Do(g.Path(), "expungeVmInstance", nil)
}

func (h *host) pid(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

func (h *host) kill(pid int) {
	h.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatalf("process %d: %v", pid, err)
	}
}

// agentKilled kills the agent twice, and then it with its keeper. A guest can
// be made at once, without anybody's help.
func (h *host) agentKilled() {
	agent, keeper := filepath.Join(guests.StateFolder, "hostd.pid"), filepath.Join(guests.StateFolder, "keeper.pid")
	dnsmasq := h.dnsmasq()
	lost := h.pings(func() {
		for i := range 3 {
			pid := h.pid(agent)
			if i == 2 {
				h.kill(h.pid(keeper))
			}
			h.kill(pid)
			took := h.until(back, "a new agent", func() bool { now := h.pid(agent); return now != 0 && now != pid })
			h.t.Logf("the agent is back after %s", took.Round(time.Millisecond))
			h.another()
			h.WaitConnected()
			h.served()
		}
	})
	if lost > 0 {
		h.t.Errorf("%d packets were lost", lost)
	}
	if now := h.dnsmasq(); now != dnsmasq {
		h.t.Errorf("dnsmasq %d is %d now", dnsmasq, now)
	}
}

// dnsmasq is the process of the one network; 0 while it is being started.
func (h *host) dnsmasq() int {
	files, err := filepath.Glob(filepath.Join(guests.StateFolder, "dhcp", "*", "dnsmasq.pid"))
	if err != nil || len(files) > 1 {
		h.t.Fatalf("dnsmasq has the files %v: %v", files, err)
	}
	if len(files) == 0 {
		return 0
	}
	return h.pid(files[0])
}

// libvirtdKilled takes libvirtd away until the host is told to be without it.
func (h *host) libvirtdKilled() {
	status := func() string {
		var row struct{ Status string }
		h.Get(wire.Hosts, h.Host, &row)
		return row.Status
	}
	lost := h.pings(func() {
		rig.StopLibvirtd(h.t)
		took := h.until(back, "Disconnected", func() bool { return status() == "Disconnected" })
		h.t.Logf("shown after %s", took.Round(time.Millisecond))
		rig.StartLibvirtd(h.t)
		took = h.until(healed, "Connected", func() bool { return status() == "Connected" })
		h.t.Logf("healed after %s", took.Round(time.Millisecond))
		h.guest.WaitState("Running", healed)
		h.another()
	})
	if lost > 0 {
		h.t.Errorf("%d packets were lost", lost)
	}
}

// dnsmasqDamaged kills dnsmasq when its files are not what they were: it is back
// with them as they should be.
func (h *host) dnsmasqDamaged() {
	files, err := filepath.Glob(filepath.Join(guests.StateFolder, "dhcp", "*", "dnsmasq.conf"))
	if err != nil || len(files) != 1 {
		h.t.Fatalf("configurations %v: %v", files, err)
	}
	folder := filepath.Dir(files[0])
	for name, harm := range map[string]func() error{
		"none":        func() error { return nil },
		"no sense":    func() error { return os.WriteFile(files[0], []byte("\x00no=sense\n"), 0o644) },
		"removed":     func() error { return os.Remove(files[0]) },
		"no bindings": func() error { return os.RemoveAll(filepath.Join(folder, "bindings")) },
		"damaged leases": func() error {
			return os.WriteFile(filepath.Join(folder, "leases"), []byte("\xff\x00 no lease\n"), 0o644)
		},
	} {
		if err := harm(); err != nil {
			h.t.Fatal(err)
		}
		var pid int
		h.until(back, "running", func() bool { pid = h.dnsmasq(); return pid != 0 })
		lost := h.pings(func() {
			h.kill(pid)
			took := h.until(healed, "served again", func() bool { now := h.dnsmasq(); return now != 0 && now != pid })
			h.t.Logf("%s: served again after %s", name, took.Round(time.Millisecond))
			h.served()
		})
		if lost > 0 {
			h.t.Errorf("%s: %d packets were lost", name, lost)
		}
	}
}

const bridge = "br_" + guests.Uplink

// bridgeDeleted is a restart of the machine's network service. The machine has
// its own address again, by which it reaches the guest.
func (h *host) bridgeDeleted() {
	h.pings(func() {
		guests.IP(h.t, "link", "del", bridge)
		took := h.until(healed, "reached again", func() bool { return h.guest.Pings() })
		h.t.Logf("reached again after %s", took.Round(time.Millisecond))
	})
	if lost := h.pings(h.served); lost > 0 {
		h.t.Errorf("%d packets were lost afterwards", lost)
	}
	h.another()
}

// bridgeDeletedUnseen deletes it when nobody is there who remembers what was
// plugged in: the hypervisor knows. Of the machine's address and route nobody knows.
func (h *host) bridgeDeletedUnseen() {
	for _, name := range []string{"keeper.pid", "hostd.pid"} {
		h.kill(h.pid(filepath.Join(guests.StateFolder, name)))
	}
	guests.IP(h.t, "link", "del", bridge)
	h.Do(wire.Hosts+"/"+h.Host, "reconnectHost", nil)
	h.until(healed, "a bridge", func() bool {
		return exec.Command("ip", "addr", "replace", guests.Gateway+"/24", "dev", bridge).Run() == nil
	})
	guests.IP(h.t, "route", "replace", guests.Route, "via", guests.Router)
	took := h.until(healed, "reached again", func() bool { return h.guest.Pings() })
	h.t.Logf("reached again after %s", took.Round(time.Millisecond))
	h.WaitConnected()
	h.served()
}

// bridgeBlocked has somebody else's device in the place of the bridge: the guest is
// shown as cut off, with why, its host as Connected; when the device is away, all is
// as before.
func (h *host) bridgeBlocked() {
	h.Do("/global-configurations/host/ping.interval", "updateGlobalConfig", wire.Params{"value": "1"})
	for _, name := range []string{"keeper.pid", "hostd.pid"} {
		h.kill(h.pid(filepath.Join(guests.StateFolder, name)))
	}
	// The core may have the agent back in between, which makes the bridge again.
	h.until(healed, "another's device in its place", func() bool {
		_ = exec.Command("ip", "link", "del", bridge).Run() // what counts is what is there then
		return exec.Command("ip", "link", "add", bridge, "type", "veth", "peer", "name", "other").Run() == nil
	})
	h.Do(wire.Hosts+"/"+h.Host, "reconnectHost", nil)
	var vm struct {
		State    string
		Problems []struct{ HostUUID, Reason string }
	}
	problems := func() int {
		h.Get(wire.VMs, h.guest.UUID, &vm)
		return len(vm.Problems)
	}
	took := h.until(back, "shown on the guest", func() bool { return problems() == 1 })
	h.t.Logf("shown after %s: %s", took.Round(time.Millisecond), vm.Problems[0].Reason)
	if p := vm.Problems[0]; vm.State != "Running" || p.HostUUID != h.Host || !strings.Contains(p.Reason, "cut off") || !strings.Contains(p.Reason, bridge) {
		h.t.Errorf("the guest tells %+v", vm)
	}
	h.WaitConnected()
	guests.IP(h.t, "link", "del", bridge)
	h.until(healed, "a bridge", func() bool {
		return exec.Command("ip", "addr", "replace", guests.Gateway+"/24", "dev", bridge).Run() == nil
	})
	guests.IP(h.t, "route", "replace", guests.Route, "via", guests.Router)
	took = h.until(healed, "reached again", func() bool { return h.guest.Pings() })
	h.t.Logf("reached again after %s", took.Round(time.Millisecond))
	h.until(healed, "as it should be", func() bool { return problems() == 0 })
	h.served()
}

// badRows are those of an older version, in the network of the guest: the host
// is connected all the same, all that is possible is served, and what is not is
// told of the network.
func (h *host) badRows() {
	h.Write("INSERT INTO `L3NetworkDns` (`uuid`, `createDate`, `lastOpDate`, `l3NetworkUuid`, `dns`) SELECT 'dd0000000000000000000000000000dd', `createDate`, `lastOpDate`, `uuid`, 'dns.test' FROM `L3Network` WHERE `uuid` = ?", h.L3)
	h.Write("UPDATE `L3NetworkHostRoute` SET `nexthop` = '192.0.2.1' WHERE `l3NetworkUuid` = ?", h.L3)
	h.Stop()
	h.Again()
	h.WaitConnected()
	var l3 struct {
		Problems []struct{ HostUUID, Reason string }
	}
	h.until(healed, "told", func() bool {
		h.Get(wire.L3Networks, h.L3, &l3)
		return len(l3.Problems) == 1
	})
	h.t.Logf("told: %+v", l3.Problems)
	for _, word := range []string{"dns.test", "192.0.2.1"} {
		if p := l3.Problems[0]; p.HostUUID != h.Host || !strings.Contains(p.Reason, word) {
			h.t.Errorf("%s is not told: %+v", word, p)
		}
	}
	h.guest.WaitState("Running", healed)
	h.served()
	h.another()
}
