package dataplane

import (
	"net/netip"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// metadataAddress is where guests of every cloud look for their metadata.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

// route is a classless static route of RFC 3442.
type route struct {
	prefix  netip.Prefix
	nextHop netip.Addr
}

// networkSpec is a DHCPNetwork with parsed values.
type networkSpec struct {
	namespace string
	bridge    string
	address   netip.Prefix
	cidr      netip.Prefix
	gateway   netip.Addr // invalid when there is none
	domain    string
	dns       []netip.Addr
	mtu       int
	routes    []route
	dhcp      bool
	dnsServer bool
	metadata  bool
}

func parseNetwork(object string, n *hostv1.DHCPNetwork) (networkSpec, error) {
	s := networkSpec{
		namespace: n.GetNamespace(), bridge: n.GetBridge(), domain: n.GetDomain(), mtu: int(n.GetMtu()),
		dhcp: n.GetServeDhcp(), dnsServer: n.GetServeDns(), metadata: n.GetServeMetadata(),
	}
	bad := func(format string, args ...any) (networkSpec, error) {
		return networkSpec{}, errs.New(errs.Invalid, object, format, args...)
	}
	var err error
	if s.cidr, err = parsePrefix(object, n.GetNetworkCidr()); err != nil {
		return networkSpec{}, err
	}
	if s.address, err = netip.ParsePrefix(n.GetAddress()); err != nil || !s.address.Addr().Is4() {
		return bad("%s is no IPv4 address with prefix length", quote(n.GetAddress()))
	}
	if s.address.Masked() != s.cidr {
		return bad("address %s is not in network %s", s.address, s.cidr)
	}
	if n.GetGateway() != "" {
		if s.gateway, err = ParseIPv4(object, n.GetGateway()); err != nil {
			return networkSpec{}, err
		}
		if !s.cidr.Contains(s.gateway) {
			return bad("gateway %s is not in network %s", s.gateway, s.cidr)
		}
	}
	for _, text := range n.GetDns() {
		ip, err := ParseIPv4(object, text)
		if err != nil {
			return networkSpec{}, err
		}
		s.dns = append(s.dns, ip)
	}
	for _, r := range n.GetRoutes() {
		prefix, err := parsePrefix(object, r.GetPrefix())
		if err != nil {
			return networkSpec{}, err
		}
		hop, err := ParseIPv4(object, r.GetNextHop())
		if err != nil {
			return networkSpec{}, err
		}
		s.routes = append(s.routes, route{prefix, hop})
	}
	return s, nil
}

// classlessRoutes are the routes of option 121. A client that gets them ignores
// the router option (RFC 3442), so the default route is repeated here.
func (s networkSpec) classlessRoutes() []route {
	var all []route
	if s.metadata {
		all = append(all, route{netip.PrefixFrom(metadataAddress, 32), s.address.Addr()})
	}
	all = append(all, s.routes...)
	if slices.ContainsFunc(s.routes, func(r route) bool { return r.prefix.Bits() == 0 }) {
		return all // one default route: the one that was asked for
	}
	if len(all) > 0 && s.gateway.IsValid() {
		all = append(all, route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), s.gateway})
	}
	return all
}

// dnsForGuests is what option 6 says: the configured servers, else ourselves.
func (s networkSpec) dnsForGuests() []netip.Addr {
	if len(s.dns) == 0 && s.dnsServer {
		return []netip.Addr{s.address.Addr()}
	}
	return s.dns
}

// needsDnsmasq reports whether there is anything for dnsmasq to serve.
func (s networkSpec) needsDnsmasq() bool { return s.dhcp || s.dnsServer }
