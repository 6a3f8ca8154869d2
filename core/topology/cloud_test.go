package topology_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type P = cloudtest.P

const giB = 1 << 30

// cloud is one with a site, and words for what tests of hosts ask often.
type cloud struct {
	*cloudtest.Cloud
	s cloudtest.Site
	t *testing.T
}

func newCloud(t *testing.T) *cloud {
	c := cloudtest.New(t)
	return &cloud{c, c.Site(), t}
}

// empty is a cloud with nothing but a zone and a cluster.
func empty(t *testing.T) *cloud {
	c := cloudtest.New(t)
	zone := c.Create("APICreateZoneMsg", P{"name": "zone"})
	return &cloud{c, cloudtest.Site{Zone: zone, Cluster: c.Cluster(zone)}, t}
}

func (c *cloud) want(what string, got, want any) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func (c *cloud) host() kerneltest.Row { return c.Get("Host", c.s.Host) }

// row is a host's row with the columns that the wire does not show.
func (c *cloud) row(uuid string) *topology.Host {
	c.t.Helper()
	h, err := store.Get(c.Context(), c.Store, topology.HostType, uuid)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// set writes columns of a row as nobody does on the wire.
func (c *cloud) set(query string, args ...any) {
	c.t.Helper()
	err := c.Store.Update(c.t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(c.t.Context(), query, args...); return err })
	if err != nil {
		c.t.Fatal(err)
	}
}

// newHost are the parameters of a host in the site's cluster.
func (c *cloud) newHost(ip string, more P) P {
	p := P{"name": "new", "clusterUuid": c.s.Cluster, "managementIp": ip}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// becomes waits until the site's host has a status.
func (c *cloud) becomes(status string) {
	c.t.Helper()
	c.Until(status, func() bool { return c.host().Text("status") == status })
}

// silent is what a host's plugin says when the host does not answer.
func silent() error { return errs.New(errs.Unavailable, "the host", "does not answer") }
