package network_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
)

// own are the tables of the service.
var own = []string{"L2Network", "L2NetworkClusterRef", "L2NetworkHostRef", "L3Network", "L3NetworkDns", "L3NetworkHostRoute", "IpRange", "UsedIp", "VmNic",
	"NetworkServiceProvider", "NetworkServiceType", "NetworkServiceL3NetworkRef"}

// call makes a message a call of FailEachStatement.
func (c *cloud) call(message string, p P) func() error {
	return func() error { _, err := c.Call(message, p); return err }
}

// Whichever read or write of the database fails, whoever asked is told, and what
// was asked for can be done afterwards.
func TestBrokenDatabase(t *testing.T) {
	c := newCloud(t)
	l2 := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "other", "zoneUuid": c.s.Zone, "physicalInterface": "eth5"})
	attachment := P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster}
	dns, route := c.network(P{"dns": "9.9.9.9"}), c.network(P{"prefix": "192.0.2.0/24", "nexthop": "10.0.0.9"})
	services := c.network(P{"networkServices": map[string][]string{kerneltest.FakeAddressedType: {"DNS", "SNAT"}}})
	pool := c.network(P{"name": "more", "startIp": "10.0.0.220", "endIp": "10.0.0.230", "netmask": "255.255.255.0", "gateway": "10.0.0.1"})
	l3 := P{"name": "short", "l2NetworkUuid": c.s.L2}
	// there says how many rows of a type there are, and makes or removes one.
	there := func(typeName string, n int, message string, p P, conditions ...string) {
		t.Helper()
		if c.count(typeName, conditions...) != n {
			c.Do(message, p)
		}
		c.want("rows of "+typeName, c.count(typeName, conditions...), n)
	}
	short := func() string {
		t.Helper()
		if all := c.List("L3Network", "name=short"); len(all) > 0 {
			return all[0].Text("uuid")
		}
		uuid := c.Create("APICreateL3NetworkMsg", l3)
		c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": uuid, "name": "r", "networkCidr": "10.9.0.0/24"})
		c.Do("APIAddDnsToL3NetworkMsg", P{"l3NetworkUuid": uuid, "dns": "9.9.9.9"})
		c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": uuid, "networkServices": services["networkServices"]})
		return uuid
	}
	for _, x := range []struct {
		name    string
		prepare func() func() error
	}{
		{"attach", func() func() error {
			there("L2NetworkClusterRef", 1, "APIDetachL2NetworkFromClusterMsg", attachment)
			return c.call("APIAttachL2NetworkToClusterMsg", attachment)
		}},
		{"detach", func() func() error {
			there("L2NetworkClusterRef", 2, "APIAttachL2NetworkToClusterMsg", attachment)
			return c.call("APIDetachL2NetworkFromClusterMsg", attachment)
		}},
		{"create a network", func() func() error { return c.call("APICreateL3NetworkMsg", l3) }},
		{"add a server", func() func() error {
			there("L3NetworkDns", 0, "APIRemoveDnsFromL3NetworkMsg", dns)
			return c.call("APIAddDnsToL3NetworkMsg", dns)
		}},
		{"remove a server", func() func() error {
			there("L3NetworkDns", 1, "APIAddDnsToL3NetworkMsg", dns)
			return c.call("APIRemoveDnsFromL3NetworkMsg", dns)
		}},
		{"add a route", func() func() error {
			there("L3NetworkHostRoute", 0, "APIRemoveHostRouteFromL3NetworkMsg", route)
			return c.call("APIAddHostRouteToL3NetworkMsg", route)
		}},
		{"remove a route", func() func() error {
			there("L3NetworkHostRoute", 1, "APIAddHostRouteToL3NetworkMsg", route)
			return c.call("APIRemoveHostRouteFromL3NetworkMsg", P{"l3NetworkUuid": c.s.L3, "prefix": route["prefix"]})
		}},
		{"bind", func() func() error {
			there("NetworkServiceL3NetworkRef", 0, "APIDetachNetworkServiceFromL3NetworkMsg", services)
			return c.call("APIAttachNetworkServiceToL3NetworkMsg", services)
		}},
		{"unbind", func() func() error {
			there("NetworkServiceL3NetworkRef", 2, "APIAttachNetworkServiceToL3NetworkMsg", services)
			return c.call("APIDetachNetworkServiceFromL3NetworkMsg", services)
		}},
		{"add a range", func() func() error {
			for _, row := range c.List("IpRange", "name=more") {
				c.Do("APIDeleteIpRangeMsg", P{"uuid": row.Text("uuid")})
			}
			return c.call("APIAddIpRangeMsg", pool)
		}},
		{"delete a range", func() func() error {
			there("IpRange", 1, "APIAddIpRangeMsg", pool, "name=more")
			return c.call("APIDeleteIpRangeMsg", P{"uuid": c.List("IpRange", "name=more")[0].Text("uuid")})
		}},
		{"free addresses", func() func() error {
			return c.call("APIGetFreeIpMsg", P{"ipRangeUuid": c.List("IpRange")[0].Text("uuid")})
		}},
		{"update", func() func() error {
			return c.call("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": "example.org"})
		}},
		{"delete a network", func() func() error { return c.call("APIDeleteL3NetworkMsg", P{"uuid": short()}) }},
		{"clusters", func() func() error {
			return func() error { _, err := c.Network.Clusters(t.Context(), c.Store, []string{c.s.L3}); return err }
		}},
	} {
		t.Log(x.name)
		c.FailEachStatement(own, x.prepare)
		for _, row := range c.List("L3Network", "name=short") {
			c.Do("APIDeleteL3NetworkMsg", P{"uuid": row.Text("uuid")})
		}
	}
}

// What a guest takes of networks is taken back whichever statement fails.
func TestBrokenDatabaseOfAGuest(t *testing.T) {
	c := newCloud(t)
	second := c.second()
	c.serve(kerneltest.FakeType, "DHCP")
	guest := func() P {
		t.Helper()
		for _, row := range c.List("VmInstance") {
			c.Do("APIDestroyVmInstanceMsg", P{"uuid": row.Text("uuid")})
			c.Do("APIExpungeVmInstanceMsg", P{"uuid": row.Text("uuid")})
		}
		c.want("NICs and addresses", c.count("VmNic")+c.count("UsedIp"), 0)
		return c.vm([]string{c.s.L3, second}, "staticIp::"+second+"::10.1.0.7")
	}
	c.FailEachStatement(own, func() func() error { return c.call("APICreateVmInstanceMsg", guest()) })
}
