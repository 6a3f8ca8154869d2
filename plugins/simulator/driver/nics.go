package driver

import (
	"context"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var _ pluginsdk.NICAttacher = hypervisor{}

func (h hypervisor) AttachNIC(ctx context.Context, req *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error) {
	host, vm, n := req.GetHost().GetUuid(), req.GetVmUuid(), req.GetNic()
	return run(ctx, h.simulator, "AttachNIC", func(w *world.Live) (*pluginv1.AttachNICResponse, error) {
		return &pluginv1.AttachNICResponse{}, w.AttachNIC(host, vm, card(n))
	}, host, vm, n.GetUuid())
}

func (h hypervisor) DetachNIC(ctx context.Context, req *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error) {
	host, vm, n := req.GetHost().GetUuid(), req.GetVmUuid(), req.GetNic()
	return run(ctx, h.simulator, "DetachNIC", func(w *world.Live) (*pluginv1.DetachNICResponse, error) {
		return &pluginv1.DetachNICResponse{}, w.DetachNIC(host, vm, n.GetUuid())
	}, host, vm, n.GetUuid())
}

func card(n *pluginv1.NIC) world.NIC {
	return world.NIC{UUID: n.GetUuid(), MAC: n.GetMac(), Bridge: n.GetBridge(), Driver: n.GetDriver()}
}
