// Package filter proves security groups with packets of real guests.
package filter

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

const (
	groups = "/security-groups"
	// outside is the namespace of a machine on the network that is in no group.
	outside, outsider = "kumo-outside", "172.31.0.200"
	// soon is how long a host may take to be told, on a busy machine.
	soon = 20 * time.Second
	// nothing is how long a packet is waited for that must not come.
	nothing = time.Second
)

// place is a cloud with two guests: web, which is looked at from all sides, and peer.
type place struct {
	*guests.Cloud
	t         *testing.T
	group     string
	web, peer *guests.Guest
	webNIC    string
	peerNIC   string
	webDevice string
}

func TestSecurityGroups(t *testing.T) {
	p := &place{Cloud: guests.Here(t, "securitygroup"), t: t}
	guests.IP(t, "netns", "add", outside)
	guests.IP(t, "link", "add", "out0", "type", "veth", "peer", "name", "out1", "netns", outside)
	guests.IP(t, "link", "set", "out0", "master", "br_"+guests.Uplink, "up")
	guests.IP(t, "-n", outside, "addr", "add", outsider+"/24", "dev", "out1")
	guests.IP(t, "-n", outside, "link", "set", "out1", "up")
	if err := p.Client.AttachServices(t.Context(), p.L3, "SecurityGroup", "SecurityGroup"); err != nil {
		t.Fatal(err)
	}
	guests.Walk(t,
		guests.Step{Name: "guests without groups", Run: p.without},
		guests.Step{Name: "members and outsiders", Run: p.members},
		guests.Step{Name: "rules and open connections", Run: p.rules},
		guests.Step{Name: "a remote group", Run: p.remote},
		guests.Step{Name: "policies", Run: p.policies},
		guests.Step{Name: "another's address", Run: p.spoof},
		guests.Step{Name: "a card that comes and goes", Run: p.comeAndGo},
		guests.Step{Name: "agent, plugin and core killed", Run: p.killed},
		guests.Step{Name: "stop and start", Run: p.again},
		guests.Step{Name: "without the plugin", Run: p.disabled},
		guests.Step{Name: "the end", Run: p.end},
	)
	p.Cloud.End()
}

// within runs f in the namespace of the outsider.
func (p *place) within(f func() error) error {
	done := make(chan error)
	go func() { done <- inNamespace(outside, f) }()
	return <-done
}

// dial connects from outside.
func (p *place) dial(g *guests.Guest, port int, limit time.Duration) (conn net.Conn, err error) {
	err = p.within(func() error {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(g.IP, strconv.Itoa(port)), limit)
		return err
	})
	return conn, err
}

func (p *place) reaches(g *guests.Guest, port int) bool {
	conn, err := p.dial(g, port, nothing)
	if err == nil {
		_ = conn.Close() // it was only asked for
	}
	return err == nil
}

// pings sends pings from outside.
func (p *place) pings(g *guests.Guest) bool {
	return exec.Command("ip", "netns", "exec", outside, "ping", "-n", "-c", "1", "-W", "1", g.IP).Run() == nil
}

// peerPings has the peer ping web.
func (p *place) peerPings() bool {
	return strings.Contains(p.peer.Ask("ping -c1 -W2 "+p.web.IP+"|grep -c ttl;:"), "1")
}

// until waits for what hosts are told after a call has ended.
func (p *place) until(what string, ok func() bool) {
	p.t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > soon {
			p.t.Fatalf("after %s not: %s\n%s", soon, what, p.ruleset())
		}
	}
}

// passing is what of the rules is not compared: what they have counted, and the
// connections that were cut a moment ago.
var (
	passing = regexp.MustCompile(`packets \d+ bytes \d+|[^{},=]*expires [^{},]*`)
	empty   = regexp.MustCompile(`elements = \{[\s,]*\}`)
)

// rulesNow are the words of the ruleset, in the order of the alphabet: the kernel lists
// what was made anew in another order.
func (p *place) rulesNow() string {
	p.t.Helper()
	words := strings.Fields(strings.ReplaceAll(p.ruleset(), ",", " "))
	slices.Sort(words)
	return strings.Join(words, " ")
}

func (p *place) ruleset() string {
	p.t.Helper()
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		p.t.Fatalf("nft: %v: %s", err, out)
	}
	return empty.ReplaceAllString(passing.ReplaceAllString(string(out), ""), "")
}

func (p *place) call(method, path string, body any) json.RawMessage {
	p.t.Helper()
	answer, err := p.Client.Call(p.t.Context(), method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

func (p *place) nic(g *guests.Guest) (uuid, device string) {
	p.t.Helper()
	page, err := p.Client.Query(p.t.Context(), wire.VMNics, "vmInstanceUuid="+g.UUID)
	if err != nil || len(page.Inventories) != 1 {
		p.t.Fatalf("NICs %v, %v", page.Inventories, err)
	}
	var row struct{ UUID, InternalName string }
	if err := json.Unmarshal(page.Inventories[0], &row); err != nil {
		p.t.Fatal(err)
	}
	return row.UUID, row.InternalName
}

func (p *place) addRule(group string, rule wire.Params) string {
	p.t.Helper()
	var got struct {
		Inventory struct {
			Rules []struct {
				UUID     string
				Priority int
			}
		}
	}
	answer := p.call(http.MethodPost, groups+"/"+group+"/rules", map[string]any{"params": wire.Params{"rules": []wire.Params{rule}}})
	if err := json.Unmarshal(answer, &got); err != nil {
		p.t.Fatal(err)
	}
	last := got.Inventory.Rules[0]
	for _, r := range got.Inventory.Rules {
		if r.Priority >= last.Priority {
			last = r
		}
	}
	return last.UUID
}

func (p *place) join(group string, nics ...string) {
	p.t.Helper()
	p.Post(groups+"/"+group+"/vm-instances/nics", wire.Params{"vmNicUuids": nics})
}

// without: guests that are in no group are not filtered, and nothing is on the host.
func (p *place) without() {
	p.peer = p.Create(nil, p.Spec("peer"))
	p.peer.WaitBoot(1)
	p.peerNIC, _ = p.nic(p.peer)
	if !p.pings(p.peer) || !p.reaches(p.peer, 80) {
		p.t.Error("a guest without groups cannot be reached")
	}
	if r := p.ruleset(); strings.Contains(r, "kumo_filter") {
		p.t.Errorf("without members the host has\n%s", r)
	}
}

// members: members reach each other, others do not reach them. The guest is made with
// its NIC in the group.
func (p *place) members() {
	p.group = p.Make(groups, wire.Params{"name": "web"})
	p.web = p.Create(nil, p.Spec("web"), "l3::"+p.L3+"::SecurityGroupUuids::"+p.group)
	p.webNIC, p.webDevice = p.nic(p.web)
	if r := p.ruleset(); !strings.Contains(r, p.webDevice) {
		p.t.Errorf("a guest that has just begun to run is not filtered:\n%s", r)
	}
	p.web.WaitBoot(1) // with an address by DHCP, and its metadata
	p.web.Ask("nc -ll -p 7 -e cat >/dev/null 2>&1 & sleep 1")
	if p.pings(p.web) || p.reaches(p.web, 80) {
		p.t.Error("an outsider reaches a member")
	}
	if p.peerPings() {
		p.t.Error("a guest of no group reaches a member")
	}
	if out := p.web.Ask("ping -c1 -W2 " + outsider); !strings.Contains(out, " 0% packet loss") {
		p.t.Errorf("a member does not reach others: %s", out)
	}
	p.join(p.group, p.peerNIC)
	p.until("a new member reaches the others", p.peerPings)
}

// rules: what a rule allows passes, until it is gone: also on connections that are open.
func (p *place) rules() {
	echo := p.addRule(p.group, wire.Params{"type": "Ingress", "protocol": "TCP", "dstPortRange": "7,80", "srcIpRange": "172.31.0.128/25"})
	p.until("the rule allows", func() bool { return p.reaches(p.web, 7) && p.reaches(p.web, 80) })
	if p.pings(p.web) {
		p.t.Error("the rule allows more than it says")
	}
	conn, err := p.dial(p.web, 7, soon)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // it is cut
	if !says(conn, "open", soon) {
		p.t.Fatal("the connection that the rule allows carries nothing")
	}
	drop := p.addRule(p.group, wire.Params{"type": "Ingress", "protocol": "TCP", "dstPortRange": "80", "action": "DROP", "ipVersion": 4})
	p.call(http.MethodPut, groups+"/rules/"+drop+"/actions", map[string]any{"changeSecurityGroupRule": wire.Params{"priority": 1}})
	p.until("the rule before it drops", func() bool { return !p.reaches(p.web, 80) })
	if !p.reaches(p.web, 7) || !says(conn, "still open", soon) {
		p.t.Error("what the rule before does not concern is cut")
	}
	p.call(http.MethodDelete, groups+"/rules?ruleUuids="+echo+"&ruleUuids="+drop, nil)
	p.until("without the rule nothing passes", func() bool { return !p.reaches(p.web, 7) })
	if says(conn, "cut", nothing) {
		p.t.Error("an open connection goes on without the rule that allowed it")
	}
}

// says sends a line and reports whether its echo comes.
func says(conn net.Conn, line string, limit time.Duration) bool {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return false
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return false
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.TrimSpace(got) == line
}

// remote: members of another group are let in by a rule that names it.
func (p *place) remote() {
	p.call(http.MethodDelete, groups+"/"+p.group+"/vm-instances/nics?vmNicUuids="+p.peerNIC, nil)
	p.until("who has left does not reach members", func() bool { return !p.peerPings() })
	clients := p.Make(groups, wire.Params{"name": "clients"})
	p.addRule(p.group, wire.Params{"type": "Ingress", "protocol": "ICMP", "remoteSecurityGroupUuid": clients})
	p.join(clients, p.peerNIC)
	p.until("a member of the remote group reaches", p.peerPings)
	p.call(http.MethodPut, groups+"/"+clients+"/actions", map[string]any{"changeSecurityGroupState": wire.Params{"stateEvent": "disable"}})
	p.until("a disabled group lets nobody in", func() bool { return !p.peerPings() })
	p.Remove(groups + "/" + clients)
}

// policies: what no rule matches is the NIC's policy's.
func (p *place) policies() {
	set := func(what, policy string) {
		p.call(http.MethodPut, groups+"/nics/"+p.webNIC+"/security-policy/actions", map[string]any{"changeVmNicSecurityPolicy": wire.Params{what: policy}})
	}
	set("ingressPolicy", "ALLOW")
	p.until("the policy lets everybody in", func() bool { return p.pings(p.web) && p.reaches(p.web, 80) })
	set("egressPolicy", "DENY")
	p.until("the policy lets nothing out", func() bool {
		return strings.Contains(p.web.Ask("ping -c1 -W1 "+outsider+"|tail -2;:"), "100%")
	})
	if !p.reaches(p.web, 80) {
		p.t.Error("answers are not let out")
	}
	set("egressPolicy", "ALLOW")
	set("ingressPolicy", "DENY")
	p.until("the policy lets nobody in", func() bool { return !p.pings(p.web) })
}

// spoof: a guest sends from its own address only.
func (p *place) spoof() {
	p.web.Ask("ip addr add 172.31.0.77/24 dev eth0")
	if out := p.web.Ask("ping -c1 -W1 -I 172.31.0.77 " + outsider + "|tail -2;:"); !strings.Contains(out, "100%") {
		p.t.Errorf("from another's address: %s", out)
	}
	p.web.Ask("ip addr del 172.31.0.77/24 dev eth0")
	if out := p.web.Ask("ping -c1 -W2 " + outsider); !strings.Contains(out, " 0% packet loss") {
		p.t.Errorf("from its own address: %s", out)
	}
}

// killed: whoever ends in the middle of a change, the host gets to what the rows say.
func (p *place) killed() {
	kill := map[string]func(){
		"agent": func() { p.kill(p.pid(filepath.Join(guests.StateFolder, "hostd.pid"))) },
		"plugin": func() {
			pid := p.Plugin("securitygroup")
			p.kill(pid)
			p.PluginGone("securitygroup", pid)
		},
		"core": func() { p.Kill(); p.Again(); p.WaitConnected() },
	}
	for who, end := range kill {
		before := p.rulesNow()
		started := make(chan error, 1)
		rule := wire.Params{"rules": []wire.Params{{"type": "Ingress", "protocol": "TCP", "dstPortRange": "80", "srcIpRange": outsider}}}
		client, ctx := p.Client, p.t.Context()
		go func() {
			_, err := client.Call(ctx, http.MethodPost, groups+"/"+p.group+"/rules", map[string]any{"params": rule})
			started <- err
		}()
		end()
		err := <-started
		p.t.Logf("%s killed: the call answers %v", who, err)
		page := p.webRules()
		if len(page) == 0 { // it was not taken
			p.addRule(p.group, rule["rules"].([]wire.Params)[0])
			page = p.webRules()
		}
		p.until("the rule is on the host after the "+who+" was killed", func() bool { return p.reaches(p.web, 80) })
		for _, uuid := range page {
			p.call(http.MethodDelete, groups+"/rules?ruleUuids="+uuid, nil)
		}
		p.until("the host is as before after the "+who+" was killed", func() bool { return p.rulesNow() == before })
	}
}

// webRules are the rules that let the outsider in.
func (p *place) webRules() (uuids []string) {
	p.t.Helper()
	page, err := p.Client.Query(p.t.Context(), groups+"/rules", "securityGroupUuid="+p.group, "dstPortRange=80")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, text := range page.Inventories {
		var row struct{ UUID string }
		if err := json.Unmarshal(text, &row); err != nil {
			p.t.Fatal(err)
		}
		uuids = append(uuids, row.UUID)
	}
	return uuids
}

func (p *place) pid(file string) int {
	p.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func (p *place) kill(pid int) {
	p.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.t.Fatalf("process %d: %v", pid, err)
	}
}

// again: a guest that is stopped leaves nothing, and is filtered when it runs again.
func (p *place) again() {
	p.Do(p.web.Path(), "stopVmInstance", wire.Params{"type": "cold"})
	if r := p.ruleset(); strings.Contains(r, p.webDevice) {
		p.t.Errorf("a stopped guest leaves\n%s", r)
	}
	p.Do(p.web.Path(), "startVmInstance", nil)
	if r := p.ruleset(); !strings.Contains(r, p.webDevice) {
		p.t.Errorf("a guest that runs again is not filtered:\n%s", r)
	}
	p.web.WaitBoot(2)
	if p.pings(p.web) {
		p.t.Error("a guest that runs again is not filtered")
	}
}

// disabled: without the plugin its rules stay on the host, and guests come and go.
func (p *place) disabled() {
	before := p.rulesNow()
	p.Cloud.Server = p.With(strings.Split("kvm,localstorage,imagestore,flat", ",")...)
	p.WaitConnected()
	if now := p.rulesNow(); now != before {
		p.t.Errorf("without the plugin the host has\n%s\nand had\n%s", now, before)
	}
	if p.pings(p.web) {
		p.t.Error("without the plugin a member is not filtered")
	}
	third := p.Create(nil, p.Spec("third"))
	p.Remove(third.Path())
	p.Do(third.Path(), "expungeVmInstance", nil)
	p.Cloud.Server = p.With(strings.Split("kvm,localstorage,imagestore,flat,securitygroup", ",")...)
	p.WaitConnected()
	p.until("with the plugin the host is as before", func() bool { return p.rulesNow() == before })
}

// end: what was made goes, and the host has nothing of it.
func (p *place) end() {
	guests.IP(p.t, "link", "del", "out0")
	guests.IP(p.t, "netns", "del", outside)
	p.Remove(p.web.Path())
	p.Do(p.web.Path(), "expungeVmInstance", nil)
	p.until("the host has no filter", func() bool { return !strings.Contains(p.ruleset(), "kumo_filter") })
	page, err := p.Client.Query(p.t.Context(), groups+"/vm-instances/nics")
	if err != nil || len(page.Inventories) > 0 {
		p.t.Errorf("members that are left: %s, %v", page.Inventories, err)
	}
	p.Remove(groups + "/" + p.group)
	p.Remove(wire.Zones + "/" + p.Zone)
	p.Remove(wire.Images + "/" + p.Image)
	p.Do(wire.Images+"/"+p.Image, "expungeImage", wire.Params{"backupStorageUuids": []string{p.Backup}})
	p.Remove(wire.BackupStorages + "/" + p.Backup)
}

// inNamespace calls f in a namespace, on a thread that nobody else gets.
func inNamespace(name string, f func() error) error {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	here, err := netns.GetFromName(name)
	if err != nil {
		return err
	}
	defer func() { _ = here.Close() }() // the thread keeps it
	if err := netns.Set(here); err != nil {
		return err
	}
	return f()
}
