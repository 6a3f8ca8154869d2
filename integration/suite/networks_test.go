package suite

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestNetworks(t *testing.T) {
	each(t, false, func(l *lab) {
		l2 := l.create("/l2-networks/no-vlan", wire.Params{"name": "l2", "zoneUuid": l.cloud.Zone, "physicalInterface": "eth1"})
		l.want("type", l2.text("type"), "L2NoVlanNetwork")
		path := wire.L2Networks + "/" + l2.text("uuid")
		if err := l.c.AttachL2Network(l.Context(), l2.text("uuid"), l.cloud.Cluster); err != nil {
			l.Fatal(err)
		}
		l.want("clusters", len(l.get(wire.L2Networks, l2.text("uuid"))["attachedClusterUuids"].([]any)), 1)
		l.want("bridges", len(l.s.World().Bridges), 2*hosts)
		l3 := l.create(wire.L3Networks, wire.Params{"name": "l3", "l2NetworkUuid": l2.text("uuid"), "dnsDomain": "example.org"})
		net := wire.L3Networks + "/" + l3.text("uuid")
		l.want("zone", l3.text("zoneUuid"), l.cloud.Zone)
		l.want("new name", l.act(net, "updateL3Network", wire.Params{"name": "m"}).text("name"), "m")
		l.want("state", l.act(net, "changeL3NetworkState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		l.want("state", l.act(net, "changeL3NetworkState", wire.Params{"stateEvent": "enable"}).text("state"), "Enabled")
		r := l.create(net+"/ip-ranges/by-cidr", wire.Params{"name": "r", "networkCidr": "10.5.0.0/24"})
		l.want("start", r.text("startIp"), "10.5.0.2")
		l.want("end", r.text("endIp"), "10.5.0.254")
		l.want("gateway", r.text("gateway"), "10.5.0.1")
		l.want("netmask", r.text("netmask"), "255.255.255.0")
		l.refused("SYS.1007", http.MethodPost, net+"/ip-ranges", map[string]any{"params": wire.Params{"name": "o", "startIp": "10.5.0.200", "endIp": "10.5.0.210", "netmask": "255.255.255.0", "gateway": "10.5.0.1"}})
		l.create(net+"/dns", wire.Params{"dns": "9.9.9.9"})
		l.create(net+"/dns", wire.Params{"dns": "8.8.4.4"})
		l.remove(net + "/dns/9.9.9.9")
		dns, _ := l.get(wire.L3Networks, l3.text("uuid"))["dns"].([]any)
		if len(dns) != 1 || dns[0] != "8.8.4.4" {
			l.Errorf("the name servers are %v", dns)
		}
		if err := l.c.AttachServices(l.Context(), l3.text("uuid"), "Simulator", "DHCP", "DNS"); err != nil {
			l.Fatal(err)
		}
		l.want("services", len(l.get(wire.L3Networks, l3.text("uuid")).list("networkServices")), 2)
		l.remove(wire.L3Networks + "/ip-ranges/" + r.text("uuid"))
		l.gone(wire.L3Networks+"/ip-ranges", r.text("uuid"))
		l.remove(path + wire.Clusters + "/" + l.cloud.Cluster)
		l.want("bridges", len(l.s.World().Bridges), hosts)
		l.remove(net)
		l.remove(path)
		l.gone(wire.L3Networks, l3.text("uuid"))
		l.gone(wire.L2Networks, l2.text("uuid"))
	})
}

// A range is used to its last address, each once, and given back.
func TestFullRange(t *testing.T) {
	each(t, false, func(l *lab) {
		l3 := l.create(wire.L3Networks, wire.Params{"name": "few", "l2NetworkUuid": l.cloud.L2Network})
		net := l3.text("uuid")
		l.create(wire.L3Networks+"/"+net+"/ip-ranges", wire.Params{"name": "r", "startIp": "10.6.0.10", "endIp": "10.6.0.12", "netmask": "255.255.255.0", "gateway": "10.6.0.1"})
		change := wire.Params{"l3NetworkUuids": []string{net}, "defaultL3NetworkUuid": net}
		seen := map[string]string{}
		for _, name := range []string{"a", "b", "c"} {
			vm := l.vm(name, change)
			ip := vm.list("vmNics")[0].text("ip")
			if other := seen[ip]; other != "" {
				l.Errorf("the guests %s and %s have address %s", other, name, ip)
			}
			seen[ip] = vm.text("uuid")
		}
		p := l.cloud.VM("d")
		for k, v := range change {
			p[k] = v
		}
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p})
		l.want("guests", len(l.query(wire.VMs)), 3)
		l.remove(wire.VMs + "/" + seen["10.6.0.11"])
		l.refused("SYS.1006", http.MethodPost, wire.VMs, map[string]any{"params": p}) // a destroyed guest can be recovered with its address
		l.act(wire.VMs+"/"+seen["10.6.0.11"], "expungeVmInstance", nil)
		l.want("address given back", l.vm("d", change, "staticIp::"+net+"::10.6.0.11").list("vmNics")[0].text("ip"), "10.6.0.11")
	})
}

// free lists free addresses.
func (l *lab) free(path string) string {
	l.Helper()
	answer, err := l.c.Call(l.Context(), http.MethodGet, path, nil)
	var page wire.Page
	if err == nil {
		err = json.Unmarshal(answer, &page)
	}
	if err != nil {
		l.Fatal(err)
	}
	var list []string
	for _, a := range l.objects(page) {
		list = append(list, a.text("ip"))
	}
	return strings.Join(list, " ")
}

// The free addresses are those that no guest has, in the order of the ranges.
func TestFreeAddresses(t *testing.T) {
	each(t, false, func(l *lab) {
		net := l.create(wire.L3Networks, wire.Params{"name": "few", "l2NetworkUuid": l.cloud.L2Network}).text("uuid")
		path := wire.L3Networks + "/" + net
		l.want("addresses without a range", l.free(path+"/ip/free"), "")
		first := l.create(path+"/ip-ranges", wire.Params{"name": "a", "startIp": "10.6.0.10", "endIp": "10.6.0.12", "netmask": "255.255.255.0", "gateway": "10.6.0.1"})
		second := l.create(path+"/ip-ranges", wire.Params{"name": "b", "startIp": "10.6.0.5", "endIp": "10.6.0.6", "netmask": "255.255.255.0", "gateway": "10.6.0.1"})
		l.want("all", l.free(path+"/ip/free"), "10.6.0.10 10.6.0.11 10.6.0.12 10.6.0.5 10.6.0.6")
		change := wire.Params{"l3NetworkUuids": []string{net}, "defaultL3NetworkUuid": net}
		vm := l.vm("v", change, "staticIp::"+net+"::10.6.0.11")
		l.vm("w", change, "staticIp::"+net+"::10.6.0.6")
		l.want("all but two", l.free(path+"/ip/free"), "10.6.0.10 10.6.0.12 10.6.0.5")
		l.want("two", l.free(path+"/ip/free?limit=2"), "10.6.0.10 10.6.0.12")
		l.want("from an address on", l.free(path+"/ip/free?start=10.6.0.11"), "10.6.0.12")
		l.want("of IPv6", l.free(path+"/ip/free?ipVersion=6"), "")
		l.want("of address pools", l.free(path+"/ip/free?ipRangeType=AddressPool"), "")
		l.want("of a range", l.free(wire.L3Networks+"/ip-ranges/"+second.text("uuid")+"/ip/free"), "10.6.0.5")
		l.want("of a range as a parameter", l.free(wire.L3Networks+"/ip/free?ipRangeUuid="+first.text("uuid")), "10.6.0.10 10.6.0.12")
		l.remove(wire.VMs + "/" + vm.text("uuid"))
		l.act(wire.VMs+"/"+vm.text("uuid"), "expungeVmInstance", nil)
		l.want("with the one given back", l.free(path+"/ip/free?limit=2"), "10.6.0.10 10.6.0.11")
		l.want("of a large network", l.free(wire.L3Networks+"/"+l.cloud.L3Network+"/ip/free?start=10.0.255.253"), "10.0.255.253 10.0.255.254")

		for _, wrong := range []string{path + "/ip/free?limit=0", path + "/ip/free?limit=10001", path + "/ip/free?start=10.6", wire.L3Networks + "/ip/free"} {
			l.refused("SYS.1007", http.MethodGet, wrong, nil)
		}
		l.refused("SYS.1003", http.MethodGet, wire.L3Networks+"/"+adminUUID+"/ip/free", nil)
		l.create("/accounts", wire.Params{"name": "stranger", "password": wire.HashPassword("stranger")})
		stranger := l.login("stranger", "stranger")
		for _, path := range []string{path, wire.L3Networks + "/ip-ranges/" + first.text("uuid")} {
			if answer, err := stranger.Call(l.Context(), http.MethodGet, path+"/ip/free", nil); wire.Code(err) != "SYS.1006" {
				l.Errorf("another account gets %s, %v of %s", answer, err, path)
			}
		}
	})
}
