package network_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// What is not possible of one network is shown on it, and the host that it is
// not possible on is connected all the same; it is shown no longer when it has
// become possible, or the host is gone.
func TestProblemsAreOfTheirNetworks(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	second := c.second()
	c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3}))
	reason := func(l3 string) string {
		t.Helper()
		var all []string
		for _, p := range c.Get("L3Network", l3).Rows("problems") {
			c.want("host", p.Text("hostUuid"), c.s.Host)
			all = append(all, p.Text("reason"))
		}
		return strings.Join(all, "\n")
	}
	reconnect := func() {
		t.Helper()
		c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
		c.want("status", c.Get("Host", c.s.Host).Text("status"), "Connected")
	}
	for call, word := range map[string]string{kerneltest.Syncs: "bad server", "Realize": "no device"} {
		c.Calls.Fail(call, errs.New(errs.Invalid, "something", "%s", word))
		for range 2 { // the second changes nothing
			reconnect()
			if got := reason(c.s.L3); !strings.Contains(got, word) {
				t.Errorf("%s: the network tells %q", call, got)
			}
			c.want("what the other network tells", reason(second), "")
		}
		c.Calls.Fail(call, nil)
		reconnect()
		c.want("what the network tells", reason(c.s.L3), "")
	}

	// What could not be made when the host connected is made with its next ping.
	c.Calls.Fail("Realize", errs.New(errs.Invalid, "something", "no device"))
	reconnect()
	c.Calls.Fail("Realize", nil)
	before := len(c.Calls.Of("Realize"))
	for range 2 { // the second has nothing to do
		c.Report(c.s.Host, true)
		c.Idle(c.s.Host)
		c.want("what the network tells", reason(c.s.L3), "")
	}
	c.want("times it was made", len(c.Calls.Of("Realize"))-before, 1)

	// A change that the host does not take, and then does.
	c.Calls.Fail(kerneltest.Applies, errs.New(errs.Refused, "something", "no room"))
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.9"}))
	if got := reason(c.s.L3); !strings.Contains(got, "no room") {
		t.Errorf("the network tells %q", got)
	}
	c.Calls.Fail(kerneltest.Applies, nil)
	c.Do("APIAddDnsToL3NetworkMsg", c.network(P{"dns": "9.9.9.10"}))
	c.want("what the network tells", reason(c.s.L3), "")

	c.Calls.Fail(kerneltest.Syncs, errs.New(errs.Invalid, "something", "%s", strings.Repeat("ü", 3000)))
	reconnect()
	if got := reason(c.s.L3); len(got) > 4100 || !strings.HasSuffix(got, "ü …") {
		t.Errorf("a long reason has %d bytes", len(got))
	}
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host})
	c.want("problems", c.count("L3NetworkProblem"), 0)
}

// A network whose rows cannot be read says so, and costs neither the host nor the
// other networks on it anything.
func TestDamagedNetworkCostsOthersNothing(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	second := c.second()
	c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3}))
	c.Do("APICreateVmInstanceMsg", c.vm([]string{second}))
	c.Do("APIAddDnsToL3NetworkMsg", P{"l3NetworkUuid": second, "dns": "9.9.9.9"})
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": second, "networkServices": map[string][]string{c.provider(kerneltest.FakeType): {"DHCP"}}})
	for _, x := range []struct{ damage, mend string }{
		{"UPDATE `L3Network` SET `mtu` = 'big' WHERE `uuid` = ?", "UPDATE `L3Network` SET `mtu` = 0 WHERE `uuid` = ?"},
		{"UPDATE `IpRange` SET `prefixLen` = '{' WHERE `l3NetworkUuid` = ?", "UPDATE `IpRange` SET `prefixLen` = 24 WHERE `l3NetworkUuid` = ?"},
		{"UPDATE `L3NetworkDns` SET `createDate` = 'x' WHERE `l3NetworkUuid` = ?", "UPDATE `L3NetworkDns` SET `createDate` = 1 WHERE `l3NetworkUuid` = ?"},
	} {
		for _, write := range []string{x.damage, x.mend} {
			if err := c.Store.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(t.Context(), write, second); return err }); err != nil {
				t.Fatal(err)
			}
			c.Calls.Forget()
			c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
			c.want("status after "+write, c.Get("Host", c.s.Host).Text("status"), "Connected")
			c.want("networks listed", len(c.List("L3Network")), 2)
			c.want("what the other network tells", len(c.Get("L3Network", c.s.L3).Rows("problems")), 0)
			told := c.Get("L3Network", second).Rows("problems")
			if write == x.mend {
				c.want("what the mended network tells", len(told), 0)
			} else if len(told) != 1 || !strings.Contains(told[0].Text("reason"), "does not fit its declaration") {
				t.Errorf("%s: the network tells %v", write, told)
			}
			served := func(request any) bool {
				return slices.ContainsFunc(kerneltest.Told(request).NICs, func(n *pluginv1.GuestNIC) bool { return n.GetL3Uuid() == c.s.L3 })
			}
			if !slices.ContainsFunc(c.Calls.Of(kerneltest.Syncs), served) {
				t.Errorf("%s: the other network's guest is not served", write)
			}
		}
	}
}

// What cannot be reached for one network now costs that network, and is done with
// the next ping; only what says so is about the host.
func TestUnavailableIsNotTheHosts(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	vm := c.Do("APICreateVmInstanceMsg", c.vm([]string{c.s.L3})).Text("uuid")
	second := c.second()
	c.Do("APICreateVmInstanceMsg", c.vm([]string{second}))
	state := func(name string) string {
		return c.List("HostCheck", "hostUuid="+c.s.Host, "name="+name)[0].Text("state")
	}
	problems := func() int { return c.count("L3NetworkProblem") }

	first := false
	c.Calls.On("Realize", func(any) error {
		if first = !first; first {
			return errs.New(errs.Unavailable, "the uplink", "has no carrier")
		}
		return nil
	})
	for range 2 {
		c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
		c.want("status", c.Get("Host", c.s.Host).Text("status"), "Connected")
	}
	c.want("networks", state("networks"), "Failed")
	c.Calls.Fail("Realize", nil)
	c.Report(c.s.Host, true)
	c.Idle(c.s.Host)
	c.want("networks", state("networks"), "Ok")

	c.Calls.Fail(kerneltest.Syncs, noDHCP())
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.want("status", c.Get("Host", c.s.Host).Text("status"), "Connected")
	c.want("problems", problems(), 1) // the other network has no services
	c.want("services", c.List("HostCheck", "hostUuid="+c.s.Host, "name=network services", "state=Failed")[0].Text("reason") != "", true)
	c.Calls.Fail(kerneltest.Syncs, nil)
	c.Calls.Forget()
	c.Report(c.s.Host, true)
	c.Idle(c.s.Host)
	c.Idle(vm)
	restored := false
	for _, r := range c.Calls.Of(kerneltest.Applies) {
		for _, nic := range kerneltest.Told(r).NICs {
			restored = restored || nic.GetVmUuid() == vm
		}
	}
	c.want("the guest's services are restored", restored, true)
	c.want("problems", problems(), 0)
	c.want("failed services", c.count("HostCheck", "name=network services", "state=Failed"), 0)

	// What is about the host, or nobody's word, keeps it away.
	c.Calls.Fail(kerneltest.Syncs, errs.Wrap(errs.Unavailable, "services", errs.New(errs.Unavailable, "the host", "is away").OfCheck(kerneltest.FakeRequired), "not possible"))
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": c.s.Host}, "is away")
	c.Calls.Fail(kerneltest.Syncs, nil)
	c.Until("it is back", func() bool { return c.Get("Host", c.s.Host).Text("status") == "Connected" })
}
