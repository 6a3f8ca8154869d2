package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func reasons(list []*pluginv1.NetworkProblem) string {
	var all []string
	for _, p := range list {
		all = append(all, p.L3Uuid+": "+p.Reason)
	}
	return strings.Join(all, "\n")
}

// What of a network cannot be told to guests is left out, and told: they have
// all the rest, at a start and at a sync alike.
func TestItemsAreLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pluginv1.L3Network)
		reason string
		same   func(*hostv1.DHCPNetwork) bool
	}{
		"gateway":      {func(n *pluginv1.L3Network) { n.Ranges[0].Gateway = "10.9.0.1" }, "10.9.0.1", func(n *hostv1.DHCPNetwork) bool { return n.Gateway == "" }},
		"domain":       {func(n *pluginv1.L3Network) { n.DnsDomain = "a b" }, "a b", func(n *hostv1.DHCPNetwork) bool { return n.Domain == "" }},
		"DNS":          {func(n *pluginv1.L3Network) { n.Dns = []string{"dns.test", "9.9.9.9"} }, "dns.test", func(n *hostv1.DHCPNetwork) bool { return slices.Equal(n.Dns, []string{"9.9.9.9"}) }},
		"zero DNS":     {func(n *pluginv1.L3Network) { n.Dns = []string{"0.0.0.0"} }, "0.0.0.0", func(n *hostv1.DHCPNetwork) bool { return len(n.Dns) == 0 }},
		"many servers": {func(n *pluginv1.L3Network) { n.Dns = servers(70) }, "10.0.0.63", func(n *hostv1.DHCPNetwork) bool { return len(n.Dns) == 63 }},
		"route":        {func(n *pluginv1.L3Network) { n.HostRoutes[0].Prefix = "x" }, "x", func(n *hostv1.DHCPNetwork) bool { return len(n.Routes) == 0 }},
		"next hop":     {func(n *pluginv1.L3Network) { n.HostRoutes[0].NextHop = "192.0.2.1" }, "192.0.2.1", func(n *hostv1.DHCPNetwork) bool { return len(n.Routes) == 0 }},
		"many routes":  {func(n *pluginv1.L3Network) { n.HostRoutes = routes(60) }, "172.16.34.0/24", func(n *hostv1.DHCPNetwork) bool { return len(n.Routes) == 30 }},
	} {
		agent := &recorder{}
		b := newBench(t, plugintest.Agent(t, agent))
		l3 := testL3()
		c.change(l3)
		prepared, err := b.apply(t.Context(), &rows{Host: host, Networks: []*pluginv1.L3Network{l3}, Nics: []*pluginv1.GuestNIC{testNIC(1)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		synced, err := b.sync(t.Context(), &rows{Host: host, Networks: []*pluginv1.L3Network{l3}, Nics: []*pluginv1.GuestNIC{testNIC(1)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		told := reasons(prepared.Problems)
		if !strings.Contains(told, l3UUID) || !strings.Contains(told, c.reason) || told != reasons(synced.Problems) {
			t.Errorf("%s: told are %s, and at a sync %s", name, told, reasons(synced.Problems))
		}
		for _, fragments := range [][]*hostv1.Fragment{agent.applied[0].Upsert, agent.synced[0].Fragments} {
			keys, n := kindsOf(fragments)
			if len(keys) != 3 || !c.same(n) {
				t.Errorf("%s: fragments %v, network %v", name, keys, n)
			}
		}
	}
}

func servers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("10.0.0.%d", i))
	}
	return all
}

func routes(n int) (all []*pluginv1.HostRoute) {
	for i := range n {
		all = append(all, &pluginv1.HostRoute{Prefix: fmt.Sprintf("172.16.%d.0/24", i), NextHop: "10.40.0.9"})
	}
	return all
}

// A network or NIC that is not possible as a whole stays as it is on the host;
// the others are synced.
func TestSyncGoesOnPastANetwork(t *testing.T) {
	agent := &recorder{}
	b := newBench(t, plugintest.Agent(t, agent))
	bad, badNIC, outside := testL3(), testNIC(2), testNIC(3)
	bad.Uuid, bad.Ranges[0].NetworkCidr = uuid(9), "x"
	badNIC.L3Uuid = bad.Uuid
	outside.Ip = "192.0.2.1"
	synced, err := b.sync(t.Context(), &rows{Host: host,
		Networks: []*pluginv1.L3Network{bad, testL3()}, Nics: []*pluginv1.GuestNIC{badNIC, outside, testNIC(1)}})
	if err != nil {
		t.Fatal(err)
	}
	one := testNIC(1).NicUuid
	if keys, _ := kindsOf(agent.synced[0].Fragments); !slices.Equal(keys, []string{l3UUID, leaseKey(one), metadataKey(one)}) {
		t.Errorf("fragments %v", keys)
	}
	for _, key := range []string{bad.Uuid, leaseKey(outside.NicUuid), metadataKey(outside.NicUuid)} {
		if !slices.Contains(agent.synced[0].Keep, key) {
			t.Errorf("%s is not kept: %v", key, agent.synced[0].Keep)
		}
	}
	p := synced.Problems
	if len(p) != 2 || p[0].L3Uuid != bad.Uuid || p[1].L3Uuid != l3UUID || !strings.Contains(p[1].Reason, "NIC "+outside.NicUuid) {
		t.Errorf("told %v", p)
	}
}

// What the agent could not do is told of the network that it belongs to.
func TestFailuresOfTheAgent(t *testing.T) {
	nic := testNIC(1)
	agent := &recorder{failures: []*hostv1.SyncFailure{{Key: l3UUID, Text: "no bridge"}, {Key: metadataKey(nic.NicUuid), Text: "no room"}}}
	b := newBench(t, plugintest.Agent(t, agent))
	synced, err := b.sync(t.Context(), &rows{Host: host, Networks: []*pluginv1.L3Network{testL3()}, Nics: []*pluginv1.GuestNIC{nic}})
	if want := l3UUID + ": no bridge\n" + l3UUID + ": no room"; err != nil || reasons(synced.Problems) != want {
		t.Errorf("%v, %v", synced, err)
	}
}
