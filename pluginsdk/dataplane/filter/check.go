package filter

import (
	"net"
	"net/netip"
	"regexp"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

const (
	// The kernel takes more; what is longer than this is a mistake.
	maxRules     = 10_000
	maxAddresses = 100_000
	maxGroups    = 1_000
	maxPort      = 65_535
)

// idPattern is for what names a counter of the kernel, which has 255 characters, with
// the owner.
var idPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

// Check refuses a fragment with a wrong or missing value (errs.Invalid). object is what
// the error names. It looks at the fragment alone.
func Check(object string, f *hostv1.Fragment) error {
	switch {
	case f.GetFilterSet() != nil:
		return checkAddresses(object, f.GetFilterSet().GetAddresses(), false)
	case f.GetFilterGroup() != nil:
		return checkGroup(object, f.GetFilterGroup())
	}
	return checkPort(object, f.GetFilterPort())
}

func checkAddresses(object string, all []string, ranges bool) error {
	if len(all) > maxAddresses {
		return errs.New(errs.Invalid, object, "it has more than %d addresses", maxAddresses)
	}
	for _, text := range all {
		if _, err := parseSpan(text, ranges); err != nil {
			return errs.New(errs.Invalid, object, "%q is no IPv4 or IPv6 address or network", kinds.Shown(text))
		}
	}
	return nil
}

func checkGroup(object string, g *hostv1.FilterGroup) error {
	if len(g.GetRules()) > maxRules {
		return errs.New(errs.Invalid, object, "it has more than %d rules", maxRules)
	}
	seen := map[string]bool{}
	for _, r := range g.GetRules() {
		if !idPattern.MatchString(r.GetId()) {
			return errs.New(errs.Invalid, object, "the ID of a rule must have 1 to 128 visible ASCII characters")
		}
		if seen[r.GetId()] {
			return errs.New(errs.Invalid, object, "it has two rules %s", r.GetId())
		}
		seen[r.GetId()] = true
		if err := checkRule(object+" rule "+r.GetId(), r); err != nil {
			return err
		}
	}
	return nil
}

func checkRule(object string, r *hostv1.FilterRule) error {
	if d := r.GetDirection(); d != hostv1.FilterDirection_FILTER_DIRECTION_INGRESS && d != hostv1.FilterDirection_FILTER_DIRECTION_EGRESS {
		return errs.New(errs.Invalid, object, "it needs a direction that this agent knows")
	}
	if v := r.GetIpVersion(); v != 4 && v != 6 {
		return errs.New(errs.Invalid, object, "the IP version must be 4 or 6")
	}
	ports := false
	switch r.GetProtocol() {
	case hostv1.FilterProtocol_FILTER_PROTOCOL_ALL, hostv1.FilterProtocol_FILTER_PROTOCOL_ICMP:
	case hostv1.FilterProtocol_FILTER_PROTOCOL_TCP, hostv1.FilterProtocol_FILTER_PROTOCOL_UDP:
		ports = true
	default:
		return errs.New(errs.Invalid, object, "it needs a protocol that this agent knows")
	}
	if len(r.GetPorts()) > 0 && !ports {
		return errs.New(errs.Invalid, object, "only rules of TCP and UDP have ports")
	}
	if len(r.GetPorts()) > maxPort {
		return errs.New(errs.Invalid, object, "it has more ranges of ports than there are ports")
	}
	for _, p := range r.GetPorts() {
		if p.GetFirst() > p.GetLast() || p.GetLast() > maxPort {
			return errs.New(errs.Invalid, object, "%d to %d is no range of ports", p.GetFirst(), p.GetLast())
		}
	}
	if r.GetSetKey() != "" && len(r.GetAddresses()) > 0 {
		return errs.New(errs.Invalid, object, "it has addresses and a set")
	}
	if err := checkAddresses(object, r.GetAddresses(), true); err != nil {
		return err
	}
	for _, text := range r.GetAddresses() {
		if s, _ := parseSpan(text, true); s.first.Is4() != (r.GetIpVersion() == 4) {
			return errs.New(errs.Invalid, object, "%s is not of IP version %d", text, r.GetIpVersion())
		}
	}
	return nil
}

func checkPort(object string, p *hostv1.FilterPort) error {
	if err := kinds.Exact("device", p.GetDevice()); err != nil {
		return errs.Wrap(errs.Invalid, object, err, "")
	}
	mac, err := kinds.Parse("mac", p.GetMac())
	if err != nil {
		return errs.Wrap(errs.Invalid, object, err, "")
	}
	if hardware, err := net.ParseMAC(mac); err != nil || len(hardware) != 6 {
		return errs.New(errs.Invalid, object, "%q is no MAC of a guest", kinds.Shown(p.GetMac()))
	}
	for _, text := range p.GetAddresses() {
		spelling, err := kinds.Parse("addr", text)
		if err != nil {
			return errs.Wrap(errs.Invalid, object, err, "")
		}
		if a, err := netip.ParseAddr(spelling); err != nil || !plain(a) {
			return errs.New(errs.Invalid, object, "%q is no address of a guest", kinds.Shown(text))
		}
	}
	if len(p.GetGroups()) > maxGroups {
		return errs.New(errs.Invalid, object, "it has more than %d groups", maxGroups)
	}
	seen := map[string]bool{}
	for _, g := range p.GetGroups() {
		if g == "" || seen[g] {
			return errs.New(errs.Invalid, object, "group %q is empty or there twice", kinds.Shown(g))
		}
		seen[g] = true
	}
	return nil
}
