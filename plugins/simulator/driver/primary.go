package driver

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type primary struct{ *simulator }

var (
	_ pluginsdk.PrimaryStorage = primary{}
	_ pluginsdk.VolumeResizer  = primary{}
	_ pluginsdk.VolumeLister   = primary{}
)

// connect takes over the storage's sizes, which each call carries: only the
// physical ones are the storage's own, the core keeps account of the others.
func (p primary) connect(w *world.Live, s *pluginv1.Storage) (*pluginv1.Capacity, error) {
	total, err := bytesOf(s.GetFields(), "primary storage "+s.GetUuid(), "totalPhysicalCapacity", 10000000)
	if err != nil {
		return nil, err
	}
	free, err := bytesOf(s.GetFields(), "primary storage "+s.GetUuid(), "availablePhysicalCapacity", 10000000)
	if err != nil {
		return nil, err
	}
	return capacity(w.ConnectStorage(world.Storage{UUID: s.GetUuid(), Total: total, Free: free}))
}

func capacity(c world.Capacity, err error) (*pluginv1.Capacity, error) {
	return &pluginv1.Capacity{TotalBytes: c.Total, AvailableBytes: max(c.Available, 0)}, err
}

func (p primary) ConnectStorage(ctx context.Context, req *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	return run(ctx, p.simulator, "ConnectStorage", func(w *world.Live) (*pluginv1.ConnectStorageResponse, error) {
		c, err := p.connect(w, req.GetStorage())
		return &pluginv1.ConnectStorageResponse{Capacity: c}, err
	}, req.GetStorage().GetUuid())
}

func (p primary) AttachHost(ctx context.Context, req *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	storage, host := req.GetStorage().GetUuid(), req.GetHost().GetUuid()
	return run(ctx, p.simulator, "AttachHost", func(w *world.Live) (*pluginv1.AttachHostResponse, error) {
		if _, err := p.connect(w, req.GetStorage()); err != nil {
			return nil, err
		}
		c, err := capacity(w.AttachHost(storage, host))
		return &pluginv1.AttachHostResponse{Capacity: c}, err
	}, storage, host)
}

func (p primary) DetachHost(ctx context.Context, req *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	storage, host := req.GetStorage().GetUuid(), req.GetHost().GetUuid()
	return run(ctx, p.simulator, "DetachHost", func(w *world.Live) (*pluginv1.DetachHostResponse, error) {
		return &pluginv1.DetachHostResponse{}, w.DetachHost(storage, host)
	}, storage, host)
}

func (p primary) StorageCapacity(ctx context.Context, req *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	storage := req.GetStorage().GetUuid()
	return run(ctx, p.simulator, "StorageCapacity", func(w *world.Live) (*pluginv1.StorageCapacityResponse, error) {
		c, err := capacity(w.StorageCapacity(storage))
		return &pluginv1.StorageCapacityResponse{Capacity: c}, err
	}, storage)
}

func (p primary) EnsureImage(ctx context.Context, req *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	storage, host, image := req.GetStorage().GetUuid(), req.GetHost().GetUuid(), req.GetImageUuid()
	return run(ctx, p.simulator, "EnsureImage", func(w *world.Live) (*pluginv1.EnsureImageResponse, error) {
		i, err := fetch(w, image, req.GetSource())
		if err != nil {
			return nil, err
		}
		c, err := w.EnsureImage(host, world.CachedImage{
			Image: image, Storage: storage, Format: i.Format, Actual: i.Actual, Virtual: i.Virtual,
		})
		if err != nil {
			return nil, err
		}
		return &pluginv1.EnsureImageResponse{
			InstallPath: world.CachePath(storage, image), ActualBytes: c.Actual, VirtualBytes: c.Virtual,
		}, nil
	}, storage, host, image)
}

// fetch follows a source that ExportImage made. Simulated hosts have no
// network, so there is nothing else that they could read.
func fetch(w *world.Live, image string, src *pluginv1.ImageSource) (*world.Image, error) {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "image "+image, format, args...).
			WithAdvice("keep images for simulated hosts on a %s", backupType)
	}
	u, err := url.Parse(src.GetUrl())
	if err != nil {
		return nil, bad("its source is no URL")
	}
	expires, err := strconv.ParseInt(u.Query().Get(expiresParameter), 10, 64)
	u.RawQuery = ""
	store, uuid, ok := world.ParseImagePath(u.String())
	if !ok || err != nil {
		return nil, bad("its source is not on a simulated backup storage")
	}
	if uuid != image {
		return nil, bad("its source is image %s", uuid)
	}
	if time.Now().Unix() > expires {
		return nil, bad("its source has expired")
	}
	i, err := w.Image(store, uuid)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "image "+image, err, "its source is gone")
	}
	if md5 := src.GetMd5(); md5 != "" && md5 != i.MD5 {
		return nil, bad("its MD5 is %s, not %s", i.MD5, md5)
	}
	return i, nil
}

func (p primary) DeleteCachedImage(ctx context.Context, req *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	storage, image := req.GetStorage().GetUuid(), req.GetImageUuid()
	return run(ctx, p.simulator, "DeleteCachedImage", func(w *world.Live) (*pluginv1.DeleteCachedImageResponse, error) {
		if err := samePath("image "+image, req.GetInstallPath(), world.CachePath(storage, image)); err != nil {
			return nil, err
		}
		return &pluginv1.DeleteCachedImageResponse{}, w.DeleteCachedImage(storage, image)
	}, storage, image)
}

// samePath refuses an install path that is not the object's; an empty one is
// not known to the caller.
func samePath(object, given, want string) error {
	if given != "" && given != want {
		return errs.New(errs.Invalid, object, "its install path is %q, not %q", want, given)
	}
	return nil
}

func (p primary) CreateVolume(ctx context.Context, req *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	storage, host, volume := req.GetStorage().GetUuid(), req.GetHost().GetUuid(), req.GetVolumeUuid()
	return run(ctx, p.simulator, "CreateVolume", func(w *world.Live) (*pluginv1.CreateVolumeResponse, error) {
		switch req.GetFormat() {
		case "", "qcow2", "raw":
		default:
			return nil, errs.New(errs.Invalid, "volume "+volume, "its format %q is neither qcow2 nor raw", req.GetFormat())
		}
		v, err := w.CreateVolume(host, world.Volume{
			UUID: volume, Storage: storage, Size: req.GetSizeBytes(), Format: req.GetFormat(), Backing: req.GetBackingPath(),
		})
		if err != nil {
			return nil, err
		}
		return &pluginv1.CreateVolumeResponse{
			InstallPath: world.VolumePath(storage, volume), SizeBytes: v.Size, ActualBytes: v.Size, Format: v.Format,
		}, nil
	}, storage, host, volume)
}

func (p primary) DeleteVolume(ctx context.Context, req *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	storage, volume := req.GetStorage().GetUuid(), req.GetVolumeUuid()
	return run(ctx, p.simulator, "DeleteVolume", func(w *world.Live) (*pluginv1.DeleteVolumeResponse, error) {
		if err := pluginsdk.CheckUUID("volume", volume); err != nil {
			return nil, err
		}
		if err := samePath("volume "+volume, req.GetInstallPath(), world.VolumePath(storage, volume)); err != nil {
			return nil, err
		}
		return &pluginv1.DeleteVolumeResponse{}, w.DeleteVolume(storage, volume)
	}, storage, volume)
}

func (p primary) ResizeVolume(ctx context.Context, req *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error) {
	storage, host, volume := req.GetStorage().GetUuid(), req.GetHost().GetUuid(), req.GetVolumeUuid()
	return run(ctx, p.simulator, "ResizeVolume", func(w *world.Live) (*pluginv1.ResizeVolumeResponse, error) {
		if err := samePath("volume "+volume, req.GetInstallPath(), world.VolumePath(storage, volume)); err != nil {
			return nil, err
		}
		size, err := w.ResizeVolume(storage, host, volume, req.GetSizeBytes())
		return &pluginv1.ResizeVolumeResponse{SizeBytes: size}, err
	}, storage, volume)
}

func (p primary) ListVolumes(ctx context.Context, req *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error) {
	storage := req.GetStorage().GetUuid()
	return run(ctx, p.simulator, "ListVolumes", func(w *world.Live) (*pluginv1.ListVolumesResponse, error) {
		uuids, err := w.Volumes(storage)
		return &pluginv1.ListVolumesResponse{VolumeUuids: uuids}, err
	}, storage)
}
