package suite

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/wire"
)

const vlans = wire.L2Networks + "/vlan"

// Networks of VLANs are made, found, changed, attached and deleted as the wire says.
func TestVLANs(t *testing.T) {
	each(t, false, func(l *lab) {
		params := func(device string, vlan any) wire.Params {
			return wire.Params{"name": "v", "zoneUuid": l.cloud.Zone, "physicalInterface": device, "vlan": vlan}
		}
		made := l.create(vlans, params("eth1", 100))
		uuid := made.text("uuid")
		l.want("type", made.text("type"), "L2VlanNetwork")
		l.want("VLAN", made.number("vlan"), int64(100))
		l.want("number", made.number("virtualNetworkId"), int64(100))
		l.want("switch", made.text("vSwitchType"), "LinuxBridge")
		for _, bad := range []wire.Params{params("eth1", 0), params("eth1", 4095), params("eth1", -1), params("eth1", "many"), params("eth1", nil), params("eth0;reboot", 5)} {
			if answer, err := l.c.Call(l.Context(), http.MethodPost, vlans, map[string]any{"params": bad}); err == nil {
				l.Errorf("%v: %s", bad, answer)
			}
		}
		l.refused("SYS.1007", http.MethodPost, vlans, map[string]any{"params": params("eth1", 4095)})
		l.want("networks of VLANs", len(l.query(vlans)), 1)
		l.want("found by its VLAN", len(l.query(vlans, "vlan=100")), 1)
		l.want("found by another", len(l.query(vlans, "vlan=101")), 0)
		l.want("VLAN among all networks", l.get(wire.L2Networks, uuid).number("vlan"), int64(100))
		l.want("new name", l.act(wire.L2Networks+"/"+uuid, "updateL2Network", wire.Params{"name": "w"}).text("name"), "w")
		l.want("VLAN after that", l.get(vlans, uuid).number("vlan"), int64(100))

		attach := func(uuid string) string { return wire.L2Networks + "/" + uuid + wire.Clusters + "/" + l.cloud.Cluster }
		bridges := len(l.s.World().Bridges)
		for _, other := range []object{made, l.create(vlans, params("eth1", 101)), l.create(vlans, params("eth2", 100)),
			l.create("/l2-networks/no-vlan", wire.Params{"name": "plain", "zoneUuid": l.cloud.Zone, "physicalInterface": "eth1"})} {
			if err := l.c.AttachL2Network(l.Context(), other.text("uuid"), l.cloud.Cluster); err != nil {
				l.Fatal(err)
			}
		}
		l.want("bridges", len(l.s.World().Bridges), bridges+4*hosts)
		again := l.create(vlans, params("eth1", 100)).text("uuid")
		l.refused("SYS.1006", http.MethodPost, attach(again), map[string]any{"null": wire.Params{}})
		l.remove(attach(uuid))
		if err := l.c.AttachL2Network(l.Context(), again, l.cloud.Cluster); err != nil {
			l.Errorf("the VLAN is free: %v", err)
		}
		l3 := l.create(wire.L3Networks, wire.Params{"name": "l3", "l2NetworkUuid": again})
		if err := l.c.AttachServices(l.Context(), l3.text("uuid"), "Simulator", "DHCP"); err != nil {
			l.Errorf("services on a VLAN: %v", err)
		}
		for _, network := range l.query(vlans) {
			l.remove(wire.L2Networks + "/" + network.text("uuid"))
		}
		l.gone(vlans, uuid)
		l.gone(wire.L3Networks, l3.text("uuid"))
		l.want("bridges", len(l.s.World().Bridges), bridges+hosts)

		switchPlugin := func(event string) {
			l.Helper()
			row := l.query("/plugins", "name=vlan")[0]
			if _, err := l.c.Act(l.Context(), "/plugins/"+row.text("uuid"), "changePluginState", wire.Params{"stateEvent": event}); err != nil {
				l.Fatal(err)
			}
		}
		switchPlugin("disable")
		_, err := l.c.Call(l.Context(), http.MethodPost, vlans, map[string]any{"params": params("eth1", 7)})
		if err == nil || !strings.Contains(err.Error(), "plugin vlan: it is not enabled") {
			l.Errorf("with its plugin off: %v", err)
		}
		switchPlugin("enable")
		l.remove(wire.L2Networks + "/" + l.create(vlans, params("eth1", 7)).text("uuid"))
	}, "vlan")
}

// Without the plugin there is no message, and no such type.
func TestNoVLANsWithoutTheirPlugin(t *testing.T) {
	each(t, true, func(l *lab) {
		if _, err := l.c.Call(l.Context(), http.MethodPost, vlans, map[string]any{"params": wire.Params{"name": "v", "vlan": 7}}); err == nil {
			l.Error("a network was made by a plugin that is not there")
		}
		types, err := l.c.Call(l.Context(), http.MethodGet, wire.L2Networks+"/types", nil)
		l.want("types", string(types), `{"l2NetworkTypes":["L2NoVlanNetwork"]}`)
		if err != nil {
			l.Error(err)
		}
	})
}
