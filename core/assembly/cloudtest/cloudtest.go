// Package cloudtest makes a small cloud in one line for the tests of services:
// a kernel (kerneltest) with all business services, put together as the server
// does it, on a plugin with every strategy that runs inside the test. A service
// is tested with its real neighbours; their plugins' calls are recorded and can
// be made to fail. It must be imported by tests only, from packages of the form
// x_test.
package cloudtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// P are the parameters of a call.
type P = kerneltest.P

// Cloud is a kernel with all services.
type Cloud struct {
	*kerneltest.Cloud
	*assembly.Services
	// World is what the plugin has.
	World *kerneltest.Fake

	hosts, sites int
}

// New makes an empty cloud; it ends with the test. more plugins run beside that of
// World.
func New(t testing.TB, more ...pluginsdk.Plugin) *Cloud {
	t.Helper()
	return newCloud(t, kerneltest.NewFake(), more...)
}

// NewObserved is New with a World whose plugin observes what the subscriptions say.
func NewObserved(t testing.TB, subscriptions ...*pluginv1.Subscription) *Cloud {
	t.Helper()
	world := kerneltest.NewFake()
	world.Observe(subscriptions...)
	return newCloud(t, world)
}

func newCloud(t testing.TB, world *kerneltest.Fake, more ...pluginsdk.Plugin) *Cloud {
	t.Helper()
	k := kerneltest.New(t, kerneltest.Options{Types: assembly.Types(), Bases: assembly.Bases(), Plugins: append([]pluginsdk.Plugin{world.Plugin()}, more...)})
	c := &Cloud{Cloud: k, Services: assembly.New(k.Kernel), World: world}
	k.Handler.OnHost, k.Handler.Rows, k.Handler.Addresses = c.Topology.HostCall, c.Provider, c.Network
	parts, err := part.Order(append(c.Parts(), part.Part{Name: "kernel"})...)
	if err != nil {
		t.Fatal(err)
	}
	k.Register(parts.Register, func() error { return parts.Prepare(k.Context()) })
	if err := parts.Start(k.Context()); err != nil {
		t.Fatal(err)
	}
	k.BeforeEnd(func() {
		if err := parts.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Site is one zone with what a guest needs, by UUIDs.
type Site struct {
	Zone, Cluster, Host, Primary, Backup, Image, L2, L3, Offering string
}

// Site makes a zone with one cluster of one host, a shared primary storage, a
// store with a ready image of 1 GiB, a network with 200 addresses, and an
// offering of 1 processor and 1 GiB of memory. Another call makes another zone.
func (c *Cloud) Site() Site {
	c.sites++
	s := Site{Zone: c.Create("APICreateZoneMsg", P{"name": "zone"})}
	s.Cluster = c.Cluster(s.Zone)
	s.L2 = c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "l2", "zoneUuid": s.Zone, "physicalInterface": "eth0"})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": s.L2, "clusterUuid": s.Cluster})
	s.L3 = c.Create("APICreateL3NetworkMsg", P{"name": "l3", "l2NetworkUuid": s.L2})
	c.Do("APIAddIpRangeMsg", P{"l3NetworkUuid": s.L3, "name": "range", "startIp": "10.0.0.10", "endIp": "10.0.0.209", "netmask": "255.255.255.0", "gateway": "10.0.0.1"})
	s.Primary = c.Create("APIAddFakePrimaryStorageMsg", P{"name": "primary", "zoneUuid": s.Zone, "url": "/primary"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": s.Cluster, "primaryStorageUuid": s.Primary})
	s.Backup = c.Create("APIAddFakeBackupStorageMsg", P{"name": "backup", "url": fmt.Sprintf("/backup-%d", c.sites)})
	c.Do("APIAttachBackupStorageToZoneMsg", P{"zoneUuid": s.Zone, "backupStorageUuid": s.Backup})
	s.Image = c.Create("APIAddImageMsg", P{"name": "image", "url": "http://127.0.0.1/image", "mediaType": "RootVolumeTemplate", "format": "raw",
		"platform": "Linux", "architecture": "x86_64", "backupStorageUuids": []string{s.Backup}})
	s.Host = c.Host(s.Cluster)
	s.Offering = c.Create("APICreateInstanceOfferingMsg", P{"name": "small", "cpuNum": 1, "memorySize": 1 << 30})
	return s
}

// Cluster makes a cluster for the hosts of the test's plugin.
func (c *Cloud) Cluster(zone string) string {
	return c.Create("APICreateClusterMsg", P{"name": "cluster", "zoneUuid": zone, "hypervisorType": kerneltest.FakeType})
}

// Host adds a connected host; the first is called host-01.
func (c *Cloud) Host(cluster string) string {
	c.hosts++
	return c.Create("APIAddFakeHostMsg", P{"name": fmt.Sprintf("host-%02d", c.hosts), "clusterUuid": cluster,
		"managementIp": fmt.Sprintf("10.255.0.%d", c.hosts)})
}

// Guest are the parameters of a guest on a site; more has some beyond the usual
// ones, or in their place.
func (s Site) Guest(more P) P {
	p := P{"name": "vm", "instanceOfferingUuid": s.Offering, "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// VM makes a running guest on a site; more is that of Guest.
func (c *Cloud) VM(s Site, more P) kerneltest.Row {
	return c.Do("APICreateVmInstanceMsg", s.Guest(more))
}
