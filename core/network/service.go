package network

import (
	"context"
	"crypto/md5"
	"encoding/hex"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/problem"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service keeps networks, addresses and NICs.
type Service struct {
	needs
	hosts     contract.Hosts
	guests    contract.Guests
	changes   changes
	attaching *flow.Def[l2Attach]
	problems  *problem.Book
	// resyncs are the tellings of all rows to hosts that have lost them (resync).
	resyncs singleflight.Group
}

// needs are the parts of the kernel that this service uses.
type needs struct {
	Store   *store.Store
	Types   *resource.Registry
	Actions *action.Registry
	Flows   *flow.Engine
	Cascade *cascade.Engine
	Tags    *tag.Service
	Hooks   *hook.Service
	Plugins *plugin.Manager
	Log     hclog.Logger
	generic kernel.Generic
}

func needsOf(k *kernel.Kernel) needs {
	return needs{Store: k.Store, Types: k.Types, Actions: k.Actions, Flows: k.Flows, Cascade: k.Cascade, Tags: k.Tags,
		Hooks: k.Hooks, Plugins: k.Plugins, Log: k.Log, generic: k}
}

// New makes the service; hosts tells it how to reach a host.
func New(k *kernel.Kernel, hosts contract.Hosts) *Service {
	s := &Service{needs: needsOf(k), hosts: hosts}
	s.problems = problem.New(s.Store, s.Log, ProblemType.Type, "l3NetworkUuid", L3NetworkType.Type)
	s.attaching = s.attachFlow()
	hook.On(s.Hooks, contract.HostConnected, s.HostConnected)
	hook.On(s.Hooks, contract.HostReported, s.HostReported)
	hook.On(s.Hooks, contract.HostLeaving, s.HostLeaving)
	return s
}

// Register registers actions, flows, tags and delete rules. The plugins must
// have been started.
func (s *Service) Register() error {
	flow.Register(s.Flows, s.attaching)
	s.registerInner()
	s.Cascade.Register(L2ClusterRefType.Name, cascade.Deleter{Delete: s.deleteClusterRef,
		Users: []string{"VmInstance"}})
	s.Cascade.Register(IPRangeType.Name, cascade.Deleter{Delete: s.deleteRange})
	s.Cascade.Register(L3NetworkType.Name, cascade.Deleter{Delete: s.deleteL3})
	s.Cascade.Register(VMNicType.Name, cascade.Deleter{Delete: s.deleteNIC, Lives: true, Key: s.plugged})
	s.generic.Brought(kernel.Bringer{Register: s.registerBrought, Save: s.SaveProviders, Holds: s.served})
	for _, f := range []func() error{s.registerL2, s.registerL3, s.registerRanges, s.registerFree, s.registerServices, s.registerFacts} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// registerBrought registers what plugins bring: types of networks, and tags.
func (s *Service) registerBrought() error {
	err := plugin.Each(s.generic.Declared(), (*pluginv1.Manifest).GetNetworkServices, func(d *pluginv1.NetworkServiceDecl) error {
		if d.GetServiceIpTag() == "" {
			return nil
		}
		return s.Tags.Define(tag.Pattern{Resource: "L3Network", Pattern: d.GetServiceIpTag(), Inherent: true})
	})
	if err != nil {
		return err
	}
	s.registerL2Attach()
	return s.registerL2Types()
}

// served refuses to do without a plugin whose services networks have.
func (s *Service) served(ctx context.Context, m *pluginv1.Manifest) error {
	for _, d := range m.GetNetworkServices() {
		n, err := store.Count(ctx, s.Store, L3ServiceType.Type, "`networkServiceProviderUuid` IN (SELECT `uuid` FROM `NetworkServiceProvider` WHERE `type` = ?)", d.GetType())
		if err == nil && n > 0 {
			err = refused("plugin "+m.GetName(), "%d services of networks are its", n).WithAdvice("detach them from the networks first")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SaveProviders makes the rows of the providers that the plugins declare; it
// is called at start, and with other manifests, and changes nothing when they exist. The UUID comes from
// the type, so that it is the same after a fresh start; MD5 makes an identity here, no secret.
func (s *Service) SaveProviders(ctx context.Context) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		declared := []string{""} // IN () is none
		for _, m := range s.generic.Declared() {
			for _, d := range m.GetNetworkServices() {
				if err := s.saveProvider(ctx, tx, d); err != nil {
					return err
				}
				declared = append(declared, d.GetType())
			}
		}
		return s.dropProviders(ctx, tx, declared)
	})
}

// dropProviders deletes the providers that nobody declares and no network has.
func (s *Service) dropProviders(ctx context.Context, tx *store.Tx, declared []string) error {
	gone, err := store.Find(ctx, tx, ProviderType, "`type` NOT IN (?) AND NOT EXISTS (SELECT 1 FROM `NetworkServiceL3NetworkRef` r WHERE r.`networkServiceProviderUuid` = `NetworkServiceProvider`.`uuid`)", declared)
	if err != nil {
		return err
	}
	for _, p := range gone {
		if _, err := tx.Exec(ctx, "DELETE FROM `NetworkServiceType` WHERE `networkServiceProviderUuid` = ?", p.UUID); err != nil {
			return err
		}
		if err := store.Delete(ctx, tx, ProviderType.Type, p.UUID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) saveProvider(ctx context.Context, tx *store.Tx, d *pluginv1.NetworkServiceDecl) error {
	p, found, err := store.First(ctx, tx, ProviderType, "`type` = ?", d.GetType())
	if err != nil {
		return err
	}
	if !found {
		sum := md5.Sum([]byte("network service provider " + d.GetType()))
		p = &Provider{Type: d.GetType(), ByPoints: d.GetByPoints()}
		p.UUID, p.Name, p.Description = hex.EncodeToString(sum[:]), d.GetName(), d.GetDescription()
		if err := store.Insert(ctx, tx, ProviderType, p); err != nil {
			return err
		}
	}
	have, err := store.Find(ctx, tx, ProviderServiceType, "`networkServiceProviderUuid` = ?", p.UUID)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, h := range have {
		known[h.Type] = true
	}
	for _, svc := range d.GetServices() {
		if known[svc] {
			continue
		}
		row := &ProviderService{ProviderUUID: p.UUID, Type: svc}
		row.UUID = resource.NewUUID()
		if err := store.Insert(ctx, tx, ProviderServiceType, row); err != nil {
			return err
		}
	}
	return nil
}

// decl returns what the plugin declared for a provider type.
func (s *Service) decl(providerType string) (*pluginv1.NetworkServiceDecl, bool) {
	for _, m := range s.Plugins.Manifests() {
		for _, d := range m.GetNetworkServices() {
			if d.GetType() == providerType {
				return d, true
			}
		}
	}
	return nil, false
}

// called are the providers for hosts of a hypervisor that are called about NICs: others
// act at points of flows.
func (s *Service) called(hypervisorType string) (all []*pluginv1.NetworkServiceDecl) {
	for _, m := range s.Plugins.Manifests() {
		for _, d := range m.GetNetworkServices() {
			if !d.GetByPoints() && contains(d.GetHypervisorTypes(), hypervisorType) {
				all = append(all, d)
			}
		}
	}
	return all
}

// registerFacts registers the lists of types.
func (s *Service) registerFacts() error {
	type l2Types struct {
		Types []string `json:"l2NetworkTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetL2NetworkTypesMsg", Method: "GET", Path: "/l2-networks/types", Access: action.Normal,
		Doc: "Lists the layer 2 network types that the plugins offer.",
	}, func(context.Context, *action.Call, *struct{}) (l2Types, error) {
		types := l2Types{[]string{}}
		for _, d := range plugin.L2Types(s.Plugins.Manifests()) {
			types.Types = append(types.Types, d.GetType())
		}
		return types, nil
	})
	type l3Types struct {
		Types []string `json:"l3NetworkTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetL3NetworkTypesMsg", Method: "GET", Path: "/l3-networks/types", Access: action.Normal,
		Doc: "Lists the layer 3 network types.",
	}, func(context.Context, *action.Call, *struct{}) (l3Types, error) {
		return l3Types{Types: []string{basicL3}}, nil
	})
	return nil
}

// plugged is the guest that has a NIC (cascade.Deleter).
func (s *Service) plugged(ctx context.Context, uuid string) (string, error) {
	return s.GuestOf(ctx, s.Store, uuid)
}

// deleteNIC removes a NIC's row and addresses, for the cascade of a network. No
// hypervisor can unplug it: that of a guest which runs is in use, and stays.
func (s *Service) deleteNIC(ctx context.Context, uuid string, _ cascade.Mode) error {
	vm, err := s.plugged(ctx, uuid)
	if err == nil && vm != "" && s.guests != nil {
		err = s.guests.Alive(ctx, s.Store, vm)
	}
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `UsedIp` WHERE `vmNicUuid` = ?", uuid); err != nil {
			return err
		}
		return store.Delete(ctx, tx, VMNicType.Type, uuid)
	})
}

func refused(object, format string, args ...any) *errs.Error {
	return errs.New(errs.Refused, object, format, args...)
}
