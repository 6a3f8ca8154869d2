package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestNeighbour(t *testing.T) {
	for _, x := range []struct {
		hop, cidr string
		ok        bool
	}{
		{"10.0.0.7", "10.0.0.0/24", true}, {"10.0.0.0", "10.0.0.0/24", false}, {"10.0.0.255", "10.0.0.0/24", false},
		{"10.0.1.7", "10.0.0.0/24", false}, {"10.0.0.0", "10.0.0.0/31", true}, {"10.0.0.1", "10.0.0.0/31", true},
	} {
		if err := neighbour(netip.MustParseAddr(x.hop), x.cidr); x.ok != (err == nil) || !x.ok && errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%s in %s: %v", x.hop, x.cidr, err)
		}
	}
}

// Routes are taken until the option is full, and only by neighbours.
func TestRouteFits(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		err := s.Store.Update(ctx, func(tx *store.Tx) error {
			hop := netip.MustParseAddr("10.0.0.2")
			fits := func(prefix string, hop netip.Addr) error {
				return s.routeFits(ctx, tx, "n2", netip.MustParsePrefix(prefix), hop)
			}
			if err := fits("10.9.0.0/16", netip.MustParseAddr("192.0.2.1")); err != nil {
				t.Errorf("a network without a range: %v", err)
			}
			for i := 0; ; i++ {
				prefix := fmt.Sprintf("10.9.%d.0/24", i)
				err := fits(prefix, hop)
				if err != nil {
					// 8 bytes each of 241
					if i != 30 || errs.ClassOf(err) != errs.Exhausted {
						t.Errorf("after %d routes: %v", i, err)
					}
					break
				}
				row := &L3NetworkHostRoute{L3NetworkUUID: "n2", Prefix: prefix, NextHop: hop.String()}
				row.UUID = fmt.Sprint("route", i)
				if err := store.Insert(ctx, tx, HostRouteType, row); err != nil {
					return err
				}
			}
			if err := s.routeFits(ctx, tx, "n1", netip.MustParsePrefix("169.254.169.254/32"), hop); errs.ClassOf(err) != errs.Refused {
				t.Errorf("a second route to one prefix: %v", err)
			}
			err := s.routesFit(ctx, tx, &IPRange{L3NetworkUUID: "n2", IPRangeType: "Normal", NetworkCIDR: "10.7.0.0/24"})
			if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "10.9.0.0/24") {
				t.Errorf("a range that leaves routes without their next hop: %v", err)
			}
			return s.routesFit(ctx, tx, &IPRange{L3NetworkUUID: "n2", IPRangeType: "Normal", NetworkCIDR: "10.0.0.0/24"})
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// What was read before a change is told from what was read after it.
func TestChanges(t *testing.T) {
	var c changes
	before := c.of("a", "b")
	c.add("c")
	if c.of("a", "b") != before {
		t.Error("another network's change counts")
	}
	c.add("b")
	if c.of("a", "b") == before {
		t.Error("a change is not seen")
	}
	c.postpone("h", "b", true)
	c.postpone("h", "b", false)
	c.postpone("h", "a", false)
	if !c.waits("h") || c.waits("g") || fmt.Sprint(c.due("h")) != "map[a:false b:true]" || c.waits("h") || len(c.due("h")) != 0 {
		t.Error("what a host has to be told is not kept once")
	}
}
