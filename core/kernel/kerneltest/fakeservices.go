package kerneltest

import (
	"context"
	"sync"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// served is a host, of one provider.
type served struct{ host, provider string }

// services keep at which revision each host is, of each provider, and leave the rows
// to Calls.
type services struct {
	mu sync.Mutex
	at map[served]string
}

func servedOf(t *pluginv1.NetworkTarget, provider string) served {
	return served{t.GetHost().GetUuid(), provider}
}

func (s *services) ApplyNetworkState(_ context.Context, r *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := servedOf(r.GetTarget(), r.GetProvider())
	if r.GetRevision() == "" {
		return &pluginv1.ApplyNetworkStateResponse{}, nil
	}
	if at := s.at[host]; at != r.GetBase() && at != r.GetRevision() {
		return &pluginv1.ApplyNetworkStateResponse{Resync: true}, nil
	}
	s.at[host] = r.GetRevision()
	return &pluginv1.ApplyNetworkStateResponse{}, nil
}

func (s *services) SyncNetworkState(_ context.Context, r *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[servedOf(r.GetTarget(), r.GetProvider())] = r.GetRevision()
	return &pluginv1.SyncNetworkStateResponse{}, nil
}
