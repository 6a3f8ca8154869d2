package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// own are the tables of the service.
var own = []string{"VmInstance", "VmCdRom", "InstanceOffering", "DiskOffering"}

// reports begins what is read when a host reports, which nobody asked for.
const reports = "SELECT `uuid`, `state`, `hostUuid` FROM"

// placing is what is asked for before a call is queued, which is not kept from it by that.
const placing = "SELECT `hostUuid` FROM `VmInstance`"

// call makes a message a call of FailEachStatement.
func (c *cloud) call(message string, p P) func() error {
	return func() error { _, err := c.Call(message, p); return err }
}

// in brings the cloud's only guest to a state, whatever has become of it, and
// returns it; "" is a cloud without guests.
func (c *cloud) in(state string) string {
	for {
		all := c.List("VmInstance")
		if len(all) == 0 {
			if state == "" {
				return ""
			}
			c.run(P{"imageUuid": c.cd, "rootDiskSize": giB})
			continue
		}
		uuid := all[0].Text("uuid")
		c.Idle(uuid)
		now := c.state(uuid)
		switch {
		case now == state:
			return uuid
		case now == "Destroyed" && state == "" || now == "Expunging":
			c.do("Expunge", uuid)
		case state == "" || state == "Destroyed":
			c.do("Destroy", uuid)
		case now == "Destroyed":
			c.do("Recover", uuid)
		case now == "Stopped":
			c.do("Start", uuid)
		case now == "Paused":
			c.do("Resume", uuid)
		case state == "Stopped":
			c.do("Stop", uuid)
		case state == "Paused":
			c.do("Pause", uuid)
		}
	}
}

// host is the host, as its plugin sees it, of a guest in a state.
func (c *cloud) host(state string) *pluginv1.Host {
	c.in(state)
	h, err := c.Topology.PluginHost(c.Context(), c.Store, c.s.Host)
	c.Ok(err)
	return h
}

// Whichever read or write of the database fails, whoever asked is told, the guest
// is what it was or what was asked for, and it can be asked for again; nothing of
// its host is taken twice or lost.
func TestBrokenDatabase(t *testing.T) {
	c := newCloud(t)
	c.services()
	c.cd = c.iso()
	c.in("Running")
	c.in("")
	empty := c.Dump("Host", "PrimaryStorage", "Volume", "VmNic", "UsedIp")
	disk := c.Create("APICreateDiskOfferingMsg", P{"name": "disk", "diskSize": giB})
	for _, x := range []struct{ verb, from string }{
		{"Start", "Stopped"}, {"Stop", "Running"}, {"Reboot", "Running"}, {"Pause", "Running"}, {"Resume", "Paused"},
		{"Destroy", "Running"}, {"Recover", "Destroyed"}, {"Expunge", "Destroyed"},
	} {
		t.Log(x.verb)
		c.FailEachStatement(own, func() func() error { return c.call("API"+x.verb+"VmInstanceMsg", P{"uuid": c.in(x.from)}) }, reports, placing)
	}
	for _, x := range []struct {
		name    string
		prepare func() func() error
	}{
		{"create", func() func() error {
			c.in("")
			return c.call(create, c.s.Guest(P{"imageUuid": c.cd, "rootDiskOfferingUuid": disk, "dataDiskOfferingUuids": []string{disk}}))
		}},
		{"create a stopped one", func() func() error {
			c.in("")
			return c.call(create, c.s.Guest(P{"imageUuid": c.cd, "rootDiskSize": giB, "strategy": "CreateStopped"}))
		}},
		{"update", func() func() error {
			return c.call("APIUpdateVmInstanceMsg", P{"uuid": c.in("Stopped"), "cpuNum": 1, "defaultL3NetworkUuid": c.s.L3})
		}},
		{"connect its host", func() func() error {
			h := c.host("Running")
			return func() error { return c.Compute.HostConnected(t.Context(), h) }
		}},
		{"leave its host", func() func() error {
			h := c.host("Stopped")
			return func() error { return c.Compute.HostLeaving(t.Context(), h) }
		}},
		{"tell where it is", func() func() error {
			uuid := c.in("Running")
			return func() error {
				return c.Compute.Places(t.Context(), c.Store, []string{uuid}, func(contract.GuestPlace) {})
			}
		}},
		{"empty its host", func() func() error {
			c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "enable"})
			c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
			c.in("Running")
			return c.call("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "maintain"})
		}},
	} {
		t.Log(x.name)
		c.FailEachStatement(own, x.prepare, reports, placing)
	}
	c.Do("APIChangeHostStateMsg", P{"uuid": c.s.Host, "stateEvent": "enable"})
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.in("")
	for _, row := range c.List("Volume") { // data volumes stay when their guest goes
		c.Do("APIDeleteDataVolumeMsg", P{"uuid": row.Text("uuid")})
		c.Do("APIExpungeDataVolumeMsg", P{"uuid": row.Text("uuid")})
	}
	c.Want("what is there", c.Dump("Host", "PrimaryStorage", "Volume", "VmNic", "UsedIp"), empty)
}
