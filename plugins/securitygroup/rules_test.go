package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

type given = map[string]any

// What clients give becomes a rule in one spelling, or is refused with the wire's code.
func TestRuleOf(t *testing.T) {
	for _, c := range []struct {
		in   given
		code string
		// src, dst, ports, old are those of the rule.
		src, dst, ports, old string
	}{
		{in: given{"type": ingress, "protocol": "ALL"}, old: "0.0.0.0/0"},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "80, 443,8000-8100"}, ports: "80,443,8000-8100", old: "0.0.0.0/0"},
		{in: given{"type": ingress, "protocol": "TCP", "startPort": int64(22), "endPort": int64(22), "allowedCidr": "10.1.2.3/8"}, ports: "22", src: "10.0.0.0/8", old: "10.0.0.0/8"},
		{in: given{"type": egress, "protocol": "UDP", "startPort": int64(1), "endPort": int64(9), "allowedCidr": "0.0.0.0/0"}, ports: "1-9", old: "0.0.0.0/0"},
		{in: given{"type": ingress, "protocol": "ICMP", "startPort": int64(-1), "endPort": int64(-1)}, old: "0.0.0.0/0"},
		{in: given{"type": ingress, "protocol": "ICMP", "startPort": int64(8), "endPort": int64(0)}, old: "0.0.0.0/0"},
		{in: given{"type": egress, "protocol": "ALL", "ipVersion": int64(6), "dstIpRange": "2001:DB8::1, 2001:db8::2-2001:db8::9"}, dst: "2001:db8::1,2001:db8::2-2001:db8::9", old: "2001:db8::1,2001:db8::2-2001:db8::9"},
		{in: given{"type": ingress, "protocol": "TCP"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "80-79"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "65536"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "80,70-90"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "1,2,3,4,5,6,7,8,9,10,11"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "endPort": int64(80)}, code: codePorts},
		{in: given{"type": ingress, "protocol": "TCP", "dstPortRange": "80", "startPort": int64(81)}, code: codeConflict},
		{in: given{"type": ingress, "protocol": "ICMP", "dstPortRange": "80"}, code: codePorts},
		{in: given{"type": ingress, "protocol": "ALL", "dstIpRange": "10.0.0.1"}, code: codeConflict},
		{in: given{"type": egress, "protocol": "ALL", "srcIpRange": "10.0.0.1"}, code: codeConflict},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.1", "remoteSecurityGroupUuid": "g"}, code: codeConflict},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.1", "allowedCidr": "10.0.0.2"}, code: codeConflict},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.256"}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.9-10.0.0.1"}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.0/33"}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "10.0.0.1,10.0.0.1"}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "::1"}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "fe80::1%eth0", "ipVersion": int64(6)}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "srcIpRange": "::ffff:1.2.3.4", "ipVersion": int64(6)}, code: codeAddresses},
		{in: given{"type": ingress, "protocol": "ALL", "ipVersion": int64(5)}, code: codeUnsupported},
	} {
		r, err := ruleOf(c.in)
		if bad, is := errors.AsType[*ruleError](err); c.code != "" && (!is || bad.code != c.code) || c.code == "" && err != nil {
			t.Errorf("%v: error %v, want %q", c.in, err, c.code)
			continue
		}
		if c.code == "" && (r.Src != c.src || r.Dst != c.dst || r.Ports != c.ports || r.AllowedCIDR != c.old || r.State != enabled || r.Action != accept) {
			t.Errorf("%v: %+v", c.in, r)
		}
	}
}

// What is one of its spellings stays as it is, and the agent can have it.
func FuzzRule(f *testing.F) {
	for _, seed := range [][4]string{{"TCP", "10.0.0.0/8,10.0.0.1-10.0.0.9", "80,90-99", ""}, {"ALL", "", "", "g"}, {"ICMP", "2001:db8::/32", "", ""}, {"UDP", "0.0.0.0/0", "0-65535", ""}} {
		f.Add(seed[0], seed[1], seed[2], seed[3], true)
		f.Add(seed[0], seed[1], seed[2], seed[3], false)
	}
	f.Fuzz(func(t *testing.T, protocol, addresses, ports, remote string, in bool) {
		g := given{"type": egress, "protocol": protocol, "dstIpRange": addresses, "dstPortRange": ports, "remoteSecurityGroupUuid": remote}
		if in {
			g = given{"type": ingress, "protocol": protocol, "srcIpRange": addresses, "dstPortRange": ports, "remoteSecurityGroupUuid": remote}
		}
		if strings.Contains(addresses, ":") {
			g["ipVersion"] = int64(6)
		}
		r, err := ruleOf(g)
		if err != nil {
			return
		}
		again := *r
		if err := again.settle(); err != nil || !reflect.DeepEqual(&again, r) {
			t.Fatalf("%+v becomes %+v, %v", r, again, err)
		}
		if one := r.fragment(func(string) bool { return true }); len(one.GetPorts()) > 0 && one.GetPorts()[0].First > one.GetPorts()[0].Last {
			t.Fatalf("fragment %v", one)
		}
	})
}

func TestFragmentOfRule(t *testing.T) {
	r, err := ruleOf(given{"type": egress, "protocol": "TCP", "dstIpRange": "10.0.0.1,10.0.0.0/24", "dstPortRange": "80", "action": drop})
	if err != nil {
		t.Fatal(err)
	}
	f := r.fragment(func(string) bool { return false })
	if f.Direction != hostv1.FilterDirection_FILTER_DIRECTION_EGRESS || f.Protocol != hostv1.FilterProtocol_FILTER_PROTOCOL_TCP || !f.Drop || f.IpVersion != 4 ||
		len(f.Addresses) != 2 || len(f.Ports) != 1 {
		t.Errorf("fragment %v", f)
	}
	r.Remote = "g"
	if r.fragment(func(string) bool { return false }) != nil {
		t.Error("a rule that names a group that does not count has a fragment")
	}
	r.State = disabled
	if r.fragment(func(string) bool { return true }) != nil {
		t.Error("a disabled rule has a fragment")
	}
}
