package network_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestNewL3Network(t *testing.T) {
	c := newCloud(t)
	p := func(more P) P {
		all := P{"name": "l3", "l2NetworkUuid": c.s.L2}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	row := c.Do("APICreateL3NetworkMsg", p(P{"dnsDomain": "example.org", "ipVersion": 4, "enableIPAM": true}))
	for field, want := range map[string]string{"zoneUuid": c.s.Zone, "state": "Enabled", "category": "Private", "type": "L3BasicNetwork", "dnsDomain": "example.org"} {
		c.want(field, row.Text(field), want)
	}
	c.want("system", c.Do("APICreateL3NetworkMsg", p(P{"system": true, "category": "System"}))["system"], true)
	before := c.count("L3Network")
	for _, bad := range []struct {
		class errs.Class
		p     P
		word  string
	}{
		{errs.Invalid, P{"type": "L3VpcNetwork"}, "type"},
		{errs.Invalid, P{"system": true}, "category"},
		{errs.Invalid, P{"category": "System"}, "category"},
		{errs.Invalid, P{"ipVersion": 6}, "ipVersion"},
		{errs.Unsupported, P{"enableIPAM": false}, "enableIPAM"},
		{errs.Invalid, P{"dnsDomain": "-x"}, "dnsDomain"},
	} {
		c.Refused(bad.class, "APICreateL3NetworkMsg", p(bad.p), bad.word)
	}
	mine := c.As(c.Account())
	mine.Refused(errs.Denied, "APICreateL3NetworkMsg", p(P{"category": "Public"}), "Public")
	mine.Refused(errs.Denied, "APICreateL3NetworkMsg", p(P{"category": "System", "system": true}), "System")
	c.want("networks", c.count("L3Network"), before)

	own := mine.Create("APICreateL3NetworkMsg", p(nil))
	mine.Refused(errs.Denied, "APIUpdateL3NetworkMsg", P{"uuid": own, "category": "Public"}, "Public")
	mine.Refused(errs.Invalid, "APIUpdateL3NetworkMsg", P{"uuid": own, "system": true}, "category")
	mine.Refused(errs.Invalid, "APIUpdateL3NetworkMsg", P{"uuid": own, "dnsDomain": "a..b"}, "dnsDomain")
	c.want("category", mine.Do("APIUpdateL3NetworkMsg", P{"uuid": own, "category": "Private", "name": "n"}).Text("category"), "Private")
	c.want("category", c.Do("APIUpdateL3NetworkMsg", P{"uuid": own, "category": "System", "system": true}).Text("category"), "System")
}

// Name servers and routes are kept in one spelling, once each, and can be removed
// by another.
func TestNameServersAndRoutes(t *testing.T) {
	c := newCloud(t)
	for _, text := range []string{"9.9.9.9", "2001:DB8::53"} {
		c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": text}))
	}
	c.want("servers", fmt.Sprint(c.l3()["dns"]), "[9.9.9.9 2001:db8::53]")
	c.Refused(errs.Refused, "APIAddDnsToL3NetworkMsg", c.network(P{"dns": "2001:db8:0::53"}), "already")
	c.Refused(errs.Invalid, "APIAddDnsToL3NetworkMsg", c.network(P{"dns": "0.0.0.0"}), "dns")
	for i := range 61 {
		c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": fmt.Sprintf("9.9.8.%d", i+1)}))
	}
	c.Refused(errs.Exhausted, "APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.7.1"}), "63 name servers")
	c.Do("APIRemoveDnsFromL3NetworkMsg", c.network(P{"dns": "2001:db8:0:0::53"}))
	c.Do("APIRemoveDnsFromL3NetworkMsg", c.network(P{"dns": "1.2.3.4"})) // gone is a success
	c.want("servers", len(c.l3()["dns"].([]any)), 62)

	c.Do("APIAddHostRouteToL3NetworkMsg", c.network(P{"prefix": "192.0.2.7/24", "nexthop": "10.0.0.9"}))
	c.Refused(errs.Refused, "APIAddHostRouteToL3NetworkMsg", c.network(P{"prefix": "192.0.2.0/24", "nexthop": "10.0.0.8"}), "a route to 192.0.2.0/24 already")
	for prefix, hop := range map[string]string{"192.0.3.0": "10.0.0.9", "2001:db8::/32": "10.0.0.9", "192.0.3.0/24": "x", "192.0.4.0/24": "10.1.0.9", "192.0.5.0/24": "2001:db8::1"} {
		c.Refused(errs.Invalid, "APIAddHostRouteToL3NetworkMsg", c.network(P{"prefix": prefix, "nexthop": hop}))
	}
	c.want("routes", len(c.l3().Rows("hostRoute")), 1)
	c.want("prefix", c.l3().Rows("hostRoute")[0].Text("prefix"), "192.0.2.0/24")
	c.Do("APIRemoveHostRouteFromL3NetworkMsg", c.network(P{"prefix": "192.0.2.99/24"}))
	c.want("routes", len(c.l3().Rows("hostRoute")), 0)
}

func TestRangesOfANetwork(t *testing.T) {
	c := newCloud(t)
	add := func(start, end, gateway string, more P) P {
		p := c.network(P{"name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0", "gateway": gateway})
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	for _, bad := range []struct {
		p    P
		word string
	}{
		{add("10.0.0.200", "10.0.0.220", "10.0.0.1", nil), "overlaps range range"},
		{add("10.0.1.10", "10.0.1.20", "10.0.1.1", nil), "share one subnet"},
		{add("10.0.0.210", "10.0.0.220", "10.0.0.2", nil), "share one gateway"},
		{add("10.0.0.210", "10.0.0.220", "10.0.0.215", nil), "inside the range"},
		{add("10.0.0.210", "10.0.0.220", "", nil), "needs a gateway"},
	} {
		c.Refused(errs.Invalid, "APIAddIpRangeMsg", bad.p, bad.word)
	}
	pool := add("10.5.0.10", "10.5.0.20", "10.5.0.1", P{"ipRangeType": "AddressPool"})
	c.Refused(errs.Refused, "APIAddIpRangeMsg", pool, "needs a Public network")
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "category": "Public"})
	c.Do("APIAddIpRangeMsg", pool)
	second := c.Create("APIAddIpRangeMsg", add("10.0.0.210", "10.0.0.220", "10.0.0.1", P{"description": "more"}))
	c.want("description", c.Get("IpRange", second).Text("description"), "more")

	other := c.Create("APICreateL3NetworkMsg", P{"name": "other", "l2NetworkUuid": c.s.L2})
	row := c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": other, "name": "cidr", "networkCidr": "10.7.0.0/29"})
	c.want("range", row.Text("startIp")+"-"+row.Text("endIp")+" "+row.Text("gateway")+" "+row.Text("netmask"), "10.7.0.2-10.7.0.6 10.7.0.1 255.255.255.248")
	c.Refused(errs.Invalid, "APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": other, "name": "cidr", "networkCidr": "10.7.0.0/30"}, "networkCidr")

	// A route's next hop must stay a neighbour.
	third := c.Create("APICreateL3NetworkMsg", P{"name": "third", "l2NetworkUuid": c.s.L2})
	c.Do("APIAddHostRouteToL3NetworkMsg", P{"l3NetworkUuid": third, "prefix": "192.0.2.0/24", "nexthop": "10.8.0.9"})
	c.Refused(errs.Invalid, "APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": third, "name": "cidr", "networkCidr": "10.7.0.0/24"}, "192.0.2.0/24", "remove the route")
	c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": third, "name": "cidr", "networkCidr": "10.8.0.0/24"})
}

// A network that guests use is not deleted; one that goes is forgotten by its
// providers on all hosts that may have it.
func TestDeleteL3Network(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	second := c.Host(c.s.Cluster)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Refused(errs.Refused, "APIDeleteL3NetworkMsg", P{"uuid": c.s.L3}, "guest "+vm)
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": vm})
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": vm})
	c.Calls.Fail(kerneltest.Removes, silent())
	c.Refused(errs.Unavailable, "APIDeleteL3NetworkMsg", P{"uuid": c.s.L3}, "does not answer")
	if c.l3() == nil {
		t.Fatal("it is gone though a host did not forget it")
	}
	c.Calls.Fail(kerneltest.Removes, nil)
	c.Calls.Forget()
	c.Do("APIDeleteL3NetworkMsg", P{"uuid": c.s.L3})
	forgot := map[string]bool{}
	for _, r := range c.Calls.Of(kerneltest.Removes) {
		c.want("forgotten", kerneltest.Gone(r).Networks[0], c.s.L3)
		forgot[r.(*pluginv1.ApplyNetworkStateRequest).GetTarget().GetHost().GetUuid()] = true
	}
	if len(forgot) != 2 || !forgot[second] {
		t.Errorf("forgotten on %v", forgot)
	}
	for _, typeName := range []string{"L3Network", "IpRange", "UsedIp", "NetworkServiceL3NetworkRef"} {
		c.want(typeName, c.count(typeName), 0)
	}
}

// A network whose guests run stays by force, too, with all that it has: their NICs
// use its addresses. It goes from guests that do not, whatever hosts do.
func TestDeleteL3NetworkByForce(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}))
	vm := c.VM(c.s, nil).Text("uuid")
	all := []string{"L2Network", "L2NetworkClusterRef", "L3Network", "L3NetworkDns", "IpRange", "UsedIp", "VmNic", "NetworkServiceL3NetworkRef"}
	before := c.Dump(all...)
	for message, uuid := range map[string]string{"APIDeleteL3NetworkMsg": c.s.L3, "APIDeleteL2NetworkMsg": c.s.L2} {
		c.Refused(errs.Refused, message, P{"uuid": uuid, "deleteMode": "Enforcing"}, "VM vm", "is Running", "stop it first")
	}
	c.want("what is there", c.Dump(all...), before)
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.Calls.Fail(kerneltest.Removes, silent())
	c.Do("APIDeleteL3NetworkMsg", P{"uuid": c.s.L3, "deleteMode": "Enforcing"})
	for _, typeName := range []string{"L3Network", "IpRange", "UsedIp", "VmNic"} {
		c.want(typeName, c.count(typeName), 0)
	}
	c.want("the guest", c.Get("VmInstance", vm).Text("state"), "Stopped")
}

// The free addresses of a network are told in order, in parts, to whoever may see
// the network.
func TestFreeAddresses(t *testing.T) {
	c := newCloud(t)
	free := func(p P) (ips []string) {
		for _, row := range c.Do("APIGetFreeIpMsg", p).Rows("inventories") {
			ips = append(ips, row.Text("ip"))
		}
		return ips
	}
	c.VM(c.s, P{"systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.11"}})
	c.VM(c.s, P{"systemTags": []string{"staticIp::" + c.s.L3 + "::10.0.0.13"}})
	c.want("the first four", strings.Join(free(P{"l3NetworkUuid": c.s.L3, "limit": 4}), " "), "10.0.0.10 10.0.0.12 10.0.0.14 10.0.0.15")
	c.want("those from .13 on", strings.Join(free(P{"l3NetworkUuid": c.s.L3, "limit": 2, "start": "10.0.0.13"}), " "), "10.0.0.14 10.0.0.15")
	c.want("the last", strings.Join(free(P{"l3NetworkUuid": c.s.L3, "start": "10.0.0.208"}), " "), "10.0.0.208 10.0.0.209")
	c.want("without a limit", len(free(P{"l3NetworkUuid": c.s.L3})), 100)
	c.want("all", len(free(P{"l3NetworkUuid": c.s.L3, "limit": 1000})), 198)
	of := c.List("IpRange")[0].Text("uuid")
	c.want("of a range", len(free(P{"ipRangeUuid": of, "limit": 1000})), 198)
	c.want("pools", len(free(P{"l3NetworkUuid": c.s.L3, "ipRangeType": "AddressPool"})), 0)
	c.want("of version 6", len(free(P{"l3NetworkUuid": c.s.L3, "ipVersion": 6})), 0)
	c.Refused(errs.Invalid, "APIGetFreeIpMsg", P{}, "l3NetworkUuid")
	c.Refused(errs.Invalid, "APIGetFreeIpMsg", P{"l3NetworkUuid": c.s.L3, "limit": 10001}, "limit")
	c.Refused(errs.Invalid, "APIGetFreeIpMsg", P{"l3NetworkUuid": c.s.L3, "start": "::1"}, "start")
	if row, err := c.As(c.Account()).Call("APIGetFreeIpMsg", P{"ipRangeUuid": of}); err == nil {
		t.Errorf("another account was told %v", row)
	}
}
