package plugintest

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Core is a core for tests, with agents of the test's choice. Used directly as
// a pluginsdk.Core it needs no connection; WithCore serves it over gRPC.
type Core struct {
	// Hosts has the agent of each host by UUID; see Agent.
	Hosts map[string]hostv1.HostAgentServiceClient
	// Settings has global settings by "category.name", and overrides by
	// "category.name@resource UUID".
	Settings map[string]string
	// OnQuery and OnAct answer queries and calls of the API; without them these are
	// errs.Unsupported.
	OnQuery func(context.Context, *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error)
	OnAct   func(context.Context, *pluginv1.ActRequest) (*pluginv1.ActResponse, error)
	// OnGet and OnPut answer for rows of the plugin's own types; without them these are
	// errs.Unsupported.
	OnGet func(ctx context.Context, typeName, uuid string) (*pluginv1.Resource, error)
	OnPut func(context.Context, *pluginv1.RowChanges) error
	// OnAllocate and OnRelease answer for addresses; without them these are
	// errs.Unsupported.
	OnAllocate func(context.Context, *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error)
	OnRelease  func(ctx context.Context, key string) error

	// OnSign answers for certificates; see Authority. Without it Sign is
	// errs.Unsupported.
	OnSign func(context.Context, *pluginv1.SignRequest) (*pluginv1.SignResponse, error)

	mu       sync.Mutex
	progress []Progress
	secrets  map[string][]byte
	events   []*pluginv1.EmitRequest
}

// Progress is one report of a plugin.
type Progress struct {
	OperationID string
	Percent     int
	Message     string
}

var _ pluginsdk.Core = (*Core)(nil)

// Progress keeps the report for Reports.
func (c *Core) Progress(ctx context.Context, percent int, message string) {
	c.report(pluginsdk.OperationID(ctx), percent, message)
}

// Reports returns what has been reported so far.
func (c *Core) Reports() []Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Progress(nil), c.progress...)
}

func (c *Core) report(operationID string, percent int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = append(c.progress, Progress{operationID, percent, message})
}

// Host returns the agent of a host. The calls of an unknown host's agent
// return errs.NotFound.
func (c *Core) Host(hostUUID string) hostv1.HostAgentServiceClient {
	if agent, ok := c.Hosts[hostUUID]; ok {
		return agent
	}
	return hostv1.NewHostAgentServiceClient(noHost(hostUUID))
}

// Setting returns the override or the global value, errs.NotFound when there
// is neither.
func (c *Core) Setting(_ context.Context, category, name, resourceUUID string) (string, error) {
	key := category + "." + name
	if v, ok := c.Settings[key+"@"+resourceUUID]; ok {
		return v, nil
	}
	if v, ok := c.Settings[key]; ok {
		return v, nil
	}
	return "", errs.New(errs.NotFound, "setting "+key, "the test's core has no such setting")
}

// Query answers by OnQuery.
func (c *Core) Query(ctx context.Context, q *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error) {
	if c.OnQuery == nil {
		return nil, errs.New(errs.Unsupported, "query of "+q.GetType(), "the test's core has no OnQuery")
	}
	return c.OnQuery(ctx, q)
}

// Act answers by OnAct.
func (c *Core) Act(ctx context.Context, a *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	if c.OnAct == nil {
		return nil, errs.New(errs.Unsupported, a.GetMessage(), "the test's core has no OnAct")
	}
	return c.OnAct(ctx, a)
}

// Get answers by OnGet.
func (c *Core) Get(ctx context.Context, typeName, uuid string) (*pluginv1.Resource, error) {
	if c.OnGet == nil {
		return nil, errs.New(errs.Unsupported, typeName+" "+uuid, "the test's core has no OnGet")
	}
	return c.OnGet(ctx, typeName, uuid)
}

// Put answers by OnPut.
func (c *Core) Put(ctx context.Context, changes *pluginv1.RowChanges) error {
	if c.OnPut == nil {
		return errs.New(errs.Unsupported, "changes of rows", "the test's core has no OnPut")
	}
	return c.OnPut(ctx, changes)
}

// AllocateAddress answers by OnAllocate.
func (c *Core) AllocateAddress(ctx context.Context, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	if c.OnAllocate == nil {
		return nil, errs.New(errs.Unsupported, "address of "+r.GetL3NetworkUuid(), "the test's core has no OnAllocate")
	}
	return c.OnAllocate(ctx, r)
}

// ReleaseAddress answers by OnRelease.
func (c *Core) ReleaseAddress(ctx context.Context, key string) error {
	if c.OnRelease == nil {
		return errs.New(errs.Unsupported, "address "+key, "the test's core has no OnRelease")
	}
	return c.OnRelease(ctx, key)
}

// Sign answers by OnSign.
func (c *Core) Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	if c.OnSign == nil {
		return nil, errs.New(errs.Unsupported, "authority "+r.GetAuthority(), "the test's core has no OnSign")
	}
	return c.OnSign(ctx, r)
}

// Secret returns what PutSecret has kept.
func (c *Core) Secret(_ context.Context, name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.secrets[name]; ok {
		return v, nil
	}
	return nil, errs.New(errs.NotFound, "secret "+name, "nothing is kept under this name")
}

// PutSecret keeps a value as long as the Core lives.
func (c *Core) PutSecret(_ context.Context, name string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secrets == nil {
		c.secrets = map[string][]byte{}
	}
	if c.secrets[name] = value; len(value) == 0 {
		delete(c.secrets, name)
	}
	return nil
}

// Emit keeps the event for Emitted.
func (c *Core) Emit(_ context.Context, e *pluginv1.EmitRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	return nil
}

// Emitted returns the events so far.
func (c *Core) Emitted() []*pluginv1.EmitRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*pluginv1.EmitRequest(nil), c.events...)
}

type noHost string

func (h noHost) err() error { return errs.New(errs.NotFound, "host "+string(h), "no such host") }

func (h noHost) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return h.err() }

func (h noHost) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, h.err()
}

// coreHandler is a Core behind pluginsdk.NewCoreService.
type coreHandler struct{ core *Core }

func (h coreHandler) Progress(_, operationID string, percent int, message string) {
	h.core.report(operationID, percent, message)
}

func (h coreHandler) Setting(ctx context.Context, category, name, resourceUUID string) (string, error) {
	return h.core.Setting(ctx, category, name, resourceUUID)
}

func (h coreHandler) Query(ctx context.Context, q *pluginv1.QueryRequest, _ func(string) error) (*pluginv1.QueryResponse, error) {
	return h.core.Query(ctx, q)
}

func (h coreHandler) Act(ctx context.Context, _ string, a *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	return h.core.Act(ctx, a)
}

func (h coreHandler) Get(ctx context.Context, _, typeName, uuid string) (*pluginv1.Resource, error) {
	return h.core.Get(ctx, typeName, uuid)
}

func (h coreHandler) Put(ctx context.Context, _ string, c *pluginv1.RowChanges) error {
	return h.core.Put(ctx, c)
}

func (h coreHandler) AllocateAddress(ctx context.Context, _ string, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	return h.core.AllocateAddress(ctx, r)
}

func (h coreHandler) ReleaseAddress(ctx context.Context, _, key string) error {
	return h.core.ReleaseAddress(ctx, key)
}

func (h coreHandler) Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	return h.core.Sign(ctx, r)
}

func (h coreHandler) Secret(ctx context.Context, _, name string) ([]byte, error) {
	return h.core.Secret(ctx, name)
}

func (h coreHandler) PutSecret(ctx context.Context, _, name string, value []byte) error {
	return h.core.PutSecret(ctx, name, value)
}

func (h coreHandler) Emit(_ string, e *pluginv1.EmitRequest) {
	_ = h.core.Emit(context.Background(), e) // it keeps it, and cannot fail
}

func (h coreHandler) HostCall(ctx context.Context, hostUUID, method string, payload []byte, emit func([]byte) error) error {
	call, ok := agentCalls[method]
	if !ok {
		return errs.New(errs.Invalid, "host call "+method, "the agent has no such method")
	}
	return call(ctx, h.core.Host(hostUUID), payload, emit)
}

type agentCall func(ctx context.Context, agent hostv1.HostAgentServiceClient, payload []byte, emit func([]byte) error) error

// agentCalls leads from the marshalled form of a call back to the client that
// the test gave, which may be anything that implements the interface.
var agentCalls = map[string]agentCall{
	hostv1.HostAgentService_Info_FullMethodName:           unary(hostv1.HostAgentServiceClient.Info),
	hostv1.HostAgentService_EnsureFolder_FullMethodName:   unary(hostv1.HostAgentServiceClient.EnsureFolder),
	hostv1.HostAgentService_FolderCapacity_FullMethodName: unary(hostv1.HostAgentServiceClient.FolderCapacity),
	hostv1.HostAgentService_ListFolder_FullMethodName:     unary(hostv1.HostAgentServiceClient.ListFolder),
	hostv1.HostAgentService_CreateDisk_FullMethodName:     unary(hostv1.HostAgentServiceClient.CreateDisk),
	hostv1.HostAgentService_StatDisk_FullMethodName:       unary(hostv1.HostAgentServiceClient.StatDisk),
	hostv1.HostAgentService_ResizeDisk_FullMethodName:     unary(hostv1.HostAgentServiceClient.ResizeDisk),
	hostv1.HostAgentService_DeleteFile_FullMethodName:     unary(hostv1.HostAgentServiceClient.DeleteFile),
	hostv1.HostAgentService_Apply_FullMethodName:          unary(hostv1.HostAgentServiceClient.Apply),
	hostv1.HostAgentService_Sync_FullMethodName:           unary(hostv1.HostAgentServiceClient.Sync),
	hostv1.HostAgentService_FilterCounters_FullMethodName: unary(hostv1.HostAgentServiceClient.FilterCounters),
	hostv1.HostAgentService_FetchFile_FullMethodName:      fetchFile,
}

type message[T any] interface {
	*T
	proto.Message
}

func unary[Req any, PReq message[Req], Resp proto.Message](call func(hostv1.HostAgentServiceClient, context.Context, PReq, ...grpc.CallOption) (Resp, error)) agentCall {
	return func(ctx context.Context, agent hostv1.HostAgentServiceClient, payload []byte, emit func([]byte) error) error {
		req := PReq(new(Req))
		if err := proto.Unmarshal(payload, req); err != nil {
			return errs.Wrap(errs.Invalid, "host call", err, "unmarshal %T", req)
		}
		resp, err := call(agent, ctx, req)
		if err != nil {
			return err
		}
		return send(resp, emit)
	}
}

func fetchFile(ctx context.Context, agent hostv1.HostAgentServiceClient, payload []byte, emit func([]byte) error) error {
	req := &hostv1.FetchFileRequest{}
	if err := proto.Unmarshal(payload, req); err != nil {
		return errs.Wrap(errs.Invalid, "host call", err, "unmarshal %T", req)
	}
	in, err := agent.FetchFile(ctx, req)
	if err != nil {
		return err
	}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(m, emit); err != nil {
			return err
		}
	}
}

func send(m proto.Message, emit func([]byte) error) error {
	out, err := proto.Marshal(m)
	if err != nil {
		return errs.Wrap(errs.Internal, "host call", err, "marshal %T", m)
	}
	return emit(out)
}
