package plugintest

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// DropAnswer returns conn with a fault: the nth call (1 is the first) happens,
// but its answer is lost, as when the plugin's process dies at the worst
// moment. The caller sees errs.Unavailable with pluginsdk.ErrConnectionLost.
func DropAnswer(conn grpc.ClientConnInterface, n int) grpc.ClientConnInterface {
	return &dropping{ClientConnInterface: conn, n: int64(n)}
}

type dropping struct {
	grpc.ClientConnInterface
	n     int64
	calls atomic.Int64
}

func errDropped(method string) error {
	return errs.Wrap(errs.Unavailable, method, pluginsdk.ErrConnectionLost, "the test dropped the answer")
}

func (d *dropping) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := d.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if d.calls.Add(1) != d.n || err != nil {
		return err
	}
	if m, ok := reply.(proto.Message); ok {
		proto.Reset(m)
	}
	return errDropped(method)
}

func (d *dropping) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := d.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if d.calls.Add(1) != d.n || err != nil {
		return s, err
	}
	return &droppingStream{ClientStream: s, method: method}, nil
}

// droppingStream reads all answers of a stream and shows none of them.
type droppingStream struct {
	grpc.ClientStream
	method string
}

func (s *droppingStream) RecvMsg(m any) error {
	for {
		err := s.ClientStream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return errDropped(s.method)
		}
		if err != nil {
			return err
		}
	}
}
