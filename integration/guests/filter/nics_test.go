package filter

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// nearby is the outsider's address in the second network.
const nearby = "172.30.9.200"

// card is a NIC as the API shows it.
type card struct{ UUID, IP, InternalName string }

// cards are those of web in a network.
func (p *place) cards(l3 string) (all []card) {
	p.t.Helper()
	page, err := p.Client.Query(p.t.Context(), wire.VMNics, "vmInstanceUuid="+p.web.UUID, "l3NetworkUuid="+l3)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, text := range page.Inventories {
		var c card
		if err := json.Unmarshal(text, &c); err != nil {
			p.t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// comeAndGo: a guest that runs gets a card in another network. It is filtered from the
// beginning, has its address by DHCP, and what a rule allows passes; when it is pulled
// out nothing is left of it.
func (p *place) comeAndGo() {
	guests.IP(p.t, "-n", outside, "addr", "add", nearby+"/24", "dev", "out1")
	l3 := p.Make(wire.L3Networks, wire.Params{"name": "second", "l2NetworkUuid": p.L2, "category": "Private"})
	p.Make(wire.L3Networks+"/"+l3+"/ip-ranges", wire.Params{"name": "second", "startIp": "172.30.9.10", "endIp": "172.30.9.99", "netmask": "255.255.255.0", "gateway": "172.30.9.1"})
	for provider, services := range map[string][]string{guests.Provider: {"DHCP"}, "SecurityGroup": {"SecurityGroup"}} {
		if err := p.Client.AttachServices(p.t.Context(), l3, provider, services...); err != nil {
			p.t.Fatal(err)
		}
	}
	before := p.rulesNow()
	p.call(http.MethodPost, p.web.Path()+wire.L3Networks+"/"+l3, map[string]any{"params": wire.Params{"staticIp": "172.30.9.42"},
		"systemTags": []string{"l3::" + l3 + "::SecurityGroupUuids::" + p.group}})
	all := p.cards(l3)
	if len(all) != 1 || all[0].IP != "172.30.9.42" {
		p.t.Fatalf("the guest has in the network %v", all)
	}
	if r := p.ruleset(); !strings.Contains(r, all[0].InternalName) {
		p.t.Errorf("a card that has just come is not filtered:\n%s", r)
	}
	p.web.Ask("ip link set eth1 up")
	p.web.Ask("udhcpc -nqi eth1 -s /etc/udhcpc.script;:")
	if out := p.web.Ask("ip -4 addr show dev eth1"); !strings.Contains(out, all[0].IP+"/24") {
		p.t.Fatalf("the guest has no address by DHCP: %s", out)
	}
	pings := func() bool {
		return exec.Command("ip", "netns", "exec", outside, "ping", "-n", "-c", "1", "-W", "1", all[0].IP).Run() == nil
	}
	if pings() {
		p.t.Error("an outsider reaches the card of a member")
	}
	if out := p.web.Ask("ping -c1 -W2 " + nearby); !strings.Contains(out, " 0% packet loss") {
		p.t.Errorf("the member does not reach others by its new card: %s", out)
	}
	rule := p.addRule(p.group, wire.Params{"type": "Ingress", "protocol": "ICMP", "srcIpRange": nearby})
	p.until("the rule allows", pings)
	p.call(http.MethodDelete, groups+"/rules?ruleUuids="+rule, nil)
	p.until("without the rule nothing passes", func() bool { return !pings() })

	p.Remove(wire.VMNics + "/" + all[0].UUID)
	if left := p.cards(l3); len(left) > 0 {
		p.t.Errorf("rows that are left: %v", left)
	}
	if out := p.web.Ask("ip link show dev eth1 2>&1;:"); !strings.Contains(out, "can't find") && !strings.Contains(out, "does not exist") {
		p.t.Errorf("the guest still has its card: %s", out)
	}
	page, err := p.Client.Query(p.t.Context(), groups+"/vm-instances/nics", "vmNicUuid="+all[0].UUID)
	if err != nil || len(page.Inventories) > 0 {
		p.t.Errorf("members that are left: %s, %v", page.Inventories, err)
	}
	p.until("the host's rules are as before", func() bool { return p.rulesNow() == before })
	if out, err := exec.Command("ip", "link", "show", all[0].InternalName).CombinedOutput(); err == nil {
		p.t.Errorf("the host still has %s", out)
	}
	p.Remove(wire.L3Networks + "/" + l3)
	guests.IP(p.t, "-n", outside, "addr", "del", nearby+"/24", "dev", "out1")
}
