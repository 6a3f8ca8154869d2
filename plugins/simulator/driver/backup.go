package driver

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type backup struct{ *simulator }

var _ pluginsdk.BackupStorage = backup{}

const (
	// An image's URL can tell its sizes in bytes: http://any/image?virtual=N&actual=N.
	virtualParameter = "virtual"
	actualParameter  = "actual"
	defaultVirtual   = 1 << 30
	defaultActual    = 64 << 20

	expiresParameter = "expires"
	exportLife       = 30 * time.Minute
)

var imageSchemes = map[string]bool{"http": true, "https": true, "ftp": true, "sftp": true, "file": true, "simulator": true}

func (b backup) connect(w *world.Live, s *pluginv1.Storage) (*pluginv1.Capacity, error) {
	total, err := bytesOf(s.GetFields(), "backup storage "+s.GetUuid(), "totalCapacity", 0)
	if err != nil {
		return nil, err
	}
	free, err := bytesOf(s.GetFields(), "backup storage "+s.GetUuid(), "availableCapacity", 0)
	if err != nil {
		return nil, err
	}
	return capacity(w.ConnectStore(world.Store{UUID: s.GetUuid(), Total: total, Free: free}))
}

func (b backup) ConnectStore(ctx context.Context, req *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error) {
	return run(ctx, b.simulator, "ConnectStore", func(w *world.Live) (*pluginv1.ConnectStoreResponse, error) {
		c, err := b.connect(w, req.GetStore())
		return &pluginv1.ConnectStoreResponse{Capacity: c}, err
	}, req.GetStore().GetUuid())
}

func (b backup) StoreCapacity(ctx context.Context, req *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	store := req.GetStore().GetUuid()
	return run(ctx, b.simulator, "StoreCapacity", func(w *world.Live) (*pluginv1.StoreCapacityResponse, error) {
		c, err := capacity(w.StoreCapacity(store))
		return &pluginv1.StoreCapacityResponse{Capacity: c}, err
	}, store)
}

func (b backup) AddImage(ctx context.Context, req *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error) {
	store, image := req.GetStore().GetUuid(), req.GetImageUuid()
	return run(ctx, b.simulator, "AddImage", func(w *world.Live) (*pluginv1.AddImageResponse, error) {
		i, err := download(req)
		if err != nil {
			return nil, err
		}
		if _, err = w.AddImage(i); err != nil {
			return nil, err
		}
		return &pluginv1.AddImageResponse{
			InstallPath: world.ImagePath(store, image), SizeBytes: i.Virtual, ActualBytes: i.Actual, Md5: i.MD5, Format: i.Format,
		}, nil
	}, store, image)
}

// checksumBytes are the kinds of checksums and how long they are.
var checksumBytes = map[string]int{"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

// download tells what an image is from its URL alone; the URL stands for the
// content, so its MD5 is that of the URL.
func download(req *pluginv1.AddImageRequest) (world.Image, error) {
	object := "image " + req.GetImageUuid()
	i := world.Image{UUID: req.GetImageUuid(), Store: req.GetStore().GetUuid(), URL: req.GetUrl(), Format: req.GetFormat(),
		Virtual: defaultVirtual, Actual: defaultActual}
	u, err := url.Parse(req.GetUrl())
	if err != nil || !imageSchemes[u.Scheme] || u.Host == "" && u.Path == "" {
		return i, errs.New(errs.Invalid, object, "its URL is not one of http, https, ftp, sftp, file or simulator")
	}
	for name, n := range map[string]*int64{virtualParameter: &i.Virtual, actualParameter: &i.Actual} {
		text := u.Query().Get(name)
		if text == "" {
			continue
		}
		if *n, err = strconv.ParseInt(text, 10, 64); err != nil || *n <= 0 {
			return i, errs.New(errs.Invalid, object, "the parameter %s of its URL is no size above 0", name)
		}
	}
	sum := md5.Sum([]byte(req.GetUrl()))
	i.MD5 = hex.EncodeToString(sum[:])
	if c := req.GetChecksum(); c != "" {
		algorithm, value, _ := strings.Cut(c, ":")
		list := strings.HasPrefix(value, "https://") || strings.HasPrefix(value, "http://") // what is pretended is in no list
		raw, err := hex.DecodeString(value)
		if size := checksumBytes[algorithm]; size == 0 || !list && (err != nil || len(raw) != size) {
			return i, errs.New(errs.Invalid, object, "checksum %.20q is none of md5, sha1, sha256 and sha512, with a colon and hex digits or a URL", algorithm)
		}
		if algorithm == "md5" && !list && !strings.EqualFold(value, i.MD5) {
			return i, errs.New(errs.Invalid, object, "its MD5 is %s, not %s", i.MD5, value)
		}
	}
	return i, nil
}

func (b backup) DeleteImage(ctx context.Context, req *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error) {
	store, image := req.GetStore().GetUuid(), req.GetImageUuid()
	return run(ctx, b.simulator, "DeleteImage", func(w *world.Live) (*pluginv1.DeleteImageResponse, error) {
		if err := pluginsdk.CheckUUID("image", image); err != nil {
			return nil, err
		}
		if err := samePath("image "+image, req.GetInstallPath(), world.ImagePath(store, image)); err != nil {
			return nil, err
		}
		return &pluginv1.DeleteImageResponse{}, w.DeleteImage(store, image)
	}, store, image)
}

func (b backup) ExportImage(ctx context.Context, req *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error) {
	store, image := req.GetStore().GetUuid(), req.GetImageUuid()
	return run(ctx, b.simulator, "ExportImage", func(w *world.Live) (*pluginv1.ExportImageResponse, error) {
		i, err := w.Image(store, image)
		if err != nil {
			return nil, err
		}
		expires := strconv.FormatInt(time.Now().Add(exportLife).Unix(), 10)
		return &pluginv1.ExportImageResponse{Source: &pluginv1.ImageSource{
			Url:       world.ImagePath(store, image) + "?" + expiresParameter + "=" + expires,
			SizeBytes: i.Actual, Md5: i.MD5, Format: i.Format,
		}}, nil
	}, store, image)
}
