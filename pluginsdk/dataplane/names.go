package dataplane

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// maxName is how long a domain name may be in text (RFC 1035, section 2.3.4: 255
// bytes on the wire, which has one more for each end).
const maxName = 253

// MaxDeviceName is the longest name of a Linux network device (IFNAMSIZ - 1).
const MaxDeviceName = 15

// DeviceName is a prefix of up to four bytes and a name, as hosts under other managers
// have it too: br_eth0. What would be too long for Linux keeps its beginning for people
// and ends in a hash, so that eth-storage-0 and eth-storage-1 stay apart.
func DeviceName(prefix, name string) string {
	const digits = 6
	if full := prefix + name; len(full) <= MaxDeviceName {
		return full
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + name[:MaxDeviceName-len(prefix)-digits] + hex.EncodeToString(sum[:])[:digits]
}

// FQDN is a machine's full name in a domain: "web.corp.example". Without a domain,
// and where the two together are longer than a name may be, it is the host name
// alone.
func FQDN(hostname, domain string) string {
	full := hostname + "." + domain
	if hostname == "" || domain == "" || len(full) > maxName {
		return hostname
	}
	return full
}

// reverseZones are the domains with the names of a network's addresses (RFC 1035,
// section 3.5). Labels are whole bytes, so a network whose prefix ends within one
// has a zone for each value of that byte, 128 at most.
func reverseZones(cidr netip.Prefix) []string {
	labels := max(1, (cidr.Bits()+7)/8)
	last := cidr.Masked().Addr().As4()
	zones := make([]string, 0, 1<<(8*labels-cidr.Bits()))
	for range cap(zones) {
		zone := "in-addr.arpa"
		for _, b := range last[:labels] {
			zone = fmt.Sprintf("%d.%s", b, zone)
		}
		zones = append(zones, zone)
		last[labels-1]++
	}
	return zones
}
