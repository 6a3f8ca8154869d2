package network_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// The addresses of a pool are no guest's: a guest in it would have no router. A
// guest gets none of them, neither as a wish nor when all others are taken.
func TestPoolsAreNotForGuests(t *testing.T) {
	c := newCloud(t)
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "public", "l2NetworkUuid": c.s.L2, "category": "Public"})
	guest := c.vm([]string{l3})
	c.Refused(errs.Refused, "APICreateVmInstanceMsg", guest, "has no IP range", "add an IP range first")
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "normal", "startIp": "10.3.0.10", "endIp": "10.3.0.10", "netmask": "255.255.255.0",
		"gateway": "10.3.0.1"})
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "pool", "startIp": "10.5.0.10", "endIp": "10.5.0.20", "netmask": "255.255.255.0",
		"ipRangeType": "AddressPool"})
	c.want("address", c.Do("APICreateVmInstanceMsg", guest).Rows("vmNics")[0].Text("ip"), "10.3.0.10")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", guest, "all addresses of its 1 IP ranges are in use")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.vm([]string{l3}, "staticIp::"+l3+"::10.5.0.12"), "is in no IP range")
	c.want("addresses that are used", c.count("UsedIp"), 1)
}

// A pool needs a Normal range of its network: first one, and one as long as it is
// there. What must go takes the pools along.
func TestPoolsNeedANormalRange(t *testing.T) {
	c := newCloud(t)
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "public", "l2NetworkUuid": c.s.L2, "category": "Public"})
	add := func(name, net, kind string) P {
		return P{"l3NetworkUuid": l3, "name": name, "startIp": net + ".10", "endIp": net + ".20", "netmask": "255.255.255.0", "gateway": net + ".1", "ipRangeType": kind}
	}
	before := c.Dump("IpRange", "UsedIp", "SystemTag")
	c.Refused(errs.Refused, "APIAddIpRangeMsg", add("pool", "10.5.0", "AddressPool"), "L3Network public", "no Normal IP range", "add a Normal range first")
	c.want("ranges after a refusal", c.Dump("IpRange", "UsedIp", "SystemTag"), before)
	one := c.Create("APIAddIpRangeMsg", add("one", "10.3.0", "Normal"))
	first := c.Create("APIAddIpRangeMsg", add("pool", "10.5.0", "AddressPool"))
	other := add("two", "10.3.0", "")
	other["startIp"], other["endIp"] = "10.3.0.30", "10.3.0.40"
	two := c.Create("APIAddIpRangeMsg", other)
	c.Refused(errs.Refused, "APIUpdateL3NetworkMsg", P{"uuid": l3, "category": "Private"}, "address pool")
	c.Do("APIDeleteIpRangeMsg", P{"uuid": one})
	c.Refused(errs.Refused, "APIDeleteIpRangeMsg", P{"uuid": two}, "IpRange two", "the last Normal range", "address pool pool", "delete the pool first")
	c.Do("APIDeleteIpRangeMsg", P{"uuid": first})
	c.Do("APIDeleteIpRangeMsg", P{"uuid": two})
	c.want("ranges", len(c.Get("L3Network", l3).Rows("ipRanges")), 0)

	one = c.Create("APIAddIpRangeMsg", add("one", "10.3.0", "Normal"))
	other = add("another", "10.5.0", "AddressPool")
	other["startIp"], other["endIp"] = "10.5.0.30", "10.5.0.40"
	for _, p := range []P{add("pool", "10.5.0", "AddressPool"), other} {
		c.Do("APIAddIpRangeMsg", p)
	}
	c.want("ranges", len(c.Get("L3Network", l3).Rows("ipRanges")), 3)
	c.Do("APIDeleteIpRangeMsg", P{"uuid": one, "deleteMode": "Enforcing"})
	c.want("ranges when the last must go", len(c.Get("L3Network", l3).Rows("ipRanges")), 0)
	for _, p := range []P{add("one", "10.3.0", "Normal"), add("pool", "10.5.0", "AddressPool")} {
		c.Do("APIAddIpRangeMsg", p)
	}
	c.Do("APIDeleteL3NetworkMsg", P{"uuid": l3})
	c.want("what is left", c.Dump("IpRange", "UsedIp", "SystemTag"), before)
}
