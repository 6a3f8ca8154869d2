package main

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// isImage reports whether file is where an image of this storage is cached, so
// that no volume can be put on another file of the host.
func (p place) isImage(file string) bool {
	uuid := strings.TrimSuffix(path.Base(file), "."+volumeFormat)
	return pluginsdk.CheckUUID("image", uuid) == nil && file == p.image(uuid)
}

// EnsureImage downloads an image to the host, unless it is there.
func (d *driver) EnsureImage(ctx context.Context, r *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	p, err := d.at(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	if err := pluginsdk.CheckUUID("image", r.ImageUuid); err != nil {
		return nil, err
	}
	unlock, err := d.lock(ctx, r.Host.Uuid+p.image(r.ImageUuid))
	if err != nil {
		return nil, err
	}
	defer unlock()
	disk, err := p.cached(ctx, r.ImageUuid)
	if errors.Is(err, errs.NotFound) {
		disk, err = d.fetch(ctx, p, r)
	}
	if err != nil {
		return nil, err
	}
	return &pluginv1.EnsureImageResponse{
		InstallPath: p.image(r.ImageUuid), ActualBytes: disk.ActualBytes, VirtualBytes: disk.VirtualBytes,
	}, nil
}

func (p place) cached(ctx context.Context, uuid string) (*hostv1.DiskInfo, error) {
	resp, err := p.agent.StatDisk(ctx, &hostv1.StatDiskRequest{Path: p.image(uuid), Root: p.root})
	if err != nil {
		return nil, err
	}
	return resp.Disk, nil
}

// fetch lets the host download the image; the agent checks size and MD5 before
// the file gets its name.
func (d *driver) fetch(ctx context.Context, p place, r *pluginv1.EnsureImageRequest) (*hostv1.DiskInfo, error) {
	object := "image " + r.ImageUuid
	if r.Source.GetUrl() == "" {
		return nil, errs.New(errs.Invalid, object, "the call names no source to read it from")
	}
	if f := r.Source.Format; f != "" && f != volumeFormat {
		return nil, errs.New(errs.Invalid, object, "format %q is not %s, the only one here", f, volumeFormat)
	}
	in, err := p.agent.FetchFile(ctx, &hostv1.FetchFileRequest{
		Url: r.Source.Url, Headers: r.Source.Headers, Md5: r.Source.Md5, SizeBytes: r.Source.SizeBytes,
		Path: p.image(r.ImageUuid), Root: p.root,
	})
	if err != nil {
		return nil, err
	}
	for {
		m, err := in.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil, errs.New(errs.Internal, object, "the host ended the download without a result")
		case err != nil:
			return nil, err
		case m.Done && m.Disk.GetBackingPath() != "":
			// Its guests could read any file of the host that the image names.
			_, err := p.agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: p.image(r.ImageUuid), Root: p.root})
			return nil, errors.Join(errs.New(errs.Invalid, object, "it is based on another file"), err)
		case m.Done:
			return m.Disk, nil
		case r.Source.SizeBytes > 0:
			d.core.Progress(ctx, int(m.Bytes*100/r.Source.SizeBytes), "image is being downloaded")
		}
	}
}

// DeleteCachedImage removes an image from the cache; gone is a success. The
// core asks for it only when no volume is based on it.
func (d *driver) DeleteCachedImage(ctx context.Context, r *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	p, err := d.at(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	if err := pluginsdk.CheckUUID("image", r.ImageUuid); err != nil {
		return nil, err
	}
	_, err = p.agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: p.image(r.ImageUuid), Root: p.root})
	return &pluginv1.DeleteCachedImageResponse{}, err
}

// imageLocks lets one call at a time fetch an image; the others find it there.
// The zero value is ready for use.
type imageLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func (l *imageLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		busy, ok := l.held[key]
		if !ok {
			mine := make(chan struct{})
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			l.held[key] = mine
			l.mu.Unlock()
			return func() { l.unlock(key, mine) }, nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *imageLocks) unlock(key string, mine chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, key)
	close(mine)
}
