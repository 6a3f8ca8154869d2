package pluginsdk

import (
	"context"
	"errors"
	"io"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// ForwardAgentCall carries one call of kumo.host.v1, still marshalled, to the
// agent behind conn, which must have been made with DialOptions. A hypervisor
// plugin implements HostGateway.CallAgent with it. Each answer goes to emit.
// Errors are those of the agent; errs.Invalid for a method of another service.
func ForwardAgentCall(ctx context.Context, conn grpc.ClientConnInterface, method string, payload []byte, emit func([]byte) error) error {
	if err := checkAgentMethod(method); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// On the wire a unary call is a server stream of one message.
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&payload); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var answer []byte
		err := stream.RecvMsg(&answer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := emit(answer); err != nil {
			return err
		}
	}
}

func checkAgentMethod(method string) error {
	if path.Dir(method) != "/"+hostv1.HostAgentService_ServiceDesc.ServiceName {
		return errs.New(errs.Invalid, "host call "+method, "it is no method of %s", hostv1.HostAgentService_ServiceDesc.ServiceName)
	}
	return nil
}

// rawCodec passes message bytes through, so that a forwarder needs no types.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errs.New(errs.Internal, "raw codec", "%T is not bytes", v)
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errs.New(errs.Internal, "raw codec", "%T is not bytes", v)
	}
	// gRPC reuses data after this returns.
	*b = append(make([]byte, 0, len(data)), data...)
	return nil
}

// ServeAgentCall runs one marshalled call of kumo.host.v1 on an agent in this
// process. Each answer goes to emit, marshalled. Errors are those of the
// agent; errs.Invalid for an unknown method.
func ServeAgentCall(ctx context.Context, agent hostv1.HostAgentServiceServer, method string, payload []byte, emit func([]byte) error) error {
	if err := checkAgentMethod(method); err != nil {
		return err
	}
	name := path.Base(method)
	for _, m := range hostv1.HostAgentService_ServiceDesc.Methods {
		if m.MethodName != name {
			continue
		}
		answer, err := m.Handler(agent, ctx, func(req any) error { return unmarshal(payload, req) }, nil)
		if err != nil {
			return err
		}
		out, err := marshal(answer)
		if err != nil {
			return err
		}
		return emit(out)
	}
	for _, s := range hostv1.HostAgentService_ServiceDesc.Streams {
		if s.StreamName == name {
			return s.Handler(agent, &agentStream{ctx: ctx, payload: payload, emit: emit})
		}
	}
	return errs.New(errs.Invalid, "host call "+method, "the agent has no such method")
}

// agentStream is the server's side of a stream inside one process.
type agentStream struct {
	ctx     context.Context
	payload []byte
	emit    func([]byte) error
}

func (s *agentStream) RecvMsg(m any) error { return unmarshal(s.payload, m) }

func (s *agentStream) SendMsg(m any) error {
	out, err := marshal(m)
	if err != nil {
		return err
	}
	return s.emit(out)
}

func (s *agentStream) Context() context.Context     { return s.ctx }
func (s *agentStream) SetHeader(metadata.MD) error  { return nil }
func (s *agentStream) SendHeader(metadata.MD) error { return nil }
func (s *agentStream) SetTrailer(metadata.MD)       {}
