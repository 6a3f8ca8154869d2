package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// limits are the times that tests shorten.
type limits struct {
	// idle ends a download or upload that brings no byte (specification of
	// compute and storage, section 5: 30 s).
	idle time.Duration
	// retry is the wait before a download is tried again; it doubles.
	retry time.Duration
	// firstUpload is how long AddImage waits for a person to begin an upload.
	firstUpload time.Duration
	// linkLife is how long a link can be opened; the contract allows an hour.
	linkLife time.Duration
}

var defaultLimits = limits{idle: 30 * time.Second, retry: time.Second, firstUpload: 5 * time.Minute, linkLife: time.Hour}

// store implements the strategy. All that it holds can be lost.
type store struct {
	core    pluginsdk.Core
	log     hclog.Logger
	files   fileFolders
	limits  limits
	busy    locks
	server  *server
	uploads *uploads
}

var _ pluginsdk.ImageUploader = (*store)(nil)

func newStore() *store { return &store{limits: defaultLimits, uploads: newUploads()} }

func (s *store) configure(env pluginsdk.Env) error {
	s.core, s.log = env.Core, env.Log
	var err error
	if s.files, err = parseFileFolders(env.Settings[settingFileFolders], env.DataDir); err != nil {
		return err
	}
	key, err := signingKey(env.DataDir)
	if err != nil {
		return err
	}
	listen := env.Settings[settingListen]
	if listen == "" {
		listen = defaultListen
	}
	s.uploads.patience = 2 * s.limits.idle
	s.server, err = newServer(listen, key, s.uploads, env.Log)
	return err
}

func (s *store) close() error {
	if s.server == nil {
		return nil
	}
	return s.server.close()
}

// ConnectStore makes the folder ready, or finds that of a known store, and sweeps what a crash left in it.
func (s *store) ConnectStore(_ context.Context, r *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error) {
	f, err := folderOf(r.Store)
	if err != nil {
		return nil, err
	}
	if err := checkHostname(f.object, r.Store.Fields["hostname"]); err != nil {
		return nil, err
	}
	if err := f.prepare(r.Known); err != nil {
		return nil, err
	}
	if swept, err := f.sweep(); err != nil {
		s.log.Warn("unfinished images could not be swept", "storage", r.Store.Uuid, "error", err)
	} else if swept > 0 {
		s.log.Info("unfinished images swept", "storage", r.Store.Uuid, "count", swept)
	}
	c, err := f.capacity()
	if err != nil {
		return nil, err
	}
	return &pluginv1.ConnectStoreResponse{Capacity: c}, nil
}

// StoreCapacity tells the size of the file system that holds the folder. Errors:
// Unavailable when the store is not there.
func (s *store) StoreCapacity(_ context.Context, r *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	f, err := folderOf(r.Store)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, err
	}
	c, err := f.capacity()
	if err != nil {
		return nil, err
	}
	return &pluginv1.StoreCapacityResponse{Capacity: c}, nil
}

// DeleteImage removes an image. It waits for an AddImage of the same image
// that has not noticed yet that it was cancelled.
func (s *store) DeleteImage(ctx context.Context, r *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error) {
	f, err := s.folder(r.Store, r.ImageUuid)
	if err != nil {
		return nil, err
	}
	unlock, err := s.busy.lock(ctx, f.image(r.ImageUuid))
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "image "+r.ImageUuid, err, "wait for the end of its download")
	}
	defer unlock()
	if err := f.remove(r.ImageUuid); err != nil {
		return nil, err
	}
	return &pluginv1.DeleteImageResponse{}, nil
}

// ExportImage gives a link for one hour that the reader can open, as often as
// it needs. Errors: Refused when the reader cannot reach this node.
func (s *store) ExportImage(_ context.Context, r *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error) {
	f, err := s.folder(r.Store, r.ImageUuid)
	if err != nil {
		return nil, err
	}
	rec, err := f.read(r.ImageUuid)
	if err != nil {
		return nil, err
	}
	base, err := s.server.baseURL("image "+r.ImageUuid, r.Store.Fields["hostname"], r.ReaderIp)
	if err != nil {
		return nil, err
	}
	return &pluginv1.ExportImageResponse{Source: &pluginv1.ImageSource{
		Url:       base + s.link(purposeExport, r.ImageUuid, f.root),
		SizeBytes: rec.FileBytes, Md5: rec.MD5, Format: rec.Format,
	}}, nil
}

// BeginUpload gives a link to which a client PUTs or POSTs the image, as the
// body or as a form's file. It works until an image was taken, for one hour.
func (s *store) BeginUpload(_ context.Context, r *pluginv1.BeginUploadRequest) (*pluginv1.BeginUploadResponse, error) {
	f, err := s.folder(r.Store, r.ImageUuid)
	if err != nil {
		return nil, err
	}
	// Who uploads is not known here. A listener on loopback can only serve
	// clients on this node, and then that address is the one to give.
	base, err := s.server.baseURL("image "+r.ImageUuid, r.Store.Fields["hostname"], "")
	if err != nil {
		return nil, err
	}
	return &pluginv1.BeginUploadResponse{Url: base + s.link(purposeUpload, r.ImageUuid, f.root)}, nil
}

// link makes path and query of a signed link. It carries the folder, so that
// it still works after a restart, before any store has connected again.
func (s *store) link(purpose, imageUUID, root string) string {
	expires := fmt.Sprint(time.Now().Add(s.limits.linkLife).Unix())
	q := url.Values{
		"folder":  {base64.RawURLEncoding.EncodeToString([]byte(root))},
		"expires": {expires},
		"sign":    {s.server.sign(purpose, imageUUID, root, expires)},
	}
	return "/" + purpose + "/" + imageUUID + "?" + q.Encode()
}

func (s *store) folder(st *pluginv1.Storage, imageUUID string) (folder, error) {
	f, err := folderOf(st)
	if err != nil {
		return f, err
	}
	if !uuidForm.MatchString(imageUUID) {
		return f, errs.New(errs.Invalid, "image "+imageUUID, "its UUID is not 32 lower-case hex digits")
	}
	return f, nil
}

// locks lets one caller at a time work on an image.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the name until ctx ends; unlock must be called once.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		if l.held == nil {
			l.held = make(map[string]chan struct{})
		}
		freed, taken := l.held[name]
		if !taken {
			freed = make(chan struct{})
			l.held[name] = freed
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, name)
				l.mu.Unlock()
				close(freed)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
