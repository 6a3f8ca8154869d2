package plugintest_test

import (
	"context"
	"maps"
	"net"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// memoryService is a provider whose host has NICs in a map.
type memoryService struct{ m *memory }

func (s memoryService) possible(nic *pluginv1.GuestNIC, networks []*pluginv1.L3Network) error {
	_, err := net.ParseMAC(nic.Mac)
	known := slices.ContainsFunc(networks, func(n *pluginv1.L3Network) bool { return n.Uuid == nic.L3Uuid })
	if err != nil || net.ParseIP(nic.Ip) == nil || !known {
		return s.m.invalid("NIC "+nic.NicUuid, "wrong address or network")
	}
	return nil
}

func (s memoryService) ApplyNetworkState(_ context.Context, r *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	rows, err := pluginsdk.SplitRows(r.Upserts)
	if err != nil {
		return nil, err
	}
	gone, err := pluginsdk.SplitKeys(r.Removes)
	if err != nil {
		return nil, err
	}
	for _, nic := range rows.NICs {
		if err := s.possible(nic, rows.Networks); err != nil {
			return nil, err
		}
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if r.Revision != "" {
		if s.m.at != r.Base && (s.m.at != r.Revision || s.m.broken == "repeat") && s.m.broken != "any base" {
			return &pluginv1.ApplyNetworkStateResponse{Resync: true}, nil
		}
		s.m.at = r.Revision
	}
	if s.m.broken != "leaves" {
		maps.DeleteFunc(s.m.nics, func(uuid string, nic *pluginv1.GuestNIC) bool {
			return slices.Contains(gone.NICs, uuid) || slices.Contains(gone.Networks, nic.L3Uuid)
		})
	}
	for _, nic := range rows.NICs {
		s.m.nics[nic.NicUuid] = nic
	}
	return &pluginv1.ApplyNetworkStateResponse{}, nil
}

func (s memoryService) SyncNetworkState(_ context.Context, r *pluginv1.SyncNetworkStateRequest) (*pluginv1.SyncNetworkStateResponse, error) {
	rows, err := pluginsdk.SplitRows(r.Rows)
	if err != nil {
		return nil, err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	answer, next := &pluginv1.SyncNetworkStateResponse{}, map[string]*pluginv1.GuestNIC{}
	for _, nic := range rows.NICs {
		if err := s.possible(nic, rows.Networks); err != nil {
			if s.m.broken == "all or none" {
				return nil, err
			}
			answer.Problems = append(answer.Problems, &pluginv1.NetworkProblem{L3Uuid: nic.L3Uuid, Reason: err.Error()})
			continue
		}
		next[nic.NicUuid] = nic
		if !proto.Equal(s.m.nics[nic.NicUuid], nic) {
			answer.Changed++
		}
	}
	for uuid := range s.m.nics {
		if next[uuid] == nil {
			answer.Removed++
		}
	}
	s.m.nics, s.m.at = next, r.Revision
	return answer, nil
}
