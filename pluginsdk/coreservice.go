package pluginsdk

import (
	"context"
	"regexp"
	"strings"

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
	// Query reads rows of q's type, which the plugin is granted; may refuses the
	// other types that it is not granted, by name.
	Query(ctx context.Context, q *pluginv1.QueryRequest, may func(typeName string) error) (*pluginv1.QueryResponse, error)
	// Act makes a call of the API for a plugin, and waits for its end. The same
	// plugin, operation (of ctx), step and message are the same call.
	Act(ctx context.Context, plugin string, a *pluginv1.ActRequest) (*pluginv1.ActResponse, error)
	// Get reads a row of a type of the plugin's own.
	Get(ctx context.Context, plugin, typeName, uuid string) (*pluginv1.Resource, error)
	// Put changes rows of types of the plugin's own, all or none.
	Put(ctx context.Context, plugin string, c *pluginv1.RowChanges) error
	// AllocateAddress takes an address for a plugin; the same plugin and key are the same
	// address. ReleaseAddress gives it back.
	AllocateAddress(ctx context.Context, plugin string, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error)
	ReleaseAddress(ctx context.Context, plugin, key string) error
	// Sign has an authority of the cloud sign a certificate.
	Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error)
	// Secret reads what a plugin has kept under a name, PutSecret keeps it, or removes an
	// empty value.
	Secret(ctx context.Context, plugin, name string) ([]byte, error)
	PutSecret(ctx context.Context, plugin, name string, value []byte) error
	// Emit tells those who listen of what happened about a resource. It must not block.
	Emit(plugin string, e *pluginv1.EmitRequest)
}

// NewCoreService serves h to one plugin. What the plugin's manifest does not
// ask for, and what granted (nil: nothing) refuses, is refused with errs.Denied.
// Both are asked at each call; the manifest may be nil until the plugin has been
// described.
func NewCoreService(h CoreHandler, manifest func() *pluginv1.Manifest, granted func(permission string) error) pluginv1.CoreServiceServer {
	return &coreService{handler: h, manifest: manifest, granted: granted}
}

type coreService struct {
	pluginv1.UnimplementedCoreServiceServer
	handler  CoreHandler
	manifest func() *pluginv1.Manifest
	granted  func(permission string) error
}

// allow checks a call by what it does and to what.
func (s *coreService) allow(verb, about string) error {
	m, wanted := s.manifest(), verb+":"+about
	if !Allows(m.GetPermissions(), wanted) {
		return errs.New(errs.Denied, "plugin "+m.GetName(), "it may not use %q", wanted).
			WithAdvice("its manifest must list %q under permissions", wanted)
	}
	if s.granted == nil {
		return nil
	}
	return s.granted(wanted)
}

// maxReport bounds a message of progress in bytes; it is for people to read.
const maxReport = 1000

func (s *coreService) Progress(_ context.Context, req *pluginv1.ProgressRequest) (*pluginv1.ProgressResponse, error) {
	if req.OperationId != "" {
		message := req.Message
		if len(message) > maxReport {
			message = strings.ToValidUTF8(message[:maxReport], "")
		}
		s.handler.Progress(s.manifest().GetName(), req.OperationId, int(req.Percent), message)
	}
	return &pluginv1.ProgressResponse{}, nil
}

func (s *coreService) Setting(ctx context.Context, req *pluginv1.SettingRequest) (*pluginv1.SettingResponse, error) {
	if err := s.allow(PermissionSetting, req.Category+"/"+req.Name); err != nil {
		return nil, err
	}
	value, err := s.handler.Setting(ctx, req.Category, req.Name, req.ResourceUuid)
	if err != nil {
		return nil, err
	}
	return &pluginv1.SettingResponse{Value: value}, nil
}

func (s *coreService) Query(ctx context.Context, req *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error) {
	may := func(typeName string) error { return s.allow(PermissionQuery, typeName) }
	if err := may(req.Type); err != nil {
		return nil, err
	}
	return s.handler.Query(ctx, req, may)
}

// maxStep bounds the name of a step in bytes.
const maxStep = 64

func (s *coreService) Act(ctx context.Context, req *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	if err := s.allow(PermissionAct, req.Message); err != nil {
		return nil, err
	}
	if req.Step == "" || len(req.Step) > maxStep {
		return nil, errs.New(errs.Invalid, req.Message, "its step has %d bytes, not 1 to %d", len(req.Step), maxStep).
			WithAdvice("give each call of an operation a short name of its own, the same at each repeat")
	}
	return s.handler.Act(ctx, s.manifest().GetName(), req)
}

// Get and Put need no permission: the types are the plugin's own.
func (s *coreService) Get(ctx context.Context, req *pluginv1.GetRequest) (*pluginv1.GetResponse, error) {
	r, err := s.handler.Get(ctx, s.manifest().GetName(), req.Type, req.Uuid)
	return &pluginv1.GetResponse{Resource: r}, err
}

func (s *coreService) Put(ctx context.Context, req *pluginv1.PutRequest) (*pluginv1.PutResponse, error) {
	return &pluginv1.PutResponse{}, s.handler.Put(ctx, s.manifest().GetName(), req.Changes)
}

func (s *coreService) AllocateAddress(ctx context.Context, req *pluginv1.AllocateAddressRequest) (*pluginv1.AllocateAddressResponse, error) {
	if err := s.allow(PermissionAddress, req.Purpose); err != nil {
		return nil, err
	}
	if err := CheckPermission(PermissionAddress + ":" + req.Purpose); err != nil {
		return nil, err
	}
	if err := checkKey(req.Key); err != nil {
		return nil, err
	}
	a, err := s.handler.AllocateAddress(ctx, s.manifest().GetName(), req)
	return &pluginv1.AllocateAddressResponse{Address: a}, err
}

// ReleaseAddress needs no permission: a key is the plugin's own.
func (s *coreService) ReleaseAddress(ctx context.Context, req *pluginv1.ReleaseAddressRequest) (*pluginv1.ReleaseAddressResponse, error) {
	if err := checkKey(req.Key); err != nil {
		return nil, err
	}
	return &pluginv1.ReleaseAddressResponse{}, s.handler.ReleaseAddress(ctx, s.manifest().GetName(), req.Key)
}

// maxKey bounds a plugin's name of an address in bytes.
const maxKey = 64

func checkKey(key string) error {
	if key == "" || len(key) > maxKey {
		return errs.New(errs.Invalid, "address", "its key has %d bytes, not 1 to %d", len(key), maxKey)
	}
	return nil
}

func (s *coreService) Sign(ctx context.Context, req *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	if err := s.allow(PermissionSign, req.Authority); err != nil {
		return nil, err
	}
	if err := CheckPermission(PermissionSign + ":" + req.Authority); err != nil {
		return nil, err
	}
	return s.handler.Sign(ctx, req)
}

var secretName = regexp.MustCompile(`^[a-z0-9.-]{1,64}$`)

func checkSecret(name string) error {
	if !secretName.MatchString(name) {
		return errs.New(errs.Invalid, "secret", "%.80q is no name of one", name).WithAdvice("lower-case letters, digits, dots and hyphens, at most 64")
	}
	return nil
}

// maxSecret bounds what is kept under a name in bytes.
const maxSecret = 64 << 10

// Secret and PutSecret need no permission: names are the plugin's own.
func (s *coreService) Secret(ctx context.Context, req *pluginv1.SecretRequest) (*pluginv1.SecretResponse, error) {
	if err := checkSecret(req.Name); err != nil {
		return nil, err
	}
	value, err := s.handler.Secret(ctx, s.manifest().GetName(), req.Name)
	return &pluginv1.SecretResponse{Value: value}, err
}

func (s *coreService) PutSecret(ctx context.Context, req *pluginv1.PutSecretRequest) (*pluginv1.PutSecretResponse, error) {
	if err := checkSecret(req.Name); err != nil {
		return nil, err
	}
	if len(req.Value) > maxSecret {
		return nil, errs.New(errs.Invalid, "secret "+req.Name, "it has %d bytes, and may have %d", len(req.Value), maxSecret)
	}
	return &pluginv1.PutSecretResponse{}, s.handler.PutSecret(ctx, s.manifest().GetName(), req.Name, req.Value)
}

var eventName = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)

func (s *coreService) Emit(_ context.Context, req *pluginv1.EmitRequest) (*pluginv1.EmitResponse, error) {
	if err := s.allow(PermissionEmit, req.Type); err != nil {
		return nil, err
	}
	if err := CheckUUID(req.Type, req.Uuid); err != nil {
		return nil, err
	}
	if !eventName.MatchString(req.Name) {
		return nil, errs.New(errs.Invalid, "event about "+req.Type+" "+req.Uuid, "%.80q is no name of one", req.Name).WithAdvice("letters, digits, dots and hyphens, at most 64")
	}
	if len(req.Text) > maxReport {
		return nil, errs.New(errs.Invalid, "event "+req.Name, "its text has %d bytes, and may have %d", len(req.Text), maxReport)
	}
	s.handler.Emit(s.manifest().GetName(), req)
	return &pluginv1.EmitResponse{}, nil
}

func (s *coreService) HostCall(req *pluginv1.HostCallRequest, out grpc.ServerStreamingServer[pluginv1.HostCallResponse]) error {
	if err := s.allow(PermissionHostCall, req.Method); err != nil {
		return err
	}
	return s.handler.HostCall(out.Context(), req.HostUuid, req.Method, req.Payload, func(payload []byte) error {
		return out.Send(&pluginv1.HostCallResponse{Payload: payload})
	})
}
