package network_test

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// syncs are the revisions at which a provider of the site's host was told everything.
func (c *cloud) syncs(provider string) (revisions []string) {
	for _, r := range c.Calls.Of(kerneltest.Syncs) {
		if r := r.(*pluginv1.SyncNetworkStateRequest); r.GetProvider() == provider && r.GetTarget().GetHost().GetUuid() == c.s.Host {
			revisions = append(revisions, r.GetRevision())
		}
	}
	return revisions
}

// A host that is at another revision than the row says, or has no row, is told
// everything once, and then the change; the next change is told alone.
func TestHostThatLostItsServices(t *testing.T) {
	for name, lose := range map[string]func(*cloud){
		"at another revision": func(c *cloud) { c.set("UPDATE `NetworkServiceHostRef` SET `revision` = 'another'") },
		"without a row":       func(c *cloud) { c.set("DELETE FROM `NetworkServiceHostRef`") },
		"that was told by who was killed before it wrote the row": func(c *cloud) {
			c.Calls.After(kerneltest.Syncs, func(any) error { return silent() })
			if err := c.Network.Sync(c.t.Context(), c.pluginHost(), nil); err != nil {
				c.t.Fatal(err)
			}
			c.Calls.After(kerneltest.Syncs, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.serve(kerneltest.FakeType, "DHCP")
			there := c.VM(c.s, nil).Rows("vmNics")[0].Text("uuid")
			g, nics := c.guest()
			prepare := func(applies, syncs int) {
				t.Helper()
				c.Calls.Forget()
				if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
					t.Fatal(err)
				}
				c.want("changes", len(c.Calls.Of(kerneltest.Applies)), applies)
				c.want("tellings of everything", len(c.syncs(kerneltest.FakeType)), syncs)
			}
			prepare(1, 0)
			lose(c)
			c.Calls.Forget()
			applies := 2 // the one that was refused, and its repeat
			if name == "without a row" {
				applies = 1
			}
			prepare(applies, 1)
			if !slices.ContainsFunc(c.Calls.Of(kerneltest.Syncs), func(r any) bool {
				return slices.ContainsFunc(kerneltest.Told(r).NICs, func(n *pluginv1.GuestNIC) bool { return n.GetNicUuid() == there })
			}) {
				t.Error("the guest that is there was not told of")
			}
			r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Applies)
			c.want("base", r.GetBase(), c.syncs(kerneltest.FakeType)[0])
			c.want("revision", r.GetRevision(), r.GetBase())
			c.want("provider", r.GetProvider(), kerneltest.FakeType)
			prepare(1, 0)
		})
	}
}

// A host that cannot be told everything gets no guest, and can be freed of what it has.
func TestHostThatCannotBeTold(t *testing.T) {
	c := newCloud(t)
	c.serve(kerneltest.FakeType, "DHCP")
	g, nics := c.guest()
	c.set("UPDATE `NetworkServiceHostRef` SET `revision` = 'another'")
	c.Calls.Fail(kerneltest.Syncs, noDHCP())
	c.Calls.Forget()
	err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics)
	c.want("tellings of everything", len(c.syncs(kerneltest.FakeType)), 1)
	if errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("prepared on a host that has lost its services: %v", err)
	}
	if err := c.Network.Release(t.Context(), c.pluginHost(), g.VMUUID, nics); err != nil {
		t.Errorf("release: %v", err)
	}
	r, _ := kerneltest.Last[*pluginv1.ApplyNetworkStateRequest](c.Calls, kerneltest.Removes)
	c.want("revision of what goes", r.GetBase()+r.GetRevision(), "")
	c.Calls.Fail(kerneltest.Syncs, nil)
	if err := c.Network.Prepare(t.Context(), c.pluginHost(), g, nics); err != nil {
		t.Error(err)
	}
}
