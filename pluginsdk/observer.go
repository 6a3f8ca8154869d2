package pluginsdk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Observer watches and shapes what happens to resources, as the manifest's
// subscriptions say. Calls come in parallel, but those of After for one resource.
// One that needs only some of the calls embeds NoObserver.
type Observer interface {
	// Before is asked of a call that has passed its checks. Deny and Amend make
	// answers; an empty one allows the call as it is. Errors are failures, which
	// the subscription's policy decides on.
	Before(context.Context, *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error)
	// After is told of a change that has happened, at least once. An error has it
	// told again.
	After(context.Context, *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error)
	// DoPoint does a step at a point of a flow; it can be repeated.
	DoPoint(context.Context, *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error)
	// UndoPoint takes a step back; it accepts that it never happened.
	UndoPoint(context.Context, *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error)
}

// NoObserver observes nothing: its calls are errs.Unsupported.
type NoObserver struct{}

// Before implements Observer.
func (NoObserver) Before(context.Context, *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	return nil, unsupported(PhaseBefore)
}

// After implements Observer.
func (NoObserver) After(context.Context, *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error) {
	return nil, unsupported(PhaseAfter)
}

// DoPoint implements Observer.
func (NoObserver) DoPoint(context.Context, *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	return nil, unsupported(PhasePoint)
}

// UndoPoint implements Observer.
func (NoObserver) UndoPoint(context.Context, *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	return nil, unsupported(PhasePoint)
}

// Allow is the answer of Before that leaves a call as it is.
func Allow() *pluginv1.BeforeResponse { return &pluginv1.BeforeResponse{} }

// Deny is the answer of Before that refuses a call: with a reason for the caller,
// and advice what to do, which may be empty.
func Deny(reason, advice string) *pluginv1.BeforeResponse {
	return &pluginv1.BeforeResponse{Denial: &pluginv1.Denial{Reason: reason, Advice: advice}}
}

// Amend is the answer of Before that gives parameters other values.
func Amend(parameters map[string]any) (*pluginv1.BeforeResponse, error) {
	b, err := json.Marshal(parameters)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "amended parameters", err, "write them as JSON")
	}
	return &pluginv1.BeforeResponse{Amend: b}, nil
}

// Words of Subscription.
const (
	PhaseBefore = "before"
	PhaseAfter  = "after"
	PhasePoint  = "point"

	VerbCreate = "create"
	VerbUpdate = "update"
	VerbDelete = "delete"
	// VerbMissed is told in the place of changes that were dropped.
	VerbMissed = "missed"

	FailureDeny   = "deny"
	FailureIgnore = "ignore"
)

// MaxPointState is how many bytes DoPoint's state has at most.
const MaxPointState = 64 << 10

// bounds of Subscription.timeout_ms, by phase.
var subscriptionTimeouts = map[string]struct{ usual, most int32 }{
	PhaseBefore: {1000, 10000}, PhaseAfter: {10000, 600000}, PhasePoint: {60000, 600000},
}

// SubscriptionTimeout is how many milliseconds a call for it may take.
func SubscriptionTimeout(s *pluginv1.Subscription) int32 {
	if s.GetTimeoutMs() > 0 {
		return s.GetTimeoutMs()
	}
	return subscriptionTimeouts[s.GetPhase()].usual
}

// CheckSubscription refuses (errs.Invalid) one that does not say what it must. The
// core checks besides that the type and the point exist.
func CheckSubscription(s *pluginv1.Subscription) error {
	what := fmt.Sprintf("subscription %s %s %s%s", s.GetPhase(), s.GetType(), s.GetVerb(), s.GetPoint())
	bounds, known := subscriptionTimeouts[s.GetPhase()]
	switch {
	case !known:
		return errs.New(errs.Invalid, what, "its phase is none of before, after, point")
	case s.GetTimeoutMs() < 0 || s.GetTimeoutMs() > bounds.most:
		return errs.New(errs.Invalid, what, "its timeout is not between 0 and %d ms", bounds.most)
	case !slices.Contains([]string{"", FailureDeny, FailureIgnore}, s.GetOnFailure()):
		return errs.New(errs.Invalid, what, "on_failure is %q, not deny or ignore", s.GetOnFailure())
	case s.GetPhase() == PhaseAfter && s.GetOnFailure() != "":
		return errs.New(errs.Invalid, what, "what has happened cannot be denied; it is told again until it is taken")
	case s.GetPhase() != PhaseBefore && len(s.GetAmends()) > 0:
		return errs.New(errs.Invalid, what, "only calls that have not begun can be amended")
	case s.GetPhase() != PhasePoint && len(s.GetWhileAny()) > 0:
		return errs.New(errs.Invalid, what, "only points are of no concern while there is no row")
	case s.GetPhase() == PhasePoint:
		if s.GetPoint() == "" || s.GetType() != "" || s.GetVerb() != "" {
			return errs.New(errs.Invalid, what, "a point is named by itself, without type and verb")
		}
		return nil
	case s.GetType() == "" || s.GetPoint() != "":
		return errs.New(errs.Invalid, what, "it names no type, or a point")
	case slices.Contains([]string{VerbCreate, VerbUpdate, VerbDelete}, s.GetVerb()):
		return nil
	case s.GetPhase() == PhaseBefore && messageName.MatchString(s.GetVerb()):
		return nil
	}
	return errs.New(errs.Invalid, what, "its verb is none of create, update, delete, and no message")
}

func (c *manifestCheck) subscriptions(p Plugin) {
	seen := map[string]bool{}
	for _, s := range p.Manifest.Subscriptions {
		if err := CheckSubscription(s); err != nil {
			c.fail(err.Error())
		}
		key := s.GetPhase() + " " + s.GetType() + " " + s.GetVerb() + s.GetPoint()
		if seen[key] {
			c.fail("subscription " + key + " is declared twice")
		}
		seen[key] = true
	}
	if has := len(seen) > 0; has != (p.Observer != nil) {
		c.fail(fmt.Sprintf("%d subscriptions are declared, and there is an observer: %t", len(seen), p.Observer != nil))
	}
}

type observerServer struct {
	Observer
	laterObserver
}

type laterObserver struct {
	pluginv1.UnimplementedObserverServiceServer
}

// NewObserverClient calls an observer plugin over conn.
func NewObserverClient(conn grpc.ClientConnInterface) Observer {
	return &observerClient{pluginv1.NewObserverServiceClient(conn)}
}

type observerClient struct {
	rpc pluginv1.ObserverServiceClient
}

func (c *observerClient) Before(ctx context.Context, req *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	return c.rpc.Before(ctx, req)
}

func (c *observerClient) After(ctx context.Context, req *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error) {
	return c.rpc.After(ctx, req)
}

func (c *observerClient) DoPoint(ctx context.Context, req *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	return c.rpc.DoPoint(ctx, req)
}

func (c *observerClient) UndoPoint(ctx context.Context, req *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	return c.rpc.UndoPoint(ctx, req)
}
