package kerneltest

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var _ pluginsdk.VMMigrator = hypervisor{}

// MigrateVM moves a guest, and tells who watches the hosts of what happens on the way:
// it is there twice, paused on its new host at first.
func (h hypervisor) MigrateVM(_ context.Context, r *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, to, vm := r.GetSource().GetUuid(), r.GetTarget().GetUuid(), r.GetVm().GetUuid()
	if _, there := h.vms[to][vm]; !there {
		if _, here := h.vms[from][vm]; !here {
			return nil, errs.New(errs.NotFound, "VM "+vm, "it does not run on host %s", from)
		}
		h.set(to, vm, pluginv1.VMState_VM_STATE_PAUSED)
		h.set(from, vm, pluginv1.VMState_VM_STATE_PAUSED)
		h.set(to, vm, pluginv1.VMState_VM_STATE_RUNNING)
		h.set(from, vm, pluginv1.VMState_VM_STATE_STOPPED)
	}
	return &pluginv1.MigrateVMResponse{Status: &pluginv1.VMStatus{Uuid: vm, State: h.vms[to][vm]}}, nil
}

func (h hypervisor) EndMigration(_ context.Context, r *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error) {
	_, moved := h.Guests(r.GetTarget().GetUuid())[r.GetVmUuid()]
	return &pluginv1.EndMigrationResponse{Moved: moved}, nil
}
