package driver

import (
	"context"
	"strconv"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type l2 struct{ *simulator }

type service struct{ *simulator }

var (
	_ pluginsdk.L2Network      = l2{}
	_ pluginsdk.NetworkService = service{}
)

func (n l2) Realize(ctx context.Context, req *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	host, network := req.GetHost().GetUuid(), req.GetNetwork().GetUuid()
	return run(ctx, n.simulator, "Realize", func(w *world.Live) (*pluginv1.RealizeResponse, error) {
		t := req.GetNetwork().GetType()
		if t != l2Type && t != l2VLANType {
			return nil, errs.New(errs.Unsupported, "L2 network "+network, "its type %q is not %s or %s", t, l2Type, l2VLANType)
		}
		device := req.GetNetwork().GetPhysicalInterface()
		if err := dataplane.CheckDevice("L2 network "+network, device); err != nil {
			return nil, err
		}
		if t == l2VLANType {
			device += "_" + strconv.Itoa(int(req.GetNetwork().GetVirtualNetworkId()))
		}
		bridge, err := w.Realize(host, network, device)
		return &pluginv1.RealizeResponse{Bridge: bridge}, err
	}, host, network)
}

func (n l2) Unrealize(ctx context.Context, req *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	host, network := req.GetHost().GetUuid(), req.GetNetwork().GetUuid()
	return run(ctx, n.simulator, "Unrealize", func(w *world.Live) (*pluginv1.UnrealizeResponse, error) {
		return &pluginv1.UnrealizeResponse{}, w.Unrealize(host, network)
	}, host, network)
}

func (s service) PrepareNICs(ctx context.Context, req *pluginv1.PrepareNICsRequest) (*pluginv1.PrepareNICsResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, s.simulator, "PrepareNICs", func(w *world.Live) (*pluginv1.PrepareNICsResponse, error) {
		bindings, err := bindings(req.GetNics())
		if err != nil {
			return nil, err
		}
		return &pluginv1.PrepareNICsResponse{}, w.Prepare(host, networks(req.GetNetworks()), bindings)
	}, concerned(host, req.GetNics())...)
}

func (s service) ReleaseNICs(ctx context.Context, req *pluginv1.ReleaseNICsRequest) (*pluginv1.ReleaseNICsResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, s.simulator, "ReleaseNICs", func(w *world.Live) (*pluginv1.ReleaseNICsResponse, error) {
		uuids := make([]string, len(req.GetNics()))
		for i, n := range req.GetNics() {
			uuids[i] = n.GetNicUuid()
		}
		return &pluginv1.ReleaseNICsResponse{}, w.Release(host, uuids)
	}, concerned(host, req.GetNics())...)
}

func (s service) SyncHost(ctx context.Context, req *pluginv1.SyncHostRequest) (*pluginv1.SyncHostResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, s.simulator, "SyncHost", func(w *world.Live) (*pluginv1.SyncHostResponse, error) {
		bindings, err := bindings(req.GetNics())
		if err != nil {
			return nil, err
		}
		return &pluginv1.SyncHostResponse{}, w.Sync(host, networks(req.GetNetworks()), bindings)
	}, host)
}

func (s service) ReleaseNetwork(ctx context.Context, req *pluginv1.ReleaseNetworkRequest) (*pluginv1.ReleaseNetworkResponse, error) {
	host, l3 := req.GetHost().GetUuid(), req.GetL3Uuid()
	return run(ctx, s.simulator, "ReleaseNetwork", func(w *world.Live) (*pluginv1.ReleaseNetworkResponse, error) {
		return &pluginv1.ReleaseNetworkResponse{}, w.ReleaseNetwork(host, l3)
	}, host, l3)
}

// concerned lists the objects that a call for NICs concerns.
func concerned(host string, nics []*pluginv1.GuestNIC) []string {
	ids := make([]string, 0, 1+2*len(nics))
	ids = append(ids, host)
	for _, n := range nics {
		ids = append(ids, n.GetNicUuid(), n.GetVmUuid())
	}
	return ids
}

func networks(in []*pluginv1.L3Network) []world.Network {
	out := make([]world.Network, len(in))
	for i, n := range in {
		out[i] = world.Network{L3: n.GetUuid(), Bridge: n.GetBridge(), Services: n.GetServices(), DNS: n.GetDns()}
	}
	return out
}

func bindings(in []*pluginv1.GuestNIC) ([]world.Binding, error) {
	out := make([]world.Binding, len(in))
	for i, n := range in {
		object := "NIC " + n.GetNicUuid()
		if !world.IsUUID(n.GetVmUuid()) {
			return nil, errs.New(errs.Invalid, object, "its VM's UUID %q is not 32 lower-case hex digits", n.GetVmUuid())
		}
		if _, err := kinds.Parse("mac", n.GetMac()); err != nil {
			return nil, errs.Wrap(errs.Invalid, object, err, "")
		}
		if ip := n.GetIp(); ip != "" {
			if _, err := kinds.Parse("addr", ip); err != nil {
				return nil, errs.Wrap(errs.Invalid, object, err, "")
			}
		}
		out[i] = world.Binding{NIC: n.GetNicUuid(), VM: n.GetVmUuid(), L3: n.GetL3Uuid(), MAC: n.GetMac(), IP: n.GetIp()}
	}
	return out, nil
}
