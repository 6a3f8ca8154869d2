package main

import (
	"context"
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// owner has all fragments of this plugin on a host.
const owner = "vlan-l2"

// l2 makes bridges over VLANs of physical interfaces.
type l2 struct{ core pluginsdk.Core }

// Realize bridges the network's VLAN on a host. A repeat changes nothing. Errors:
// Invalid for a name that is no interface, a number that is no VLAN, or a switch other
// than the Linux bridge; Unavailable for a host that cannot tag frames.
func (n *l2) Realize(ctx context.Context, r *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	bridge, err := bridgeOf(r.GetNetwork())
	if err != nil {
		return nil, err
	}
	key := r.GetNetwork().GetUuid()
	err = n.apply(ctx, r.GetHost(), key, &hostv1.ApplyRequest{
		Owner:  owner,
		Upsert: []*hostv1.Fragment{{Key: key, Kind: &hostv1.Fragment_Bridge{Bridge: bridge}}},
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.RealizeResponse{Bridge: bridge.GetName()}, nil
}

// Unrealize removes the bridge and the VLAN from the interface. A network that was
// never realised is a success.
func (n *l2) Unrealize(ctx context.Context, r *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	key := r.GetNetwork().GetUuid()
	if err := pluginsdk.CheckUUID("L2 network", key); err != nil {
		return nil, err
	}
	err := n.apply(ctx, r.GetHost(), key, &hostv1.ApplyRequest{Owner: owner, Remove: []string{key}})
	if err != nil {
		return nil, err
	}
	return &pluginv1.UnrealizeResponse{}, nil
}

// apply changes the fragment of a network. It keeps the class of the agent's error and
// says on which host it was.
func (n *l2) apply(ctx context.Context, host *pluginv1.Host, uuid string, req *hostv1.ApplyRequest) error {
	if host.GetUuid() == "" {
		return errs.New(errs.Invalid, "L2 network "+uuid, "the call names no host")
	}
	if _, err := n.core.Host(host.GetUuid()).Apply(ctx, req); err != nil {
		return errs.Wrap(errs.ClassOf(err), "L2 network "+uuid, err, "apply its network state on host %s", host.GetUuid())
	}
	return nil
}

// bridgeOf checks a network and returns its bridge. Its name begins otherwise than that
// of an untagged network: br_eth0_7 would be that of an interface eth0_7, too.
func bridgeOf(n *pluginv1.L2Network) (*hostv1.Bridge, error) {
	if err := pluginsdk.CheckUUID("L2 network", n.GetUuid()); err != nil {
		return nil, err
	}
	object := "L2 network " + n.GetUuid()
	if n.GetVswitchType() != "" && n.GetVswitchType() != linuxBridge {
		return nil, errs.New(errs.Invalid, object, "virtual switch %q is not %s, the only one that this network type has", n.GetVswitchType(), linuxBridge)
	}
	if err := dataplane.CheckDevice(object, n.GetPhysicalInterface()); err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(n.GetFields()[vlanField], 10, 12)
	if err != nil || id == 0 { // the agent would take 0 for none
		return nil, errs.New(errs.Invalid, object, "%q is no VLAN", n.GetFields()[vlanField]).WithAdvice("give a number from 1 to 4094")
	}
	b := &hostv1.Bridge{
		Name:   dataplane.DeviceName("bv_", n.GetPhysicalInterface()+"_"+strconv.FormatUint(id, 10)),
		Uplink: n.GetPhysicalInterface(), VlanId: int32(id), Alias: "kumo L2 network " + n.GetUuid(),
	}
	return b, dataplane.CheckFragment(&hostv1.Fragment{Key: n.GetUuid(), Kind: &hostv1.Fragment_Bridge{Bridge: b}})
}
