package network

import (
	"context"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file reads what providers are told of a network. Every start of a guest
// asks for it, and it rarely changes: what is the same on all hosts is kept in
// one piece while none of its tables changes, and a host adds its bridge.

// defaultMTU is what Ethernet carries (IEEE 802.3), used where a network says
// nothing else; maxMTU is what an IPv4 packet can have (RFC 791, section 3.1).
const (
	defaultMTU = 1500
	maxMTU     = 65535
)

// description is what is told of an L3 network whatever the host. It is shared,
// so nobody changes it.
type description struct {
	name, l2UUID string
	mtu          int32
	// services has, by the type of each provider with services on the network,
	// their names.
	services map[string][]string
	// told is the network without what is a provider's or a host's own.
	told *pluginv1.L3Network
}

// view is one L3 network as its providers see it on a host.
type view struct {
	// device is what guests are plugged into there, of which L2 network.
	device, l2UUID string
	mtu            int32
	// byProvider has, for each provider type with services on the network,
	// the network with just those services.
	byProvider map[string]*pluginv1.L3Network
}

// views reads the networks of some NICs; the bridge is that of the host.
func (s *Service) views(ctx context.Context, hostUUID string, l3UUIDs []string) (map[string]*view, error) {
	result := map[string]*view{}
	for _, uuid := range l3UUIDs {
		if result[uuid] != nil {
			continue
		}
		v, err := s.view(ctx, hostUUID, uuid)
		if err == nil && v == nil {
			err = notThere(uuid, hostUUID)
		}
		if err != nil {
			return nil, err
		}
		result[uuid] = v
	}
	return result, nil
}

// notThere says that a host does not have the L2 network of an L3 network.
func notThere(l3UUID, hostUUID string) error {
	return errs.New(errs.Unavailable, "L3Network "+l3UUID, "its L2 network has not been realized on host %s", hostUUID).
		WithAdvice("reconnect the host")
}

// view reads one network, nil when the host does not have it. Errors: NotFound
// when there is none.
func (s *Service) view(ctx context.Context, hostUUID, l3UUID string) (*view, error) {
	d, err := s.describe(ctx, l3UUID)
	if err != nil {
		return nil, err
	}
	device, err := s.device(ctx, hostUUID, d.l2UUID)
	if err != nil || device == "" {
		return nil, err
	}
	v := &view{device: device, l2UUID: d.l2UUID, mtu: d.mtu, byProvider: make(map[string]*pluginv1.L3Network, len(d.services))}
	for provider, services := range d.services {
		ip, err := s.serviceIP(ctx, l3UUID, provider)
		if err != nil {
			return nil, err
		}
		v.byProvider[provider] = &pluginv1.L3Network{Uuid: l3UUID, Bridge: device, Mtu: d.mtu, DnsDomain: d.told.DnsDomain,
			Dns: d.told.Dns, Ranges: d.told.Ranges, HostRoutes: d.told.HostRoutes, Services: services, ServiceIp: ip}
	}
	return v, nil
}

// device returns what guests in an L2 network are plugged into on a host, ""
// where the network is not realized.
func (s *Service) device(ctx context.Context, hostUUID, l2UUID string) (string, error) {
	devices, err := store.Texts(ctx, store.Cached(s.Store), "SELECT `bridge` FROM `L2NetworkHostRef` WHERE `hostUuid` = ? AND `l2NetworkUuid` = ?", hostUUID, l2UUID)
	if err != nil || len(devices) == 0 {
		return "", err
	}
	return devices[0], nil
}

// describe reads what is told of a network on all hosts. What has its own life
// is not in it, or each change of that would have all of it read again: bridges,
// and the tags that tell providers' addresses. Errors: NotFound.
func (s *Service) describe(ctx context.Context, l3UUID string) (*description, error) {
	return store.Remember(ctx, s.Store, "network description "+l3UUID, func(q store.Querier) (*description, int, error) {
		l3, err := store.Get(ctx, q, L3NetworkType, l3UUID)
		if err != nil {
			return nil, 0, err
		}
		d := &description{name: l3.Name, l2UUID: l3.L2NetworkUUID, mtu: defaultMTU, told: &pluginv1.L3Network{DnsDomain: l3.DNSDomain}}
		if l3.MTU > 0 {
			d.mtu = int32(min(l3.MTU, maxMTU))
		}
		if err := d.readFacts(ctx, q, l3UUID); err != nil {
			return nil, 0, err
		}
		err = d.readServices(ctx, q, l3UUID)
		return d, d.size(), err
	})
}

// readFacts reads what guests are told by DHCP, in the order in which it was
// added.
func (d *description) readFacts(ctx context.Context, q store.Querier, l3UUID string) error {
	const ofNetwork = "`l3NetworkUuid` = ? ORDER BY `createDate`, `uuid`"
	servers, err := store.Find(ctx, q, DNSType, ofNetwork, l3UUID)
	if err != nil {
		return err
	}
	for _, server := range servers {
		d.told.Dns = append(d.told.Dns, server.DNS)
	}
	ranges, err := store.Find(ctx, q, IPRangeType, ofNetwork, l3UUID)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		d.told.Ranges = append(d.told.Ranges, &pluginv1.IPRange{NetworkCidr: r.NetworkCIDR, Netmask: r.Netmask, Gateway: r.Gateway})
	}
	routes, err := store.Find(ctx, q, HostRouteType, ofNetwork, l3UUID)
	for _, r := range routes {
		d.told.HostRoutes = append(d.told.HostRoutes, &pluginv1.HostRoute{Prefix: r.Prefix, NextHop: r.NextHop})
	}
	return err
}

// readServices reads which provider gives which services, of those that are called.
func (d *description) readServices(ctx context.Context, q store.Querier, l3UUID string) error {
	bound, err := store.Find(ctx, q, L3ServiceType, "`l3NetworkUuid` = ? ORDER BY `networkServiceType`", l3UUID)
	if err != nil {
		return err
	}
	providers, err := store.Find(ctx, q, ProviderType, "")
	if err != nil {
		return err
	}
	types := make(map[string]string, len(providers))
	for _, p := range providers {
		if !p.ByPoints {
			types[p.UUID] = p.Type
		}
	}
	d.services = map[string][]string{}
	for _, b := range bound {
		if provider, ok := types[b.ProviderUUID]; ok {
			d.services[provider] = append(d.services[provider], b.ServiceType)
		}
	}
	return nil
}

// size is about how many bytes the description has.
func (d *description) size() int {
	const item = 150 // of a message, or of an entry of a map, with its texts
	return item * (3 + len(d.told.Dns) + len(d.told.Ranges) + len(d.told.HostRoutes) + 2*len(d.services))
}

// serviceIP returns a provider's own address in a network, "" for providers
// that need none.
func (s *Service) serviceIP(ctx context.Context, l3UUID, provider string) (string, error) {
	d, ok := s.decl(provider)
	if !ok || !d.GetServiceIp() {
		return "", nil
	}
	tags, err := s.Tags.Tokens(ctx, store.Cached(s.Store), l3UUID, d.GetServiceIpTag())
	if err != nil || len(tags) == 0 {
		return "", err
	}
	return tags[0]["ip"], nil
}
