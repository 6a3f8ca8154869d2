package network

import (
	"context"

	"github.com/kumo-cloud/kumo/core/compute/port"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// defaultMTU is what Ethernet carries (IEEE 802.3), used where a network says
// nothing else.
const defaultMTU = 1500

// view is one L3 network as its providers see it on a host.
type view struct {
	bridge string
	mtu    int32
	// byProvider has, for each provider type with services on the network,
	// the network with just those services.
	byProvider map[string]*pluginv1.L3Network
}

// views reads the networks of some NICs; the bridge is that of the host.
func (s *Service) views(ctx context.Context, hostUUID string, l3UUIDs []string) (map[string]*view, error) {
	result := map[string]*view{}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		for _, uuid := range l3UUIDs {
			if result[uuid] != nil {
				continue
			}
			v, err := s.view(ctx, tx, hostUUID, uuid)
			if err != nil {
				return err
			}
			result[uuid] = v
		}
		return nil
	})
	return result, err
}

func (s *Service) view(ctx context.Context, tx *store.Tx, hostUUID, l3UUID string) (*view, error) {
	l3, err := store.Get(ctx, tx, L3NetworkType, l3UUID)
	if err != nil {
		return nil, err
	}
	ref, found, err := store.First(ctx, tx, L2HostRefType, "`l2NetworkUuid` = ? AND `hostUuid` = ?", l3.L2NetworkUUID, hostUUID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errs.New(errs.Unavailable, "L3Network "+l3.Name, "its L2 network has not been realized on host %s", hostUUID).
			WithAdvice("reconnect the host")
	}
	v := &view{bridge: ref.Bridge, mtu: defaultMTU, byProvider: map[string]*pluginv1.L3Network{}}
	if l3.MTU > 0 {
		v.mtu = int32(min(l3.MTU, 65535))
	}
	bound, err := store.Find(ctx, tx, L3ServiceType, "`l3NetworkUuid` = ? ORDER BY `networkServiceType`", l3UUID)
	if err != nil || len(bound) == 0 {
		return v, err
	}
	base, err := s.l3Facts(ctx, tx, l3, v)
	if err != nil {
		return nil, err
	}
	for _, b := range bound {
		p, err := store.Get(ctx, tx, ProviderType, b.ProviderUUID)
		if err != nil {
			return nil, err
		}
		n := v.byProvider[p.Type]
		if n == nil {
			n = &pluginv1.L3Network{Uuid: base.Uuid, DnsDomain: base.DnsDomain, Dns: base.Dns, Mtu: base.Mtu,
				Ranges: base.Ranges, HostRoutes: base.HostRoutes, Bridge: base.Bridge}
			if d, ok := s.decl(p.Type); ok && d.GetServiceIp() {
				tags, err := s.Tags.Tokens(ctx, tx, l3UUID, d.GetServiceIpTag())
				if err != nil {
					return nil, err
				}
				if len(tags) > 0 {
					n.ServiceIp = tags[0]["ip"]
				}
			}
			v.byProvider[p.Type] = n
		}
		n.Services = append(n.Services, b.ServiceType)
	}
	return v, nil
}

func (s *Service) l3Facts(ctx context.Context, tx *store.Tx, l3 *L3Network, v *view) (*pluginv1.L3Network, error) {
	n := &pluginv1.L3Network{Uuid: l3.UUID, DnsDomain: l3.DNSDomain, Mtu: v.mtu, Bridge: v.bridge}
	dns, err := store.Find(ctx, tx, DNSType, "`l3NetworkUuid` = ? ORDER BY `createDate`", l3.UUID)
	if err != nil {
		return nil, err
	}
	for _, d := range dns {
		n.Dns = append(n.Dns, d.DNS)
	}
	ranges, err := store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ? ORDER BY `createDate`", l3.UUID)
	if err != nil {
		return nil, err
	}
	for _, r := range ranges {
		n.Ranges = append(n.Ranges, &pluginv1.IPRange{NetworkCidr: r.NetworkCIDR, Gateway: r.Gateway, Netmask: r.Netmask})
	}
	routes, err := store.Find(ctx, tx, HostRouteType, "`l3NetworkUuid` = ? ORDER BY `createDate`", l3.UUID)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		n.HostRoutes = append(n.HostRoutes, &pluginv1.HostRoute{Prefix: r.Prefix, NextHop: r.NextHop})
	}
	return n, nil
}

// work is what one provider has to do on a host.
type work struct {
	networks map[string]*pluginv1.L3Network
	nics     []*pluginv1.GuestNIC
}

// share divides guests' NICs among the providers of their networks.
func share(views map[string]*view, guests []port.GuestNICs) map[string]*work {
	shares := map[string]*work{}
	for _, g := range guests {
		for _, n := range g.NICs {
			for provider, l3 := range views[n.L3UUID].byProvider {
				w := shares[provider]
				if w == nil {
					w = &work{networks: map[string]*pluginv1.L3Network{}}
					shares[provider] = w
				}
				w.networks[n.L3UUID] = l3
				w.nics = append(w.nics, guestNIC(g.Guest, n))
			}
		}
	}
	return shares
}

func (w *work) list() []*pluginv1.L3Network {
	l := make([]*pluginv1.L3Network, 0, len(w.networks))
	for _, n := range w.networks {
		l = append(l, n)
	}
	return l
}

func guestNIC(g port.Guest, n *port.NICPlan) *pluginv1.GuestNIC {
	return &pluginv1.GuestNIC{NicUuid: n.UUID, VmUuid: g.VMUUID, VmName: g.Name, Mac: n.MAC, Ip: n.IP, Netmask: n.Netmask,
		Gateway: n.Gateway, Hostname: g.Hostnames[n.L3UUID], L3Uuid: n.L3UUID, DefaultNetwork: n.L3UUID == g.DefaultL3UUID,
		UserData: g.UserData, SshKeys: g.SSHKeys, InternalName: n.InternalName}
}

func l3sOf(guests []port.GuestNICs) []string {
	var l []string
	for _, g := range guests {
		for _, n := range g.NICs {
			l = append(l, n.L3UUID)
		}
	}
	return l
}

// Prepare makes the networks' services work for a guest on a host before it
// starts, and fills in each NIC's bridge and MTU. A repeat replaces what was
// there.
func (s *Service) Prepare(ctx context.Context, host *pluginv1.Host, g port.Guest, nics []*port.NICPlan) error {
	guests := []port.GuestNICs{{Guest: g, NICs: nics}}
	views, err := s.views(ctx, host.GetUuid(), l3sOf(guests))
	if err != nil {
		return err
	}
	for _, n := range nics {
		n.Bridge, n.MTU = views[n.L3UUID].bridge, views[n.L3UUID].mtu
	}
	for provider, w := range share(views, guests) {
		plug, err := s.Plugins.NetworkService(provider)
		if err != nil {
			return err
		}
		if _, err := plug.PrepareNICs(ctx, &pluginv1.PrepareNICsRequest{Host: host, Networks: w.list(), Nics: w.nics}); err != nil {
			return errs.Wrap(errs.ClassOf(err), "network services of "+provider, err, "cannot be prepared for guest %s", g.Name)
		}
	}
	return nil
}

// Sync replaces what the providers have on a host by these guests; called when
// the host has connected.
func (s *Service) Sync(ctx context.Context, host *pluginv1.Host, guests []port.GuestNICs) error {
	views, err := s.views(ctx, host.GetUuid(), l3sOf(guests))
	if err != nil {
		return err
	}
	shares := share(views, guests)
	for _, m := range s.Plugins.Manifests() {
		for _, d := range m.GetNetworkServices() {
			if !contains(d.GetHypervisorTypes(), host.GetHypervisorType()) {
				continue
			}
			w := shares[d.GetType()]
			if w == nil {
				w = &work{}
			}
			plug, err := s.Plugins.NetworkService(d.GetType())
			if err != nil {
				return err
			}
			if _, err := plug.SyncHost(ctx, &pluginv1.SyncHostRequest{Host: host, Networks: w.list(), Nics: w.nics}); err != nil {
				return errs.Wrap(errs.ClassOf(err), "network services of "+d.GetType(), err, "cannot be restored on host %s", host.GetName())
			}
		}
	}
	return nil
}

// Release undoes Prepare. Networks and providers that are gone have nothing
// left to release.
func (s *Service) Release(ctx context.Context, host *pluginv1.Host, vmUUID string, nics []*port.NICPlan) error {
	guests := []port.GuestNICs{{Guest: port.Guest{VMUUID: vmUUID}, NICs: nics}}
	views, err := s.views(ctx, host.GetUuid(), l3sOf(guests))
	if c := errs.ClassOf(err); c == errs.NotFound || c == errs.Unavailable {
		return nil
	}
	if err != nil {
		return err
	}
	for provider, w := range share(views, guests) {
		plug, err := s.Plugins.NetworkService(provider)
		if err != nil {
			return err
		}
		if _, err := plug.ReleaseNICs(ctx, &pluginv1.ReleaseNICsRequest{Host: host, Nics: w.nics}); err != nil {
			return errs.Wrap(errs.ClassOf(err), "network services of "+provider, err, "cannot be released for guest %s", vmUUID)
		}
	}
	return nil
}

// releaseNetworks lets the providers forget all L3 networks of an L2 network
// on a host.
func (s *Service) releaseNetworks(ctx context.Context, l2UUID string, h *pluginv1.Host) error {
	ref, found, err := store.First(ctx, s.Store, L2HostRefType, "`l2NetworkUuid` = ? AND `hostUuid` = ?", l2UUID, h.GetUuid())
	if err != nil || !found {
		return err
	}
	l3s, err := store.Find(ctx, s.Store, L3NetworkType, "`l2NetworkUuid` = ?", l2UUID)
	if err != nil {
		return err
	}
	for _, l3 := range l3s {
		if err := s.releaseL3(ctx, l3.UUID, ref.Bridge, h); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) releaseL3(ctx context.Context, l3UUID, bridge string, h *pluginv1.Host) error {
	for _, m := range s.Plugins.Manifests() {
		for _, d := range m.GetNetworkServices() {
			if !contains(d.GetHypervisorTypes(), h.GetHypervisorType()) {
				continue
			}
			plug, err := s.Plugins.NetworkService(d.GetType())
			if err != nil {
				return err
			}
			if _, err := plug.ReleaseNetwork(ctx, &pluginv1.ReleaseNetworkRequest{Host: h, L3Uuid: l3UUID, Bridge: bridge}); err != nil {
				return errs.Wrap(errs.ClassOf(err), "L3Network "+l3UUID, err, "cannot be released on host %s", h.GetName())
			}
		}
	}
	return nil
}

// HostConnected makes the cluster's networks on a host (topology.HostObserver).
func (s *Service) HostConnected(ctx context.Context, h *pluginv1.Host) error {
	refs, err := store.Find(ctx, s.Store, L2ClusterRefType, "`clusterUuid` = ?", h.GetClusterUuid())
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := s.realize(ctx, ref.L2NetworkUUID, h); err != nil {
			return err
		}
	}
	return nil
}

// HostLost is of no interest here (topology.HostObserver).
func (s *Service) HostLost(context.Context, string) {}

// HostVMs is of no interest here (topology.HostObserver).
func (s *Service) HostVMs(context.Context, string, []*pluginv1.VMStatus, bool) {}

// HostLeaving takes the networks from a host (topology.HostObserver).
func (s *Service) HostLeaving(ctx context.Context, h *pluginv1.Host) error {
	refs, err := store.Find(ctx, s.Store, L2HostRefType, "`hostUuid` = ?", h.GetUuid())
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := s.unrealize(ctx, ref.L2NetworkUUID, h); err != nil {
			return err
		}
	}
	return nil
}
