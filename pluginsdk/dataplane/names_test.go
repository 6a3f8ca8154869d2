package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestFQDN(t *testing.T) {
	long := strings.Repeat("abcdefg.", 31) + "test" // 252 bytes
	for _, c := range []struct{ host, domain, want string }{
		{"web07", "corp.example", "web07.corp.example"},
		{"web07", "", "web07"},
		{"", "corp.example", ""},
		{"web07", long, "web07"}, // no name may be that long
		{"w", long[:251], "w." + long[:251]},
	} {
		if got := FQDN(c.host, c.domain); got != c.want {
			t.Errorf("%s in %s is %q", c.host, c.domain, got)
		}
	}
}

func TestReverseZones(t *testing.T) {
	for cidr, want := range map[string][]string{
		"172.31.0.0/24":  {"0.31.172.in-addr.arpa"},
		"10.0.0.0/8":     {"10.in-addr.arpa"},
		"172.16.0.0/14":  {"16.172.in-addr.arpa", "17.172.in-addr.arpa", "18.172.in-addr.arpa", "19.172.in-addr.arpa"},
		"10.1.254.0/23":  {"254.1.10.in-addr.arpa", "255.1.10.in-addr.arpa"},
		"192.0.2.4/31":   {"4.2.0.192.in-addr.arpa", "5.2.0.192.in-addr.arpa"},
		"192.0.2.255/32": {"255.2.0.192.in-addr.arpa"},
	} {
		if got := reverseZones(netip.MustParsePrefix(cidr)); !slices.Equal(got, want) {
			t.Errorf("%s: %v", cidr, got)
		}
	}
	for bits := 1; bits <= 32; bits++ {
		if n := len(reverseZones(netip.MustParsePrefix(fmt.Sprintf("0.0.0.0/%d", bits)))); n > 128 {
			t.Errorf("/%d has %d zones", bits, n)
		}
	}
}

func TestDeviceNames(t *testing.T) {
	for device, want := range map[string]string{
		"eth0": "br_eth0", "enp3s0": "br_enp3s0", "eth0.100": "br_eth0.100", "twelve-bytes": "br_twelve-bytes",
	} {
		if got := DeviceName("br_", device); got != want {
			t.Errorf("%s: %s, want %s", device, got, want)
		}
	}
	seen := map[string]string{}
	for _, device := range []string{"enx0123456789ab", "enx0123456789ac", "eth-storage-00", "eth-storage-01"} {
		name := DeviceName("br_", device)
		if len(name) > MaxDeviceName || !strings.HasPrefix(name, "br_") || seen[name] != "" || DeviceName("br_", device) != name {
			t.Errorf("%s: %q, as %s", device, name, seen[name])
		}
		seen[name] = device
	}
}
