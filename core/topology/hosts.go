package topology

import (
	"cmp"
	"context"
	"math/rand/v2"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// hostParams are the parameters that every add-host message has.
var hostParams = []action.Param{
	{Name: "name", Type: "string", Required: true, MaxLength: 255},
	{Name: "description", Type: "string", MaxLength: 2048},
	{Name: "managementIp", Type: "string", Required: true, NoEmptyString: true, Holds: "host"},
	{Name: "clusterUuid", Type: "string", Required: true, Resource: "Cluster"},
}

// addHost is the state of the flow that adds a host.
type addHost struct {
	UUID, Name, Description, ManagementIP, ClusterUUID, ZoneUUID, Type string
	Fields                                                             map[string]any
	Tags                                                               []string
	UserTags                                                           []string
}

// registerHypervisors registers what the hypervisor plugins declare: the add and
// update messages of hosts.
func (s *Service) registerHypervisors() error {
	return plugin.Each(s.generic.Declared(), (*pluginv1.Manifest).GetHypervisors, s.registerHypervisor)
}

func (s *Service) registerHypervisor(d *pluginv1.HypervisorDecl) error {
	err := s.generic.RegisterAddition(kernel.Addition{
		Base: HostType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(), Params: hostParams, Kind: "host",
		Doc: "Adds a host of type " + d.GetType() + " and connects it.",
		Make: func(ctx context.Context, c *action.Call, p kernel.Params, own map[string]any) (action.Ref, error) {
			st, err := s.newHost(ctx, c, d, p, own)
			if err != nil {
				return action.Ref{}, err
			}
			return action.Ref{Type: "Host", UUID: st.UUID}, flow.Run(ctx, s.Flows, s.adding, st,
				flow.Options{Job: c.Job, Key: st.UUID, ResourceType: "Host", ResourceUUID: st.UUID})
		},
	})
	if err != nil {
		return err
	}
	return s.generic.RegisterPluginUpdate(kernel.PluginUpdate{
		Base: HostType.Type, Value: d.GetType(), Add: d.GetAdd(), Fields: d.GetFields(),
		Params: []action.Param{managementIP}, Check: s.checkNewAddress,
		After: func(ctx context.Context, uuid string, own map[string]any) error {
			if len(own) == 0 {
				return nil
			}
			return s.connectOrTry(ctx, uuid)
		},
	})
}

// managementIP is the parameter of a host's updates.
var managementIP = action.Param{Name: "managementIp", Type: "string", MaxLength: 255, Holds: "host"}

// checkNewAddress is checkManagementIP for an update.
func (s *Service) checkNewAddress(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error {
	if addr, ok := values["managementIp"].(string); ok {
		return s.checkManagementIP(ctx, tx, uuid, addr)
	}
	return nil
}

// newHost checks the parameters against the database; it changes nothing.
func (s *Service) newHost(ctx context.Context, c *action.Call, d *pluginv1.HypervisorDecl, p kernel.Params, own map[string]any) (*addHost, error) {
	st := &addHost{
		UUID: c.ResourceUUID, Name: p.Text("name"), Description: p.Text("description"),
		ManagementIP: p.Text("managementIp"), ClusterUUID: p.Text("clusterUuid"), Type: d.GetType(),
		Fields: own, Tags: c.SystemTags, UserTags: c.UserTags,
	}
	cl, err := store.Get(ctx, s.Store, ClusterType, st.ClusterUUID)
	if err != nil {
		return nil, err
	}
	if cl.HypervisorType != d.GetType() {
		return nil, errs.New(errs.Invalid, "cluster "+cl.Name, "takes hosts of type %s, not %s", cl.HypervisorType, d.GetType())
	}
	st.ZoneUUID = cl.ZoneUUID
	return st, s.checkManagementIP(ctx, s.Store, st.UUID, st.ManagementIP)
}

// checkManagementIP refuses an address that another host has.
func (s *Service) checkManagementIP(ctx context.Context, q store.Querier, uuid, ip string) error {
	other, found, err := store.First(ctx, q, HostType, "`managementIp` = ? AND `uuid` <> ?", ip, uuid)
	if err != nil {
		return err
	}
	if found {
		return errs.New(errs.Exists, "managementIp "+ip, "host %s has this address already", other.Name).
			WithAdvice("delete that host first, or use another address")
	}
	return nil
}

// addHostFlow inserts the host, connects it, and takes it back when the
// connection fails (spec: compute and storage, section 1.1).
func (s *Service) addHostFlow() *flow.Def[addHost] {
	return flow.Define("add-host",
		flow.Tx("insert", s.insertHost, func(ctx context.Context, tx *store.Tx, st *addHost) error {
			return s.deleteHostRow(ctx, tx, st.UUID, st.Type)
		}),
		flow.Do("connect", func(ctx context.Context, st *addHost) error {
			return s.connect(ctx, st.UUID)
		}, func(ctx context.Context, st *addHost) error {
			return s.leave(ctx, st.UUID, cascade.Permissive)
		}),
	)
}

func (s *Service) insertHost(ctx context.Context, tx *store.Tx, st *addHost) error {
	if err := cascade.Guard(ctx, tx, "Cluster", st.ClusterUUID); err != nil {
		return err
	}
	if err := s.checkManagementIP(ctx, tx, st.UUID, st.ManagementIP); err != nil {
		return err
	}
	h := &Host{ZoneUUID: st.ZoneUUID, ClusterUUID: st.ClusterUUID, ManagementIP: st.ManagementIP,
		HypervisorType: st.Type, State: Enabled, Status: Connecting, Lot: rand.Int64()}
	h.UUID, h.Name, h.Description = st.UUID, st.Name, st.Description
	if err := store.Insert(ctx, tx, HostType, h); err != nil {
		return err
	}
	if err := s.generic.InsertSubtype(ctx, tx, HostType.Type, st.Type, st.UUID, st.Fields); err != nil {
		return err
	}
	return s.Tags.CreateAll(ctx, tx, "Host", st.UUID, st.Tags, st.UserTags)
}

func (s *Service) deleteHostRow(ctx context.Context, tx *store.Tx, uuid, hypervisor string) error {
	for _, part := range hostParts { // Enforcing may have left some
		if _, err := tx.Exec(ctx, "DELETE FROM `"+part+"` WHERE `hostUuid` = ?", uuid); err != nil {
			return err
		}
	}
	if sub := s.generic.SubtypeOf(HostType.Type, hypervisor); sub != nil {
		if err := store.Delete(ctx, tx, sub, uuid); err != nil {
			return err
		}
	}
	return s.Tags.DeleteRow(ctx, tx, HostType.Type, uuid)
}

// hostUUID holds the parameter of actions on one host.
type hostUUID struct {
	UUID string `api:"uuid,required,path,resource=Host"`
}

func (s *Service) registerHosts() error {
	action.Register(s.Actions, action.Action{
		Message: "APIReconnectHostMsg", Method: "PUT", Path: "/hosts/{uuid}/actions", Key: "reconnectHost", Async: true,
		Access: action.Admin, Queue: "uuid", Returns: "Host", Kind: "host", Doc: "Connects a host anew.",
	}, func(ctx context.Context, _ *action.Call, p *hostUUID) (action.Ref, error) {
		return action.Ref{Type: "Host", UUID: p.UUID}, s.connectOrTry(ctx, p.UUID)
	})
	type hypervisorTypes struct {
		Types []string `json:"hypervisorTypes"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIGetHypervisorTypesMsg", Method: "GET", Path: "/hosts/hypervisor-types", Access: action.Admin,
		Doc: "Lists the hypervisor types that the plugins offer.",
	}, func(context.Context, *action.Call, *struct{}) (hypervisorTypes, error) {
		return hypervisorTypes{plugin.Types(s.Plugins, (*pluginv1.Manifest).GetHypervisors)}, nil
	})
	return cmp.Or(
		s.generic.RegisterUpdate(HostType.Type, action.Admin, s.checkNewAddress, managementIP),
		s.registerHostState(),
		s.generic.RegisterDelete(HostType.Type, action.Admin),
	)
}

// hostParts are rows of a host, most of them other services'. Those services read
// them when they leave it, so they go with the host and not before.
var hostParts = []string{"PrimaryStorageHostRef", "L2NetworkHostRef", HostCheckType.Name}

// deleteHost lets go of a host and removes its row.
func (s *Service) deleteHost(ctx context.Context, uuid string, m cascade.Mode) error {
	h, found, err := store.First(ctx, s.Store, HostType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	if err := s.leave(ctx, uuid, m); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error { return s.deleteHostRow(ctx, tx, uuid, h.HypervisorType) })
}

// leave undoes connect: the other services leave the host, and then it is
// disconnected. With Enforcing, a host that cannot be reached is no obstacle; one
// that is gone or was never connected is a success.
func (s *Service) leave(ctx context.Context, uuid string, m cascade.Mode) error {
	s.stopWatch(uuid)
	h, err := s.PluginHost(ctx, s.Store, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if m == cascade.Enforcing {
		hook.Announce(ctx, s.Hooks, contract.HostLeaving, h)
	} else if err := hook.Tell(ctx, s.Hooks, contract.HostLeaving, h); err != nil {
		return err
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err == nil {
		_, err = hv.DisconnectHost(ctx, &pluginv1.DisconnectHostRequest{Host: h})
	}
	if m == cascade.Enforcing {
		return nil
	}
	return err
}
