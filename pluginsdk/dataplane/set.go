package dataplane

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane/filter"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// set holds the fragments of one owner by key.
type set map[string]*hostv1.Fragment

// networkKey names the network that a fragment belongs to: itself for a
// network, "" for a bridge.
func networkKey(f *hostv1.Fragment) string {
	switch {
	case f.GetDhcpNetwork() != nil:
		return f.GetKey()
	case f.GetDhcpBinding() != nil:
		return f.GetDhcpBinding().GetNetworkKey()
	case f.GetMetadata() != nil:
		return f.GetMetadata().GetNetworkKey()
	}
	return ""
}

// without returns a copy in which the keys are gone, and with each network all
// that belongs to it.
func (s set) without(keys []string) set {
	next := maps.Clone(s)
	for _, key := range keys {
		f := s[key]
		delete(next, key)
		if f.GetDhcpNetwork() == nil {
			continue
		}
		maps.DeleteFunc(next, func(_ string, f *hostv1.Fragment) bool { return networkKey(f) == key })
	}
	return next
}

// evict drops what is not in newer and has an address or MAC that a fragment in
// newer has on the same network. Those in newer may still clash: then the caller
// contradicts itself, which checkSet refuses.
func (s set) evict(newer set) {
	wanted := map[guestName]bool{}
	for key, f := range newer {
		if s[key] == nil {
			continue // it was removed by the same call
		}
		eachName(f, func(n guestName) { wanted[n] = true })
	}
	if len(wanted) == 0 {
		return
	}
	maps.DeleteFunc(s, func(key string, f *hostv1.Fragment) (clashes bool) {
		if newer[key] == nil {
			eachName(f, func(n guestName) { clashes = clashes || wanted[n] })
		}
		return clashes
	})
}

// guestName is what of a guest must be its own within its network.
type guestName struct{ network, kind, value string }

// eachName calls f with the names of a binding, or of metadata.
func eachName(of *hostv1.Fragment, f func(guestName)) {
	if b := of.GetDhcpBinding(); b != nil {
		f(guestName{b.GetNetworkKey(), "MAC", plainMAC(b.GetMac())})
		f(guestName{b.GetNetworkKey(), "address", b.GetIp()})
	} else if m := of.GetMetadata(); m != nil {
		f(guestName{m.GetNetworkKey(), "metadata address", m.GetIp()})
	}
}

// plainMAC is the usual spelling of an address that was checked before. There are
// thousands, nearly all of which have it.
func plainMAC(mac string) string {
	usual := func(r rune) bool { return r == ':' || '0' <= r && r <= '9' || 'a' <= r && r <= 'f' }
	if len(mac) == 17 && strings.IndexFunc(mac, func(r rune) bool { return !usual(r) }) < 0 {
		return mac
	}
	if parsed, err := parseMAC("", mac); err == nil {
		return parsed.String()
	}
	return mac
}

// same tells whether a fragment has not changed. Most are the same object.
func same(a, b *hostv1.Fragment) bool { return a == b || a != nil && b != nil && proto.Equal(a, b) }

// ofGuest tells what is about one guest: a binding, metadata, or nothing.
func ofGuest(f *hostv1.Fragment) bool {
	return f == nil || f.GetDhcpBinding() != nil || f.GetMetadata() != nil
}

// sortedKeys gives every run the same order.
func (s set) sortedKeys() []string { return slices.Sorted(maps.Keys(s)) }

// lacking returns the keys that other has not, sorted.
func (s set) lacking(other set) []string {
	var keys []string
	for key := range s {
		if other[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// of returns the fragments of one network, sorted by key.
func (s set) of(network string) []*hostv1.Fragment {
	var out []*hostv1.Fragment
	for _, f := range s {
		if networkKey(f) == network {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *hostv1.Fragment) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return out
}

// claims makes sure that a name, address or device is used once.
type claims map[string]string

func (c claims) take(kind, value, key string) error {
	if other, taken := c[kind+" "+value]; taken && other != key {
		return errs.New(errs.Exists, "fragment "+key, "%s %s is already used by fragment %s", kind, value, other)
	}
	c[kind+" "+value] = key
	return nil
}

// checkSet refuses sets whose fragments do not fit together: names used twice,
// bindings with the IP or MAC of another (dnsmasq would not start), addresses
// outside of their network, networks that do not exist. others are the sets of
// all other owners, for names that are unique on the machine.
//
// Of a change of guests alone only these are looked at: whatever else has a name of
// theirs was evicted.
func checkSet(owner string, old, s, touched set, others map[string]set) error {
	guestsOnly := true
	for key, f := range s {
		guestsOnly = guestsOnly && (same(old[key], f) || ofGuest(f) && ofGuest(old[key]))
	}
	for key, f := range old {
		guestsOnly = guestsOnly && (s[key] != nil || ofGuest(f))
	}
	if guestsOnly {
		return checkGuests(s, touched)
	}
	failures := misfits(owner, s, others)
	if len(failures) == 0 {
		return nil
	}
	return failures[0].Err
}

func checkGuests(s, touched set) error {
	guests, specs := claims{}, specs{}
	for _, key := range touched.sortedKeys() {
		if f := s[key]; f != nil && ofGuest(f) {
			if err := claimGuest(guests, specs, s, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// misfits are the fragments that checkSet refuses. Of two that want one thing
// the later key is the misfit.
func misfits(owner string, s set, others map[string]set) (failures []Failure) {
	machine := claims{}
	for name, other := range others {
		if name == owner {
			continue
		}
		for _, f := range other {
			// They were checked when they came, so no clash can be new.
			_ = claimNames(machine, name+"/"+f.GetKey(), f)
			if p := f.GetFilterPort(); p != nil {
				_ = machine.take("filtered device", p.GetDevice(), name+"/"+f.GetKey())
			}
		}
	}
	guests, specs := claims{}, specs{}
	for _, key := range s.sortedKeys() {
		err := claimNames(machine, key, s[key])
		if err == nil {
			err = claimGuest(guests, specs, s, s[key])
		}
		if err == nil && filter.Is(s[key]) {
			err = claimFilter(machine, guests, s, s[key])
		}
		if err != nil {
			failures = append(failures, Failure{key, err})
		}
	}
	return failures
}

func claimNames(c claims, key string, f *hostv1.Fragment) error {
	if b := f.GetBridge(); b != nil {
		if err := c.take("bridge", b.GetName(), key); err != nil {
			return err
		}
		if b.GetUplink() != "" {
			return c.take("uplink", uplinkOf(b), key)
		}
	}
	if n := f.GetDhcpNetwork(); n != nil {
		return c.take("namespace", n.GetNamespace(), key)
	}
	return nil
}

// specs has the networks that were parsed, by key: each once, not for each guest.
type specs map[string]networkSpec

func (p specs) of(s set, key string) (networkSpec, error) {
	if spec, ok := p[key]; ok {
		return spec, nil
	}
	spec, err := parseNetwork("fragment "+key, s[key].GetDhcpNetwork())
	if err == nil {
		p[key] = spec
	}
	return spec, err
}

func claimGuest(c claims, p specs, s set, f *hostv1.Fragment) error {
	object := "fragment " + f.GetKey()
	network := networkKey(f)
	if network == "" || network == f.GetKey() {
		return nil
	}
	if s[network].GetDhcpNetwork() == nil {
		return errs.New(errs.NotFound, object, "its network %s does not exist", network).
			WithAdvice("apply the network in the same call or before")
	}
	spec, err := p.of(s, network)
	if err != nil {
		return err
	}
	text := f.GetMetadata().GetIp()
	kind := "metadata address"
	if b := f.GetDhcpBinding(); b != nil {
		text, kind = b.GetIp(), "address"
		mac, err := parseMAC(object, b.GetMac())
		if err != nil {
			return err
		}
		if err := c.take(network+" MAC", mac.String(), f.GetKey()); err != nil {
			return err
		}
	}
	ip, err := ParseIPv4(object, text)
	if err != nil {
		return err
	}
	if !spec.cidr.Contains(ip) {
		return errs.New(errs.Invalid, object, "address %s is not in network %s", ip, spec.cidr)
	}
	if ip == spec.address.Addr() {
		return errs.New(errs.Invalid, object, "address %s is that of the DHCP service", ip)
	}
	return c.take(network+" "+kind, ip.String(), f.GetKey())
}
