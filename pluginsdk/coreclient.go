package pluginsdk

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// progressTimeout bounds what a report of progress may cost the operation.
const progressTimeout = 2 * time.Second

// NewCoreClient asks the CoreService behind conn, which must have been made
// with DialOptions. Plugins get theirs in Env.
func NewCoreClient(conn grpc.ClientConnInterface, log hclog.Logger) Core {
	return &coreClient{rpc: pluginv1.NewCoreServiceClient(conn), log: log}
}

type coreClient struct {
	rpc pluginv1.CoreServiceClient
	log hclog.Logger
}

func (c *coreClient) Progress(ctx context.Context, percent int, message string) {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	_, err := c.rpc.Progress(ctx, &pluginv1.ProgressRequest{
		OperationId: OperationID(ctx), Percent: int32(min(max(percent, 0), 100)), Message: message,
	})
	if err != nil {
		c.log.Debug("progress not reported", "operation", OperationID(ctx), "error", err)
	}
}

func (c *coreClient) Setting(ctx context.Context, category, name, resourceUUID string) (string, error) {
	resp, err := c.rpc.Setting(ctx, &pluginv1.SettingRequest{Category: category, Name: name, ResourceUuid: resourceUUID})
	if err != nil {
		return "", err
	}
	return resp.Value, nil
}

func (c *coreClient) Query(ctx context.Context, q *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error) {
	return c.rpc.Query(ctx, q)
}

func (c *coreClient) Act(ctx context.Context, a *pluginv1.ActRequest) (*pluginv1.ActResponse, error) {
	return c.rpc.Act(ctx, a)
}

func (c *coreClient) Get(ctx context.Context, typeName, uuid string) (*pluginv1.Resource, error) {
	r, err := c.rpc.Get(ctx, &pluginv1.GetRequest{Type: typeName, Uuid: uuid})
	return r.GetResource(), err
}

func (c *coreClient) Put(ctx context.Context, changes *pluginv1.RowChanges) error {
	_, err := c.rpc.Put(ctx, &pluginv1.PutRequest{Changes: changes})
	return err
}

func (c *coreClient) AllocateAddress(ctx context.Context, r *pluginv1.AllocateAddressRequest) (*pluginv1.Address, error) {
	answer, err := c.rpc.AllocateAddress(ctx, r)
	return answer.GetAddress(), err
}

func (c *coreClient) ReleaseAddress(ctx context.Context, key string) error {
	_, err := c.rpc.ReleaseAddress(ctx, &pluginv1.ReleaseAddressRequest{Key: key})
	return err
}

func (c *coreClient) Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	return c.rpc.Sign(ctx, r)
}

func (c *coreClient) Secret(ctx context.Context, name string) ([]byte, error) {
	answer, err := c.rpc.Secret(ctx, &pluginv1.SecretRequest{Name: name})
	return answer.GetValue(), err
}

func (c *coreClient) PutSecret(ctx context.Context, name string, value []byte) error {
	_, err := c.rpc.PutSecret(ctx, &pluginv1.PutSecretRequest{Name: name, Value: value})
	return err
}

func (c *coreClient) Emit(ctx context.Context, e *pluginv1.EmitRequest) error {
	_, err := c.rpc.Emit(ctx, e)
	return err
}

func (c *coreClient) Host(hostUUID string) hostv1.HostAgentServiceClient {
	return hostv1.NewHostAgentServiceClient(&hostConn{rpc: c.rpc, host: hostUUID})
}

// hostConn is a connection to the agent on one host. It has none of its own:
// each call is one CoreService.HostCall, whose stream carries the marshalled
// answers. So plugins use the generated client and the core forwards bytes
// whose types it need not know.
type hostConn struct {
	rpc  pluginv1.CoreServiceClient
	host string
}

func (h *hostConn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &hostStream{conn: h, ctx: ctx, method: method}
	if err := s.SendMsg(args); err != nil {
		return err
	}
	if err := s.RecvMsg(reply); err != nil {
		if errors.Is(err, io.EOF) {
			return errs.New(errs.Internal, "host "+h.host, "%s ended without an answer", method)
		}
		return err
	}
	return nil
}

func (h *hostConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if desc.ClientStreams {
		return nil, errs.New(errs.Unsupported, "host call "+method, "streams to a host are not part of the contract")
	}
	return &hostStream{conn: h, ctx: ctx, method: method}, nil
}

// hostStream is one call through HostCall: SendMsg starts it, RecvMsg reads.
type hostStream struct {
	conn   *hostConn
	ctx    context.Context
	method string
	in     grpc.ServerStreamingClient[pluginv1.HostCallResponse]
}

func (s *hostStream) SendMsg(m any) error {
	payload, err := marshal(m)
	if err != nil {
		return err
	}
	s.in, err = s.conn.rpc.HostCall(s.ctx, &pluginv1.HostCallRequest{
		HostUuid: s.conn.host, Method: s.method, Payload: payload,
	})
	return err
}

func (s *hostStream) RecvMsg(m any) error {
	if s.in == nil {
		return errs.New(errs.Internal, "host call "+s.method, "nothing was sent")
	}
	resp, err := s.in.Recv()
	if err != nil {
		return err
	}
	return unmarshal(resp.Payload, m)
}

func (s *hostStream) Header() (metadata.MD, error) { return nil, nil }
func (s *hostStream) Trailer() metadata.MD         { return nil }
func (s *hostStream) CloseSend() error             { return nil }
func (s *hostStream) Context() context.Context     { return s.ctx }

func marshal(m any) ([]byte, error) {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil, errs.New(errs.Internal, "host call", "%T is no message", m)
	}
	payload, err := proto.Marshal(msg)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "host call", err, "marshal %T", m)
	}
	return payload, nil
}

func unmarshal(payload []byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return errs.New(errs.Internal, "host call", "%T is no message", m)
	}
	if err := proto.Unmarshal(payload, msg); err != nil {
		return errs.Wrap(errs.Internal, "host call", err, "unmarshal %T", m)
	}
	return nil
}
