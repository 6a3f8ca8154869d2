package plugintest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// BackupStorageFixture is what a backup storage plugin is tested with.
type BackupStorageFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Store is one that the plugin can use.
	Store *pluginv1.Storage
	// Invalid is a store whose configuration ConnectStore must refuse.
	Invalid *pluginv1.Storage
	// ImageURL is where AddImage can read a small image from; ImageFormat is
	// its format; empty means "qcow2".
	ImageURL, ImageFormat string
	// ReaderIP is from where the kit reads exported images; empty means
	// 127.0.0.1.
	ReaderIP string
	// NoBytes says that the images have none to read, as a simulator's.
	NoBytes bool
	// Parallel is how many images are added at once; 0 means 8.
	Parallel int
}

// BackupStorage checks a backup storage plugin.
func BackupStorage(t *testing.T, f BackupStorageFixture) {
	t.Helper()
	if f.ImageFormat == "" {
		f.ImageFormat = "qcow2"
	}
	if f.ReaderIP == "" {
		f.ReaderIP = "127.0.0.1"
	}
	s := &storeSuite{suite: newSuite(t, f.Conn), f: f, bs: f.Conn.BackupStorage()}
	s.connect()
	if t.Failed() {
		return // nothing else can work
	}
	s.images()
	s.export()
	s.upload()
}

type storeSuite struct {
	*suite
	f  BackupStorageFixture
	bs pluginsdk.BackupStorageClient
}

func (s *storeSuite) connect() {
	s.ok("ConnectStore", func(ctx context.Context) error {
		r, err := s.bs.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: s.f.Store})
		if err != nil {
			return err
		}
		return wantCapacity(r.Capacity)
	})
	s.refused("ConnectStore with a wrong configuration", func(ctx context.Context) error {
		_, err := s.bs.ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: s.f.Invalid})
		return err
	})
	s.ok("StoreCapacity", func(ctx context.Context) error {
		r, err := s.bs.StoreCapacity(ctx, &pluginv1.StoreCapacityRequest{Store: s.f.Store})
		if err != nil {
			return err
		}
		return wantCapacity(r.Capacity)
	})
}

func (s *storeSuite) addRequest(id string) *pluginv1.AddImageRequest {
	return &pluginv1.AddImageRequest{Store: s.f.Store, ImageUuid: id, Url: s.f.ImageURL, Format: s.f.ImageFormat}
}

func (s *storeSuite) imagePair() pair {
	return pair{
		name: "AddImage", undoName: "DeleteImage", parallel: s.f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			r, err := pluginsdk.NewBackupStorageClient(conn).AddImage(ctx, s.addRequest(id))
			if err == nil && (r.InstallPath == "" || r.SizeBytes <= 0 || r.ActualBytes <= 0 || r.Format == "") {
				err = fmt.Errorf("image makes no sense: %v", r)
			}
			return r, err
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewBackupStorageClient(conn).DeleteImage(ctx, &pluginv1.DeleteImageRequest{Store: s.f.Store, ImageUuid: id})
			return err
		},
	}
}

func (s *storeSuite) images() {
	s.pair(s.imagePair())
	bad := func(what string, change func(*pluginv1.AddImageRequest)) {
		s.refused("AddImage with "+what, func(ctx context.Context) error {
			req := s.addRequest(NewUUID())
			change(req)
			_, err := s.bs.AddImage(ctx, req)
			return err
		})
	}
	bad("a UUID that is none", func(r *pluginv1.AddImageRequest) { r.ImageUuid = badUUID })
	bad("a URL of no known kind", func(r *pluginv1.AddImageRequest) { r.Url = "gopher://localhost/image" })
	bad("a wrong checksum", func(r *pluginv1.AddImageRequest) { r.Checksum = "md5:" + strings.Repeat("0", 32) })
	bad("a checksum that is none", func(r *pluginv1.AddImageRequest) { r.Checksum = "crc:1" })
	s.refused("DeleteImage with a UUID that is none", func(ctx context.Context) error {
		return s.imagePair().undo(ctx, s.conn, badUUID)
	})
}

func (s *storeSuite) export() {
	p := s.imagePair()
	s.check("ExportImage", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		added := p.make(t, s.conn, id).(*pluginv1.AddImageResponse)
		for range 2 {
			r, err := s.bs.ExportImage(call(t), &pluginv1.ExportImageRequest{
				Store: s.f.Store, ImageUuid: id, InstallPath: added.InstallPath, ReaderIp: s.f.ReaderIP,
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Source.GetUrl() == "" {
				t.Fatalf("the source has no URL: %v", r.Source)
			}
			if !s.f.NoBytes {
				readImage(t, r.Source)
			}
		}
	})
	s.check("ExportImage of what is not there", func(t *testing.T) {
		_, err := s.bs.ExportImage(call(t), &pluginv1.ExportImageRequest{Store: s.f.Store, ImageUuid: NewUUID(), ReaderIp: s.f.ReaderIP})
		if errs.ClassOf(err) != errs.NotFound {
			t.Errorf("got %v, want %s", err, errs.NotFound)
		}
	})
}

// readImage reads an exported image as a host would.
func readImage(t *testing.T, source *pluginv1.ImageSource) {
	t.Helper()
	req, err := http.NewRequestWithContext(call(t), http.MethodGet, source.GetUrl(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range source.Headers {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	h := md5.New()
	n, err := io.Copy(h, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("read %s: %s %v", source.Url, resp.Status, err)
	}
	if n != source.SizeBytes {
		t.Errorf("%d bytes were read, the source says %d", n, source.SizeBytes)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); source.Md5 != "" && sum != source.Md5 {
		t.Errorf("MD5 of what was read is %s, the source says %s", sum, source.Md5)
	}
}

// upload has no place in the manifest: the call itself says whether the plugin
// offers it.
func (s *storeSuite) upload() {
	s.check("BeginUpload", func(t *testing.T) {
		id := s.imagePair().fresh(t, s.conn)
		req := &pluginv1.BeginUploadRequest{Store: s.f.Store, ImageUuid: id}
		r, err := s.bs.BeginUpload(call(t), req)
		if errs.ClassOf(err) == errs.Unsupported {
			t.Log("the plugin does not offer it")
			return
		}
		if err != nil || r.Url == "" {
			t.Fatalf("got %v %v", r, err)
		}
		if _, err := s.bs.BeginUpload(call(t), req); err != nil {
			t.Errorf("repeated: %v", err)
		}
	})
}
