// Package migrate moves real guests between two machines.
package migrate

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

const (
	managementIP = "10.77.0.254"
	password     = "correct horse"
	forbidden    = 80             // where the guest has a page
	outsider     = "172.31.0.200" // who is in no group, and no gateway
	// limit is how long things may take on a busy machine.
	limit = 60 * time.Second
)

// side is one of the two machines.
type side struct {
	*rig.Machine
	ip, host string
}

// place is a cloud of two machines, with a guest that is filtered.
type place struct {
	*guests.Cloud
	t        *testing.T
	from, to *side
	guest    *guests.Guest
	nic      string
	sum      string // of the beginning of its root disk
}

// plug lays the two networks on which the test and both machines are.
func newPlace(t *testing.T) *place {
	for name, address := range map[string]string{"mgmt0": managementIP, "net0": guests.Gateway} {
		guests.IP(t, "link", "add", name, "type", "bridge")
		guests.IP(t, "addr", "add", address+"/24", "dev", name)
		guests.IP(t, "link", "set", name, "up")
	}
	guests.IP(t, "addr", "add", outsider+"/24", "dev", "net0")
	p := &place{t: t}
	sides := []*side{{ip: "10.77.0.2"}, {ip: "10.77.0.3"}}
	for i, s := range sides {
		n := strconv.Itoa(i)
		s.Machine = rig.NewMachine(t, "host"+n)
		s.Plug("m"+n, "", "eth0", s.ip+"/24")
		s.Plug("g"+n, "", guests.Uplink, "")
		guests.IP(t, "link", "set", "m"+n, "master", "mgmt0")
		guests.IP(t, "link", "set", "g"+n, "master", "net0")
		s.Libvirtd()
		s.SSH(s.ip, password)
	}
	p.from, p.to = sides[0], sides[1]
	o := guests.Options{ImageListen: "0.0.0.0:7172", ImageHostname: managementIP, Plugins: []string{"securitygroup"}}
	p.Cloud = guests.Serve(t, o)
	p.Place()
	for _, s := range sides {
		var err error
		if s.host, err = p.AddHost("host at "+s.ip, s.ip, password); err != nil {
			t.Fatal(err)
		}
	}
	p.Host = p.from.host
	p.Fill(o)
	return p
}

func TestMigrate(t *testing.T) {
	p := newPlace(t)
	guests.Walk(t,
		guests.Step{Name: "a filtered guest", Run: p.filtered},
		guests.Step{Name: "to the other host", Run: p.moves},
		guests.Step{Name: "and back", Run: p.moves},
		guests.Step{Name: "the plugin is killed", Run: func() { p.hurt(p.killPlugin) }},
		guests.Step{Name: "the core is killed", Run: func() { p.hurt(p.killCore) }},
		guests.Step{Name: "it ends on the way", Run: p.ends},
	)
}

// filtered makes a guest that may be pinged, and asked for nothing else.
func (p *place) filtered() {
	if err := p.Client.AttachServices(p.t.Context(), p.L3, "SecurityGroup", "SecurityGroup"); err != nil {
		p.t.Fatal(err)
	}
	group := p.Make("/security-groups", wire.Params{"name": "pinged"})
	p.Post("/security-groups/"+group+"/rules", wire.Params{"rules": []wire.Params{{"type": "Ingress", "protocol": "ICMP", "ipVersion": 4}}})
	spec := p.Spec("wanderer")
	spec["hostUuid"], spec["dataDiskSizes"] = p.from.host, []int64{16 << 20}
	p.guest = p.Create(p.from.Machine, spec, append(guests.Tags("wanderer", ""), "l3::"+p.L3+"::SecurityGroupUuids::"+group)...)
	p.guest.WaitBoot(1)
	p.guest.Ask("echo survived >/run/mark")
	p.guest.Ask("echo kept >/dev/vdb; sync")
	p.guest.Ask("wget -qO- 169.254.169.254/latest/meta-data/instance-id") // from whom it is, it knows now
	p.sum = p.guest.Ask("head -c 4000000 /dev/vda|md5sum")
	page, err := p.Client.Query(p.t.Context(), wire.VMNics, "vmInstanceUuid="+p.guest.UUID)
	if err != nil || len(page.Inventories) != 1 {
		p.t.Fatalf("%d NICs, %v", len(page.Inventories), err)
	}
	var nic struct{ InternalName string }
	if err := json.Unmarshal(page.Inventories[0], &nic); err != nil {
		p.t.Fatal(err)
	}
	p.nic = nic.InternalName
	if p.enters() {
		p.t.Error("the forbidden port is open")
	}
}

// enters reports whether the guest's forbidden port can be reached.
func (p *place) enters() bool {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(outsider)}, Timeout: 300 * time.Millisecond}
	conn, err := from.Dial("tcp", net.JoinHostPort(p.guest.IP, strconv.Itoa(forbidden)))
	if err == nil {
		_ = conn.Close() // it was only tried
	}
	return err == nil
}

// besieged tries the forbidden port, and pings, until the returned function is called,
// which tells how many pings of how many were answered.
func (p *place) besieged() (stop func() (answered, sent int)) {
	done, ended := make(chan struct{}), make(chan struct{})
	var entered atomic.Bool
	ping := exec.Command("ping", "-n", "-I", outsider, "-i", "0.2", "-W", "1", p.guest.IP)
	var out strings.Builder
	ping.Stdout = &out
	if err := ping.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			if p.enters() {
				entered.Store(true)
			}
		}
	}()
	return func() (answered, sent int) {
		close(done)
		<-ended
		if err := ping.Process.Signal(syscall.SIGINT); err != nil {
			p.t.Fatal(err)
		}
		_ = ping.Wait() // its code says that some were lost
		if entered.Load() {
			p.t.Error("the forbidden port was open on the way")
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "packets transmitted") {
				if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &answered); err != nil {
					p.t.Fatalf("%q: %v", line, err)
				}
			}
		}
		return answered, sent
	}
}

func (p *place) turn() { p.from, p.to = p.to, p.from }

// call is the body of the call that moves the guest.
func (p *place) call() map[string]any {
	return map[string]any{"migrateVm": wire.Params{"hostUuid": p.to.host}}
}

// moves moves the guest and looks at it from all sides.
func (p *place) moves() {
	stop := p.besieged()
	begin := time.Now()
	if _, err := p.Client.Call(p.t.Context(), http.MethodPut, p.guest.Path()+"/actions", p.call()); err != nil {
		stop()
		p.t.Fatal(err)
	}
	took := time.Since(begin)
	p.turn()
	p.settled()
	answered, sent := stop()
	p.t.Logf("moved in %s; %d of %d pings were answered", took.Round(10*time.Millisecond), answered, sent)
	if lost := sent - answered; lost > 25 {
		p.t.Errorf("%d pings of %d were lost", lost, sent)
	}
	p.whole()
}

// settled waits until the guest is on one host alone, and nothing of it is left to do.
func (p *place) settled() {
	p.t.Helper()
	p.guest.MovedTo(p.from.Machine)
	p.Settle(p.Database())
	var vm struct{ HostUUID, State, LastHostUUID string }
	p.Get(wire.VMs, p.guest.UUID, &vm)
	if vm.HostUUID != p.from.host || vm.State != "Running" {
		p.t.Fatalf("the guest is %s on host %s, not Running on %s", vm.State, vm.HostUUID, p.from.host)
	}
}

// domains are the guests that libvirt has on a machine.
func (s *side) domains() string {
	return strings.ReplaceAll(strings.TrimSpace(s.Run("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--uuid")), "-", "")
}

// whole looks whether the guest and all that is its own is on one host, with its memory
// and disks, and nothing of it is on the other.
func (p *place) whole() {
	p.t.Helper()
	p.guest.MovedTo(p.from.Machine)
	if on, other := p.from.domains(), p.to.domains(); on != p.guest.UUID || other != "" {
		p.t.Errorf("its host has the guests %q, the other %q", on, other)
	}
	for _, ask := range [][2]string{{"wget -qO- 169.254.169.254/latest/meta-data/instance-id", p.guest.UUID}, {"cat /run/mark", "survived"},
		{"head -c4 /dev/vdb; echo", "kept"}, {"head -c 4000000 /dev/vda|md5sum", p.sum}} {
		if got := p.guest.Ask(ask[0]); got != ask[1] {
			p.t.Errorf("%s: %q, want %q", ask[0], got, ask[1])
		}
	}
	if !strings.Contains(p.from.Run("nft", "list", "ruleset"), p.nic) {
		p.t.Error("its host does not filter it")
	}
	if strings.Contains(p.to.Run("nft", "list", "ruleset"), p.nic) {
		p.t.Error("the host that it is not on filters it")
	}
	for s, want := range map[*side]int{p.from: 2, p.to: 0} {
		files, err := filepath.Glob(filepath.Join(s.Folder, guests.PrimaryFolder, "volumes", "*.qcow2"))
		if err != nil || len(files) != want {
			p.t.Errorf("host %s has the volumes %v, %v; want %d", s.ip, files, err, want)
		}
	}
	p.AuditRows(p.Database())
}

// slow makes the guest's memory go slowly, so that something can happen meanwhile, until
// the returned function is called; begun waits until it is on its way.
func (p *place) slow() (begun, fast func()) {
	virsh := func(s *side, args ...string) (string, error) {
		out, err := s.Command("virsh", append([]string{"-q", "-c", "qemu:///system"}, args...)...).CombinedOutput()
		return string(out), err
	}
	source := p.from
	source.Run("virsh", "-q", "-c", "qemu:///system", "migrate-setspeed", p.guest.UUID, "1")
	begun = func() {
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if text, err := virsh(source, "domjobinfo", p.guest.UUID); err == nil && strings.Contains(text, "Memory processed") {
				return
			}
			if time.Since(begin) > limit {
				p.t.Fatal("the migration has not begun")
			}
		}
	}
	return begun, func() { _, _ = virsh(source, "migrate-setspeed", p.guest.UUID, "1000") } // it may have gone already
}

// hurt moves the guest while something happens to who moves it: it ends on one host.
func (p *place) hurt(how func()) {
	begun, fast := p.slow()
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	p.Begin(job, http.MethodPut, p.guest.Path()+"/actions", p.call())
	begun()
	stop := p.besieged()
	how()
	fast()
	err := p.Outcome(job)
	var vm struct{ HostUUID string }
	p.Settle(p.Database())
	p.Get(wire.VMs, p.guest.UUID, &vm)
	p.t.Logf("the call ended with %v, the guest is on the host that it was to move to: %t", err, vm.HostUUID == p.to.host)
	if moved := vm.HostUUID == p.to.host; moved {
		p.turn()
	} else if err == nil {
		p.t.Error("the call has succeeded, and the guest has not moved")
	}
	p.settled()
	stop()
	p.whole()
}

func (p *place) killPlugin() {
	pid := p.Plugin("kvm")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	p.PluginBack("kvm", p.PluginGone("kvm", pid))
}

func (p *place) killCore() {
	p.Kill()
	p.Again()
}

// ends: a guest that is switched off while it moves is stopped, where it was.
func (p *place) ends() {
	begun, _ := p.slow()
	job := fmt.Sprintf("%032x", time.Now().UnixNano())
	p.Begin(job, http.MethodPut, p.guest.Path()+"/actions", p.call())
	begun()
	p.from.Run("virsh", "-q", "-c", "qemu:///system", "destroy", p.guest.UUID)
	if err := p.Outcome(job); err == nil {
		p.t.Error("a guest that ended on the way has moved")
	}
	p.guest.WaitState("Stopped", limit)
	if here, there := p.from.domains(), p.to.domains(); here+there != "" {
		p.t.Errorf("the hosts have the guests %q and %q", here, there)
	}
	p.AuditRows(p.Database())
	p.Do(p.guest.Path(), "startVmInstance", nil)
	p.guest.WaitBoot(1) // for the first time where it is now
}
