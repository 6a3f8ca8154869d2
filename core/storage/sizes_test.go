package storage_test

import (
	"math"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Sizes that no volume has are refused by name, one by one and as a sum, and
// change nothing: a sum that overflows would give capacity back.
func TestSizesDoNotOverflow(t *testing.T) {
	c := newCloud(t)
	free := c.primary().Int("availableCapacity")
	huge := []int64{math.MaxInt64, math.MaxInt64}
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"dataDiskSizes": huge}), "dataDiskSizes", "9223372036854775807")
	large := []int64{1 << 60, 1 << 60} // what a number of a message may be
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"dataDiskSizes": large}), "dataDiskSizes", "1152921504606846976 bytes is no size")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"rootDiskSize": contract.MaxVolumeSize + 1}), "rootDiskSize")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"rootDiskSize": 0}), "rootDiskSize")
	offering := c.Create("APICreateDiskOfferingMsg", P{"name": "huge", "diskSize": math.MaxInt64})
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"rootDiskOfferingUuid": offering}), "rootDiskOfferingUuid")
	c.Refused(errs.Invalid, "APICreateVmInstanceMsg", c.s.Guest(P{"dataDiskOfferingUuids": []string{offering, offering}}), "9223372036854775807 bytes is no size")
	var many []int64
	for range 24 {
		many = append(many, contract.MaxVolumeSize)
	}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", c.s.Guest(P{"dataDiskSizes": many}), "bytes available")
	for _, sizes := range [][]int64{{math.MaxInt64, math.MaxInt64, 2}, {-1}, {math.MinInt64}, {contract.MaxVolumeSize + 1}} {
		err := c.planAt(c.s.Host, plan(len(sizes), sizes...))
		if errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%v: %v", sizes, err)
		}
	}
	err := c.planAt(c.s.Host, plan(contract.MaxVolumes+1, 1))
	if errs.ClassOf(err) != errs.Invalid {
		t.Errorf("too many volumes: %v", err)
	}
	for _, size := range []int64{-1, math.MinInt64, contract.MaxVolumeSize*contract.MaxVolumes + 1} {
		if _, err := c.Storage.Places(t.Context(), c.Store, contract.PlaceRequest{Size: size}); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("a place for %d bytes: %v", size, err)
		}
	}
	c.Want("left", c.primary().Int("availableCapacity"), free)
	c.Want("volumes", len(c.List("Volume")), 0)
}
