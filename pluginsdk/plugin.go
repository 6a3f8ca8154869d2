package pluginsdk

import (
	"context"

	"github.com/hashicorp/go-hclog"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Env is what a plugin gets once, before its first strategy call.
type Env struct {
	// Log goes to the core's log under the plugin's name.
	Log hclog.Logger
	// Core is the way back to the core.
	Core Core
	// Settings holds the values of the settings that the manifest declares.
	Settings map[string]string
	// DataDir is a folder of the plugin's own, mode 0700.
	DataDir string
}

// Core is what a plugin may ask of the core, as its manifest's permissions
// allow. plugintest has a fake.
type Core interface {
	// Progress reports how far the operation that ctx belongs to has come. It
	// never fails the operation.
	Progress(ctx context.Context, percent int, message string)
	// Host returns a client of the agent on a host. Calls go through the core
	// to the host's hypervisor plugin. Needs the permission "host-call".
	Host(hostUUID string) hostv1.HostAgentServiceClient
	// Setting reads a global setting, or its override on a resource. Needs the
	// permission "setting".
	Setting(ctx context.Context, category, name, resourceUUID string) (string, error)
	// Query reads rows of a resource type, without secrets, in the name of the
	// platform or of who asked for the operation that ctx belongs to. It needs the
	// permission "query:<type>" for the type and for all that it reaches into.
	// Errors: Denied names the type that is not granted, Invalid the condition,
	// field or bound that is wrong.
	Query(ctx context.Context, q *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error)
	// Act makes a call of the API, through all its checks, and waits for its end.
	// ctx must belong to an operation that is in progress, as the context of every
	// call from the core does. A repeat with the same operation, step and message
	// is the same call and has the same outcome, unless that was Unavailable. Needs
	// the permission "act:<message>". Errors: Refused, at once, when the call would
	// wait for what the operation itself works on; else those of the call.
	Act(ctx context.Context, a *pluginv1.ActRequest) (*pluginv1.ActResponse, error)
	// Get reads a row of a type of the plugin's own, with hidden fields, secrets and its
	// version. Errors: NotFound; Denied for a type of somebody else.
	Get(ctx context.Context, typeName, uuid string) (*pluginv1.Resource, error)
	// Put changes rows of types of the plugin's own, in one transaction: what goes
	// first, then what comes. A repeat changes nothing. What changes inside an action is
	// better answered by it (ActOnResourceResponse.changes). Errors: Unavailable for a
	// version that is not the row's any more, Refused for a row on which others depend,
	// NotFound for what a row refers to, Invalid for values that do not fit.
	Put(ctx context.Context, c *pluginv1.RowChanges) error
	// AllocateAddress takes an address of an L3 network, without a NIC. A repeat with the
	// same key is the same address. Needs the permission "address:<purpose>". Errors:
	// Exhausted without a free one, Exists for a wanted one that is in use, or a key that
	// has another, Invalid for one that is in no range, NotFound for the network.
	AllocateAddress(ctx context.Context, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error)
	// ReleaseAddress gives it back; a repeat, and a key that has none, are a success.
	ReleaseAddress(ctx context.Context, key string) error
	// Sign has an authority of the cloud sign a certificate for a key that stays with
	// the plugin. A repeat is another certificate. Needs the permission
	// "sign:<authority>". Errors: Invalid for a request that cannot be read, is not
	// signed by its key, or asks for too long a time.
	Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error)
	// Secret reads what the plugin has kept under a name: lower-case letters, digits, dots
	// and hyphens, at most 64. Errors: NotFound, Invalid for another name.
	Secret(ctx context.Context, name string) ([]byte, error)
	// PutSecret keeps a value, of at most 64 KiB, sealed in the core's database; an empty
	// one is removed. A repeat changes nothing.
	PutSecret(ctx context.Context, name string, value []byte) error
	// Emit tells those who listen, and may read a resource, that something has happened
	// about it. Needs the permission "emit:<type>". Errors: Invalid for a name that is
	// none; a resource that is not there is nobody's affair, and no error.
	Emit(ctx context.Context, e *pluginv1.EmitRequest) error
}

// Plugin is one plugin process: its manifest and the strategies it has. Nil
// strategies are not served; the manifest must declare exactly the others.
type Plugin struct {
	Manifest *pluginv1.Manifest
	// Configure is called once with the environment, before any strategy call.
	// An error stops the plugin with that message. May be nil.
	Configure func(context.Context, Env) error
	// Purge takes away what no row tells of, when all rows of the plugin's types are gone
	// and it is about to be disabled for good: rules on hosts, for example. It may be
	// called again. May be nil.
	Purge func(context.Context) error
	// Close is called when the process ends in an orderly way. May be nil.
	Close func() error

	Hypervisor     Hypervisor
	PrimaryStorage PrimaryStorage
	BackupStorage  BackupStorage
	L2Network      L2Network
	NetworkService NetworkService
	// ResourceProvider is behind the resource types of the manifest; types that
	// are rows alone need none.
	ResourceProvider ResourceProvider
	// InventorySync brings what the manifest's inventories say; HybridCloud is for
	// its types that are priced.
	InventorySync InventorySync
	HybridCloud   HybridCloud
	Observer      Observer
}

// Serve runs the plugin until its core ends or drains it; main calls it and
// nothing else. It exits the process with a message when it was not started by
// a Kumo core, and by itself when its core is gone.
func Serve(p Plugin) { serve(p) }

// OperationID returns the ID of the operation that ctx belongs to, "" outside
// of a call from the core.
func OperationID(ctx context.Context) string {
	id, _ := ctx.Value(operationKey{}).(string)
	return id
}

// WithOperationID returns ctx for calls of one operation; the SDK carries the
// ID to the plugin and back.
func WithOperationID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, operationKey{}, id)
}

type operationKey struct{}

// Say makes a caption of a manifest: what people call something, in English and
// in Chinese.
func Say(en, zh string) *pluginv1.Caption { return &pluginv1.Caption{En: en, Zh: zh} }
