package pluginsdk

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// wireCodes is the only table between classes of errors and gRPC codes. The
// class itself travels in an ErrorDetail, so the code matters to readers that
// do not know that message, and for statuses that gRPC makes by itself.
var wireCodes = map[errs.Class]codes.Code{
	errs.Invalid:         codes.InvalidArgument,
	errs.NotFound:        codes.NotFound,
	errs.Exists:          codes.AlreadyExists,
	errs.Refused:         codes.FailedPrecondition,
	errs.Exhausted:       codes.ResourceExhausted,
	errs.Denied:          codes.PermissionDenied,
	errs.Unauthenticated: codes.Unauthenticated,
	errs.Unavailable:     codes.Unavailable,
	errs.Timeout:         codes.DeadlineExceeded,
	errs.Cancelled:       codes.Canceled,
	errs.Unsupported:     codes.Unimplemented,
	errs.Internal:        codes.Internal,
}

// wireClasses is wireCodes the other way round; codes that it does not have
// (Unknown, DataLoss, Aborted, OutOfRange) mean a defect: errs.Internal.
var wireClasses = func() map[codes.Code]errs.Class {
	m := make(map[codes.Code]errs.Class, len(wireCodes))
	for class, code := range wireCodes {
		m[code] = class
	}
	return m
}()

// ErrConnectionLost is in the chain of an errs.Unavailable that the other side
// did not send: the process died, is draining, or was never reached. Nobody
// knows whether the call happened; as all calls can be repeated, repeating it
// on a new connection is right.
var ErrConnectionLost = errors.New("connection lost")

// ToStatus makes of err what goes over the wire: a gRPC status with an
// ErrorDetail. Statuses and nil stay as they are.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var known *errs.Error
	var class errs.Class
	isKnown := errors.As(err, &known)
	if !isKnown && !errors.As(err, &class) {
		if _, ok := status.FromError(err); ok {
			return err
		}
	}
	class = errs.ClassOf(err)
	code, ok := wireCodes[class]
	if !ok {
		class, code = errs.Internal, codes.Internal
	}
	detail := &pluginv1.ErrorDetail{Class: string(class)}
	message := err.Error()
	if isKnown {
		detail.Object, detail.Advice, detail.Check = known.Object, known.Advice, errs.CheckOf(err)
		message = bareMessage(message, known)
	}
	st, detailErr := status.New(code, message).WithDetails(detail)
	if detailErr != nil {
		// Only a detail that cannot be marshalled comes here (text that is not
		// UTF-8); the class survives through the code.
		return status.Error(code, strings.ToValidUTF8(message, "\uFFFD"))
	}
	return st.Err()
}

// bareMessage takes object and advice out of text, where errs.Error put them:
// they travel in fields of their own and FromStatus puts them back.
func bareMessage(text string, e *errs.Error) string {
	if e.Advice != "" {
		text = strings.Replace(text, " ("+e.Advice+")", "", 1)
	}
	if e.Object != "" {
		if text == e.Object {
			return ""
		}
		text = strings.Replace(text, e.Object+": ", "", 1)
	}
	return text
}

// FromStatus makes an *errs.Error of what a gRPC call with ctx returned. It
// keeps class, object and advice when the other side sent them. Errors that
// gRPC made by itself get their class from the code; a connection that broke
// is errs.Unavailable with ErrConnectionLost in its chain. Errors that are no
// status, such as io.EOF at the end of a stream, and nil stay as they are.
func FromStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range st.Details() {
		if detail, ok := d.(*pluginv1.ErrorDetail); ok {
			return fromDetail(st, detail)
		}
	}
	class, ok := wireClasses[st.Code()]
	if !ok {
		class = errs.Internal
	}
	e := errs.New(class, "", "%s", st.Message())
	switch {
	case class == errs.Unavailable:
		e.Err = ErrConnectionLost
	case class == errs.Cancelled && ctx.Err() == nil:
		// The caller did not cancel: this side closed the connection.
		e.Class, e.Err = errs.Unavailable, ErrConnectionLost
	case class == errs.Timeout:
		e.Message, e.Err = "no answer in time; it may have happened", context.DeadlineExceeded
	case class == errs.Cancelled:
		e.Message, e.Err = "call given up", context.Canceled
	}
	return e
}

func fromDetail(st *status.Status, d *pluginv1.ErrorDetail) *errs.Error {
	class := errs.Class(d.Class)
	if _, ok := wireCodes[class]; !ok {
		// A newer peer may know classes that we do not.
		class = wireClasses[st.Code()]
		if class == "" {
			class = errs.Internal
		}
	}
	return &errs.Error{Class: class, Object: d.Object, Message: st.Message(), Advice: d.Advice, Check: d.Check}
}
