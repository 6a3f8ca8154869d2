package topology_test

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A host is lost after so many failed pings in a row as the setting says, and is
// connected anew as soon as it answers; its guests are not given up for it.
func TestHostIsLostAndFound(t *testing.T) {
	for failures, setting := range map[int]string{3: "", 2: "2"} {
		c := newCloud(t)
		if setting != "" {
			c.Do("APIUpdateGlobalConfigMsg", P{"category": "host", "name": "ping.maxFailure", "value": setting})
		}
		vm := c.VM(c.s, nil).Text("uuid")
		ping := c.Topology.Ping()
		c.Calls.Fail("CheckHost", silent())
		c.Calls.Fail("ConnectHost", silent())
		for range failures - 1 {
			ping(t.Context())
		}
		c.want("status", c.host().Text("status"), "Connected")
		c.Calls.Fail("CheckHost", nil)
		ping(t.Context()) // one answer, and it is counted from the start
		c.Calls.Fail("CheckHost", silent())
		for range failures {
			c.want("status", c.host().Text("status"), "Connected")
			ping(t.Context())
		}
		c.becomes("Disconnected")
		c.Until("the guest is Unknown", func() bool { return c.Get("VmInstance", vm).Text("state") == "Unknown" })
		c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", P{"name": "no", "instanceOfferingUuid": c.s.Offering, "imageUuid": c.s.Image,
			"l3NetworkUuids": []string{c.s.L3}}, "host-01: ")
		c.Calls.Fail("ConnectHost", nil) // it is tried all the time
		c.becomes("Connected")
		c.Until("the guest runs", func() bool { return c.Get("VmInstance", vm).Text("state") == "Running" })
	}
}

// Who is in maintenance, or being connected, is not pinged; who is Disconnected
// is, and is connected when it answers.
func TestWhoIsPinged(t *testing.T) {
	c := newCloud(t)
	resting, busy, lost := c.Host(c.s.Cluster), c.Host(c.s.Cluster), c.Host(c.s.Cluster)
	c.Do("APIChangeHostStateMsg", P{"uuid": resting, "stateEvent": "maintain"})
	c.set("UPDATE `Host` SET `status` = 'Connecting' WHERE `uuid` = ?", busy)
	c.set("UPDATE `Host` SET `status` = 'Disconnected' WHERE `uuid` = ?", lost)
	c.Calls.Forget()
	c.Topology.Ping()(t.Context())
	var pinged []string
	for _, r := range c.Calls.Of("CheckHost") {
		pinged = append(pinged, r.(*pluginv1.CheckHostRequest).GetHost().GetUuid())
	}
	if slices.Sort(pinged); !slices.Equal(pinged, sorted(c.s.Host, lost)) {
		t.Errorf("pinged were %v; hosts are %s, resting %s, busy %s, lost %s", pinged, c.s.Host, resting, busy, lost)
	}
	c.Until("the lost host is back", func() bool { return c.Get("Host", lost).Text("status") == "Connected" })
	c.want("status of the one being connected", c.Get("Host", busy).Text("status"), "Connecting")
}

func sorted(list ...string) []string { slices.Sort(list); return list }

// What other nodes look after is left alone: their hosts are not marked at the
// start, not pinged and not connected.
func TestHostsOfAnotherNode(t *testing.T) {
	c := newCloud(t)
	k := &kernel.Kernel{Store: c.Store, Actions: c.Actions, Config: c.Config, Hooks: c.Hooks, Plugins: c.Plugins, Log: c.Log, Node: kerneltest.EndedNode(t)}
	other := topology.New(k)
	c.Calls.Forget()
	hosts, err := other.StartConnecting(t.Context())
	if err != nil || len(hosts) > 0 || c.host().Text("status") != "Connected" {
		t.Errorf("hosts %v, %v; the host is %s", hosts, err, c.host().Text("status"))
	}
	other.Ping()(t.Context())
	c.want("pings", len(c.Calls.Of("CheckHost")), 0)

	// This node's are all but those at rest.
	resting := c.Host(c.s.Cluster)
	c.Do("APIChangeHostStateMsg", P{"uuid": resting, "stateEvent": "maintain"})
	hosts, err = c.Topology.StartConnecting(t.Context())
	if err != nil || !slices.Equal(hosts, []string{c.s.Host}) || c.host().Text("status") != "Connecting" || c.Get("Host", resting).Text("status") != "Connected" {
		t.Errorf("hosts %v, %v; they are %s and %s", hosts, err, c.host().Text("status"), c.Get("Host", resting).Text("status"))
	}
}

// A ping finds what was never told: a guest that is gone.
func TestPingTellsTheGuests(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	hangs := make(chan bool)
	c.Calls.On("WatchHost", func(any) error { hangs <- true; <-c.Context().Done(); return silent() })
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	<-hangs // nothing is told by itself any more
	c.World.Set(c.s.Host, vm, pluginv1.VMState_VM_STATE_STOPPED)
	c.Topology.Ping()(t.Context())
	c.Until("the guest is stopped", func() bool { return c.Get("VmInstance", vm).Text("state") == "Stopped" })
}

// A change is told at once by the watch, and a watch that breaks has the host
// connected anew, which lists what was missed.
func TestWatch(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.World.Set(c.s.Host, vm, pluginv1.VMState_VM_STATE_PAUSED)
	c.Until("paused", func() bool { return c.Get("VmInstance", vm).Text("state") == "Paused" })

	watched := make(chan error)
	c.Calls.On("WatchHost", func(any) error { return <-watched })
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Calls.Forget()
	watched <- silent()
	watched <- nil // that of the host that was connected anew
	c.want("connects", len(c.Calls.Of("ConnectHost")), 1)
	c.want("status", c.host().Text("status"), "Connected")
	c.World.Set(c.s.Host, vm, pluginv1.VMState_VM_STATE_RUNNING)
	c.Until("running", func() bool { return c.Get("VmInstance", vm).Text("state") == "Running" })
}

// A host that says that it has changed is looked at at once, without a ping, and so is
// what it has of storages. Whether it is lost, pings decide.
func TestChangedHostIsLookedAt(t *testing.T) {
	c := newCloud(t)
	local := c.Create("APIAddFakeLocalPrimaryStorageMsg", P{"name": "local", "zoneUuid": c.s.Zone, "url": "/local"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": local})
	medium := func(state string) func() bool {
		return func() bool {
			rows := c.List("HostCheck", "hostUuid="+c.s.Host, "resourceUuid="+local)
			return len(rows) == 1 && rows[0].Text("state") == state
		}
	}
	c.Until("there is room", medium("Ok"))
	c.World.Check(c.s.Host, kerneltest.FakeOptional, "it is scratched")
	c.World.Space(local, c.s.Host, 100*giB, 0)
	c.World.Changed(c.s.Host)
	c.Until("it is shown", func() bool { return c.checks()[kerneltest.FakeOptional].State == "Failed" })
	c.Until("there is no room", medium("Failed"))

	c.Calls.Fail("CheckHost", silent())
	c.World.Space(local, c.s.Host, 100*giB, 100*giB)
	c.World.Changed(c.s.Host)
	c.Until("there is room again", medium("Ok"))
	c.Until("it is shown", func() bool { return c.checks()[connection].State == "Failed" })
	c.want("status", c.host().Text("status"), "Connected")
}

// A failed reconnect is told, and tried again until it works.
func TestReconnect(t *testing.T) {
	c := newCloud(t)
	c.Calls.Fail("ConnectHost", silent())
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": c.s.Host}, "host host-01", "does not answer")
	c.becomes("Disconnected") // from Connecting, as it is tried again at once
	c.Calls.Fail("ConnectHost", nil)
	c.becomes("Connected")
	// What another service cannot do on it keeps guests away, too.
	c.Calls.Fail("Realize", errs.New(errs.Unavailable, "the host", "does not answer").OfCheck(kerneltest.FakeRequired))
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": c.s.Host}, "connect host host-01", "does not answer")
	c.becomes("Disconnected") // from Connecting, as it is tried again at once
	c.Calls.Fail("Realize", nil)
	c.becomes("Connected")
}

func TestMaintenance(t *testing.T) {
	c := newCloud(t)
	vm := c.VM(c.s, nil).Text("uuid")
	c.set("UPDATE `Host` SET `status` = 'Disconnected' WHERE `uuid` = ?", c.s.Host)
	c.Refused(errs.Refused, "APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"}, "host host-01", "Disconnected", "only a Connected host")
	c.set("UPDATE `Host` SET `status` = 'Connected' WHERE `uuid` = ?", c.s.Host)
	for state, event := range map[string]string{"Disabled": "disable", "Enabled": "enable"} {
		c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": event})
		c.Calls.Fail("StopVM", silent())
		c.Calls.Fail("DestroyVM", silent())
		c.Refused(errs.Unavailable, "APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"}, "does not answer")
		c.want("state of a host that cannot be emptied", c.host().Text("state"), state)
		c.Calls.Fail("StopVM", nil)
		c.Calls.Fail("DestroyVM", nil)
	}
	c.want("state", c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"}).Text("state"), "Maintenance")
	c.want("guest", c.Get("VmInstance", vm).Text("state"), "Stopped")
	c.Refused(errs.Refused, "APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"})
	// It was not looked at meanwhile, so it is connected before guests come.
	c.Calls.Forget()
	row := c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "enable"})
	c.want("state", row.Text("state"), "Enabled")
	c.becomes("Connected")
	c.want("connects", len(c.Calls.Of("ConnectHost")), 1)
}
