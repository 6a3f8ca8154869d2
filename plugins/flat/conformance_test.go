package main

import (
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestL2Conformance(t *testing.T) {
	conn := flatProcess(t)
	const interfaces = 40 // more than the suite asks for
	for n := range interfaces {
		uplink(t, fmt.Sprintf("up%d", n))
	}
	plugintest.L2Network(t, plugintest.L2NetworkFixture{
		Conn: conn, Host: host,
		Network: func(n int, uuid string) *pluginv1.L2Network {
			return &pluginv1.L2Network{Uuid: uuid, Type: "L2NoVlanNetwork", PhysicalInterface: fmt.Sprintf("up%d", n%interfaces)}
		},
	})
}

func TestServiceConformance(t *testing.T) {
	uplink(t, "up0")
	conn := flatProcess(t)
	if _, err := conn.L2Network().Realize(t.Context(), &pluginv1.RealizeRequest{Host: host, Network: testL2()}); err != nil {
		t.Fatal(err)
	}
	plugintest.NetworkService(t, plugintest.NetworkServiceFixture{
		Conn: conn, Host: host, Network: testL3(),
		NIC: func(n int, uuid string) *pluginv1.GuestNIC {
			nic := testNIC(n + 1)
			nic.NicUuid = uuid
			return nic
		},
	})
}
