package flow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Error is returned when a flow failed and its undo failed as well. It is an
// error of the class of Cause, whose text comes first.
type Error struct {
	// Flow and Step name the step whose undo failed.
	Flow, Step string
	// Cause is why the flow failed.
	Cause error
	// Undo is why its undo failed; the undo will be repeated.
	Undo error
}

// Error returns the cause and, after it, what became of the undo.
func (e *Error) Error() string {
	return fmt.Sprintf("%v; undoing step %s of %s failed too and will be repeated: %v", e.Cause, e.Step, e.Flow, e.Undo)
}

// Unwrap returns the cause first, so that class and object are those of it.
func (e *Error) Unwrap() []error { return []error{e.Cause, e.Undo} }

// errStopped ends a run that stays in the journal.
var errStopped error = stopped{}

type stopped struct{}

func (stopped) Error() string { return "the flow was stopped between two steps" }

// GoesOn tells whoever keeps the job of the flow that this is not its end.
func (stopped) GoesOn() bool { return true }

// IsStopped reports whether Run returned because the server is stopping or the
// caller gave up: the flow has not failed, it goes on later by itself.
func IsStopped(err error) bool { return errors.Is(err, errStopped) }

// refusal is returned when a flow was stopped before it had changed anything.
func refusal(name string) error {
	return errs.New(errs.Unavailable, "flow "+name, "stopped before it had begun").WithAdvice("repeat the call")
}

func stopError(name string) error {
	return errs.Wrap(errs.Unavailable, "flow "+name, errStopped, "").WithAdvice("it goes on by itself when the server is up again")
}

// panicked makes an error of a panic. The stack goes to the log only, as the
// error is shown to callers.
func (e *Engine) panicked(flow, step string, v any) error {
	e.log.Error("step panicked", "flow", flow, "step", step, "panic", v, "stack", string(debug.Stack()))
	return errs.New(errs.Internal, fmt.Sprintf("step %s of %s", step, flow), "panic: %v", v).WithAdvice("the log has the details")
}

func internal(err error, flow, format string, args ...any) error {
	return errs.Wrap(errs.Internal, "flow "+flow, err, format, args...)
}

// outOfTime makes err an errs.Timeout that names the step, when the step's ctx
// ended because its time, or that of the whole operation, was up. Whatever the
// step made of that, a time-out is what happened.
func outOfTime(ctx context.Context, err error, step string, bound time.Duration) error {
	var e *errs.Error
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &e) && e.Class == errs.Timeout {
		return err
	}
	if c := current(ctx); c != nil && c.Err() != nil {
		return errs.Wrap(errs.Timeout, step, err, "the time for the whole operation is up")
	}
	return errs.Wrap(errs.Timeout, step, err, "not done within %s", bound)
}
