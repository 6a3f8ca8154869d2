package network_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// A plugin has an address by a key, until it gives it back; nobody else gets it.
func TestAddressesOfPlugins(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	small := c.Create("APICreateL3NetworkMsg", P{"name": "small", "l2NetworkUuid": c.l3().Text("l2NetworkUuid")})
	ask := func(key, ip string) *pluginv1.AllocateAddressRequest {
		return &pluginv1.AllocateAddressRequest{Key: key, L3NetworkUuid: small, Purpose: "VIP", Ip: ip}
	}
	refused := func(class errs.Class, plugin string, r *pluginv1.AllocateAddressRequest, words ...string) {
		t.Helper()
		_, err := c.Network.AllocateFor(ctx, plugin, r)
		if errs.ClassOf(err) != class {
			t.Errorf("%v: %v, not %s", r, err, class)
		}
		for _, w := range words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%v does not say %q", err, w)
			}
		}
	}
	refused(errs.Refused, "lb", ask("a", ""), "no IP range")
	ranged := c.Create("APIAddIpRangeMsg", P{"l3NetworkUuid": small, "name": "r", "startIp": "10.7.0.10", "endIp": "10.7.0.12", "netmask": "255.255.255.0", "gateway": "10.7.0.1"})
	a, err := c.Network.AllocateFor(ctx, "lb", ask("a", "10.7.0.11"))
	c.Ok(err)
	c.want("the address", a.Ip+a.Netmask+a.Gateway+a.IpRangeUuid, "10.7.0.11255.255.255.010.7.0.1"+ranged)
	for _, ip := range []string{"", "10.7.0.11"} {
		again, err := c.Network.AllocateFor(ctx, "lb", ask("a", ip))
		c.Ok(err)
		c.want("the address of a repeat", again.Uuid+again.Ip, a.Uuid+a.Ip)
	}
	c.want("what people see", c.Get("UsedIp", a.Uuid).Text("usedFor"), "VIP")
	refused(errs.Exists, "lb", ask("a", "10.7.0.12"), "10.7.0.11")
	refused(errs.Exists, "lb", ask("b", "10.7.0.11"), "VIP")
	refused(errs.Invalid, "lb", ask("b", "10.7.0.13"))
	refused(errs.NotFound, "lb", &pluginv1.AllocateAddressRequest{Key: "b", L3NetworkUuid: resource.NewUUID(), Purpose: "VIP"})
	wrong := ask("b", "")
	wrong.IpRangeUuid = c.List("IpRange", "l3NetworkUuid="+c.s.L3)[0].Text("uuid")
	refused(errs.NotFound, "lb", wrong, small)
	other, err := c.Network.AllocateFor(ctx, "vpn", ask("a", ""))
	c.Ok(err)
	third := ask("b", "")
	third.IpRangeUuid = ranged
	_, err = c.Network.AllocateFor(ctx, "lb", third)
	c.Ok(err)
	refused(errs.Exhausted, "lb", ask("c", ""))
	for range 2 {
		c.Ok(c.Network.ReleaseFor(ctx, "lb", "a"))
	}
	c.want("another plugin's address of that key", c.Get("UsedIp", other.Uuid).Text("ip"), other.Ip)
	again, err := c.Network.AllocateFor(ctx, "lb", ask("c", ""))
	c.Ok(err)
	c.want("the one that was given back", again.Ip, a.Ip)
}

// Many who ask at once get an address each, of one key the same.
func TestAddressesOfPluginsAtOnce(t *testing.T) {
	c := newCloud(t)
	const keys, each = 40, 3
	got := make([][]string, keys)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for k := range keys {
		for range each {
			wait.Go(func() {
				a, err := c.Network.AllocateFor(t.Context(), "lb", &pluginv1.AllocateAddressRequest{Key: fmt.Sprint(k), L3NetworkUuid: c.s.L3, Purpose: "VIP"})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				got[k] = append(got[k], a.GetIp())
			})
		}
	}
	wait.Wait()
	all := map[string]bool{}
	for k, ips := range got {
		for _, ip := range ips {
			if ip != ips[0] {
				t.Errorf("key %d has %v", k, ips)
			}
		}
		all[ips[0]] = true
	}
	c.want("addresses", len(all), keys)
}
