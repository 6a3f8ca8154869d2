package plugintest_test

import (
	"context"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// observed are the memory plugin's subscriptions.
var observed = []*pluginv1.Subscription{
	{Phase: pluginsdk.PhaseBefore, Type: "Zone", Verb: pluginsdk.VerbCreate, Amends: []string{"description"}},
	{Phase: pluginsdk.PhaseAfter, Type: "Zone", Verb: pluginsdk.VerbDelete},
	{Phase: pluginsdk.PhasePoint, Point: "memory.point"},
}

type memoryObserver struct{ m *memory }

func (o memoryObserver) Before(_ context.Context, r *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.asked++
	switch {
	case string(r.Parameters) == `{"name":"bad"}` && o.m.broken == "no reason":
		return pluginsdk.Deny("", ""), nil
	case string(r.Parameters) == `{"name":"bad"}` && o.m.broken != "accepts", o.m.broken == "differs" && o.m.asked%3 == 0:
		return pluginsdk.Deny("zones are not called bad", ""), nil
	case o.m.broken == "amends":
		return pluginsdk.Amend(map[string]any{"name": "mine"})
	}
	return pluginsdk.Amend(map[string]any{"description": "seen"})
}

func (o memoryObserver) After(_ context.Context, r *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.m.broken == "repeat" && o.m.points[r.Uuid] {
		return nil, errs.New(errs.Exists, "zone "+r.Uuid, "it was told")
	}
	o.m.points[r.Uuid] = true
	return &pluginv1.AfterResponse{}, nil
}

func (o memoryObserver) DoPoint(_ context.Context, r *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.m.broken == "repeat" && o.m.points[r.Subject.Uuid] {
		return nil, errs.New(errs.Exists, "step", "it is done")
	}
	o.m.points[r.Subject.Uuid] = true
	return &pluginv1.DoPointResponse{State: []byte("memory")}, nil
}

func (o memoryObserver) UndoPoint(_ context.Context, r *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.m.broken == "undo" && !o.m.points[r.Subject.Uuid] {
		return nil, errs.New(errs.NotFound, "step", "it was not done")
	}
	if o.m.broken != "leaves" {
		delete(o.m.points, r.Subject.Uuid)
	}
	return &pluginv1.UndoPointResponse{}, nil
}

func TestObserver(t *testing.T) {
	p := memoryPlugin()
	o := p.Observer.(memoryObserver)
	asked := func(parameters string) *pluginv1.BeforeRequest {
		return &pluginv1.BeforeRequest{Type: "Zone", Verb: pluginsdk.VerbCreate, Message: "APICreateZoneMsg", Parameters: []byte(parameters)}
	}
	plugintest.Observer(t, plugintest.ObserverFixture{Conn: plugintest.Loopback(t, p),
		Before: []plugintest.AskedBefore{{Request: asked(`{"name":"good"}`), Allowed: true}, {Request: asked(`{"name":"bad"}`), Denied: true}},
		After:  []*pluginv1.AfterRequest{{Type: "Zone", Verb: pluginsdk.VerbDelete, Uuid: plugintest.NewUUID()}},
		Subject: func(_, uuid string) *pluginv1.PointSubject {
			return &pluginv1.PointSubject{Type: "VmInstance", Uuid: uuid}
		},
		Exists: func(_ context.Context, _, uuid string) (bool, error) {
			o.m.mu.Lock()
			defer o.m.mu.Unlock()
			return o.m.points[uuid], nil
		},
	})
}
