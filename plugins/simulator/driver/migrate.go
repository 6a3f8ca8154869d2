package driver

import (
	"context"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var _ pluginsdk.VMMigrator = hypervisor{}

func (h hypervisor) MigrateVM(ctx context.Context, req *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error) {
	source, target, vm := req.GetSource().GetUuid(), req.GetTarget().GetUuid(), req.GetVm()
	return run(ctx, h.simulator, "MigrateVM", func(w *world.Live) (*pluginv1.MigrateVMResponse, error) {
		state, err := w.MigrateVM(ctx, source, guest(target, vm))
		return &pluginv1.MigrateVMResponse{Status: status(vm.GetUuid(), state)}, err
	}, source, target, vm.GetUuid())
}

func (h hypervisor) EndMigration(ctx context.Context, req *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error) {
	source, target, vm := req.GetSource().GetUuid(), req.GetTarget().GetUuid(), req.GetVmUuid()
	return run(ctx, h.simulator, "EndMigration", func(w *world.Live) (*pluginv1.EndMigrationResponse, error) {
		moved, err := w.Migrated(source, target, vm)
		return &pluginv1.EndMigrationResponse{Moved: moved}, err
	}, source, target, vm)
}
