package filter

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

func rightRule() *hostv1.FilterRule {
	return &hostv1.FilterRule{Id: "r", IpVersion: 4, Direction: hostv1.FilterDirection_FILTER_DIRECTION_INGRESS, Protocol: hostv1.FilterProtocol_FILTER_PROTOCOL_TCP,
		Addresses: []string{"10.0.0.0/8", "10.0.0.1-10.0.0.9", "192.0.2.1"}, Ports: []*hostv1.FilterPortRange{{First: 0, Last: 65535}, {First: 80, Last: 80}}}
}

func rightPort() *hostv1.FilterPort {
	return &hostv1.FilterPort{Device: "vnic1.0", Mac: "FA-00-00-00-00-01", Addresses: []string{"10.0.0.1", "FD00::1"}, Groups: []string{"a", "b"}}
}

func ruleFragment(r ...*hostv1.FilterRule) *hostv1.Fragment {
	return &hostv1.Fragment{Key: "k", Kind: &hostv1.Fragment_FilterGroup{FilterGroup: &hostv1.FilterGroup{Rules: r}}}
}

func portFragment(p *hostv1.FilterPort) *hostv1.Fragment {
	return &hostv1.Fragment{Key: "k", Kind: &hostv1.Fragment_FilterPort{FilterPort: p}}
}

func setFragment(addresses ...string) *hostv1.Fragment {
	return &hostv1.Fragment{Key: "k", Kind: &hostv1.Fragment_FilterSet{FilterSet: &hostv1.FilterSet{Addresses: addresses}}}
}

func TestCheck(t *testing.T) {
	for _, f := range []*hostv1.Fragment{ruleFragment(), ruleFragment(rightRule()), portFragment(rightPort()), setFragment(), setFragment("10.0.0.1", "fd00::/8", "0.0.0.0/0")} {
		if err := Check("x", f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
	rule := func(change func(*hostv1.FilterRule)) *hostv1.Fragment {
		r := rightRule()
		change(r)
		return ruleFragment(r)
	}
	port := func(change func(*hostv1.FilterPort)) *hostv1.Fragment {
		p := rightPort()
		change(p)
		return portFragment(p)
	}
	for name, f := range map[string]*hostv1.Fragment{
		"no ID":              rule(func(r *hostv1.FilterRule) { r.Id = "" }),
		"a long ID":          rule(func(r *hostv1.FilterRule) { r.Id = strings.Repeat("x", 129) }),
		"a blank in an ID":   rule(func(r *hostv1.FilterRule) { r.Id = "a b" }),
		"an ID twice":        ruleFragment(rightRule(), rightRule()),
		"no direction":       rule(func(r *hostv1.FilterRule) { r.Direction = 0 }),
		"a new direction":    rule(func(r *hostv1.FilterRule) { r.Direction = 9 }),
		"no version":         rule(func(r *hostv1.FilterRule) { r.IpVersion = 0 }),
		"no protocol":        rule(func(r *hostv1.FilterRule) { r.Protocol = 0 }),
		"a new protocol":     rule(func(r *hostv1.FilterRule) { r.Protocol = 9 }),
		"ports of ICMP":      rule(func(r *hostv1.FilterRule) { r.Protocol = hostv1.FilterProtocol_FILTER_PROTOCOL_ICMP }),
		"ports that go down": rule(func(r *hostv1.FilterRule) { r.Ports[0].First, r.Ports[0].Last = 2, 1 }),
		"a high port":        rule(func(r *hostv1.FilterRule) { r.Ports[0].Last = 65536 }),
		"the other version":  rule(func(r *hostv1.FilterRule) { r.IpVersion = 6 }),
		"bits of a host":     rule(func(r *hostv1.FilterRule) { r.Addresses = []string{"10.0.0.1/8"} }),
		"a set and more":     rule(func(r *hostv1.FilterRule) { r.SetKey = "s" }),
		"no device":          port(func(p *hostv1.FilterPort) { p.Device = "" }),
		"a long device":      port(func(p *hostv1.FilterPort) { p.Device = "a123456789012345" }),
		"a MAC of many":      port(func(p *hostv1.FilterPort) { p.Mac = "ff:ff:ff:ff:ff:ff" }),
		"a network":          port(func(p *hostv1.FilterPort) { p.Addresses = []string{"10.0.0.0/8"} }),
		"a group twice":      port(func(p *hostv1.FilterPort) { p.Groups = []string{"a", "a"} }),
		"no group":           port(func(p *hostv1.FilterPort) { p.Groups = []string{""} }),
		"a range in a set":   setFragment("10.0.0.1-10.0.0.2"),
		"a name":             setFragment("example.com"),
		"a zone":             setFragment("fe80::1%eth0"),
	} {
		if err := Check("x", f); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is right can be compiled: elements have the size of their sets, and rules can
// be written.
func FuzzCheck(f *testing.F) {
	for _, seed := range []*hostv1.Fragment{ruleFragment(rightRule()), portFragment(rightPort()), setFragment("10.0.0.1", "fd00::/8")} {
		data, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	sizes := map[string]int{inPorts: 16, outPorts: 16, guestMACs: 6, portMACs: 24, portAddr4: 20, portAddr6: 32, ingress: 4, egress: 4}
	f.Fuzz(func(t *testing.T, data []byte) {
		fragment := &hostv1.Fragment{}
		if proto.Unmarshal(data, fragment) != nil || !Is(fragment) || Check("x", fragment) != nil {
			return
		}
		filter := New(t.TempDir(), nil)
		u, err := filter.compile(Name{"sg", "k"}, fragment)
		if err != nil {
			t.Fatal(err)
		}
		for _, thing := range u.things {
			if want := sizes[thing.name]; thing.kind == kindElement && want != 0 && len(thing.key) != want {
				t.Errorf("%s has a key of %d bytes", thing.name, len(thing.key))
			}
		}
	})
}
