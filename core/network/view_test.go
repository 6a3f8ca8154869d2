package network

import (
	"cmp"
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

var ctx = context.Background()

// nets is a service on the networks n1 and n2, which are on l1 and l2; l1 is
// attached to clusters a and b and realized on host h, l2 to b only. n1 has
// two ranges, two DNS servers, a route, an MTU, and services of two providers.
func nets(t *testing.T, dsn string) *Service {
	t.Helper()
	st := storetest.OpenDSN(t, dsn, append(Types(), config.Types()...)...)
	plugins, err := plugin.New(plugin.Config{Dir: t.TempDir(), Log: storetest.Logger(t), Handler: struct{ plugin.CoreHandler }{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{needs: needsOf(&kernel.Kernel{Cascade: cascade.New(st, st.Registry(), flow.NewEngine(st, nil, nil), nil), Store: st, Events: event.New(), Plugins: plugins, Log: storetest.Logger(t)})}
	n := 0
	ref := func() resource.Ref {
		n++
		r := resource.Ref{CreateDate: resource.UnixMilli(int64(1000 - n))} // the last one is the oldest
		r.UUID = fmt.Sprint("ref", n)
		return r
	}
	base := func(uuid string) resource.Base { return resource.Base{UUID: uuid, Name: "name of " + uuid} }
	dated := func(uuid string, ms int64) resource.Base {
		return resource.Base{UUID: uuid, CreateDate: resource.UnixMilli(ms)}
	}
	err = st.Update(ctx, func(tx *store.Tx) error {
		n = 0
		return cmp.Or(
			store.Insert(ctx, tx, L3NetworkType,
				&L3Network{Base: base("n1"), ZoneUUID: "z", L2NetworkUUID: "l1", State: "Enabled", DNSDomain: "example.org", MTU: 1400},
				&L3Network{Base: base("n2"), ZoneUUID: "z", L2NetworkUUID: "l2", State: "Enabled"}),
			store.Insert(ctx, tx, L2HostRefType, &L2NetworkHostRef{Ref: ref(), L2NetworkUUID: "l1", HostUUID: "h", Bridge: "br1"}),
			store.Insert(ctx, tx, L2ClusterRefType, &L2NetworkClusterRef{Ref: ref(), ClusterUUID: "a", L2NetworkUUID: "l1"},
				&L2NetworkClusterRef{Ref: ref(), ClusterUUID: "b", L2NetworkUUID: "l1"}, &L2NetworkClusterRef{Ref: ref(), ClusterUUID: "b", L2NetworkUUID: "l2"}),
			store.Insert(ctx, tx, DNSType, &L3NetworkDNS{Ref: ref(), L3NetworkUUID: "n1", DNS: "9.9.9.9"}, &L3NetworkDNS{Ref: ref(), L3NetworkUUID: "n1", DNS: "1.1.1.1"}),
			store.Insert(ctx, tx, HostRouteType, &L3NetworkHostRoute{Ref: ref(), L3NetworkUUID: "n1", Prefix: "169.254.169.254/32", NextHop: "10.0.0.2"}),
			store.Insert(ctx, tx, IPRangeType,
				&IPRange{Base: dated("r2", 2), L3NetworkUUID: "n1", StartIP: "10.0.0.9", EndIP: "10.0.0.10", NetworkCIDR: "10.0.0.0/24", Netmask: "255.255.255.0", Gateway: "10.0.0.1", IPVersion: 4, IPRangeType: "Normal"},
				&IPRange{Base: dated("r1", 1), L3NetworkUUID: "n1", StartIP: "10.0.1.9", EndIP: "10.0.1.9", NetworkCIDR: "10.0.1.0/24", Netmask: "255.255.255.0", IPVersion: 4, IPRangeType: "Normal"}),
			store.Insert(ctx, tx, ProviderType, &Provider{Base: base("p1"), Type: "One"}, &Provider{Base: base("p2"), Type: "Two"}),
			store.Insert(ctx, tx, L3ServiceType, &L3NetworkService{Ref: ref(), L3NetworkUUID: "n1", ProviderUUID: "p2", ServiceType: "SNAT"},
				&L3NetworkService{Ref: ref(), L3NetworkUUID: "n1", ProviderUUID: "p1", ServiceType: "DNS"},
				&L3NetworkService{Ref: ref(), L3NetworkUUID: "n1", ProviderUUID: "p1", ServiceType: "DHCP"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func both(t *testing.T, f func(t *testing.T, s *Service)) {
	t.Run("sqlite", func(t *testing.T) { f(t, nets(t, "sqlite:"+t.TempDir()+"/kumo.db")) })
	t.Run("mysql", func(t *testing.T) { f(t, nets(t, mariadb.Start(t))) })
}

func TestView(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		views, err := s.views(ctx, "h", []string{"n1", "n1"})
		if err != nil {
			t.Fatal(err)
		}
		v := views["n1"]
		if v.device != "br1" || v.mtu != 1400 || len(v.byProvider) != 2 {
			t.Errorf("view %+v", v)
		}
		one := v.byProvider["One"]
		got := fmt.Sprint(one.GetUuid(), one.GetDnsDomain(), one.GetDns(), one.GetMtu(), one.GetBridge(), one.GetServices(), len(one.GetRanges()))
		if want := "n1example.org[1.1.1.1 9.9.9.9] 1400br1[DHCP DNS] 2"; got != want {
			t.Errorf("network %s; want %s", got, want)
		}
		if r := one.GetRanges(); r[0].GetNetworkCidr() != "10.0.1.0/24" || r[0].GetGateway() != "" || r[1].GetGateway() != "10.0.0.1" || r[1].GetNetmask() != "255.255.255.0" {
			t.Errorf("ranges %v", r)
		}
		if r := one.GetHostRoutes(); len(r) != 1 || r[0].GetPrefix() != "169.254.169.254/32" || r[0].GetNextHop() != "10.0.0.2" {
			t.Errorf("routes %v", r)
		}
		if two := v.byProvider["Two"]; fmt.Sprint(two.GetServices()) != "[SNAT]" {
			t.Errorf("services of the second provider %v", two.GetServices())
		}
		for want, where := range map[errs.Class][2]string{errs.Unavailable: {"h", "n2"}, errs.NotFound: {"h", "none"}} {
			if _, err := s.views(ctx, where[0], []string{where[1]}); errs.ClassOf(err) != want {
				t.Errorf("view of %v: %v; want %s", where, err, want)
			}
		}
	})
}

// What is told of a network is kept, and is new after each change of what it is
// made of; what belongs to one host or provider is not kept with it.
func TestViewFollowsItsRows(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		exec := func(query string, args ...any) func(tx *store.Tx) error {
			return func(tx *store.Tx) error { _, err := tx.Exec(ctx, query, args...); return err }
		}
		look := func() (*view, *description) {
			t.Helper()
			v, err := s.view(ctx, "h", "n1")
			if err != nil {
				t.Fatal(err)
			}
			d, err := s.describe(ctx, "n1")
			if err != nil {
				t.Fatal(err)
			}
			return v, d
		}
		_, before := look()
		if _, again := look(); again != before {
			t.Error("a description is read again though nothing has changed")
		}
		other := &L2NetworkHostRef{L2NetworkUUID: "l1", HostUUID: "other", Bridge: "br9"}
		other.UUID = "other"
		own := exec("UPDATE `L2NetworkHostRef` SET `bridge` = 'br2' WHERE `hostUuid` = 'h'")
		for _, write := range []func(tx *store.Tx) error{own, func(tx *store.Tx) error { return store.Insert(ctx, tx, L2HostRefType, other) }} {
			if err := s.Store.Update(ctx, write); err != nil {
				t.Fatal(err)
			}
		}
		v, after := look()
		if after != before || v.device != "br2" || v.byProvider["One"].GetBridge() != "br2" {
			t.Errorf("after a host's bridge was renamed: kept %v, bridge %s", after == before, v.device)
		}
		for what, change := range map[string]struct {
			write func(tx *store.Tx) error
			seen  func(v *view) bool
		}{
			"a name server": {exec("UPDATE `L3NetworkDns` SET `dns` = '8.8.8.8' WHERE `dns` = '1.1.1.1'"),
				func(v *view) bool { return v.byProvider["One"].GetDns()[0] == "8.8.8.8" }},
			"a range": {exec("DELETE FROM `IpRange` WHERE `uuid` = 'r1'"),
				func(v *view) bool { return len(v.byProvider["One"].GetRanges()) == 1 }},
			"a route": {exec("DELETE FROM `L3NetworkHostRoute`"),
				func(v *view) bool { return len(v.byProvider["One"].GetHostRoutes()) == 0 }},
			"a service": {exec("DELETE FROM `NetworkServiceL3NetworkRef` WHERE `networkServiceType` = 'SNAT'"),
				func(v *view) bool { return v.byProvider["Two"] == nil }},
			"a provider": {exec("UPDATE `NetworkServiceProvider` SET `type` = 'Uno' WHERE `uuid` = 'p1'"),
				func(v *view) bool { return len(v.byProvider["Uno"].GetServices()) == 2 }},
			"the MTU": {exec("UPDATE `L3Network` SET `mtu` = 70000 WHERE `uuid` = 'n1'"),
				func(v *view) bool { return v.mtu == 65535 }},
		} {
			if err := s.Store.Update(ctx, change.write); err != nil {
				t.Fatal(err)
			}
			v, _ := look()
			if v.byProvider["One"] == nil {
				v.byProvider["One"] = v.byProvider["Uno"]
			}
			if !change.seen(v) {
				t.Errorf("%s was changed, but told is %+v", what, v)
			}
		}
		// A network without an MTU of its own has that of Ethernet.
		if err := s.Store.Update(ctx, exec("UPDATE `L3Network` SET `mtu` = NULL WHERE `uuid` = 'n1'")); err != nil {
			t.Fatal(err)
		}
		if v, _ := look(); v.mtu != 1500 {
			t.Errorf("MTU %d", v.mtu)
		}
	})
}

func TestClusters(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		for _, tt := range []struct {
			l3s  []string
			want string
		}{{[]string{"n1"}, "[a b]"}, {[]string{"n1", "n2"}, "[b]"}, {[]string{"n2"}, "[b]"}} {
			got, err := s.Clusters(ctx, s.Store, tt.l3s)
			if err != nil || fmt.Sprint(got) != tt.want {
				t.Errorf("clusters of %v: %v, %v; want %s", tt.l3s, got, err, tt.want)
			}
		}
		if zone, err := s.Check(ctx, s.Store, []string{"n2", "n1"}); err != nil || zone != "z" {
			t.Errorf("zone %q, %v", zone, err)
		}
		if _, err := s.Check(ctx, s.Store, []string{"n1", "none"}); errs.ClassOf(err) != errs.NotFound {
			t.Errorf("check of a missing network: %v", err)
		}
	})
}

// TestAllocate uses up the three addresses of a network, frees one guest's and
// takes its address again.
func TestAllocate(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		allocate := func(vm string, w contract.NICWish) (plans []*contract.NICPlan, err error) {
			err = s.Store.Update(ctx, func(tx *store.Tx) error {
				plans, err = s.Allocate(ctx, tx, contract.NICRequest{VMUUID: vm, AccountUUID: "me", NICs: []contract.NICWish{w}})
				return err
			})
			return plans, err
		}
		got := map[string]string{}
		for _, vm := range []string{"v1", "v2", "v3"} {
			plans, err := allocate(vm, contract.NICWish{L3UUID: "n1"})
			if err != nil || len(plans) != 1 || got[plans[0].IP] != "" {
				t.Fatalf("%s: %v, %v; taken are %v", vm, plans, err, got)
			}
			got[plans[0].IP] = vm
		}
		for _, ip := range []string{"10.0.0.9", "10.0.0.10", "10.0.1.9"} {
			if got[ip] == "" {
				t.Errorf("%s was not used: %v", ip, got)
			}
		}
		if _, err := allocate("v4", contract.NICWish{L3UUID: "n1"}); errs.ClassOf(err) != errs.Exhausted {
			t.Errorf("fourth address: %v", err)
		}
		free := func(tx *store.Tx) error { return s.Free(ctx, tx, got["10.0.0.9"]) }
		if err := s.Store.Update(ctx, free); err != nil {
			t.Fatal(err)
		}
		const mac = "fa:01:02:03:04:05"
		plans, err := allocate("v4", contract.NICWish{L3UUID: "n1", MAC: mac})
		if err != nil || plans[0].IP != "10.0.0.9" || plans[0].MAC != mac {
			t.Fatalf("after one was freed: %v, %v", plans, err)
		}
		if err := s.Store.Update(ctx, func(tx *store.Tx) error { return s.Free(ctx, tx, got["10.0.0.10"]) }); err != nil {
			t.Fatal(err)
		}
		if _, err := allocate("v5", contract.NICWish{L3UUID: "n1", MAC: mac}); errs.ClassOf(err) != errs.Exists {
			t.Errorf("a MAC that is in use: %v", err)
		}
		if n, err := store.Count(ctx, s.Store, UsedIPType.Type, ""); err != nil || n != 2 {
			t.Errorf("%d addresses are used, %v; want 2", n, err)
		}
	})
}

// TestAllocateTogether lets 40 guests take the 40 addresses of a range at the
// same time.
func TestAllocateTogether(t *testing.T) {
	both(t, func(t *testing.T, s *Service) {
		r := &IPRange{L3NetworkUUID: "n2", StartIP: "10.2.0.1", EndIP: "10.2.0.40", NetworkCIDR: "10.2.0.0/24", Netmask: "255.255.255.0", IPVersion: 4, IPRangeType: "Normal"}
		r.UUID = "r3"
		if err := s.Store.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, IPRangeType, r) }); err != nil {
			t.Fatal(err)
		}
		ips := make(chan string, 40)
		var g errgroup.Group
		for i := range 40 {
			g.Go(func() error {
				var plans []*contract.NICPlan
				err := s.Store.Update(ctx, func(tx *store.Tx) (err error) {
					plans, err = s.Allocate(ctx, tx, contract.NICRequest{VMUUID: fmt.Sprint("v", i), NICs: []contract.NICWish{{L3UUID: "n2"}}})
					return err
				})
				if err == nil {
					ips <- plans[0].IP
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		close(ips)
		seen := map[string]bool{}
		for ip := range ips {
			seen[ip] = true
		}
		if len(seen) != 40 {
			t.Errorf("%d different addresses; want 40", len(seen))
		}
	})
}
