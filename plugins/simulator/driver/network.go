package driver

import (
	"context"
	"slices"
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

func (s service) ApplyNetworkState(ctx context.Context, req *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	rows, err := pluginsdk.SplitRows(req.GetUpserts())
	if err != nil {
		return nil, err
	}
	gone, err := pluginsdk.SplitKeys(req.GetRemoves())
	if err != nil {
		return nil, err
	}
	method := methodApply
	if len(req.GetUpserts()) == 0 {
		method = methodRemove
	}
	host := req.GetTarget().GetHost().GetUuid()
	return run(ctx, s.simulator, method, func(w *world.Live) (*pluginv1.ApplyNetworkStateResponse, error) {
		bindings, err := bindings(rows.NICs)
		if err != nil {
			return nil, err
		}
		stale, err := w.Apply(host, req.GetBase(), req.GetRevision(), world.NetworkChange{
			Networks: networks(rows.Networks), Bindings: bindings, GoneNetworks: gone.Networks, GoneNICs: gone.NICs,
		})
		return &pluginv1.ApplyNetworkStateResponse{Resync: stale}, err
	}, concerned(host, rows, gone)...)
}

func (s service) SyncNetworkState(ctx context.Context, req *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	rows, err := pluginsdk.SplitRows(req.GetRows())
	if err != nil {
		return nil, err
	}
	host := req.GetTarget().GetHost().GetUuid()
	return run(ctx, s.simulator, "SyncNetworkState", func(w *world.Live) (*pluginv1.SyncNetworkStateResponse, error) {
		answer := &pluginv1.SyncNetworkStateResponse{}
		var possible []world.Binding
		for _, n := range rows.NICs {
			b, err := binding(n)
			if err != nil {
				answer.Problems = append(answer.Problems, &pluginv1.NetworkProblem{L3Uuid: n.GetL3Uuid(), Reason: err.Error()})
				continue
			}
			possible = append(possible, b)
		}
		changed, removed, err := w.Sync(host, req.GetRevision(), networks(rows.Networks), possible)
		answer.Changed, answer.Removed = int32(changed), int32(removed)
		return answer, err
	}, host)
}

// concerned lists the objects that a call concerns.
func concerned(host string, rows pluginsdk.NetworkRows, gone pluginsdk.NetworkKeys) []string {
	ids := make([]string, 0, 1+2*len(rows.NICs)+len(gone.NICs)+len(gone.Networks))
	ids = append(ids, host)
	for _, n := range rows.NICs {
		ids = append(ids, n.GetNicUuid(), n.GetVmUuid())
	}
	return slices.Concat(ids, gone.NICs, gone.Networks)
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
		var err error
		if out[i], err = binding(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func binding(n *pluginv1.GuestNIC) (world.Binding, error) {
	object := "NIC " + n.GetNicUuid()
	if !world.IsUUID(n.GetVmUuid()) {
		return world.Binding{}, errs.New(errs.Invalid, object, "its VM's UUID %q is not 32 lower-case hex digits", n.GetVmUuid())
	}
	if _, err := kinds.Parse("mac", n.GetMac()); err != nil {
		return world.Binding{}, errs.Wrap(errs.Invalid, object, err, "")
	}
	if ip := n.GetIp(); ip != "" {
		if _, err := kinds.Parse("addr", ip); err != nil {
			return world.Binding{}, errs.Wrap(errs.Invalid, object, err, "")
		}
	}
	return world.Binding{NIC: n.GetNicUuid(), VM: n.GetVmUuid(), L3: n.GetL3Uuid(), MAC: n.GetMac(), IP: n.GetIp()}, nil
}
