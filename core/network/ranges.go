package network

import (
	"cmp"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// newRange holds the parameters of APIAddIpRangeMsg.
type newRange struct {
	L3UUID      string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Name        string `api:"name,required,max=255"`
	Description string `api:"description,max=2048"`
	StartIP     string `api:"startIp,required,holds=addr4"`
	EndIP       string `api:"endIp,required,holds=addr4"`
	Netmask     string `api:"netmask,required,holds=netmask4"`
	Gateway     string `api:"gateway,holds=addr4"`
	Type        string `api:"ipRangeType,values=Normal|AddressPool"`
}

// newRangeByCIDR holds the parameters of APIAddIpRangeByNetworkCidrMsg.
type newRangeByCIDR struct {
	L3UUID      string `api:"l3NetworkUuid,required,path,resource=L3Network"`
	Name        string `api:"name,required,max=255"`
	Description string `api:"description,max=2048"`
	CIDR        string `api:"networkCidr,required,holds=cidr4"`
	Gateway     string `api:"gateway,max=64,holds=addr4"`
	Type        string `api:"ipRangeType,values=Normal|AddressPool"`
}

func (s *Service) registerRanges() error {
	kernel.AddMaker(s.generic, s.ranges())
	action.Register(s.Actions, action.Action{
		Message: "APIAddIpRangeMsg", Method: "POST", Path: "/l3-networks/{l3NetworkUuid}/ip-ranges", Async: true, Create: true,
		Access: action.Normal, Queue: "l3NetworkUuid", Returns: "IpRange", Doc: "Adds a range of addresses to a network.",
	}, func(ctx context.Context, c *action.Call, p *newRange) (action.Ref, error) {
		row, err := parseRange(p)
		if err != nil {
			return action.Ref{}, err
		}
		row.Name, row.Description = p.Name, p.Description
		return s.addRange(ctx, c, row)
	})
	action.Register(s.Actions, action.Action{
		Message: "APIAddIpRangeByNetworkCidrMsg", Method: "POST", Path: "/l3-networks/{l3NetworkUuid}/ip-ranges/by-cidr", Async: true,
		Create: true, Access: action.Normal, Queue: "l3NetworkUuid", Returns: "IpRange", Doc: "Adds a whole subnet's addresses to a network.",
	}, func(ctx context.Context, c *action.Call, p *newRangeByCIDR) (action.Ref, error) {
		full, err := expandCIDR(p)
		if err != nil {
			return action.Ref{}, err
		}
		row, err := parseRange(full)
		if err != nil {
			return action.Ref{}, err
		}
		row.Name, row.Description = p.Name, p.Description
		return s.addRange(ctx, c, row)
	})
	return cmp.Or(s.generic.RegisterUpdate(IPRangeType.Type, action.Normal, nil), s.generic.RegisterDelete(IPRangeType.Type, action.Normal, s.rangeUnused))
}

func invalid(field, format string, args ...any) *errs.Error {
	return errs.New(errs.Invalid, field, format, args...)
}

// parseRange checks what can be told without the database of addresses that are
// addresses.
func parseRange(p *newRange) (*IPRange, error) {
	start, end := netip.MustParseAddr(p.StartIP), netip.MustParseAddr(p.EndIP)
	if end.Less(start) {
		return nil, invalid("endIp", "%s is below startIp %s", end, start)
	}
	bits, err := maskBits(p.Netmask)
	if err != nil {
		return nil, err
	}
	subnet := netip.PrefixFrom(start, bits).Masked()
	if !subnet.Contains(end) {
		return nil, invalid("endIp", "%s is not in %s, the subnet of startIp", end, subnet)
	}
	lo, hi := number(subnet.Addr()), number(subnet.Addr())+1<<(32-bits)-1
	if bits < 31 && (number(start) == lo || number(end) == hi) {
		return nil, invalid("startIp", "the range %s-%s holds the network's or the broadcast address of %s", start, end, subnet)
	}
	kind := cmp.Or(p.Type, normal)
	if p.Gateway == "" && kind == normal {
		return nil, invalid("gateway", "a Normal range needs a gateway")
	}
	if p.Gateway != "" {
		gw := netip.MustParseAddr(p.Gateway)
		if !subnet.Contains(gw) {
			return nil, invalid("gateway", "%s is not in %s", gw, subnet)
		}
		if !machine(gw, subnet) {
			return nil, invalid("gateway", "%s is the network's or the broadcast address of %s, no router's", gw, subnet)
		}
		if !gw.Less(start) && !end.Less(gw) {
			return nil, invalid("gateway", "%s is inside the range %s-%s", gw, start, end)
		}
	}
	return &IPRange{L3NetworkUUID: p.L3UUID, StartIP: start.String(), EndIP: end.String(), Netmask: p.Netmask, Gateway: p.Gateway,
		NetworkCIDR: subnet.String(), IPVersion: 4, PrefixLen: int64(bits), IPRangeType: kind}, nil
}

// expandCIDR turns a subnet into a range: the gateway is the first address
// unless given, and the range is the larger part beside it.
func expandCIDR(p *newRangeByCIDR) (*newRange, error) {
	prefix := netip.MustParsePrefix(p.CIDR)
	if prefix.Bits() > 29 || prefix.Bits() < 8 {
		return nil, invalid("networkCidr", "%s has a prefix of %d bits; 8 to 29 can be used", p.CIDR, prefix.Bits())
	}
	base := number(prefix.Masked().Addr())
	first, last := base+1, base+1<<(32-prefix.Bits())-2
	gw := first
	if p.Gateway != "" {
		if gw = number(netip.MustParseAddr(p.Gateway)); gw < first || gw > last {
			return nil, invalid("gateway", "%s is not among the addresses of %s", p.Gateway, p.CIDR)
		}
	}
	start, end := gw+1, last
	if gw-first > last-gw {
		start, end = first, gw-1
	}
	hosts, _ := kinds.Of("addr4")
	if _, err := hosts.Parse(address(start).String()); err != nil {
		return nil, invalid("networkCidr", "%v", err)
	}
	mask := address(int64(^uint32(0) << (32 - prefix.Bits())))
	return &newRange{L3UUID: p.L3UUID, StartIP: address(start).String(), EndIP: address(end).String(),
		Netmask: mask.String(), Gateway: address(gw).String(), Type: p.Type}, nil
}

func maskBits(mask string) (int, error) {
	b := netip.MustParseAddr(mask).As4()
	if bits, _ := net.IPMask(b[:]).Size(); bits >= 8 {
		return bits, nil
	}
	return 0, invalid("netmask", "%s is shorter than 8 bits, which is no subnet", mask)
}

// number and address convert between an IPv4 address and ipInLong.
func number(a netip.Addr) int64 { b := a.As4(); return int64(binary.BigEndian.Uint32(b[:])) }

func address(n int64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b)
}

// The types of ranges. The addresses of a pool are for services; it needs a Normal
// range beside it, and goes with the last one (spec: network services, section 1).
const (
	normal = "Normal"
	pool   = "AddressPool"
)

// carries tells whether another range of the network is one that a pool needs.
func (n *IPRange) carries(o *IPRange) bool {
	return o.IPRangeType == normal && o.IPVersion == n.IPVersion && o.UUID != n.UUID
}

// poolsOf returns the pools that a range leaves without a Normal one when it goes.
func poolsOf(ctx context.Context, q store.Querier, row *IPRange) ([]*IPRange, error) {
	if row.IPRangeType != normal {
		return nil, nil
	}
	all, err := store.Find(ctx, q, IPRangeType, "`l3NetworkUuid` = ? AND `ipVersion` = ?", row.L3NetworkUUID, row.IPVersion)
	if err != nil || slices.ContainsFunc(all, row.carries) {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o *IPRange) bool { return o.IPRangeType != pool }), nil
}

// addRange applies the rules between ranges (spec: network services): ranges
// of one network share one CIDR and one gateway and do not overlap.
func (s *Service) addRange(ctx context.Context, c *action.Call, row *IPRange) (action.Ref, error) {
	row.UUID = c.ResourceUUID
	return action.Ref{Type: "IpRange", UUID: row.UUID}, kernel.Make(ctx, s.generic, s.ranges(), c, row)
}

// ranges makes ranges.
func (s *Service) ranges() kernel.Maker[IPRange] {
	return kernel.Maker[IPRange]{Type: IPRangeType, Write: s.insertRange,
		Then: func(ctx context.Context, row *IPRange) error { return s.changed(ctx, row.L3NetworkUUID, false) }}
}

func (s *Service) insertRange(ctx context.Context, tx *store.Tx, c *action.Call, row *IPRange) error {
	err := kernel.Add(ctx, tx, s.generic, c, IPRangeType, row, func() error { return s.rangeFits(ctx, tx, row) })
	if err != nil {
		return err
	}
	// What guests kept of a range that went is in use in this one.
	_, err = tx.Exec(ctx, "UPDATE `UsedIp` SET `ipRangeUuid` = ? WHERE `l3NetworkUuid` = ? AND `ipRangeUuid` = '' AND `ipInLong` BETWEEN ? AND ?",
		row.UUID, row.L3NetworkUUID, number(netip.MustParseAddr(row.StartIP)), number(netip.MustParseAddr(row.EndIP)))
	if err != nil {
		return err
	}
	return s.ensureServiceIPs(ctx, tx, row.L3NetworkUUID)
}

// rangeFits checks a new range against its network and the others in it.
func (s *Service) rangeFits(ctx context.Context, tx *store.Tx, row *IPRange) error {
	l3, err := store.Get(ctx, tx, L3NetworkType, row.L3NetworkUUID)
	if err != nil {
		return err
	}
	if row.IPRangeType == pool && l3.Category != "Public" {
		return refused("L3Network "+l3.Name, "is %s; an address pool needs a Public network", l3.Category)
	}
	others, err := store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ?", row.L3NetworkUUID)
	if err != nil {
		return err
	}
	for _, o := range others {
		if err := fits(row, o); err != nil {
			return err
		}
	}
	if row.IPRangeType == pool && !slices.ContainsFunc(others, row.carries) {
		return refused("L3Network "+l3.Name, "has no Normal IP range, without which an address pool is of no use").WithAdvice("add a Normal range first")
	}
	return s.routesFit(ctx, tx, row)
}

func fits(n, o *IPRange) error {
	if n.StartIP == "" || o.IPVersion != n.IPVersion {
		return nil
	}
	ns, ne := number(netip.MustParseAddr(n.StartIP)), number(netip.MustParseAddr(n.EndIP))
	os, oe := number(netip.MustParseAddr(o.StartIP)), number(netip.MustParseAddr(o.EndIP))
	switch {
	case ns <= oe && os <= ne:
		return invalid("startIp", "the range %s-%s overlaps range %s (%s-%s)", n.StartIP, n.EndIP, o.Name, o.StartIP, o.EndIP)
	case n.IPRangeType != o.IPRangeType:
		return nil
	case n.NetworkCIDR != o.NetworkCIDR:
		return invalid("networkCidr", "%s differs from %s of range %s; ranges of one network share one subnet", n.NetworkCIDR, o.NetworkCIDR, o.Name)
	case n.Gateway != o.Gateway:
		return invalid("gateway", "%s differs from %s of range %s; ranges of one network share one gateway", n.Gateway, o.Gateway, o.Name)
	}
	return nil
}

// rangeUnused refuses to delete a range whose addresses guests have, and the last
// Normal one beside a pool.
func (s *Service) rangeUnused(ctx context.Context, uuid string) error {
	row, found, err := store.First(ctx, s.Store, IPRangeType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	pools, err := poolsOf(ctx, s.Store, row)
	if err != nil {
		return err
	}
	if len(pools) > 0 {
		return refused("IpRange "+row.Name, "is the last Normal range of its network, which has the address pool %s", pools[0].Name).
			WithAdvice("delete the pool first")
	}
	used, found, err := store.First(ctx, s.Store, UsedIPType, "`ipRangeUuid` = ? AND `vmNicUuid` IS NOT NULL", uuid)
	if err != nil || !found {
		return err
	}
	return refused("IpRange "+uuid, "address %s is in use by NIC %s", used.IP, used.VMNicUUID).WithAdvice("destroy and expunge the guests that use it first")
}

// deleteRange removes a range with its free addresses, and pools that would be left
// without a Normal one; a provider's own address moves to another range when there
// is one. Addresses that guests have stay theirs, in no range, until the guests go:
// nobody else may be given them.
func (s *Service) deleteRange(ctx context.Context, uuid string, _ cascade.Mode) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		row, found, err := store.First(ctx, tx, IPRangeType, "`uuid` = ?", uuid)
		if err != nil || !found {
			return err
		}
		pools, err := poolsOf(ctx, tx, row)
		if err != nil {
			return err
		}
		for _, gone := range append(pools, row) {
			if err := s.dropRange(ctx, tx, gone); err != nil {
				return err
			}
		}
		return s.ensureServiceIPs(ctx, tx, row.L3NetworkUUID)
	})
}

func (s *Service) dropRange(ctx context.Context, tx *store.Tx, row *IPRange) error {
	if err := s.dropServiceIPs(ctx, tx, row.L3NetworkUUID, row.UUID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM `UsedIp` WHERE `ipRangeUuid` = ? AND `vmNicUuid` IS NULL", row.UUID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE `UsedIp` SET `ipRangeUuid` = '' WHERE `ipRangeUuid` = ?", row.UUID); err != nil {
		return err
	}
	return s.Tags.DeleteRow(ctx, tx, IPRangeType.Type, row.UUID)
}
