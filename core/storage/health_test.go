package storage_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func gone(host string) error {
	return errs.New(errs.Unavailable, "the disk of "+host, "is not mounted")
}

// hostOf is the host that a request names.
func hostOf(request any) string {
	r, _ := request.(interface{ GetHost() *pluginv1.Host })
	return r.GetHost().GetUuid()
}

// A storage is lost with the third look in a row that fails, not before, and is
// back with the first that works; nothing is placed on it meanwhile.
func TestSharedStorageIsLostAndFound(t *testing.T) {
	c := newCloud(t)
	look, _ := c.Storage.Rounds()
	c.Calls.Fail("StorageCapacity", gone("primary"))
	for range 2 {
		look(t.Context())
	}
	c.Calls.Fail("StorageCapacity", nil)
	look(t.Context()) // the count begins anew
	c.Calls.Fail("StorageCapacity", gone("primary"))
	for range 2 {
		look(t.Context())
		c.Want("status", c.primary().Text("status"), "Connected")
	}
	look(t.Context())
	c.Want("status", c.primary().Text("status"), "Disconnected")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(nil), "primary: status is Disconnected")
	c.Refused(errs.Unavailable, "APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary}, "not mounted")

	// It answers, but cannot be connected: that is not enough.
	c.Calls.Fail("StorageCapacity", nil)
	c.Calls.Fail("ConnectStorage", gone("primary"))
	look(t.Context())
	c.Want("status", c.primary().Text("status"), "Disconnected")
	c.Refused(errs.Unavailable, "APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary}, "primary storage primary", "cannot be connected", "not mounted")
	c.Calls.Fail("ConnectStorage", nil)
	look(t.Context())
	c.Want("status", c.primary().Text("status"), "Connected")
	c.VM(c.s, nil)
}

// A storage that is gone costs nobody else anything: its hosts connect, guests of
// other storages are shown, stop and start, and new ones are made.
// https://github.com/saltstack/salt/issues/60132: guests could not be shown while one
// pool was stopped. https://github.com/virt-manager/virt-manager/issues/623: one pool
// took the connection of its host with it.
func TestLostStorageCostsOthersNothing(t *testing.T) {
	c := newCloud(t)
	mine := c.VM(c.s, P{"primaryStorageUuidForRootVolume": c.s.Primary}).Text("uuid")
	other := c.Create("APIAddFakePrimaryStorageMsg", P{"name": "other", "zoneUuid": c.s.Zone, "url": "/other"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": other})
	theirs := c.VM(c.s, P{"name": "theirs", "primaryStorageUuidForRootVolume": other}).Text("uuid")
	for _, method := range []string{"StorageCapacity", "ConnectStorage", "AttachHost", "CreateVolume", "DeleteVolume"} {
		c.Calls.On(method, func(request any) error {
			if r, ok := request.(interface{ GetStorage() *pluginv1.Storage }); ok && r.GetStorage().GetUuid() == other {
				return gone("other")
			}
			return nil
		})
	}
	look, _ := c.Storage.Rounds()
	for range 3 {
		look(t.Context())
	}
	c.Want("the lost one", c.Get("PrimaryStorage", other).Text("status"), "Disconnected")
	c.Want("the other one", c.primary().Text("status"), "Connected")
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Want("the host", c.Get("Host", c.s.Host).Text("status"), "Connected")
	c.Want("the guest on it", c.Get("VmInstance", theirs).Text("state"), "Running")
	c.Do("APIStopVmInstanceMsg", P{"uuid": mine})
	c.Do("APIStartVmInstanceMsg", P{"uuid": mine})
	c.VM(c.s, P{"name": "new"})
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"primaryStorageUuidForRootVolume": other}), "Disconnected")
}

// Storages that somebody has reason to doubt are looked at once each, at once: those
// that hosts share, and the parts of hosts, where the host's check says what is wrong.
func TestLookAt(t *testing.T) {
	c := newCloud(t)
	v := &contract.VolumePlan{PrimaryUUID: c.s.Primary}
	c.World.Space(c.s.Primary, "", 100*giB, 3*giB)
	before := len(c.Calls.Of("StorageCapacity"))
	c.Storage.LookAt(t.Context(), []*contract.VolumePlan{v, v, {}})
	c.Until("what it has", func() bool { return c.primary().Int("availablePhysicalCapacity") == 3*giB })
	c.Want("looks", len(c.Calls.Of("StorageCapacity"))-before, 1)
	// While its plugin is down nothing is known of the storage.
	c.Calls.Fail("StorageCapacity", errs.New(errs.Unavailable, "plugin x", "is down").OfCheck("plugin x"))
	tried := make(chan struct{}, 9)
	c.Calls.On("StorageCapacity", func(any) error {
		defer func() { tried <- struct{}{} }()
		return errs.New(errs.Unavailable, "plugin x", "is down").OfCheck("plugin x")
	})
	c.Storage.LookAt(t.Context(), []*contract.VolumePlan{v})
	<-tried
	c.Want("status", c.primary().Text("status"), "Connected")
	c.Calls.Fail("StorageCapacity", gone("primary"))
	c.Storage.LookAt(t.Context(), []*contract.VolumePlan{v})
	c.Until("Disconnected", func() bool { return c.primary().Text("status") == "Disconnected" })
	c.Calls.Fail("StorageCapacity", nil)
	c.Storage.LookAt(t.Context(), []*contract.VolumePlan{v, {PrimaryUUID: "gone"}, {PrimaryUUID: "gone", HostUUID: "gone"}})
	c.Until("Connected", func() bool { return c.primary().Text("status") == "Connected" })
}

// A host that says that it has changed has what it uses of storages looked at: its own
// part, and what it shares. By that alone none of them is lost.
func TestChangedHost(t *testing.T) {
	c, second := localSite(t)
	shared := c.Create("APIAddFakePrimaryStorageMsg", P{"name": "shared", "zoneUuid": c.s.Zone, "url": "/shared"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": shared})
	c.World.Space(c.s.Primary, c.s.Host, 10*giB, 4*giB)
	c.World.Space(c.s.Primary, second, 10*giB, 5*giB)
	c.World.Space(shared, "", 100*giB, 3*giB)
	c.Storage.HostChanged(t.Context(), c.s.Host)
	c.Want("free on it", c.link(c.s.Host).AvailablePhysical, int64(4*giB))
	c.Want("free on what it shares", c.Get("PrimaryStorage", shared).Int("availablePhysicalCapacity"), int64(3*giB))
	if free := c.link(second).AvailablePhysical; free == 5*giB {
		t.Error("another host was looked at")
	}
	c.Calls.Fail("StorageCapacity", gone("host"))
	for range 4 {
		c.Storage.HostChanged(t.Context(), c.s.Host)
	}
	c.Want("link", c.link(c.s.Host).Status, "Connected")
	c.Want("shared", c.Get("PrimaryStorage", shared).Text("status"), "Connected")
	checks := c.List("HostCheck", "hostUuid="+c.s.Host, "resourceUuid="+c.s.Primary)
	if len(checks) != 1 || checks[0].Text("state") != "Failed" || !strings.Contains(checks[0].Text("reason"), "not mounted") {
		t.Errorf("shown is %v", checks)
	}
	c.Storage.HostChanged(t.Context(), "gone")
}

// What a medium has is followed; what was promised to volumes stays promised.
func TestCapacityFollows(t *testing.T) {
	c := newCloud(t)
	look, _ := c.Storage.Rounds()
	c.World.Space(c.s.Primary, "", 100*giB, 100*giB)
	look(t.Context())
	c.VM(c.s, nil)
	free := c.primary().Int("availableCapacity")
	for _, s := range []struct{ total, free, wantTotal, wantFree int64 }{
		{150 * giB, 120 * giB, 150 * giB, 120 * giB}, // grown
		{50 * giB, 20 * giB, 50 * giB, 20 * giB},     // shrunk
		{50 * giB, 60 * giB, 50 * giB, 50 * giB},     // more free than there is
		{-1, -5, 0, 0},                               // nonsense
		{100 * giB, 90 * giB, 100 * giB, 90 * giB},   // as it was
	} {
		c.World.Space(c.s.Primary, "", s.total, s.free)
		if s.wantTotal == 0 {
			look(t.Context())
		} else {
			c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary})
		}
		row := c.primary()
		c.Want("total", row.Int("totalCapacity"), s.wantTotal)
		c.Want("total of the medium", row.Int("totalPhysicalCapacity"), s.wantTotal)
		c.Want("free on the medium", row.Int("availablePhysicalCapacity"), s.wantFree)
		c.Want("left to promise", row.Int("availableCapacity"), free+s.wantTotal-100*giB)
	}
}

// A host that has lost its part of a storage gets no guest that needs it; the
// storage is lost when no host has it any more.
func TestLinksOfLocalStorage(t *testing.T) {
	c, second := localSite(t)
	_, look := c.Storage.Rounds()
	lose := func(hosts ...string) {
		for _, method := range []string{"StorageCapacity", "AttachHost"} {
			c.Calls.On(method, func(r any) error {
				for _, h := range hosts {
					if h == hostOf(r) {
						return gone(h)
					}
				}
				return nil
			})
		}
		for range 3 {
			look(t.Context())
		}
	}
	lose(c.s.Host)
	c.Want("link of the first", c.link(c.s.Host).Status, "Disconnected")
	c.Want("link of the second", c.link(second).Status, "Connected")
	c.Want("status", c.primary().Text("status"), "Connected")
	c.Want("place", c.VM(c.s, nil).Text("hostUuid"), second)
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"hostUuid": c.s.Host}), "local: is not connected to host "+c.s.Host)
	lose(c.s.Host, second)
	c.Want("status without any host", c.primary().Text("status"), "Disconnected")
	c.Refused(errs.Unavailable, "APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary}, "disk of "+c.s.Host, "disk of "+second)
	c.Want("status", c.primary().Text("status"), "Disconnected")
	lose(second)
	c.Want("status with one host", c.primary().Text("status"), "Connected")
	r, _ := kerneltest.Last[*pluginv1.AttachHostRequest](c.Calls, "AttachHost")
	c.Want("known", r.GetKnown(), true)
	c.Refused(errs.Unavailable, "APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary}, "disk of "+second)
	lose()
	c.Want("link of the second", c.link(second).Status, "Connected")
}

// A host's part of a storage grows and shrinks, and the storage is the sum.
func TestCapacityOfLinksFollows(t *testing.T) {
	c, second := localSite(t)
	_, look := c.Storage.Rounds()
	vm := c.VM(c.s, nil)
	c.World.Space(c.s.Primary, c.s.Host, 10*giB, 8*giB)
	c.World.Space(c.s.Primary, second, 30*giB, 30*giB)
	look(t.Context())
	c.Want("total", c.primary().Int("totalCapacity"), int64(40*giB))
	c.Want("free on the media", c.primary().Int("availablePhysicalCapacity"), int64(38*giB))
	used := int64(0)
	for _, h := range []string{c.s.Host, second} {
		l := c.link(h)
		used += l.TotalCapacity - l.AvailableCapacity
	}
	const cached = 1 << 20 // what the fake says of every image
	c.Want("promised", used, int64(root+cached))
	c.Want("left to promise", c.primary().Int("availableCapacity"), 40*giB-used)
	c.World.Space(c.s.Primary, vm.Text("hostUuid"), 5*giB, giB)
	c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary})
	c.Want("left on the guest's host", c.link(vm.Text("hostUuid")).AvailableCapacity, int64(5*giB-root-cached))
	c.Calls.Fail("StorageCapacity", gone("both"))
	c.Refused(errs.Unavailable, "APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary}, "not mounted")
}

// One storage that is lost does not keep a host out, one that is new neither; each
// gets it as soon as that is possible.
func TestHostConnectsWithoutALostStorage(t *testing.T) {
	c, second := localSite(t)
	c.Calls.On("AttachHost", func(r any) error {
		if hostOf(r) == second {
			return nil
		}
		return gone("this one")
	})
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Want("host", c.Get("Host", c.s.Host).Text("status"), "Connected")
	c.Want("its link", c.link(c.s.Host).Status, "Disconnected")
	c.Want("the other link", c.link(second).Status, "Connected")
	c.check(c.s.Host, "Failed", "this one")
	c.check(second, "Ok", "")
	third := c.Create("APIAddFakeHostMsg", P{"name": "new", "clusterUuid": c.s.Cluster, "managementIp": "10.255.1.1"})
	c.Want("its link", c.link(third).Status, "Disconnected")
	c.check(third, "Failed", "this one")
	_, look := c.Storage.Rounds()
	look(t.Context())
	r, _ := kerneltest.Last[*pluginv1.AttachHostRequest](c.Calls, "AttachHost")
	c.Want("last asked", r.GetHost().GetUuid() != second, true)
	c.Calls.Fail("AttachHost", nil)
	c.Calls.Forget()
	look(t.Context())
	for _, v := range c.Calls.Of("AttachHost") { // of what never was there nothing is expected
		r := v.(*pluginv1.AttachHostRequest)
		c.Want("known", r.GetKnown(), r.GetHost().GetUuid() != third)
	}
	c.Want("its link", c.link(third).Status, "Connected")
	c.check(third, "Ok", "")
	c.Do("APIReconnectHostMsg", P{"uuid": third})
	r, _ = kerneltest.Last[*pluginv1.AttachHostRequest](c.Calls, "AttachHost")
	c.Want("known", r.GetKnown(), true)
	c.Do("APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary})
	c.Want("its link", c.link(c.s.Host).Status, "Connected")
}

// A storage without hosts is there; with hosts that are all away it is not, and
// it is back with the first.
func TestLocalStorageIsWhereItsHostsAre(t *testing.T) {
	c, second := localSite(t)
	_, look := c.Storage.Rounds()
	c.Storage.HostLost(t.Context(), c.s.Host)
	c.Want("status with one host", c.primary().Text("status"), "Connected")
	c.Storage.HostLost(t.Context(), second)
	c.Want("status", c.primary().Text("status"), "Disconnected")
	look(t.Context()) // the hosts are connected, as topology has it
	c.Want("status", c.primary().Text("status"), "Connected")
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	c.Want("status without hosts", c.primary().Text("status"), "Connected")
	c.Want("capacity without hosts", c.primary().Int("totalCapacity"), int64(0))
}

// A look that is late does not bring back what a cluster has given up.
func TestLinkOfADetachedStorageStaysAway(t *testing.T) {
	c, _ := localSite(t)
	_, look := c.Storage.Rounds()
	c.Storage.HostLost(t.Context(), c.s.Host)
	if err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "DELETE FROM `PrimaryStorageClusterRef` WHERE `primaryStorageUuid` = ?", c.s.Primary)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.Calls.Forget()
	look(t.Context())
	c.Want("calls to attach", len(c.Calls.Of("AttachHost")), 0)
	c.Want("link", c.link(c.s.Host).Status, "Disconnected")
}

// A placement trusts a young reading, and looks anew when it is old; thin volumes
// fill a medium before all is promised.
func TestCapacityIsReadAtUse(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c, host := newCloud(t), ""
			if local {
				c, _ = localSite(t)
				host = c.s.Host
			}
			c.VM(c.s, P{"hostUuid": c.s.Host})
			c.Calls.Forget()
			c.VM(c.s, P{"hostUuid": c.s.Host})
			c.Want("looks while it is known", len(c.Calls.Of("StorageCapacity")), 0)
			c.World.Space(c.s.Primary, host, kerneltest.DefaultSpace, giB-1)
			c.Storage.Age()
			c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"hostUuid": c.s.Host}), "its medium has 1073741823 bytes free, and 1073741824 are reserved")
			c.Want("looks when it was old", len(c.Calls.Of("StorageCapacity")), 1)
			c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"hostUuid": c.s.Host}), "its medium")
			c.Want("looks when it was known again", len(c.Calls.Of("StorageCapacity")), 1)
			c.World.Space(c.s.Primary, host, kerneltest.DefaultSpace, giB)
			c.Storage.Age()
			c.VM(c.s, P{"hostUuid": c.s.Host})
			// A storage that does not say is taken at its last word.
			c.Storage.Age()
			c.Calls.Fail("StorageCapacity", gone("it"))
			c.VM(c.s, P{"hostUuid": c.s.Host})
		})
	}
}

// A broken link to a storage that hosts share is tried again, and one that works
// is not: such a storage is looked at as a whole.
func TestLinksOfSharedStorage(t *testing.T) {
	c := newCloud(t)
	_, look := c.Storage.Rounds()
	c.Calls.Forget()
	look(t.Context())
	c.Want("looks at a link that works", len(c.Calls.Methods()), 0)
	c.Storage.HostLost(t.Context(), c.s.Host)
	c.Calls.Fail("AttachHost", gone("this one"))
	look(t.Context())
	c.Want("link that is broken", c.link(c.s.Host).Status, "Disconnected")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(nil), "is not connected to host "+c.s.Host)
	c.Calls.Fail("AttachHost", nil)
	look(t.Context())
	c.Want("link", c.link(c.s.Host).Status, "Connected")
	c.VM(c.s, nil)
}

// A host is told whether it had a storage before: what it had must still be there,
// and is made anew where it was not.
func TestHostsAreToldWhatTheyHad(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			known := func(host string) bool {
				t.Helper()
				r, ok := kerneltest.Last[*pluginv1.AttachHostRequest](c.Calls, "AttachHost")
				if !ok || r.GetHost().GetUuid() != host {
					t.Fatalf("the newest host that was attached is %s, not %s", r.GetHost().GetUuid(), host)
				}
				return r.GetKnown()
			}
			fresh := c.Host(c.s.Cluster)
			c.Want("known to a new host", known(fresh), false)
			c.Do("APIReconnectHostMsg", P{"uuid": fresh})
			c.Want("known when it connects again", known(fresh), true)
			c.Storage.HostLost(t.Context(), fresh)
			c.Do("APIReconnectHostMsg", P{"uuid": fresh})
			c.Want("known when it is back", known(fresh), true)
			c.Do(detachMsg, c.to())
			c.Do(attachMsg, c.to())
			for _, r := range c.Calls.Of("AttachHost")[len(c.Calls.Of("AttachHost"))-2:] {
				c.Want("known when it was given up", r.(*pluginv1.AttachHostRequest).GetKnown(), false)
			}
		})
	}
}

// A medium that is full is shown on the host, gets nothing new, and is as before
// when it has room; a storage that is taken away is no check of the host any more.
func TestFullMediumIsShown(t *testing.T) {
	c, _ := localSite(t)
	_, look := c.Storage.Rounds()
	c.check(c.s.Host, "Ok", "")
	c.World.Space(c.s.Primary, c.s.Host, 100*giB, giB/2)
	look(t.Context())
	c.check(c.s.Host, "Failed", "536870912 bytes free")
	c.Want("link", c.link(c.s.Host).Status, "Connected")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"hostUuid": c.s.Host}), "local: its medium has 536870912 bytes free")
	c.World.Space(c.s.Primary, c.s.Host, 100*giB, 50*giB)
	look(t.Context())
	c.check(c.s.Host, "Ok", "")
	c.Calls.Fail("StorageCapacity", gone("this one"))
	look(t.Context()) // the first look is enough
	c.check(c.s.Host, "Failed", "not mounted")
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": c.s.Primary})
	c.Want("checks", len(c.List("HostCheck", "resourceUuid="+c.s.Primary)), 0)
}

// check wants the check of the site's storage on a host to be in a state.
func (c *cloud) check(host, state, word string) {
	c.t.Helper()
	rows := c.List("HostCheck", "hostUuid="+host, "resourceUuid="+c.s.Primary)
	if len(rows) != 1 || rows[0].Text("state") != state || !strings.Contains(rows[0].Text("reason"), word) || (word == "") != (rows[0].Text("reason") == "") {
		c.t.Errorf("the storage on host %s is %v, want it %s", host, rows, state)
	}
}
