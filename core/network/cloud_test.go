package network_test

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

// cloud is one with a site, and words for what tests of networks ask often.
type cloud struct {
	*cloudtest.Cloud
	s cloudtest.Site
	t *testing.T
}

func newCloud(t *testing.T) *cloud {
	c := cloudtest.New(t)
	return &cloud{c, c.Site(), t}
}

func (c *cloud) want(what string, got, want any) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func (c *cloud) l3() kerneltest.Row { return c.Get("L3Network", c.s.L3) }

// network are the parameters of a message on the site's L3 network.
func (c *cloud) network(more P) P {
	p := P{"l3NetworkUuid": c.s.L3}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// serve binds services of a provider to the site's L3 network.
func (c *cloud) serve(provider string, services ...string) {
	c.t.Helper()
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", c.network(P{"networkServices": map[string][]string{provider: services}}))
}

func (c *cloud) set(query string, args ...any) {
	c.t.Helper()
	err := c.Store.Update(c.t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(c.t.Context(), query, args...); return err })
	if err != nil {
		c.t.Fatal(err)
	}
}

// told is what a host's provider was told last of the site's L3 network, nil when
// it was told nothing since Forget.
func (c *cloud) told(services ...string) *pluginv1.L3Network {
	for _, v := range slices.Backward(c.Calls.Of(kerneltest.Applies)) {
		for _, n := range kerneltest.Told(v).Networks {
			if n.GetUuid() == c.s.L3 && slices.Equal(n.GetServices(), services) {
				return n
			}
		}
	}
	return nil
}

// count is how many rows of a type there are.
func (c *cloud) count(typeName string, conditions ...string) int {
	c.t.Helper()
	return len(c.List(typeName, conditions...))
}

func silent() error { return errs.New(errs.Unavailable, "the host", "does not answer") }

// noDHCP is what a provider that refuses says.
func noDHCP() error { return errs.New(errs.Unavailable, "dnsmasq", "cannot be started") }

// Report tells the service that a host has told of guests.
func (c *cloud) Report(hostUUID string, complete bool) {
	c.t.Helper()
	if err := c.Network.HostReported(c.t.Context(), contract.HostReport{HostUUID: hostUUID, Complete: complete}); err != nil {
		c.t.Fatal(err)
	}
}
