package pluginsdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestMain makes the test binary a plugin when a core (or plugintest.Process)
// starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(pluginsdk.Handshake.MagicCookieKey) != "" || os.Getenv("KUMO_TEST_BY_HAND") != "" {
		pluginsdk.Serve(samplePlugin())
		return
	}
	os.Exit(m.Run())
}

func samplePlugin() pluginsdk.Plugin {
	s := &sample{started: make(chan string, 16), release: make(chan struct{})}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "sample", Version: "1",
			Hypervisors:     []*pluginv1.HypervisorDecl{{Type: "Sample", Optional: []string{pluginsdk.OptionalPause, pluginsdk.OptionalHostGateway}}},
			PrimaryStorages: []*pluginv1.PrimaryStorageDecl{{Type: "Sample"}},
			BackupStorages:  []*pluginv1.BackupStorageDecl{{Type: "Sample"}},
			L2Networks:      []*pluginv1.L2NetworkDecl{{Type: "Sample"}},
			NetworkServices: []*pluginv1.NetworkServiceDecl{{Type: "Sample"}},
			Permissions:     []string{pluginsdk.PermissionHostCall},
			Settings:        []*pluginv1.SettingDecl{{Name: "colour", Default: "red"}},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			s.env = env
			if env.Settings["colour"] == "none" {
				return errs.New(errs.Invalid, "setting colour", "none is no colour").WithAdvice("choose red")
			}
			return nil
		},
		Hypervisor:     s,
		PrimaryStorage: storage{s},
		BackupStorage:  images{},
		L2Network:      networks{},
		NetworkService: services{},
	}
}

// sample is a hypervisor whose calls do what the name of their host says.
type sample struct {
	pluginsdk.Hypervisor
	env     pluginsdk.Env
	started chan string
	release chan struct{}
}

func (s *sample) CheckHost(ctx context.Context, req *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	switch name := req.Host.GetName(); name {
	case "":
		return &pluginv1.CheckHostResponse{}, nil
	case "panic":
		panic("boom")
	case "wait":
		s.started <- name
		select {
		case <-s.release:
			return &pluginv1.CheckHostResponse{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "sleep":
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	case "plain":
		return nil, errors.New("plain error")
	case "wrapped":
		return nil, fmt.Errorf("export: %w", errs.New(errs.NotFound, "volume 1", "gone").WithAdvice("scan again"))
	case "no agent":
		lost := errs.New(errs.Unavailable, "host h1", "its agent does not answer").OfCheck("agent")
		return nil, errs.Wrap(errs.Unavailable, "volume 1", errors.Join(errors.New("no"), lost), "cannot be made")
	case "bare class":
		return nil, fmt.Errorf("export volume: %w", errs.Exhausted)
	case "operation":
		return nil, errs.New(errs.Invalid, pluginsdk.OperationID(ctx), "this is the operation")
	case "progress":
		s.env.Core.Progress(ctx, 42, "nearly half")
		return &pluginv1.CheckHostResponse{}, nil
	case "setting":
		v, err := s.env.Core.Setting(ctx, "a", "b", "")
		if err != nil {
			return nil, err
		}
		return nil, errs.New(errs.Invalid, "setting", "%s", v)
	case "exit":
		os.Exit(3)
		return nil, nil
	default:
		return nil, errs.Wrap(errs.Class(name), "host h1", errors.New("cause"), "check").WithAdvice("look (twice)")
	}
}

func (s *sample) WatchHost(ctx context.Context, req *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	for i := range 3 {
		if err := emit(&pluginv1.VMStatus{Uuid: fmt.Sprint(i), State: pluginv1.VMState_VM_STATE_RUNNING}); err != nil {
			return err
		}
	}
	if req.Host.GetName() == "lost" {
		return errs.New(errs.Unavailable, "host h1", "lost")
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *sample) PauseVM(context.Context, *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	return &pluginv1.PauseVMResponse{}, nil
}

func (s *sample) ResumeVM(context.Context, *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	return &pluginv1.ResumeVMResponse{}, nil
}

func (s *sample) CallAgent(ctx context.Context, req *pluginv1.CallAgentRequest, emit func([]byte) error) error {
	return pluginsdk.ServeAgentCall(ctx, agent{}, req.Method, req.Payload, emit)
}

// storage asks the host for its answers.
type storage struct{ s *sample }

func (p storage) ConnectStorage(context.Context, *pluginv1.ConnectStorageRequest) (*pluginv1.ConnectStorageResponse, error) {
	return &pluginv1.ConnectStorageResponse{}, nil
}

func (p storage) AttachHost(context.Context, *pluginv1.AttachHostRequest) (*pluginv1.AttachHostResponse, error) {
	return &pluginv1.AttachHostResponse{}, nil
}

func (p storage) DetachHost(context.Context, *pluginv1.DetachHostRequest) (*pluginv1.DetachHostResponse, error) {
	return &pluginv1.DetachHostResponse{}, nil
}

func (p storage) StorageCapacity(ctx context.Context, req *pluginv1.StorageCapacityRequest) (*pluginv1.StorageCapacityResponse, error) {
	c, err := p.s.env.Core.Host(req.Host.GetUuid()).FolderCapacity(ctx, &hostv1.FolderCapacityRequest{Path: "/x"})
	if err != nil {
		return nil, err
	}
	return &pluginv1.StorageCapacityResponse{Capacity: &pluginv1.Capacity{TotalBytes: c.TotalBytes}}, nil
}

func (p storage) EnsureImage(ctx context.Context, req *pluginv1.EnsureImageRequest) (*pluginv1.EnsureImageResponse, error) {
	in, err := p.s.env.Core.Host(req.Host.GetUuid()).FetchFile(ctx, &hostv1.FetchFileRequest{Url: req.Source.GetUrl()})
	if err != nil {
		return nil, err
	}
	resp := &pluginv1.EnsureImageResponse{}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return resp, nil
		}
		if err != nil {
			return nil, err
		}
		resp.ActualBytes += m.Bytes
	}
}

func (p storage) DeleteCachedImage(context.Context, *pluginv1.DeleteCachedImageRequest) (*pluginv1.DeleteCachedImageResponse, error) {
	return &pluginv1.DeleteCachedImageResponse{}, nil
}

func (p storage) CreateVolume(context.Context, *pluginv1.CreateVolumeRequest) (*pluginv1.CreateVolumeResponse, error) {
	return &pluginv1.CreateVolumeResponse{}, nil
}

func (p storage) DeleteVolume(context.Context, *pluginv1.DeleteVolumeRequest) (*pluginv1.DeleteVolumeResponse, error) {
	return &pluginv1.DeleteVolumeResponse{}, nil
}

type images struct{ pluginsdk.BackupStorage }

func (images) StoreCapacity(context.Context, *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	return &pluginv1.StoreCapacityResponse{Capacity: &pluginv1.Capacity{TotalBytes: 5}}, nil
}

type networks struct{}

func (networks) Realize(_ context.Context, req *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	return &pluginv1.RealizeResponse{Bridge: "br" + req.Network.GetUuid()}, nil
}

func (networks) Unrealize(context.Context, *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	return &pluginv1.UnrealizeResponse{}, nil
}

type services struct{ pluginsdk.NetworkService }

func (services) SyncNetworkState(context.Context, *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	return &pluginv1.SyncNetworkStateResponse{}, nil
}

// agent is a host agent of which the tests use three calls.
type agent struct {
	hostv1.UnimplementedHostAgentServiceServer
}

func (agent) FolderCapacity(ctx context.Context, _ *hostv1.FolderCapacityRequest) (*hostv1.FolderCapacityResponse, error) {
	if pluginsdk.OperationID(ctx) == "fail" {
		return nil, errs.New(errs.Exhausted, "folder /x", "it is full").WithAdvice("delete something")
	}
	return &hostv1.FolderCapacityResponse{TotalBytes: 1000}, nil
}

func (agent) FetchFile(req *hostv1.FetchFileRequest, out hostv1.HostAgentService_FetchFileServer) error {
	for i := range 3 {
		if err := out.Send(&hostv1.FetchFileResponse{Bytes: int64(i), Done: i == 2}); err != nil {
			return err
		}
	}
	if req.Url == "broken" {
		return errs.New(errs.Invalid, "file /x", "wrong checksum")
	}
	return nil
}
