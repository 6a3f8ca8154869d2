package pluginsdk

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// operationHeader carries the operation ID in both directions.
const operationHeader = "kumo-operation-id"

// Sizes of the HTTP/2 windows and buffers of a connection. Fixed windows switch
// off gRPC's bandwidth estimator, whose pings cost more than many of our small
// calls; the buffers let one read or write carry the frames of many calls.
const (
	streamWindow = 1 << 20
	connWindow   = 8 << 20
	ioBuffer     = 64 << 10
	maxMessage   = 64 << 20
	maxStreams   = 1 << 16
)

// ServerOptions makes a gRPC server speak like one of Kumo: errors keep class,
// object and advice, the operation ID is in the context (OperationID), a panic
// fails its call with errs.Internal and is logged. Plugins get it from Serve;
// agents on hosts use it directly. log may be nil.
func ServerOptions(log hclog.Logger) []grpc.ServerOption {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return append(transportOptions(),
		grpc.ChainUnaryInterceptor(unaryServer(log)),
		grpc.ChainStreamInterceptor(streamServer(log)))
}

func transportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(ioBuffer),
		grpc.WriteBufferSize(ioBuffer),
		grpc.SharedWriteBuffer(true),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
	}
}

// DialOptions is the counterpart of ServerOptions for clients: calls return
// *errs.Error and carry the operation ID of their context.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(ioBuffer),
		grpc.WithWriteBufferSize(ioBuffer),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithChainUnaryInterceptor(unaryClient),
		grpc.WithChainStreamInterceptor(streamClient),
	}
}

func unaryServer(log hclog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer recoverCall(log, info.FullMethod, &err)
		resp, err = next(incoming(ctx), req)
		return resp, ToStatus(err)
	}
}

func streamServer(log hclog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer recoverCall(log, info.FullMethod, &err)
		return ToStatus(next(srv, &serverStream{ServerStream: ss, ctx: incoming(ss.Context())}))
	}
}

// recoverCall turns a panic into the call's error: one broken call must not
// take the calls of others with it.
func recoverCall(log hclog.Logger, method string, err *error) {
	if r := recover(); r != nil {
		log.Error("call panicked", "method", method, "panic", r, "stack", string(debug.Stack()))
		*err = ToStatus(errs.New(errs.Internal, method, "panic: %v", r).
			WithAdvice("this is a defect; the log has the stack"))
	}
}

// serverStream is a stream with another context.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

func incoming(ctx context.Context) context.Context {
	if v := metadata.ValueFromIncomingContext(ctx, operationHeader); len(v) > 0 {
		return WithOperationID(ctx, v[0])
	}
	return ctx
}

func outgoing(ctx context.Context) context.Context {
	if id := OperationID(ctx); id != "" {
		return metadata.AppendToOutgoingContext(ctx, operationHeader, id)
	}
	return ctx
}

// ours reports whether a method is one of Kumo's contract. go-plugin's own
// services share the connection and expect plain statuses.
func ours(method string) bool { return strings.HasPrefix(method, "/kumo.") }

func unaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if !ours(method) {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	return FromStatus(ctx, invoke(outgoing(ctx), method, req, reply, cc, opts...))
}

func streamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !ours(method) {
		return open(ctx, desc, cc, method, opts...)
	}
	s, err := open(outgoing(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, FromStatus(ctx, err)
	}
	return &clientStream{ClientStream: s, ctx: ctx}, nil
}

// clientStream gives the errors of a stream their class.
type clientStream struct {
	grpc.ClientStream
	ctx context.Context
}

func (s *clientStream) RecvMsg(m any) error {
	return s.convert(s.ClientStream.RecvMsg(m))
}

func (s *clientStream) SendMsg(m any) error {
	return s.convert(s.ClientStream.SendMsg(m))
}

func (s *clientStream) convert(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return FromStatus(s.ctx, err)
}
