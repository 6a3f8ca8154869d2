package network

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// basicL3 is the wire's default type of a layer 3 network.
const basicL3 = "L3BasicNetwork"

// newL3 holds the parameters of APICreateL3NetworkMsg.
type newL3 struct {
	kernel.Named
	Type       string `api:"type,default=L3BasicNetwork"`
	L2UUID     string `api:"l2NetworkUuid,required,resource=L2Network"`
	Category   string `api:"category,default=Private,values=Public|Private|System"`
	IPVersion  *int   `api:"ipVersion,values=4|6"`
	System     bool   `api:"system,default=false"`
	DNSDomain  string `api:"dnsDomain,holds=domain"`
	EnableIPAM *bool  `api:"enableIPAM,default=true"`
}

// l3DNS names a network and a name server.
type l3DNS struct {
	L3UUID string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	DNS    string `api:"dns,required,holds=addr"`
}

// l3DNSPath is l3DNS with the server in the path.
type l3DNSPath struct {
	L3UUID string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	DNS    string `api:"dns,required,path"`
}

func (s *Service) registerL3() error {
	kernel.RegisterCreate(s.generic, kernel.Creation[L3Network, newL3]{
		Type: L3NetworkType, Access: action.Normal, Doc: "Makes a layer 3 network on a layer 2 network.", Row: newL3Network,
		Insert: func(ctx context.Context, tx *store.Tx, row *L3Network) error {
			l2, err := store.Get(ctx, tx, L2NetworkType, row.L2NetworkUUID)
			if err == nil {
				row.ZoneUUID = l2.ZoneUUID
			}
			return err
		},
	})
	action.Register(s.Actions, action.Action{
		Message: "APIAddDnsToL3NetworkMsg", Method: "POST", Path: "/l3-networks/{l3NetworkUuid}/dns", Async: true,
		Access: action.Normal, Queue: "l3NetworkUuid", Returns: "L3Network", Doc: "Adds a name server that guests are told.",
	}, func(ctx context.Context, _ *action.Call, p *l3DNS) (action.Ref, error) {
		ref := action.Ref{Type: "L3Network", UUID: p.L3UUID}
		return ref, s.change(ctx, p.L3UUID, func(tx *store.Tx) error {
			servers, err := store.Find(ctx, tx, DNSType, "`l3NetworkUuid` = ?", p.L3UUID)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(servers, func(o *L3NetworkDNS) bool { return o.DNS == p.DNS }) {
				return refused("L3Network "+p.L3UUID, "has name server %s already", p.DNS)
			}
			if len(servers) >= maxDNS {
				return errs.New(errs.Exhausted, "L3Network "+p.L3UUID, "has %d name servers, which is all that DHCP can tell a guest", len(servers)).
					WithAdvice("remove one first")
			}
			if err := cascade.Guard(ctx, tx, L3NetworkType.Name, p.L3UUID); err != nil {
				return err
			}
			if err := serverFits(ctx, tx, p.L3UUID, p.DNS); err != nil {
				return err
			}
			row := &L3NetworkDNS{L3NetworkUUID: p.L3UUID, DNS: p.DNS}
			row.UUID = resource.NewUUID()
			return store.Insert(ctx, tx, DNSType, row)
		})
	})
	action.Register(s.Actions, action.Action{
		Message: "APIRemoveDnsFromL3NetworkMsg", Method: "DELETE", Path: "/l3-networks/{l3NetworkUuid}/dns/{dns}", Async: true,
		Access: action.Normal, Queue: "l3NetworkUuid", Returns: "L3Network", Removes: action.Removes(s.goneDNS), Doc: "Removes a name server.",
	}, func(ctx context.Context, c *action.Call, p *l3DNSPath) (action.Ref, error) {
		removal, err := s.goneDNS(ctx, c, p)
		return action.Ref{Type: "L3Network", UUID: p.L3UUID}, s.remove(ctx, removal, err)
	})
	s.registerRoutes()
	return cmp.Or(
		s.generic.RegisterUpdateThen(L3NetworkType.Type, action.Normal, s.mayBecome, s.updated,
			action.Param{Name: "system", Type: "bool?"}, action.Param{Name: "dnsDomain", Type: "string", MaxLength: 255, Holds: "domain"},
			action.Param{Name: "category", Type: "string", Values: []string{"Public", "Private", "System"}}),
		s.generic.RegisterState(L3NetworkType.Type, action.Normal, nil),
		s.generic.RegisterDelete(L3NetworkType.Type, action.Normal, s.l3Unused),
	)
}

func newL3Network(c *action.Call, p *newL3) (*L3Network, error) {
	switch {
	case p.Type != basicL3:
		return nil, invalid("type", "%q is not offered; %s is", p.Type, basicL3)
	case p.System != (p.Category == "System"):
		// spec: network services, L3 network: the two say the same thing.
		return nil, invalid("category", "%s does not go with system=%t; a system network has category System", p.Category, p.System)
	case p.IPVersion != nil && *p.IPVersion == 6:
		return nil, invalid("ipVersion", "IPv6 networks are not offered").WithAdvice("use 4")
	case p.EnableIPAM != nil && !*p.EnableIPAM:
		return nil, unsupported("enableIPAM", "a network whose addresses others manage is not offered")
	}
	if (p.System || p.Category == "Public") && !c.Caller.Admin {
		return nil, errs.New(errs.Denied, "category "+p.Category, "only the administrator may make such a network")
	}
	return &L3Network{Type: p.Type, L2NetworkUUID: p.L2UUID, State: "Enabled", DNSDomain: p.DNSDomain, System: p.System,
		Category: p.Category, IPVersion: 4, EnableIPAM: true}, nil
}

// mayBecome checks the new values of a network's fields by the rules of its
// creation.
func (s *Service) mayBecome(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error {
	l3, err := store.Get(ctx, tx, L3NetworkType, uuid)
	if err != nil {
		return err
	}
	was := l3.Category
	if v, ok := values["category"].(string); ok && v != "" {
		l3.Category = v
	}
	if v, ok := values["system"].(bool); ok {
		l3.System = v
	}
	if l3.System != (l3.Category == "System") {
		return invalid("category", "%s does not go with system=%t; a system network has category System", l3.Category, l3.System)
	}
	if c := action.FromContext(ctx); l3.Category != was && l3.Category != "Private" && c != nil && !c.Caller.Admin {
		return errs.New(errs.Denied, "category "+l3.Category, "only the administrator may make such a network")
	}
	if l3.Category == was || l3.Category == "Public" {
		return nil
	}
	row, found, err := store.First(ctx, tx, IPRangeType, "`l3NetworkUuid` = ? AND `ipRangeType` = ?", uuid, pool)
	if err == nil && found {
		return refused("L3Network "+l3.Name, "has the address pool %s, which needs a Public network", row.Name).WithAdvice("delete the pool first")
	}
	return err
}

// l3Unused refuses to delete a network in which guests have NICs.
func (s *Service) l3Unused(ctx context.Context, uuid string) error {
	nic, found, err := store.First(ctx, s.Store, VMNicType, "`l3NetworkUuid` = ? AND `vmInstanceUuid` IS NOT NULL", uuid)
	if err != nil || !found {
		return err
	}
	return refused("L3Network "+uuid, "guest %s has a NIC in it", nic.VMInstanceUUID).WithAdvice("destroy and expunge the guests that use it first")
}

// deleteL3 lets the providers forget the network on every host, and removes
// its row and addresses; ranges, routes and services went before by the cascade.
// Hosts that are away, or with Enforcing fail, forget it when they connect
// (Sync).
func (s *Service) deleteL3(ctx context.Context, uuid string, m cascade.Mode) error {
	l3, err := store.Get(ctx, s.Store, L3NetworkType, uuid)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	refs, err := store.Find(ctx, s.Store, L2HostRefType, "`l2NetworkUuid` = ?", l3.L2NetworkUUID)
	if err != nil {
		return err
	}
	if err := s.forgetL3(ctx, uuid, refs, m); err != nil {
		return err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM `UsedIp` WHERE `l3NetworkUuid` = ?", uuid); err != nil {
			return err
		}
		return s.Tags.DeleteRow(ctx, tx, L3NetworkType.Type, uuid)
	})
	if err != nil {
		return err
	}
	// A guest that was being plugged in all the time has seen that the network is
	// being deleted, and let go of its own NIC only.
	return s.forgetL3(ctx, uuid, refs, cascade.Enforcing)
}

// forgetL3 lets the providers forget a network on hosts. With Enforcing a
// failure is no obstacle.
func (s *Service) forgetL3(ctx context.Context, uuid string, refs []*L2NetworkHostRef, m cascade.Mode) error {
	for _, ref := range refs {
		err := s.hosts.OnConnected(ctx, ref.HostUUID, func(h *pluginv1.Host) error { return s.releaseL3(ctx, uuid, h) })
		switch {
		case err == nil:
		case m == cascade.Enforcing:
			s.Log.Warn("network services not taken from host yet", "host", ref.HostUUID, "l3Network", uuid, "error", err)
		default:
			return err
		}
	}
	return nil
}

// newRoute holds the parameters of APIAddHostRouteToL3NetworkMsg.
type newRoute struct {
	L3UUID  string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Prefix  string `api:"prefix,required,holds=cidr4"`
	NextHop string `api:"nexthop,required,holds=addr4"`
}

// oldRoute holds the parameters of APIRemoveHostRouteFromL3NetworkMsg.
type oldRoute struct {
	L3UUID string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Prefix string `api:"prefix,required"`
}

func (s *Service) registerRoutes() {
	const path = "/l3-networks/{l3NetworkUuid}/hostroute"
	action.Register(s.Actions, action.Action{
		Message: "APIAddHostRouteToL3NetworkMsg", Method: "POST", Path: path, Async: true, Access: action.Normal,
		Queue: "l3NetworkUuid", Returns: "L3Network", Doc: "Adds a route that guests are told by DHCP.",
	}, func(ctx context.Context, _ *action.Call, p *newRoute) (action.Ref, error) {
		ref := action.Ref{Type: "L3Network", UUID: p.L3UUID}
		prefix, hop := netip.MustParsePrefix(p.Prefix), netip.MustParseAddr(p.NextHop)
		return ref, s.change(ctx, p.L3UUID, func(tx *store.Tx) error {
			if err := s.routeFits(ctx, tx, p.L3UUID, prefix, hop); err != nil {
				return err
			}
			if err := cascade.Guard(ctx, tx, L3NetworkType.Name, p.L3UUID); err != nil {
				return err
			}
			row := &L3NetworkHostRoute{L3NetworkUUID: p.L3UUID, Prefix: p.Prefix, NextHop: p.NextHop}
			row.UUID = resource.NewUUID()
			return store.Insert(ctx, tx, HostRouteType, row)
		})
	})
	action.Register(s.Actions, action.Action{
		Message: "APIRemoveHostRouteFromL3NetworkMsg", Method: "DELETE", Path: path, Async: true, Access: action.Normal,
		Queue: "l3NetworkUuid", Returns: "L3Network", Removes: action.Removes(s.goneRoute), Doc: "Removes a route.",
	}, func(ctx context.Context, c *action.Call, p *oldRoute) (action.Ref, error) {
		removal, err := s.goneRoute(ctx, c, p)
		return action.Ref{Type: "L3Network", UUID: p.L3UUID}, s.remove(ctx, removal, err)
	})
}
