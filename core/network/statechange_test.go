package network_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
)

// A network that changes while a host is told everything is told to that host as it is
// then, and neither waits for ever.
func TestNetworkThatChangesWhileAHostIsTold(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	c.VM(c.s, nil)
	g, nics := c.guest()
	c.set("UPDATE `NetworkServiceHostRef` SET `revision` = 'another'")
	changed, met := make(chan error, 1), make(chan struct{})
	var once, twice sync.Once
	dns := func(r any) []string {
		if told := kerneltest.Told(r); len(told.Networks) == 1 && len(told.NICs) == 0 {
			return told.Networks[0].GetDns()
		}
		return nil
	}
	c.Calls.On(kerneltest.Syncs, func(any) error {
		once.Do(func() {
			go func() {
				_, err := c.Call("APIAddDnsToL3NetworkMsg", P{"l3NetworkUuid": c.s.L3, "dns": "9.9.9.9"})
				changed <- err
			}()
			<-met // the host is told of it, and has lost everything
		})
		return nil
	})
	c.Calls.On(kerneltest.Applies, func(r any) error {
		if len(dns(r)) == 1 {
			twice.Do(func() { close(met) })
		}
		return nil
	})
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if all := c.Calls.Of(kerneltest.Applies); !slices.ContainsFunc(all[2:], func(r any) bool { return len(dns(r)) == 1 }) {
		t.Errorf("after everything the host was told %v, and not of the change", all[2:])
	}
}
