package main

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// volumeFormat is the only one: volumes are overlays on cached images.
const volumeFormat = "qcow2"

// driver keeps nothing that a restart would lose: each call brings the storage
// and the host, and every name on the host follows from a UUID:
//
//	<url of the storage>/volumes/<volume UUID>.qcow2
//	<url of the storage>/images/<image UUID>.qcow2
type driver struct {
	core pluginsdk.Core
	imageLocks
}

// What the driver can do: the required calls, and two optional ones.
var (
	_ pluginsdk.PrimaryStorage = (*driver)(nil)
	_ pluginsdk.VolumeResizer  = (*driver)(nil)
	_ pluginsdk.VolumeLister   = (*driver)(nil)
)

// place is the storage's folder on one host.
type place struct {
	agent hostv1.HostAgentServiceClient
	root  string
}

func (p place) volumes() string           { return path.Join(p.root, "volumes") }
func (p place) volume(uuid string) string { return path.Join(p.volumes(), uuid+"."+volumeFormat) }
func (p place) images() string            { return path.Join(p.root, "images") }
func (p place) image(uuid string) string  { return path.Join(p.images(), uuid+"."+volumeFormat) }

// at checks what every call on a host brings.
func (d *driver) at(st *pluginv1.Storage, host *pluginv1.Host) (place, error) {
	if err := pluginsdk.CheckFolder("storage "+st.GetUuid(), st.GetUrl()); err != nil {
		return place{}, err
	}
	if err := pluginsdk.CheckUUID("host", host.GetUuid()); err != nil {
		return place{}, err
	}
	return place{d.core.Host(host.Uuid), st.Url}, nil
}

// atVolume is at for calls about one volume. installPath is empty when the
// answer to the create was never seen.
func (d *driver) atVolume(st *pluginv1.Storage, host *pluginv1.Host, uuid, installPath string) (place, error) {
	p, err := d.at(st, host)
	if err != nil {
		return p, err
	}
	if err := pluginsdk.CheckUUID("volume", uuid); err != nil {
		return p, err
	}
	if installPath != "" && installPath != p.volume(uuid) {
		return p, errs.New(errs.Invalid, "volume "+uuid, "it is not kept at %q", installPath)
	}
	return p, nil
}

// ConnectStorage checks the folder's path. What is there differs by host.
func (d *driver) ConnectStorage(_ context.Context, r *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	err := pluginsdk.CheckFolder("storage "+r.Storage.GetUuid(), r.Storage.GetUrl())
	return &pluginv1.ConnectStorageResponse{}, err
}

// AttachHost makes the folders.
func (d *driver) AttachHost(ctx context.Context, r *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	p, err := d.at(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{p.volumes(), p.images()} {
		if _, err := p.agent.EnsureFolder(ctx, &hostv1.EnsureFolderRequest{Path: folder, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	c, err := p.capacity(ctx)
	return &pluginv1.AttachHostResponse{Capacity: c}, err
}

// DetachHost has nothing to undo: the folders stay, with the volumes.
func (d *driver) DetachHost(_ context.Context, r *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	_, err := d.at(r.Storage, r.Host)
	return &pluginv1.DetachHostResponse{}, err
}

// StorageCapacity is that of the file system with the folder.
func (d *driver) StorageCapacity(ctx context.Context, r *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	p, err := d.at(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	c, err := p.capacity(ctx)
	return &pluginv1.StorageCapacityResponse{Capacity: c}, err
}

func (p place) capacity(ctx context.Context) (*pluginv1.Capacity, error) {
	c, err := p.agent.FolderCapacity(ctx, &hostv1.FolderCapacityRequest{Path: p.root})
	if err != nil {
		return nil, err
	}
	return &pluginv1.Capacity{TotalBytes: c.TotalBytes, AvailableBytes: c.AvailableBytes}, nil
}

// CreateVolume makes a blank disk, or an overlay on a cached image. The agent
// leaves a disk alone that is already there as asked for.
func (d *driver) CreateVolume(ctx context.Context, r *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	p, err := d.atVolume(r.Storage, r.Host, r.VolumeUuid, "")
	if err != nil {
		return nil, err
	}
	object := "volume " + r.VolumeUuid
	if r.SizeBytes <= 0 {
		return nil, errs.New(errs.Invalid, object, "a size of %d bytes makes no disk", r.SizeBytes)
	}
	if r.Format != "" && r.Format != volumeFormat {
		return nil, errs.New(errs.Invalid, object, "format %q is not %s, the only one here", r.Format, volumeFormat)
	}
	req := &hostv1.CreateDiskRequest{Path: p.volume(r.VolumeUuid), Format: volumeFormat, SizeBytes: r.SizeBytes, Root: p.root}
	if r.BackingPath != "" {
		if !p.isImage(r.BackingPath) {
			return nil, errs.New(errs.Invalid, object, "%q is no cached image of this storage", r.BackingPath)
		}
		req.BackingPath, req.BackingFormat = r.BackingPath, volumeFormat
	}
	resp, err := p.agent.CreateDisk(ctx, req)
	if err != nil {
		return nil, err
	}
	return &pluginv1.CreateVolumeResponse{
		InstallPath: req.Path, SizeBytes: resp.Disk.VirtualBytes, ActualBytes: resp.Disk.ActualBytes, Format: volumeFormat,
	}, nil
}

// DeleteVolume removes the disk; gone is a success.
func (d *driver) DeleteVolume(ctx context.Context, r *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	p, err := d.atVolume(r.Storage, r.Host, r.VolumeUuid, r.InstallPath)
	if err != nil {
		return nil, err
	}
	_, err = p.agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: p.volume(r.VolumeUuid), Root: p.root})
	return &pluginv1.DeleteVolumeResponse{}, err
}

// ResizeVolume grows the disk; one that has the size already is a success.
func (d *driver) ResizeVolume(ctx context.Context, r *pluginv1.ResizeVolumeRequest) (*pluginv1.ResizeVolumeResponse, error) {
	p, err := d.atVolume(r.Storage, r.Host, r.VolumeUuid, r.InstallPath)
	if err != nil {
		return nil, err
	}
	file := p.volume(r.VolumeUuid)
	now, err := p.agent.StatDisk(ctx, &hostv1.StatDiskRequest{Path: file, Root: p.root})
	if err != nil {
		return nil, err
	}
	switch size := now.Disk.VirtualBytes; {
	case r.SizeBytes == size:
		return &pluginv1.ResizeVolumeResponse{SizeBytes: size}, nil
	case r.SizeBytes < size:
		return nil, errs.New(errs.Invalid, "volume "+r.VolumeUuid, "it has %d bytes and cannot shrink to %d", size, r.SizeBytes)
	}
	resp, err := p.agent.ResizeDisk(ctx, &hostv1.ResizeDiskRequest{Path: file, SizeBytes: r.SizeBytes, Root: p.root})
	if err != nil {
		return nil, err
	}
	return &pluginv1.ResizeVolumeResponse{SizeBytes: resp.Disk.VirtualBytes}, nil
}

// ListVolumes names the volumes by the files that are there.
func (d *driver) ListVolumes(ctx context.Context, r *pluginv1.ListVolumesRequest) (*pluginv1.ListVolumesResponse, error) {
	p, err := d.at(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	resp := &pluginv1.ListVolumesResponse{}
	files, err := p.agent.ListFolder(ctx, &hostv1.ListFolderRequest{Path: p.volumes()})
	if errors.Is(err, errs.NotFound) {
		return resp, nil // the host was never attached
	}
	if err != nil {
		return nil, err
	}
	for _, name := range files.Names {
		if uuid, ok := strings.CutSuffix(name, "."+volumeFormat); ok && pluginsdk.CheckUUID("volume", uuid) == nil {
			resp.VolumeUuids = append(resp.VolumeUuids, uuid)
		}
	}
	return resp, nil
}
