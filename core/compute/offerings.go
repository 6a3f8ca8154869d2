package compute

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// newOffering holds the parameters of APICreateInstanceOfferingMsg.
type newOffering struct {
	kernel.Named
	CPUNum    int    `api:"cpuNum,required,range=1:1024"`
	Memory    int64  `api:"memorySize,required,range=1:9223372036854775807"`
	Reserved  int64  `api:"reservedMemorySize,range=0:9223372036854775807"`
	Allocator string `api:"allocatorStrategy"`
	SortKey   int    `api:"sortKey"`
	Type      string `api:"type"`
}

// newDiskOffering holds the parameters of APICreateDiskOfferingMsg.
type newDiskOffering struct {
	kernel.Named
	DiskSize  int64  `api:"diskSize,required,range=1:9223372036854775807"`
	SortKey   int    `api:"sortKey"`
	Allocator string `api:"allocationStrategy"`
	Type      string `api:"type,values=zstack"`
}

// mostFree takes the primary storage with the most free bytes.
const mostFree = "DefaultPrimaryStorageAllocationStrategy"

func (s *Service) registerOfferings() error {
	kernel.RegisterCreate(s.generic, kernel.Creation[InstanceOffering, newOffering]{
		Type: InstanceOfferingType, Access: action.Admin, Doc: "Makes a named size of guests.",
		Row: func(_ *action.Call, p *newOffering) (*InstanceOffering, error) {
			if p.Type != "" && p.Type != "UserVm" {
				return nil, errs.New(errs.Invalid, "type", "%q is not made by this call", p.Type).WithAdvice("use UserVm")
			}
			return &InstanceOffering{CPUNum: int64(p.CPUNum), MemorySize: p.Memory, SortKey: int64(p.SortKey), Type: "UserVm",
				AllocatorStrategy: cmp.Or(p.Allocator, contract.PlaceLeastVM), State: "Enabled"}, cmp.Or(checkReserved(p.Reserved), checkStrategy(p.Allocator))
		},
	})
	kernel.RegisterCreate(s.generic, kernel.Creation[DiskOffering, newDiskOffering]{
		Type: DiskOfferingType, Access: action.Normal, Doc: "Makes a named size of volumes.",
		Row: func(_ *action.Call, p *newDiskOffering) (*DiskOffering, error) {
			if p.Allocator != "" && p.Allocator != mostFree {
				return nil, errs.New(errs.Invalid, "allocationStrategy", "%q is not offered", p.Allocator).WithAdvice("use %s", mostFree)
			}
			return &DiskOffering{DiskSize: p.DiskSize, SortKey: int64(p.SortKey), Type: cmp.Or(p.Type, "zstack"),
				AllocatorStrategy: mostFree, State: "Enabled"}, nil
		},
	})
	for _, err := range []error{
		s.generic.RegisterUpdate(InstanceOfferingType.Type, action.Admin, func(_ context.Context, _ *store.Tx, _ string, values map[string]any) error {
			name, _ := values["allocatorStrategy"].(string)
			return checkStrategy(name)
		}, action.Param{Name: "allocatorStrategy", Type: "string"}),
		s.generic.RegisterState(InstanceOfferingType.Type, action.Admin, nil),
		s.generic.RegisterDelete(InstanceOfferingType.Type, action.Admin),
		s.generic.RegisterUpdate(DiskOfferingType.Type, action.Admin, nil),
		s.generic.RegisterState(DiskOfferingType.Type, action.Admin, nil),
		s.generic.RegisterDelete(DiskOfferingType.Type, action.Admin),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
