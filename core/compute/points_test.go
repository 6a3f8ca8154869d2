package compute_test

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// passed are the points at which the plugin did something, in order.
func (c *cloud) passed() []string {
	var all []string
	for _, made := range c.Calls.Of("DoPoint") {
		all = append(all, made.(*pluginv1.DoPointRequest).GetPoint())
	}
	c.Calls.Forget()
	return all
}

// A plugin is told at each point of a guest's life, with its NICs and where it is.
func TestPointsOfAGuestsLife(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	r, ok := kerneltest.Last[*pluginv1.DoPointRequest](c.Calls, "DoPoint")
	c.Want("told", ok, true)
	about := r.GetSubject()
	c.Want("guest", about.GetUuid(), uuid)
	c.Want("host", about.GetHostUuid(), c.s.Host)
	c.Want("NICs", len(about.GetNics()), 1)
	nic := c.List("VmNic")[0]
	c.Want("address", about.GetNics()[0].GetAddresses()[0], nic.Text("ip"))
	c.Want("MAC", about.GetNics()[0].GetMac(), nic.Text("mac"))
	c.Want("network", about.GetNics()[0].GetL3NetworkUuid(), c.s.L3)
	for _, want := range []struct {
		verb   string
		points []string
	}{
		{"", []string{"vm.start.nics-ready", "vm.start.done"}},
		{"Stop", []string{"vm.stop.begin", "vm.stop.done"}},
		{"Start", []string{"vm.start.nics-ready", "vm.start.done"}},
		{"Reboot", []string{"vm.start.nics-ready"}},
		{"Destroy", []string{"vm.destroy.begin", "vm.destroy.done"}},
		{"Expunge", []string{"vm.expunge.begin"}},
	} {
		if want.verb != "" {
			c.do(want.verb, uuid)
		}
		if got := c.passed(); !slices.Equal(got, want.points) {
			t.Errorf("%s: points %v, want %v", want.verb, got, want.points)
		}
	}
}

// What a plugin did for a guest that then does not start is undone by it, with the
// state that it had given.
func TestPointIsUndone(t *testing.T) {
	c := newCloud(t)
	c.Calls.Fail("StartVM", onFire())
	c.Refused(errs.Unavailable, "APICreateVmInstanceMsg", c.s.Guest(nil), "on fire")
	r, ok := kerneltest.Last[*pluginv1.UndoPointRequest](c.Calls, "UndoPoint")
	c.Want("undone", ok, true)
	c.Want("point", r.GetPoint(), "vm.start.nics-ready")
	c.Want("state", string(r.GetState()), "vm.start.nics-ready")
	c.Want("guests", len(c.List("VmInstance")), 0)
}

// A plugin whose step fails keeps a guest from starting, and nothing is left.
func TestPointFails(t *testing.T) {
	c := newCloud(t)
	c.Calls.Fail("DoPoint", onFire())
	c.Refused(errs.Unavailable, "APICreateVmInstanceMsg", c.s.Guest(nil), "on fire")
	c.Want("started", c.called("StartVM"), false)
	c.Want("undone", c.called("UndoPoint"), true)
	c.Want("guests", len(c.List("VmInstance")), 0)
}

// A plugin whose failures are ignored keeps nothing from being done, nor undone.
func TestPointIsIgnored(t *testing.T) {
	points := kerneltest.AtPoints("vm.start.nics-ready")
	points[0].OnFailure = pluginsdk.FailureIgnore
	all := cloudtest.NewObserved(t, points...)
	c := &cloud{Cloud: all, s: all.Site()}
	c.Calls.Fail("DoPoint", onFire())
	c.end(c.run(nil))
	c.Calls.Fail("UndoPoint", onFire())
	c.Calls.Fail("StartVM", onFire())
	c.Refused(errs.Unavailable, "APICreateVmInstanceMsg", c.s.Guest(nil), "on fire")
	c.Want("guests", len(c.List("VmInstance")), 0)
	c.Want("undo", len(c.Calls.Of("UndoPoint")) > 0, true)
}
