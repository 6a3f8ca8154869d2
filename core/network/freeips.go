package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
)

// freeParams are the parameters of APIGetFreeIpMsg; one of the UUIDs is given.
type freeParams struct {
	L3UUID    string `api:"l3NetworkUuid,resource=L3Network"`
	RangeUUID string `api:"ipRangeUuid,resource=IpRange"`
	Start     string `api:"start,holds=addr4" doc:"The lowest address wanted."`
	Type      string `api:"ipRangeType,values=Normal|AddressPool"`
	IPVersion *int   `api:"ipVersion,values=4|6"`
	Limit     int    `api:"limit,default=100,range=1:10000"`
}

// freeIP is an address that a guest can have.
type freeIP struct {
	RangeUUID string `json:"ipRangeUuid"`
	IP        string `json:"ip"`
	Netmask   string `json:"netmask"`
	Gateway   string `json:"gateway,omitempty"`
}

type freeReply struct {
	Inventories []freeIP `json:"inventories"`
}

func (s *Service) registerFree() error {
	action.Register(s.Actions, action.Action{
		Message: "APIGetFreeIpMsg", Method: "GET", Access: action.Normal,
		Optional: []string{"/l3-networks/ip/free", "/l3-networks/{l3NetworkUuid}/ip/free", "/l3-networks/ip-ranges/{ipRangeUuid}/ip/free"},
		Doc:      "Lists addresses of a network, or of one of its ranges, that are not in use.",
	}, s.freeIPs)
	return nil
}

func (s *Service) freeIPs(ctx context.Context, c *action.Call, p *freeParams) (freeReply, error) {
	reply := freeReply{Inventories: []freeIP{}}
	var from int64
	switch {
	case p.L3UUID == "" && p.RangeUUID == "":
		return reply, invalid("l3NetworkUuid", "is missing").WithAdvice("give it, or ipRangeUuid")
	case p.Start != "":
		from = number(netip.MustParseAddr(p.Start))
	}
	ranges, err := s.rangesFor(ctx, c, p)
	if err != nil {
		return reply, err
	}
	for _, r := range ranges {
		if err := s.listFree(ctx, r, from, p.Limit, &reply); err != nil {
			return reply, err
		}
	}
	return reply, nil
}

// rangesFor finds the ranges that a request is about, in the order in which
// guests get addresses of them.
func (s *Service) rangesFor(ctx context.Context, c *action.Call, p *freeParams) ([]*IPRange, error) {
	where, args := "`l3NetworkUuid` = ?", []any{p.L3UUID}
	if p.RangeUUID != "" {
		where, args = "`uuid` = ?", []any{p.RangeUUID}
	}
	if p.Type != "" {
		where, args = where+" AND `ipRangeType` = ?", append(args, p.Type)
	}
	if p.IPVersion != nil {
		where, args = where+" AND `ipVersion` = ?", append(args, *p.IPVersion)
	}
	ranges, err := store.Find(ctx, s.Store, IPRangeType, where+" ORDER BY `createDate`, `uuid`", args...)
	if err != nil || p.RangeUUID == "" || len(ranges) == 0 {
		return ranges, err
	}
	// A range has no owner of its own: whoever may see its network may see it.
	return ranges, s.Actions.Authorize(ctx, c.Caller, action.Target{Type: "L3Network", UUID: ranges[0].L3NetworkUUID}, false)
}

// listFree adds free addresses of a range, from a number on, until the reply
// has limit of them.
func (s *Service) listFree(ctx context.Context, r *IPRange, from int64, limit int, reply *freeReply) error {
	start, end := bounds(r)
	next := max(from, start)
	add := func(to int64) {
		for ; next < to && len(reply.Inventories) < limit; next++ {
			reply.Inventories = append(reply.Inventories, freeIP{RangeUUID: r.UUID, IP: address(next).String(), Netmask: r.Netmask, Gateway: r.Gateway})
		}
	}
	const page = 1000
	for len(reply.Inventories) < limit && next <= end {
		used := make([]int64, 0, page)
		err := s.Store.Each(ctx, fmt.Sprintf("SELECT `ipInLong` FROM `UsedIp` WHERE `ipRangeUuid` = ? AND `ipInLong` >= ? "+
			"AND `ipInLong` <= ? ORDER BY `ipInLong` LIMIT %d", page), []any{r.UUID, next, end}, func(row *store.Row) error {
			used = append(used, row.Int(0))
			return nil
		})
		if err != nil {
			return err
		}
		for _, u := range used {
			add(u)
			if next == u {
				next++
			}
		}
		if len(used) < page {
			add(end + 1)
			return nil
		}
	}
	return nil
}
