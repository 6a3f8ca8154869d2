package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// ObserverFixture is what an observer is tested with. Whatever the manifest
// subscribes to must be in it.
type ObserverFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Before are calls that it is asked of, at least one for each of its subscriptions,
	// with what it is to answer: nothing (nil) leaves that open.
	Before []AskedBefore
	// Subject is what a point is about, for a resource of that UUID.
	Subject func(point, uuid string) *pluginv1.PointSubject
	// Exists asks for what DoPoint did at a point for a resource; nil when there is no
	// way to ask.
	Exists func(ctx context.Context, point, uuid string) (bool, error)
	// After are changes that it is told of, at least one for each of its subscriptions.
	After []*pluginv1.AfterRequest
	// Parallel is how many resources are worked on at once; 0 means 8.
	Parallel int
}

// AskedBefore is a call with the answer that is expected.
type AskedBefore struct {
	Request *pluginv1.BeforeRequest
	// Denied: it must be refused, with a reason; Allowed: it must not.
	Denied, Allowed bool
}

// Observer checks an observer by all that its manifest subscribes to.
func Observer(t *testing.T, f ObserverFixture) {
	t.Helper()
	s := &observerSuite{suite: newSuite(t, f.Conn), f: f}
	for _, sub := range f.Conn.Manifest.Subscriptions {
		switch sub.Phase {
		case pluginsdk.PhaseBefore:
			s.before(sub)
		case pluginsdk.PhaseAfter:
			s.after(sub)
		default:
			s.pair(s.point(sub.Point))
		}
	}
}

type observerSuite struct {
	*suite
	f ObserverFixture
}

// before: an answer is that of the contract, and a repeat answers the same, as a call
// may be asked of twice.
func (s *observerSuite) before(sub *pluginv1.Subscription) {
	name := "Before " + sub.Verb + " of " + sub.Type
	s.check(name, func(t *testing.T) {
		asked := 0
		for _, q := range s.f.Before {
			if q.Request.Type != sub.Type || q.Request.Verb != sub.Verb {
				continue
			}
			asked++
			first, err := s.ask(t, s.conn, sub, q)
			if err != nil {
				t.Fatal(err)
			}
			lossy := DropAnswer(s.conn, 1)
			_, err = pluginsdk.NewObserverClient(lossy).Before(call(t), q.Request)
			wantLost(t, err)
			again, err := s.ask(t, s.conn, sub, q)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(first, again) {
				t.Errorf("asked again it answers %v, at first %v", again, first)
			}
		}
		if asked == 0 {
			t.Errorf("the fixture has no call for the subscription")
		}
	})
}

func (s *observerSuite) ask(t *testing.T, conn grpc.ClientConnInterface, sub *pluginv1.Subscription, q AskedBefore) (*pluginv1.BeforeResponse, error) {
	answer, err := pluginsdk.NewObserverClient(conn).Before(call(t), q.Request)
	if err != nil {
		return nil, err
	}
	denied := answer.Denial != nil
	switch {
	case denied && answer.Denial.Reason == "":
		return nil, fmt.Errorf("it denies %s and gives no reason", q.Request.Message)
	case denied && q.Allowed, !denied && q.Denied:
		return nil, fmt.Errorf("%s %s: it is denied: %t", q.Request.Message, q.Request.Parameters, denied)
	}
	amended := map[string]json.RawMessage{}
	if len(answer.Amend) > 0 {
		if err := json.Unmarshal(answer.Amend, &amended); err != nil {
			return nil, fmt.Errorf("what it amends is no JSON object: %w", err)
		}
	}
	if len(answer.AddSystemTags) > 0 {
		amended["systemTags"] = nil
	}
	for name := range amended {
		if !slices.Contains(sub.Amends, name) {
			return nil, fmt.Errorf("it amends %s, which its subscription does not name", name)
		}
	}
	return answer, nil
}

// after: what is told twice, as after a lost answer, is taken twice.
func (s *observerSuite) after(sub *pluginv1.Subscription) {
	s.check("After "+sub.Verb+" of "+sub.Type, func(t *testing.T) {
		told := 0
		for _, e := range s.f.After {
			if e.Type != sub.Type || e.Verb != sub.Verb {
				continue
			}
			told++
			_, err := pluginsdk.NewObserverClient(DropAnswer(s.conn, 1)).After(call(t), e)
			wantLost(t, err)
			for range 2 {
				if _, err := pluginsdk.NewObserverClient(s.conn).After(call(t), e); err != nil {
					t.Error(err)
				}
			}
		}
		if told == 0 {
			t.Errorf("the fixture has no change for the subscription")
		}
	})
	s.check("After what was missed of "+sub.Type, func(t *testing.T) {
		if _, err := pluginsdk.NewObserverClient(s.conn).After(call(t), &pluginv1.AfterRequest{Type: sub.Type, Verb: pluginsdk.VerbMissed}); err != nil {
			t.Error(err)
		}
	})
}

// point: DoPoint and UndoPoint are a pair.
func (s *observerSuite) point(name string) pair {
	p := pair{
		name: "DoPoint " + name, undoName: "UndoPoint " + name, parallel: s.f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			r, err := pluginsdk.NewObserverClient(conn).DoPoint(ctx, &pluginv1.DoPointRequest{Point: name, Subject: s.f.Subject(name, id)})
			if err == nil && len(r.State) > pluginsdk.MaxPointState {
				err = fmt.Errorf("its state has %d bytes; at most %d are kept", len(r.State), pluginsdk.MaxPointState)
			}
			return r, err
		},
		// Its answer may have been lost, and its state with it.
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewObserverClient(conn).UndoPoint(ctx, &pluginv1.UndoPointRequest{Point: name, Subject: s.f.Subject(name, id)})
			return err
		},
	}
	if s.f.Exists != nil {
		p.exists = func(ctx context.Context, id string) (bool, error) { return s.f.Exists(ctx, name, id) }
	}
	return p
}
