package compute_test

import (
	"strings"
	"testing"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// What a host tells of a guest that is not as it should be is shown on the guest
// until the host tells that it is, or the guest has none any more.
func TestProblemsOfGuests(t *testing.T) {
	c := newCloud(t)
	first, second := c.run(P{"hostUuid": c.s.Host}), c.run(P{"hostUuid": c.s.Host})
	status := func(uuid string, problems ...string) *pluginv1.VMStatus {
		return &pluginv1.VMStatus{Uuid: uuid, State: running, Problems: problems}
	}
	tell := func(complete bool, vms ...*pluginv1.VMStatus) {
		c.Compute.HostVMs(t.Context(), c.s.Host, vms, complete)
	}
	shown := func(uuid string) string {
		var all []string
		for _, p := range c.vm(uuid).Rows("problems") {
			c.Want("host", p.Text("hostUuid"), c.s.Host)
			all = append(all, p.Text("reason"))
		}
		return strings.Join(all, " | ")
	}
	want := func(ofFirst, ofSecond string) {
		t.Helper()
		c.Want("problems", shown(first), ofFirst)
		c.Want("problems of the other", shown(second), ofSecond)
	}
	want("", "")
	tell(false, status(first, "card a is cut off", "card b is cut off"))
	want("card a is cut off; card b is cut off", "")
	tell(true, status(first, "card b is cut off"), status(second, strings.Repeat("ü", 3000)))
	want("card b is cut off", shown(second))
	if got := shown(second); len(got) > 4100 || !strings.HasSuffix(got, " …") {
		t.Errorf("a long reason has %d bytes", len(got))
	}
	before := c.Dump("VmInstanceProblem")
	tell(true, status(first, "card b is cut off"), status(second, strings.Repeat("ü", 3000)))
	c.Want("what was told already", c.Dump("VmInstanceProblem"), before)
	tell(false, status(second))
	want("card b is cut off", "")
	tell(false, status("00000000000000000000000000000042", "not ours"))
	c.Want("rows", len(c.List("VmInstanceProblem")), 1)

	// It ends by itself, is removed, and its host leaves.
	c.World.Set(c.s.Host, first, ended)
	c.is(first, "Stopped")
	want("", "")
	tell(false, status(second, "card c is cut off"))
	c.end(second)
	c.Want("rows", len(c.List("VmInstanceProblem")), 0)
	c.do("Start", first)
	tell(false, status(first, "card d is cut off"))
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host})
	c.Want("problems when the host has left", shown(first), "")
}
