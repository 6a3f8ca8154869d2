package network_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/network"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// elsewhere makes the test's second provider one for the hosts of another
// hypervisor.
func (c *cloud) elsewhere() {
	c.Plugins.Manifests()[0].NetworkServices[1].HypervisorTypes = []string{"Other"}
}

// A provider for other hypervisors is told nothing of a host, whatever happens to
// its networks.
func TestProvidersOfOtherHypervisors(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	c.VM(c.s, nil)
	c.elsewhere()
	calls := func(method string) int { return len(c.Calls.Of(method)) }
	c.Calls.Forget()
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}))
	c.want("providers that are told of a server", calls(kerneltest.Applies), 1)
	c.want("providers that are told to forget", calls(kerneltest.Removes), 0)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Idle(c.s.Host)
	c.want("providers that are told of a host's guests", calls(kerneltest.Syncs), 1)
	other := c.second()
	c.Calls.Forget()
	c.Do("APIDeleteL3NetworkMsg", P{"uuid": other})
	c.want("networks and providers that forget", calls(kerneltest.Removes)/2, 1) // before its rows go, and after
}

// Addresses of a provider's own come from the first range that has one left, and
// a network without any left does not get the service.
func TestProvidersAddressInFullRanges(t *testing.T) {
	c := newCloud(t)
	add := func(l3, start, end string) string {
		return c.Create("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0", "gateway": "10.3.0.1"})
	}
	bind := func(l3, provider, service string) P {
		return P{"l3NetworkUuid": l3, "networkServices": map[string][]string{provider: {service}}}
	}
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "small", "l2NetworkUuid": c.s.L2})
	first := add(l3, "10.3.0.10", "10.3.0.10")
	c.Do("APICreateVmInstanceMsg", c.vm([]string{l3}))
	const message = "APIAttachNetworkServiceToL3NetworkMsg"
	c.Do(message, bind(l3, kerneltest.FakeType, "DHCP")) // its provider needs no address
	c.Refused(errs.Exhausted, message, bind(l3, kerneltest.FakeAddressedType, "DNS"), "L3Network "+l3, "has no free address for the services of")
	c.want("services", len(c.Get("L3Network", l3).Rows("networkServices")), 1)
	second := add(l3, "10.3.0.20", "10.3.0.21")
	c.Do(message, bind(l3, kerneltest.FakeAddressedType, "DNS"))
	own := c.List("UsedIp", "l3NetworkUuid="+l3, "usedFor!=NULL")
	if len(own) != 1 || own[0].Text("ipRangeUuid") != second {
		t.Fatalf("its addresses are %v", own)
	}
	c.Do("APIDeleteIpRangeMsg", P{"uuid": first, "deleteMode": "Enforcing"}) // another range than that of its address
	left := c.List("UsedIp", "l3NetworkUuid="+l3, "usedFor!=NULL")
	if len(left) != 1 || left[0].Text("uuid") != own[0].Text("uuid") {
		t.Errorf("its addresses are %v when another range has gone", left)
	}
	c.want("its tags", c.count("SystemTag", "resourceUuid="+l3), 1)
}

// A wish is honoured in whichever range it is, and the edges of a range belong to
// it.
func TestWishInAnyRange(t *testing.T) {
	c := newCloud(t)
	c.Do("APIAddIpRangeMsg", c.network(P{"name": "more", "startIp": "10.0.0.220", "endIp": "10.0.0.230", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}))
	for _, ip := range []string{"10.0.0.220", "10.0.0.230", "10.0.0.12"} {
		row := c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3}, "staticIp::"+c.s.L3+"::"+ip))
		c.want("address", row.Rows("vmNics")[0].Text("ip"), ip)
	}
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.vm([]string{c.s.L3}, "staticIp::"+c.s.L3+"::10.0.0.215"), "is in no IP range")
}

// Free addresses are found behind more used ones than are read at once, by who
// lists them and by a guest.
func TestFreeAddressBehindManyUsed(t *testing.T) {
	c := newCloud(t)
	l3 := c.Create("APICreateL3NetworkMsg", P{"name": "large", "l2NetworkUuid": c.s.L2})
	const used = 2500
	of := c.Create("APIAddIpRangeMsg", P{"l3NetworkUuid": l3, "name": "r", "startIp": "10.20.0.1", "endIp": "10.20.9.198", "netmask": "255.255.240.0", "gateway": "10.20.15.1"})
	c.Ok(c.Tx(func(tx *store.Tx) error {
		rows := make([]*network.UsedIP, used)
		for i := range rows {
			n := 1 + i
			ip := fmt.Sprintf("10.20.%d.%d", n/256, n%256)
			rows[i] = &network.UsedIP{IPRangeUUID: of, L3NetworkUUID: l3, IPVersion: 4, IP: ip, IPInLong: 10<<24 + 20<<16 + int64(n), Claim: l3 + ":" + ip}
			rows[i].UUID = resource.NewUUID()
		}
		return store.Insert(t.Context(), tx, network.UsedIPType, rows...)
	}))
	list := func(more P) string {
		p := P{"l3NetworkUuid": l3}
		for k, v := range more {
			p[k] = v
		}
		var ips []string
		for _, row := range c.Do("APIGetFreeIpMsg", p).Rows("inventories") {
			ips = append(ips, row.Text("ip"))
		}
		return strings.Join(ips, " ")
	}
	c.want("free", list(nil), "10.20.9.197 10.20.9.198")
	c.want("free from the second on", list(P{"start": "10.20.9.198"}), "10.20.9.198")
	c.want("free from the end on", list(P{"start": "10.20.9.199"}), "")
	c.want("the first one", list(P{"limit": 1}), "10.20.9.197")
	ips := map[string]bool{}
	for range 2 {
		ips[c.Do("APICreateVmInstanceMsg", c.vm([]string{l3})).Rows("vmNics")[0].Text("ip")] = true
	}
	if len(ips) != 2 || !ips["10.20.9.197"] || !ips["10.20.9.198"] {
		t.Errorf("guests got %v", ips)
	}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.vm([]string{l3}), "are in use")
	c.want("free when all are used", list(nil), "")
	c.Refused(errs.Invalid, "APIGetFreeIpMsg", P{"l3NetworkUuid": l3, "limit": 0}, "limit", "is not between 1 and 10000")
}

// What a network may become is what it could have been made as.
func TestUpdateL3Network(t *testing.T) {
	c := newCloud(t)
	set := func(more P) P {
		p := P{"uuid": c.s.L3}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	before := c.Dump("L3Network")
	c.Refused(errs.Invalid, "APIUpdateL3NetworkMsg", set(P{"dnsDomain": "-x"}), "dnsDomain", "is not a DNS name")
	c.Refused(errs.Invalid, "APIUpdateL3NetworkMsg", set(P{"system": true}), "category", "Private does not go with system=true")
	c.Refused(errs.Invalid, "APIUpdateL3NetworkMsg", set(P{"category": "System"}), "category", "System does not go with system=false")
	c.want("what is there", c.Dump("L3Network"), before)
	c.want("domain", c.Do("APIUpdateL3NetworkMsg", set(P{"dnsDomain": "example.org"})).Text("dnsDomain"), "example.org")
	c.want("domain", c.Do("APIUpdateL3NetworkMsg", set(P{"dnsDomain": ""})).Text("dnsDomain"), "")
	row := c.Do("APIUpdateL3NetworkMsg", set(P{"category": "System", "system": true}))
	c.want("category", row.Text("category"), "System")
	c.want("system", row["system"], true)
	row = c.Do("APIUpdateL3NetworkMsg", set(P{"category": "Public", "system": false}))
	c.want("category", row.Text("category"), "Public")
	c.want("system", row["system"], false)
}

// Only a new domain is a matter of the hosts, and all of the site's are told.
func TestUpdateIsToldToHosts(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	second := c.Host(c.s.Cluster)
	c.VM(c.s, P{"hostUuid": c.s.Host})
	c.VM(c.s, P{"hostUuid": second})
	c.Calls.Forget()
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "name": "renamed"})
	c.want("calls for a name", len(c.Calls.Of(kerneltest.Applies)), 0)
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": "example.org"})
	c.want("calls for a domain", len(c.Calls.Of(kerneltest.Applies)), 2)
	c.want("domain that is told", c.told("DHCP").GetDnsDomain(), "example.org")
}
