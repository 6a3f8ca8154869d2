package cloudtest_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// An address that a guest has is not given out again when its range was deleted
// by force and another one holds it, neither as a wish nor as the next free one.
func TestAnAddressIsNotGivenTwice(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	ip := c.VM(s, nil).Rows("vmNics")[0].Text("ip")
	old := c.List("IpRange")[0].Text("uuid")
	c.Refused(errs.Refused, "APIDeleteIpRangeMsg", cloudtest.P{"uuid": old}, ip)
	c.Do("APIDeleteIpRangeMsg", cloudtest.P{"uuid": old, "deleteMode": "Enforcing"})
	if left := c.List("IpRange"); len(left) > 0 {
		t.Fatalf("ranges %v are left", left)
	}

	only := c.Create("APIAddIpRangeMsg", cloudtest.P{"l3NetworkUuid": s.L3, "name": "only", "startIp": ip, "endIp": ip,
		"netmask": "255.255.255.0", "gateway": "10.0.0.1"})
	vm := cloudtest.P{"name": "vm", "instanceOfferingUuid": s.Offering, "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", vm, s.L3)
	vm["systemTags"] = []string{"staticIp::" + s.L3 + "::" + ip}
	c.Refused(errs.Exists, "APICreateVmInstanceMsg", vm, ip)
	c.Refused(errs.Refused, "APIDeleteIpRangeMsg", cloudtest.P{"uuid": only}, ip)
}
