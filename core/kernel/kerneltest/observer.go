package kerneltest

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Observe has the plugin of the world subscribe; it comes before Plugin. What it is
// asked and told is in Calls, by "Before", "After", "DoPoint" and "UndoPoint".
func (f *Fake) Observe(subscriptions ...*pluginv1.Subscription) {
	f.subscriptions = append(f.subscriptions, subscriptions...)
}

// AtPoints are the subscriptions to points.
func AtPoints(points ...string) []*pluginv1.Subscription {
	all := make([]*pluginv1.Subscription, len(points))
	for i, p := range points {
		all[i] = &pluginv1.Subscription{Phase: pluginsdk.PhasePoint, Point: p}
	}
	return all
}

// SetBefore decides what the plugin answers when it is asked before a call: nil
// allows all.
func (f *Fake) SetBefore(answer func(*pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = answer
}

type observer struct{ *Fake }

func (o observer) Before(_ context.Context, r *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	o.mu.Lock()
	answer := o.before
	o.mu.Unlock()
	if answer == nil {
		return pluginsdk.Allow(), nil
	}
	return answer(r)
}

func (observer) After(context.Context, *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error) {
	return &pluginv1.AfterResponse{}, nil
}

// DoPoint answers with the point as its state, which UndoPoint is to be given.
func (observer) DoPoint(_ context.Context, r *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	return &pluginv1.DoPointResponse{State: []byte(r.GetPoint())}, nil
}

func (observer) UndoPoint(context.Context, *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	return &pluginv1.UndoPointResponse{}, nil
}
