package main

import (
	"context"
	"errors"
	"io"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// EnsureImage downloads an image into the host's cache unless it is there; the
// agent checks it before it gets its name. Calls for one image and host share a
// download, whose progress goes to the operation that began it.
func (s *storage) EnsureImage(ctx context.Context, r *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	p, err := s.place(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	file, err := p.image(r.ImageUuid, r.Source.GetFormat())
	if err != nil {
		return nil, err
	}
	if r.Source.GetUrl() == "" {
		return nil, errs.New(errs.Invalid, "image "+r.ImageUuid, "no source to read it from")
	}
	for {
		var mine bool
		done := s.fetches.DoChan(p.host+" "+file, func() (any, error) {
			mine = true
			return s.ensureImage(ctx, p, r, file)
		})
		select {
		case <-ctx.Done():
			return nil, p.failed("image "+r.ImageUuid, "wait for its download", ctx.Err())
		case got := <-done:
			if got.Err == nil {
				return got.Val.(*pluginv1.EnsureImageResponse), nil
			}
			// That another operation was cancelled or late is no reason to fail.
			if class := errs.ClassOf(got.Err); !mine && (class == errs.Cancelled || class == errs.Timeout) {
				continue
			}
			return nil, got.Err
		}
	}
}

func (s *storage) ensureImage(ctx context.Context, p place, r *pluginv1.EnsureImageRequest, file string) (*pluginv1.EnsureImageResponse, error) {
	object := "image " + r.ImageUuid
	stat, err := p.agent.StatDisk(ctx, &hostv1.StatDiskRequest{Path: file, Root: p.root})
	disk := stat.GetDisk()
	if errs.ClassOf(err) == errs.NotFound {
		disk, err = s.fetch(ctx, p, r.Source, file)
	}
	if err != nil {
		return nil, p.failed(object, "put it in the cache "+file, err)
	}
	if disk.GetBackingPath() != "" {
		if err := p.remove(ctx, object, file); err != nil {
			return nil, err
		}
		return nil, errs.New(errs.Invalid, object, "it is based on another file, %q, which its guests could read", disk.BackingPath).
			WithAdvice("flatten the image with qemu-img convert and add it again")
	}
	return &pluginv1.EnsureImageResponse{
		InstallPath: file, ActualBytes: disk.GetActualBytes(), VirtualBytes: disk.GetVirtualBytes(),
	}, nil
}

// fetch lets the host download the source and passes its progress on.
func (s *storage) fetch(ctx context.Context, p place, src *pluginv1.ImageSource, file string) (*hostv1.DiskInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream when a message could not be used
	in, err := p.agent.FetchFile(ctx, &hostv1.FetchFileRequest{
		Url: src.Url, Headers: src.Headers, Path: file, Md5: src.Md5, SizeBytes: src.SizeBytes, Root: p.root,
	})
	if err != nil {
		return nil, err
	}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil, errs.New(errs.Unavailable, "", "the host's answer ended before the download did")
		}
		if err != nil {
			return nil, err
		}
		if m.Done {
			return m.Disk, nil
		}
		if src.SizeBytes > 0 { // the agent sends two messages a second at most
			s.core.Progress(ctx, int(min(100*m.Bytes/src.SizeBytes, 100)), "downloading the image to the host")
		}
	}
}

// DeleteCachedImage removes an image, in any format when its path is not known.
func (s *storage) DeleteCachedImage(ctx context.Context, r *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	p, err := s.place(r.Storage, r.Host)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, format := range imageFormats {
		file, err := p.image(r.ImageUuid, format)
		if err != nil {
			return nil, err
		}
		if r.InstallPath == "" || r.InstallPath == file {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, errs.New(errs.Invalid, "image "+r.ImageUuid, "install path %q is not where this storage caches it", r.InstallPath)
	}
	for _, file := range files {
		if err := p.remove(ctx, "image "+r.ImageUuid, file); err != nil {
			return nil, err
		}
	}
	return &pluginv1.DeleteCachedImageResponse{}, nil
}
