package compute_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/compute"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const giB = 1 << 30

// taken are the types whose rows a guest takes, or changes.
var taken = []string{"VmInstance", "Volume", "VmNic", "VmCdRom", "Host", "PrimaryStorage", "SystemTag", "UserTag"}

// cloud is one with a site.
type cloud struct {
	*cloudtest.Cloud
	s  cloudtest.Site
	cd string // an ISO image, for those that need one
}

func newCloud(t *testing.T) *cloud {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints(compute.PointNames...)...)
	return &cloud{Cloud: c, s: c.Site()}
}

// run makes a running guest and returns its UUID.
func (c *cloud) run(more P) string { return c.VM(c.s, more).Text("uuid") }

func (c *cloud) vm(uuid string) kerneltest.Row { return c.Get("VmInstance", uuid) }

func (c *cloud) state(uuid string) string { return c.vm(uuid).Text("state") }

// on is the state of a guest in the world, on the site's host; "" when it is not
// there.
func (c *cloud) on(uuid string) string {
	st, there := c.World.Guests(c.s.Host)[uuid]
	if !there {
		return ""
	}
	return st.String()
}

// do calls the message of a verb about a guest.
func (c *cloud) do(verb, uuid string) kerneltest.Row {
	return c.Do("API"+verb+"VmInstanceMsg", P{"uuid": uuid})
}

// end destroys and expunges guests.
func (c *cloud) end(uuids ...string) {
	for _, uuid := range uuids {
		c.do("Destroy", uuid)
		c.do("Expunge", uuid)
	}
}

// next returns what is closed when a method has been called, and has worked, for
// the first time from now on.
func (c *cloud) next(method string) <-chan struct{} {
	called, once := make(chan struct{}), sync.Once{}
	c.Calls.After(method, func(any) error { once.Do(func() { close(called) }); return nil })
	return called
}

// iso adds an ISO image.
func (c *cloud) iso() string {
	return c.Create("APIAddImageMsg", P{"name": "iso", "url": "http://127.0.0.1/iso", "format": "iso", "backupStorageUuids": []string{c.s.Backup}})
}

// local makes the site's storage one that keeps volumes on hosts, of which there
// are two then.
func (c *cloud) local() (second string) {
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	c.s.Primary = c.Create("APIAddFakeLocalPrimaryStorageMsg", P{"name": "local", "zoneUuid": c.s.Zone, "url": "/local"})
	second = c.Host(c.s.Cluster)
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	return second
}

// started is the newest guest that a host was told to start.
func (c *cloud) started() *pluginv1.VM {
	r, _ := kerneltest.Last[*pluginv1.StartVMRequest](c.Calls, "StartVM")
	return r.GetVm()
}

// inOrder says whether calls of the methods were made in this order, with others
// between them.
func (c *cloud) inOrder(methods ...string) bool {
	for _, m := range c.Calls.Methods() {
		if len(methods) > 0 && m == methods[0] {
			methods = methods[1:]
		}
	}
	return len(methods) == 0
}

func (c *cloud) called(method string) bool { return slices.Contains(c.Calls.Methods(), method) }

func onFire() error { return errs.New(errs.Unavailable, "the host", "is on fire") }

// services gives the site's network the services of the test's plugin.
func (c *cloud) services() {
	c.Do("APIAttachNetworkServiceToL3NetworkMsg", P{"l3NetworkUuid": c.s.L3,
		"networkServices": map[string][]string{kerneltest.FakeType: {"DHCP", "Userdata"}}})
}

// lost makes the answers of a method get lost, when it has worked.
func (c *cloud) lost(method string) {
	c.Calls.After(method, func(any) error { return errs.New(errs.Timeout, "host", "no answer") })
}

// found ends that.
func (c *cloud) found(method string) { c.Calls.After(method, nil) }
