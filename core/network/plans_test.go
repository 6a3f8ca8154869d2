package network_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The plan of each removal tells what it takes and what is against it, and
// changes nothing.
func TestPlans(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP", "Userdata")
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}))
	c.Do("APIAddHostRouteToL3NetworkMsg", c.network(P{"prefix": "192.0.2.0/24", "nexthop": "10.0.0.9"}))
	vm := c.VM(c.s, nil)
	types := []string{"L3Network", "L2NetworkClusterRef", "NetworkServiceL3NetworkRef", "L3NetworkDns", "L3NetworkHostRoute", "IpRange"}
	before := c.Dump(types...)
	for message, plan := range map[string]struct {
		p            P
		words, never []string
	}{
		"APIRemoveDnsFromL3NetworkMsg":            {c.network(P{"dns": "9.9.9.9"}), []string{"9.9.9.9", "L3NetworkDns"}, []string{vm.Text("uuid"), "IpRange"}},
		"APIRemoveHostRouteFromL3NetworkMsg":      {c.network(P{"prefix": "192.0.2.7/24"}), []string{"192.0.2.0/24"}, []string{vm.Text("uuid"), "IpRange"}},
		"APIDetachNetworkServiceFromL3NetworkMsg": {c.network(P{"service": "DHCP"}), []string{"DHCP"}, []string{"Userdata", "IpRange"}},
		"APIDetachL2NetworkFromClusterMsg": {P{"l2NetworkUuid": c.s.L2, "clusterUuid": c.s.Cluster},
			[]string{"L2NetworkClusterRef", "guest vm of the cluster is plugged in"}, []string{"IpRange"}},
		"APIDeleteL3NetworkMsg": {P{"uuid": c.s.L3}, []string{c.s.L3, "IpRange", "has a NIC in it"}, nil},
		"APIDeleteIpRangeMsg":   {P{"uuid": c.List("IpRange")[0].Text("uuid")}, []string{"is in use by NIC"}, nil},
	} {
		text, err := json.Marshal(c.Plan(message, plan.p))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range plan.words {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s does not say %q: %s", message, word, text)
			}
		}
		for _, word := range plan.never {
			if strings.Contains(string(text), word) {
				t.Errorf("%s says %q: %s", message, word, text)
			}
		}
	}
	if after := c.Dump(types...); after != before {
		t.Errorf("a plan changed something:\n%s\n%s", before, after)
	}
}

// The providers' rows are the same after another start, and follow what the
// plugins offer.
func TestProvidersStayTheSame(t *testing.T) {
	c := newCloud(t)
	before := c.Dump("NetworkServiceProvider", "NetworkServiceType")
	c.set("DELETE FROM `NetworkServiceType` WHERE `type` = 'Userdata'") // as an older version of the plugin had it
	for range 2 {
		if err := c.Network.SaveProviders(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	names := func(dump string) int { return strings.Count(dump, "NetworkServiceProvider {") }
	after := c.Dump("NetworkServiceProvider", "NetworkServiceType")
	if names(after) != 2 || c.count("NetworkServiceType") != 5 || c.count("NetworkServiceType", "type=Userdata") != 2 {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	c.set("DELETE FROM `NetworkServiceProvider`")
	uuid := func() string { return c.provider(kerneltest.FakeType) }
	if err := c.Network.SaveProviders(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(before, uuid()) {
		t.Errorf("a provider is another one after a fresh start: %s", uuid())
	}
	c.want("types of L2 networks", c.Do("APIGetL2NetworkTypesMsg", P{})["l2NetworkTypes"].([]any)[0], "L2NoVlanNetwork")
	c.want("types of L3 networks", c.Do("APIGetL3NetworkTypesMsg", P{})["l3NetworkTypes"].([]any)[0], "L3BasicNetwork")
}

// A host that is deleted gives all its networks back before.
func TestHostLeaves(t *testing.T) {
	c := newCloud(t)
	second := c.Host(c.s.Cluster)
	c.Calls.Fail("Unrealize", silent())
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", P{"uuid": second}, "does not answer")
	c.Calls.Fail("Unrealize", nil)
	c.Calls.Forget()
	c.Do("APIDeleteHostMsg", P{"uuid": second})
	r, _ := kerneltest.Last[*pluginv1.UnrealizeRequest](c.Calls, "Unrealize")
	c.want("taken from", r.GetHost().GetUuid(), second)
	refs, err := store.Texts(t.Context(), c.Store, "SELECT `hostUuid` FROM `L2NetworkHostRef`")
	if err != nil || len(refs) != 1 || refs[0] != c.s.Host {
		t.Errorf("hosts with networks are %v, %v", refs, err)
	}
}

// A network that never rests is given up on, with words for who asked.
func TestNetworkThatNeverRests(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	g, nics := c.guest()
	n := 0
	c.Calls.On(kerneltest.Applies, func(any) error {
		n++
		c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": []string{"a.example.org", "b.example.org"}[n%2]})
		return nil
	})
	err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics)
	if errs.ClassOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "changed faster than a host can be told") {
		t.Errorf("%v after %d calls", err, n)
	}
}
