package compute

import (
	"cmp"
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// newOffering holds the parameters of APICreateInstanceOfferingMsg.
type newOffering struct {
	Name      string `api:"name,required,max=255"`
	Desc      string `api:"description,max=2048"`
	CPUNum    int    `api:"cpuNum,required,range=1:1024"`
	Memory    int64  `api:"memorySize,required,range=1:9223372036854775807"`
	Reserved  int64  `api:"reservedMemorySize,range=0:9223372036854775807"`
	Allocator string `api:"allocatorStrategy"`
	SortKey   int    `api:"sortKey"`
	Type      string `api:"type"`
}

// newDiskOffering holds the parameters of APICreateDiskOfferingMsg.
type newDiskOffering struct {
	Name      string `api:"name,required,max=255"`
	Desc      string `api:"description,max=2048"`
	DiskSize  int64  `api:"diskSize,required,range=1:9223372036854775807"`
	SortKey   int    `api:"sortKey"`
	Allocator string `api:"allocationStrategy"`
	Type      string `api:"type,values=zstack"`
}

// mostFree takes the primary storage with the most free bytes.
const mostFree = "DefaultPrimaryStorageAllocationStrategy"

func (s *Service) registerOfferings() error {
	action.Register(s.Actions, action.Action{
		Message: "APICreateInstanceOfferingMsg", Method: "POST", Path: "/instance-offerings", Async: true, Create: true,
		Access: action.Admin, Returns: "InstanceOffering", Doc: "Makes a named size of guests.",
	}, func(ctx context.Context, c *action.Call, p *newOffering) (action.Ref, error) {
		ref := action.Ref{Type: "InstanceOffering", UUID: c.ResourceUUID}
		if p.Type != "" && p.Type != "UserVm" {
			return ref, errs.New(errs.Invalid, "type", "%q is not made by this call", p.Type).WithAdvice("use UserVm")
		}
		if err := cmp.Or(checkReserved(p.Reserved), checkStrategy(p.Allocator)); err != nil {
			return ref, err
		}
		row := &InstanceOffering{CPUNum: int64(p.CPUNum), MemorySize: p.Memory, SortKey: int64(p.SortKey),
			Type: cmp.Or(p.Type, "UserVm"), AllocatorStrategy: cmp.Or(p.Allocator, contract.PlaceLeastVM), State: "Enabled"}
		row.UUID, row.Name, row.Description = c.ResourceUUID, p.Name, p.Desc
		return ref, s.Store.Update(ctx, func(tx *store.Tx) error {
			if err := store.Insert(ctx, tx, InstanceOfferingType, row); err != nil {
				return err
			}
			return s.Tags.CreateFor(ctx, tx, ref.Type, row.UUID, c)
		})
	})
	action.Register(s.Actions, action.Action{
		Message: "APICreateDiskOfferingMsg", Method: "POST", Path: "/disk-offerings", Async: true, Create: true,
		Access: action.Normal, Returns: "DiskOffering", Doc: "Makes a named size of volumes.",
	}, func(ctx context.Context, c *action.Call, p *newDiskOffering) (action.Ref, error) {
		if p.Allocator != "" && p.Allocator != mostFree {
			return action.Ref{}, errs.New(errs.Invalid, "allocationStrategy", "%q is not offered", p.Allocator).WithAdvice("use %s", mostFree)
		}
		row := &DiskOffering{DiskSize: p.DiskSize, SortKey: int64(p.SortKey), Type: cmp.Or(p.Type, "zstack"),
			AllocatorStrategy: mostFree, State: "Enabled"}
		row.UUID, row.Name, row.Description = c.ResourceUUID, p.Name, p.Desc
		return action.Ref{Type: "DiskOffering", UUID: row.UUID}, s.Store.Update(ctx, func(tx *store.Tx) error {
			if err := store.Insert(ctx, tx, DiskOfferingType, row); err != nil {
				return err
			}
			return s.Tags.CreateFor(ctx, tx, "DiskOffering", row.UUID, c)
		})
	})
	for _, err := range []error{
		s.RegisterUpdate(InstanceOfferingType.Type, action.Admin, func(_ context.Context, _ *store.Tx, _ string, values map[string]any) error {
			name, _ := values["allocatorStrategy"].(string)
			return checkStrategy(name)
		}, action.Param{Name: "allocatorStrategy", Type: "string"}),
		s.RegisterState(InstanceOfferingType.Type, action.Admin, nil),
		s.RegisterDelete(InstanceOfferingType.Type, action.Admin),
		s.RegisterUpdate(DiskOfferingType.Type, action.Admin, nil),
		s.RegisterState(DiskOfferingType.Type, action.Admin, nil),
		s.RegisterDelete(DiskOfferingType.Type, action.Admin),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
