package network_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// All providers of all networks of all guests are told at a connect, and each
// provider of a guest that stops.
func TestEveryProviderOfEveryGuest(t *testing.T) {
	c := newCloud(t)
	second := c.second()
	c.serve(kerneltest.FakeType, "DHCP")
	c.serve(kerneltest.FakeAddressedType, "DNS")
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": second, "networkServices": map[string][]string{kerneltest.FakeType: {"DHCP"}}})
	both := c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3, second})).Text("uuid")
	c.Do("APICreateVmInstanceMsg", c.vm([]string{second}))
	c.Calls.Forget()
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Idle(c.s.Host)
	nics, networks := map[int]int{}, map[int]int{}
	for _, r := range c.Calls.Of(kerneltest.Syncs) {
		r := kerneltest.Told(r)
		nics[len(r.NICs)]++
		networks[len(r.Networks)]++
	}
	if len(nics) != 2 || nics[3] != 1 || nics[1] != 1 || networks[2] != 1 || networks[1] != 1 {
		t.Errorf("told of NICs %v, networks %v", nics, networks)
	}
	c.Calls.Forget()
	c.Do("APIStopVmInstanceMsg", P{"uuid": both})
	released := map[int]int{}
	for _, r := range c.Calls.Of(kerneltest.Removes) {
		released[len(kerneltest.Gone(r).NICs)]++
	}
	if len(released) != 2 || released[1] != 1 || released[2] != 1 {
		t.Errorf("released are %v", released)
	}
}

// What a host was told of a network is needed to take it away again: when that
// cannot be read, the network stays, and says why.
func TestUnreadableNetworkOfAHost(t *testing.T) {
	c := newCloud(t)
	c.set("UPDATE `L2NetworkHostRef` SET `realized` = '{broken'")
	p := P{"l2NetworkUuid": c.s.L2, "clusterUuid": c.s.Cluster}
	c.Refused(errs.Internal, "APIDetachL2NetworkFromClusterMsg", p, "L2Network "+c.s.L2, "what host host-01 was told of it cannot be read")
	c.want("calls", len(c.Calls.Of("Unrealize")), 0)
	c.want("attachments", c.count("L2NetworkClusterRef"), 1)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host}) // it is told again, and that is noted
	c.Do("APIDetachL2NetworkFromClusterMsg", p)
	c.want("attachments", c.count("L2NetworkClusterRef"), 0)
	c.want("what hosts were told", c.count("L2NetworkHostRef"), 0)
}

// A report of a host that is not there is of no interest, and nor is one that is
// not complete; with a complete one the host gives back all that it could not
// before.
func TestReportsOfHosts(t *testing.T) {
	c := newCloud(t)
	other := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "other", "zoneUuid": c.s.Zone, "physicalInterface": "eth5"})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": other, "clusterUuid": c.s.Cluster})
	c.Calls.Fail("Unrealize", silent())
	for _, l2 := range []string{c.s.L2, other} {
		c.Do("APIDetachL2NetworkFromClusterMsg", P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster, "deleteMode": "Enforcing"})
	}
	c.Calls.Fail("Unrealize", nil)
	if got := c.count("L2NetworkHostRef"); got != 2 {
		t.Fatalf("the host still has two networks, and %d are known", got)
	}
	c.Calls.Forget()
	c.Report(resource.NewUUID(), true)
	c.Report(c.s.Host, false)
	c.Idle(c.s.Host)
	c.want("calls", strings.Join(c.Calls.Methods(), " "), "")
	c.Report(c.s.Host, true)
	c.Idle(c.s.Host)
	c.want("networks of the host when it has answered", c.count("L2NetworkHostRef"), 0)
}

// A range is called what its caller says, whichever way it is given, and of what
// does not fit in it is said why.
func TestWordsOfRanges(t *testing.T) {
	c := newCloud(t)
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "l3", "l2NetworkUuid": c.s.L2, "category": "Public"})
	row := c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": l3, "name": "cidr", "description": "whole", "networkCidr": "10.7.0.0/24"})
	c.want("name", row.Text("name"), "cidr")
	c.want("description", row.Text("description"), "whole")
	c.want("type", row.Text("ipRangeType"), "Normal")
	c.want("subnet", row.Text("networkCidr"), "10.7.0.0/24")
	c.Refused(errs.Invalid, "APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.8.0.0/24", "gateway": "10.8.0.255"}, "gateway", "is not among the addresses of")
	add := func(more P) P {
		p := P{"l3NetworkUuid": l3, "name": "r", "startIp": "10.8.0.10", "endIp": "10.8.0.20", "netmask": "255.255.255.0", "gateway": "10.8.0.1"}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	for gateway, why := range map[string]string{"10.9.0.1": "10.9.0.1 is not in 10.8.0.0/24", "10.8.0.0": "the network's or the broadcast address",
		"10.8.0.255": "no router's", "10.8.0.10": "is inside the range", "10.8.0.20": "is inside the range", "x": "is not the IPv4 address of a machine"} {
		c.Refused(errs.Invalid, "APIAddIpRangeMsg", add(P{"gateway": gateway}), "gateway", why)
	}
	c.want("ranges", len(c.Get("L3Network", l3).Rows("ipRanges")), 1)
	// The next hop of a route is a neighbour of the guests, and not of a pool.
	c.Do("APIAddHostRouteToL3NetworkMsg", P{"l3NetworkUuid": l3, "prefix": "192.0.2.0/24", "nexthop": "10.7.0.9"})
	c.Do("APIAddIpRangeMsg", add(P{"ipRangeType": "AddressPool"}))
	c.want("ranges", len(c.Get("L3Network", l3).Rows("ipRanges")), 2)
}

// A service has one provider, however many others the network has.
func TestServicesAreBoundOnce(t *testing.T) {
	c := newCloud(t)
	for _, service := range []string{"DHCP", "Userdata"} {
		c.serve(kerneltest.FakeType, service)
	}
	c.serve(kerneltest.FakeAddressedType, "DNS")
	before := c.Dump("L3Network", "UsedIp", "SystemTag")
	for provider, service := range map[string]string{kerneltest.FakeType: "Userdata", c.provider(kerneltest.FakeType): "DHCP", kerneltest.FakeAddressedType: "DNS"} {
		c.Refused(errs.Refused, "APIAttachNetworkServiceToL3NetworkMsg", c.network(P{"networkServices": map[string][]string{provider: {service}}}),
			"L3Network l3", "service "+service+" is bound to provider")
	}
	c.want("what is there", c.Dump("L3Network", "UsedIp", "SystemTag"), before)
}
