package pluginsdk

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// CoreHandler answers what plugins ask of the core. The core implements it;
// plugintest has one for tests.
type CoreHandler interface {
	// Progress takes a report for an operation. It must not block.
	Progress(plugin, operationID string, percent int, message string)
	// HostCall runs a method of kumo.host.v1 on a host and calls emit for each
	// marshalled answer.
	HostCall(ctx context.Context, hostUUID, method string, payload []byte, emit func([]byte) error) error
	// Setting reads a global setting or its override on a resource.
	Setting(ctx context.Context, category, name, resourceUUID string) (string, error)
}

// NewCoreService serves h to one plugin. What the plugin's manifest does not
// ask for is refused with errs.Denied. The manifest is read at each call; it
// may be nil until the plugin has been described.
func NewCoreService(h CoreHandler, manifest func() *pluginv1.Manifest) pluginv1.CoreServiceServer {
	return &coreService{handler: h, manifest: manifest}
}

type coreService struct {
	pluginv1.UnimplementedCoreServiceServer
	handler  CoreHandler
	manifest func() *pluginv1.Manifest
}

func (s *coreService) allow(permission string) error {
	m := s.manifest()
	if slices.Contains(m.GetPermissions(), permission) {
		return nil
	}
	return errs.New(errs.Denied, "plugin "+m.GetName(), "it may not use %q", permission).
		WithAdvice("its manifest must list %q under permissions", permission)
}

func (s *coreService) Progress(_ context.Context, req *pluginv1.ProgressRequest) (*pluginv1.ProgressResponse, error) {
	if req.OperationId != "" {
		s.handler.Progress(s.manifest().GetName(), req.OperationId, int(req.Percent), req.Message)
	}
	return &pluginv1.ProgressResponse{}, nil
}

func (s *coreService) Setting(ctx context.Context, req *pluginv1.SettingRequest) (*pluginv1.SettingResponse, error) {
	if err := s.allow(PermissionSetting); err != nil {
		return nil, err
	}
	value, err := s.handler.Setting(ctx, req.Category, req.Name, req.ResourceUuid)
	if err != nil {
		return nil, err
	}
	return &pluginv1.SettingResponse{Value: value}, nil
}

func (s *coreService) HostCall(req *pluginv1.HostCallRequest, out grpc.ServerStreamingServer[pluginv1.HostCallResponse]) error {
	if err := s.allow(PermissionHostCall); err != nil {
		return err
	}
	return s.handler.HostCall(out.Context(), req.HostUuid, req.Method, req.Payload, func(payload []byte) error {
		return out.Send(&pluginv1.HostCallResponse{Payload: payload})
	})
}
