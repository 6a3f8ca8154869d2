package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// l2 makes bridges over physical interfaces.
type l2 struct{ *hosts }

// Realize bridges the network's physical interface on a host. A repeat changes
// nothing. Errors: Invalid for a name that is no interface or a virtual switch
// other than the Linux bridge.
func (n *l2) Realize(ctx context.Context, r *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	bridge, err := bridgeOf(r.Network)
	if err != nil {
		return nil, err
	}
	_, err = n.apply(ctx, r.Host, "L2 network "+r.Network.Uuid, &hostv1.ApplyRequest{
		Owner: ownerL2,
		Upsert: []*hostv1.Fragment{{
			Key: r.Network.Uuid,
			Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{
				Name: bridge, Uplink: r.Network.PhysicalInterface, Alias: "kumo L2 network " + r.Network.Uuid,
			}},
		}},
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.RealizeResponse{Bridge: bridge}, nil
}

// Unrealize removes the bridge; the interface gets its addresses back. A
// network that was never realised is a success.
func (n *l2) Unrealize(ctx context.Context, r *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	if err := pluginsdk.CheckUUID("L2 network", r.Network.GetUuid()); err != nil {
		return nil, err
	}
	_, err := n.apply(ctx, r.Host, "L2 network "+r.Network.Uuid, &hostv1.ApplyRequest{
		Owner: ownerL2, Remove: []string{r.Network.Uuid},
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.UnrealizeResponse{}, nil
}

// bridgeOf checks the network and returns the name of its bridge.
func bridgeOf(n *pluginv1.L2Network) (string, error) {
	if err := pluginsdk.CheckUUID("L2 network", n.GetUuid()); err != nil {
		return "", err
	}
	object := "L2 network " + n.Uuid
	if n.VswitchType != "" && n.VswitchType != linuxBridge {
		return "", errs.New(errs.Invalid, object, "virtual switch %q is not %s, the only one that this network type has", n.VswitchType, linuxBridge)
	}
	if err := dataplane.CheckDevice(object, n.PhysicalInterface); err != nil {
		return "", err
	}
	return dataplane.DeviceName("br_", n.PhysicalInterface), nil
}
