package kerneltest

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// DefaultSpace is what a storage has in all, free but for its images: 1 TiB.
// ImageBytes is what an image takes in a store or a cache.
const (
	DefaultSpace = 1 << 40
	ImageBytes   = 1 << 20
)

// place is a storage, or the part of one host.
type place struct{ storage, host string }

// Space sets what a storage has in all and free, in bytes; host is "" but for
// a storage of the local type, which has so much on that host.
func (f *Fake) Space(storage, host string, total, free int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space[place{storage, host}] = &pluginv1.Capacity{TotalBytes: total, AvailableBytes: free}
}

func (f *Fake) capacity(st *pluginv1.Storage, h *pluginv1.Host) *pluginv1.Capacity {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := place{storage: st.GetUuid()}
	if st.GetType() == FakeLocalType {
		at.host = h.GetUuid()
	}
	if c := f.space[at]; c != nil {
		return c
	}
	return &pluginv1.Capacity{TotalBytes: DefaultSpace, AvailableBytes: DefaultSpace - ImageBytes*int64(len(f.images[st.GetUuid()]))}
}

type primary struct{ *Fake }

func (p primary) ConnectStorage(_ context.Context, r *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	return &pluginv1.ConnectStorageResponse{Capacity: p.capacity(r.GetStorage(), nil)}, nil
}

func (p primary) AttachHost(_ context.Context, r *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	return &pluginv1.AttachHostResponse{Capacity: p.capacity(r.GetStorage(), r.GetHost())}, nil
}

func (primary) DetachHost(context.Context, *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	return &pluginv1.DetachHostResponse{}, nil
}

func (p primary) StorageCapacity(_ context.Context, r *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	return &pluginv1.StorageCapacityResponse{Capacity: p.capacity(r.GetStorage(), r.GetHost())}, nil
}

func (primary) EnsureImage(_ context.Context, r *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	return &pluginv1.EnsureImageResponse{InstallPath: "/cache/" + r.GetImageUuid(), ActualBytes: 1 << 20, VirtualBytes: 1 << 30}, nil
}

func (primary) DeleteCachedImage(context.Context, *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	return &pluginv1.DeleteCachedImageResponse{}, nil
}

func (p primary) CreateVolume(_ context.Context, r *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.volumes[volumeAt(r.GetStorage(), r.GetHost(), r.GetVolumeUuid())] = true
	return &pluginv1.CreateVolumeResponse{InstallPath: "/volumes/" + r.GetVolumeUuid(), SizeBytes: r.GetSizeBytes(), ActualBytes: 1 << 20, Format: "raw"}, nil
}

func (p primary) DeleteVolume(_ context.Context, r *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.volumes, volumeAt(r.GetStorage(), r.GetHost(), r.GetVolumeUuid()))
	return &pluginv1.DeleteVolumeResponse{}, nil
}

// volumeAt names a volume: one that its host keeps may be on several.
func volumeAt(st *pluginv1.Storage, h *pluginv1.Host, uuid string) string {
	if st.GetType() == FakeLocalType {
		return h.GetUuid() + "/" + uuid
	}
	return uuid
}

type backup struct{ *Fake }

func (b backup) ConnectStore(_ context.Context, r *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error) {
	return &pluginv1.ConnectStoreResponse{Capacity: b.capacity(r.GetStore(), nil)}, nil
}

func (b backup) StoreCapacity(_ context.Context, r *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	return &pluginv1.StoreCapacityResponse{Capacity: b.capacity(r.GetStore(), nil)}, nil
}

// Endless is the path of a source that never ends.
const Endless = "/endless"

func (b backup) AddImage(ctx context.Context, r *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error) {
	if strings.HasSuffix(r.GetUrl(), Endless) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if strings.HasPrefix(r.GetUrl(), "upload://") {
		select {
		case <-b.upload(r.GetImageUuid()):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.images[r.GetStore().GetUuid()] == nil {
		b.images[r.GetStore().GetUuid()] = map[string]bool{}
	}
	b.images[r.GetStore().GetUuid()][r.GetImageUuid()] = true
	return &pluginv1.AddImageResponse{InstallPath: "/images/" + r.GetImageUuid(), SizeBytes: 1 << 30, ActualBytes: ImageBytes, Format: r.GetFormat()}, nil
}

// BeginUpload names an address to which nobody sends anything: Uploaded does it.
func (backup) BeginUpload(_ context.Context, r *pluginv1.BeginUploadRequest) (*pluginv1.BeginUploadResponse, error) {
	return &pluginv1.BeginUploadResponse{Url: "http://127.0.0.1/upload/" + r.GetImageUuid()}, nil
}

// Uploaded ends the upload of an image, in all stores: its bytes have come.
func (f *Fake) Uploaded(image string) { close(f.upload(image)) }

// upload is closed when an image's bytes have come.
func (f *Fake) upload(image string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.uploads[image] == nil {
		f.uploads[image] = make(chan struct{})
	}
	return f.uploads[image]
}

func (b backup) DeleteImage(_ context.Context, r *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.images[r.GetStore().GetUuid()], r.GetImageUuid())
	return &pluginv1.DeleteImageResponse{}, nil
}

func (backup) ExportImage(_ context.Context, r *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error) {
	return &pluginv1.ExportImageResponse{Source: &pluginv1.ImageSource{Url: "http://127.0.0.1/" + r.GetImageUuid(), SizeBytes: 1 << 20, Format: "raw"}}, nil
}

type l2 struct{}

func (l2) Realize(context.Context, *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	return &pluginv1.RealizeResponse{Bridge: "br_fake"}, nil
}

func (l2) Unrealize(context.Context, *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	return &pluginv1.UnrealizeResponse{}, nil
}

var (
	_ pluginsdk.Hypervisor     = hypervisor{}
	_ pluginsdk.VMPauser       = hypervisor{}
	_ pluginsdk.PrimaryStorage = primary{}
	_ pluginsdk.BackupStorage  = backup{}
	_ pluginsdk.ImageUploader  = backup{}
	_ pluginsdk.L2Network      = l2{}
	_ pluginsdk.NetworkService = (*services)(nil)
)
