package pluginsdk

import (
	"context"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Hypervisor runs guests on hosts. The core may repeat any call after a crash:
// a repeat succeeds and changes nothing. Calls for different hosts and guests
// come in parallel; calls for one guest come one after another. A plugin keeps
// no state that a restart would lose: each call carries the host with what is
// needed to reach it.
type Hypervisor interface {
	// ConnectHost makes the host ready (agent, libvirt, folders) and tells its
	// facts. Repeated on every reconnect. Errors: Unavailable when it cannot
	// be reached, Invalid for wrong credentials, Refused when it is another's.
	ConnectHost(context.Context, *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error)
	// CheckHost answers within 10 s whether the host can be used now.
	CheckHost(context.Context, *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error)
	// DisconnectHost undoes ConnectHost: stops the agent, forgets the host. It
	// accepts a host that is unreachable or was never connected.
	DisconnectHost(context.Context, *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error)
	// WatchHost calls emit for each change of a guest's state until ctx ends or
	// the host is lost (Unavailable). It first emits the state of every guest. To
	// emit nil says that something of the host itself has changed, which CheckHost or
	// a storage's capacity tells.
	WatchHost(ctx context.Context, req *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error
	// StartVM defines the guest as given and starts it; one that runs already
	// stays as it is.
	StartVM(context.Context, *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error)
	// StopVM stops the guest and keeps nothing running; one that is gone or
	// stopped is a success.
	StopVM(context.Context, *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error)
	// RebootVM stops and starts the guest on its host.
	RebootVM(context.Context, *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error)
	// DestroyVM cuts the power and removes every trace of the guest but its
	// disks; one that is gone is a success.
	DestroyVM(context.Context, *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error)
	// ListVMs tells all guests that the plugin has on the host, or the one that it
	// is asked for.
	ListVMs(context.Context, *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error)
}

// VMPauser is optional ("pause").
type VMPauser interface {
	PauseVM(context.Context, *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error)
	ResumeVM(context.Context, *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error)
}

// VMMigrator is optional ("migrate"): guests move to another host while they run.
type VMMigrator interface {
	// MigrateVM returns when the guest runs on the target and is gone from the source;
	// a repeat after that is a success. After an error it runs on the source still, and
	// the target has nothing of it, or EndMigration is still to see to that. A cancelled
	// call takes the migration back. The progress is told by Core.Progress.
	MigrateVM(context.Context, *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error)
	// EndMigration ends a migration whose outcome is not known, as its call was cut off:
	// it completes one that has brought the guest to the target, and takes any other
	// back. One that never began is a success.
	EndMigration(context.Context, *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error)
}

// VMConsoler is optional ("console"): where a guest's screen can be reached
// from the management node.
type VMConsoler interface {
	Console(context.Context, *pluginv1.ConsoleRequest) (*pluginv1.ConsoleResponse, error)
}

// NICAttacher is optional ("attach-nic"): it plugs network cards into guests that
// run, or are paused, and pulls them out. What StartVM defines next has them anyway.
type NICAttacher interface {
	// AttachNIC plugs a card in; one that the guest has already stays as it is.
	// Errors: Refused for a guest that does not run there, Exhausted when it has no
	// slot free, Invalid for a card that cannot be. A card that was refused is not
	// there.
	AttachNIC(context.Context, *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error)
	// DetachNIC pulls a card out, and returns when the guest has let go of it. What
	// is not there, guest or card, is a success. Errors: Unavailable when the guest
	// does not let go within 30 seconds; it may do so later, and a repeat asks again.
	DetachNIC(context.Context, *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error)
}

// HostGateway is optional ("host-gateway"): it carries one typed operation of
// kumo.host.v1 to the agent on a host. emit gets each response message, still
// marshalled.
type HostGateway interface {
	CallAgent(ctx context.Context, req *pluginv1.CallAgentRequest, emit func(payload []byte) error) error
}

// PrimaryStorage keeps the volumes of guests.
type PrimaryStorage interface {
	// ConnectStorage checks the configuration and touches no host.
	ConnectStorage(context.Context, *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error)
	// AttachHost makes the storage usable on a host, whenever it connects.
	AttachHost(context.Context, *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error)
	// DetachHost undoes AttachHost and keeps the volumes.
	DetachHost(context.Context, *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error)
	// StorageCapacity tells the physical capacity.
	StorageCapacity(context.Context, *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error)
	// EnsureImage puts an image in the cache. Two at once for one image fetch
	// it once.
	EnsureImage(context.Context, *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error)
	// DeleteCachedImage removes an image from the cache; gone is a success.
	DeleteCachedImage(context.Context, *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error)
	// CreateVolume makes a volume, blank or on a cached image.
	CreateVolume(context.Context, *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error)
	// DeleteVolume removes a volume by its UUID; gone is a success.
	DeleteVolume(context.Context, *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error)
}

// VolumeResizer is optional ("resize"); it only grows.
type VolumeResizer interface {
	ResizeVolume(context.Context, *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error)
}

// VolumeLister is optional ("list"); it lets the core find orphans.
type VolumeLister interface {
	ListVolumes(context.Context, *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error)
}

// BackupStorage keeps images.
type BackupStorage interface {
	// ConnectStore checks the configuration and makes the store ready.
	ConnectStore(context.Context, *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error)
	// StoreCapacity tells the physical capacity.
	StoreCapacity(context.Context, *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error)
	// AddImage fetches an image and leaves nothing behind when it fails.
	// Errors: Invalid for a bad URL, a wrong checksum or a format that is not
	// what was said.
	AddImage(context.Context, *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error)
	// DeleteImage removes an image by its UUID; gone is a success.
	DeleteImage(context.Context, *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error)
	// ExportImage gives a source that expires within an hour.
	ExportImage(context.Context, *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error)
}

// ImageUploader is optional ("upload").
type ImageUploader interface {
	BeginUpload(context.Context, *pluginv1.BeginUploadRequest) (*pluginv1.BeginUploadResponse, error)
}

// L2Network makes layer 2 networks exist on hosts.
type L2Network interface {
	// Realize makes the network's bridge on a host.
	Realize(context.Context, *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error)
	// Unrealize removes it; gone is a success. It gets what Realize was told,
	// also when the network is deleted since. Services of the network's L3
	// networks may still be on the host: NetworkService is told to remove them.
	Unrealize(context.Context, *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error)
}

// NetworkService provides DHCP, user data and the like to guests' NICs: it makes a
// target, such as a host, have the rows that the core names. It keeps no state; the
// target does (kumo.host.v1 Apply and Sync take revisions). Calls for one target may
// come in parallel. SplitRows and SplitKeys take what a call has apart.
type NetworkService interface {
	// ApplyNetworkState removes rows of a target and then adds or replaces others, all
	// or none; a NIC comes with its network. A target at neither the base nor the
	// revision is left alone, and the answer says resync. Errors: Invalid naming a row
	// that cannot be.
	ApplyNetworkState(context.Context, *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error)
	// SyncNetworkState makes rows all that the target has of the provider. What of a row
	// is not possible is a problem in the answer, and costs the others nothing; an error
	// is about the target.
	SyncNetworkState(context.Context, *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error)
}

// ResourceProvider is behind the plugin's own resource types (the manifest's
// resource_types). The core keeps the rows: each call carries one with all its
// values, secrets included, so that the plugin needs no state of its own. Calls
// for one resource come one after another. The core may repeat any call after a
// crash: a repeat succeeds and changes nothing.
type ResourceProvider interface {
	// CreateResource makes what the row stands for, or refuses it: the row is then
	// gone again. It leaves nothing behind when it fails.
	CreateResource(context.Context, *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error)
	// UpdateResource makes it as the row will be. It is called again with the row as
	// it was when the change is taken back.
	UpdateResource(context.Context, *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error)
	// DeleteResource removes it; gone, or never made, is a success.
	DeleteResource(context.Context, *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error)
	// ActOnResource carries out an action that the manifest declares.
	ActOnResource(context.Context, *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error)
}

// InventorySync tells what there is outside (the manifest's inventories). The core
// makes the difference to its rows, page by page.
type InventorySync interface {
	// Sync calls emit for each page behind the cursor of the request, parents before
	// what refers to them, and returns nil after the last page. emit waits until the
	// core has taken the page, so that a plugin holds one at a time; its error is to
	// be returned. Sync changes nothing, and may be called again with the cursor of any
	// page that came. Errors: Denied for credentials that are not good; Unavailable,
	// also for a service that asks to slow down, has it called again if it came any
	// further. No error has a secret.
	Sync(ctx context.Context, req *pluginv1.SyncRequest, emit func(*pluginv1.Page) error) error
}

// HybridCloud is for resource types that are priced, whose things are made outside by
// the ResourceProvider.
type HybridCloud interface {
	// Price tells what a new one would cost. It makes nothing. Errors: Invalid for
	// params for which there is no price.
	Price(context.Context, *pluginv1.PriceRequest) (*pluginv1.PriceResponse, error)
}
