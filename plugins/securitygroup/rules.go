package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// rule is a row of a rule, as the API shows it.
type rule struct {
	UUID        string `json:"uuid"`
	Group       string `json:"securityGroupUuid"`
	Type        string `json:"type"`
	IPVersion   int64  `json:"ipVersion"`
	Protocol    string `json:"protocol"`
	State       string `json:"state"`
	Priority    int64  `json:"priority"`
	Description string `json:"description"`
	Src         string `json:"srcIpRange"`
	Dst         string `json:"dstIpRange"`
	Ports       string `json:"dstPortRange"`
	Action      string `json:"action"`
	Remote      string `json:"remoteSecurityGroupUuid"`
	AllowedCIDR string `json:"allowedCidr"`
	StartPort   int64  `json:"startPort"`
	EndPort     int64  `json:"endPort"`
}

// Codes by which the wire tells what is wrong with a rule (catalogue, errors.json).
const (
	codeOK          = "SG.2000"
	codeDuplicate   = "SG.1002"
	codeConflict    = "SG.1003"
	codeUnsupported = "SG.1004"
	codePorts       = "SG.1005"
	codeAddresses   = "SG.1006"
)

// ruleError is what is wrong with a rule, with its code.
type ruleError struct {
	code string
	error
}

func (e *ruleError) Unwrap() error { return e.error }

func wrong(code, param, format string, args ...any) error {
	return &ruleError{code, errs.New(errs.Invalid, "parameter "+param, format, args...)}
}

// maxItems bounds a list of addresses or ports (specification, section 4).
const maxItems = 10

// ruleOf makes a rule of what a client gave; some send 0 and "" for what is not given.
// Errors are of ruleError.
func ruleOf(given map[string]any) (*rule, error) {
	text := func(name string) string { s, _ := given[name].(string); return strings.TrimSpace(s) }
	number := func(name string, none int64) int64 {
		if n, ok := given[name].(int64); ok {
			return n
		}
		return none
	}
	r := &rule{Type: text("type"), IPVersion: cmp.Or(number("ipVersion", 4), 4), Protocol: text("protocol"), State: cmp.Or(text("state"), enabled), Priority: -1,
		Description: text("description"), Src: text("srcIpRange"), Dst: text("dstIpRange"), Ports: text("dstPortRange"), Action: cmp.Or(text("action"), accept),
		Remote: text("remoteSecurityGroupUuid"), AllowedCIDR: text("allowedCidr"), StartPort: number("startPort", -1), EndPort: number("endPort", -1)}
	if err := r.translate(); err != nil {
		return nil, err
	}
	return r, r.settle()
}

// translate puts the old spelling of addresses and ports into the new one.
func (r *rule) translate() error {
	if r.AllowedCIDR != "" {
		own := &r.Src
		if r.Type == egress {
			own = &r.Dst
		}
		if *own != "" && *own != r.AllowedCIDR {
			return wrong(codeConflict, "allowedCidr", "there is %s as well", *own)
		}
		if r.AllowedCIDR != "0.0.0.0/0" && r.AllowedCIDR != "::/0" {
			*own = r.AllowedCIDR
		}
	}
	first, last := r.StartPort, r.EndPort
	switch {
	case first < 0 && last < 0:
		return nil
	case first < 0:
		return wrong(codePorts, "startPort", "it is missing, though endPort is %d", last)
	case last < 0:
		last = first
	}
	old := span(first, last)
	if (r.Protocol == "ALL" || r.Protocol == "ICMP") && r.Ports == "" {
		return nil // old clients give any numbers for these
	}
	if r.Ports != "" && r.Ports != old {
		return wrong(codeConflict, "startPort", "there is dstPortRange %s as well", r.Ports)
	}
	r.Ports = old
	return nil
}

func span(first, last int64) string {
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// settle checks a rule, and puts it into its one spelling.
func (r *rule) settle() error {
	switch {
	case r.IPVersion != 4 && r.IPVersion != 6:
		return wrong(codeUnsupported, "ipVersion", "it is %d, neither 4 nor 6", r.IPVersion)
	case r.Type == ingress && r.Dst != "":
		return wrong(codeConflict, "dstIpRange", "it is for egress")
	case r.Type == egress && r.Src != "":
		return wrong(codeConflict, "srcIpRange", "it is for ingress")
	case r.Remote != "" && r.Src+r.Dst != "":
		return wrong(codeConflict, "remoteSecurityGroupUuid", "addresses are given as well")
	}
	ported := r.Protocol == "TCP" || r.Protocol == "UDP"
	if ported != (r.Ports != "") {
		if ported {
			return wrong(codePorts, "dstPortRange", "%s needs ports", r.Protocol)
		}
		return wrong(codePorts, "dstPortRange", "%s has no ports", r.Protocol)
	}
	for param, list := range map[string]*string{"srcIpRange": &r.Src, "dstIpRange": &r.Dst} {
		items, err := r.addresses(param, *list)
		if err != nil {
			return err
		}
		*list = strings.Join(items, ",")
	}
	spans, err := portsOf(r.Ports)
	if err != nil {
		return err
	}
	r.spell(spans)
	return nil
}

// spell writes the ports, and the old fields for those who read them.
func (r *rule) spell(spans []*hostv1.FilterPortRange) {
	texts := make([]string, len(spans))
	for i, s := range spans {
		texts[i] = span(int64(s.First), int64(s.Last))
	}
	r.Ports, r.StartPort, r.EndPort = strings.Join(texts, ","), -1, -1
	if len(spans) == 1 {
		r.StartPort, r.EndPort = int64(spans[0].First), int64(spans[0].Last)
	}
	r.AllowedCIDR = cmp.Or(r.Src, r.Dst, map[int64]string{4: "0.0.0.0/0", 6: "::/0"}[r.IPVersion])
	if len(r.AllowedCIDR) > 255 {
		r.AllowedCIDR = ""
	}
}

func items(code, param, list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	all := strings.Split(list, ",")
	if len(all) > maxItems {
		return nil, wrong(code, param, "it has %d items, at most %d are allowed", len(all), maxItems)
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all, nil
}

// addresses reads a list of addresses, networks and ranges of the rule's family.
func (r *rule) addresses(param, list string) ([]string, error) {
	all, err := items(codeAddresses, param, list)
	if err != nil {
		return nil, err
	}
	for i, item := range all {
		spelled, err := r.address(item)
		if err != nil {
			return nil, wrong(codeAddresses, param, "%.60q %v", item, err)
		}
		if slices.Contains(all[:i], spelled) {
			return nil, wrong(codeAddresses, param, "%s is there twice", spelled)
		}
		all[i] = spelled
	}
	return all, nil
}

func (r *rule) address(item string) (string, error) {
	family := func(a netip.Addr) error {
		if a.Is4() != (r.IPVersion == 4) || a.Zone() != "" || a.Is4In6() {
			return fmt.Errorf("is not of IPv%d", r.IPVersion)
		}
		return nil
	}
	if first, last, is := strings.Cut(item, "-"); is {
		a, err := netip.ParseAddr(strings.TrimSpace(first))
		b, err2 := netip.ParseAddr(strings.TrimSpace(last))
		if err != nil || err2 != nil || b.Less(a) {
			return "", fmt.Errorf("is no range of addresses")
		}
		return a.String() + "-" + b.String(), cmp.Or(family(a), family(b))
	}
	if strings.Contains(item, "/") {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return "", fmt.Errorf("is no network")
		}
		return p.Masked().String(), family(p.Addr())
	}
	a, err := netip.ParseAddr(item)
	if err != nil {
		return "", fmt.Errorf("is no address")
	}
	return a.String(), family(a)
}

// portsOf reads a list of ports and ranges of them.
func portsOf(list string) ([]*hostv1.FilterPortRange, error) {
	all, err := items(codePorts, "dstPortRange", list)
	if err != nil {
		return nil, err
	}
	var spans []*hostv1.FilterPortRange
	for _, item := range all {
		from, to, is := strings.Cut(item, "-")
		if !is {
			to = from
		}
		first, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
		last, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
		if err != nil || err2 != nil || last < first {
			return nil, wrong(codePorts, "dstPortRange", "%.40q is no port or range of ports in 0-65535", item)
		}
		for _, s := range spans {
			if uint64(s.First) <= last && first <= uint64(s.Last) {
				return nil, wrong(codePorts, "dstPortRange", "%s overlaps %d-%d", item, s.First, s.Last)
			}
		}
		spans = append(spans, &hostv1.FilterPortRange{First: uint32(first), Last: uint32(last)})
	}
	return spans, nil
}

// same tells whether two rules say the same of the same packets; the action does not
// matter, as only the first of them would ever be asked.
func (r *rule) same(o *rule) bool {
	return r.Type == o.Type && r.IPVersion == o.IPVersion && r.Protocol == o.Protocol && r.Src == o.Src && r.Dst == o.Dst && r.Ports == o.Ports &&
		r.Remote == o.Remote
}

// isDefault: the rule came with the group.
func (r *rule) isDefault() bool { return r.Priority == 0 }

// values are those of the row.
func (r *rule) values() map[string]any {
	return map[string]any{"securityGroupUuid": r.Group, "type": r.Type, "ipVersion": r.IPVersion, "protocol": r.Protocol, "state": r.State,
		"priority": r.Priority, "description": r.Description, "srcIpRange": r.Src, "dstIpRange": r.Dst, "dstPortRange": r.Ports, "action": r.Action,
		"remoteSecurityGroupUuid": r.Remote, "allowedCidr": r.AllowedCIDR, "startPort": r.StartPort, "endPort": r.EndPort}
}

// fragment is the rule as the host's agent has it. remote says whether the group that
// it names counts; a rule that names another has no fragment.
func (r *rule) fragment(remote func(uuid string) bool) *hostv1.FilterRule {
	if r.State != enabled || r.Remote != "" && !remote(r.Remote) {
		return nil
	}
	f := &hostv1.FilterRule{Id: r.UUID, IpVersion: int32(r.IPVersion), Direction: hostv1.FilterDirection_FILTER_DIRECTION_INGRESS, Drop: r.Action == drop,
		Protocol: hostv1.FilterProtocol(hostv1.FilterProtocol_value["FILTER_PROTOCOL_"+r.Protocol])}
	if r.Type == egress {
		f.Direction = hostv1.FilterDirection_FILTER_DIRECTION_EGRESS
	}
	if list := r.Src + r.Dst; list != "" {
		f.Addresses = strings.Split(list, ",")
	}
	if r.Remote != "" {
		f.SetKey = setKey(r.Remote)
	}
	f.Ports, _ = portsOf(r.Ports) // it was read before it was kept
	return f
}
