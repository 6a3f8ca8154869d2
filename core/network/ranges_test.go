package network

import (
	"errors"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestParseRange(t *testing.T) {
	good := newRange{StartIP: "10.0.0.10", EndIP: "10.0.0.99", Netmask: "255.255.255.0", Gateway: "10.0.0.1"}
	tests := []struct {
		name   string
		change func(*newRange)
		field  string // "" = accepted
	}{
		{"as it is", func(*newRange) {}, ""},
		{"gateway above", func(r *newRange) { r.Gateway = "10.0.0.254" }, ""},
		{"one address", func(r *newRange) { r.EndIP = r.StartIP }, ""},
		{"pool needs no gateway", func(r *newRange) { r.Type, r.Gateway = "AddressPool", "" }, ""},
		{"backwards", func(r *newRange) { r.StartIP, r.EndIP = r.EndIP, r.StartIP }, "endIp"},
		{"two subnets", func(r *newRange) { r.EndIP = "10.0.1.5" }, "endIp"},
		{"wide mask", func(r *newRange) { r.Netmask = "254.0.0.0" }, "netmask"},
		{"network address", func(r *newRange) { r.StartIP = "10.0.0.0" }, "startIp"},
		{"broadcast address", func(r *newRange) { r.EndIP = "10.0.0.255" }, "startIp"},
		{"no gateway", func(r *newRange) { r.Gateway = "" }, "gateway"},
		{"gateway inside", func(r *newRange) { r.Gateway = "10.0.0.50" }, "gateway"},
		{"gateway elsewhere", func(r *newRange) { r.Gateway = "10.0.9.1" }, "gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := good
			tt.change(&r)
			_, err := parseRange(&r)
			if tt.field == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), tt.field) {
				t.Fatalf("got %v, want an Invalid error about %s", err, tt.field)
			}
		})
	}
}

func TestExpandCIDR(t *testing.T) {
	tests := []struct{ cidr, gateway, start, end, mask, gw string }{
		{"10.0.0.0/24", "", "10.0.0.2", "10.0.0.254", "255.255.255.0", "10.0.0.1"},
		{"10.0.0.77/24", "", "10.0.0.2", "10.0.0.254", "255.255.255.0", "10.0.0.1"},
		{"10.0.0.0/24", "10.0.0.254", "10.0.0.1", "10.0.0.253", "255.255.255.0", "10.0.0.254"},
		{"172.16.0.0/16", "172.16.200.1", "172.16.0.1", "172.16.200.0", "255.255.0.0", "172.16.200.1"},
		{"192.168.1.8/29", "", "192.168.1.10", "192.168.1.14", "255.255.255.248", "192.168.1.9"},
	}
	for _, tt := range tests {
		r, err := expandCIDR(&newRangeByCIDR{CIDR: tt.cidr, Gateway: tt.gateway})
		if err != nil {
			t.Errorf("%s: %v", tt.cidr, err)
			continue
		}
		if r.StartIP != tt.start || r.EndIP != tt.end || r.Netmask != tt.mask || r.Gateway != tt.gw {
			t.Errorf("%s with gateway %q: got %s-%s mask %s gateway %s", tt.cidr, tt.gateway, r.StartIP, r.EndIP, r.Netmask, r.Gateway)
		}
		if _, err := parseRange(r); err != nil {
			t.Errorf("%s: its own range is refused: %v", tt.cidr, err)
		}
	}
	for _, bad := range []string{"10.0.0.0/31", "0.0.0.0/4"} {
		if _, err := expandCIDR(&newRangeByCIDR{CIDR: bad}); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: got %v, want Invalid", bad, err)
		}
	}
}

func TestRangesOfOneNetworkFit(t *testing.T) {
	of := func(start, end, gw string) *IPRange {
		r, err := parseRange(&newRange{StartIP: start, EndIP: end, Netmask: "255.255.255.0", Gateway: gw})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	have := of("10.0.0.10", "10.0.0.20", "10.0.0.1")
	tests := []struct {
		name string
		r    *IPRange
		ok   bool
	}{
		{"beside", of("10.0.0.21", "10.0.0.30", "10.0.0.1"), true},
		{"the same", of("10.0.0.10", "10.0.0.20", "10.0.0.1"), false},
		{"touches the end", of("10.0.0.20", "10.0.0.30", "10.0.0.1"), false},
		{"inside", of("10.0.0.12", "10.0.0.13", "10.0.0.1"), false},
		{"around", of("10.0.0.5", "10.0.0.30", "10.0.0.1"), false},
		{"other gateway", of("10.0.0.21", "10.0.0.30", "10.0.0.2"), false},
		{"other subnet", of("10.0.1.21", "10.0.1.30", "10.0.1.1"), false},
	}
	for _, tt := range tests {
		if err := fits(tt.r, have); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}
