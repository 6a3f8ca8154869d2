package network_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// vm are the parameters of a guest in networks.
func (c *cloud) vm(l3s []string, tags ...string) P {
	p := P{"name": "vm", "instanceOfferingUuid": c.s.Offering, "imageUuid": c.s.Image, "l3NetworkUuids": l3s}
	if len(l3s) > 1 {
		p["defaultL3NetworkUuid"] = l3s[0]
	}
	if len(tags) > 0 {
		p["systemTags"] = tags
	}
	return p
}

// second makes another L3 network on the site's L2 network.
func (c *cloud) second() string {
	c.t.Helper()
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "second", "l2NetworkUuid": c.s.L2})
	c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": l3, "name": "r", "networkCidr": "10.1.0.0/24"})
	return l3
}

// A guest gets the addresses that it wishes, or is refused with the reason and
// nothing of it stays.
func TestWishes(t *testing.T) {
	c := newCloud(t)
	l3s := []string{c.s.L3}
	const mac = "fa:4c:00:00:00:07"
	static := func(ip string) string { return "staticIp::" + c.s.L3 + "::" + ip }
	custom := func(mac string) string { return "customMac::" + c.s.L3 + "::" + mac }
	row := c.Do("APICreateVmInstanceMsg", c.vm(l3s, static("10.0.0.77"), custom(mac)))
	nic := row.Rows("vmNics")[0]
	for field, want := range map[string]string{"ip": "10.0.0.77", "mac": mac, "netmask": "255.255.255.0", "gateway": "10.0.0.1", "l3NetworkUuid": c.s.L3, "state": "enable"} {
		c.want(field, nic.Text(field), want)
	}
	before := c.Dump("VmInstance", "VmNic", "UsedIp")
	for _, bad := range []struct {
		class errs.Class
		tag   string
		word  string
	}{
		{errs.Exists, static("10.0.0.77"), "address 10.0.0.77"},
		{errs.Invalid, static("10.0.0.210"), "is in no IP range"},
		{errs.Invalid, static("10.0.0.9"), "is in no IP range"},
		{errs.Exists, custom(mac), mac},
	} {
		c.Refused(bad.class, "APICreateVmInstanceMsg", c.vm(l3s, bad.tag), bad.word)
	}
	for _, tag := range []string{static("x"), static("::1"), custom("01:00:5e:00:00:01"), custom("fa:4c:00:00:00")} {
		c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.vm(l3s, tag))
	}
	if after := c.Dump("VmInstance", "VmNic", "UsedIp"); after != before {
		t.Errorf("left over:\n%s", after)
	}
	for _, edge := range []string{"10.0.0.10", "10.0.0.209"} {
		c.want("an edge of the range", c.Do("APICreateVmInstanceMsg", c.vm(l3s, static(edge))).Rows("vmNics")[0].Text("ip"), edge)
	}
}

// Networks that a guest cannot be plugged into are refused by name.
func TestUnusableNetworks(t *testing.T) {
	c := newCloud(t)
	const create = "APICreateVmInstanceMsg"
	second := c.second()
	c.Refused(errs.Invalid, create, c.vm([]string{c.s.L3, c.s.L3}), "twice")
	c.Refused(errs.NotFound, create, c.vm([]string{resource.NewUUID()}))
	bare := c.Create("APICreateL3NetworkMsg", P{"name": "bare", "l2NetworkUuid": c.s.L2})
	c.Refused(errs.Refused, create, c.vm([]string{bare}), "has no IP range")
	system := c.Create("APICreateL3NetworkMsg", P{"name": "inner", "l2NetworkUuid": c.s.L2, "system": true, "category": "System"})
	c.Refused(errs.Refused, create, c.vm([]string{system}), "L3Network inner", "system network")
	c.Do("APIChangeL3NetworkStateMsg", P{"uuid": second, "stateEvent": "disable"})
	c.Refused(errs.Refused, create, c.vm([]string{c.s.L3, second}), "L3Network second", "Disabled")
	c.Do("APIChangeL3NetworkStateMsg", P{"uuid": second, "stateEvent": "enable"})
	lone := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "lone", "zoneUuid": c.s.Zone, "physicalInterface": "eth7"})
	unattached := c.Create("APICreateL3NetworkMsg", P{"name": "unattached", "l2NetworkUuid": lone})
	c.Do("APIAddIpRangeByNetworkCidrMsg", P{"l3NetworkUuid": unattached, "name": "r", "networkCidr": "10.2.0.0/24"})
	c.Refused(errs.Refused, create, c.vm([]string{c.s.L3, unattached}), "no cluster has all the L2 networks")
	c.want("guests", c.count("VmInstance")+c.count("VmNic")+c.count("UsedIp"), 0)
}

// NICs come in the order of the request, differ, and go with their guest.
func TestNICsOfAGuest(t *testing.T) {
	c := newCloud(t)
	second := c.second()
	row := c.Do("APICreateVmInstanceMsg", c.vm([]string{second, c.s.L3}))
	byDevice := map[int64]kerneltest.Row{}
	names, macs := map[string]bool{}, map[string]bool{}
	for _, nic := range row.Rows("vmNics") {
		byDevice[nic.Int("deviceId")] = nic
		names[nic.Text("internalName")], macs[nic.Text("mac")] = true, true
	}
	c.want("the first", byDevice[0].Text("l3NetworkUuid"), second)
	c.want("the second", byDevice[1].Text("l3NetworkUuid"), c.s.L3)
	c.want("device names and MACs", len(names)*10+len(macs), 22)
	plans, err := c.Network.OfVM(t.Context(), c.Store, row.Text("uuid"))
	if err != nil || len(plans) != 2 || plans[0].L3UUID != second || plans[1].MAC != byDevice[1].Text("mac") {
		t.Errorf("plans %v, %v", plans, err)
	}
	other := c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3}))
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": row.Text("uuid")})
	c.Do("APIExpungeVmInstanceMsg", P{"uuid": row.Text("uuid")})
	c.want("NICs", c.count("VmNic"), 1)
	c.want("addresses", c.count("UsedIp", "ip="+other.Rows("vmNics")[0].Text("ip")), 1)
	c.want("addresses in all", c.count("UsedIp"), 1)
}
