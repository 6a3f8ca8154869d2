package main

import (
	"context"
	"strings"

	"golang.org/x/sync/singleflight"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// folderMode lets QEMU, which may run as another user, reach the files.
const folderMode = 0o755

// storage implements the strategy; downloads in progress are all it remembers.
type storage struct {
	core    pluginsdk.Core
	fetches singleflight.Group
}

// place is where a call works: the layout on one host, and its agent.
type place struct {
	layout
	agent hostv1.HostAgentServiceClient
	host  string
}

func (s *storage) place(st *pluginv1.Storage, h *pluginv1.Host) (place, error) {
	l, err := layoutOf(st)
	if err != nil {
		return place{}, err
	}
	if h.GetUuid() == "" {
		return place{}, errs.New(errs.Invalid, "local storage "+st.GetUuid(), "the call names no host, and each host has files of its own")
	}
	return place{l, s.core.Host(h.Uuid), h.Uuid}, nil
}

func (s *storage) volumePlace(st *pluginv1.Storage, h *pluginv1.Host, uuid, remembered string) (p place, file string, err error) {
	if p, err = s.place(st, h); err == nil {
		file, err = p.volume(uuid, remembered)
	}
	return p, file, err
}

// failed keeps the class and the advice of what the host said.
func (p place) failed(object, doing string, err error) error {
	return errs.Wrap(errs.ClassOf(err), object, err, "%s on host %s", doing, p.host)
}

// ConnectStorage checks the url; folders are made when a host is attached.
func (s *storage) ConnectStorage(_ context.Context, r *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	_, err := layoutOf(r.Storage)
	return &pluginv1.ConnectStorageResponse{Capacity: &pluginv1.Capacity{}}, err
}

// AttachHost makes the folders on the host, or finds those that it had before,
// and tells the capacity there. Errors: Invalid for a folder that has other things
// in it, Unavailable for a known one that is not there.
func (s *storage) AttachHost(ctx context.Context, r *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	p, err := s.place(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	if err := p.checkOurs(ctx, r.Storage, r.Known); err != nil {
		return nil, err
	}
	for _, folder := range []string{p.root, p.cache(), p.volumes()} {
		if _, err := p.agent.EnsureFolder(ctx, &hostv1.EnsureFolderRequest{Path: folder, Mode: folderMode}); err != nil {
			return nil, p.failed("local storage "+r.Storage.Uuid, "make folder "+folder, err)
		}
	}
	c, err := s.StorageCapacity(ctx, &pluginv1.StorageCapacityRequest{Storage: r.Storage, Host: r.Host})
	return &pluginv1.AttachHostResponse{Capacity: c.GetCapacity()}, err
}

// checkOurs refuses a folder of the host that has other things in it than a
// storage's: one of its own folders tells that it was a storage's before. Without
// them, a storage that the host had is lost, or its disk is not mounted.
func (p place) checkOurs(ctx context.Context, st *pluginv1.Storage, known bool) error {
	object := "local storage " + st.GetUuid()
	in, err := p.agent.ListFolder(ctx, &hostv1.ListFolderRequest{Path: p.root})
	if err != nil {
		return p.failed(object, "look into folder "+p.root, err)
	}
	other := ""
	for _, name := range in.Names {
		switch p.root + "/" + name {
		case p.cache(), p.volumes():
			return nil
		case p.root + "/lost+found": // a file system of its own
		default:
			other = name
		}
	}
	switch {
	case known:
		return p.missing(object)
	case other == "":
		return nil
	}
	return errs.New(errs.Invalid, object, "folder %s of host %s has other things in it, such as %s", p.root, p.host, other).
		WithAdvice("give an empty folder, or one that does not exist yet")
}

func (p place) missing(object string) error {
	return errs.New(errs.Unavailable, object, "its volumes are not in %s of host %s", p.root, p.host).
		WithAdvice("mount its disk; if the volumes are lost, delete their guests, detach the storage from the cluster and attach it again")
}

// DetachHost leaves the files: the host may come back with its volumes.
func (s *storage) DetachHost(context.Context, *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	return &pluginv1.DetachHostResponse{}, nil
}

// StorageCapacity tells the size of the file system that holds the volumes.
// Errors: Unavailable when they are not there.
func (s *storage) StorageCapacity(ctx context.Context, r *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	p, err := s.place(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	object := "local storage " + r.Storage.Uuid
	c, err := p.agent.FolderCapacity(ctx, &hostv1.FolderCapacityRequest{Path: p.volumes()})
	if errs.ClassOf(err) == errs.NotFound {
		return nil, p.missing(object)
	}
	if err != nil {
		return nil, p.failed(object, "read the capacity of "+p.root, err)
	}
	return &pluginv1.StorageCapacityResponse{
		Capacity: &pluginv1.Capacity{TotalBytes: c.TotalBytes, AvailableBytes: c.AvailableBytes},
	}, nil
}

// CreateVolume makes a blank qcow2, or an overlay on a cached image that is at
// least as large as the image. A repeat finds the volume and changes nothing.
func (s *storage) CreateVolume(ctx context.Context, r *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	p, file, err := s.volumePlace(r.Storage, r.Host, r.VolumeUuid, "")
	if err != nil {
		return nil, err
	}
	object := "volume " + r.VolumeUuid
	if r.Format != "" && r.Format != volumeFormat {
		return nil, errs.New(errs.Invalid, object, "format %q is not %s, the only one of local storage", r.Format, volumeFormat)
	}
	if r.SizeBytes < 0 || (r.SizeBytes == 0 && r.BackingPath == "") {
		return nil, errs.New(errs.Invalid, object, "a size of %d bytes makes no disk", r.SizeBytes)
	}
	disk := &hostv1.CreateDiskRequest{Path: file, Format: volumeFormat, SizeBytes: r.SizeBytes, Root: p.root}
	if r.BackingPath != "" {
		if disk.BackingFormat, err = p.backing(r.VolumeUuid, r.BackingPath); err != nil {
			return nil, err
		}
		image, err := p.agent.StatDisk(ctx, &hostv1.StatDiskRequest{Path: r.BackingPath, Root: p.root})
		if err != nil {
			return nil, p.failed(object, "read cached image "+r.BackingPath, err)
		}
		disk.BackingPath = r.BackingPath
		disk.SizeBytes = max(r.SizeBytes, image.GetDisk().GetVirtualBytes())
	}
	made, err := p.agent.CreateDisk(ctx, disk)
	if err != nil {
		return nil, p.failed(object, "create "+file, err)
	}
	return &pluginv1.CreateVolumeResponse{
		InstallPath: file, SizeBytes: made.GetDisk().GetVirtualBytes(),
		ActualBytes: made.GetDisk().GetActualBytes(), Format: volumeFormat,
	}, nil
}

// DeleteVolume removes the volume's file, whether or not it was ever made.
func (s *storage) DeleteVolume(ctx context.Context, r *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	p, file, err := s.volumePlace(r.Storage, r.Host, r.VolumeUuid, r.InstallPath)
	if err != nil {
		return nil, err
	}
	return &pluginv1.DeleteVolumeResponse{}, p.remove(ctx, "volume "+r.VolumeUuid, file)
}

func (p place) remove(ctx context.Context, object, file string) error {
	_, err := p.agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: file, Root: p.root})
	if err != nil && errs.ClassOf(err) != errs.NotFound {
		return p.failed(object, "delete "+file, err)
	}
	return nil
}

// ResizeVolume grows a volume; the host refuses to shrink one, and one that has
// the size already is left as it is.
func (s *storage) ResizeVolume(ctx context.Context, r *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error) {
	p, file, err := s.volumePlace(r.Storage, r.Host, r.VolumeUuid, r.InstallPath)
	if err != nil {
		return nil, err
	}
	grown, err := p.agent.ResizeDisk(ctx, &hostv1.ResizeDiskRequest{Path: file, SizeBytes: r.SizeBytes, Root: p.root})
	if err != nil {
		return nil, p.failed("volume "+r.VolumeUuid, "resize it", err)
	}
	return &pluginv1.ResizeVolumeResponse{SizeBytes: grown.GetDisk().GetVirtualBytes()}, nil
}

// ListVolumes tells the volumes on the host, without files of other names.
func (s *storage) ListVolumes(ctx context.Context, r *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error) {
	p, err := s.place(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	in, err := p.agent.ListFolder(ctx, &hostv1.ListFolderRequest{Path: p.volumes()})
	if err != nil {
		return nil, p.failed("local storage "+r.Storage.Uuid, "list "+p.volumes(), err)
	}
	out := &pluginv1.ListVolumesResponse{}
	for _, name := range in.Names {
		if uuid, ok := strings.CutSuffix(name, "."+volumeFormat); ok && uuidForm.MatchString(uuid) {
			out.VolumeUuids = append(out.VolumeUuids, uuid)
		}
	}
	return out, nil
}
