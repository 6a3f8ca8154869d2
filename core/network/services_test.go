package network_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// provider is the UUID of the fake provider of a type.
func (c *cloud) provider(kind string) string {
	c.t.Helper()
	return c.List("NetworkServiceProvider", "type="+kind)[0].Text("uuid")
}

func TestAttachServices(t *testing.T) {
	c := newCloud(t)
	bind := func(provider string, services ...string) P {
		return c.network(P{"networkServices": map[string][]string{provider: services}})
	}
	const message = "APIAttachNetworkServiceToL3NetworkMsg"
	c.Refused(errs.NotFound, message, bind("Nobody", "DHCP"), "Nobody")
	c.Refused(errs.Invalid, message, bind(kerneltest.FakeType, "DHCP", "SNAT"), "does not give SNAT", "DHCP")
	c.want("services after a refusal", c.count("NetworkServiceL3NetworkRef"), 0)
	c.Do(message, bind(c.provider(kerneltest.FakeType), "DHCP"))
	c.Do(message, bind(kerneltest.FakeType, "Userdata")) // by its type, which is the same
	c.Refused(errs.Refused, message, bind(kerneltest.FakeType, "DHCP"), "DHCP is bound to provider")
	c.want("services", c.count("NetworkServiceL3NetworkRef", "networkServiceProviderUuid="+c.provider(kerneltest.FakeType)), 2)

	c.set("UPDATE `L2Network` SET `type` = 'Exotic' WHERE `uuid` = ?", c.s.L2)
	other := c.Create("APICreateL3NetworkMsg", P{"name": "other", "l2NetworkUuid": c.s.L2})
	p := bind(kerneltest.FakeType, "DHCP")
	p["l3NetworkUuid"] = other
	c.Refused(errs.Refused, message, p, "type Exotic", "does not serve")
	c.set("UPDATE `NetworkServiceProvider` SET `type` = 'Gone' WHERE `type` = ?", kerneltest.FakeAddressedType)
	c.Refused(errs.Unavailable, message, bind("Gone", "DNS"), "its plugin is not enabled")
	types, _ := c.Do("APIGetNetworkServiceTypesMsg", P{})["serviceAndProviderTypes"].(map[string]any)
	c.want("types", len(types), 4)
}

func TestDetachServices(t *testing.T) {
	c := newCloud(t)
	fake := c.provider(kerneltest.FakeType)
	left := func() string {
		names := ""
		for _, r := range c.l3().Rows("networkServices") {
			names += r.Text("networkServiceType") + " "
		}
		return names
	}
	c.serve(kerneltest.FakeType, "DHCP", "Userdata")
	const message = "APIDetachNetworkServiceFromL3NetworkMsg"
	c.Do(message, c.network(P{"networkServices": map[string][]string{fake: {"SNAT"}}}))
	c.want("services", left(), "DHCP Userdata ")
	c.Do(message, c.network(P{"networkServices": map[string][]string{fake: {"DHCP"}}}))
	c.want("services", left(), "Userdata ")
	c.Do(message, c.network(P{"service": "Userdata"}))
	c.Do(message, c.network(P{"service": "Userdata"})) // gone is a success
	c.want("services", left(), "")
	c.serve(kerneltest.FakeType, "DHCP", "Userdata") // a provider can be named by its type here, too
	c.Do(message, c.network(P{"networkServices": map[string][]string{kerneltest.FakeType: {"DHCP"}, kerneltest.FakeAddressedType: {"Userdata"}}}))
	c.want("services", left(), "Userdata ")
	c.Do(message, c.network(nil)) // it names none
	c.want("services", left(), "Userdata ")
}

// Another provider can give a service from now on: the host of a guest that runs is told
// by the new one before the old one, of the network and of the guest.
func TestReplaceProvider(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP", "Userdata")
	c.VM(c.s, nil)
	p := c.network(P{"networkServices": map[string][]string{kerneltest.FakeAddressedType: {"Userdata"}}})
	const message = "APIAttachNetworkServiceToL3NetworkMsg"
	c.Refused(errs.Refused, message, p, "Userdata is bound to provider", "say replace")
	p["replace"] = true
	c.Calls.Forget()
	for range 2 { // a repeat is a success
		c.Do(message, p)
	}
	c.want("services of the new one", c.count("NetworkServiceL3NetworkRef", "networkServiceProviderUuid="+c.provider(kerneltest.FakeAddressedType)), 1)
	c.want("services of the old one", c.count("NetworkServiceL3NetworkRef", "networkServiceProviderUuid="+c.provider(kerneltest.FakeType)), 1)
	c.want("what the old one still gives", len(c.told("DHCP").GetServices()), 1)
	nics := func(provider string) func() bool {
		return func() bool {
			return slices.ContainsFunc(c.Calls.Of(kerneltest.Applies), func(r any) bool {
				return r.(*pluginv1.ApplyNetworkStateRequest).GetProvider() == provider && len(kerneltest.Told(r).NICs) == 1
			})
		}
	}
	for !nics(kerneltest.FakeAddressedType)() {
		c.Idle(c.List("VmInstance")[0].Text("uuid"))
	}
	c.Do(message, c.network(P{"replace": true, "networkServices": map[string][]string{kerneltest.FakeType: {"Userdata"}}}))
	var order []string
	for _, r := range slices.Concat(c.Calls.Of(kerneltest.Applies), c.Calls.Of(kerneltest.Removes)) {
		if m := r.(*pluginv1.ApplyNetworkStateRequest); len(kerneltest.Gone(m).Networks) == 1 {
			order = append(order, m.GetProvider())
		}
	}
	c.want("who was told to give the network up", strings.Join(order, " "), kerneltest.FakeAddressedType)
}

// A provider that needs an address of its own gets one with its first service or
// with the network's first range, and another one when its range goes.
func TestProvidersAddress(t *testing.T) {
	c := newCloud(t)
	own := func(l3 string) (ips []string) {
		for _, r := range c.List("UsedIp", "l3NetworkUuid="+l3, "usedFor!=NULL") {
			ips = append(ips, r.Text("ip"))
		}
		return ips
	}
	c.serve(kerneltest.FakeType, "DHCP")
	c.want("addresses of one that needs none", len(own(c.s.L3)), 0)
	c.serve(kerneltest.FakeAddressedType, "DNS")
	first := own(c.s.L3)
	if len(first) != 1 {
		t.Fatalf("its addresses are %v", first)
	}
	c.serve(kerneltest.FakeAddressedType, "SNAT")
	c.want("addresses after another service", len(own(c.s.L3)), 1)
	c.VM(c.s, nil)
	c.want("what it is told", c.told("DNS", "SNAT").GetServiceIp(), first[0])
	c.want("what the other is told", c.told("DHCP").GetServiceIp(), "")

	empty := c.Create("APICreateL3NetworkMsg", P{"name": "empty", "l2NetworkUuid": c.s.L2})
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": empty, "networkServices": map[string][]string{kerneltest.FakeAddressedType: {"DNS"}}})
	c.want("addresses without a range", len(own(empty)), 0)
	add := func(start, end string) string {
		return c.Create("APIAddIpRangeMsg", P{"l3NetworkUuid": empty, "name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0", "gateway": "10.3.0.1"})
	}
	old := add("10.3.0.10", "10.3.0.10")
	c.want("the address", own(empty)[0], "10.3.0.10")
	add("10.3.0.20", "10.3.0.20")
	c.Do("APIDeleteIpRangeMsg", P{"uuid": old})
	if ips := own(empty); len(ips) != 1 || ips[0] != "10.3.0.20" {
		t.Errorf("after its range went: %v", ips)
	}
	c.want("its tags", c.count("SystemTag", "resourceUuid="+empty), 1)
}

// Hosts are told at once of changes to a network that their guests use, and those
// with none of them are left alone.
func TestChangesAreToldToHosts(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	c.VM(c.s, nil)
	c.Host(c.s.Cluster) // without guests
	for what, change := range map[string]struct {
		message string
		p       P
		seen    func(n *pluginv1.L3Network) bool
	}{
		"a name server": {"APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}), func(n *pluginv1.L3Network) bool { return len(n.GetDns()) == 1 }},
		"a route": {"APIAddHostRouteToL3NetworkMsg", c.network(P{"prefix": "192.0.2.0/24", "nexthop": "10.0.0.9"}),
			func(n *pluginv1.L3Network) bool { return n.GetHostRoutes()[0].GetNextHop() == "10.0.0.9" }},
		"a range": {"APIAddIpRangeMsg", c.network(P{"name": "r", "startIp": "10.0.0.220", "endIp": "10.0.0.230", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}),
			func(n *pluginv1.L3Network) bool { return len(n.GetRanges()) == 2 }},
		"the domain": {"APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "dnsDomain": "example.org"},
			func(n *pluginv1.L3Network) bool { return n.GetDnsDomain() == "example.org" }},
	} {
		c.Calls.Forget()
		c.Do(change.message, change.p)
		calls := c.Calls.Of(kerneltest.Applies)
		if len(calls) != 1 || kerneltest.Told(calls[0]).Host.GetUuid() != c.s.Host || !change.seen(c.told("DHCP")) {
			t.Errorf("%s: told was %v", what, calls)
		}
	}
	c.Calls.Forget()
	c.Do("APIUpdateL3NetworkMsg", P{"uuid": c.s.L3, "name": "only for people"})
	c.want("calls for a new name", len(c.Calls.Of(kerneltest.Applies)), 0)
	c.Do("APIDetachNetworkServiceFromL3NetworkMsg", c.network(P{"service": "DHCP"}))
	r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.want("forgotten", kerneltest.Gone(r).Networks[0], c.s.L3)

	// A service that is new to running guests gets their own bindings too.
	c.Calls.Forget()
	c.serve(kerneltest.FakeType, "DHCP")
	vm := c.List("VmInstance")[0].Text("uuid")
	c.Idle(vm)
	bound := 0
	for _, r := range c.Calls.Of(kerneltest.Applies) {
		for _, n := range kerneltest.Told(r).NICs {
			if n.GetVmUuid() == vm {
				bound++
			}
		}
	}
	c.want("bindings", bound, 1)
}

// A host that could not be told does not make the change fail, and is told with
// its next ping, once.
func TestHostIsToldLater(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	c.VM(c.s, nil)
	ping := func() {
		c.Calls.Forget()
		c.Report(c.s.Host, true)
		c.Idle(c.s.Host)
	}
	ping()
	c.want("calls when nothing is due", len(c.Calls.Methods()), 0)
	c.Calls.Fail(kerneltest.Applies, noDHCP())
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}))
	ping() // it fails again, and stays due
	c.Calls.Fail(kerneltest.Applies, nil)
	c.Calls.Forget()
	c.Report(c.s.Host, false) // a single change is no ping
	c.Idle(c.s.Host)
	c.want("calls after a change of a guest", len(c.Calls.Methods()), 0)
	ping()
	c.want("what it was told", len(c.told("DHCP").GetDns()), 1)
	ping()
	c.want("calls after that", len(c.Calls.Methods()), 0)
	// Who connects is told everything, so nothing is due any more.
	c.Calls.Fail(kerneltest.Applies, noDHCP())
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "8.8.8.8"}))
	c.Calls.Fail(kerneltest.Applies, nil)
	c.Calls.Forget()
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Idle(c.s.Host)
	c.want("calls about the change alone", len(c.Calls.Of(kerneltest.Applies)), 0)
	ping()
	c.want("calls after it has connected", len(c.Calls.Methods()), 0)
}
