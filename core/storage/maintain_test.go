package storage_test

import (
	"runtime"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func (c *cloud) state(event string) {
	c.t.Helper()
	c.Do("APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": event})
}

func (c *cloud) vmState(uuid string) string { return c.Get("VmInstance", uuid).Text("state") }

// Maintenance stops what runs on the storage and nothing else, keeps new things
// out, can be asked for twice, and ends.
func TestMaintenance(t *testing.T) {
	c := newCloud(t)
	runs, stopped := c.VM(c.s, nil).Text("uuid"), c.VM(c.s, nil).Text("uuid")
	other := c.Site() // in another zone, so on another storage
	elsewhere := c.VM(other, nil).Text("uuid")
	c.Do("APIStopVmInstanceMsg", P{"uuid": stopped})
	c.Calls.Forget()
	c.state("maintain")
	c.Want("state", c.primary().Text("state"), "Maintenance")
	c.Want("guest", c.vmState(runs), "Stopped")
	c.Want("guest elsewhere", c.vmState(elsewhere), "Running")
	c.Want("stops", len(c.Calls.Of("StopVM")), 1)
	c.Want("on the host", len(c.World.Guests(c.s.Host)), 0)
	for _, uuid := range []string{runs, stopped} {
		c.Refused(errs.Exhausted, "APIStartVmInstanceMsg", P{"uuid": uuid}, "primary: state is Maintenance")
	}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(nil), "primary: state is Maintenance")
	second := c.Cluster(c.s.Zone)
	c.Refused(errs.Refused, "APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": second, "primaryStorageUuid": c.s.Primary}, "Maintenance", "enable it first")
	c.state("maintain")
	c.state("enable")
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": second, "primaryStorageUuid": c.s.Primary})
	c.Do("APIStartVmInstanceMsg", P{"uuid": runs})
	c.VM(c.s, nil)
}

// A guest that cannot be stopped ends the try, and the storage is what it was.
func TestMaintenanceFails(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	for _, before := range []string{"enable", "disable", "deleting", "enable"} {
		c.state(before)
		was := c.primary().Text("state")
		c.Calls.Fail("StopVM", errs.New(errs.Unavailable, "host", "does not answer"))
		c.Refused(errs.Unavailable, "APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "maintain"}, "primary storage primary", "does not answer")
		c.Want("state", c.primary().Text("state"), was)
		c.Want("guest", c.vmState(vm), "Running")
	}
	c.Calls.Fail("StopVM", nil)
	c.state("maintain")
	c.Want("guest", c.vmState(vm), "Stopped")
	// What is in maintenance stays there when a repeat fails.
	if err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `VmInstance` SET `state` = 'Destroyed', `hostUuid` = ? WHERE `uuid` = ?", c.s.Host, vm)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.Refused(errs.Refused, "APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "maintain"}, "guest vm on it cannot be stopped now")
	c.Want("state", c.primary().Text("state"), "Maintenance")
}

// A guest whose start had begun is stopped when it has started.
func TestMaintenanceMeetsAStart(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	began, goOn := make(chan bool, 1), make(chan bool)
	c.Calls.On("StartVM", func(any) error { began <- true; <-goOn; return nil })
	start := c.As(kerneltest.Admin).Begin("APIStartVmInstanceMsg", P{"uuid": vm})
	<-began
	maintain := c.As(kerneltest.Admin).Begin("APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "maintain"})
	for c.primary().Text("state") != "Maintenance" { // no event tells of it
		if t.Context().Err() != nil {
			t.FailNow()
		}
		runtime.Gosched()
	}
	close(goOn)
	for _, job := range []string{start, maintain} {
		if _, err := c.Wait(job); err != nil {
			t.Fatal(err)
		}
	}
	c.Want("guest", c.vmState(vm), "Stopped")
	c.Want("on the host", len(c.World.Guests(c.s.Host)), 0)
}

// A place that was free when it was chosen is asked again when it is taken.
func TestMaintenanceMeetsACreation(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			v := plan(1, giB)
			c.state("maintain")
			free := c.primary().Int("availableCapacity")
			err := c.planAt(c.s.Host, v)
			if errs.ClassOf(err) != errs.Exhausted {
				t.Errorf("it was planned: %v", err)
			}
			c.Want("left", c.primary().Int("availableCapacity"), free)
			c.state("enable")
			if err := c.planAt(c.s.Host, v); err != nil {
				t.Error(err)
			}
		})
	}
}

// On a disabled storage, guests start, and nothing new is made; on one that is
// to be deleted, neither.
func TestDisabledStorage(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.state("disable")
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(nil), "primary: state is Disabled")
	c.Do("APIStartVmInstanceMsg", P{"uuid": vm})
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.state("deleting")
	c.Refused(errs.Exhausted, "APIStartVmInstanceMsg", P{"uuid": vm}, "primary: state is Deleting")
	c.state("enable")
	c.Do("APIStartVmInstanceMsg", P{"uuid": vm})
	c.Refused(errs.Invalid, "APIChangePrimaryStorageStateMsg", P{"uuid": c.s.Primary, "stateEvent": "explode"}, "stateEvent")
}

// A full storage starts what it has.
func TestFullStorageStartsGuests(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm})
	c.World.Space(c.s.Primary, "", giB, 0)
	c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary})
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(nil), "bytes available, of which 1073741824 are reserved")
	c.Do("APIStartVmInstanceMsg", P{"uuid": vm})
}

// What a storage refuses in its state changes nothing, also when the transaction
// that asked goes on with another place.
func TestRefusedPlaceIsNotTaken(t *testing.T) {
	c, _ := localSite(t)
	c.state("disable")
	free := c.link(c.s.Host).AvailableCapacity
	at := c.at(c.s.Host)
	c.Ok(c.Tx(func(tx *store.Tx) error {
		if err := c.Storage.Plan(t.Context(), tx, at, plan(2, giB)); errs.ClassOf(err) != errs.Exhausted {
			t.Errorf("it was planned: %v", err)
		}
		return nil
	}))
	c.Want("left on the host", c.link(c.s.Host).AvailableCapacity, free)
	c.Want("volumes", len(c.List("Volume")), 0)
}
