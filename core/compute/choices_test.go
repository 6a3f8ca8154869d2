package compute_test

import (
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A guest keeps the machine that was usual when it was made, or that it was made
// with; one that is older than the choice is told none.
func TestGuestsKeepTheirMachine(t *testing.T) {
	c := newCloud(t)
	machine := func() string { return c.started().GetOptions()["machine"] }
	restarted := func(uuid string) string {
		c.do("Stop", uuid)
		c.do("Start", uuid)
		return machine()
	}
	usual := c.run(nil)
	c.Want("a new guest's machine", machine(), "new")
	c.Want("a new guest's machine at its next start", restarted(usual), "new")
	chosen := c.run(P{"systemTags": []string{"vmMachineType::old"}})
	c.Want("the machine that was asked for", machine(), "old")
	c.Want("the machine that was asked for, at the next start", restarted(chosen), "old")
	c.do("Reboot", chosen)

	c.Do("APIDeleteTagMsg", P{"uuid": c.List("SystemTag", "resourceUuid="+usual, "tag=vmMachineType::new")[0].Text("uuid")})
	c.Want("the machine of a guest without a tag", restarted(usual), "")

	before := c.Dump(taken...)
	c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{"vmMachineType::tractor"}}), `"tractor" is not new or old or arm`)
	c.Refused(errs.Refused, create, c.s.Guest(P{"systemTags": []string{"vmMachineType::arm"}}), `no machine "arm" for guests of x86_64`)
	c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{"vmMachineType::old", "vmMachineType::new"}}), "two are given")
	c.Want("rows after refusals", c.Dump(taken...), before)
}

// The processor is that of the nearest setting: the guest's own, its cluster's, or
// the one of all.
func TestProcessorOfTheNearestSetting(t *testing.T) {
	c := newCloud(t)
	processor := func() string { return c.started().GetOptions()["processor"] }
	restarted := func(uuid string) string {
		c.do("Reboot", uuid)
		c.do("Stop", uuid)
		c.do("Start", uuid)
		return processor()
	}
	uuid := c.run(nil)
	c.Want("without a setting", processor(), "plain")
	setting := func(resource, value string) P {
		return P{"category": "fake", "name": "vm.processor", "resourceUuid": resource, "value": value}
	}
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "fake", "name": "vm.processor", "value": "best"})
	c.Want("by the setting", restarted(uuid), "best")
	c.Do("APIUpdateResourceConfigMsg", setting(c.s.Cluster, "fast"))
	c.Want("by the cluster's", restarted(uuid), "fast")
	c.Do("APIUpdateResourceConfigMsg", setting(uuid, "plain"))
	c.Want("by its own", restarted(uuid), "plain")
	c.run(P{"systemTags": []string{"resourceConfig::fake::vm.processor::best"}})
	c.Want("by its own from the beginning", processor(), "best")
	c.run(nil)
	c.Want("of another guest", processor(), "fast")
	c.Refused(errs.Invalid, "APIUpdateResourceConfigMsg", setting(uuid, "slow"), `"slow" is none of`)
}
