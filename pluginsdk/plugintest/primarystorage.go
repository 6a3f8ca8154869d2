package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// PrimaryStorageFixture is what a primary storage plugin is tested with.
type PrimaryStorageFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Storage is one that the plugin can use on Host.
	Storage *pluginv1.Storage
	Host    *pluginv1.Host
	// Invalid is a storage whose configuration ConnectStorage must refuse.
	Invalid *pluginv1.Storage
	// Image is where a small image can be read from. Its address must be good
	// for the whole test.
	Image *pluginv1.ImageSource
	// SourceOf gives the source of the image with a UUID, for plugins whose
	// sources know their image; nil means Image for all.
	SourceOf func(t *testing.T, imageUUID string) *pluginv1.ImageSource
	// Format of volumes; empty means "qcow2".
	Format string
	// Parallel is how many volumes are made at once; 0 means 8.
	Parallel int
}

const (
	testVolumeSize = 64 << 20
	badUUID        = "../0123456789abcdef"
)

// PrimaryStorage checks a primary storage plugin.
func PrimaryStorage(t *testing.T, f PrimaryStorageFixture) {
	t.Helper()
	if f.Format == "" {
		f.Format = "qcow2"
	}
	if f.SourceOf == nil {
		f.SourceOf = func(*testing.T, string) *pluginv1.ImageSource { return f.Image }
	}
	s := &storageSuite{suite: newSuite(t, f.Conn), f: f, ps: f.Conn.PrimaryStorage()}
	for _, d := range f.Conn.Manifest.PrimaryStorages {
		if d.Type == f.Storage.Type {
			s.decl = d
		}
	}
	if s.decl == nil {
		t.Fatalf("the manifest declares no primary storage type %q", f.Storage.Type)
	}
	s.connect()
	if t.Failed() {
		return // nothing else can work
	}
	s.volumes()
	s.images()
	s.resize()
	s.list()
	s.detach()
}

type storageSuite struct {
	*suite
	f    PrimaryStorageFixture
	ps   pluginsdk.PrimaryStorageClient
	decl *pluginv1.PrimaryStorageDecl
}

func wantCapacity(c *pluginv1.Capacity) error {
	if c.GetTotalBytes() <= 0 || c.GetAvailableBytes() < 0 || c.GetAvailableBytes() > c.GetTotalBytes() {
		return fmt.Errorf("capacity makes no sense: %v", c)
	}
	return nil
}

func (s *storageSuite) connect() {
	st, host := s.f.Storage, s.f.Host
	s.ok("ConnectStorage", func(ctx context.Context) error {
		_, err := s.ps.ConnectStorage(ctx, &pluginv1.ConnectStorageRequest{Storage: st})
		return err
	})
	s.refused("ConnectStorage with a wrong configuration", func(ctx context.Context) error {
		_, err := s.ps.ConnectStorage(ctx, &pluginv1.ConnectStorageRequest{Storage: s.f.Invalid})
		return err
	})
	s.ok("DetachHost before AttachHost", func(ctx context.Context) error {
		_, err := s.ps.DetachHost(ctx, &pluginv1.DetachHostRequest{Storage: st, Host: host})
		return err
	})
	s.ok("AttachHost", func(ctx context.Context) error {
		r, err := s.ps.AttachHost(ctx, &pluginv1.AttachHostRequest{Storage: st, Host: host})
		if err != nil {
			return err
		}
		return wantCapacity(r.Capacity)
	})
	s.check("AttachHost, answer lost", func(t *testing.T) {
		req := &pluginv1.AttachHostRequest{Storage: st, Host: host}
		_, err := pluginsdk.NewPrimaryStorageClient(DropAnswer(s.conn, 1)).AttachHost(call(t), req)
		wantLost(t, err)
		if _, err := s.ps.AttachHost(call(t), req); err != nil {
			t.Error(err)
		}
	})
	s.ok("StorageCapacity", func(ctx context.Context) error {
		r, err := s.ps.StorageCapacity(ctx, &pluginv1.StorageCapacityRequest{Storage: st, Host: host})
		if err != nil {
			return err
		}
		return wantCapacity(r.Capacity)
	})
}

func (s *storageSuite) createRequest(id string) *pluginv1.CreateVolumeRequest {
	return &pluginv1.CreateVolumeRequest{
		Storage: s.f.Storage, Host: s.f.Host, VolumeUuid: id, SizeBytes: testVolumeSize, Format: s.f.Format,
	}
}

func (s *storageSuite) volumePair() pair {
	p := pair{
		name: "CreateVolume", undoName: "DeleteVolume", parallel: s.f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			r, err := pluginsdk.NewPrimaryStorageClient(conn).CreateVolume(ctx, s.createRequest(id))
			if err == nil && (r.InstallPath == "" || r.SizeBytes < testVolumeSize) {
				err = fmt.Errorf("volume makes no sense: %v", r)
			}
			return r, err
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewPrimaryStorageClient(conn).DeleteVolume(ctx, &pluginv1.DeleteVolumeRequest{
				Storage: s.f.Storage, Host: s.f.Host, VolumeUuid: id,
			})
			return err
		},
		same: func(a, b proto.Message) bool {
			x, y := a.(*pluginv1.CreateVolumeResponse), b.(*pluginv1.CreateVolumeResponse)
			return x.InstallPath == y.InstallPath && x.SizeBytes == y.SizeBytes && x.Format == y.Format
		},
	}
	if slices.Contains(s.decl.Optional, pluginsdk.OptionalList) {
		p.exists = s.exists
	}
	return p
}

func (s *storageSuite) exists(ctx context.Context, id string) (bool, error) {
	r, err := s.ps.ListVolumes(ctx, &pluginv1.ListVolumesRequest{Storage: s.f.Storage, Host: s.f.Host})
	if err != nil {
		return false, err
	}
	return slices.Contains(r.VolumeUuids, id), nil
}

func (s *storageSuite) volumes() {
	p := s.volumePair()
	s.pair(p)
	s.check("DeleteVolume by its install path", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		path := p.make(t, s.conn, id).(*pluginv1.CreateVolumeResponse).InstallPath
		_, err := s.ps.DeleteVolume(call(t), &pluginv1.DeleteVolumeRequest{
			Storage: s.f.Storage, Host: s.f.Host, VolumeUuid: id, InstallPath: path,
		})
		if err != nil {
			t.Error(err)
		}
		p.want(t, id, false)
	})
	bad := func(what string, change func(*pluginv1.CreateVolumeRequest)) {
		s.refused("CreateVolume with "+what, func(ctx context.Context) error {
			req := s.createRequest(NewUUID())
			change(req)
			_, err := s.ps.CreateVolume(ctx, req)
			return err
		})
	}
	bad("a UUID that is none", func(r *pluginv1.CreateVolumeRequest) { r.VolumeUuid = badUUID })
	bad("no size", func(r *pluginv1.CreateVolumeRequest) { r.SizeBytes = 0 })
	bad("a format that is none", func(r *pluginv1.CreateVolumeRequest) { r.Format = "no such format" })
	bad("a base outside of the storage", func(r *pluginv1.CreateVolumeRequest) { r.BackingPath = "/etc/passwd" })
	s.refused("DeleteVolume with a UUID that is none", func(ctx context.Context) error {
		return p.undo(ctx, s.conn, badUUID)
	})
}

func (s *storageSuite) ensure(ctx context.Context, conn grpc.ClientConnInterface, id string) (*pluginv1.EnsureImageResponse, error) {
	r, err := pluginsdk.NewPrimaryStorageClient(conn).EnsureImage(ctx, &pluginv1.EnsureImageRequest{
		Storage: s.f.Storage, Host: s.f.Host, ImageUuid: id, Source: s.f.SourceOf(s.t, id),
	})
	if err == nil && (r.InstallPath == "" || r.VirtualBytes <= 0) {
		err = fmt.Errorf("image makes no sense: %v", r)
	}
	return r, err
}

func (s *storageSuite) images() {
	p := pair{
		name: "EnsureImage", undoName: "DeleteCachedImage", parallel: s.f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			return s.ensure(ctx, conn, id)
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewPrimaryStorageClient(conn).DeleteCachedImage(ctx, &pluginv1.DeleteCachedImageRequest{
				Storage: s.f.Storage, Host: s.f.Host, ImageUuid: id,
			})
			return err
		},
	}
	s.pair(p)
	s.check("EnsureImage of one image at once", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		together(make([]string, 4), func(string) {
			if _, err := s.ensure(call(t), s.conn, id); err != nil {
				t.Error(err)
			}
		})
	})
	s.check("CreateVolume on an image", func(t *testing.T) { s.onImage(t, p) })
	s.refused("EnsureImage with a UUID that is none", func(ctx context.Context) error {
		_, err := s.ensure(ctx, s.conn, badUUID)
		return err
	})
}

func (s *storageSuite) onImage(t *testing.T, images pair) {
	image := images.fresh(t, s.conn)
	cached := images.make(t, s.conn, image).(*pluginv1.EnsureImageResponse)
	volumes := s.volumePair()
	volumes.do = func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
		req := s.createRequest(id)
		req.BackingPath, req.SizeBytes = cached.InstallPath, max(cached.VirtualBytes, testVolumeSize)
		return pluginsdk.NewPrimaryStorageClient(conn).CreateVolume(ctx, req)
	}
	id := volumes.fresh(t, s.conn)
	first := volumes.make(t, s.conn, id)
	if second := volumes.make(t, s.conn, id); !volumes.same(first, second) {
		t.Errorf("the repeat answered differently: %v, at first %v", second, first)
	}
	volumes.want(t, id, true)
	volumes.remove(t, s.conn, id)
	volumes.want(t, id, false)
}

func (s *storageSuite) resize() {
	request := func(id, path string, size int64) *pluginv1.ResizeVolumeRequest {
		return &pluginv1.ResizeVolumeRequest{Storage: s.f.Storage, Host: s.f.Host, VolumeUuid: id, InstallPath: path, SizeBytes: size}
	}
	if !slices.Contains(s.decl.Optional, pluginsdk.OptionalResize) {
		s.unsupported("ResizeVolume", func(ctx context.Context) error {
			_, err := s.ps.ResizeVolume(ctx, request(NewUUID(), "", testVolumeSize))
			return err
		})
		return
	}
	s.check("ResizeVolume", func(t *testing.T) {
		p := s.volumePair()
		id := p.fresh(t, s.conn)
		path := p.make(t, s.conn, id).(*pluginv1.CreateVolumeResponse).InstallPath
		for range 2 {
			r, err := s.ps.ResizeVolume(call(t), request(id, path, 2*testVolumeSize))
			if err != nil || r.SizeBytes < 2*testVolumeSize {
				t.Fatalf("grow: %v %v", r, err)
			}
		}
		if _, err := s.ps.ResizeVolume(call(t), request(id, path, testVolumeSize)); err == nil {
			t.Error("a volume was made smaller")
		} else if !errors.Is(err, errs.Invalid) && !errors.Is(err, errs.Refused) {
			t.Errorf("shrink: %v", err)
		}
	})
}

func (s *storageSuite) list() {
	list := func(ctx context.Context) error {
		_, err := s.ps.ListVolumes(ctx, &pluginv1.ListVolumesRequest{Storage: s.f.Storage, Host: s.f.Host})
		return err
	}
	if slices.Contains(s.decl.Optional, pluginsdk.OptionalList) {
		s.ok("ListVolumes", list)
	} else {
		s.unsupported("ListVolumes", list)
	}
}

func (s *storageSuite) detach() {
	s.check("DetachHost keeps the volumes", func(t *testing.T) {
		p := s.volumePair()
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		for range 2 {
			if _, err := s.ps.DetachHost(call(t), &pluginv1.DetachHostRequest{Storage: s.f.Storage, Host: s.f.Host}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.ps.AttachHost(call(t), &pluginv1.AttachHostRequest{Storage: s.f.Storage, Host: s.f.Host}); err != nil {
			t.Fatal(err)
		}
		p.want(t, id, true)
	})
}
