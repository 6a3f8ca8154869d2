package pluginsdk

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// HypervisorClient is a Hypervisor with all optional services; those that the
// plugin does not have answer errs.Unsupported.
type HypervisorClient interface {
	Hypervisor
	VMPauser
	VMMigrator
	VMConsoler
	HostGateway
	NICAttacher
}

// PrimaryStorageClient is a PrimaryStorage with all optional services.
type PrimaryStorageClient interface {
	PrimaryStorage
	VolumeResizer
	VolumeLister
}

// BackupStorageClient is a BackupStorage with all optional services.
type BackupStorageClient interface {
	BackupStorage
	ImageUploader
}

// NewHypervisorClient calls a hypervisor plugin over conn, which must have
// been made with DialOptions. So do the other New…Client functions.
func NewHypervisorClient(conn grpc.ClientConnInterface) HypervisorClient {
	return &hypervisorClient{pluginv1.NewHypervisorServiceClient(conn)}
}

// NewPrimaryStorageClient calls a primary storage plugin over conn.
func NewPrimaryStorageClient(conn grpc.ClientConnInterface) PrimaryStorageClient {
	return &primaryStorageClient{pluginv1.NewPrimaryStorageServiceClient(conn)}
}

// NewBackupStorageClient calls a backup storage plugin over conn.
func NewBackupStorageClient(conn grpc.ClientConnInterface) BackupStorageClient {
	return &backupStorageClient{pluginv1.NewBackupStorageServiceClient(conn)}
}

// NewL2NetworkClient calls an L2 network plugin over conn.
func NewL2NetworkClient(conn grpc.ClientConnInterface) L2Network {
	return &l2NetworkClient{pluginv1.NewL2NetworkServiceClient(conn)}
}

// NewNetworkServiceClient calls a network service plugin over conn.
func NewNetworkServiceClient(conn grpc.ClientConnInterface) NetworkService {
	return &networkServiceClient{pluginv1.NewNetworkServiceServiceClient(conn)}
}

// NewResourceProviderClient calls the provider of a plugin's own resource types
// over conn.
func NewResourceProviderClient(conn grpc.ClientConnInterface) ResourceProvider {
	return &resourceProviderClient{pluginv1.NewResourceProviderServiceClient(conn)}
}

// NewInventorySyncClient calls a plugin that tells what there is outside, over conn.
func NewInventorySyncClient(conn grpc.ClientConnInterface) InventorySync {
	return &inventorySyncClient{pluginv1.NewInventorySyncServiceClient(conn)}
}

// NewHybridCloudClient calls a plugin that knows prices over conn.
func NewHybridCloudClient(conn grpc.ClientConnInterface) HybridCloud {
	return &hybridCloudClient{pluginv1.NewHybridCloudServiceClient(conn)}
}

// each calls emit for every message of a server's stream. The context of the
// stream must be cancelled by the caller afterwards, which ends the call when
// emit refused a message.
func each[T any](in grpc.ServerStreamingClient[T], emit func(*T) error) error {
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := emit(m); err != nil {
			return err
		}
	}
}

type hypervisorClient struct {
	rpc pluginv1.HypervisorServiceClient
}

func (c *hypervisorClient) WatchHost(ctx context.Context, req *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := c.rpc.WatchHost(ctx, req)
	if err != nil {
		return err
	}
	return each(in, func(m *pluginv1.WatchHostResponse) error { return emit(m.Vm) })
}

func (c *hypervisorClient) CallAgent(ctx context.Context, req *pluginv1.CallAgentRequest, emit func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := c.rpc.CallAgent(ctx, req)
	if err != nil {
		return err
	}
	return each(in, func(m *pluginv1.CallAgentResponse) error { return emit(m.Payload) })
}

func (c *hypervisorClient) MigrateVM(ctx context.Context, req *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error) {
	return c.rpc.MigrateVM(ctx, req)
}

func (c *hypervisorClient) EndMigration(ctx context.Context, req *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error) {
	return c.rpc.EndMigration(ctx, req)
}

func (c *hypervisorClient) ConnectHost(ctx context.Context, req *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	return c.rpc.ConnectHost(ctx, req)
}

func (c *hypervisorClient) CheckHost(ctx context.Context, req *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	return c.rpc.CheckHost(ctx, req)
}

func (c *hypervisorClient) DisconnectHost(ctx context.Context, req *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	return c.rpc.DisconnectHost(ctx, req)
}

func (c *hypervisorClient) StartVM(ctx context.Context, req *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	return c.rpc.StartVM(ctx, req)
}

func (c *hypervisorClient) StopVM(ctx context.Context, req *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error) {
	return c.rpc.StopVM(ctx, req)
}

func (c *hypervisorClient) RebootVM(ctx context.Context, req *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error) {
	return c.rpc.RebootVM(ctx, req)
}

func (c *hypervisorClient) DestroyVM(ctx context.Context, req *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error) {
	return c.rpc.DestroyVM(ctx, req)
}

func (c *hypervisorClient) ListVMs(ctx context.Context, req *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	return c.rpc.ListVMs(ctx, req)
}

func (c *hypervisorClient) PauseVM(ctx context.Context, req *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	return c.rpc.PauseVM(ctx, req)
}

func (c *hypervisorClient) ResumeVM(ctx context.Context, req *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	return c.rpc.ResumeVM(ctx, req)
}

func (c *hypervisorClient) AttachNIC(ctx context.Context, req *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error) {
	return c.rpc.AttachNIC(ctx, req)
}

func (c *hypervisorClient) DetachNIC(ctx context.Context, req *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error) {
	return c.rpc.DetachNIC(ctx, req)
}

func (c *hypervisorClient) Console(ctx context.Context, req *pluginv1.ConsoleRequest) (*pluginv1.ConsoleResponse, error) {
	return c.rpc.Console(ctx, req)
}

type primaryStorageClient struct {
	rpc pluginv1.PrimaryStorageServiceClient
}

func (c *primaryStorageClient) ConnectStorage(ctx context.Context, req *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	return c.rpc.ConnectStorage(ctx, req)
}

func (c *primaryStorageClient) AttachHost(ctx context.Context, req *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	return c.rpc.AttachHost(ctx, req)
}

func (c *primaryStorageClient) DetachHost(ctx context.Context, req *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	return c.rpc.DetachHost(ctx, req)
}

func (c *primaryStorageClient) StorageCapacity(ctx context.Context, req *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	return c.rpc.StorageCapacity(ctx, req)
}

func (c *primaryStorageClient) EnsureImage(ctx context.Context, req *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	return c.rpc.EnsureImage(ctx, req)
}

func (c *primaryStorageClient) DeleteCachedImage(ctx context.Context, req *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	return c.rpc.DeleteCachedImage(ctx, req)
}

func (c *primaryStorageClient) CreateVolume(ctx context.Context, req *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	return c.rpc.CreateVolume(ctx, req)
}

func (c *primaryStorageClient) DeleteVolume(ctx context.Context, req *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	return c.rpc.DeleteVolume(ctx, req)
}

func (c *primaryStorageClient) ResizeVolume(ctx context.Context, req *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error) {
	return c.rpc.ResizeVolume(ctx, req)
}

func (c *primaryStorageClient) ListVolumes(ctx context.Context, req *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error) {
	return c.rpc.ListVolumes(ctx, req)
}

type backupStorageClient struct {
	rpc pluginv1.BackupStorageServiceClient
}

func (c *backupStorageClient) ConnectStore(ctx context.Context, req *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error) {
	return c.rpc.ConnectStore(ctx, req)
}

func (c *backupStorageClient) StoreCapacity(ctx context.Context, req *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	return c.rpc.StoreCapacity(ctx, req)
}

func (c *backupStorageClient) AddImage(ctx context.Context, req *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error) {
	return c.rpc.AddImage(ctx, req)
}

func (c *backupStorageClient) DeleteImage(ctx context.Context, req *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error) {
	return c.rpc.DeleteImage(ctx, req)
}

func (c *backupStorageClient) ExportImage(ctx context.Context, req *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error) {
	return c.rpc.ExportImage(ctx, req)
}

func (c *backupStorageClient) BeginUpload(ctx context.Context, req *pluginv1.BeginUploadRequest) (*pluginv1.BeginUploadResponse, error) {
	return c.rpc.BeginUpload(ctx, req)
}

type l2NetworkClient struct {
	rpc pluginv1.L2NetworkServiceClient
}

func (c *l2NetworkClient) Realize(ctx context.Context, req *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	return c.rpc.Realize(ctx, req)
}

func (c *l2NetworkClient) Unrealize(ctx context.Context, req *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	return c.rpc.Unrealize(ctx, req)
}

type networkServiceClient struct {
	rpc pluginv1.NetworkServiceServiceClient
}

func (c *networkServiceClient) ApplyNetworkState(ctx context.Context, req *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	return c.rpc.ApplyNetworkState(ctx, req)
}

func (c *networkServiceClient) SyncNetworkState(ctx context.Context, req *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	return c.rpc.SyncNetworkState(ctx, req)
}

type resourceProviderClient struct {
	rpc pluginv1.ResourceProviderServiceClient
}

func (c *resourceProviderClient) CreateResource(ctx context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	return c.rpc.CreateResource(ctx, req)
}

func (c *resourceProviderClient) UpdateResource(ctx context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	return c.rpc.UpdateResource(ctx, req)
}

func (c *resourceProviderClient) DeleteResource(ctx context.Context, req *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	return c.rpc.DeleteResource(ctx, req)
}

func (c *resourceProviderClient) ActOnResource(ctx context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	return c.rpc.ActOnResource(ctx, req)
}

type inventorySyncClient struct {
	rpc pluginv1.InventorySyncServiceClient
}

func (c *inventorySyncClient) Sync(ctx context.Context, req *pluginv1.SyncRequest, emit func(*pluginv1.Page) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := c.rpc.Sync(ctx, req)
	if err != nil {
		return err
	}
	return each(in, func(m *pluginv1.SyncResponse) error { return emit(m.GetPage()) })
}

type hybridCloudClient struct {
	rpc pluginv1.HybridCloudServiceClient
}

func (c *hybridCloudClient) Price(ctx context.Context, req *pluginv1.PriceRequest) (*pluginv1.PriceResponse, error) {
	return c.rpc.Price(ctx, req)
}
