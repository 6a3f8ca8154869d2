package dataplane

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

const (
	// maxUserData is what the EC2 metadata protocol allows before base64,
	// with room for multi-part archives.
	maxUserData = 1 << 20
	maxKey      = 255
	maxAlias    = 255
	minMTU      = 576
	maxMTU      = 65535
)

var (
	ownerPattern     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	keyPattern       = regexp.MustCompile(`^[!-~]+$`)
	namespacePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	aliasPattern     = regexp.MustCompile(`^[ -~]*$`)
)

// CheckOwner refuses an owner that is not a short lower-case name, such as
// "flat" (errs.Invalid).
func CheckOwner(owner string) error {
	if !ownerPattern.MatchString(owner) {
		return errs.New(errs.Invalid, "fragment owner "+quote(owner), "must be a lower-case name of at most 63 letters, digits and dashes")
	}
	return nil
}

// CheckDevice refuses what is not a usable network device name (errs.Invalid).
func CheckDevice(object, name string) error { return exact(object, "device", name) }

// CheckHostname refuses what is not one label of RFC 1123 (errs.Invalid).
func CheckHostname(object, name string) error { return exact(object, "label", name) }

// CheckDomain refuses what is not a domain name of RFC 1123 (errs.Invalid).
func CheckDomain(object, name string) error { return exact(object, "domain", name) }

// exact refuses what is not of a kind in its one spelling (errs.Invalid).
func exact(object, kind, text string) error {
	if err := kinds.Exact(kind, text); err != nil {
		return errs.Wrap(errs.Invalid, object, err, "")
	}
	return nil
}

// CheckFragment refuses a fragment with a wrong or missing value (errs.Invalid).
// It looks at the fragment alone; checkSet looks at how fragments fit together.
func CheckFragment(f *hostv1.Fragment) error {
	if f.GetKey() == "" || len(f.GetKey()) > maxKey || !keyPattern.MatchString(f.GetKey()) {
		return errs.New(errs.Invalid, "fragment "+quote(f.GetKey()), "the key must have 1 to 255 visible ASCII characters")
	}
	object := "fragment " + f.GetKey()
	switch {
	case f.GetBridge() != nil:
		return checkBridge(object, f.GetBridge())
	case f.GetDhcpNetwork() != nil:
		return checkNetwork(object, f.GetDhcpNetwork())
	case f.GetDhcpBinding() != nil:
		return checkBinding(object, f.GetDhcpBinding())
	case f.GetMetadata() != nil:
		return checkMetadata(object, f.GetMetadata())
	case filter.Is(f):
		return filter.Check(object, f)
	}
	return errs.New(errs.Invalid, object, "it has no content that this agent knows")
}

func checkBridge(object string, b *hostv1.Bridge) error {
	if err := CheckDevice(object, b.GetName()); err != nil {
		return err
	}
	if b.GetUplink() != "" {
		if err := CheckDevice(object, b.GetUplink()); err != nil {
			return err
		}
		if b.GetUplink() == b.GetName() {
			return errs.New(errs.Invalid, object, "bridge %s cannot be its own uplink", b.GetName())
		}
	}
	if id := b.GetVlanId(); id < 0 || id > maxVLAN || id != 0 && b.GetUplink() == "" {
		return errs.New(errs.Invalid, object, "VLAN %d is not between 1 and %d, or bridge %s has no uplink for it", id, maxVLAN, b.GetName())
	}
	if b.GetAlias() == "" || len(b.GetAlias()) > maxAlias || !aliasPattern.MatchString(b.GetAlias()) {
		return errs.New(errs.Invalid, object, "the alias must have 1 to 255 printable ASCII characters: it marks bridge %s as ours", b.GetName())
	}
	return checkMTU(object, b.GetMtu())
}

func checkMTU(object string, mtu int32) error {
	if mtu != 0 && (mtu < minMTU || mtu > maxMTU) {
		return errs.New(errs.Invalid, object, "MTU %d is not between %d and %d", mtu, minMTU, maxMTU)
	}
	return nil
}

func checkNetwork(object string, n *hostv1.DHCPNetwork) error {
	if !namespacePattern.MatchString(n.GetNamespace()) {
		return errs.New(errs.Invalid, object, "%s is no namespace name", quote(n.GetNamespace()))
	}
	if err := CheckDevice(object, n.GetBridge()); err != nil {
		return err
	}
	if err := checkMTU(object, n.GetMtu()); err != nil {
		return err
	}
	if n.GetDomain() != "" {
		if err := CheckDomain(object, n.GetDomain()); err != nil {
			return err
		}
	}
	_, err := parseNetwork(object, n)
	return err
}

func checkBinding(object string, b *hostv1.DHCPBinding) error {
	if b.GetNetworkKey() == "" {
		return errs.New(errs.Invalid, object, "the binding names no network")
	}
	if _, err := parseMAC(object, b.GetMac()); err != nil {
		return err
	}
	if _, err := ParseIPv4(object, b.GetIp()); err != nil {
		return err
	}
	if b.GetHostname() != "" {
		return CheckHostname(object, b.GetHostname())
	}
	return nil
}

func checkMetadata(object string, m *hostv1.Metadata) error {
	if m.GetNetworkKey() == "" {
		return errs.New(errs.Invalid, object, "the metadata names no network")
	}
	if _, err := ParseIPv4(object, m.GetIp()); err != nil {
		return err
	}
	if m.GetInstanceId() == "" || !keyPattern.MatchString(m.GetInstanceId()) {
		return errs.New(errs.Invalid, object, "the instance ID must have visible ASCII characters only")
	}
	if m.GetHostname() != "" {
		check := CheckDomain
		if !strings.Contains(m.GetHostname(), ".") {
			check = CheckHostname
		}
		if err := check(object, m.GetHostname()); err != nil {
			return err
		}
	}
	if len(m.GetUserData()) > maxUserData {
		return errs.New(errs.Invalid, object, "the user data has %d bytes, more than %d", len(m.GetUserData()), maxUserData)
	}
	for _, key := range m.GetSshKeys() {
		if strings.ContainsAny(key, "\r\n\x00") {
			return errs.New(errs.Invalid, object, "an SSH key has more than one line")
		}
	}
	return nil
}

func parseMAC(object, text string) (net.HardwareAddr, error) {
	spelling, err := kinds.Parse("mac", text)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "")
	}
	return net.ParseMAC(spelling)
}

// ParseIPv4 takes the address of a machine, and more of them than the core does for
// guests: what older versions gave them still has to be served. An error (errs.Invalid)
// names the object that has it.
func ParseIPv4(object, text string) (netip.Addr, error) {
	spelling, err := kinds.Parse("addr", text)
	if err != nil {
		return netip.Addr{}, errs.Wrap(errs.Invalid, object, err, "")
	}
	ip, err := netip.ParseAddr(spelling)
	if err != nil || !ip.Is4() {
		return netip.Addr{}, errs.New(errs.Invalid, object, "%s is no IPv4 address", quote(text))
	}
	return ip, nil
}

// parsePrefix takes a network without bits of a host.
func parsePrefix(object, text string) (netip.Prefix, error) {
	if err := exact(object, "cidr4", text); err != nil {
		return netip.Prefix{}, err
	}
	return netip.ParsePrefix(text)
}

// quote shows a rejected value without letting it flood or break the message.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' {
			return '?'
		}
		return r
	}, s) + `"`
}
