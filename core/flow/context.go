package flow

import (
	"context"
	"time"
)

// stepContext is what a step's ctx carries.
type stepContext struct {
	context.Context
	flow    flowRun
	step    string
	undo    bool
	timeout time.Duration
}

// flowRun is a run without its type parameter.
type flowRun interface {
	name() string
	uuid() string
	job() string
	progress() int64
	saveProgress(ctx context.Context, done int64) error
	stopped() error
	stopping() <-chan struct{}
	panicked(step string, v any) error
	called(step string, call TraceCall)
}

type stepKey struct{}

// Value implements context.Context.
func (c *stepContext) Value(key any) any {
	if key == (stepKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// current returns the step that ctx belongs to; nil outside of flows.
func current(ctx context.Context) *stepContext {
	c, _ := ctx.Value(stepKey{}).(*stepContext) // nil when absent, as promised
	return c
}

// ID returns the uuid of the flow whose step was given ctx; "" outside of
// flows. It is the same after a crash.
func ID(ctx context.Context) string {
	if c := current(ctx); c != nil {
		return c.flow.uuid()
	}
	return ""
}

// Job returns the API job that the flow completes whose step was given ctx; "" when
// there is none. It is the same after a crash.
func Job(ctx context.Context) string {
	if c := current(ctx); c != nil {
		return c.flow.job()
	}
	return ""
}

// OperationID names the step that was given ctx, for calls that must know
// whether they are repeated: it is the same each time the step is done again,
// also after a crash, and another one for the step's undo. "" outside of flows.
// A step that makes several calls adds to it what tells them apart.
func OperationID(ctx context.Context) string {
	c := current(ctx)
	switch {
	case c == nil:
		return ""
	case c.undo:
		return c.flow.uuid() + "." + c.step + ".undo"
	}
	return c.flow.uuid() + "." + c.step
}

// Stopped is for a step that takes long and can be repeated cheaply: when it is
// not nil, the server is stopping or the flow's time is up, and the step should
// return the error as it is. A flow that stops is not undone; the step is
// repeated after the next start. nil outside of flows.
func Stopped(ctx context.Context) error {
	if c := current(ctx); c != nil {
		return c.flow.stopped()
	}
	return nil
}

// UntilStop returns a context that is cancelled when the server stops, for a
// long call in a step that can be repeated; cancel must be called. When the call
// fails, the step returns Stopped, if there is one, as its error.
func UntilStop(ctx context.Context) (until context.Context, cancel context.CancelFunc) {
	until, cancel = context.WithCancel(ctx)
	stopping := Stopping(ctx)
	if stopping == nil {
		return until, cancel
	}
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-until.Done():
		}
	}()
	return until, cancel
}

// Stopping is closed when the server stops, for a step that waits; nil outside
// of flows.
func Stopping(ctx context.Context) <-chan struct{} {
	if c := current(ctx); c != nil {
		return c.flow.stopping()
	}
	return nil
}
