package network

import (
	"context"
	"net/netip"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file has the rules for what guests are told by DHCP: what can never work
// is refused when it is added, not at each guest's start.

// maxDNS is how many addresses the name server option holds: four bytes each in
// at most 255 (RFC 2132, sections 2 and 3.8).
const maxDNS = 63

// maxRoutes is how many bytes the routes of a network may take: the option for
// them has 255 (RFC 3442), of which the default route takes 5 and that to the
// metadata 9.
const maxRoutes = 255 - 5 - 9

func unsupported(field, format string, args ...any) *errs.Error {
	return errs.New(errs.Unsupported, field, format, args...).WithAdvice("leave it out")
}

// routeFits applies the rules between a new route and its network: one route to
// a destination, by a neighbour, and no more than DHCP can carry.
func (s *Service) routeFits(ctx context.Context, tx *store.Tx, l3UUID string, prefix netip.Prefix, hop netip.Addr) error {
	routes, err := store.Find(ctx, tx, HostRouteType, "`l3NetworkUuid` = ?", l3UUID)
	if err != nil {
		return err
	}
	size := routeSize(prefix)
	for _, r := range routes {
		if r.Prefix == prefix.String() {
			return refused("L3Network "+l3UUID, "has a route to %s already", prefix)
		}
		if p, err := netip.ParsePrefix(r.Prefix); err == nil {
			size += routeSize(p)
		}
	}
	if size > maxRoutes {
		return errs.New(errs.Exhausted, "L3Network "+l3UUID, "has %d routes; DHCP cannot tell guests another one", len(routes)).
			WithAdvice("remove one first, or join some to a shorter prefix")
	}
	ranges, err := store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ? AND `ipRangeType` = 'Normal'", l3UUID)
	if err != nil || len(ranges) == 0 {
		return err // adding the range looks at the routes
	}
	return neighbour(hop, ranges[0].NetworkCIDR)
}

// serverFits refuses a name server that no guest of the network can ask: one that is
// each guest itself, or no machine (RFC 1122, section 3.2.1.3).
func serverFits(ctx context.Context, tx *store.Tx, l3UUID, dns string) error {
	a, err := netip.ParseAddr(dns)
	if err != nil || a.IsLoopback() {
		return invalid("dns", "%s is a loopback address, by which each guest would ask itself", dns)
	}
	ranges, err := store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ?", l3UUID)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if subnet, err := netip.ParsePrefix(r.NetworkCIDR); err == nil && subnet.Contains(a) && !machine(a, subnet) {
			return invalid("dns", "%s is the network's or the broadcast address of %s, no server's", a, subnet)
		}
	}
	return nil
}

// routeSize is how many bytes a route takes in the option: the prefix's length,
// its significant bytes, and the next hop (RFC 3442).
func routeSize(p netip.Prefix) int { return 1 + (p.Bits()+7)/8 + 4 }

// neighbour refuses a next hop that guests cannot reach without a route, or that
// is no machine's (RFC 1122, sections 3.3.1.2 and 3.2.1.3).
func neighbour(hop netip.Addr, cidr string) error {
	subnet, err := netip.ParsePrefix(cidr)
	if err != nil {
		return errs.Wrap(errs.Internal, "IP range", err, "its network %q cannot be read", cidr)
	}
	if !machine(hop, subnet) {
		return invalid("nexthop", "%s is no machine's address in %s, where the guests are", hop, subnet).WithAdvice("use an address of the network")
	}
	return nil
}

// machine tells whether an address of a subnet can be a machine's: neither the
// network's nor the broadcast address, which a subnet of two does not have (RFC
// 1122, section 3.2.1.3; RFC 3021).
func machine(a netip.Addr, subnet netip.Prefix) bool {
	if !subnet.Contains(a) {
		return false
	}
	lo := number(subnet.Masked().Addr())
	return subnet.Bits() >= 31 || number(a) != lo && number(a) != lo+1<<(32-subnet.Bits())-1
}

// routesFit refuses the first range of a network in which a route's next hop
// would not be a neighbour.
func (s *Service) routesFit(ctx context.Context, tx *store.Tx, row *IPRange) error {
	if row.IPRangeType != normal {
		return nil
	}
	routes, err := store.Find(ctx, tx, HostRouteType, "`l3NetworkUuid` = ?", row.L3NetworkUUID)
	if err != nil {
		return err
	}
	for _, r := range routes {
		hop, err := netip.ParseAddr(r.NextHop)
		if err == nil {
			err = neighbour(hop, row.NetworkCIDR)
		}
		if err != nil {
			return errs.Wrap(errs.Invalid, "networkCidr", err, "the route to %s does not fit", r.Prefix).WithAdvice("remove the route first")
		}
	}
	return nil
}
