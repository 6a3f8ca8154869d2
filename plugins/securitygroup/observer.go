package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// observer tells hosts when something has changed.
type observer struct{ passes *passes }

// Before is not subscribed to.
func (o *observer) Before(context.Context, *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	return pluginsdk.Allow(), nil
}

// After has hosts be as the rows are.
func (o *observer) After(ctx context.Context, req *pluginv1.AfterRequest) (*pluginv1.AfterResponse, error) {
	p, err := o.passes.run(ctx)
	if err == nil {
		err = o.passes.wait(ctx, p, "")
	}
	return &pluginv1.AfterResponse{}, err
}

// DoPoint does the step of a point.
func (o *observer) DoPoint(ctx context.Context, req *pluginv1.DoPointRequest) (*pluginv1.DoPointResponse, error) {
	about := req.GetSubject()
	switch req.GetPoint() {
	case "vm.start.nics-ready":
		return &pluginv1.DoPointResponse{}, o.start(ctx, about, true)
	case "nic.attach.begin":
		return &pluginv1.DoPointResponse{}, o.start(ctx, about, false)
	case "vm.stop.done", "vm.destroy.done", "nic.detach.done":
		return &pluginv1.DoPointResponse{}, o.members(ctx, about, "")
	case "vm.migrate.nics-ready":
		return &pluginv1.DoPointResponse{}, o.arriving(ctx, about)
	case "vm.migrate.done":
		return &pluginv1.DoPointResponse{}, o.arrived(ctx, about)
	case "host.connected":
		return &pluginv1.DoPointResponse{}, o.connected(ctx, about.GetHostUuid())
	case "host.leaving":
		o.passes.leaves(about.GetHostUuid())
		return &pluginv1.DoPointResponse{}, nil
	}
	return nil, errs.New(errs.Unsupported, req.GetPoint(), "this plugin has no step there")
}

// UndoPoint takes back the step before a guest starts, moves, or gets a NIC, and that after
// a NIC has gone. Other points have nothing to be undone.
func (o *observer) UndoPoint(ctx context.Context, req *pluginv1.UndoPointRequest) (*pluginv1.UndoPointResponse, error) {
	switch req.GetPoint() {
	case "vm.start.nics-ready", "nic.attach.begin":
		return &pluginv1.UndoPointResponse{}, o.members(ctx, req.GetSubject(), "")
	case "nic.detach.done":
		return &pluginv1.UndoPointResponse{}, o.members(ctx, req.GetSubject(), req.GetSubject().GetHostUuid())
	case "vm.migrate.nics-ready":
		return &pluginv1.UndoPointResponse{}, o.arrived(ctx, req.GetSubject())
	}
	return &pluginv1.UndoPointResponse{}, nil
}

func nicsOf(about *pluginv1.PointSubject) []string {
	var uuids []string
	for _, n := range about.GetNics() {
		uuids = append(uuids, n.GetUuid())
	}
	return uuids
}

// start has the host filter the guest's packets before it starts, or gets a NIC. A guest
// whose NICs are in no group costs two questions.
func (o *observer) start(ctx context.Context, about *pluginv1.PointSubject, starts bool) error {
	if err := o.passes.graph.ofTags(ctx, about, starts); err != nil {
		return err
	}
	return o.members(ctx, about, about.GetHostUuid())
}

// members has a pass when NICs are in groups, which are about to be on a host: that
// must take it. With "" they are on none any more.
func (o *observer) members(ctx context.Context, about *pluginv1.PointSubject, host string) error {
	of, err := o.passes.graph.membersOf(ctx, nicsOf(about))
	if err != nil || len(of) == 0 {
		return err
	}
	o.passes.moves(nicsOf(about), host)
	p, err := o.passes.run(ctx)
	if err != nil {
		return err
	}
	return o.passes.wait(ctx, p, host)
}

// arriving has the host to which a guest moves filter its packets before it runs there;
// the one that it comes from goes on.
func (o *observer) arriving(ctx context.Context, about *pluginv1.PointSubject) error {
	of, err := o.passes.graph.membersOf(ctx, nicsOf(about))
	if err != nil || len(of) == 0 {
		return err
	}
	o.passes.arrive(nicsOf(about), about.GetHostUuid())
	p, err := o.passes.run(ctx)
	if err != nil {
		return err
	}
	return o.passes.wait(ctx, p, about.GetHostUuid())
}

// arrived has a guest's packets be filtered where its row says that it is, and nowhere
// else: it has moved, or will not.
func (o *observer) arrived(ctx context.Context, about *pluginv1.PointSubject) error {
	o.passes.settle(nicsOf(about))
	of, err := o.passes.graph.membersOf(ctx, nicsOf(about))
	if err != nil || len(of) == 0 {
		return err
	}
	p, err := o.passes.run(ctx)
	if err != nil {
		return err
	}
	return o.passes.wait(ctx, p, "")
}

func (o *observer) connected(ctx context.Context, host string) error {
	p, err := o.passes.run(ctx, host)
	if err == nil {
		err = o.passes.wait(ctx, p, host)
	}
	return err
}
