package plugin

//lint:file-ignore SA1019 this file is where the calls of the earlier contract are still made.

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// imperative is a network service provider of the contract before
// NetworkServiceDecl.declarative. It knows no revisions: hosts are told everything
// when they connect, and nothing else notices that one has lost something.
type imperative struct {
	rpc pluginv1.NetworkServiceServiceClient
}

// ApplyNetworkState makes a call for what goes of each kind, and one for all that
// comes. One that fails may have done a part; a repeat goes on.
func (i imperative) ApplyNetworkState(ctx context.Context, r *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	host := r.GetTarget().GetHost()
	gone, err := pluginsdk.SplitKeys(r.GetRemoves())
	if err != nil {
		return nil, err
	}
	rows, err := pluginsdk.SplitRows(r.GetUpserts())
	if err != nil {
		return nil, err
	}
	if len(gone.NICs) > 0 {
		release := &pluginv1.ReleaseNICsRequest{Host: host}
		for _, uuid := range gone.NICs {
			release.Nics = append(release.Nics, &pluginv1.GuestNIC{NicUuid: uuid})
		}
		if _, err := i.rpc.ReleaseNICs(ctx, release); err != nil {
			return nil, err
		}
	}
	for _, uuid := range gone.Networks {
		if _, err := i.rpc.ReleaseNetwork(ctx, &pluginv1.ReleaseNetworkRequest{Host: host, L3Uuid: uuid}); err != nil {
			return nil, err
		}
	}
	if len(rows.Networks) == 0 {
		return &pluginv1.ApplyNetworkStateResponse{}, nil
	}
	p, err := i.rpc.PrepareNICs(ctx, &pluginv1.PrepareNICsRequest{Host: host, Networks: rows.Networks, Nics: rows.NICs})
	if err != nil {
		return nil, err
	}
	return &pluginv1.ApplyNetworkStateResponse{Problems: p.GetProblems()}, nil
}

// SyncNetworkState is SyncHost.
func (i imperative) SyncNetworkState(ctx context.Context, r *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	rows, err := pluginsdk.SplitRows(r.GetRows())
	if err != nil {
		return nil, err
	}
	s, err := i.rpc.SyncHost(ctx, &pluginv1.SyncHostRequest{Host: r.GetTarget().GetHost(), Networks: rows.Networks, Nics: rows.NICs})
	if err != nil {
		return nil, err
	}
	return &pluginv1.SyncNetworkStateResponse{Problems: s.GetProblems()}, nil
}
