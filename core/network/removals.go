package network

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
)

// This file finds the rows that a message takes from a layer 3 network, for
// the message itself and for its plan (action.Removal).

// from is a removal from a layer 3 network, which stays.
func from(l3UUID string) action.Removal {
	return action.Removal{Subject: action.Row{Type: L3NetworkType.Name, UUID: l3UUID}}
}

func (s *Service) goneDNS(ctx context.Context, _ *action.Call, p *l3DNSPath) (action.Removal, error) {
	r := from(p.L3UUID)
	rows, err := store.Find(ctx, s.Store, DNSType, "`l3NetworkUuid` = ? AND `dns` = ?", p.L3UUID, p.DNS)
	for _, row := range rows {
		r.Rows = append(r.Rows, action.Row{Type: DNSType.Name, UUID: row.UUID, Name: row.DNS})
	}
	return r, err
}

func (s *Service) goneRoute(ctx context.Context, _ *action.Call, p *oldRoute) (action.Removal, error) {
	r := from(p.L3UUID)
	rows, err := store.Find(ctx, s.Store, HostRouteType, "`l3NetworkUuid` = ? AND `prefix` = ?", p.L3UUID, p.Prefix)
	for _, row := range rows {
		r.Rows = append(r.Rows, action.Row{Type: HostRouteType.Name, UUID: row.UUID, Name: row.Prefix})
	}
	return r, err
}

func (s *Service) goneServices(ctx context.Context, _ *action.Call, p *detachServices) (action.Removal, error) {
	r := from(p.L3UUID)
	rows, err := store.Find(ctx, s.Store, L3ServiceType, "`l3NetworkUuid` = ? ORDER BY `networkServiceType`", p.L3UUID)
	for _, row := range rows {
		if p.names(row) {
			r.Rows = append(r.Rows, action.Row{Type: L3ServiceType.Name, UUID: row.UUID, Name: row.ServiceType})
		}
	}
	return r, err
}

// names tells whether a service is to be unbound.
func (p *detachServices) names(row *L3NetworkService) bool {
	if p.Service != "" {
		return row.ServiceType == p.Service
	}
	return contains(p.Services[row.ProviderUUID], row.ServiceType)
}
