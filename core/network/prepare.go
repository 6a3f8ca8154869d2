package network

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/contract"
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
	for _, uuid := range l3UUIDs {
		if result[uuid] != nil {
			continue
		}
		v, err := s.view(ctx, hostUUID, uuid)
		if err != nil {
			return nil, err
		}
		result[uuid] = v
	}
	return result, nil
}

// viewSQL reads all that providers are told of a network in one statement,
// since every start of a guest needs it. The first column says what a row is,
// three texts and a number are its facts, the last one orders it (fact). MariaDB
// would make a temporary table to order them.
const viewSQL = "SELECT 0, l.`name`, COALESCE(l.`dnsDomain`, ''), '', COALESCE(l.`mtu`, 0), 0 FROM `L3Network` l WHERE l.`uuid` = ? " +
	"UNION ALL SELECT 1, r.`bridge`, '', '', 0, 0 FROM `L2NetworkHostRef` r WHERE r.`hostUuid` = ? AND r.`bridge` <> '' AND r.`l2NetworkUuid` = (SELECT `l2NetworkUuid` FROM `L3Network` WHERE `uuid` = ?) " +
	"UNION ALL SELECT 2, p.`type`, b.`networkServiceType`, '', 0, 0 FROM `NetworkServiceL3NetworkRef` b JOIN `NetworkServiceProvider` p ON p.`uuid` = b.`networkServiceProviderUuid` WHERE b.`l3NetworkUuid` = ? " +
	"UNION ALL SELECT 3, `dns`, '', '', 0, `createDate` FROM `L3NetworkDns` WHERE `l3NetworkUuid` = ? " +
	"UNION ALL SELECT 4, `networkCidr`, `netmask`, COALESCE(`gateway`, ''), 0, `createDate` FROM `IpRange` WHERE `l3NetworkUuid` = ? " +
	"UNION ALL SELECT 5, `prefix`, `nexthop`, '', 0, `createDate` FROM `L3NetworkHostRoute` WHERE `l3NetworkUuid` = ?"

// fact is a row of viewSQL.
type fact struct {
	kind                 int64
	first, second, third string
	number, date         int64
}

// facts reads what there is to know of a network on a host, in order.
func (s *Service) facts(ctx context.Context, hostUUID, l3UUID string) ([]fact, error) {
	var list []fact
	err := store.Cached(s.Store).Each(ctx, viewSQL, []any{l3UUID, hostUUID, l3UUID, l3UUID, l3UUID, l3UUID, l3UUID}, func(r *store.Row) error {
		list = append(list, fact{r.Int(0), r.Text(1), r.Text(2), r.Text(3), r.Int(4), r.Int(5)})
		return nil
	})
	slices.SortFunc(list, func(a, b fact) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.date, b.date), strings.Compare(a.first, b.first), strings.Compare(a.second, b.second))
	})
	return list, err
}

// view reads one network.
func (s *Service) view(ctx context.Context, hostUUID, l3UUID string) (*view, error) {
	v := &view{mtu: defaultMTU, byProvider: map[string]*pluginv1.L3Network{}}
	base := &pluginv1.L3Network{Uuid: l3UUID}
	name, found, realized := "", false, false
	type service struct{ provider, name string }
	var services []service
	facts, err := s.facts(ctx, hostUUID, l3UUID)
	for _, f := range facts {
		switch f.kind {
		case 0:
			found, name, base.DnsDomain = true, f.first, f.second
			if f.number > 0 {
				v.mtu = int32(min(f.number, 65535))
			}
		case 1:
			realized, v.bridge = true, f.first
		case 2:
			services = append(services, service{f.first, f.second})
		case 3:
			base.Dns = append(base.Dns, f.first)
		case 4:
			base.Ranges = append(base.Ranges, &pluginv1.IPRange{NetworkCidr: f.first, Netmask: f.second, Gateway: f.third})
		case 5:
			base.HostRoutes = append(base.HostRoutes, &pluginv1.HostRoute{Prefix: f.first, NextHop: f.second})
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, errs.New(errs.NotFound, "L3Network "+l3UUID, "it does not exist")
	case !realized:
		return nil, errs.New(errs.Unavailable, "L3Network "+name, "its L2 network has not been realized on host %s", hostUUID).
			WithAdvice("reconnect the host")
	}
	base.Mtu, base.Bridge = v.mtu, v.bridge
	for _, b := range services {
		n := v.byProvider[b.provider]
		if n == nil {
			n = &pluginv1.L3Network{Uuid: base.Uuid, DnsDomain: base.DnsDomain, Dns: base.Dns, Mtu: base.Mtu,
				Ranges: base.Ranges, HostRoutes: base.HostRoutes, Bridge: base.Bridge}
			if n.ServiceIp, err = s.serviceIP(ctx, l3UUID, b.provider); err != nil {
				return nil, err
			}
			v.byProvider[b.provider] = n
		}
		n.Services = append(n.Services, b.name)
	}
	return v, nil
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

// work is what one provider has to do on a host.
type work struct {
	networks map[string]*pluginv1.L3Network
	nics     []*pluginv1.GuestNIC
}

// share divides guests' NICs among the providers of their networks.
func share(views map[string]*view, guests []contract.GuestNICs) map[string]*work {
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

func guestNIC(g contract.Guest, n *contract.NICPlan) *pluginv1.GuestNIC {
	return &pluginv1.GuestNIC{NicUuid: n.UUID, VmUuid: g.VMUUID, VmName: g.Name, Mac: n.MAC, Ip: n.IP, Netmask: n.Netmask,
		Gateway: n.Gateway, Hostname: g.Hostnames[n.L3UUID], L3Uuid: n.L3UUID, DefaultNetwork: n.L3UUID == g.DefaultL3UUID,
		UserData: g.UserData, SshKeys: g.SSHKeys, InternalName: n.InternalName}
}

func l3sOf(guests []contract.GuestNICs) []string {
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
func (s *Service) Prepare(ctx context.Context, host *pluginv1.Host, g contract.Guest, nics []*contract.NICPlan) error {
	guests := []contract.GuestNICs{{Guest: g, NICs: nics}}
	l3s := l3sOf(guests)
	for range restless {
		seen := s.changes.of(l3s...)
		if err := s.prepare(ctx, host, guests); err != nil {
			return err
		}
		if s.changes.of(l3s...) == seen {
			return s.notLeaving(ctx, host, g, nics)
		}
		for _, l3 := range l3s { // also for providers that are no longer asked
			if err := s.refresh(ctx, host, l3); err != nil {
				return err
			}
		}
	}
	return changesTooFast(l3s[0])
}

func (s *Service) prepare(ctx context.Context, host *pluginv1.Host, guests []contract.GuestNICs) error {
	views, err := s.views(ctx, host.GetUuid(), l3sOf(guests))
	if err != nil {
		return err
	}
	g, nics := guests[0].Guest, guests[0].NICs
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

// notLeaving takes back what was prepared in a network whose deletion has begun
// meanwhile: the host may have forgotten the network just before it was told
// of the NIC, and nobody would tell it to forget that too.
func (s *Service) notLeaving(ctx context.Context, host *pluginv1.Host, g contract.Guest, nics []*contract.NICPlan) error {
	l3s := make([]cascade.Parent, len(nics))
	for i, n := range nics {
		l3s[i] = cascade.Parent{Type: L3NetworkType.Name, UUID: n.L3UUID}
	}
	err := cascade.Intact(ctx, s.Store, l3s...)
	if c := errs.ClassOf(err); c == errs.NotFound || c == errs.Refused {
		err = errs.Wrap(c, "guest "+g.Name, errors.Join(err, s.Release(ctx, host, g.VMUUID, nics)), "cannot be plugged in")
	}
	return err
}

// Sync replaces what the providers have on a host by these guests; called when
// the host has connected.
func (s *Service) Sync(ctx context.Context, host *pluginv1.Host, guests []contract.GuestNICs) error {
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

// Release undoes Prepare. A network that is gone is forgotten on the host as a
// whole; one that the host does not have, and providers that are gone, have
// nothing left to release.
func (s *Service) Release(ctx context.Context, host *pluginv1.Host, vmUUID string, nics []*contract.NICPlan) error {
	views := map[string]*view{}
	var there []*contract.NICPlan
	for _, n := range nics {
		v, err := s.view(ctx, host.GetUuid(), n.L3UUID)
		switch errs.ClassOf(err) {
		case "":
			views[n.L3UUID], there = v, append(there, n)
		case errs.NotFound:
			if err := s.releaseL3(ctx, n.L3UUID, n.Bridge, host); err != nil {
				return err
			}
		case errs.Unavailable:
		default:
			return err
		}
	}
	guests := []contract.GuestNICs{{Guest: contract.Guest{VMUUID: vmUUID}, NICs: there}}
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
