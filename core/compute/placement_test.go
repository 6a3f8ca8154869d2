package compute_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

// offering makes one with a strategy.
func offering(c *cloudtest.Cloud, strategy string, more P) string {
	p := P{"name": "o", "cpuNum": 1, "memorySize": 1 << 30, "allocatorStrategy": strategy}
	for k, v := range more {
		p[k] = v
	}
	return c.Create("APICreateInstanceOfferingMsg", p)
}

// hostsOf counts the guests that n creations put on each host.
func hostsOf(c *cloudtest.Cloud, s cloudtest.Site, offering string, n int) map[string]int {
	counts := map[string]int{}
	for range n {
		counts[c.VM(s, P{"instanceOfferingUuid": offering}).Text("hostUuid")]++
	}
	return counts
}

func TestLeastVMSpreadsEvenly(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	hosts := []string{s.Host, c.Host(s.Cluster), c.Host(s.Cluster)}
	counts := hostsOf(c, s, s.Offering, 9)
	for _, h := range hosts {
		if counts[h] != 3 {
			t.Fatalf("9 guests on 3 hosts: %v", counts)
		}
	}
}

func TestMinimumUsageFillsTheEmptier(t *testing.T) {
	for _, strategy := range []string{contract.PlaceMinCPU, contract.PlaceMinMemory} {
		t.Run(strategy, func(t *testing.T) {
			c := cloudtest.New(t)
			s := c.Site()
			c.World.Facts("10.255.0.2", &pluginv1.HostFacts{CpuNum: 32, CpuMhz: 2000, CpuSockets: 1, MemoryBytes: 128 << 30, Architecture: "x86_64"})
			big := c.Host(s.Cluster)
			// The big host is four times the small one, so it takes four guests of five.
			counts := hostsOf(c, s, offering(c, strategy, nil), 10)
			if counts[big] != 8 || counts[s.Host] != 2 {
				t.Fatalf("big %d, small %d; want 8 and 2", counts[big], counts[s.Host])
			}
		})
	}
}

func TestMaxInstancePerHost(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	second := c.Host(s.Cluster)
	o := offering(c, contract.PlaceMaxInstance, P{"systemTags": []string{"maxInstancePerHost::2"}})
	if counts := hostsOf(c, s, o, 4); counts[s.Host] != 2 || counts[second] != 2 {
		t.Fatalf("got %v", counts)
	}
	vm := P{"name": "vm", "instanceOfferingUuid": o, "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", vm, "host-01: 2 guests, at most 2 allowed", "host-02: 2 guests")
	vm["systemTags"] = []string{"maxInstancePerHost::3"} // its own limit wins
	c.Do("APICreateVmInstanceMsg", vm)
	vm["instanceOfferingUuid"], vm["systemTags"] = offering(c, contract.PlaceMaxInstance, nil), nil
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", vm, "there is no limit of guests", "maxInstancePerHost::N")
	c.Refused(errs.Invalid, "APICreateInstanceOfferingMsg", P{"name": "o", "cpuNum": 1, "memorySize": 1 << 30,
		"systemTags": []string{"maxInstancePerHost::none"}}, "maxInstancePerHost")
}

func TestDesignatedHostMustBeNamed(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	second := c.Host(s.Cluster)
	vm := P{"name": "vm", "instanceOfferingUuid": offering(c, contract.PlaceDesignated, nil), "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}}
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", vm, contract.PlaceDesignated, "hostUuid")
	vm["hostUuid"] = second
	for range 3 {
		if got := c.Do("APICreateVmInstanceMsg", vm); got.Text("hostUuid") != second {
			t.Fatalf("on %s, want %s", got.Text("hostUuid"), second)
		}
	}
}

func TestStartPrefersTheLastHost(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	vm := c.VM(s, nil)
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm.Text("uuid")})
	c.VM(s, nil) // the last host now has a guest, the new ones have none
	c.Host(s.Cluster)
	c.Host(s.Cluster)
	if got := c.Do("APIStartVmInstanceMsg", P{"uuid": vm.Text("uuid")}); got.Text("hostUuid") != s.Host {
		t.Fatalf("started on %s, ran last on %s", got.Text("hostUuid"), s.Host)
	}
	c.Do("APIStopVmInstanceMsg", P{"uuid": vm.Text("uuid")})
	c.Do("APIChangeHostStateMsg", P{"uuid": s.Host, "stateEvent": "disable"})
	if got := c.Do("APIStartVmInstanceMsg", P{"uuid": vm.Text("uuid")}); got.Text("hostUuid") == s.Host {
		t.Fatal("it started on a disabled host")
	}
}

// The wire's error tells of each host why it would not do, in its text and for
// programs.
func TestRefusalsAreInTheWiresError(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	c.Host(s.Cluster)
	other := c.Cluster(s.Zone)
	c.Host(other)
	c.Do("APIChangeHostStateMsg", P{"uuid": s.Host, "stateEvent": "disable"})
	_, err := c.Call("APICreateVmInstanceMsg", P{"name": "vm", "cpuNum": 1, "memorySize": 64 << 30, "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}})
	var body struct {
		Error struct {
			Details string
			Opaque  struct{ Considered []errs.Considered }
		}
	}
	// As a job keeps it, and as it is read again after a restart.
	if jsonErr := json.Unmarshal(action.ErrorBody(action.DecodeError(action.EncodeError(err))), &body); jsonErr != nil {
		t.Fatal(jsonErr)
	}
	want := []string{"host-01: Disabled", "host-02: 31 GiB free, 64 GiB needed", "host-03: in cluster cluster that has not all networks of the guest"}
	var told []string
	for _, h := range body.Error.Opaque.Considered {
		told = append(told, h.Name+": "+h.Why)
		if h.Type != "Host" || c.Get("Host", h.UUID).Text("name") != h.Name {
			t.Errorf("considered %+v", h)
		}
	}
	if strings.Join(told, "|") != strings.Join(want, "|") {
		t.Errorf("considered %q", told)
	}
	for _, w := range want {
		if !strings.Contains(body.Error.Details, w) {
			t.Errorf("details %q do not say %q", body.Error.Details, w)
		}
	}
	if len(c.List("VmInstance")) != 0 || c.World.Volumes() != 0 {
		t.Error("something is left of a guest that was not made")
	}
}

// What has no effect is refused by name and leaves nothing.
func TestParametersWithoutEffectAreRefused(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	o := func(more P) P {
		p := P{"name": "o", "cpuNum": 1, "memorySize": 1 << 30}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	before := len(c.List("InstanceOffering")) + len(c.List("DiskOffering"))
	c.Refused(errs.Invalid, "APICreateInstanceOfferingMsg", o(P{"allocatorStrategy": "Nope"}), "allocatorStrategy", `"Nope"`, contract.PlaceLeastVM)
	c.Refused(errs.Invalid, "APICreateInstanceOfferingMsg", o(P{"type": "Weird"}), "type", `"Weird"`)
	c.Refused(errs.Invalid, "APICreateInstanceOfferingMsg", o(P{"reservedMemorySize": 1 << 20}), "reservedMemorySize")
	c.Refused(errs.Invalid, "APICreateDiskOfferingMsg", P{"name": "d", "diskSize": 1, "allocationStrategy": "Nope"}, "allocationStrategy")
	c.Refused(errs.Invalid, "APIUpdateInstanceOfferingMsg", P{"uuid": s.Offering, "allocatorStrategy": "Nope"}, "allocatorStrategy")
	if after := len(c.List("InstanceOffering")) + len(c.List("DiskOffering")); after != before {
		t.Errorf("%d offerings before, %d after", before, after)
	}
	vm := func(more P) P {
		p := P{"name": "vm", "instanceOfferingUuid": s.Offering, "imageUuid": s.Image, "l3NetworkUuids": []string{s.L3}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", vm(P{"type": "ApplianceVm"}), "ApplianceVm")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", vm(P{"reservedMemorySize": 1 << 20}), "reservedMemorySize")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", vm(P{"systemTags": []string{"hostname::one", "hostname::two"}}), "hostname")
	if rows := c.List("VmInstance"); len(rows) != 0 {
		t.Errorf("left over: %v", rows)
	}
	uuid := c.Create("APICreateVmInstanceMsg", vm(P{"systemTags": []string{"hostname::one"}, "reservedMemorySize": 0}))
	c.Refused(errs.Invalid, "APIUpdateVmInstanceMsg", P{"uuid": uuid, "reservedMemorySize": 1 << 20}, "reservedMemorySize")
	c.Refused(errs.Invalid, "APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "hostname::two"}, "hostname")
}

// A host's room is what it was when its guests have left, however they leave.
func TestRoomComesBack(t *testing.T) {
	c := cloudtest.New(t)
	s := c.Site()
	free := func() string {
		h := c.Get("Host", s.Host)
		return fmt.Sprint(h.Int("availableCpuCapacity"), " ", h.Int("availableMemoryCapacity"))
	}
	empty := free()
	stopped, destroyed := c.VM(s, nil).Text("uuid"), c.VM(s, nil).Text("uuid")
	if free() == empty {
		t.Fatal("guests take no room")
	}
	c.Calls.Fail("StartVM", errs.New(errs.Unavailable, "host", "on fire"))
	c.Refused(errs.Unavailable, "APICreateVmInstanceMsg", P{"name": "vm", "instanceOfferingUuid": s.Offering, "imageUuid": s.Image,
		"l3NetworkUuids": []string{s.L3}}, "on fire")
	c.Calls.Fail("StartVM", nil)
	c.Do("APIStopVmInstanceMsg", P{"uuid": stopped})
	c.Do("APIDestroyVmInstanceMsg", P{"uuid": destroyed})
	if got := free(); got != empty {
		t.Fatalf("room %s, was %s", got, empty)
	}
	limited := c.VM(s, P{"systemTags": []string{"maxInstancePerHost::1"}}) // nobody is counted who has left
	if limited.Text("state") != "Running" {
		t.Fatalf("got %v", limited)
	}
}
