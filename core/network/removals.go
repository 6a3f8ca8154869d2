package network

import (
	"context"
	"net/netip"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file finds the rows that a message takes from a layer 3 network, for
// the message itself and for its plan (action.Removal).

// from is a removal from a layer 3 network, which stays.
func from(l3UUID string) action.Removal {
	return action.Removal{Subject: action.Row{Type: L3NetworkType.Name, UUID: l3UUID}}
}

// remove takes rows from a network and tells its hosts; err is how their search
// ended. None is a success.
func (s *Service) remove(ctx context.Context, r action.Removal, err error) error {
	if err != nil || len(r.Rows) == 0 {
		return err
	}
	return s.change(ctx, r.Subject.UUID, func(tx *store.Tx) error {
		for _, row := range r.Rows {
			t, ok := s.Types.Get(row.Type)
			if !ok {
				return errs.New(errs.Internal, "resource type "+row.Type, "it is not registered")
			}
			if err := s.Tags.DeleteRow(ctx, tx, t, row.UUID); err != nil {
				return err
			}
		}
		return nil
	})
}

// change writes rows of a network and tells its hosts.
func (s *Service) change(ctx context.Context, l3UUID string, write func(tx *store.Tx) error) error {
	if err := s.Store.Update(ctx, write); err != nil {
		return err
	}
	return s.changed(ctx, l3UUID, false)
}

// updated tells a network's hosts of new values of its fields that guests are told.
func (s *Service) updated(ctx context.Context, uuid string, values map[string]any) error {
	if _, given := values["dnsDomain"]; !given {
		return nil
	}
	return s.changed(ctx, uuid, false)
}

func (s *Service) goneDNS(ctx context.Context, _ *action.Call, p *l3DNSPath) (action.Removal, error) {
	r, spelled := from(p.L3UUID), p.DNS
	if a, err := netip.ParseAddr(p.DNS); err == nil {
		spelled = a.Unmap().String()
	}
	rows, err := store.Find(ctx, s.Store, DNSType, "`l3NetworkUuid` = ? AND `dns` IN (?)", p.L3UUID, []string{p.DNS, spelled})
	for _, row := range rows {
		r.Rows = append(r.Rows, action.Row{Type: DNSType.Name, UUID: row.UUID, Name: row.DNS})
	}
	return r, err
}

func (s *Service) goneRoute(ctx context.Context, _ *action.Call, p *oldRoute) (action.Removal, error) {
	r, spelled := from(p.L3UUID), p.Prefix
	if prefix, err := netip.ParsePrefix(p.Prefix); err == nil {
		spelled = prefix.Masked().String()
	}
	rows, err := store.Find(ctx, s.Store, HostRouteType, "`l3NetworkUuid` = ? AND `prefix` IN (?)", p.L3UUID, []string{p.Prefix, spelled})
	for _, row := range rows {
		r.Rows = append(r.Rows, action.Row{Type: HostRouteType.Name, UUID: row.UUID, Name: row.Prefix})
	}
	return r, err
}

func (s *Service) goneServices(ctx context.Context, _ *action.Call, p *detachServices) (action.Removal, error) {
	r := from(p.L3UUID)
	rows, err := store.Find(ctx, s.Store, L3ServiceType, "`l3NetworkUuid` = ? ORDER BY `networkServiceType`", p.L3UUID)
	if err != nil {
		return r, err
	}
	providers, err := store.Find(ctx, s.Store, ProviderType, "")
	types := map[string]string{}
	for _, provider := range providers {
		types[provider.UUID] = provider.Type
	}
	for _, row := range rows {
		if p.names(row, types[row.ProviderUUID]) {
			r.Rows = append(r.Rows, action.Row{Type: L3ServiceType.Name, UUID: row.UUID, Name: row.ServiceType})
		}
	}
	return r, err
}

// names tells whether a service of a provider of a type is to be unbound.
func (p *detachServices) names(row *L3NetworkService, providerType string) bool {
	if p.Service != "" {
		return row.ServiceType == p.Service
	}
	return contains(p.Services[row.ProviderUUID], row.ServiceType) || contains(p.Services[providerType], row.ServiceType)
}
