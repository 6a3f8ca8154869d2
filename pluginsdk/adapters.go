package pluginsdk

import (
	"context"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// The adapters below are the generated servers over the strategies. A strategy
// is embedded and gives the required calls; optional ones are looked for by
// type assertion at each call. Each "later" embeds the generated refusals one
// level deeper than the strategy, so that the strategy's methods win and calls
// added to the contract later still compile.

// registerStrategies serves the strategies that p has.
func registerStrategies(s grpc.ServiceRegistrar, p Plugin) {
	if p.Hypervisor != nil {
		pluginv1.RegisterHypervisorServiceServer(s, &hypervisorServer{Hypervisor: p.Hypervisor})
	}
	if p.PrimaryStorage != nil {
		pluginv1.RegisterPrimaryStorageServiceServer(s, &primaryStorageServer{PrimaryStorage: p.PrimaryStorage})
	}
	if p.BackupStorage != nil {
		pluginv1.RegisterBackupStorageServiceServer(s, &backupStorageServer{BackupStorage: p.BackupStorage})
	}
	if p.L2Network != nil {
		pluginv1.RegisterL2NetworkServiceServer(s, &l2NetworkServer{L2Network: p.L2Network})
	}
	if p.NetworkService != nil {
		pluginv1.RegisterNetworkServiceServiceServer(s, &networkServiceServer{NetworkService: p.NetworkService})
	}
	if p.ResourceProvider != nil {
		pluginv1.RegisterResourceProviderServiceServer(s, &resourceProviderServer{ResourceProvider: p.ResourceProvider})
	}
	if p.InventorySync != nil {
		pluginv1.RegisterInventorySyncServiceServer(s, &inventorySyncServer{InventorySync: p.InventorySync})
	}
	if p.HybridCloud != nil {
		pluginv1.RegisterHybridCloudServiceServer(s, &hybridCloudServer{HybridCloud: p.HybridCloud})
	}
	if p.Observer != nil {
		pluginv1.RegisterObserverServiceServer(s, &observerServer{Observer: p.Observer})
	}
}

// optional calls an optional service of a strategy, errs.Unsupported when the
// strategy does not implement it.
func optional[I, Req, Resp any](ctx context.Context, strategy any, name string, req *Req, call func(I, context.Context, *Req) (*Resp, error)) (*Resp, error) {
	impl, ok := strategy.(I)
	if !ok {
		return nil, unsupported(name)
	}
	return call(impl, ctx, req)
}

func unsupported(name string) error {
	return errs.New(errs.Unsupported, "operation "+name, "the plugin does not implement it")
}

type hypervisorServer struct {
	Hypervisor
	laterHypervisor
}

type laterHypervisor struct {
	pluginv1.UnimplementedHypervisorServiceServer
}

func (s *hypervisorServer) WatchHost(req *pluginv1.WatchHostRequest, out grpc.ServerStreamingServer[pluginv1.WatchHostResponse]) error {
	return s.Hypervisor.WatchHost(out.Context(), req, func(vm *pluginv1.VMStatus) error {
		return out.Send(&pluginv1.WatchHostResponse{Vm: vm})
	})
}

func (s *hypervisorServer) MigrateVM(ctx context.Context, req *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalMigrate, req, VMMigrator.MigrateVM)
}

func (s *hypervisorServer) EndMigration(ctx context.Context, req *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalMigrate, req, VMMigrator.EndMigration)
}

func (s *hypervisorServer) PauseVM(ctx context.Context, req *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalPause, req, VMPauser.PauseVM)
}

func (s *hypervisorServer) ResumeVM(ctx context.Context, req *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalPause, req, VMPauser.ResumeVM)
}

func (s *hypervisorServer) Console(ctx context.Context, req *pluginv1.ConsoleRequest) (*pluginv1.ConsoleResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalConsole, req, VMConsoler.Console)
}

func (s *hypervisorServer) AttachNIC(ctx context.Context, req *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalAttachNIC, req, NICAttacher.AttachNIC)
}

func (s *hypervisorServer) DetachNIC(ctx context.Context, req *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error) {
	return optional(ctx, s.Hypervisor, OptionalAttachNIC, req, NICAttacher.DetachNIC)
}

func (s *hypervisorServer) CallAgent(req *pluginv1.CallAgentRequest, out grpc.ServerStreamingServer[pluginv1.CallAgentResponse]) error {
	gateway, ok := s.Hypervisor.(HostGateway)
	if !ok {
		return unsupported(OptionalHostGateway)
	}
	return gateway.CallAgent(out.Context(), req, func(payload []byte) error {
		return out.Send(&pluginv1.CallAgentResponse{Payload: payload})
	})
}

type primaryStorageServer struct {
	PrimaryStorage
	laterPrimaryStorage
}

type laterPrimaryStorage struct {
	pluginv1.UnimplementedPrimaryStorageServiceServer
}

func (s *primaryStorageServer) ResizeVolume(ctx context.Context, req *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error) {
	return optional(ctx, s.PrimaryStorage, OptionalResize, req, VolumeResizer.ResizeVolume)
}

func (s *primaryStorageServer) ListVolumes(ctx context.Context, req *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error) {
	return optional(ctx, s.PrimaryStorage, OptionalList, req, VolumeLister.ListVolumes)
}

type backupStorageServer struct {
	BackupStorage
	laterBackupStorage
}

type laterBackupStorage struct {
	pluginv1.UnimplementedBackupStorageServiceServer
}

func (s *backupStorageServer) BeginUpload(ctx context.Context, req *pluginv1.BeginUploadRequest) (*pluginv1.BeginUploadResponse, error) {
	return optional(ctx, s.BackupStorage, "upload", req, ImageUploader.BeginUpload)
}

type l2NetworkServer struct {
	L2Network
	laterL2Network
}

type laterL2Network struct {
	pluginv1.UnimplementedL2NetworkServiceServer
}

type networkServiceServer struct {
	NetworkService
	laterNetworkService
}

type laterNetworkService struct {
	pluginv1.UnimplementedNetworkServiceServiceServer
}

type resourceProviderServer struct {
	ResourceProvider
	laterResourceProvider
}

type laterResourceProvider struct {
	pluginv1.UnimplementedResourceProviderServiceServer
}

type inventorySyncServer struct {
	InventorySync
	laterInventorySync
}

type laterInventorySync struct {
	pluginv1.UnimplementedInventorySyncServiceServer
}

func (s *inventorySyncServer) Sync(req *pluginv1.SyncRequest, out grpc.ServerStreamingServer[pluginv1.SyncResponse]) error {
	return s.InventorySync.Sync(out.Context(), req, func(p *pluginv1.Page) error {
		return out.Send(&pluginv1.SyncResponse{Page: p})
	})
}

type hybridCloudServer struct {
	HybridCloud
	laterHybridCloud
}

type laterHybridCloud struct {
	pluginv1.UnimplementedHybridCloudServiceServer
}
