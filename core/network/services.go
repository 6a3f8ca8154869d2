package network

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// attachServices holds the parameters of
// APIAttachNetworkServiceToL3NetworkMsg: provider UUID (or type) to services.
type attachServices struct {
	L3UUID   string              `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Services map[string][]string `api:"networkServices,required"`
	Replace  bool                `api:"replace" caption:"Replace|替换现有提供者" doc:"Services that other providers give are given by these from now on, for guests that run too."`
}

// detachServices holds the parameters of the opposite: the same map, or one
// service whoever gives it.
type detachServices struct {
	L3UUID   string              `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Services map[string][]string `api:"networkServices"`
	Service  string              `api:"service,path"`
}

func (s *Service) registerServices() error {
	const path = "/l3-networks/{l3NetworkUuid}/network-services"
	action.Register(s.Actions, action.Action{
		Message: "APIAttachNetworkServiceToL3NetworkMsg", Method: "POST", Path: path, Async: true, Access: action.Normal,
		Queue: "l3NetworkUuid", Returns: "L3Network", Doc: "Binds services of providers to a network.",
	}, func(ctx context.Context, _ *action.Call, p *attachServices) (action.Ref, error) {
		return action.Ref{Type: "L3Network", UUID: p.L3UUID}, s.attachServices(ctx, p)
	})
	action.Register(s.Actions, action.Action{
		Message: "APIDetachNetworkServiceFromL3NetworkMsg", Method: "DELETE", Path: path, Optional: []string{path + "/{service}"},
		Async: true, Access: action.Admin, Queue: "l3NetworkUuid", Returns: "L3Network", Removes: action.Removes(s.goneServices), Doc: "Unbinds services from a network.",
	}, func(ctx context.Context, c *action.Call, p *detachServices) (action.Ref, error) {
		removal, err := s.goneServices(ctx, c, p)
		return action.Ref{Type: "L3Network", UUID: p.L3UUID}, s.remove(ctx, removal, err)
	})
	type serviceTypes struct {
		Types map[string][]string `json:"serviceAndProviderTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetNetworkServiceTypesMsg", Method: "GET", Path: "/network-services/types", Access: action.Admin,
		Doc: "Lists the network services and which providers give them.",
	}, func(context.Context, *action.Call, *struct{}) (serviceTypes, error) {
		r := serviceTypes{Types: map[string][]string{}}
		for _, m := range s.Plugins.Manifests() {
			for _, d := range m.GetNetworkServices() {
				for _, svc := range d.GetServices() {
					r.Types[svc] = append(r.Types[svc], d.GetType())
				}
			}
		}
		return r, nil
	})
	return nil
}

// attachServices binds services; each service of a network has at most one
// provider (spec: network services, intro).
func (s *Service) attachServices(ctx context.Context, p *attachServices) error {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := cascade.Guard(ctx, tx, L3NetworkType.Name, p.L3UUID); err != nil {
			return err
		}
		l3, err := store.Get(ctx, tx, L3NetworkType, p.L3UUID)
		if err != nil {
			return err
		}
		l2, err := store.Get(ctx, tx, L2NetworkType, l3.L2NetworkUUID)
		if err != nil {
			return err
		}
		bound, err := store.Find(ctx, tx, L3ServiceType, "`l3NetworkUuid` = ?", p.L3UUID)
		if err != nil {
			return err
		}
		have := map[string]*L3NetworkService{}
		for _, b := range bound {
			have[b.ServiceType] = b
		}
		for name, services := range p.Services {
			provider, found, err := store.First(ctx, tx, ProviderType, "`uuid` = ? OR `type` = ?", name, name)
			if err != nil {
				return err
			}
			if !found {
				return errs.New(errs.NotFound, "network service provider "+name, "there is none with this UUID or type")
			}
			if err := s.bind(ctx, tx, l3, l2, provider, services, have, p.Replace); err != nil {
				return err
			}
		}
		return s.ensureServiceIPs(ctx, tx, p.L3UUID)
	})
	if err != nil {
		return err
	}
	return s.changed(ctx, p.L3UUID, true)
}

func (s *Service) bind(ctx context.Context, tx *store.Tx, l3 *L3Network, l2 *L2Network, p *Provider, services []string, have map[string]*L3NetworkService, replace bool) error {
	d, ok := s.decl(p.Type)
	if !ok {
		return errs.New(errs.Unavailable, "network service provider "+p.Name, "its plugin is not enabled").WithAdvice("enable the plugin that brings provider type %s", p.Type)
	}
	if len(d.GetL2Types()) > 0 && !contains(d.GetL2Types(), l2.Type) {
		return refused("L3Network "+l3.Name, "is on a network of type %s, which provider %s does not serve", l2.Type, p.Name)
	}
	for _, svc := range services {
		if !contains(d.GetServices(), svc) {
			return invalid("networkServices", "provider %s does not give %s; it gives %v", p.Name, svc, d.GetServices())
		}
		if other, bound := have[svc]; bound {
			if !replace {
				return refused("L3Network "+l3.Name, "service %s is bound to provider %s already", svc, other.ProviderUUID).
					WithAdvice("to have another one give it from now on, say replace")
			}
			if err := store.Set(ctx, tx, L3ServiceType.Type, other.UUID, map[string]any{"networkServiceProviderUuid": p.UUID}); err != nil {
				return err
			}
			continue
		}
		row := &L3NetworkService{L3NetworkUUID: l3.UUID, ProviderUUID: p.UUID, ServiceType: svc}
		row.UUID = resource.NewUUID()
		have[svc] = row
		if err := store.Insert(ctx, tx, L3ServiceType, row); err != nil {
			return err
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
