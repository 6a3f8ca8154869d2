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
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "pool", "startIp": "10.5.0.10", "endIp": "10.5.0.20", "netmask": "255.255.255.0",
		"ipRangeType": "AddressPool"})
	guest := c.vm([]string{l3})
	c.Refused(errs.Refused, "APICreateVmInstanceMsg", guest, "has no IP range", "add an IP range first")
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "normal", "startIp": "10.3.0.10", "endIp": "10.3.0.10", "netmask": "255.255.255.0",
		"gateway": "10.3.0.1"})
	c.want("address", c.Do("APICreateVmInstanceMsg", guest).Rows("vmNics")[0].Text("ip"), "10.3.0.10")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", guest, "all addresses of its 1 IP ranges are in use")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.vm([]string{l3}, "staticIp::"+l3+"::10.5.0.12"), "is in no IP range")
	c.want("addresses that are used", c.count("UsedIp"), 1)
}
