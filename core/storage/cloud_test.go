package storage_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/storage"
	"github.com/kumo-cloud/kumo/core/store"
)

type P = cloudtest.P

const (
	giB  = 1 << 30
	root = giB // the size of the root volume of a guest of Site's image
)

// cloud is one with a site, and a word for what tests of storages ask often.
type cloud struct {
	*cloudtest.Cloud
	s cloudtest.Site
	t *testing.T
}

func newCloud(t *testing.T) *cloud {
	c := cloudtest.New(t)
	return &cloud{c, c.Site(), t}
}

// localSite is a site whose guests are on a storage of the hosts' own; it has two.
func localSite(t *testing.T) (c *cloud, second string) {
	c = newCloud(t)
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	c.s.Primary = c.Create("APIAddFakeLocalPrimaryStorageMsg", P{"name": "local", "zoneUuid": c.s.Zone, "url": "/local"})
	second = c.Host(c.s.Cluster)
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	return c, second
}

func (c *cloud) primary() kerneltest.Row { return c.Get("PrimaryStorage", c.s.Primary) }

// link is the row of what a host has of the site's storage.
func (c *cloud) link(host string) *storage.PrimaryStorageHostRef {
	c.t.Helper()
	ref, found, err := store.First(c.Context(), c.Store, storage.HostRefType, "`primaryStorageUuid` = ? AND `hostUuid` = ?", c.s.Primary, host)
	if err != nil || !found {
		c.t.Fatalf("no link to host %s: %v", host, err)
	}
	return ref
}

// at is the place of a host on the site's storage.
func (c *cloud) at(host string) contract.Place {
	c.t.Helper()
	plug, err := c.Plugins.PrimaryStorage(c.primary().Text("type"))
	if err != nil {
		c.t.Fatal(err)
	}
	return contract.Place{Host: contract.HostCandidate{UUID: host}, PrimaryUUID: c.s.Primary, HostLocal: plug.Decl.GetHostLocal(), ImageStoreUUID: c.s.Backup}
}

// planAt plans volumes at the place of a host.
func (c *cloud) planAt(host string, v []*contract.VolumePlan) error {
	at := c.at(host)
	return c.Tx(func(tx *store.Tx) error { return c.Storage.Plan(c.t.Context(), tx, at, v) })
}

// plan is n data volumes; when there are fewer sizes than volumes, the last is
// that of all the others.
func plan(n int, sizes ...int64) (list []*contract.VolumePlan) {
	for i := range n {
		list = append(list, &contract.VolumePlan{UUID: resource.NewUUID(), Name: "data", Type: storage.DataVolume, AccountUUID: kerneltest.Admin,
			Size: sizes[min(i, len(sizes)-1)]})
	}
	return list
}
